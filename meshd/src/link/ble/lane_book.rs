//! Who has which lane: each is one caller's from the moment it is told so until its link ends.

use std::time::Duration;

use super::candidates::Address;

/// A lane that was given and not taken is free again after this long: the caller may try a channel for 2 s and subscribe
/// for 5, and a slow machine's answers lie between.
const KEPT_FOR: Duration = Duration::from_secs(15);

#[derive(Debug, Clone, Copy, Default)]
enum Lane {
    #[default]
    Free,
    Given {
        to: Address,
        until: Duration,
    },
    Taken {
        by: Address,
    },
}

/// The lanes of one adapter.
#[derive(Debug)]
pub(crate) struct LaneBook {
    lanes: Vec<Lane>,
}

impl LaneBook {
    /// So many lanes, all free.
    pub(crate) fn new(lanes: u8) -> Self {
        Self { lanes: vec![Lane::Free; lanes.into()] }
    }

    /// How many callers other than this one have been given a lane and may take it yet.
    pub(crate) fn expected_besides(&self, address: Option<&Address>, now: Duration) -> usize {
        let expected = |lane: &&Lane| match lane {
            Lane::Given { to, until } => *until > now && Some(to) != address,
            Lane::Free | Lane::Taken { .. } => false,
        };
        self.lanes.iter().filter(expected).count()
    }

    /// Gives a caller a lane: the one it was given already, or a free one.
    pub(crate) fn give(&mut self, to: Address, now: Duration) -> Option<u8> {
        let given = |lane: &Lane| matches!(lane, Lane::Given { to: other, .. } if *other == to);
        let free = |lane: &Lane| match *lane {
            Lane::Free => true,
            Lane::Given { until, .. } => until <= now,
            Lane::Taken { .. } => false,
        };
        let index = self.lanes.iter().position(given).or_else(|| self.lanes.iter().position(free))?;
        self.lanes[index] = Lane::Given { to, until: now + KEPT_FOR };
        Some(u8::try_from(index).expect("there are few lanes"))
    }

    /// Whether a lane is that caller's. One that was given and not taken in time is nobody's: the slot may be
    /// somebody else's by now.
    pub(crate) fn is_of(&self, lane: u8, address: &Address, now: Duration) -> bool {
        match &self.lanes[usize::from(lane)] {
            Lane::Free => false,
            Lane::Given { to, until } => to == address && *until > now,
            Lane::Taken { by } => by == address,
        }
    }

    /// The caller has begun to use its lane.
    pub(crate) fn take(&mut self, lane: u8, by: Address) {
        self.lanes[usize::from(lane)] = Lane::Taken { by };
    }

    /// The lane's link is over.
    pub(crate) fn free(&mut self, lane: u8) {
        self.lanes[usize::from(lane)] = Lane::Free;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(50);
    const LANES: u8 = 4;

    #[test]
    fn every_caller_gets_a_lane_of_its_own_and_keeps_it() {
        let mut book = LaneBook::new(LANES);
        for n in 0..LANES {
            assert_eq!(book.give([n; 6], NOW), Some(n));
            assert_eq!(book.give([n; 6], NOW), Some(n));
            assert!(book.is_of(n, &[n; 6], NOW) && !book.is_of(n, &[99; 6], NOW));
            assert!(!book.is_of(n, &[n; 6], NOW + KEPT_FOR));
        }
        assert_eq!(book.give([99; 6], NOW), None);
    }

    #[test]
    fn b03_a_lane_that_nobody_takes_is_free_again_and_a_taken_one_is_not() {
        let mut book = LaneBook::new(LANES);
        for n in 0..LANES {
            book.give([n; 6], NOW);
        }
        assert_eq!(book.expected_besides(None, NOW), usize::from(LANES));
        assert_eq!(book.expected_besides(Some(&[1; 6]), NOW), usize::from(LANES) - 1);
        book.take(0, [0; 6]);
        assert!(book.is_of(0, &[0; 6], NOW + 9 * KEPT_FOR));
        assert_eq!(book.expected_besides(None, NOW), usize::from(LANES) - 1);
        assert_eq!(book.expected_besides(None, NOW + KEPT_FOR), 0);
        assert_eq!(book.give([99; 6], NOW + KEPT_FOR), Some(1));
        book.free(0);
        assert!(!book.is_of(0, &[0; 6], NOW));
        assert_eq!(book.give([98; 6], NOW), Some(0));
    }
}

//! Who has which lane: each is one caller's from the moment it is told so until its link ends.

use std::time::Duration;

use super::candidates::Address;
use super::slots::CALLERS_MAX;

/// A lane that was given and not taken is free again after this long.
const KEPT_FOR: Duration = Duration::from_secs(10);

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
#[derive(Debug, Default)]
pub(crate) struct LaneBook {
    lanes: [Lane; CALLERS_MAX],
}

impl LaneBook {
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

    /// Whether a lane is that caller's.
    pub(crate) fn is_of(&self, lane: u8, address: &Address) -> bool {
        match &self.lanes[usize::from(lane)] {
            Lane::Free => false,
            Lane::Given { to: owner, .. } | Lane::Taken { by: owner } => owner == address,
        }
    }

    /// The lane that a caller was given and has not begun to use.
    pub(crate) fn given_to(&self, address: &Address) -> Option<u8> {
        let given = |lane: &Lane| matches!(lane, Lane::Given { to, .. } if to == address);
        self.lanes.iter().position(given).and_then(|index| u8::try_from(index).ok())
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

    #[test]
    fn every_caller_gets_a_lane_of_its_own_and_keeps_it() {
        let mut book = LaneBook::default();
        for n in 0..CALLERS_MAX as u8 {
            assert_eq!(book.give([n; 6], NOW), Some(n));
            assert_eq!(book.give([n; 6], NOW), Some(n));
            assert_eq!(book.given_to(&[n; 6]), Some(n));
            assert!(book.is_of(n, &[n; 6]) && !book.is_of(n, &[99; 6]));
        }
        assert_eq!(book.give([99; 6], NOW), None);
    }

    #[test]
    fn b03_a_lane_that_nobody_takes_is_free_again_and_a_taken_one_is_not() {
        let mut book = LaneBook::default();
        for n in 0..CALLERS_MAX as u8 {
            book.give([n; 6], NOW);
        }
        book.take(0, [0; 6]);
        assert_eq!(book.given_to(&[0; 6]), None);
        assert_eq!(book.give([99; 6], NOW + KEPT_FOR), Some(1));
        book.free(0);
        assert!(!book.is_of(0, &[0; 6]));
        assert_eq!(book.give([98; 6], NOW), Some(0));
    }
}

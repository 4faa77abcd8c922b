//! When to try a relay again: jittered, exponential, capped; at once when there is a reason.
//!
//! The first retry comes within a second. A relay on this machine is tried every three seconds for ever: that
//! costs nothing and whoever restarts it is looking. Others are left alone for longer and longer, up to five
//! minutes (threat Y-14), unless the network changes or somebody writes a message: then a retry is worth it
//! now, but not more often than every [`NUDGE_APART`].

use std::time::Duration;

/// The longest first delay.
const FIRST: Duration = Duration::from_secs(1);
/// The longest delay for a relay elsewhere.
const CAP: Duration = Duration::from_secs(300);
/// The longest delay for a relay on this machine.
const CAP_LOOPBACK: Duration = Duration::from_secs(3);
/// A connection that held this long proves that the relay is well.
const WELL_AFTER: Duration = Duration::from_secs(30);
/// Between two retries for a reason.
pub(super) const NUDGE_APART: Duration = Duration::from_secs(5);

/// How long to wait before each try.
#[derive(Debug)]
pub(super) struct Backoff {
    cap: Duration,
    next: Duration,
}

impl Backoff {
    pub(super) fn new(loopback: bool) -> Self {
        Self { cap: if loopback { CAP_LOOPBACK } else { CAP }, next: FIRST }
    }

    /// A connection ended after `lasted`: a relay that held it is tried again as if it were the first time.
    pub(super) fn connected(&mut self, lasted: Duration) {
        if lasted >= WELL_AFTER {
            self.next = FIRST;
        }
    }

    /// How long to wait now. `dice` is random: the delay lies in the upper half of its range.
    pub(super) fn delay(&mut self, dice: u32) -> Duration {
        let range = self.next;
        self.next = (self.next * 2).min(self.cap);
        let half = range / 2;
        half + half.mul_f64(f64::from(dice) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn y14_delays_double_from_a_second_to_five_minutes() {
        let mut backoff = Backoff::new(false);
        let delays: Vec<_> = (0..12).map(|_| backoff.delay(u32::MAX).as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        assert_eq!(Backoff::new(false).delay(0), FIRST / 2);
    }

    #[test]
    fn a_relay_on_this_machine_is_tried_every_three_seconds() {
        let mut backoff = Backoff::new(true);
        let delays: Vec<_> = (0..5).map(|_| backoff.delay(u32::MAX).as_secs()).collect();
        assert_eq!(delays, [1, 2, 3, 3, 3]);
    }

    #[test]
    fn y14_only_a_connection_that_held_starts_over() {
        let mut backoff = Backoff::new(false);
        for _ in 0..5 {
            backoff.delay(u32::MAX);
        }
        backoff.connected(Duration::from_secs(1));
        assert_eq!(backoff.delay(u32::MAX).as_secs(), 32);
        backoff.connected(WELL_AFTER);
        assert_eq!(backoff.delay(u32::MAX), FIRST);
    }
}

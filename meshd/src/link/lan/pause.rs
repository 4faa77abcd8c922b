//! How long to leave somebody alone who could not be reached: longer with every failure in a row. Pure.

use std::time::Duration;

/// First pause at the most; doubles with each failure.
const FIRST: Duration = Duration::from_secs(1);
/// Longest pause.
pub(super) const PAUSE_MAX: Duration = Duration::from_secs(300);
/// A link that lasted this long was no failure.
const WELL_AFTER: Duration = Duration::from_secs(30);

/// Failures in a row.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pause {
    pub(super) failures: u32,
}

impl Pause {
    /// A link lasted so long.
    pub(super) fn lasted(&mut self, lasted: Duration) {
        if lasted >= WELL_AFTER {
            self.failures = 0;
        }
    }

    /// How long to wait after one more failure: the upper half of the range, by `chance`.
    pub(super) fn failed(&mut self, chance: f64) -> Duration {
        let range = FIRST.saturating_mul(1 << self.failures.min(16)).min(PAUSE_MAX);
        self.failures += 1;
        range / 2 + range.mul_f64(chance / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_five_minutes_and_begin_again_after_a_link_that_held() {
        let mut pause = Pause::default();
        let pauses: Vec<u64> = (0..11).map(|_| pause.failed(1.0).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        pause.lasted(Duration::from_secs(29));
        assert_eq!(pause.failed(0.0), PAUSE_MAX / 2);
        pause.lasted(Duration::from_secs(30));
        assert_eq!(pause.failed(1.0), FIRST);
    }
}

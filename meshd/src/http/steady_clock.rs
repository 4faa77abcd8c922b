//! The wall clock without its tremor.
//!
//! A moment on the node's timeline is shown as a time of day by adding what the wall clock is ahead. That
//! difference trembles by a millisecond from one reading to the next, and the same message would expire at
//! another time in every answer. So it is kept until the wall clock really moved.

use std::sync::atomic::{AtomicI64, Ordering};

use meshlink_core::Now;

/// A wall clock that moved less than this against the monotonic one did not move, in milliseconds.
const TREMOR_MS_MAX: u64 = 200;

/// How far the wall clock is ahead of the monotonic one, kept steady.
#[derive(Debug)]
pub(super) struct SteadyClock {
    /// In milliseconds; `i64::MIN` until the wall clock was first read.
    ahead_ms: AtomicI64,
}

impl SteadyClock {
    pub(super) fn new() -> Self {
        Self { ahead_ms: AtomicI64::new(i64::MIN) }
    }

    /// `now` with a steady wall clock.
    pub(super) fn steady(&self, now: Now) -> Now {
        let Some(unix_ms) = now.unix_ms else { return now };
        let (Ok(unix), Ok(mono)) = (i64::try_from(unix_ms), i64::try_from(now.mono_ms)) else { return now };
        let kept_ms = self.ahead_ms.load(Ordering::Relaxed);
        let ahead_ms = unix - mono;
        if kept_ms == i64::MIN || kept_ms.abs_diff(ahead_ms) > TREMOR_MS_MAX {
            self.ahead_ms.store(ahead_ms, Ordering::Relaxed);
            return now;
        }
        Now { unix_ms: u64::try_from(mono + kept_ms).ok(), ..now }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tremor_is_not_seen_and_a_step_is() {
        let clock = SteadyClock::new();
        let wall = |mono_ms, unix_ms| clock.steady(Now { mono_ms, unix_ms }).unix_ms;
        assert_eq!(wall(0, None), None);
        assert_eq!(wall(10, Some(1_000_010)), Some(1_000_010));
        assert_eq!(wall(20, Some(1_000_021)), Some(1_000_020));
        assert_eq!(wall(30, Some(1_000_029)), Some(1_000_030));
        assert_eq!(wall(40, Some(2_000_041)), Some(2_000_041));
        assert_eq!(wall(50, Some(2_000_050)), Some(2_000_051));
        // back by a year, and beyond what there is.
        assert_eq!(wall(60, Some(5)), Some(5));
        assert_eq!(wall(70, Some(u64::MAX)), Some(u64::MAX));
    }
}

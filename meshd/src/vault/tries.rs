//! How soon after wrong passphrases the next one is tried.
//!
//! Argon2id makes each try dear for whoever has the disk. Whoever has the API could still try all day long, at the cost
//! of this machine's memory and battery; so after a few wrong ones each try waits longer than the last.

use std::time::{Duration, Instant};

/// Wrong passphrases that cost no wait: people mistype.
const FREE: u32 = 3;
/// The first wait; it doubles each time.
const WAIT_MIN: Duration = Duration::from_secs(2);
/// The longest.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// The wrong passphrases since the last right one.
#[derive(Debug, Default)]
pub(super) struct Tries {
    wrong: u32,
    last: Option<Instant>,
}

impl Tries {
    /// How long to wait until the next try; zero if it may be now.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        let Some(last) = self.last.filter(|_| self.wrong >= FREE) else { return Duration::ZERO };
        let doublings = (self.wrong - FREE).min(16);
        let wait = WAIT_MIN.saturating_mul(1 << doublings).min(WAIT_MAX);
        wait.saturating_sub(now.saturating_duration_since(last))
    }

    /// Notes how a try ended.
    pub(super) fn note(&mut self, is_right: bool, now: Instant) {
        if is_right {
            *self = Self::default();
        } else {
            *self = Self { wrong: self.wrong.saturating_add(1), last: Some(now) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_begin_after_three_double_up_to_a_minute_and_end_with_the_right_one() {
        let start = Instant::now();
        let mut tries = Tries::default();
        let mut waits = Vec::new();
        for _ in 0..10 {
            tries.note(false, start);
            waits.push(tries.wait(start).as_secs());
        }
        assert_eq!(waits, [0, 0, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(tries.wait(start + Duration::from_secs(59)), Duration::from_secs(1));
        assert_eq!(tries.wait(start + Duration::from_secs(60)), Duration::ZERO);
        tries.note(true, start);
        assert_eq!(tries.wait(start), Duration::ZERO);
    }
}

//! Pace: how much may be under way on a link, so that a call for help does not wait long behind it.
//!
//! What was handed over can't be overtaken. A window that a fast link needs would take a poor one many seconds, so
//! who sends keeps to less until credits have shown how fast they come. Reasons: docs/ble.md, "Chunks".

use std::time::Duration;

use tokio::time::Instant;

/// What may be under way at any rate.
pub(super) const LEAST_BYTES: usize = 32 * 1024;
/// How long more than that may take to arrive: as long as the least does at 20 kB/s.
const WAIT: Duration = Duration::from_millis(1600);
/// A rate is measured over this time at least: credits that a busy reader kept back come all at once.
const MEASURE: Duration = Duration::from_millis(100);

/// The measurement under way on one link.
#[derive(Debug, Default)]
pub(super) struct Pace {
    since: Option<Instant>,
    bytes: usize,
}

impl Pace {
    /// Notes a credit for `bytes` when `before` were under way of the `limit` that holds; what may be under way
    /// from now on, once enough came to tell. A sender that had little to send says nothing about its link.
    pub(super) fn credited(
        &mut self,
        now: Instant,
        bytes: usize,
        before: usize,
        limit: usize,
    ) -> Option<usize> {
        if before < limit / 2 {
            *self = Self::default();
            return None;
        }
        let Some(since) = self.since else {
            self.since = Some(now);
            return None;
        };
        self.bytes += bytes;
        let elapsed = now - since;
        if elapsed < WAIT && (self.bytes < LEAST_BYTES || elapsed < MEASURE) {
            return None;
        }
        let arrives_in_time = self.bytes as f64 * WAIT.div_duration_f64(elapsed);
        *self = Self { since: Some(now), bytes: 0 };
        Some(LEAST_BYTES.max(arrives_in_time as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CREDIT: usize = 8 * 1024;

    /// What may be under way after `time` at `rate` bytes a second, in which `busy` is under way.
    fn after(
        pace: &mut Pace,
        start: Instant,
        time: Duration,
        rate: f64,
        busy: usize,
    ) -> (Instant, Option<usize>) {
        let (mut now, mut last) = (start, None);
        while now < start + time {
            now += Duration::from_secs_f64(CREDIT as f64 / rate);
            last = pace.credited(now, CREDIT, busy, LEAST_BYTES).or(last);
        }
        (now, last)
    }

    proptest! {
        #[test]
        fn what_is_under_way_arrives_in_time_or_is_the_least(rate in 1_000.0..2_000_000.0f64) {
            let (mut pace, start) = (Pace::default(), Instant::now());
            let (_, limit) = after(&mut pace, start, Duration::from_secs(20), rate, LEAST_BYTES);
            let wanted = (rate * WAIT.as_secs_f64()).max(LEAST_BYTES as f64);
            let limit = limit.expect("20 s are enough to tell") as f64;
            prop_assert!((limit / wanted - 1.0).abs() < 0.01, "{limit} at {rate} B/s");
        }
    }

    #[test]
    fn a_link_that_slows_down_is_given_the_least_again_as_soon_as_credits_fail_to_come() {
        let mut pace = Pace::default();
        let (now, fast) = after(&mut pace, Instant::now(), Duration::from_secs(1), 200e3, LEAST_BYTES);
        assert!(fast > Some(300_000), "{fast:?}");
        let slow = pace.credited(now + WAIT, CREDIT, LEAST_BYTES, LEAST_BYTES);
        assert_eq!(slow, Some(LEAST_BYTES));
    }

    #[test]
    fn a_sender_with_little_to_send_says_nothing_about_its_link() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let (now, limit) = after(&mut pace, start, Duration::from_secs(5), 200e3, LEAST_BYTES / 2 - 1);
        assert_eq!(limit, None);
        // The pause is not in the next measurement.
        let start = now + Duration::from_secs(60);
        let (_, limit) = after(&mut pace, start, Duration::from_secs(1), 200e3, LEAST_BYTES);
        assert!(limit > Some(300_000), "{limit:?}");
    }

    #[test]
    fn credits_that_come_all_at_once_show_no_rate() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        let limits: Vec<_> =
            (0..8).filter_map(|_| pace.credited(now, CREDIT, LEAST_BYTES, LEAST_BYTES)).collect();
        assert!(limits.is_empty(), "{limits:?}");
    }
}

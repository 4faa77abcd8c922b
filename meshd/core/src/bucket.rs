//! A token bucket: so much at once, and so much an hour.

use crate::clock::Now;

/// See the module's text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    /// The most it holds, and what flows in within an hour.
    capacity: u64,
    tokens: u64,
    filled_mono_ms: u64,
}

const HOUR_MS: u128 = 3_600_000;

impl Bucket {
    /// A full bucket.
    pub(crate) fn new(capacity: u64, now: Now) -> Self {
        Self { capacity, tokens: capacity, filled_mono_ms: now.mono_ms }
    }

    /// The most it holds.
    pub(crate) fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Takes so many tokens, if they are there.
    pub(crate) fn take(&mut self, tokens: u64, now: Now) -> bool {
        self.fill(now);
        let left = self.tokens.checked_sub(tokens);
        self.tokens = left.unwrap_or(self.tokens);
        left.is_some()
    }

    /// Whether so many tokens are there.
    pub(crate) fn has(&mut self, tokens: u64, now: Now) -> bool {
        self.fill(now);
        self.tokens >= tokens
    }

    fn fill(&mut self, now: Now) {
        let passed_ms = u128::from(now.mono_ms.saturating_sub(self.filled_mono_ms));
        let flowed = u128::from(self.capacity) * passed_ms / HOUR_MS;
        if flowed > 0 {
            self.tokens =
                self.capacity.min(self.tokens.saturating_add(flowed.min(u128::from(u64::MAX)) as u64));
            self.filled_mono_ms = now.mono_ms;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(mono_ms: u64) -> Now {
        Now { mono_ms, unix_ms: None }
    }

    #[test]
    fn s03_a_bucket_gives_its_capacity_at_once_and_again_within_an_hour() {
        let mut bucket = Bucket::new(3_600, at(0));
        assert!(bucket.take(3_600, at(0)));
        assert!(!bucket.take(1, at(999)));
        assert!(bucket.take(1, at(1_000)));
        assert!(!bucket.has(3_600, at(3_600_000)));
        assert!(bucket.has(3_600, at(3_601_000)));
        assert!(!bucket.has(3_601, at(99_999_999)), "never more than it holds");
    }

    #[test]
    fn small_steps_fill_it_as_fast_as_large_ones() {
        let mut bucket = Bucket::new(100, at(0));
        bucket.take(100, at(0));
        for ms in 0..=3_600 {
            bucket.has(0, at(ms * 1_000));
        }
        assert!(bucket.has(97, at(3_600_000)), "{bucket:?}");
    }
}

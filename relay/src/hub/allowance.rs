//! How much of something a client may do: a token bucket that is told the time.

/// Refills at a steady rate up to a burst.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowance {
    per_s: u32,
    /// Thousandths of one use.
    burst: u64,
    left: u64,
    filled_ms: u64,
}

impl Allowance {
    /// A full one: `burst` uses at once, `per_s` per second in the long run. `per_s` of 0 means no limit.
    pub(crate) fn new(per_s: u32, burst: u32, now_ms: u64) -> Self {
        let burst = u64::from(burst) * 1_000;
        Self { per_s, burst, left: burst, filled_ms: now_ms }
    }

    /// Takes one use; `false` if there is none left.
    pub(crate) fn take(&mut self, now_ms: u64) -> bool {
        if self.per_s == 0 {
            return true;
        }
        let gained = now_ms.saturating_sub(self.filled_ms).saturating_mul(u64::from(self.per_s));
        self.left = self.left.saturating_add(gained).min(self.burst);
        self.filled_ms = now_ms;
        let Some(left) = self.left.checked_sub(1_000) else { return false };
        self.left = left;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let mut allowance = Allowance::new(200, 200, 0);
        assert_eq!((0..1_000).filter(|_| allowance.take(0)).count(), 200);
        let later = (1..=10_000).flat_map(|ms| [ms, ms]).filter(|ms| allowance.take(*ms)).count();
        assert_eq!(later, 2_000);
    }

    #[test]
    fn zero_means_no_limit() {
        let mut allowance = Allowance::new(0, 0, 0);
        assert!((0..1_000_000).all(|_| allowance.take(0)));
    }
}

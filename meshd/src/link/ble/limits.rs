//! What a user may limit: the links of an adapter.

/// How many links an adapter has at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotLimits {
    /// Links, [`SlotLimits::LINKS`].
    links: u8,
    /// Of them, links that others made; as many lanes are offered. Fewer than `links`.
    callers: u8,
}

impl SlotLimits {
    /// What `links` may be: callers get one at least and never all, and no controller has more than the most.
    pub const LINKS: std::ops::RangeInclusive<u8> = 2..=20;

    /// Limits that make sense together.
    ///
    /// # Errors
    /// In words.
    pub fn new(links: u8, callers: u8) -> Result<Self, String> {
        let range = Self::LINKS;
        if !range.contains(&links) {
            return Err(format!("bluetooth.links is from {} to {}", range.start(), range.end()));
        }
        if !(1..links).contains(&callers) {
            return Err(format!("bluetooth.callers is from 1 to {}, fewer than bluetooth.links", links - 1));
        }
        Ok(Self { links, callers })
    }

    /// Links on one adapter.
    #[must_use]
    pub fn links(self) -> u8 {
        self.links
    }

    /// Of them, links that others made.
    #[must_use]
    pub fn callers(self) -> u8 {
        self.callers
    }
}

impl Default for SlotLimits {
    fn default() -> Self {
        Self { links: 7, callers: 4 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_make_no_sense_are_refused() {
        assert_eq!(SlotLimits::new(7, 4), Ok(SlotLimits::default()));
        assert!(SlotLimits::new(2, 1).is_ok() && SlotLimits::new(20, 19).is_ok());
        for (links, callers) in [(1, 0), (0, 0), (21, 4), (7, 7), (7, 0), (2, 2)] {
            assert!(SlotLimits::new(links, callers).is_err(), "{links} {callers}");
        }
    }
}

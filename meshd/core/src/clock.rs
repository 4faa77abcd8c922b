//! Time as the core knows it.
//!
//! Three clocks, kept apart:
//! - **monotonic** ([`Now::mono_ms`]): counts while the process runs; for timeouts.
//! - **wall** ([`Now::unix_ms`]): the time of day, only when the machine really knows it; shown to people and
//!   written into bundles, never used to decide an expiry by itself.
//! - **timeline** ([`Timeline`]): milliseconds this store has been in use, over all restarts. Ages and
//!   expiries are kept on it, so a wall clock that jumps by years expires nothing (threats ).

use minicbor::{CborLen, Decode, Encode};

/// The moment an input arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds on a clock that never steps back while the process runs.
    pub mono_ms: u64,
    /// Milliseconds since 1970 in UTC; `None` while the time of day is not trusted.
    pub unix_ms: Option<u64>,
}

/// What a store remembers of the clocks between runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode, CborLen)]
pub struct SavedClock {
    /// The timeline when it was saved.
    #[n(0)]
    pub timeline_ms: u64,
    /// The wall clock at that moment, if it was trusted.
    #[n(1)]
    pub unix_ms: Option<u64>,
}

/// Milliseconds this store has been in use, over all restarts.
#[derive(Debug, Clone, Copy)]
pub struct Timeline {
    start_ms: u64,
    start_mono_ms: u64,
}

impl Timeline {
    /// The longest time between two runs that is believed, in milliseconds: 30 days, the longest lifetime.
    /// More is more likely a wrong clock than a long sleep, and counts for nothing: keeping old bundles for
    /// another round costs little, expiring all of them because a clock jumped costs them (threat R-06).
    pub const DOWNTIME_MS_MAX: u64 = 30 * 24 * 3600 * 1000;

    /// Continues from what was saved. The time between counts if both ends of it were trusted.
    pub fn resume(saved: SavedClock, now: Now) -> Self {
        let downtime_ms = match (saved.unix_ms, now.unix_ms) {
            (Some(before), Some(after)) => after.saturating_sub(before),
            (None, _) | (_, None) => 0,
        };
        let believed_ms = if downtime_ms <= Self::DOWNTIME_MS_MAX { downtime_ms } else { 0 };
        Self { start_ms: saved.timeline_ms.saturating_add(believed_ms), start_mono_ms: now.mono_ms }
    }

    /// The position at `now`.
    pub fn at(&self, now: Now) -> u64 {
        self.start_ms.saturating_add(now.mono_ms.saturating_sub(self.start_mono_ms))
    }

    /// When the timeline reaches `position_ms`, as a monotonic time.
    pub fn mono_at(&self, position_ms: u64) -> u64 {
        self.start_mono_ms.saturating_add(position_ms.saturating_sub(self.start_ms))
    }

    /// What to save at `now`.
    pub fn save(&self, now: Now) -> SavedClock {
        SavedClock { timeline_ms: self.at(now), unix_ms: now.unix_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YEAR_MS: u64 = 365 * 24 * 3600 * 1000;

    #[test]
    fn the_time_between_runs_counts_if_both_ends_are_trusted() {
        let saved = SavedClock { timeline_ms: 1_000, unix_ms: Some(5_000_000) };
        let later = Now { mono_ms: 77, unix_ms: Some(5_060_000) };
        let timeline = Timeline::resume(saved, later);
        assert_eq!(timeline.at(later), 61_000);
        assert_eq!(timeline.at(Now { mono_ms: 87, unix_ms: None }), 61_010);
        let untrusted = Now { mono_ms: 77, unix_ms: None };
        assert_eq!(Timeline::resume(saved, untrusted).at(untrusted), 1_000);
    }

    #[test]
    fn r06_a_wall_clock_that_jumps_does_not_move_the_timeline() {
        let saved = SavedClock { timeline_ms: 1_000, unix_ms: Some(10 * YEAR_MS) };
        let ahead = Now { mono_ms: 0, unix_ms: Some(20 * YEAR_MS) };
        assert_eq!(Timeline::resume(saved, ahead).at(ahead), 1_000);
        let month = Now { mono_ms: 0, unix_ms: Some(10 * YEAR_MS + Timeline::DOWNTIME_MS_MAX) };
        assert_eq!(Timeline::resume(saved, month).at(month), 1_000 + Timeline::DOWNTIME_MS_MAX);
        let back = Now { mono_ms: 0, unix_ms: Some(9 * YEAR_MS) };
        let timeline = Timeline::resume(saved, back);
        assert_eq!(timeline.at(back), 1_000);
        // While it runs, only the monotonic clock moves it.
        assert_eq!(timeline.at(Now { mono_ms: 5, unix_ms: Some(99 * YEAR_MS) }), 1_005);
    }

    #[test]
    fn a_position_maps_back_to_the_monotonic_clock() {
        let now = Now { mono_ms: 500, unix_ms: None };
        let timeline = Timeline::resume(SavedClock { timeline_ms: 9_000, unix_ms: None }, now);
        assert_eq!(timeline.mono_at(9_250), 750);
        assert_eq!(timeline.mono_at(1), 500);
    }
}

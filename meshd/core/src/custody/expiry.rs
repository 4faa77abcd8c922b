//! What goes because its time is over.

use crate::clock::Now;
use crate::event::MessageStatus;
use crate::limits::{CLOCK_SAVE_IDLE_MS, DROPPED_MS, SWEEP_MAX, SWEEP_MS_MIN};
use crate::store::{Store, StoreError};
use crate::tally::Loss;

use super::Custody;

/// Said of an own message that nobody took.
const NOBODY_TOOK_IT: &str = "its lifetime ended before any other node took it";

impl<S: Store> Custody<S> {
    /// Drops what has expired, ends own messages nobody took, forgets ids that were remembered long enough,
    /// and keeps the saved clocks fresh. Does nothing before [`Custody::next_sweep_mono_ms`].
    pub(crate) fn sweep(&mut self, now: Now) -> Result<(), StoreError> {
        if self.next_sweep_mono_ms().is_some_and(|due| now.mono_ms >= due) {
            self.drop_expired(now)?;
        }
        self.try_put_by(now)?;
        if !self.has_put_by() {
            self.do_what_is_due(now)?;
        }
        if now.mono_ms >= self.next_clock_save_mono_ms() {
            self.forget_dropped(now)?;
            self.save_clock(now)?;
        }
        Ok(())
    }

    fn drop_expired(&mut self, now: Now) -> Result<(), StoreError> {
        let now_tl_ms = self.timeline.at(now);
        let expired = self.store.expired(now_tl_ms, SWEEP_MAX)?;
        for id in &expired {
            let carried = self.state_of(id)?;
            if let Some(message) = carried.filter(|message| message.status == MessageStatus::Pending) {
                self.advance(&message.id, MessageStatus::Expired, Some(NOBODY_TOOK_IT), now)?;
            }
            self.drop_and_remember(id, now_tl_ms.saturating_add(DROPPED_MS), Loss::Expired)?;
        }
        self.forget_dropped(now)?;
        self.renew_profile(now)?;
        self.renew_prekeys(now)?;
        self.next_expiry_tl_ms = self.store.next_expiry()?;
        self.swept_mono_ms = Some(now.mono_ms).filter(|_| expired.len() < SWEEP_MAX);
        Ok(())
    }

    /// When something expires, but not at once after a sweep: bundles that expire within a second go together.
    pub(crate) fn next_sweep_mono_ms(&self) -> Option<u64> {
        let due = self.timeline.mono_at(self.next_expiry_tl_ms?);
        Some(due.max(self.swept_mono_ms.map_or(0, |swept| swept.saturating_add(SWEEP_MS_MIN))))
    }

    /// When an idle node saves its clocks.
    pub(crate) fn next_clock_save_mono_ms(&self) -> u64 {
        self.clock_saved_mono_ms.map_or(0, |saved| saved.saturating_add(CLOCK_SAVE_IDLE_MS))
    }
}

//! What a locked node puts by.
//!
//! A locked node has no keys, so it can't tell whether sealed mail is for it, nor whether a receipt is for something
//! it sent. It keeps both as it keeps everything it carries, with a mark beside them. Once it is unlocked it looks into
//! each marked bundle once, a few at a time, and before it does anything else that became due: so mail shows up, and
//! what was delivered meanwhile is not given up.
//!
//! Posts need no mark of their own: nobody's channels are known while locked, so they wait as those of channels that are not
//! joined do (`channels`).
//!
//! Whoever adds a kind of bundle that needs keys to be taken in calls [`Custody::put_by`] while the store is locked, and
//! adds the kind to `look_into`.

use crate::bundle::Content;
use crate::clock::Now;
use crate::event::MessageStatus;
use crate::id::{BundleId, Seq};
use crate::limits::{COPIES_MAX, PUT_BY_BATCH};
use crate::store::{Store, StoreError, StoredBundle};

use super::Custody;

/// The mark, where posts have the channel they are not shown in. No channel is called so.
const PUT_BY: &str = "sealed";

impl<S: Store> Custody<S> {
    /// Stores a bundle that is looked into when the keys are there.
    pub(super) fn put_by(&mut self, stored: &mut StoredBundle) -> Result<(), StoreError> {
        stored.unshown_in = Some(PUT_BY.to_owned());
        self.insert(stored)
    }

    pub(super) fn load_put_by(&mut self) -> Result<(), StoreError> {
        self.has_put_by = !self.store.unshown(PUT_BY, 0, 1)?.is_empty();
        Ok(())
    }

    /// Whether bundles wait to be looked into.
    pub(crate) fn has_put_by(&self) -> bool {
        self.has_put_by
    }

    /// Looks into some of what was put by.
    pub(crate) fn try_put_by(&mut self, now: Now) -> Result<(), StoreError> {
        if !self.has_put_by {
            return Ok(());
        }
        let found = self.store.unshown(PUT_BY, 0, PUT_BY_BATCH)?;
        for (_, id) in &found {
            self.store.mark_shown(id)?;
            self.look_into(id, now)?;
        }
        self.has_put_by = found.len() == PUT_BY_BATCH;
        Ok(())
    }

    fn look_into(&mut self, id: &BundleId, now: Now) -> Result<(), StoreError> {
        let Some(mut stored) = self.store.bundle(id)? else { return Ok(()) };
        let kept_ms = self.timeline.at(now).saturating_sub(stored.received_tl_ms);
        stored.age_ms = stored.age_ms.saturating_add(kept_ms);
        // It was proven when it came in.
        let Ok(bundle) = stored.bytes().parse() else { return Ok(()) };
        match bundle.read() {
            Ok(Content::Sealed(sealed)) => {
                let Some(letter) = self.open_late(&bundle, &sealed)? else { return Ok(()) };
                self.take_letter(&stored, letter, None, now)
            }
            Ok(Content::Receipt(receipt)) => self.take_receipt(&receipt, now).map(drop),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// A neighbour took an own bundle, and which message it carries is not known now. One copy less says that it did.
    pub(super) fn note_taken_while_locked(&mut self, bundle: &BundleId) -> Result<(), StoreError> {
        self.store.hand_over_copy(bundle)
    }

    /// Moves own private messages on whose bundles somebody took meanwhile.
    pub(super) fn recall_taken(&mut self, now: Now) -> Result<(), StoreError> {
        for id in self.store.pending(Seq(i64::MAX as u64), usize::MAX)? {
            let mut carrier = self.carrier_of(&id)?;
            if carrier.is_none() {
                carrier = self.carrier_to_group(&id)?;
            }
            let Some(bundle) = carrier else { continue };
            if self.store.bundle(&bundle)?.is_some_and(|held| held.copies < COPIES_MAX) {
                self.advance(&id, MessageStatus::Synced, None, now)?;
            }
        }
        Ok(())
    }
}

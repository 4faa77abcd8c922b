//! How rows come, change and go, with everything that is counted and ordered by them.

use std::cmp::Reverse;

use super::heap::{Count, Heap, counts_of, heaps_of};
use super::{Flaw, MemStore};
use crate::event::MessageStatus;
use crate::id::{BundleId, NodeId, Seq};
use crate::store::{Dropped, MessageRecord, Priority, StoreError, StoredBundle, Usage, Victim};

impl MemStore {
    /// Opens the transaction.
    pub(super) fn write(&mut self) -> Result<(), StoreError> {
        if let Some(error) = &self.failing {
            self.failed = Some(error.clone());
            return Err(error.clone());
        }
        self.dirty = true;
        Ok(())
    }

    pub(super) fn next_seq(&mut self) -> Seq {
        let next = self.last_seq.get(&()).copied().unwrap_or(0) + 1;
        self.last_seq.put((), next);
        Seq(next)
    }

    pub(super) fn count(&mut self, count: Count, bundles: i64, bytes: i64) {
        let mut usage = self.usage.get(&count).copied().unwrap_or_default();
        let before_bytes = usage.bytes;
        usage.bundles = usage.bundles.checked_add_signed(bundles).expect("only what was counted leaves");
        usage.bytes = usage.bytes.checked_add_signed(bytes).expect("only what was counted leaves");
        if let Count::Held(Heap::Ingress(peer)) = count {
            self.brought.remove(&(before_bytes, Reverse(peer)));
            if usage.bytes > 0 {
                self.brought.put((usage.bytes, Reverse(peer)), ());
            }
        }
        if usage.bundles == 0 {
            self.usage.remove(&count);
        } else {
            self.usage.put(count, usage);
        }
    }

    pub(super) fn usage_of(&self, count: Count) -> Usage {
        self.usage.get(&count).copied().unwrap_or_default()
    }

    pub(super) fn id_of(&self, row: u64) -> BundleId {
        *self.id_at.get(&row).expect("each row's bundle is held")
    }

    pub(super) fn bundle_at(&self, row: u64) -> &StoredBundle {
        let (_, bundle) = self.held.get(&self.id_of(row)).expect("each row's bundle is held");
        bundle
    }

    /// Says whether it was held.
    pub(super) fn remove_bundle(&mut self, id: &BundleId) -> bool {
        let Some((row, bundle)) = self.held.remove(id) else { return false };
        self.id_at.remove(&row);
        self.order.remove(&(bundle.priority, row));
        self.expiry.remove(&(bundle.expires_tl_ms, row));
        if let Some(channel) = &bundle.unshown_in {
            self.unshown.remove(&(channel.clone(), row));
        }
        if let Some(commitment) = bundle.commitment {
            self.committed.remove(&(commitment, row));
        }
        let cost = -(bundle.cost_bytes() as i64);
        for heap in heaps_of(&bundle) {
            self.heaps.remove(&(heap, Reverse(bundle.priority), bundle.copies, row));
        }
        for count in counts_of(&bundle) {
            self.count(count, -1, cost);
        }
        true
    }

    pub(super) fn first_of(&self, heap: Heap, copies_min: u8) -> Option<Victim> {
        let of = |level| {
            let level = Reverse(level);
            self.heaps.range((heap, level, copies_min, 0)..=(heap, level, u8::MAX, u64::MAX))
        };
        let mut all = [Priority::Bulk, Priority::Normal, Priority::Sos].into_iter().flat_map(of);
        let first = if self.flaw == Some(Flaw::WrongVictim) { all.next_back() } else { all.next() };
        let ((_, _, _, row), ()) = first?;
        let bundle = self.bundle_at(*row);
        Some(Victim {
            id: bundle.id,
            kind: bundle.kind,
            class: bundle.class,
            priority: bundle.priority,
            cost_bytes: bundle.cost_bytes(),
            expires_tl_ms: bundle.expires_tl_ms,
            received_tl_ms: bundle.received_tl_ms,
            copies: bundle.copies,
            ingress: bundle.ingress,
        })
    }

    pub(super) fn fullest(&self) -> Option<(NodeId, Usage)> {
        if self.flaw == Some(Flaw::NoLinkShare) {
            return None;
        }
        let ((_, Reverse(peer)), ()) = self.brought.range(..).next_back()?;
        Some((*peer, self.usage_of(Count::Held(Heap::Ingress(*peer)))))
    }

    /// Drops a bundle and remembers its id; says whether it was held.
    pub(super) fn drop_for(
        &mut self,
        id: &BundleId,
        until_tl_ms: u64,
        why: Dropped,
    ) -> Result<bool, StoreError> {
        self.write()?;
        let was_held = self.remove_bundle(id);
        let (before_tl_ms, earlier) = self.forget(id).unwrap_or((0, Dropped::ForRoom));
        if !self.flaw.is_some_and(|flaw| matches!(flaw, Flaw::ForgetsDropped | Flaw::ShowsAgain)) {
            let until_tl_ms = until_tl_ms.max(before_tl_ms);
            self.dropped.put(*id, (until_tl_ms, why.max(earlier)));
            self.dropped_due.put((until_tl_ms, *id), ());
        }
        Ok(was_held)
    }

    /// Remembers a dropped id no longer; says what was remembered.
    pub(super) fn forget(&mut self, id: &BundleId) -> Option<(u64, Dropped)> {
        let (until_tl_ms, why) = self.dropped.remove(id)?;
        self.dropped_due.remove(&(until_tl_ms, *id));
        Some((until_tl_ms, why))
    }

    pub(super) fn note_pending(&mut self, message: &MessageRecord) {
        if message.own && message.status == MessageStatus::Pending {
            self.pending.put(message.seq, ());
        } else {
            self.pending.remove(&message.seq);
        }
    }

    pub(super) fn change_message(&mut self, id: &BundleId, change: impl FnOnce(&mut MessageRecord)) {
        if let Some(seq) = self.seq_of.get(id).copied() {
            let mut message = self.messages.get(&seq).expect("each id's message is kept").clone();
            change(&mut message);
            self.note_pending(&message);
            self.messages.put(seq, message);
        }
    }
}

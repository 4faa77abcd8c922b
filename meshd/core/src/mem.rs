//! A store in memory: the reference model of the [`Store`] contract, with real transactions.
//!
//! It is what the SQLite store is compared with, and what the simulator's nodes keep. A crash is a dropped
//! node and a [`Store::rollback`]; a bad disk is [`MemStore::fail_writes`].

mod by_id;
mod flaw;
mod heap;
mod rows;
mod table;

pub use flaw::Flaw;

use std::cmp::Reverse;
use std::ops::Bound::{Excluded, Included, Unbounded};

use by_id::ById;
use heap::{Count, Heap, counts_of, heaps_of};
use table::Table;

use crate::clock::SavedClock;
use crate::event::{Event, LoggedEvent, MessageStatus};
use crate::id::{BundleId, IdPrefix, NodeId, Seq};
use crate::limits::{COPIES_MAIL_MIN, HAND_OVERS_MAX};
use crate::receipt::Commitment;
use crate::store::{
    Class, Dropped, HandOver, Known, MessageRecord, MessageState, Offer, OfferKey, PeerRecord, Priority,
    Record, Shelf, Slot, Store, StoreError, StoredBundle, Usage, Victim,
};

/// See the module's text.
#[derive(Debug, Clone, Default)]
pub struct MemStore {
    /// The bundles, each with its row.
    held: ById<(u64, Box<StoredBundle>)>,
    id_at: Table<u64, BundleId>,
    order: Table<(Priority, u64), ()>,
    expiry: Table<(u64, u64), ()>,
    heaps: Table<(Heap, Reverse<Priority>, u8, u64), ()>,
    unshown: Table<(String, u64), ()>,
    committed: Table<(Commitment, u64), ()>,
    records: Table<(Shelf, Vec<u8>), Vec<u8>>,
    usage: Table<Count, Usage>,
    /// Neighbours by what is held of the strangers' bundles that they brought.
    brought: Table<(u64, Reverse<NodeId>), ()>,
    dropped: ById<(u64, Dropped)>,
    dropped_due: Table<(u64, BundleId), ()>,
    messages: Table<Seq, MessageRecord>,
    seq_of: Table<BundleId, Seq>,
    /// Received messages in the order in which they are forgotten: read ones first.
    received: Table<(bool, Seq), ()>,
    /// Own messages that are pending.
    pending: Table<Seq, ()>,
    events: Table<Seq, LoggedEvent>,
    peers: Table<NodeId, PeerRecord>,
    silent: Table<(u64, NodeId), ()>,
    hand_overs: Table<(BundleId, usize), HandOver>,
    slots: Table<Slot, Vec<u8>>,
    last_row: Table<(), u64>,
    last_seq: Table<(), u64>,
    clock: Table<(), SavedClock>,
    flaw: Option<Flaw>,
    locked: bool,
    dirty: bool,
    failing: Option<StoreError>,
    failed: Option<StoreError>,
}

macro_rules! each_table {
    ($store:ident, $method:ident) => {
        $store.held.$method();
        $store.id_at.$method();
        $store.order.$method();
        $store.expiry.$method();
        $store.heaps.$method();
        $store.unshown.$method();
        $store.committed.$method();
        $store.records.$method();
        $store.usage.$method();
        $store.brought.$method();
        $store.dropped.$method();
        $store.dropped_due.$method();
        $store.messages.$method();
        $store.seq_of.$method();
        $store.received.$method();
        $store.pending.$method();
        $store.events.$method();
        $store.peers.$method();
        $store.silent.$method();
        $store.hand_overs.$method();
        $store.slots.$method();
        $store.last_row.$method();
        $store.last_seq.$method();
        $store.clock.$method();
    };
}

impl MemStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes every write and commit fail like this from now on, or lets them work again.
    pub fn fail_writes(&mut self, failing: Option<StoreError>) {
        self.failing = failing;
    }

    /// Gives it a flaw, or takes it away.
    pub fn plant(&mut self, flaw: Option<Flaw>) {
        self.flaw = flaw;
    }

    /// Takes the keys to what is private away, or gives them back.
    pub fn set_locked(&mut self, locked: bool) {
        self.locked = locked;
    }

    /// A message as it can be read: without words in a locked store.
    fn readable(&self, message: &MessageRecord) -> MessageRecord {
        let mut message = message.clone();
        if self.locked {
            (message.text, message.conversation) = Default::default();
            (message.from, message.from_alias, message.reply_to) = Default::default();
        }
        message
    }

    fn check_unlocked(&self) -> Result<(), StoreError> {
        if self.locked { Err(StoreError::Locked) } else { Ok(()) }
    }

    /// Bundles held.
    pub fn bundles_held(&self) -> usize {
        self.held.len()
    }

    /// Dropped ids remembered.
    pub fn dropped_remembered(&self) -> usize {
        self.dropped.len()
    }
}

/// As much of the start of an id as is looked at.
fn looked_at(start: &[u8]) -> &[u8] {
    &start[..start.len().min(IdPrefix::BYTES)]
}

fn offer_of(row: u64, bundle: &StoredBundle) -> Offer {
    Offer {
        key: OfferKey { priority: bundle.priority, row },
        id: bundle.id,
        hops: bundle.hops,
        ingress: bundle.ingress,
        own: bundle.class == Class::Own,
        size_bytes: bundle.size_bytes(),
    }
}

impl Store for MemStore {
    fn commit(&mut self) -> Result<(), StoreError> {
        let failed = self.failed.take().or_else(|| self.failing.clone().filter(|_| self.dirty));
        if let Some(error) = failed {
            self.rollback();
            return Err(error);
        }
        each_table!(self, commit);
        self.dirty = false;
        Ok(())
    }

    fn rollback(&mut self) {
        each_table!(self, rollback);
        self.dirty = false;
        self.failed = None;
    }

    fn is_dirty(&self) -> bool {
        self.dirty
    }

    fn probe(&mut self) -> Result<(), StoreError> {
        self.failing.clone().map_or(Ok(()), Err)
    }

    fn insert_bundle(&mut self, bundle: &StoredBundle) -> Result<u64, StoreError> {
        self.write()?;
        assert!(!self.held.contains(&bundle.id), "admission has looked whether it is held");
        self.forget(&bundle.id);
        let row = self.last_row.get(&()).copied().unwrap_or(0) + 1;
        self.last_row.put((), row);
        self.id_at.put(row, bundle.id);
        self.order.put((bundle.priority, row), ());
        self.expiry.put((bundle.expires_tl_ms, row), ());
        if let Some(channel) = &bundle.unshown_in {
            self.unshown.put((channel.clone(), row), ());
        }
        if let Some(commitment) = bundle.commitment {
            self.committed.put((commitment, row), ());
        }
        for heap in heaps_of(bundle) {
            self.heaps.put((heap, Reverse(bundle.priority), bundle.copies, row), ());
        }
        for count in counts_of(bundle) {
            self.count(count, 1, bundle.cost_bytes() as i64);
        }
        self.held.put(bundle.id, (row, Box::new(bundle.clone())));
        Ok(row)
    }

    fn bundle(&self, id: &BundleId) -> Result<Option<StoredBundle>, StoreError> {
        Ok(self.held.get(id).map(|(_, bundle)| bundle.as_ref().clone()))
    }

    fn known(&self, prefix: &IdPrefix) -> Result<Known, StoreError> {
        Ok(match self.held.like(&prefix.0).next() {
            Some((id, _)) => Known::Held(*id),
            None => self.dropped_like(&prefix.0)?.map_or(Known::No, Known::Dropped),
        })
    }

    fn offers(&self, after: OfferKey, limit: usize) -> Result<Vec<Offer>, StoreError> {
        let start = (Excluded((after.priority, after.row)), Unbounded);
        let rows = self.order.range(start).take(limit);
        Ok(rows.map(|((_, row), ())| offer_of(*row, self.bundle_at(*row))).collect())
    }

    fn held_like(&self, start: &[u8], limit: usize) -> Result<Vec<Offer>, StoreError> {
        let alike = self.held.like(looked_at(start)).take(limit);
        Ok(alike.map(|(_, (row, bundle))| offer_of(*row, bundle)).collect())
    }

    fn dropped_like(&self, start: &[u8]) -> Result<Option<Dropped>, StoreError> {
        Ok(self.dropped.like(looked_at(start)).map(|(_, (_, why))| *why).max())
    }

    fn each_id(&self, give: &mut dyn FnMut(&BundleId)) -> Result<(), StoreError> {
        self.held.all().for_each(|(id, _)| give(id));
        Ok(())
    }

    fn newest_row(&self, priority: Priority) -> Result<u64, StoreError> {
        let newest = self.order.range((priority, 0)..=(priority, u64::MAX)).next_back();
        Ok(newest.map_or(0, |((_, row), ())| *row))
    }

    fn bundles_of_origin(&self, origin: &NodeId, limit: usize) -> Result<Vec<BundleId>, StoreError> {
        let heap = Heap::Origin(*origin);
        let from = (heap, Reverse(Priority::Bulk), 0, 0);
        let to = (heap, Reverse(Priority::Sos), u8::MAX, u64::MAX);
        let ids = self.heaps.range(from..=to).take(limit);
        Ok(ids.map(|((_, _, _, row), ())| self.id_of(*row)).collect())
    }

    fn unshown(&self, channel: &str, after: u64, limit: usize) -> Result<Vec<(u64, BundleId)>, StoreError> {
        let channel = channel.to_owned();
        let after = Excluded((channel.clone(), after));
        let rows = self.unshown.range((after, Included((channel, u64::MAX)))).take(limit);
        Ok(rows.map(|((_, row), ())| (*row, self.id_of(*row))).collect())
    }

    fn bundles_committed(&self, to: &Commitment, limit: usize) -> Result<Vec<BundleId>, StoreError> {
        let rows = self.committed.range((*to, 0)..=(*to, u64::MAX)).take(limit);
        Ok(rows.map(|((_, row), ())| self.id_of(*row)).collect())
    }

    fn newest_of_kind(&self, origin: &NodeId, kind: u16) -> Result<Option<BundleId>, StoreError> {
        let heap = Heap::Origin(*origin);
        let all = (heap, Reverse(Priority::Bulk), 0, 0)..=(heap, Reverse(Priority::Sos), u8::MAX, u64::MAX);
        let of_kind = self.heaps.range(all).filter_map(|((_, _, _, row), ())| {
            let bundle = self.bundle_at(*row);
            (bundle.kind == kind).then_some((*row, bundle.id))
        });
        Ok(of_kind.max().map(|(_, id)| id))
    }

    fn mark_shown(&mut self, id: &BundleId) -> Result<(), StoreError> {
        self.write()?;
        let Some((row, mut bundle)) = self.held.get(id).cloned() else { return Ok(()) };
        if let Some(channel) = bundle.unshown_in.take() {
            self.unshown.remove(&(channel, row));
            self.held.put(*id, (row, bundle));
        }
        Ok(())
    }

    fn hand_over_copy(&mut self, id: &BundleId) -> Result<(), StoreError> {
        self.write()?;
        let Some((row, mut bundle)) = self.held.get(id).cloned() else { return Ok(()) };
        for heap in heaps_of(&bundle) {
            self.heaps.remove(&(heap, Reverse(bundle.priority), bundle.copies, row));
        }
        if bundle.copies != COPIES_MAIL_MIN {
            bundle.copies = bundle.copies.saturating_sub(1);
        }
        for heap in heaps_of(&bundle) {
            self.heaps.put((heap, Reverse(bundle.priority), bundle.copies, row), ());
        }
        self.held.put(*id, (row, bundle));
        Ok(())
    }

    fn drop_bundle(&mut self, id: &BundleId, until_tl_ms: u64) -> Result<bool, StoreError> {
        self.drop_for(id, until_tl_ms, Dropped::ForGood)
    }

    fn let_go(&mut self, id: &BundleId, until_tl_ms: u64) -> Result<bool, StoreError> {
        self.drop_for(id, until_tl_ms, Dropped::ForRoom)
    }

    fn expired(&self, now_tl_ms: u64, limit: usize) -> Result<Vec<BundleId>, StoreError> {
        let due = self.expiry.range(..=(now_tl_ms, u64::MAX)).take(limit);
        Ok(due.map(|((_, row), ())| self.id_of(*row)).collect())
    }

    fn next_expiry(&self) -> Result<Option<u64>, StoreError> {
        Ok(self.expiry.range(..).next().map(|((at, _), ())| *at))
    }

    fn forget_dropped(&mut self, now_tl_ms: u64, limit: usize) -> Result<usize, StoreError> {
        self.write()?;
        let due: Vec<(u64, BundleId)> = self
            .dropped_due
            .range(..=(now_tl_ms, BundleId([0xff; BundleId::BYTES])))
            .take(limit)
            .map(|(key, ())| *key)
            .collect();
        for key in &due {
            self.dropped_due.remove(key);
            self.dropped.remove(&key.1);
        }
        Ok(due.len())
    }

    fn usage(&self, class: Class) -> Result<Usage, StoreError> {
        Ok(self.usage_of(Count::Held(Heap::Class(class))))
    }

    fn usage_of_origin(&self, origin: &NodeId) -> Result<Usage, StoreError> {
        let counts = self.flaw != Some(Flaw::NoOriginShare);
        Ok(if counts { self.usage_of(Count::Held(Heap::Origin(*origin))) } else { Usage::default() })
    }

    fn usage_of_ingress(&self, peer: &NodeId) -> Result<Usage, StoreError> {
        let counts = self.flaw != Some(Flaw::NoLinkShare);
        Ok(if counts { self.usage_of(Count::Held(Heap::Ingress(*peer))) } else { Usage::default() })
    }

    fn fullest_ingress(&self) -> Result<Option<(NodeId, Usage)>, StoreError> {
        Ok(self.fullest())
    }

    fn usage_of_public(&self) -> Result<Usage, StoreError> {
        Ok(self.usage_of(Count::Public))
    }

    fn victim(&self, class: Class, copies_min: u8) -> Result<Option<Victim>, StoreError> {
        Ok(self.first_of(Heap::Class(class), copies_min))
    }

    fn victim_of_origin(&self, origin: &NodeId) -> Result<Option<Victim>, StoreError> {
        Ok(self.first_of(Heap::Origin(*origin), 0))
    }

    fn victim_of_ingress(&self, peer: &NodeId, copies_min: u8) -> Result<Option<Victim>, StoreError> {
        Ok(self.first_of(Heap::Ingress(*peer), copies_min))
    }

    fn insert_message(&mut self, message: &mut MessageRecord) -> Result<Seq, StoreError> {
        self.check_unlocked()?;
        self.write()?;
        if self.flaw == Some(Flaw::ShowsAgain) {
            self.delete_message(&message.id)?;
        }
        assert!(!self.seq_of.contains(&message.id), "the caller has looked whether it is kept");
        let seq = self.append_event(&Event::MessageNew { id: message.id }, message.received_unix_ms)?;
        message.seq = seq;
        self.seq_of.put(message.id, seq);
        if !message.own {
            self.received.put((!message.read, seq), ());
            self.count(Count::Received, 1, message.cost_bytes() as i64);
        }
        self.note_pending(message);
        self.messages.put(seq, message.clone());
        Ok(seq)
    }

    fn message(&self, id: &BundleId) -> Result<Option<MessageRecord>, StoreError> {
        let message = self.seq_of.get(id).and_then(|seq| self.messages.get(seq));
        let message = message.filter(|message| message.own || self.flaw != Some(Flaw::ShowsAgain));
        Ok(message.map(|message| self.readable(message)))
    }

    fn message_state(&self, id: &BundleId) -> Result<Option<MessageState>, StoreError> {
        Ok(self.message(id)?.map(|message| message.state()))
    }

    fn messages_after(&self, after: Seq, limit: usize) -> Result<Vec<MessageRecord>, StoreError> {
        let later = self.messages.range((Excluded(after), Unbounded)).take(limit);
        Ok(later.map(|(_, message)| self.readable(message)).collect())
    }

    fn pending(&self, until: Seq, limit: usize) -> Result<Vec<BundleId>, StoreError> {
        let due = self.pending.range(..=until).take(limit);
        Ok(due.map(|(seq, ())| self.messages.get(seq).expect("each entry's message is kept").id).collect())
    }

    fn set_status(
        &mut self,
        id: &BundleId,
        status: MessageStatus,
        reason: Option<&str>,
    ) -> Result<(), StoreError> {
        self.write()?;
        self.change_message(id, |message| {
            message.status = status;
            message.status_reason = reason.map(str::to_owned);
        });
        Ok(())
    }

    fn mark_read(&mut self, id: &BundleId) -> Result<bool, StoreError> {
        self.write()?;
        let Some(message) = self.message(id)?.filter(|message| !message.read) else { return Ok(false) };
        if !message.own {
            self.received.remove(&(true, message.seq));
            self.received.put((false, message.seq), ());
        }
        self.change_message(id, |message| message.read = true);
        Ok(true)
    }

    fn delete_message(&mut self, id: &BundleId) -> Result<bool, StoreError> {
        self.write()?;
        let Some(seq) = self.seq_of.remove(id) else { return Ok(false) };
        let message = self.messages.remove(&seq).expect("each id's message is kept");
        self.pending.remove(&seq);
        if !message.own {
            self.received.remove(&(!message.read, seq));
            self.count(Count::Received, -1, -(message.cost_bytes() as i64));
        }
        for n in 0..self.hand_overs(id)?.len() {
            self.hand_overs.remove(&(*id, n));
        }
        Ok(true)
    }

    fn received_usage(&self) -> Result<Usage, StoreError> {
        Ok(self.usage_of(Count::Received))
    }

    fn trim_received(&mut self, bytes_max: u64, limit: usize) -> Result<usize, StoreError> {
        self.write()?;
        let mut forgotten = 0;
        while forgotten < limit && self.usage_of(Count::Received).bytes > bytes_max {
            let ((_, seq), ()) = self.received.range(..).next().expect("what is counted is kept");
            let id = self.messages.get(seq).expect("each entry's message is kept").id;
            self.delete_message(&id)?;
            forgotten += 1;
        }
        Ok(forgotten)
    }

    fn append_event(&mut self, event: &Event, at_unix_ms: Option<u64>) -> Result<Seq, StoreError> {
        self.write()?;
        let seq = self.next_seq();
        self.events.put(seq, LoggedEvent { seq, at_unix_ms, event: event.clone() });
        Ok(seq)
    }

    fn events_after(&self, after: Seq, limit: usize) -> Result<Vec<LoggedEvent>, StoreError> {
        let later = self.events.range((Excluded(after), Unbounded)).take(limit);
        Ok(later.map(|(_, event)| event.clone()).collect())
    }

    fn event_bounds(&self) -> Result<Option<(Seq, Seq)>, StoreError> {
        let Some(newest) = self.last_seq.get(&()).map(|seq| Seq(*seq)) else { return Ok(None) };
        let oldest = self.events.range(..).next().map_or(Seq(newest.0 + 1), |(seq, _)| *seq);
        Ok(Some((oldest, newest)))
    }

    fn trim_events(&mut self, keep: u64) -> Result<u64, StoreError> {
        self.write()?;
        let mut trimmed = 0;
        while self.events.len() as u64 > keep {
            let oldest =
                self.events.range(..).next().map(|(seq, _)| *seq).expect("more than `keep` are left");
            self.events.remove(&oldest);
            trimmed += 1;
        }
        Ok(trimmed)
    }

    fn peer(&self, id: &NodeId) -> Result<Option<PeerRecord>, StoreError> {
        Ok(self.peers.get(id).cloned())
    }

    fn put_peer(&mut self, peer: &PeerRecord) -> Result<(), StoreError> {
        self.write()?;
        if let Some(before) = self.peers.get(&peer.id) {
            let place = (before.heard_tl_ms, peer.id);
            self.silent.remove(&place);
        }
        if !peer.blocked {
            self.silent.put((peer.heard_tl_ms, peer.id), ());
        }
        self.peers.put(peer.id, peer.clone());
        Ok(())
    }

    fn trim_peers(&mut self, keep: u64) -> Result<u64, StoreError> {
        self.write()?;
        let mut trimmed = 0;
        while self.peers.len() as u64 > keep {
            let Some((place, ())) = self.silent.range(..).next().map(|(place, ())| (*place, ())) else {
                break;
            };
            self.silent.remove(&place);
            self.peers.remove(&place.1);
            trimmed += 1;
        }
        Ok(trimmed)
    }

    fn blocked(&self) -> Result<Vec<NodeId>, StoreError> {
        Ok(self.peers.range(..).filter(|(_, peer)| peer.blocked).map(|(id, _)| *id).collect())
    }

    fn is_locked(&self) -> bool {
        self.locked
    }

    fn record_hand_over(&mut self, step: &HandOver) -> Result<(), StoreError> {
        self.write()?;
        if !self.seq_of.contains(&step.bundle) {
            return Ok(());
        }
        let noted = self.hand_overs(&step.bundle)?;
        let is_new = !noted.iter().any(|other| (other.peer, other.step) == (step.peer, step.step));
        if is_new && (step.peer.is_none() || noted.len() < HAND_OVERS_MAX) {
            self.hand_overs.put((step.bundle, noted.len()), step.clone());
        }
        Ok(())
    }

    fn hand_overs(&self, bundle: &BundleId) -> Result<Vec<HandOver>, StoreError> {
        let steps = self.hand_overs.range((*bundle, 0)..=(*bundle, usize::MAX));
        Ok(steps.map(|(_, step)| step.clone()).collect())
    }

    fn record(&self, shelf: Shelf, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.check_unlocked()?;
        Ok(self.records.get(&(shelf, key.to_vec())).cloned())
    }

    fn put_record(&mut self, shelf: Shelf, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.check_unlocked()?;
        self.write()?;
        self.records.put((shelf, key.to_vec()), value.to_vec());
        Ok(())
    }

    fn remove_record(&mut self, shelf: Shelf, key: &[u8]) -> Result<bool, StoreError> {
        self.check_unlocked()?;
        self.write()?;
        Ok(self.records.remove(&(shelf, key.to_vec())).is_some())
    }

    fn records(&self, shelf: Shelf, from: &[u8], limit: usize) -> Result<Vec<Record>, StoreError> {
        self.check_unlocked()?;
        let found = self.records.range((shelf, from.to_vec())..).take_while(|((of, _), _)| *of == shelf);
        Ok(found.take(limit).map(|((_, key), value)| (key.clone(), value.clone())).collect())
    }

    fn slot(&self, slot: Slot) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.slots.get(&slot).cloned())
    }

    fn set_slot(&mut self, slot: Slot, bytes: &[u8]) -> Result<(), StoreError> {
        self.write()?;
        self.slots.put(slot, bytes.to_vec());
        Ok(())
    }

    fn saved_clock(&self) -> Result<SavedClock, StoreError> {
        Ok(self.clock.get(&()).copied().unwrap_or_default())
    }

    fn save_clock(&mut self, clock: SavedClock) -> Result<(), StoreError> {
        self.write()?;
        self.clock.put((), clock);
        Ok(())
    }
}

#[cfg(test)]
mod tests;

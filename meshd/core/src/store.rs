//! What a node keeps: the seam between the mesh engine and a disk.
//!
//! A [`Store`] is synchronous and has one transaction at a time. The first write after a commit opens it;
//! reads see it; [`Store::commit`] makes it durable as a whole or not at all. Nothing leaves the node before
//! that (see `Outbox`). Two implementations, one contract suite: `MemStore` is the reference model, SQLite
//! is the real one.
//!
//! All positions named `*_tl_ms` are on the store's own timeline (see [`crate::clock`]). Numbers fit in an
//! `i64`. Every method costs at most the logarithm of what is stored, plus its result: usages are counted as
//! bundles come and go, never summed up.

mod carried;
mod people;
mod shelves;

pub use carried::{
    Class, Dropped, Known, Offer, OfferKey, Priority, StoredBundle, Usage, Victim, is_strangers_word,
};
pub use people::{
    HandOver, HandOverStep, MessageRecord, MessageState, PeerRecord, ProfileRecord, Protection,
};
pub use shelves::{Record, Shelf, Slot};

use crate::clock::SavedClock;
pub use crate::event::LoggedEvent;
use crate::event::{Event, MessageStatus};
use crate::id::{BundleId, IdPrefix, NodeId, Seq};
use crate::receipt::Commitment;

/// Why a store can't do what it was asked. The transaction is lost as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No room on the disk. Reading still works.
    #[error("the disk is full")]
    Full,
    /// The disk or the file failed.
    #[error("the store failed: {detail}")]
    Io {
        /// In words.
        detail: String,
    },
    /// The file holds what no version of this program writes.
    #[error("the store is damaged: {detail}")]
    Corrupt {
        /// In words.
        detail: String,
    },
    /// What was asked for is private, and the keys are not here.
    #[error("the store is locked: what is private can't be read or written before it is unlocked")]
    Locked,
}

/// What a node keeps. See the module's text for transactions.
///
/// # Errors
/// Every method fails with [`StoreError`] when the disk does; the transaction is then to be rolled back, and
/// until it is, [`Store::commit`] fails with the same error.
#[allow(clippy::missing_errors_doc, reason = "said once, above")]
pub trait Store {
    /// Makes the transaction durable. On an error nothing of it happened and none is open.
    fn commit(&mut self) -> Result<(), StoreError>;
    /// Drops the transaction, if one is open.
    fn rollback(&mut self);
    /// Whether something was written since the last commit or rollback.
    fn is_dirty(&self) -> bool;
    /// Tries whether writing works again, without leaving anything.
    fn probe(&mut self) -> Result<(), StoreError>;

    /// Adds a bundle that is not held, and returns its row. Panics if it is held: admission has looked.
    /// Its id may be a dropped one; it is then no longer.
    fn insert_bundle(&mut self, bundle: &StoredBundle) -> Result<u64, StoreError>;
    /// A bundle held.
    fn bundle(&self, id: &BundleId) -> Result<Option<StoredBundle>, StoreError>;
    /// What is known about the bundle whose id starts like this. Held wins over dropped.
    fn known(&self, prefix: &IdPrefix) -> Result<Known, StoreError>;
    /// Up to `limit` bundles held whose ids start like this, by id. At most 12 bytes are looked at.
    fn held_like(&self, start: &[u8], limit: usize) -> Result<Vec<Offer>, StoreError>;
    /// Whether an id that starts like this is a dropped one, and why; of several, [`Dropped::ForGood`] counts. At most
    /// 12 bytes are looked at.
    fn dropped_like(&self, start: &[u8]) -> Result<Option<Dropped>, StoreError>;
    /// Gives the ids of all bundles held, in no order. Costs as much as there are.
    fn each_id(&self, give: &mut dyn FnMut(&BundleId)) -> Result<(), StoreError>;
    /// Up to `limit` bundles after `after`, in the order of [`OfferKey`].
    fn offers(&self, after: OfferKey, limit: usize) -> Result<Vec<Offer>, StoreError>;
    /// The highest row of that priority now held; 0 if none is.
    fn newest_row(&self, priority: Priority) -> Result<u64, StoreError>;
    /// Up to `limit` bundles signed by `origin`, in no order.
    fn bundles_of_origin(&self, origin: &NodeId, limit: usize) -> Result<Vec<BundleId>, StoreError>;
    /// Up to `limit` posts held whose `unshown_in` is `channel` and that came after row `after`, in order of arrival,
    /// with their rows.
    fn unshown(&self, channel: &str, after: u64, limit: usize) -> Result<Vec<(u64, BundleId)>, StoreError>;
    /// Up to `limit` bundles held that have this commitment, in order of arrival.
    fn bundles_committed(&self, to: &Commitment, limit: usize) -> Result<Vec<BundleId>, StoreError>;
    /// The bundle of that kind and origin that arrived last, if one is held.
    fn newest_of_kind(&self, origin: &NodeId, kind: u16) -> Result<Option<BundleId>, StoreError>;
    /// Clears a bundle's `unshown_in`.
    fn mark_shown(&mut self, id: &BundleId) -> Result<(), StoreError>;
    /// Takes a bundle, if held, down by one copy, as long as there are any.
    fn hand_over_copy(&mut self, id: &BundleId) -> Result<(), StoreError>;
    /// Drops a bundle, if held, and remembers until `until_tl_ms` that it is not wanted again (threat L-07);
    /// of two calls for one id the later time counts. Says whether it was held.
    fn drop_bundle(&mut self, id: &BundleId, until_tl_ms: u64) -> Result<bool, StoreError>;
    /// The same for want of room: it is remembered as [`Dropped::ForRoom`], unless it was dropped for good before.
    fn let_go(&mut self, id: &BundleId, until_tl_ms: u64) -> Result<bool, StoreError>;
    /// Up to `limit` bundles that expire at or before `now_tl_ms`, soonest first, then by row.
    fn expired(&self, now_tl_ms: u64, limit: usize) -> Result<Vec<BundleId>, StoreError>;
    /// When the next bundle expires.
    fn next_expiry(&self) -> Result<Option<u64>, StoreError>;
    /// Forgets up to `limit` dropped ids whose time is at or before `now_tl_ms`, soonest first, then by id;
    /// says how many.
    fn forget_dropped(&mut self, now_tl_ms: u64, limit: usize) -> Result<usize, StoreError>;
    /// How much of a class is held.
    fn usage(&self, class: Class) -> Result<Usage, StoreError>;
    /// How much is held of all classes together.
    fn usage_of_all(&self) -> Result<Usage, StoreError> {
        let mut all = Usage::default();
        for class in Class::ALL {
            let usage = self.usage(class)?;
            all.bundles += usage.bundles;
            all.bytes += usage.bytes;
        }
        Ok(all)
    }
    /// How much is held of one origin's bundles, of all classes.
    fn usage_of_origin(&self, origin: &NodeId) -> Result<Usage, StoreError>;
    /// How much is held of the strangers' bundles that one neighbour brought.
    fn usage_of_ingress(&self, peer: &NodeId) -> Result<Usage, StoreError>;
    /// The neighbour of whose strangers' bundles most bytes are held, if any are; of two the one with the smaller id.
    /// Costs as much as there are nodes that bundles name.
    fn fullest_ingress(&self) -> Result<Option<(NodeId, Usage)>, StoreError>;
    /// How much is held of the strangers' bundles that are for everybody: those with at most
    /// [`COPIES_PUBLIC_MAX`](crate::limits::COPIES_PUBLIC_MAX) copies.
    fn usage_of_public(&self) -> Result<Usage, StoreError>;
    /// The bundle of that class to evict first, of those with so many copies at least: lowest priority, then fewest copies, then
    /// longest held (smallest row).
    fn victim(&self, class: Class, copies_min: u8) -> Result<Option<Victim>, StoreError>;
    /// The same among one origin's bundles, of all classes.
    fn victim_of_origin(&self, origin: &NodeId) -> Result<Option<Victim>, StoreError>;
    /// The same among the strangers' bundles that one neighbour brought, of those with so many copies at least.
    fn victim_of_ingress(&self, peer: &NodeId, copies_min: u8) -> Result<Option<Victim>, StoreError>;

    /// Adds a message that is not kept and logs its `MessageNew` at its `received_unix_ms`; sets and returns
    /// its position. Panics if it is kept.
    fn insert_message(&mut self, message: &mut MessageRecord) -> Result<Seq, StoreError>;
    /// A message kept.
    fn message(&self, id: &BundleId) -> Result<Option<MessageRecord>, StoreError>;
    /// Where a message kept stands: the same as [`MessageRecord::state`] of it, for less.
    fn message_state(&self, id: &BundleId) -> Result<Option<MessageState>, StoreError>;
    /// Up to `limit` messages after `after`, oldest first.
    fn messages_after(&self, after: Seq, limit: usize) -> Result<Vec<MessageRecord>, StoreError>;
    /// Up to `limit` own messages that are [`MessageStatus::Pending`], of those up to `until`; oldest first.
    fn pending(&self, until: Seq, limit: usize) -> Result<Vec<BundleId>, StoreError>;
    /// Moves an own message on. The caller has asked [`MessageStatus::may_become`].
    fn set_status(
        &mut self,
        id: &BundleId,
        status: MessageStatus,
        reason: Option<&str>,
    ) -> Result<(), StoreError>;
    /// Marks a message read; says whether it was unread.
    fn mark_read(&mut self, id: &BundleId) -> Result<bool, StoreError>;
    /// Forgets a message here, and the steps on its way; says whether it was kept. Its bundle is another
    /// matter.
    fn delete_message(&mut self, id: &BundleId) -> Result<bool, StoreError>;
    /// How many received messages (not own ones) are kept, and the sum of their
    /// [`MessageRecord::cost_bytes`].
    fn received_usage(&self) -> Result<Usage, StoreError>;
    /// Forgets the oldest received messages, those marked read first, until at most `bytes_max` are used or
    /// `limit` were forgotten; says how many.
    fn trim_received(&mut self, bytes_max: u64, limit: usize) -> Result<usize, StoreError>;

    /// Adds an event to the log.
    fn append_event(&mut self, event: &Event, at_unix_ms: Option<u64>) -> Result<Seq, StoreError>;
    /// Up to `limit` events after `after`, oldest first.
    fn events_after(&self, after: Seq, limit: usize) -> Result<Vec<LoggedEvent>, StoreError>;
    /// The oldest position still kept and the newest ever given; `None` before the first event.
    fn event_bounds(&self) -> Result<Option<(Seq, Seq)>, StoreError>;
    /// Drops the oldest events beyond `keep`; says how many.
    fn trim_events(&mut self, keep: u64) -> Result<u64, StoreError>;

    /// A node heard of.
    fn peer(&self, id: &NodeId) -> Result<Option<PeerRecord>, StoreError>;
    /// Adds or replaces a node heard of.
    fn put_peer(&mut self, peer: &PeerRecord) -> Result<(), StoreError>;
    /// Drops the longest silent nodes, never blocked ones, until at most `keep` are left or none can go; says
    /// how many.
    fn trim_peers(&mut self, keep: u64) -> Result<u64, StoreError>;
    /// The nodes the user blocked, by id.
    fn blocked(&self) -> Result<Vec<NodeId>, StoreError>;

    /// Whether the keys to what is private are missing: the node then carries, and reads and says nothing.
    ///
    /// In a locked store every method for records fails with [`StoreError::Locked`], as do those for channels and
    /// [`Store::insert_message`]; nothing is written then. Whoever may be called in a node that only carries asks
    /// here first. Messages are read without text, sender, conversation and what they answer.
    fn is_locked(&self) -> bool;

    /// Whether a public channel is shown here.
    fn is_joined(&self, channel: &str) -> Result<bool, StoreError> {
        Ok(self.record(Shelf::Channel, channel.as_bytes())?.is_some())
    }
    /// Shows a public channel from now on; says whether it was not shown before.
    fn join(&mut self, channel: &str, at_unix_ms: Option<u64>) -> Result<bool, StoreError> {
        if self.is_joined(channel)? {
            return Ok(false);
        }
        let since = at_unix_ms.map_or(Vec::new(), |ms| ms.to_be_bytes().to_vec());
        self.put_record(Shelf::Channel, channel.as_bytes(), &since)?;
        Ok(true)
    }
    /// Stops showing a public channel; says whether it was shown. Its messages stay.
    fn leave(&mut self, channel: &str) -> Result<bool, StoreError> {
        self.remove_record(Shelf::Channel, channel.as_bytes())
    }
    /// The public channels shown here by name, with the time since when, where it was known.
    fn joined(&self) -> Result<Vec<(String, Option<u64>)>, StoreError> {
        let records = self.records(Shelf::Channel, b"", usize::MAX)?;
        let channel = |(name, since): Record| {
            let since = since.try_into().ok().map(u64::from_be_bytes);
            (String::from_utf8_lossy(&name).into_owned(), since)
        };
        Ok(records.into_iter().map(channel).collect())
    }

    /// Notes a step on the way of a message kept, if it is the first of its kind with that neighbour and, where it has
    /// one, fewer than `HAND_OVERS_MAX` steps are noted.
    fn record_hand_over(&mut self, step: &HandOver) -> Result<(), StoreError>;
    /// The steps of a bundle, oldest first.
    fn hand_overs(&self, bundle: &BundleId) -> Result<Vec<HandOver>, StoreError>;

    /// What a shelf has under a key.
    fn record(&self, shelf: Shelf, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
    /// Puts a record on a shelf, in place of what is there.
    fn put_record(&mut self, shelf: Shelf, key: &[u8], value: &[u8]) -> Result<(), StoreError>;
    /// Takes a record from its shelf; says whether it was there. Once committed, neither the file nor its log
    /// holds a copy of it.
    fn remove_record(&mut self, shelf: Shelf, key: &[u8]) -> Result<bool, StoreError>;
    /// Up to `limit` records of a shelf whose keys are `from` or later, by key.
    fn records(&self, shelf: Shelf, from: &[u8], limit: usize) -> Result<Vec<Record>, StoreError>;

    /// A record of the node's own.
    fn slot(&self, slot: Slot) -> Result<Option<Vec<u8>>, StoreError>;
    /// Replaces a record of the node's own.
    fn set_slot(&mut self, slot: Slot, bytes: &[u8]) -> Result<(), StoreError>;
    /// The clocks as last saved.
    fn saved_clock(&self) -> Result<SavedClock, StoreError>;
    /// Saves the clocks.
    fn save_clock(&mut self, clock: SavedClock) -> Result<(), StoreError>;
}

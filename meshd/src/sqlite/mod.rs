//! The real store: one SQLite database, owned by one thread.
//!
//! ```text
//!   Node, HTTP handlers (through the driver)
//!        │  Store (core)                │  tokens, cursors, listings ... (daemon)
//!        ▼                              ▼
//!   SqliteStore ── totals in memory, written by each commit
//!        │
//!   Connection ── one transaction, one log, reopened after a failure
//!        │
//!   NAME (database)   NAME-wal (log)      nothing else, but NAME-copy while a backup is made
//! ```
//!
//! Everything the core keeps and the daemon's own tables share one transaction, so an answer to a request and
//! the message it is about become durable together. Nothing of SQLite is seen outside this module.
//!
//! It keeps bundles, messages and their words, the event log, peers, shelves of private records, tokens and
//! positions. What is private is sealed with keys that lie elsewhere ([`crate::vault`]); without them the store is
//! locked, and carries all the same. [`TABLES`] says what each table shows to somebody who has the file alone.
//! What a message says is stored twice, as its bundle carries it and as people read and search it, because a
//! message outlives its bundle.
//!
//! It does not decide: what to admit, evict or expire is the core's business. It never shrinks its file by
//! itself: pages that become free are used again, and a node's store is as large as its cap sooner or later.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "the error kinds of SQLite and of the standard library are theirs, and grow"
)]

mod bundles;
mod check;
mod column;
mod connection;
mod copy;
mod cursors;
mod events;
mod hand_overs;
mod idempotent;
mod listing;
mod messages;
mod node;
mod open;
mod peers;
mod records;
mod recount;
mod schema;
mod sealing;
mod search;
mod tables;
mod tokens;
mod totals;
mod words;

use meshlink_core::clock::SavedClock;
use meshlink_core::event::{Event, LoggedEvent, MessageStatus};
use meshlink_core::id::{BundleId, IdPrefix, NodeId, Seq};
use meshlink_core::receipt::Commitment;
use meshlink_core::store::{
    Class, Dropped, HandOver, Known, MessageRecord, MessageState, Offer, OfferKey, PeerRecord, Priority,
    Record, Shelf, Slot, Store, StoreError, StoredBundle, Usage, Victim,
};

pub use check::{CheckPart, CheckParts, Checked};
pub use copy::{CopyError, CopyRequest, CopySource, remove_copy};
pub use cursors::{CURSORS_MAX, CursorRow};
pub use idempotent::IdempotentRow;
pub use listing::{ConversationRow, KeptOf, MessageFilter, MessagePage, Order};
pub use open::{OpenError, Opened};
pub use tables::{Shows, TABLES};
pub use tokens::{Inserted, TOKENS_MAX, TokenRow};
pub use totals::Counts;

use connection::Connection;
use totals::Totals;

use crate::vault::RecordKeys;

/// See the module's text.
#[derive(Debug)]
pub struct SqliteStore {
    db: Connection,
    /// `None` while the store is locked.
    keys: Option<RecordKeys>,
    store_id: [u8; 4],
    opened: Opened,
    totals: Totals,
    /// The totals as of the last commit.
    committed: Totals,
}

/// Bytes on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileUse {
    /// The database.
    pub database_bytes: u64,
    /// Those of it that are free to be used again.
    pub free_bytes: u64,
    /// The log.
    pub log_bytes: u64,
}

impl SqliteStore {
    fn new(
        db: Connection,
        keys: Option<RecordKeys>,
        store_id: [u8; 4],
        totals: Totals,
        opened: Opened,
    ) -> Self {
        Self { db, keys, store_id, opened, totals, committed: totals }
    }

    /// What opening it found.
    pub fn opened(&self) -> &Opened {
        &self.opened
    }

    /// The random name of this store, made with it: a cursor of another one is told from a cursor of this.
    pub fn store_id(&self) -> [u8; 4] {
        self.store_id
    }

    /// How much of the disk it uses.
    ///
    /// # Errors
    /// The disk failed.
    pub fn file_use(&self) -> Result<FileUse, StoreError> {
        let (database_bytes, free_bytes, log_bytes) = self.db.file_use()?;
        Ok(FileUse { database_bytes, free_bytes, log_bytes })
    }

    /// Where the database is.
    pub fn path(&self) -> &std::path::Path {
        self.db.path()
    }

    /// Gives the file's free pages back to the disk. Nothing else happens meanwhile: seconds for some 100 MB. To
    /// be called between two transactions.
    ///
    /// # Errors
    /// There is no room for the copy, the disk failed, or a transaction is open; the store is as it was.
    pub fn compact(&mut self) -> Result<(), StoreError> {
        if self.is_dirty() {
            return Err(StoreError::Io { detail: "a transaction is under way".to_owned() });
        }
        let done = self.db.compact();
        if done.is_err() {
            self.reload();
        }
        done
    }

    /// The version of the schema this program writes.
    pub fn schema_version() -> u32 {
        schema::VERSION
    }

    /// Drops what is not committed and closes the files, everything in the database and the log empty. Dropping a
    /// store does the same, without a word.
    ///
    /// # Errors
    /// The log could not be moved. What was committed is in it, and safe.
    pub fn close(mut self) -> Result<(), StoreError> {
        self.db.close()
    }

    /// Takes the totals from the file again, after the connection may have been opened again.
    fn reload(&mut self) {
        if let Ok(totals) = Totals::load(&self.db) {
            self.committed = totals;
        }
        self.totals = self.committed;
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        // What is in the log is as safe there.
        let _ = self.db.close();
    }
}

/// A limit for a query.
fn rows_max(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

impl Store for SqliteStore {
    fn commit(&mut self) -> Result<(), StoreError> {
        if !self.is_dirty() {
            return Ok(());
        }
        if self.totals != self.committed {
            // If that fails, so does the commit.
            let _ = self.totals.save(&mut self.db);
        }
        match self.db.commit() {
            Ok(()) => self.committed = self.totals,
            Err(error) => {
                self.reload();
                return Err(error);
            }
        }
        Ok(())
    }

    fn rollback(&mut self) {
        self.db.rollback();
        self.reload();
    }

    fn is_dirty(&self) -> bool {
        self.db.is_dirty() || self.totals != self.committed
    }

    fn probe(&mut self) -> Result<(), StoreError> {
        self.db.probe()
    }

    fn insert_bundle(&mut self, bundle: &StoredBundle) -> Result<u64, StoreError> {
        bundles::insert(self, bundle)
    }

    fn bundle(&self, id: &BundleId) -> Result<Option<StoredBundle>, StoreError> {
        bundles::one(&self.db, id)
    }

    fn known(&self, prefix: &IdPrefix) -> Result<Known, StoreError> {
        bundles::known(&self.db, prefix)
    }

    fn held_like(&self, start: &[u8], limit: usize) -> Result<Vec<Offer>, StoreError> {
        bundles::held_like(&self.db, start, limit)
    }

    fn dropped_like(&self, start: &[u8]) -> Result<Option<Dropped>, StoreError> {
        bundles::dropped_like(&self.db, start)
    }

    fn each_id(&self, give: &mut dyn FnMut(&BundleId)) -> Result<(), StoreError> {
        bundles::each_id(&self.db, give)
    }

    fn offers(&self, after: OfferKey, limit: usize) -> Result<Vec<Offer>, StoreError> {
        bundles::offers(&self.db, after, limit)
    }

    fn newest_row(&self, priority: Priority) -> Result<u64, StoreError> {
        bundles::newest_row(&self.db, priority)
    }

    fn bundles_of_origin(&self, origin: &NodeId, limit: usize) -> Result<Vec<BundleId>, StoreError> {
        bundles::of_origin(&self.db, origin, limit)
    }

    fn unshown(&self, channel: &str, after: u64, limit: usize) -> Result<Vec<(u64, BundleId)>, StoreError> {
        bundles::unshown(&self.db, channel, after, limit)
    }

    fn bundles_committed(&self, to: &Commitment, limit: usize) -> Result<Vec<BundleId>, StoreError> {
        bundles::committed(&self.db, to, limit)
    }

    fn newest_of_kind(&self, origin: &NodeId, kind: u16) -> Result<Option<BundleId>, StoreError> {
        bundles::newest_of_kind(&self.db, origin, kind)
    }

    fn mark_shown(&mut self, id: &BundleId) -> Result<(), StoreError> {
        bundles::mark_shown(&mut self.db, id)
    }

    fn hand_over_copy(&mut self, id: &BundleId) -> Result<(), StoreError> {
        bundles::hand_over_copy(&mut self.db, id)
    }

    fn drop_bundle(&mut self, id: &BundleId, until_tl_ms: u64) -> Result<bool, StoreError> {
        bundles::discard(self, id, until_tl_ms, Dropped::ForGood)
    }

    fn let_go(&mut self, id: &BundleId, until_tl_ms: u64) -> Result<bool, StoreError> {
        bundles::discard(self, id, until_tl_ms, Dropped::ForRoom)
    }

    fn expired(&self, now_tl_ms: u64, limit: usize) -> Result<Vec<BundleId>, StoreError> {
        bundles::expired(&self.db, now_tl_ms, limit)
    }

    fn next_expiry(&self) -> Result<Option<u64>, StoreError> {
        bundles::next_expiry(&self.db)
    }

    fn forget_dropped(&mut self, now_tl_ms: u64, limit: usize) -> Result<usize, StoreError> {
        bundles::forget_dropped(&mut self.db, now_tl_ms, limit)
    }

    fn usage(&self, class: Class) -> Result<Usage, StoreError> {
        Ok(self.totals.usage(class))
    }

    fn usage_of_origin(&self, origin: &NodeId) -> Result<Usage, StoreError> {
        node::made(&self.db, origin)
    }

    fn usage_of_ingress(&self, peer: &NodeId) -> Result<Usage, StoreError> {
        node::brought(&self.db, peer)
    }

    fn fullest_ingress(&self) -> Result<Option<(NodeId, Usage)>, StoreError> {
        node::fullest(&self.db)
    }

    fn usage_of_public(&self) -> Result<Usage, StoreError> {
        Ok(self.totals.public())
    }

    fn victim(&self, class: Class, copies_min: u8) -> Result<Option<Victim>, StoreError> {
        bundles::victim(&self.db, class, copies_min)
    }

    fn victim_of_origin(&self, origin: &NodeId) -> Result<Option<Victim>, StoreError> {
        bundles::victim_of_origin(&self.db, origin)
    }

    fn victim_of_ingress(&self, peer: &NodeId, copies_min: u8) -> Result<Option<Victim>, StoreError> {
        bundles::victim_of_ingress(&self.db, peer, copies_min)
    }

    fn insert_message(&mut self, message: &mut MessageRecord) -> Result<Seq, StoreError> {
        messages::insert(self, message)
    }

    fn message(&self, id: &BundleId) -> Result<Option<MessageRecord>, StoreError> {
        messages::one(self, id)
    }

    fn message_state(&self, id: &BundleId) -> Result<Option<MessageState>, StoreError> {
        messages::state(&self.db, id)
    }

    fn messages_after(&self, after: Seq, limit: usize) -> Result<Vec<MessageRecord>, StoreError> {
        messages::after(self, after, limit)
    }

    fn pending(&self, until: Seq, limit: usize) -> Result<Vec<BundleId>, StoreError> {
        messages::pending(&self.db, until, limit)
    }

    fn set_status(
        &mut self,
        id: &BundleId,
        status: MessageStatus,
        reason: Option<&str>,
    ) -> Result<(), StoreError> {
        messages::set_status(self, id, status, reason)
    }

    fn mark_read(&mut self, id: &BundleId) -> Result<bool, StoreError> {
        messages::mark_read(self, id)
    }

    fn delete_message(&mut self, id: &BundleId) -> Result<bool, StoreError> {
        messages::delete(self, id)
    }

    fn received_usage(&self) -> Result<Usage, StoreError> {
        Ok(self.totals.received())
    }

    fn trim_received(&mut self, bytes_max: u64, limit: usize) -> Result<usize, StoreError> {
        messages::trim_received(self, bytes_max, limit)
    }

    fn append_event(&mut self, event: &Event, at_unix_ms: Option<u64>) -> Result<Seq, StoreError> {
        events::append(self, event, at_unix_ms)
    }

    fn events_after(&self, after: Seq, limit: usize) -> Result<Vec<LoggedEvent>, StoreError> {
        events::after(&self.db, after, limit)
    }

    fn event_bounds(&self) -> Result<Option<(Seq, Seq)>, StoreError> {
        events::bounds(self)
    }

    fn trim_events(&mut self, keep: u64) -> Result<u64, StoreError> {
        events::trim(self, keep)
    }

    fn peer(&self, id: &NodeId) -> Result<Option<PeerRecord>, StoreError> {
        peers::one(&self.db, id)
    }

    fn put_peer(&mut self, peer: &PeerRecord) -> Result<(), StoreError> {
        peers::put(self, peer)
    }

    fn trim_peers(&mut self, keep: u64) -> Result<u64, StoreError> {
        peers::trim(self, keep)
    }

    fn blocked(&self) -> Result<Vec<NodeId>, StoreError> {
        peers::blocked(&self.db)
    }

    fn is_locked(&self) -> bool {
        self.keys.is_none()
    }

    fn record_hand_over(&mut self, step: &HandOver) -> Result<(), StoreError> {
        hand_overs::record(&mut self.db, step)
    }

    fn hand_overs(&self, bundle: &BundleId) -> Result<Vec<HandOver>, StoreError> {
        hand_overs::of(&self.db, bundle)
    }

    fn record(&self, shelf: Shelf, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        records::one(self, shelf, key)
    }

    fn put_record(&mut self, shelf: Shelf, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        records::put(self, shelf, key, value)
    }

    fn remove_record(&mut self, shelf: Shelf, key: &[u8]) -> Result<bool, StoreError> {
        records::remove(self, shelf, key)
    }

    fn records(&self, shelf: Shelf, from: &[u8], limit: usize) -> Result<Vec<Record>, StoreError> {
        records::from(self, shelf, from, limit)
    }

    fn slot(&self, slot: Slot) -> Result<Option<Vec<u8>>, StoreError> {
        self.db.one("SELECT bytes FROM slot WHERE number = ?1", [slot.number()], |row| row.get(0))
    }

    fn set_slot(&mut self, slot: Slot, bytes: &[u8]) -> Result<(), StoreError> {
        self.db
            .write("INSERT OR REPLACE INTO slot (number, bytes) VALUES (?1, ?2)", (slot.number(), bytes))?;
        Ok(())
    }

    fn saved_clock(&self) -> Result<SavedClock, StoreError> {
        Ok(self.totals.clock)
    }

    fn save_clock(&mut self, clock: SavedClock) -> Result<(), StoreError> {
        self.totals.clock = clock;
        Ok(())
    }
}

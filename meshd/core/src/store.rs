//! What a node keeps: the seam between the mesh engine and a disk.
//!
//! A [`Store`] is synchronous and has one transaction at a time. The first write after a commit opens it;
//! reads see it; [`Store::commit`] makes it durable as a whole or not at all. Nothing leaves the node before
//! that (see `Outbox`). Two implementations, one contract suite: `MemStore` is the reference model, SQLite
//! is the real one.
//!
//! All positions named `*_tl_ms` are on the store's own timeline (see [`crate::clock`]).

use crate::clock::SavedClock;
use crate::event::{Event, LinkKind, MessageStatus};
use crate::id::{BundleId, IdPrefix, NodeId, Seq};

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
}

/// How urgent a bundle is; the smaller, the sooner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, minicbor::Encode, minicbor::Decode, minicbor::CborLen)]
#[cbor(index_only)]
pub enum Priority {
    /// A call for help.
    #[n(0)]
    Sos,
    /// Ordinary mail.
    #[n(1)]
    Normal,
    /// Whatever can wait.
    #[n(2)]
    Bulk,
}

/// Whose a bundle is, seen from this node: it decides its share of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Made here. Never evicted for others' mail.
    Own,
    /// From or for one of the user's contacts.
    Contact,
    /// Anybody else's.
    Stranger,
}

/// A bundle with what this node knows about its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBundle {
    /// Its id.
    pub id: BundleId,
    /// Its kind, as in the header.
    pub kind: u16,
    /// Its priority, as in the header.
    pub priority: Priority,
    /// Whose it is.
    pub class: Class,
    /// Its signer, for kinds that have one.
    pub origin: Option<NodeId>,
    /// The header's bytes, as received.
    pub header: Vec<u8>,
    /// The payload's bytes, as received.
    pub payload: Vec<u8>,
    /// The signature's bytes, as received; empty for kinds that have none.
    pub auth: Vec<u8>,
    /// Milliseconds it had been under way when it got here.
    pub age_ms: u64,
    /// When it got here.
    pub received_tl_ms: u64,
    /// When it is dropped.
    pub expires_tl_ms: u64,
    /// Nodes it passed through to get here, at most `HOPS_MAX`.
    pub hops: u8,
    /// Copies this node may still hand out, at most `COPIES_MAX`.
    pub copies: u8,
    /// The neighbour it came from; `None` for own ones.
    pub ingress: Option<NodeId>,
}

impl StoredBundle {
    /// Bytes counted against the store's cap: its size, at least [`crate::limits::BUNDLE_COST_BYTES_MIN`]
    /// (threat L-05).
    pub fn cost_bytes(&self) -> u64 {
        let size = (self.header.len() + self.payload.len() + self.auth.len()) as u64;
        size.max(crate::limits::BUNDLE_COST_BYTES_MIN)
    }
}

/// What a store knows about an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Never heard of.
    No,
    /// Held.
    Held(BundleId),
    /// Held once, and not wanted again.
    Dropped,
}

/// Where a walk over all bundles stands, in the order they are offered: priority, then arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct OfferKey {
    /// The priority of the last one seen.
    pub priority: Priority,
    /// Its row: grows with arrival, never reused.
    pub row: u64,
}

impl OfferKey {
    /// Before the first bundle.
    pub const START: Self = Self { priority: Priority::Sos, row: 0 };
}

/// One bundle on that walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// Pass it to go on.
    pub key: OfferKey,
    /// Which bundle.
    pub id: BundleId,
    /// Nodes it passed through.
    pub hops: u8,
    /// The neighbour it came from.
    pub ingress: Option<NodeId>,
    /// Whether it was made here.
    pub own: bool,
}

/// How much of one class is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bundles.
    pub bundles: u64,
    /// Sum of their [`StoredBundle::cost_bytes`].
    pub bytes: u64,
}

/// A message as people read it; outlives its bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageRecord {
    /// Position of its `MessageNew` event; set by [`Store::insert_message`].
    pub seq: Seq,
    /// Its bundle's id.
    pub id: BundleId,
    /// `#channel` it was posted to.
    pub conversation: String,
    /// Its author; `None` for a post that came in through a relay's JSON dialect.
    pub from: Option<NodeId>,
    /// The name such a post gives itself.
    pub from_alias: Option<String>,
    /// Whether it was written here.
    pub own: bool,
    /// The text.
    pub text: String,
    /// What its author's clock said, in milliseconds since 1970.
    pub created_unix_ms: Option<u64>,
    /// When it was stored here, if the time was known.
    pub received_unix_ms: Option<u64>,
    /// Where it stands.
    pub status: MessageStatus,
    /// Why, in words.
    pub status_reason: Option<String>,
    /// How urgent it is.
    pub priority: Priority,
    /// When carriers drop it.
    pub expires_tl_ms: u64,
    /// The message it answers.
    pub reply_to: Option<BundleId>,
    /// Whether it was marked read.
    pub read: bool,
}

/// A node heard of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerRecord {
    /// Its id.
    pub id: NodeId,
    /// Its newest profile, if one came by.
    pub profile: Option<ProfileRecord>,
    /// When a link to it was last up, in milliseconds since 1970.
    pub last_seen_unix_ms: Option<u64>,
    /// When it was last heard of, on the timeline: the table drops the longest silent (threat L-06).
    pub heard_tl_ms: u64,
    /// Encounters so far.
    pub encounters: u64,
    /// Bundles it stored for us.
    pub bundles_sent: u64,
    /// Bundles it brought.
    pub bundles_received: u64,
    /// Whether the user blocked it.
    pub blocked: bool,
}

/// What a node says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileRecord {
    /// The bundle that says so.
    pub bundle: BundleId,
    /// Grows with every change; the highest counts.
    pub revision: u64,
    /// Its name.
    pub name: Option<String>,
    /// About itself.
    pub about: Option<String>,
    /// Its picture, as a `data:` URL.
    pub avatar: Option<String>,
}

/// What happened to a message's bundle on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HandOverStep {
    /// A neighbour was told that this node holds it.
    Offered,
    /// The neighbour confirmed that it holds it.
    Stored,
    /// It came in from a neighbour.
    Received,
}

/// One step on the way of a bundle. A store keeps the first of each (bundle, peer, step).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandOver {
    /// Which bundle.
    pub bundle: BundleId,
    /// What happened.
    pub step: HandOverStep,
    /// With whom.
    pub peer: NodeId,
    /// Over what.
    pub via: LinkKind,
    /// When, in milliseconds since 1970.
    pub at_unix_ms: Option<u64>,
}

/// An event with its place in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedEvent {
    /// Its position.
    pub seq: Seq,
    /// When, in milliseconds since 1970.
    pub at_unix_ms: Option<u64>,
    /// What became true.
    pub event: Event,
}

/// What a node keeps. See the module's text for transactions.
///
/// # Errors
/// Every method fails with [`StoreError`] when the disk does; the transaction is then to be rolled back.
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

    /// Adds a bundle that is not held. Panics if it is: admission has looked.
    fn insert_bundle(&mut self, bundle: &StoredBundle) -> Result<(), StoreError>;
    /// A bundle held.
    fn bundle(&self, id: &BundleId) -> Result<Option<StoredBundle>, StoreError>;
    /// What is known about the bundle whose id starts like this.
    fn known(&self, prefix: &IdPrefix) -> Result<Known, StoreError>;
    /// Up to `limit` bundles after `after`, in the order of [`OfferKey`].
    fn offers(&self, after: OfferKey, limit: usize) -> Result<Vec<Offer>, StoreError>;
    /// Drops a bundle, if held, and remembers until `until_tl_ms` that it is not wanted again (threat L-07).
    fn drop_bundle(&mut self, id: &BundleId, until_tl_ms: u64) -> Result<(), StoreError>;
    /// Up to `limit` bundles that expire at or before `now_tl_ms`, soonest first.
    fn expired(&self, now_tl_ms: u64, limit: usize) -> Result<Vec<BundleId>, StoreError>;
    /// When the next bundle expires.
    fn next_expiry(&self) -> Result<Option<u64>, StoreError>;
    /// Forgets up to `limit` dropped ids whose time is over; says how many.
    fn forget_dropped(&mut self, now_tl_ms: u64, limit: usize) -> Result<usize, StoreError>;
    /// How much of a class is held.
    fn usage(&self, class: Class) -> Result<Usage, StoreError>;
    /// How many bytes are held of one origin's bundles.
    fn usage_of_origin(&self, origin: &NodeId) -> Result<Usage, StoreError>;
    /// How many bytes are held of what one neighbour brought.
    fn usage_of_ingress(&self, peer: &NodeId) -> Result<Usage, StoreError>;
    /// The bundle of that class to evict first: lowest priority, then longest held.
    fn victim(&self, class: Class) -> Result<Option<BundleId>, StoreError>;

    /// Adds a message and logs its `MessageNew`; sets and returns its position.
    fn insert_message(&mut self, message: &mut MessageRecord) -> Result<Seq, StoreError>;
    /// A message kept.
    fn message(&self, id: &BundleId) -> Result<Option<MessageRecord>, StoreError>;
    /// Up to `limit` messages after `after`, oldest first.
    fn messages_after(&self, after: Seq, limit: usize) -> Result<Vec<MessageRecord>, StoreError>;
    /// Moves an own message on. The caller has asked [`MessageStatus::may_become`].
    fn set_status(&mut self, id: &BundleId, status: MessageStatus, reason: Option<&str>) -> Result<(), StoreError>;
    /// Marks a message read; says whether it was unread.
    fn mark_read(&mut self, id: &BundleId) -> Result<bool, StoreError>;
    /// Forgets a message here; says whether it was kept. Its bundle is another matter.
    fn delete_message(&mut self, id: &BundleId) -> Result<bool, StoreError>;

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
    /// Drops the longest silent nodes, never blocked ones, until at most `keep` are left; says how many.
    fn trim_peers(&mut self, keep: u64) -> Result<u64, StoreError>;

    /// Whether a channel is shown here.
    fn is_joined(&self, channel: &str) -> Result<bool, StoreError>;
    /// Shows a channel from now on; says whether it was not shown before.
    fn join(&mut self, channel: &str, at_unix_ms: Option<u64>) -> Result<bool, StoreError>;
    /// Stops showing a channel; says whether it was shown. Its messages stay.
    fn leave(&mut self, channel: &str) -> Result<bool, StoreError>;

    /// Notes a step, if it is the first of its kind with that neighbour.
    fn record_hand_over(&mut self, step: &HandOver) -> Result<(), StoreError>;
    /// The steps of a bundle, oldest first.
    fn hand_overs(&self, bundle: &BundleId) -> Result<Vec<HandOver>, StoreError>;

    /// The clocks as last saved.
    fn saved_clock(&self) -> Result<SavedClock, StoreError>;
    /// Saves the clocks.
    fn save_clock(&mut self, clock: SavedClock) -> Result<(), StoreError>;
}

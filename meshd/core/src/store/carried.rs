//! What a store says of the bundles that it carries.

use crate::bundle::BundleBytes;
use crate::id::{BundleId, NodeId};
use crate::limits::COPIES_PUBLIC_MAX;
use crate::receipt::Commitment;

/// How urgent a bundle is; the smaller, the sooner.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    minicbor::Encode,
    minicbor::Decode,
    minicbor::CborLen,
)]
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
    /// A receipt, whosoever: small, and what it frees is larger. Counts in bytes, not in bundles.
    Receipt,
}

impl Class {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Own, Self::Contact, Self::Stranger, Self::Receipt];
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
    /// `COPIES_MAX` less the hand-overs from here: the fewer, the more nodes have it already.
    pub copies: u8,
    /// The neighbour it came from; `None` for own ones.
    pub ingress: Option<NodeId>,
    /// For a post that is carried but not shown, because its channel is not joined: that channel, or
    /// [`UNOPENED`](crate::channel::UNOPENED) if nobody can tell which it is.
    pub unshown_in: Option<String>,
    /// For a sealed bundle what its header has, for a receipt what it opens.
    pub commitment: Option<Commitment>,
}

impl StoredBundle {
    /// What of it travels.
    pub fn bytes(&self) -> BundleBytes<'_> {
        BundleBytes { header: &self.header, payload: &self.payload, auth: &self.auth }
    }

    /// As [`BundleBytes::size_bytes`].
    pub fn size_bytes(&self) -> u64 {
        self.bytes().size_bytes()
    }

    /// Whether it is a stranger's and for everybody.
    pub fn is_strangers_word(&self) -> bool {
        is_strangers_word(self.class, self.copies)
    }

    /// As [`BundleBytes::cost_bytes`].
    pub fn cost_bytes(&self) -> u64 {
        self.bytes().cost_bytes()
    }
}

/// Whether a bundle of that class with so many copies left is a stranger's and for everybody: mail never counts down so far.
pub fn is_strangers_word(class: Class, copies: u8) -> bool {
    class == Class::Stranger && copies <= COPIES_PUBLIC_MAX
}

/// What a store knows about an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Never heard of.
    No,
    /// Held.
    Held(BundleId),
    /// Not held, and remembered.
    Dropped(Dropped),
}

/// Why an id is remembered that is not held; the later one stands if both were so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dropped {
    /// There was no room for it. It is wanted again when there is.
    ForRoom,
    /// It is not wanted again.
    ForGood,
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
    /// Bytes of it that travel.
    pub size_bytes: u64,
}

/// A bundle that would be evicted first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Victim {
    /// Which.
    pub id: BundleId,
    /// Its kind, as in the header.
    pub kind: u16,
    /// Whose it is.
    pub class: Class,
    /// Its priority.
    pub priority: Priority,
    /// What its eviction frees.
    pub cost_bytes: u64,
    /// When it would have been dropped anyway.
    pub expires_tl_ms: u64,
    /// When it got here.
    pub received_tl_ms: u64,
    /// Copies left of it.
    pub copies: u8,
    /// The neighbour that brought it.
    pub ingress: Option<NodeId>,
}

/// How much of one class is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bundles.
    pub bundles: u64,
    /// Sum of their [`StoredBundle::cost_bytes`].
    pub bytes: u64,
}

//! What people read, and whom the node has heard of.

use super::Priority;
use crate::event::{LinkKind, MessageStatus};
use crate::id::{BundleId, NodeId, Seq};

/// How protected a message came, or was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protection {
    /// Everybody can read it.
    Public,
    /// Whoever has the channel's password can read it.
    Channel,
    /// Only the recipient can read it. Who the other is was not verified.
    Sealed,
    /// Only the recipient can read it, and the user verified who the other is.
    SealedVerified,
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
    /// How protected it came, or was sent.
    pub protection: Protection,
}

impl MessageRecord {
    /// Bytes counted against the store's cap: its text and what goes with a row of it.
    pub fn cost_bytes(&self) -> u64 {
        (self.text.len() as u64).saturating_add(crate::limits::MESSAGE_COST_BYTES)
    }

    /// All of it that is not words.
    pub fn state(&self) -> MessageState {
        MessageState {
            id: self.id,
            own: self.own,
            status: self.status,
            is_explained: self.status_reason.is_some(),
            expires_tl_ms: self.expires_tl_ms,
            protection: self.protection,
        }
    }
}

/// Where a message stands: what a node decides by, for which it need not open the words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageState {
    /// Its bundle's id.
    pub id: BundleId,
    /// Whether it was written here.
    pub own: bool,
    /// How far it came.
    pub status: MessageStatus,
    /// Whether there are words that say why.
    pub is_explained: bool,
    /// When carriers drop it.
    pub expires_tl_ms: u64,
    /// How protected it came, or was sent.
    pub protection: Protection,
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
    /// Its recipients confirmed that it arrived, all of them. How their receipts came says nothing, so it has neither
    /// `peer` nor `via`, as [`HandOverStep::Read`].
    Delivered,
    /// Its recipients confirmed that they read it.
    Read,
}

/// One step on the way of a bundle. A store keeps the first of each (bundle, peer, step), and at most
/// [`HAND_OVERS_MAX`](crate::limits::HAND_OVERS_MAX) of those with a neighbour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandOver {
    /// Which bundle.
    pub bundle: BundleId,
    /// What happened.
    pub step: HandOverStep,
    /// With which neighbour.
    pub peer: Option<NodeId>,
    /// Over what.
    pub via: Option<LinkKind>,
    /// When, in milliseconds since 1970.
    pub at_unix_ms: Option<u64>,
}

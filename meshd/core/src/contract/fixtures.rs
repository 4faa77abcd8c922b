//! Bundles, messages and peers for the checks, told apart by a number.

use crate::event::MessageStatus;
use crate::id::{BundleId, IdPrefix, NodeId, Seq};
use crate::store::{Class, MessageRecord, PeerRecord, Priority, Protection, StoredBundle};

/// A bundle of the tests: id of `n` repeated, a stranger's, 600 bytes.
pub fn bundle(n: u8) -> StoredBundle {
    StoredBundle {
        id: BundleId([n; BundleId::BYTES]),
        kind: 1,
        priority: Priority::Normal,
        class: Class::Stranger,
        origin: Some(NodeId([1; NodeId::BYTES])),
        header: vec![n; 36],
        payload: vec![n; 500],
        auth: vec![n; 64],
        age_ms: 5,
        received_tl_ms: 1_000,
        expires_tl_ms: 100_000 + u64::from(n),
        hops: 1,
        copies: 8,
        ingress: Some(NodeId([2; NodeId::BYTES])),
        unshown_in: None,
        commitment: None,
    }
}

/// A message of the tests: received, of `n` repeated.
pub fn message(n: u8) -> MessageRecord {
    MessageRecord {
        seq: Seq(0),
        id: BundleId([n; BundleId::BYTES]),
        conversation: "#mesh".to_owned(),
        from: Some(NodeId([1; NodeId::BYTES])),
        from_alias: None,
        own: false,
        text: format!("text {n}"),
        created_unix_ms: Some(1_700_000_000_000),
        received_unix_ms: Some(1_700_000_000_500),
        status: MessageStatus::Synced,
        status_reason: None,
        priority: Priority::Normal,
        expires_tl_ms: 100_000,
        reply_to: None,
        read: false,
        protection: Protection::Public,
    }
}

/// A peer of the tests, last heard of at `heard_tl_ms`.
pub fn peer(n: u8, heard_tl_ms: u64) -> PeerRecord {
    PeerRecord {
        id: NodeId([n; NodeId::BYTES]),
        profile: None,
        last_seen_unix_ms: None,
        heard_tl_ms,
        encounters: 0,
        bundles_sent: 0,
        bundles_received: 0,
        blocked: false,
    }
}

pub(super) fn id(n: u8) -> BundleId {
    BundleId([n; BundleId::BYTES])
}

pub(super) fn node(n: u8) -> NodeId {
    NodeId([n; NodeId::BYTES])
}

pub(super) fn prefix(n: u8) -> IdPrefix {
    id(n).prefix()
}

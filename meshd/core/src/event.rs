//! What the node tells the world, in the order it became true.
//!
//! Events are appended to the store's log in the transaction that made them true, and leave the node only
//! through the `Outbox` of a successful commit. An event names its subject; whoever shows it renders the
//! subject as the store has it, with the state the event itself carries.

use std::fmt;

use minicbor::{CborLen, Decode, Encode};

use crate::group::entry::GroupId;
use crate::id::{BundleId, NodeId, Seq};

/// What carries a link. The order is the order of preference when one neighbour is reached twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, CborLen)]
#[cbor(index_only)]
pub enum LinkKind {
    /// A connection inside one machine.
    #[n(0)]
    Pipe,
    /// TCP on the local network.
    #[n(1)]
    Lan,
    /// Bluetooth LE.
    #[n(2)]
    Ble,
    /// A WebSocket relay.
    #[n(3)]
    Relay,
}

impl fmt::Display for LinkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pipe => "pipe",
            Self::Lan => "lan",
            Self::Ble => "ble",
            Self::Relay => "relay",
        })
    }
}

/// Where an own message stands. The order is the only way it moves, except that `Expired` and `Failed` end
/// whatever is not yet delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, CborLen)]
#[cbor(index_only)]
pub enum MessageStatus {
    /// Only this node has it.
    #[n(0)]
    Pending,
    /// At least one other node has it.
    #[n(1)]
    Synced,
    /// The recipient has it.
    #[n(2)]
    Delivered,
    /// The recipient read it.
    #[n(3)]
    Read,
    /// Its lifetime ended first.
    #[n(4)]
    Expired,
    /// It can't be sent.
    #[n(5)]
    Failed,
}

impl MessageStatus {
    /// Whether a message may go from `self` to `next`.
    pub fn may_become(self, next: Self) -> bool {
        match self {
            Self::Pending | Self::Synced => next > self,
            Self::Delivered => next == Self::Read,
            Self::Read | Self::Expired | Self::Failed => false,
        }
    }
}

/// Whether a transport works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, CborLen)]
#[cbor(index_only)]
pub enum TransportState {
    /// Switched off by configuration.
    #[n(0)]
    Off,
    /// Coming up.
    #[n(1)]
    Starting,
    /// Working.
    #[n(2)]
    Up,
    /// Working, with something to know.
    #[n(3)]
    Degraded,
    /// Not working; tried again by itself.
    #[n(4)]
    Down,
}

impl fmt::Display for TransportState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Starting => "starting",
            Self::Up => "up",
            Self::Degraded => "degraded",
            Self::Down => "down",
        })
    }
}

/// One transport, in words.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, CborLen)]
pub struct TransportStatus {
    /// What kind of links it makes.
    #[n(0)]
    pub kind: LinkKind,
    /// Which one of its kind: a URL, an adapter, an interface.
    #[n(1)]
    pub name: String,
    /// Whether it works.
    #[n(2)]
    pub state: TransportState,
    /// The state in words.
    #[n(3)]
    pub detail: String,
    /// What the user can do.
    #[n(4)]
    pub hint: Option<String>,
}

/// A link as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, CborLen)]
pub struct LinkStatus {
    /// Its number.
    #[n(0)]
    pub id: u64,
    /// The neighbour, once the handshake proved who it is.
    #[n(1)]
    pub peer: Option<NodeId>,
    /// What carries it.
    #[n(2)]
    pub kind: LinkKind,
    /// The other end's address on that transport; empty in events, which are kept.
    #[n(3)]
    pub address: String,
    /// Whether this side made the connection.
    #[n(4)]
    pub dialled: bool,
    /// How far its session is.
    #[n(5)]
    pub phase: LinkPhase,
    /// Up since, in milliseconds since 1970, if that was known.
    #[n(6)]
    pub since_unix_ms: Option<u64>,
    /// Bytes of frames sent.
    #[n(7)]
    pub sent_bytes: u64,
    /// Bytes of frames received.
    #[n(8)]
    pub received_bytes: u64,
    /// Bundles sent.
    #[n(9)]
    pub sent_bundles: u64,
    /// Bundles received.
    #[n(10)]
    pub received_bundles: u64,
    /// Signal strength in dBm where the transport knows it.
    #[n(11)]
    pub rssi: Option<i16>,
    /// Which of the transport's ways it takes, such as `gatt`, where there are several.
    #[n(12)]
    pub path: Option<String>,
    /// Largest piece that the transport passes on, in bytes, where it knows.
    #[n(13)]
    pub mtu_bytes: Option<u32>,
    /// How long the connection took to make, in milliseconds; only for who made it.
    #[n(14)]
    pub connect_ms: Option<u32>,
}

impl LinkStatus {
    /// As it is kept: without the address. Where somebody's radio or network was is nothing to find on a disk (threat K-06).
    pub(crate) fn kept(self) -> Self {
        Self { address: String::new(), ..self }
    }
}

/// What a transport knows of a link, as far as it does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkFacts {
    /// See [`LinkStatus::rssi`].
    pub rssi: Option<i16>,
    /// See [`LinkStatus::path`].
    pub path: Option<&'static str>,
    /// See [`LinkStatus::mtu_bytes`].
    pub mtu_bytes: Option<u32>,
    /// See [`LinkStatus::connect_ms`].
    pub connect_ms: Option<u32>,
}

/// How far a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, CborLen)]
#[cbor(index_only)]
pub enum LinkPhase {
    /// The two sides are agreeing on keys.
    #[n(0)]
    Handshake,
    /// They are finding out what the other lacks.
    #[n(1)]
    Reconciling,
    /// Both hold the same; news goes out at once.
    #[n(2)]
    Live,
    /// Another link to the same neighbour does the work.
    #[n(3)]
    Standby,
}

/// Something that became true.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, CborLen)]
pub enum Event {
    /// A message was submitted here or came in for a conversation shown here.
    #[n(0)]
    MessageNew {
        /// Which.
        #[n(0)]
        id: BundleId,
    },
    /// An own message moved forward.
    #[n(1)]
    MessageStatus {
        /// Which.
        #[n(0)]
        id: BundleId,
        /// To where.
        #[n(1)]
        status: MessageStatus,
        /// Why, in words, for `Expired` and `Failed`.
        #[n(2)]
        reason: Option<String>,
    },
    /// A neighbour's first link came up.
    #[n(2)]
    PeerUp {
        /// Which.
        #[n(0)]
        peer: NodeId,
    },
    /// A neighbour's last link went down.
    #[n(3)]
    PeerDown {
        /// Which.
        #[n(0)]
        peer: NodeId,
    },
    /// A link's handshake proved who is there.
    #[n(4)]
    LinkUp {
        /// The link.
        #[n(0)]
        link: LinkStatus,
    },
    /// Such a link went down.
    #[n(5)]
    LinkDown {
        /// The link, with its final counts.
        #[n(0)]
        link: LinkStatus,
    },
    /// A transport changed its state.
    #[n(6)]
    Transport {
        /// Its new state.
        #[n(0)]
        status: TransportStatus,
    },
    /// A contact was added, changed or removed.
    #[n(7)]
    ContactChanged {
        /// Which.
        #[n(0)]
        peer: NodeId,
    },
    /// A group was founded, changed or left, or an invitation came.
    #[n(9)]
    GroupChanged {
        /// Which.
        #[n(0)]
        group: GroupId,
    },
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

#[cfg(test)]
mod tests {
    use super::MessageStatus::{Delivered, Expired, Failed, Pending, Read, Synced};

    #[test]
    fn a_status_only_moves_forward() {
        for (from, to) in
            [(Pending, Synced), (Pending, Read), (Synced, Expired), (Delivered, Read), (Pending, Failed)]
        {
            assert!(from.may_become(to), "{from:?} -> {to:?}");
        }
        for (from, to) in
            [(Synced, Pending), (Synced, Synced), (Delivered, Expired), (Read, Delivered), (Expired, Synced)]
        {
            assert!(!from.may_become(to), "{from:?} -> {to:?}");
        }
    }
}

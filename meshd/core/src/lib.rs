//! MeshLink's mesh engine as a pure state machine.
//!
//! No sockets, no files, no clock, no thread RNG: time, randomness and bytes are arguments, so that one
//! process can hold thousands of nodes and a seed replays any run. `meshd` drives it on a real machine, the
//! simulator on a virtual one.
//!
//! [`node::Node`] is the door in, [`node::Outbox`] the door out; `docs/protocol.md` is the specification.

#[cfg(test)]
mod abuse;
pub mod bridged;
mod bucket;
pub mod bundle;
pub mod canonical;
pub mod channel;
pub mod clock;
mod coded;
#[cfg(any(test, feature = "contract"))]
pub mod contract;
mod custody;
pub mod draft;
mod entropy;
pub mod event;
#[cfg(feature = "flaws")]
pub mod flaw;
pub mod group;
mod handshake;
pub mod header;
pub mod id;
pub mod identity;
pub mod limits;
mod link;
pub mod mem;
pub mod node;
mod noise;
pub mod post;
pub mod prekeys;
pub mod private;
pub mod profile;
pub mod receipt;
mod reconcile;
#[cfg(test)]
mod rogue;
pub mod sealed;
pub mod secret_post;
mod session;
mod spelling;
pub mod store;
mod summary;
pub mod tally;
#[cfg(test)]
mod vectors;
mod wants;
pub mod wire;
#[cfg(test)]
mod wycheproof_vectors;

pub use clock::Now;
pub use custody::Export;
pub use event::{
    Event, LinkFacts, LinkKind, LinkPhase, LinkStatus, MessageStatus, TransportState, TransportStatus,
};
pub use id::{BundleId, LinkId, NodeId, Seq};
pub use identity::{Identity, PublicKeys};
pub use limits::Limits;
pub use node::{
    BridgedPost, CloseReason, Deadline, Draft, Input, Node, Outbox, Output, ProfileDraft, SubmitError,
};
pub use store::{LoggedEvent, MessageRecord, PeerRecord, Priority, Store, StoreError};

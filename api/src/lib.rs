//! Every word MeshLink's processes say to each other.
//!
//! `meshd` serves these types over HTTP, `meshctl` and other programs read them, the relay and `meshd`
//! share [`relay`]. The crate holds data and its spelling only: no sockets, no clock, no policy.
//!
//! Spelling rules, everywhere: snake_case fields, times `*_at` as RFC 3339 in UTC with milliseconds,
//! durations `*_s` in whole seconds, sizes `*_bytes`, ids as lower-case base32 without padding
//! (RFC 4648 section 6). Fields may be added in later versions; readers ignore what they do not know.

pub mod contact;
pub mod event;
pub mod group;
pub mod maintenance;
pub mod message;
pub mod node;
pub mod problem;
pub mod relay;
pub mod token;

pub use contact::{
    Code, Contact, ContactChange, ContactState, Identity, Introduction, NewCode, NewContact, Receipts,
    Resolution, Trust, Verification,
};
pub use event::{Event, EventType};
pub use group::{Group, GroupChange, Member, Membership, NewGroup, NewMember, Recipient};
pub use maintenance::{LogSetting, Reloaded, Setting, Settings, StoreCompacted, StoreReport, StoreVerified};
pub use message::{
    Conversation, HandOver, HandOverStep, Message, MessageStatus, NewMessage, Priority, Protection, Sender,
    Trace,
};
pub use node::{
    ApiAddress, AtRest, AtRestState, BackupMade, Channel, ClockState, Health, Link, LinkKind, MessageCounts,
    NewBackup, NewChannel, NewPassphrase, NewRestore, Peer, Profile, Restored, Status, StoreUse,
    TransportState, TransportStatus, Unlock, Wipe,
};
pub use problem::Problem;
pub use token::{Cursor, NewCursor, NewToken, Scope, Ticket, Token, TokenCreated};

use serde::{Deserialize, Serialize};

/// One page of a list. `next` is the cursor of the page after it, `None` on the last one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Page<T> {
    /// The items of this page.
    pub items: Vec<T>,
    /// Pass it as `?cursor=` to get the following page.
    pub next: Option<String>,
}

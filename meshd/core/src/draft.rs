//! What is asked of a node, and why it may refuse.

use crate::id::BundleId;
use crate::store::{Priority, StoreError};

/// What somebody here wants to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// `#channel` to post to.
    pub channel: String,
    /// The text.
    pub text: String,
    /// How long it may take, in seconds; `None` for the default.
    pub lifetime_s: Option<u64>,
    /// How urgent it is.
    pub priority: Priority,
    /// The message it answers.
    pub reply_to: Option<BundleId>,
}

/// A post of a client that knows nothing of MeshLink, taken over by the node beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgedPost {
    /// `#channel` it belongs to.
    pub channel: String,
    /// The text.
    pub text: String,
    /// The name its sender gives itself; nobody vouches for it.
    pub sender_id: String,
    /// What its sender's clock said, in milliseconds since 1970.
    pub timestamp_ms: i64,
}

/// What a node says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProfileDraft {
    /// Its name.
    pub name: Option<String>,
    /// About itself.
    pub about: Option<String>,
    /// Its picture, as a `data:image/...` URL.
    pub avatar: Option<String>,
}

/// Why something can't be submitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// There is nothing to send.
    #[error("the text is empty")]
    EmptyText,
    /// The text is too long for one message.
    #[error("the text has {bytes} bytes; at most {max} fit in a message")]
    TextTooLong {
        /// Its length.
        bytes: usize,
        /// The most.
        max: usize,
    },
    /// The text holds a character no message may hold.
    #[error("the text holds a NUL character")]
    NulInText,
    /// No channel has such a name.
    #[error("{name:?} is no channel: `#` and 1 to 63 bytes of lower-case letters, digits, `-`, `_` and `.`")]
    BadChannel {
        /// What was given.
        name: String,
    },
    /// The channel is not joined.
    #[error("channel {channel} is not joined")]
    NotJoined {
        /// Which.
        channel: String,
    },
    /// The channel is always joined.
    #[error("channel {channel} can't be left")]
    CannotLeave {
        /// Which.
        channel: String,
    },
    /// The lifetime is out of range.
    #[error("a lifetime is between {min} and {max} seconds")]
    BadLifetime {
        /// Shortest, in seconds.
        min: u64,
        /// Longest, in seconds.
        max: u64,
    },
    /// A part of a profile or of a bridged post is not allowed.
    #[error("{field} {problem}")]
    BadField {
        /// Which part.
        field: &'static str,
        /// What is wrong with it, in words.
        problem: &'static str,
    },
    /// Own messages that are still under way use up the node's own share of the store.
    #[error("the store is full of own messages that are still under way")]
    StoreFull,
    /// The disk failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

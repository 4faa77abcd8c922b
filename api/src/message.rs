//! Messages, conversations and the trace of a delivery.

use serde::{Deserialize, Serialize};

use crate::group::Recipient;

/// How urgent a message is; a more urgent one overtakes on every link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// A call for help: goes first on every link.
    Sos,
    /// Ordinary mail.
    #[default]
    Normal,
    /// Whatever can wait.
    Bulk,
}

/// Where an own message stands. It only moves forward; a received message is `synced`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum MessageStatus {
    /// Stored here; no other node has it yet.
    Pending,
    /// At least one other node holds it.
    Synced,
    /// The recipient has it.
    Delivered,
    /// The recipient has read it.
    Read,
    /// Its lifetime ended before it was delivered.
    Expired,
    /// It can't be sent; `status_reason` says why.
    Failed,
}

/// What protects a message's text and its sender's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Protection {
    /// Readable by everyone who carries it. Signed, unless `from.authenticated` is false.
    Public,
    /// Encrypted with a channel's key.
    Channel,
    /// Encrypted to one recipient, or a group, whose keys were not all compared in person.
    Sealed,
    /// Encrypted to one recipient whose key was verified; in a group, by a member or to members whose keys all were.
    SealedVerified,
}

/// Who wrote a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Sender {
    /// Node id, or `relay:<senderId>` for a post that came in through a relay's JSON dialect.
    pub id: String,
    /// The name the sender gives itself, as last heard.
    pub name: Option<String>,
    /// Whether this node wrote it.
    pub me: bool,
    /// Whether a signature or a sealed key proves the sender. A name alone proves nothing.
    pub authenticated: bool,
}

/// A message as people and programs read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Message {
    /// Message id: the id of its first bundle.
    pub id: String,
    /// `#channel`, a node id, or `group:<id>`.
    pub conversation: String,
    /// What a person or a group it is with is called, if that is known.
    #[serde(default)]
    pub conversation_name: Option<String>,
    /// Its author.
    pub from: Sender,
    /// Where it was sent: `#channel`, a node id, or `group:<id>`.
    pub to: String,
    /// The text, at most 16,384 bytes of UTF-8.
    pub text: String,
    /// When its author says it was written; `None` where the author had no trusted clock.
    pub created_at: Option<String>,
    /// When this node stored it; `None` if this node's clock was not trusted then.
    pub received_at: Option<String>,
    /// Where it stands.
    pub status: MessageStatus,
    /// Why it stands there, in words, for `expired` and `failed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_reason: Option<String>,
    /// What protects it.
    pub protection: Protection,
    /// How urgent it is.
    pub priority: Priority,
    /// When carriers drop it; `None` while this node's clock is not trusted.
    pub expires_at: Option<String>,
    /// Whether it was marked read here. Own messages always are.
    pub read: bool,
    /// Files that go with it.
    pub attachments: Vec<String>,
    /// The message it answers.
    pub reply_to: Option<String>,
    /// For an own message to a group: its members when it was sent, and who has it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<Recipient>,
    /// Position in the event log: pass it as `?since=` to get what came after.
    pub cursor: String,
}

/// The body of `POST /v1/messages`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewMessage {
    /// `#channel`, node id, contact name, `me` or `group:<id>`; `#mesh` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// 1 to 16,384 bytes of UTF-8.
    pub text: String,
    /// Lifetime in seconds, 60 to 2,592,000 (30 days); 7 days if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_s: Option<u64>,
    /// Urgency; `normal` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// Id of the message it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    /// Files; this version carries text only and answers 422 to a list that is not empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<String>,
}

/// One conversation with its newest message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Conversation {
    /// `#channel`, a node id, or `group:<id>`.
    pub id: String,
    /// How to show it.
    pub title: String,
    /// Messages kept here.
    pub messages: u64,
    /// Received messages not yet marked read.
    pub unread: u64,
    /// The newest message.
    pub last: Option<Message>,
}

/// What happened to a message at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum HandOverStep {
    /// A neighbour was told that this node holds it.
    Offered,
    /// The neighbour confirmed that it stored it.
    Stored,
    /// It came in from a neighbour.
    Received,
    /// Its recipient confirmed that it arrived; of a group, the last of its members.
    Delivered,
    /// Its recipient confirmed that they read it; of a group, the last of its members.
    Read,
}

/// One step on the way of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HandOver {
    /// What happened.
    pub step: HandOverStep,
    /// The neighbour's node id; the recipient's where it is `delivered` or `read`, `null` where that is a group.
    pub peer: Option<String>,
    /// Its name, as last heard.
    pub peer_name: Option<String>,
    /// Over which kind of link; `null` where it is `delivered` or `read`.
    pub via: Option<crate::node::LinkKind>,
    /// When; `None` where the clock was not trusted.
    pub at: Option<String>,
}

/// Where a message is and why it waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Trace {
    /// Message id.
    pub id: String,
    /// Where it stands.
    pub status: MessageStatus,
    /// Whether this node still carries its bundle.
    pub carried: bool,
    /// Size of its bundle on the air; `null` when it is no longer carried.
    pub size_bytes: Option<u64>,
    /// How long it has been under way, counted by its carriers, in seconds; `null` when it is no longer carried.
    pub age_s: Option<u64>,
    /// How many nodes it passed through to get here; `null` when it is no longer carried.
    pub hops: Option<u8>,
    /// When this node drops it; `None` while its clock is not trusted.
    pub expires_at: Option<String>,
    /// Seconds until then.
    pub expires_in_s: u64,
    /// In words: what it waits for, or why it was dropped.
    pub waiting: Option<String>,
    /// Steps, oldest first.
    pub steps: Vec<HandOver>,
}

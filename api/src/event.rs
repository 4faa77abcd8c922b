//! The event stream, `GET /v1/events`.

use serde::{Deserialize, Serialize};

/// What an event is about; its `data` is the object REST returns for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum EventType {
    /// The current state, first on a stream that resumes from nowhere: a `Status`.
    #[serde(rename = "status")]
    Status,
    /// Some events after the position asked for are no longer kept: `{"oldest": "<cursor>"}`.
    #[serde(rename = "gap")]
    Gap,
    /// A message was sent here or came in: a `Message`.
    #[serde(rename = "message.new")]
    MessageNew,
    /// An own message moved forward: a `Message`.
    #[serde(rename = "message.status")]
    MessageStatus,
    /// A neighbour's first link came up: a `Peer`.
    #[serde(rename = "peer.up")]
    PeerUp,
    /// A neighbour's last link went down: a `Peer`.
    #[serde(rename = "peer.down")]
    PeerDown,
    /// A link came up: a `Link`.
    #[serde(rename = "link.up")]
    LinkUp,
    /// A link went down: a `Link`.
    #[serde(rename = "link.down")]
    LinkDown,
    /// A transport changed: a `TransportStatus`.
    #[serde(rename = "transport.state")]
    TransportState,
    /// A contact changed: a `Contact`.
    #[serde(rename = "contact.changed")]
    ContactChanged,
    /// A group was founded, changed or left, or an invitation came: a `Group`.
    #[serde(rename = "group.changed")]
    GroupChanged,
}

impl EventType {
    /// Every type, in the order of the documentation.
    pub const ALL: [Self; 11] = [
        Self::Status,
        Self::Gap,
        Self::MessageNew,
        Self::MessageStatus,
        Self::PeerUp,
        Self::PeerDown,
        Self::LinkUp,
        Self::LinkDown,
        Self::TransportState,
        Self::ContactChanged,
        Self::GroupChanged,
    ];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Gap => "gap",
            Self::MessageNew => "message.new",
            Self::MessageStatus => "message.status",
            Self::PeerUp => "peer.up",
            Self::PeerDown => "peer.down",
            Self::LinkUp => "link.up",
            Self::LinkDown => "link.down",
            Self::TransportState => "transport.state",
            Self::ContactChanged => "contact.changed",
            Self::GroupChanged => "group.changed",
        }
    }

    /// The type with that name on the wire.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.as_str() == name)
    }
}

/// One event as a line of `application/x-ndjson`. As `text/event-stream` the same three values are the
/// `id:`, `event:` and `data:` lines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Event {
    /// A durable cursor: `Last-Event-ID` or `?since=` resumes after it.
    pub id: String,
    /// What it is about. Under this name, as in an event stream, and under `type`.
    #[serde(rename = "event")]
    pub name: EventType,
    /// What it is about.
    #[serde(rename = "type")]
    pub kind: EventType,
    /// The object REST returns.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub data: serde_json::Value,
}

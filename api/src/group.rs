//! Groups.

use serde::{Deserialize, Serialize};

use crate::message::MessageStatus;

/// What somebody has to do with a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Membership {
    /// It is a member.
    Joined,
    /// It is invited and has not answered.
    Invited,
    /// It left, declined or was removed.
    Out,
}

/// Somebody in a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Member {
    /// Node id.
    pub id: String,
    /// How a contact is called here; for others the name they give themselves.
    pub name: Option<String>,
    /// Whether it is this node.
    pub me: bool,
    /// Whether it may change the group.
    pub admin: bool,
    /// `joined` or `invited`.
    pub membership: Membership,
}

/// A group as this node knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Group {
    /// Group id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What this node has to do with it.
    pub membership: Membership,
    /// Whether this node may change it.
    pub admin: bool,
    /// Whether new members get what was sent before, as far as it is still carried.
    pub history: bool,
    /// Node id of who invited this node.
    pub invited_by: Option<String>,
    /// Where its messages are: `group:<id>`. Send to it with `"to"`.
    pub conversation: String,
    /// Who is in, and who is invited; by node id.
    pub members: Vec<Member>,
    /// When this node came to know it, where the clock was trusted.
    pub since_at: Option<String>,
}

/// The body of `POST /v1/groups`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewGroup {
    /// Its name, 1 to 64 bytes.
    pub name: String,
    /// Whether new members get what was sent before.
    #[serde(default)]
    pub history: bool,
    /// Contacts to invite: names or node ids.
    #[serde(default)]
    pub members: Vec<String>,
}

/// The body of `PATCH /v1/groups/{id}`: what to change.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct GroupChange {
    /// Its new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether new members get what was sent before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<bool>,
}

/// The body of `POST /v1/groups/{id}/members`: whom to invite.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewMember {
    /// A contact's name or node id; a member's with `admin`.
    pub who: String,
    /// Whether it may change the group.
    #[serde(default)]
    pub admin: bool,
}

/// Somebody a message to a group is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Recipient {
    /// Node id.
    pub id: String,
    /// As in a message's `from`.
    pub name: Option<String>,
    /// `pending` until its receipt has come, then `delivered` or `read`.
    pub status: MessageStatus,
}

//! Contacts, and how a node shows who it is.

use serde::{Deserialize, Serialize};

use crate::message::Protection;

/// Why a contact's keys are believed to be that person's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// Nothing says so but whoever gave the id or code.
    Unverified,
    /// A verified contact says so.
    Introduced,
    /// The safety number was compared, or the code was taken in person.
    Verified,
}

/// Which receipts a contact gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Receipts {
    /// None.
    None,
    /// That its messages arrived.
    Delivered,
    /// That they were read too, if it says the same of ours.
    Read,
}

/// Whether a contact can be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ContactState {
    /// Messages are sealed at once.
    Ready,
    /// Messages wait until keys of it come by.
    WaitingForKeys,
    /// It was added by a code and has not answered yet. Messages are sealed all the same.
    WaitingForAnswer,
    /// It wrote first, and the user has said nothing about it yet.
    Asking,
    /// Another node claims to be it: nothing is sent until that is resolved.
    KeyChanged,
    /// It is blocked.
    Blocked,
}

/// Somebody to write with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Contact {
    /// Node id.
    pub id: String,
    /// How it is called here. No two contacts have the same name.
    pub name: Option<String>,
    /// The name it gives itself; proves nothing.
    pub own_name: Option<String>,
    /// Why its keys are believed.
    pub trust: Trust,
    /// Node id of who introduced it.
    pub introduced_by: Option<String>,
    /// Whether it can be written to.
    pub state: ContactState,
    /// The state in words.
    pub detail: String,
    /// What can be done about it.
    pub hint: Option<String>,
    /// Node id of another node that claims to be this contact.
    pub rival: Option<String>,
    /// What protects messages with it.
    pub protection: Protection,
    /// Which receipts it gets.
    pub receipts: Receipts,
    /// Sixty digits, the same on both sides if nobody sits between; `None` until its keys are known, and in lists
    /// and events.
    pub safety_number: Option<String>,
    /// When it was added, where the clock was trusted.
    pub added_at: Option<String>,
}

/// The body of `POST /v1/contacts`: an id or a code.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewContact {
    /// Node id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The text of its code, `MESHLINK:...`; white space in it does not matter. `qr_text`, its name in `GET
    /// /v1/identity`, is taken too.
    #[serde(default, alias = "qr_text", skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// How it shall be called here; as it calls itself if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether the code came from that person directly, such as from a screen in front of the user. The contact
    /// is then verified as soon as it has answered.
    #[serde(default)]
    pub in_person: bool,
}

/// What to do about another node that claims to be a contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// The contact stays who it was.
    Keep,
    /// The other one gets the name from now on.
    Replace,
}

/// The body of `PATCH /v1/contacts/{id}`: what to change.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ContactChange {
    /// Another name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Which receipts it gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipts: Option<Receipts>,
    /// `true` accepts somebody who wrote first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept: Option<bool>,
    /// `false` takes a verification back. To verify, `POST .../verify`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<bool>,
    /// What to do about the `rival`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolve: Option<Resolution>,
}

/// The body of `POST /v1/contacts/{id}/verify`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Verification {
    /// The number that the other person's device shows.
    pub safety_number: String,
}

/// The body of `POST /v1/contacts/{id}/introduce`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Introduction {
    /// The contact that shall get to know this one: name or node id.
    pub to: String,
}

/// Who this node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Identity {
    /// Node id.
    pub id: String,
    /// The name it gives itself.
    pub name: Option<String>,
    /// Public key for signatures, in hex.
    pub ed25519: String,
    /// Public key for agreement, in hex.
    pub x25519: String,
    /// The id as text for a QR code. It holds no secret: whoever takes it can write once keys have come by.
    pub qr_text: String,
}

/// The body of `POST /v1/identity/code`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewCode {
    /// Whether it will be taken from this screen: it then works for 10 minutes instead of 7 days.
    #[serde(default)]
    pub in_person: bool,
}

/// A code for one other person. Whoever has it can use it: show it to that person only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Code {
    /// The text, also for a QR code.
    pub code: String,
    /// Until when it works, where the clock is trusted.
    pub expires_at: Option<String>,
}

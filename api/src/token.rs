//! Tokens, tickets and named cursors.

use serde::{Deserialize, Serialize};

/// What a token may do; each scope includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Read everything but tokens.
    Read,
    /// And send, mark read, forget, keep cursors.
    Send,
    /// And change the node itself: profile, channels, blocks, tokens.
    Admin,
}

impl Scope {
    /// All scopes that this one includes, itself the last.
    pub fn included(self) -> Vec<Self> {
        [Self::Read, Self::Send, Self::Admin].into_iter().filter(|scope| *scope <= self).collect()
    }
}

/// A named token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Token {
    /// Its id, for `DELETE /v1/tokens/{id}`.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// What it may do: the highest of `scopes`.
    pub scope: Scope,
    /// All that it may do; a scope includes the ones before it.
    #[serde(default)]
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub created_at: Option<String>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<String>,
}

/// The body of `POST /v1/tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// What it is for, 1 to 64 bytes.
    pub name: String,
    /// What it may do; or name it in `scopes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// The same as a list, such as `["read", "send"]`: the highest counts, since it includes the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<Scope>>,
}

/// A token just made. The secret is shown this once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenCreated {
    /// The token.
    #[serde(flatten)]
    pub token: Token,
    /// For `Authorization: Bearer <secret>`.
    pub secret: String,
}

impl std::fmt::Debug for TokenCreated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenCreated").field("token", &self.token).field("secret", &"[redacted]").finish()
    }
}

/// `POST /v1/events/ticket`: a way in for `EventSource`, which can't send headers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Ticket {
    /// For `?ticket=`; good once.
    pub ticket: String,
    /// Seconds until it is void.
    pub expires_in_s: u64,
}

/// A durable read position with a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Cursor {
    /// Its name.
    pub name: String,
    /// The position.
    pub cursor: String,
    /// When it was last moved.
    pub updated_at: Option<String>,
}

/// The body of `PUT /v1/cursors/{name}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewCursor {
    /// The position to keep: an event's id.
    pub cursor: String,
}

//! Every way a request can fail: one [`Code`] each, one shape for all (RFC 9457).
//!
//! A [`Code`] fixes status and title, so that the same code always means the same. A [`Failure`] adds what is
//! particular to one request. Whatever refuses a request, guard, router, parser or store, answers with one.

use axum::response::{IntoResponse, Response};
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{HeaderMap, StatusCode};
use meshlink_api::Problem;
use meshlink_core::store::StoreError;

macro_rules! codes {
    ($($variant:ident $status:literal $code:literal $title:literal;)*) => {
        /// Why a request failed; stable, for programs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code {
            $(#[doc = $title] $variant,)*
        }

        impl Code {
            /// Every code, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            fn facts(self) -> (u16, &'static str, &'static str) {
                match self {
                    $(Self::$variant => ($status, $code, $title),)*
                }
            }
        }
    };
}

codes! {
    BadRequest 400 "bad_request" "The request is not HTTP as it should be";
    BadHost 400 "bad_host" "The request does not name one host";
    MalformedJson 400 "malformed_json" "The body is not well-formed JSON";
    MalformedText 400 "malformed_text" "The body is not UTF-8";
    Unauthorized 401 "unauthorized" "A valid token is needed";
    TokenInQuery 401 "token_in_query" "Tokens are not taken from the query string";
    BadTicket 401 "bad_ticket" "The ticket is unknown, used or too old";
    ForeignHost 403 "foreign_host" "The Host header names another host";
    ForeignOrigin 403 "foreign_origin" "Pages of this origin may not use the API";
    CrossSite 403 "cross_site" "Pages of other sites may not use the API";
    InsufficientScope 403 "insufficient_scope" "The token's scope does not include this";
    WrongPassphrase 403 "wrong_passphrase" "That is not the node's passphrase";
    NotFound 404 "not_found" "There is no such thing here";
    NoRoute 404 "no_route" "There is no such route";
    MethodNotAllowed 405 "method_not_allowed" "The route does not have this method";
    SlowRequest 408 "slow_request" "The body took too long";
    AmbiguousId 409 "ambiguous_id" "More than one id starts like this";
    ChannelConflict 409 "channel_conflict" "Another channel of this name is joined";
    PermanentChannel 409 "permanent_channel" "Every node shows this channel";
    NameTaken 409 "name_taken" "Another contact has this name";
    ContactKeyChanged 409 "contact_key_changed" "Another node claims to be this contact";
    RecipientBlocked 409 "recipient_blocked" "The recipient is blocked";
    NotInGroup 409 "not_in_group" "This node is not in the group";
    GroupBehind 409 "group_behind" "No member of the group was heard since the node was restored";
    NotAdministrator 409 "not_administrator" "Only who stands above can do that to the group";
    AlreadyMember 409 "already_member" "They are in the group already";
    KeysUnknown 409 "keys_unknown" "The contact's keys are not known yet";
    WrongSafetyNumber 409 "wrong_safety_number" "That is not the safety number";
    NotVerified 409 "not_verified" "The contact is not verified";
    LimitReached 409 "limit_reached" "There are as many as there can be";
    NodeInUse 409 "node_in_use" "The node was used already";
    NoPassphrase 409 "no_passphrase" "The node has no passphrase";
    MessageForgotten 410 "message_forgotten" "The message of this key was forgotten here";
    BodyTooLarge 413 "body_too_large" "The body is too large";
    UriTooLong 414 "uri_too_long" "The address is too long";
    UnsupportedMediaType 415 "unsupported_media_type" "The body's media type is not one the route takes";
    InvalidBody 422 "invalid_body" "The body does not say what the route needs";
    InvalidQuery 422 "invalid_query" "A query parameter is unknown or invalid";
    InvalidCursor 422 "invalid_cursor" "This is no position in this node's event log";
    InvalidId 422 "invalid_id" "This is no id";
    InvalidName 422 "invalid_name" "This is no valid name";
    InvalidBackup 422 "invalid_backup" "The backup can't be used";
    InvalidPassphrase 422 "invalid_passphrase" "The passphrase can't be used";
    InvalidProfile 422 "invalid_profile" "The profile can't be published like this";
    EmptyText 422 "empty_text" "The message has no text";
    TextTooLong 422 "text_too_long" "The text is too long for one message";
    InvalidLifetime 422 "invalid_lifetime" "The lifetime is too short or too long";
    ChannelNotJoined 422 "channel_not_joined" "This node does not show that channel";
    InvalidPassword 422 "invalid_password" "The password can't be used";
    InvalidCode 422 "invalid_code" "The code can't be used";
    UnknownRecipient 422 "unknown_recipient" "Nobody here is called that";
    AttachmentsUnsupported 422 "attachments_unsupported" "This version sends text only";
    InvalidIdempotencyKey 422 "invalid_idempotency_key" "The Idempotency-Key header is not usable";
    InvalidLogFilter 422 "invalid_log_filter" "This is no log filter";
    InvalidConfiguration 422 "invalid_configuration" "The configuration has a mistake";
    IdempotencyConflict 422 "idempotency_conflict" "This Idempotency-Key was used for another message";
    Locked 423 "locked" "The node is locked";
    TooManyTries 429 "too_many_tries" "Too many wrong passphrases";
    TooManyFailures 429 "too_many_failures" "Too many wrong tokens";
    HeadTooLarge 431 "head_too_large" "The request's head is too large";
    NoEntropy 500 "no_entropy" "The system gave no random bytes";
    StoreFailed 500 "store_failed" "The store failed";
    KeysFailed 500 "keys_failed" "The key files can't be read or written";
    NoMemory 503 "no_memory" "There is no memory for it now";
    Stopping 503 "stopping" "The daemon is stopping";
    TooManyStreams 503 "too_many_streams" "Too many event streams are open";
    QuotaUsed 507 "quota_used" "Own messages under way fill their share of the store";
    InsufficientStorage 507 "insufficient_storage" "The disk is full";
}

impl Code {
    /// Its HTTP status.
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.facts().0).expect("the table holds valid statuses")
    }

    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        self.facts().1
    }

    /// What it says about every request it is answered to.
    pub fn title(self) -> &'static str {
        self.facts().2
    }

    /// A failure with this code.
    pub(super) fn because(self, detail: impl Into<String>) -> Failure {
        let (status, code, title) = self.facts();
        let problem = Problem::new(status, code, title, detail);
        Failure(Box::new(Parts { code: self, problem, headers: HeaderMap::new() }))
    }
}

/// What to do about [`Code::Locked`].
pub(super) const UNLOCK: &str = "unlock it with its passphrase: meshctl unlock";

/// A request that failed, ready to be answered.
#[derive(Debug, Clone)]
pub(super) struct Failure(Box<Parts>);

#[derive(Debug, Clone)]
struct Parts {
    code: Code,
    problem: Problem,
    headers: HeaderMap,
}

impl Failure {
    /// What it says.
    #[cfg(test)]
    pub(super) fn detail(&self) -> &str {
        &self.0.problem.detail
    }

    pub(super) fn code(&self) -> Code {
        self.0.code
    }

    /// Adds what the user can do about it.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.problem = self.0.problem.with_hint(hint);
        self
    }

    /// Adds a header to the answer.
    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    /// Ends the connection with the answer: what follows on it can't be told apart from the body.
    pub(super) fn close(self) -> Self {
        self.header(CONNECTION, HeaderValue::from_static("close"))
    }

    /// The answer's body.
    pub(super) fn body(&self) -> String {
        serde_json::to_string(&self.0.problem).expect("a problem is plain strings and a number")
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let media_type = HeaderValue::from_static(Problem::MEDIA_TYPE);
        let mut response = (self.code().status(), [(CONTENT_TYPE, media_type)], self.body()).into_response();
        response.headers_mut().extend(self.0.headers);
        response
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full => Code::InsufficientStorage
                .because("the disk is full; nothing was stored")
                .hint("make room on the disk that holds the state directory; sending then works again by itself"),
            StoreError::Locked => Code::Locked.because(error.to_string()).hint(UNLOCK),
            StoreError::Io { .. } | StoreError::Corrupt { .. } => Code::StoreFailed
                .because(error.to_string())
                .hint("look at the disk that holds the state directory; the daemon's log has more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_are_snake_case_and_unique() {
        let names: BTreeSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!(code.as_str().chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{code:?}");
            assert!(code.status().is_client_error() || code.status().is_server_error(), "{code:?}");
        }
    }

    #[test]
    fn a_failure_is_a_problem_document() {
        let failure = Code::NoRoute.because("there is no /x").hint("see /v1/openapi.json");
        let response = failure.clone().into_response();
        assert_eq!(response.status(), 404);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        let problem: Problem = serde_json::from_str(&failure.body()).unwrap();
        assert_eq!(problem.kind, "urn:meshlink:problem:no_route");
        assert_eq!(problem.hint.as_deref(), Some("see /v1/openapi.json"));
    }

    #[test]
    fn a_full_disk_is_507_with_a_hint() {
        let failure = Failure::from(StoreError::Full);
        assert_eq!(failure.code().status(), 507);
        assert!(failure.body().contains("\"hint\""));
    }
}

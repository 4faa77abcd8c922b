//! Sending a message.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Extension, State};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{StatusCode, Uri};
use meshlink_api::{Message, NewMessage, Priority};
use meshlink_core::node::{Draft, GroupMessageDraft, Node, PrivateDraft};
use meshlink_core::{BundleId, NodeId, Now, Store};
use serde::Deserialize;
use utoipa::IntoParams;

use super::groups::group_id;
use super::submit_failure;
use crate::http::app::App;
use crate::http::intake::{self, MediaType, Parameters};
use crate::http::limits;
use crate::http::problem::{Code, Failure};
use crate::http::render::{self, Renderer};
use crate::http::token_book::Caller;
use crate::sqlite::{IdempotentRow, SqliteStore};

const IDEMPOTENCY_KEY: &str = "idempotency-key";
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// What a text/plain body can't say.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SendQuery {
    /// Where to, for a text/plain body. Write `#` as `%23` in an address.
    to: Option<String>,
    /// Lifetime in seconds, for a text/plain body.
    ttl_s: Option<u64>,
    /// Urgency, for a text/plain body.
    #[param(inline)]
    priority: Option<Priority>,
    /// Id of the message it answers, for a text/plain body.
    reply_to: Option<String>,
}

/// Sends a message: the answer says that it is stored on this node's disk; `status` and events say how far it got.
#[utoipa::path(
    post, path = "/v1/messages", tag = "messages", operation_id = "send_message",
    params(
        SendQuery,
        ("Idempotency-Key" = Option<String>, Header,
            description = "Up to 128 printable ASCII characters. Sent again with the same message, it gives that message again instead of a second one."),
    ),
    request_body(
        content((NewMessage = "application/json"), (String = "text/plain")),
        description = "The message, or its text alone; one line break at the end of a text/plain body is left out.",
    ),
    responses((
        status = 201, description = "Stored, now or by an earlier request with the same key (`Idempotent-Replayed: true`).", body = Message,
        headers(("Location" = String, description = "Path of the message.")),
    )),
)]
pub(crate) async fn send(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
    headers: HeaderMap,
    Parameters(query): Parameters<SendQuery>,
    body: Bytes,
) -> Result<(StatusCode, HeaderMap, Json<Message>), Failure> {
    let message = if MediaType::of(&headers) == Some(MediaType::Text) {
        from_text(query, &body)?
    } else if uri.query().is_some_and(|query| !query.is_empty()) {
        return Err(Code::InvalidQuery
            .because("query parameters go with a text/plain body; put them into the JSON object"));
    } else {
        intake::from_json(&body)?
    };
    let key = idempotency_key(&headers, &caller)?;
    let body_hash = *blake3::hash(&serde_json::to_vec(&message).expect("plain data")).as_bytes();
    let draft = Target::of(message)?;
    let (message, replayed) = app
        .write(move |node, now| {
            let (id, replayed) = submit_once(node, draft, key.as_deref(), body_hash, now)?;
            let record = node.store().message(&id)?.ok_or_else(|| forgotten(&id))?;
            Ok::<_, Failure>((Renderer::new(node, now).message(&record)?, replayed))
        })
        .await?;
    let mut headers = HeaderMap::new();
    let location = HeaderValue::from_str(&format!("/v1/messages/{}", message.id));
    headers.insert(header::LOCATION, location.expect("ids are base32"));
    if replayed {
        headers.insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok((StatusCode::CREATED, headers, Json(message)))
}

fn from_text(query: SendQuery, body: &[u8]) -> Result<NewMessage, Failure> {
    let text = std::str::from_utf8(body).map_err(|e| Code::MalformedText.because(e.to_string()))?;
    let text = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    let SendQuery { to, ttl_s, priority, reply_to } = query;
    Ok(NewMessage { to, text: text.to_owned(), ttl_s, priority, reply_to, attachments: Vec::new() })
}

/// The caller's key, set apart from those of other callers.
fn idempotency_key(headers: &HeaderMap, caller: &Caller) -> Result<Option<String>, Failure> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let value = match (values.next(), values.next()) {
        (None, _) => return Ok(None),
        (Some(value), None) => value.to_str().unwrap_or_default(),
        (Some(_), Some(_)) => "",
    };
    let max = limits::IDEMPOTENCY_KEY_BYTES_MAX;
    if !(1..=max).contains(&value.len()) || !value.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Code::InvalidIdempotencyKey
            .because(format!("one key of 1 to {max} printable ASCII characters without spaces is taken"))
            .hint("a random UUID for each message serves well"));
    }
    Ok(Some(format!("{}/{value}", caller.namespace())))
}

/// A message with where it goes to: what begins with `#` is a channel, with `group:` a group, everything else
/// somebody.
struct Target {
    to: String,
    draft: Draft,
}

impl Target {
    fn of(message: NewMessage) -> Result<Self, Failure> {
        let to = message.to.unwrap_or_else(|| "#mesh".to_owned());
        if !message.attachments.is_empty() {
            return Err(Code::AttachmentsUnsupported.because("this version carries text only"));
        }
        let reply_to = message
            .reply_to
            .map(|id| id.parse::<BundleId>().map_err(|e| Code::InvalidId.because(format!("reply_to: {e}"))));
        let draft = Draft {
            channel: to.clone(),
            text: message.text,
            lifetime_s: message.ttl_s,
            priority: render::core_priority(message.priority.unwrap_or_default()),
            reply_to: reply_to.transpose()?,
        };
        Ok(Self { to, draft })
    }

    fn submit(self, node: &mut Node<SqliteStore>, now: Now) -> Result<BundleId, Failure> {
        if self.to.starts_with('#') {
            return node.submit(self.draft, now).map_err(submit_failure);
        }
        let Draft { text, lifetime_s, priority, reply_to, .. } = self.draft;
        if let Some(which) = self.to.strip_prefix("group:") {
            let group = group_id(node, which).map_err(|_| {
                Code::UnknownRecipient
                    .because(format!("{which:?} is no group here"))
                    .hint("`meshctl group list` and GET /v1/groups name the groups")
            })?;
            let draft = GroupMessageDraft { group, text, lifetime_s, priority, reply_to };
            return node.submit_to_group(draft, now).map_err(submit_failure);
        }
        let to = recipient(node, &self.to)?;
        let draft = PrivateDraft { to, text, lifetime_s, priority, reply_to };
        node.submit_private(draft, now).map_err(submit_failure)
    }
}

/// Whom a node id, a contact's name, `@name`, or `me` for a note to oneself means.
pub(super) fn recipient(node: &Node<SqliteStore>, to: &str) -> Result<NodeId, Failure> {
    if let Ok(id) = to.to_ascii_lowercase().parse() {
        return Ok(id);
    }
    let called = node.contact_called(to).or_else(|| node.contact_called(to.strip_prefix('@')?));
    let oneself = || (to == "me").then(|| node.id());
    called.or_else(oneself).ok_or_else(|| {
        Code::UnknownRecipient
            .because(format!("{to:?} is no channel, no node id and no contact"))
            .hint("a channel begins with #; `meshctl contact list` and GET /v1/contacts name the contacts")
    })
}

/// Submits a draft, unless this key has done so before: one message for each key (threat A-13). Says whether it had.
fn submit_once(
    node: &mut Node<SqliteStore>,
    draft: Target,
    key: Option<&str>,
    body_hash: [u8; 32],
    now: Now,
) -> Result<(BundleId, bool), Failure> {
    if let Some(row) = key.map(|key| node.store().idempotent(key)).transpose()?.flatten() {
        if row.body_hash != body_hash {
            return Err(Code::IdempotencyConflict
                .because("the key was sent before, with another message")
                .hint("use a new key for each message, and the same one only to repeat it"));
        }
        return Ok((row.message, true));
    }
    let id = draft.submit(node, now)?;
    if let Some(key) = key {
        let made_tl_ms = node.timeline_ms(now);
        let store = node.store_mut();
        store.insert_idempotent(key, &IdempotentRow { body_hash, message: id, made_tl_ms })?;
        let forget_before_tl_ms = made_tl_ms.saturating_sub(limits::IDEMPOTENCY_MS);
        store.trim_idempotent(forget_before_tl_ms, limits::IDEMPOTENCY_KEYS_MAX)?;
    }
    Ok((id, false))
}

fn forgotten(id: &BundleId) -> Failure {
    Code::MessageForgotten
        .because(format!("the key belongs to message {id}, which was forgotten here"))
        .hint("to send it again, use a new key")
}

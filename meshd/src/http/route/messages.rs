//! Messages: read, search, mark, forget.

use std::time::Instant;

use axum::Json;
use axum::extract::State;
use hyper::StatusCode;
use meshlink_api::{Message, MessageStatus, Page};
use meshlink_core::node::Node;
use meshlink_core::{BundleId, MessageRecord, Now, Seq, Store, StoreError};
use serde::Deserialize;
use utoipa::IntoParams;

use super::cursor_in;
use crate::http::app::App;
use crate::http::intake::{Parameters, PathText, page_limit};
use crate::http::limits;
use crate::http::problem::{Code, Failure};
use crate::http::render::{self, Renderer};
use crate::sqlite::{MessageFilter, Order, SqliteStore};

/// Which messages, and in what order.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// Only of this conversation: `#channel`, node id or name of a contact. Write `#` as `%23` in an address.
    conversation: Option<String>,
    /// Only own messages that stand here, and for `synced` received ones too.
    #[param(inline)]
    status: Option<MessageStatus>,
    /// Only what came to be known after this position: a message's `cursor`, or an event's id.
    since: Option<String>,
    /// Only those whose text has all these words; the last one may be the beginning of a word,
    /// from three letters on.
    q: Option<String>,
    /// `desc`, newest first, unless said otherwise.
    #[param(inline)]
    order: Option<ListOrder>,
    /// Items of a page, 1 to 500; 50 if absent.
    limit: Option<u64>,
    /// `next` of the page before, with the other parameters unchanged.
    cursor: Option<String>,
}

/// The order of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ListOrder {
    /// Oldest first.
    Asc,
    /// Newest first.
    Desc,
}

/// Messages, in the order in which they came to be known here.
#[utoipa::path(
    get, path = "/v1/messages", tag = "messages", operation_id = "list_messages", params(ListQuery),
    responses((status = 200, description = "A page. With `q` it may hold fewer than `limit`, even none, and still have a `next`.", body = Page<Message>)),
)]
pub(crate) async fn list(
    State(app): State<App>,
    Parameters(query): Parameters<ListQuery>,
) -> Result<Json<Page<Message>>, Failure> {
    let limit = page_limit(query.limit)?;
    let searching = query.q.is_some();
    let mut filter = app.read(move |node, _| filter(node, query, limit)).await?;
    let deadline = Instant::now() + limits::SEARCH_TIME;
    let mut page = Page { items: Vec::new(), next: None };
    // A search looks at some messages at a time, so that the node does its other work in between.
    loop {
        let part = app.read(part(filter.clone())).await?;
        page.items.extend(part.items);
        page.next = part.next;
        let Some(last) = part.last else { break };
        if !searching || page.items.len() >= limit || Instant::now() >= deadline {
            break;
        }
        filter.limit = limit - page.items.len();
        match filter.order {
            Order::NewestFirst => filter.before = Some(last),
            Order::OldestFirst => filter.after = Some(last),
        }
    }
    Ok(Json(page))
}

/// What one look at the store finds.
struct Part {
    items: Vec<Message>,
    next: Option<String>,
    last: Option<Seq>,
}

fn part(filter: MessageFilter) -> impl FnOnce(&Node<SqliteStore>, Now) -> Result<Part, StoreError> {
    move |node, now| {
        let page = node.store().messages(&filter)?;
        let mut renderer = Renderer::new(node, now);
        let next = page.next.map(|seq| renderer.cursor(seq));
        let items = page.items.iter().map(|record| renderer.message(record)).collect::<Result<_, _>>()?;
        Ok(Part { items, next, last: page.next })
    }
}

/// A contact's conversation is called by its node id; its name means the same.
fn conversation(node: &Node<SqliteStore>, name: String) -> String {
    let called = node.contact_called(&name).or_else(|| node.contact_called(name.strip_prefix('@')?));
    called.map_or(name, |id| id.to_string())
}

fn filter(node: &Node<SqliteStore>, query: ListQuery, limit: usize) -> Result<MessageFilter, Failure> {
    let store = node.store().store_id();
    let since = query.since.map(|text| cursor_in(store, "since", &text)).transpose()?;
    let cursor = query.cursor.map(|text| cursor_in(store, "cursor", &text)).transpose()?;
    let mut filter = MessageFilter {
        conversation: query.conversation.map(|name| conversation(node, name)),
        status: query.status.map(render::core_status),
        after: since,
        query: query.q,
        limit,
        ..MessageFilter::default()
    };
    match query.order.unwrap_or(ListOrder::Desc) {
        ListOrder::Asc => {
            filter.order = Order::OldestFirst;
            filter.after = since.max(cursor);
        }
        ListOrder::Desc => {
            filter.order = Order::NewestFirst;
            filter.before = cursor;
        }
    }
    Ok(filter)
}

/// One message. The beginning of its id is enough where no other starts like it.
#[utoipa::path(
    get, path = "/v1/messages/{id}", tag = "messages", operation_id = "get_message",
    params(("id" = String, Path, description = "The id, or at least 4 characters of its beginning.")),
    responses((status = 200, description = "The message.", body = Message)),
)]
pub(crate) async fn show(State(app): State<App>, PathText(id): PathText) -> Result<Json<Message>, Failure> {
    let message = app
        .read(move |node, now| {
            let record = find(node.store(), &id)?;
            Ok::<_, Failure>(Renderer::new(node, now).message(&record)?)
        })
        .await?;
    Ok(Json(message))
}

/// Forgets a message on this node. An own one that nobody else has yet is withdrawn; others keep what they have.
#[utoipa::path(
    delete, path = "/v1/messages/{id}", tag = "messages", operation_id = "forget_message",
    params(("id" = String, Path, description = "The id, or at least 4 characters of its beginning.")),
    responses((status = 204, description = "Forgotten.")),
)]
pub(crate) async fn forget(State(app): State<App>, PathText(id): PathText) -> Result<StatusCode, Failure> {
    app.write(move |node, now| {
        let record = find(node.store(), &id)?;
        node.forget(&record.id, now)?;
        Ok::<_, Failure>(())
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Marks a message read.
#[utoipa::path(
    post, path = "/v1/messages/{id}/read", tag = "messages", operation_id = "mark_message_read",
    params(("id" = String, Path, description = "The id, or at least 4 characters of its beginning.")),
    responses((status = 200, description = "The message.", body = Message)),
)]
pub(crate) async fn mark_read(
    State(app): State<App>,
    PathText(id): PathText,
) -> Result<Json<Message>, Failure> {
    let message = app
        .write(move |node, now| {
            let mut record = find(node.store(), &id)?;
            node.mark_read(&record.id, now)?;
            record.read = true;
            Ok::<_, Failure>(Renderer::new(node, now).message(&record)?)
        })
        .await?;
    Ok(Json(message))
}

/// The message whose id is, or starts with, `text`.
pub(super) fn find(store: &SqliteStore, text: &str) -> Result<MessageRecord, Failure> {
    let text = text.to_ascii_lowercase();
    let id = match text.parse::<BundleId>() {
        Ok(id) => id,
        Err(_) => find_by_beginning(store, &text)?,
    };
    store.message(&id)?.ok_or_else(|| no_message(&text))
}

fn find_by_beginning(store: &SqliteStore, text: &str) -> Result<BundleId, Failure> {
    let base32 = text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7'));
    if !base32 || !(limits::ID_PREFIX_CHARS_MIN..BundleId::CHARS).contains(&text.len()) {
        let (min, max) = (limits::ID_PREFIX_CHARS_MIN, BundleId::CHARS);
        return Err(no_message(text)
            .hint(format!("a message id, or its beginning, has {min} to {max} characters of a-z and 2-7")));
    }
    match store.messages_with_prefix(text, 2)?.as_slice() {
        [] => Err(no_message(text)),
        [id] => Ok(*id),
        [_, ..] => Err(Code::AmbiguousId
            .because(format!("more than one message id starts with {text}"))
            .hint("write more of it")),
    }
}

fn no_message(text: &str) -> Failure {
    Code::NotFound.because(format!("no message {text:?} is kept here"))
}

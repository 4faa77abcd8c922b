//! The event stream.
//!
//! A stream is a reader of the durable log, nothing more: it takes a few events at a time, hands them on when
//! the client has taken the ones before, and has the node's thread look again when there are new ones. So a
//! client that stays away for a day and one that reads slowly are the same to it, and no event waits in memory.
//! What the log no longer has is announced by a `gap`.
//!
//! An event's object is rendered as the store has it now, with the state that the event itself brought about:
//! a replay shows `pending` and then `synced`, never the other way round. A message that was forgotten since is
//! left out.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Extension, State};
use axum::response::Response;
use futures_util::stream;
use hyper::header::{self, HeaderMap, HeaderValue};
use meshlink_api as api;
use meshlink_api::{EventType, Ticket};
use meshlink_core::node::Node;
use meshlink_core::{Event, LoggedEvent, MessageStatus, Now, Seq, Store, StoreError};
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, watch};
use utoipa::IntoParams;

use super::{cursor_in, cursors};
use crate::http::app::App;
use crate::http::intake::Parameters;
use crate::http::limits;
use crate::http::position::Position;
use crate::http::problem::{Code, Failure};
use crate::http::render::{self, Renderer, Vitals};
use crate::http::token_book::Caller;
use crate::sqlite::SqliteStore;

/// Text of messages in one batch, at most, beyond the first message.
const BATCH_TEXT_BYTES_MAX: usize = 64 * 1024;

/// Where a stream begins and what it shows.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct StreamQuery {
    /// Resume after this event. `Last-Event-ID` comes first where both are given.
    since: Option<String>,
    /// Resume after the position kept under this name, if there is one. `since` comes first.
    cursor_name: Option<String>,
    /// Only events of these types, separated by commas. A `gap` is always shown.
    types: Option<String>,
    /// A ticket in place of a token.
    #[serde(rename = "ticket")]
    _ticket: Option<String>,
}

/// What becomes known, as it does: messages, neighbours, links, transports.
///
/// Every event has an `id`, a durable position to resume after, a type, and as data the object that REST
/// returns. A stream that resumes from nowhere begins with `status`. As `text/event-stream`, unless `Accept`
/// asks for `application/x-ndjson`: then one JSON object in each line. A quiet stream sends a comment, or an
/// empty line, every 15 s.
#[utoipa::path(
    get, path = "/v1/events", tag = "events", operation_id = "watch_events",
    params(
        StreamQuery,
        ("Last-Event-ID" = Option<String>, Header, description = "Resume after this event; browsers send it by themselves."),
    ),
    responses((
        status = 200, description = "The stream. It ends when the daemon stops, the node is locked, or the token is taken back.",
        content((String = "text/event-stream"), (api::Event = "application/x-ndjson")),
    )),
)]
pub(crate) async fn stream(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Parameters(query): Parameters<StreamQuery>,
) -> Result<Response, Failure> {
    let types = query.types.as_deref().map(read_types).transpose()?;
    let start = start(&app, &headers, &query).await?;
    let permit = Arc::clone(app.streams()).try_acquire_owned().map_err(|_| too_many())?;
    let format = Format::wanted(&headers);
    let feed = Feed {
        look: None,
        stopping: app.stopping(),
        locked: app.locked(),
        reader: Reader { start, more: true, types: Arc::new(types), vitals: app.vitals() },
        app,
        caller,
        format,
        greeted: false,
        _permit: permit,
    };
    let body = Body::from_stream(stream::unfold(feed, |mut feed| async move {
        let bytes = feed.next().await?;
        Some((Ok::<_, Infallible>(bytes), feed))
    }));
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(format.media_type()));
    // nginx would hold events back until its buffer is full.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// A ticket for one event stream, for `EventSource`, which can't send a token: `GET /v1/events?ticket=`.
#[utoipa::path(
    post, path = "/v1/events/ticket", tag = "events", operation_id = "create_ticket",
    responses((status = 201, description = "The ticket: good once, for 30 s.", body = Ticket)),
)]
pub(crate) async fn ticket(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
) -> Result<(hyper::StatusCode, Json<Ticket>), Failure> {
    let ticket = app.tickets().issue(caller, std::time::Instant::now())?;
    Ok((hyper::StatusCode::CREATED, Json(Ticket { ticket, expires_in_s: limits::TICKET.as_secs() })))
}

fn too_many() -> Failure {
    Code::TooManyStreams
        .because(format!("{} event streams are open", limits::STREAMS_MAX))
        .hint("close one; a program needs one stream for all it wants to know")
        .header(header::RETRY_AFTER, HeaderValue::from_static("5"))
}

fn read_types(text: &str) -> Result<BTreeSet<&'static str>, Failure> {
    let unknown = |name: &str| {
        let known: Vec<&str> = EventType::ALL.into_iter().map(EventType::as_str).collect();
        Code::InvalidQuery.because(format!("there is no event type {name:?}; there are {}", known.join(", ")))
    };
    text.split(',')
        .map(|name| EventType::from_name(name).map(EventType::as_str).ok_or_else(|| unknown(name)))
        .collect()
}

/// Where a stream begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// With the state as it is, then news.
    Fresh,
    /// After an event of this store.
    After(Seq),
    /// After an event this store does not know: with a `gap`, then everything kept.
    Elsewhere,
}

async fn start(app: &App, headers: &HeaderMap, query: &StreamQuery) -> Result<Start, Failure> {
    let last_event_id = headers.get("last-event-id").map(|v| v.to_str().unwrap_or("?").to_owned());
    let (since, cursor_name) = (query.since.clone(), query.cursor_name.clone());
    if let Some(name) = &cursor_name {
        cursors::check_name(name)?;
    }
    app.read(move |node, _| {
        let store = node.store();
        let resume = |text: &str| match text.parse::<Position>().ok().and_then(|p| p.seq_in(store.store_id()))
        {
            Some(seq) => Start::After(seq),
            None => Start::Elsewhere,
        };
        // A browser repeats the last id it saw, whatever it is: there is no one to correct it.
        if let Some(id) = last_event_id.filter(|id| !id.is_empty()) {
            return Ok(resume(&id));
        }
        if let Some(text) = since {
            if text.parse::<Position>().is_err() {
                return Err(cursor_in(store.store_id(), "since", &text).expect_err("it is no position"));
            }
            return Ok(resume(&text));
        }
        let kept = cursor_name.map(|name| store.cursor(&name)).transpose()?.flatten();
        Ok(kept.map_or(Start::Fresh, |row| resume(&row.position)))
    })
    .await
}

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    EventStream,
    Lines,
}

impl Format {
    fn wanted(headers: &HeaderMap) -> Self {
        let mut accepted = headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok());
        if accepted.any(|v| v.contains("application/x-ndjson")) { Self::Lines } else { Self::EventStream }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::EventStream => "text/event-stream",
            Self::Lines => "application/x-ndjson",
        }
    }

    /// What a stream begins with; it tells the client at once that it is connected.
    fn greeting(self) -> String {
        match self {
            Self::EventStream => format!("retry: {}\n\n", limits::RETRY_MS),
            Self::Lines => String::new(),
        }
    }

    fn keep_alive(self) -> &'static str {
        match self {
            Self::EventStream => ": keep-alive\n\n",
            Self::Lines => "\n",
        }
    }

    fn write(self, out: &mut String, item: &Item) {
        use std::fmt::Write as _;
        let (id, kind) = (&item.id, item.kind.as_str());
        let data = serde_json::to_string(&item.data).expect("API objects are plain data");
        let written = match self {
            Self::EventStream => write!(out, "id: {id}\nevent: {kind}\ndata: {data}\n\n"),
            Self::Lines => {
                writeln!(out, "{{\"id\":\"{id}\",\"event\":\"{kind}\",\"type\":\"{kind}\",\"data\":{data}}}")
            }
        };
        written.expect("a String takes everything");
    }
}

/// One client's stream.
struct Feed {
    app: App,
    caller: Caller,
    format: Format,
    reader: Reader,
    /// A look at the log that is under way, perhaps waiting for news.
    look: Option<Look>,
    stopping: watch::Receiver<bool>,
    locked: watch::Receiver<bool>,
    greeted: bool,
    _permit: OwnedSemaphorePermit,
}

type Look = Pin<Box<dyn Future<Output = Result<Batch, Failure>> + Send>>;

impl Feed {
    /// The next bytes for the client; `None` when the stream is over.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let mut look = self.look.take().unwrap_or_else(|| self.reader.look(&self.app));
            let seen = tokio::select! {
                batch = &mut look => Some(batch),
                _ = self.stopping.wait_for(|stopping| *stopping) => return None,
                _ = self.locked.wait_for(|locked| *locked) => return None,
                () = tokio::time::sleep(limits::KEEP_ALIVE) => None,
            };
            if !self.may_go_on() {
                return None;
            }
            let Some(batch) = seen.transpose().ok()? else {
                self.look = Some(look);
                return Some(Bytes::from_static(self.format.keep_alive().as_bytes()));
            };
            self.reader.start = Start::After(batch.position);
            self.reader.more = batch.more;
            let mut text = if self.greeted { String::new() } else { self.format.greeting() };
            self.greeted = true;
            for item in &batch.items {
                self.format.write(&mut text, item);
            }
            if !text.is_empty() {
                return Some(Bytes::from(text));
            }
        }
    }

    fn may_go_on(&self) -> bool {
        !*self.stopping.borrow() && !*self.locked.borrow() && self.app.tokens().still_knows(&self.caller)
    }
}

/// Reads the log, on the node's thread.
#[derive(Clone)]
struct Reader {
    start: Start,
    /// Whether there may be more behind the start already.
    more: bool,
    types: Arc<Option<BTreeSet<&'static str>>>,
    vitals: Vitals,
}

/// A few events, and where they end.
#[derive(Debug)]
struct Batch {
    items: Vec<Item>,
    position: Seq,
    /// Whether there may be more right behind it.
    more: bool,
}

/// One event, ready to be written.
#[derive(Debug)]
struct Item {
    id: String,
    kind: EventType,
    data: Data,
}

/// What an event shows.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Data {
    Status(Box<api::Status>),
    Gap { oldest: String },
    Message(Box<api::Message>),
    Peer(Box<api::Peer>),
    Link(Box<api::Link>),
    Transport(Box<api::TransportStatus>),
    Contact(Box<api::Contact>),
    Group(Box<api::Group>),
}

impl Reader {
    /// Looks at the log: at once, or when it has something new.
    fn look(&self, app: &App) -> Look {
        let (app, reader) = (app.clone(), self.clone());
        Box::pin(async move {
            match reader.start {
                Start::After(seq) if !reader.more => {
                    app.read_news(seq, move |node, now| reader.read(node, now)).await
                }
                Start::Fresh | Start::After(_) | Start::Elsewhere => {
                    app.read(move |node, now| reader.read(node, now)).await
                }
            }
        })
    }

    fn read(&self, node: &Node<SqliteStore>, now: Now) -> Result<Batch, StoreError> {
        let bounds = node.store().event_bounds()?;
        let newest = bounds.map_or(Seq(0), |(_, newest)| newest);
        // The position right before the oldest event kept.
        let before_oldest = bounds.map_or(Seq(0), |(oldest, _)| Seq(oldest.0.saturating_sub(1)));
        match self.start {
            Start::Fresh => self.fresh(node, now, newest),
            Start::After(seq) if (before_oldest..=newest).contains(&seq) => self.after(node, now, seq),
            Start::After(_) | Start::Elsewhere => {
                let renderer = Renderer::new(node, now);
                let oldest = renderer.cursor(Seq(before_oldest.0 + 1));
                let id = renderer.cursor(before_oldest);
                let gap = Item { id, kind: EventType::Gap, data: Data::Gap { oldest } };
                Ok(Batch { items: vec![gap], position: before_oldest, more: true })
            }
        }
    }

    /// The state as it is, at the very position from which news follow.
    fn fresh(&self, node: &Node<SqliteStore>, now: Now, newest: Seq) -> Result<Batch, StoreError> {
        let mut items = Vec::new();
        if self.shows(EventType::Status) {
            let renderer = Renderer::new(node, now);
            let data = Data::Status(Box::new(renderer.status(self.vitals)?));
            items.push(Item { id: renderer.cursor(newest), kind: EventType::Status, data });
        }
        Ok(Batch { items, position: newest, more: false })
    }

    fn after(&self, node: &Node<SqliteStore>, now: Now, after: Seq) -> Result<Batch, StoreError> {
        let events = node.store().events_after(after, limits::STREAM_BATCH_EVENTS)?;
        let mut batch = Batch { items: Vec::new(), position: after, more: !events.is_empty() };
        let mut renderer = Renderer::new(node, now);
        let mut text_bytes = 0;
        for logged in &events {
            if let Some((kind, data)) = self.show(node, &mut renderer, logged)? {
                if let Data::Message(message) = &data {
                    text_bytes += message.text.len();
                }
                batch.items.push(Item { id: renderer.cursor(logged.seq), kind, data });
            }
            batch.position = logged.seq;
            if text_bytes > BATCH_TEXT_BYTES_MAX {
                break;
            }
        }
        Ok(batch)
    }

    fn shows(&self, kind: EventType) -> bool {
        self.types.as_ref().as_ref().is_none_or(|types| types.contains(kind.as_str()))
    }

    /// An event's type and object; `None` if it is filtered out or its message was forgotten.
    fn show(
        &self,
        node: &Node<SqliteStore>,
        renderer: &mut Renderer<'_>,
        logged: &LoggedEvent,
    ) -> Result<Option<(EventType, Data)>, StoreError> {
        let kind = kind_of(&logged.event);
        if !self.shows(kind) {
            return Ok(None);
        }
        let data = match &logged.event {
            Event::MessageNew { id } => {
                let Some(mut record) = node.store().message(id)? else { return Ok(None) };
                record.status = if record.own { MessageStatus::Pending } else { MessageStatus::Synced };
                record.status_reason = None;
                Data::Message(Box::new(renderer.message(&record)?))
            }
            Event::MessageStatus { id, status, reason } => {
                let Some(mut record) = node.store().message(id)? else { return Ok(None) };
                record.status = *status;
                record.status_reason.clone_from(reason);
                Data::Message(Box::new(renderer.message(&record)?))
            }
            Event::PeerUp { peer } | Event::PeerDown { peer } => {
                let mut shown = renderer.peer(peer, node.store().peer(peer)?.as_ref())?;
                shown.up = kind == EventType::PeerUp;
                Data::Peer(Box::new(shown))
            }
            Event::LinkUp { link } | Event::LinkDown { link } => Data::Link(Box::new(renderer.link(link)?)),
            Event::ContactChanged { peer } => match node.contact(peer) {
                Some(contact) => Data::Contact(Box::new(renderer.contact(peer, contact))),
                None => return Ok(None),
            },
            Event::GroupChanged { group: id } => match node.groups().get(id) {
                Some(group) => Data::Group(Box::new(renderer.group(id, group)?)),
                None => return Ok(None),
            },
            Event::Transport { status } => Data::Transport(Box::new(render::transport(status))),
        };
        Ok(Some((kind, data)))
    }
}

fn kind_of(event: &Event) -> EventType {
    match event {
        Event::MessageNew { .. } => EventType::MessageNew,
        Event::MessageStatus { .. } => EventType::MessageStatus,
        Event::PeerUp { .. } => EventType::PeerUp,
        Event::PeerDown { .. } => EventType::PeerDown,
        Event::LinkUp { .. } => EventType::LinkUp,
        Event::LinkDown { .. } => EventType::LinkDown,
        Event::Transport { .. } => EventType::TransportState,
        Event::ContactChanged { .. } => EventType::ContactChanged,
        Event::GroupChanged { .. } => EventType::GroupChanged,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gap() -> Item {
        let data = Data::Gap { oldest: "00000000-7".to_owned() };
        Item { id: "00000000-6".to_owned(), kind: EventType::Gap, data }
    }

    #[test]
    fn an_event_is_three_lines_or_one() {
        let mut text = String::new();
        Format::EventStream.write(&mut text, &gap());
        assert_eq!(text, "id: 00000000-6\nevent: gap\ndata: {\"oldest\":\"00000000-7\"}\n\n");
        let mut line = String::new();
        Format::Lines.write(&mut line, &gap());
        let event: api::Event = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (event.name, event.kind, event.id.as_str()),
            (EventType::Gap, EventType::Gap, "00000000-6")
        );
        assert!(line.ends_with("}\n"));
    }

    #[test]
    fn lines_are_written_when_asked_for() {
        let wanted =
            |accept: &str| Format::wanted(&HeaderMap::from_iter([(header::ACCEPT, accept.parse().unwrap())]));
        assert_eq!(wanted("application/x-ndjson"), Format::Lines);
        assert_eq!(wanted("text/event-stream"), Format::EventStream);
        assert_eq!(wanted("*/*"), Format::EventStream);
        assert_eq!(Format::wanted(&HeaderMap::new()), Format::EventStream);
    }

    #[test]
    fn only_types_that_exist_are_filtered_for() {
        assert_eq!(read_types("message.new,peer.up").ok(), Some(BTreeSet::from(["message.new", "peer.up"])));
        for wrong in ["", "message", "message.new,", "message.new, peer.up"] {
            assert_eq!(read_types(wrong).map_err(|f| f.code()), Err(Code::InvalidQuery), "{wrong:?}");
        }
    }
}

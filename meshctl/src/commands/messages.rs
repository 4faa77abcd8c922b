//! `list`, `search`, `show`, `trace`, `read`, `forget`, `conversations`.

use super::Console;
use crate::args::{Extent, List, Search};
use crate::failure::Failure;
use crate::line::{Column, FAINT, Line, PLACE, STRONG, Table};
use crate::message_view as view;
use crate::moment;
use crate::request::Request;
use hyper::Method;
use jiff::Timestamp;
use meshlink_api::{Conversation, Message, Trace};

const MESSAGES: &str = "/v1/messages";

/// `meshctl list`.
pub(super) async fn list(console: &mut Console<'_>, list: List) -> Result<(), Failure> {
    let status = list.status.map(|status| view::status_word(status.0));
    let request = Request::get(MESSAGES).query_if("status", status).query_if("since", list.since.as_deref());
    show_messages(console, request, &list.extent, "no messages").await
}

/// `meshctl search`.
pub(super) async fn search(console: &mut Console<'_>, search: Search) -> Result<(), Failure> {
    let words = search.words.join(" ");
    if words.trim().is_empty() {
        return Err(Failure::usage("there is no word to search for", "give one or more words"));
    }
    show_messages(console, Request::get(MESSAGES).query("q", &words), &search.extent, "nothing found").await
}

async fn show_messages(
    console: &mut Console<'_>,
    request: Request,
    extent: &Extent,
    nothing: &str,
) -> Result<(), Failure> {
    let conversation = match &extent.conversation {
        Some(place) if place.starts_with('#') || place.contains(':') => Some(place.clone()),
        Some(id) => Some(console.daemon.peer_id(id).await?),
        None => None,
    };
    let request = request
        .query_if("conversation", conversation.as_deref())
        .query_if("order", extent.oldest_first.then_some("asc"));
    let pages = console.daemon.list(request, (!extent.all).then_some(extent.limit));
    console.show_list(pages, view::table, view::row, nothing).await
}

/// `meshctl show`.
pub(super) async fn show(console: &mut Console<'_>, id: &str) -> Result<(), Failure> {
    let request = Request::get(MESSAGES).id(id);
    console
        .show(&request, |screen, message: &Message, now| {
            let mut facts = view::facts(message, now);
            if screen.is_verbose() {
                facts.push(("cursor", Line::of(&message.cursor)));
            }
            screen.facts(facts)?;
            screen.line(&Line::new())?;
            view::text_lines(message).try_for_each(|line| screen.line(&line))
        })
        .await
}

/// `meshctl trace`.
pub(super) async fn trace(console: &mut Console<'_>, id: &str) -> Result<(), Failure> {
    let request = Request::get(MESSAGES).id(id).action("trace");
    console
        .show(&request, |screen, trace: &Trace, now| {
            screen.facts(view::trace_facts(trace))?;
            if trace.steps.is_empty() {
                return Ok(());
            }
            screen.line(&Line::new())?;
            screen.table(view::trace_table(trace, now), true)
        })
        .await
}

/// `meshctl read`.
pub(super) async fn mark_read(console: &mut Console<'_>, ids: &[String]) -> Result<(), Failure> {
    for id in whole_ids(console, ids).await? {
        console.daemon.tell(&Request::post(MESSAGES).id(&id).action("read")).await?;
        done(console, &id, "read")?;
    }
    Ok(())
}

/// `meshctl forget`.
pub(super) async fn forget(console: &mut Console<'_>, ids: &[String]) -> Result<(), Failure> {
    for id in whole_ids(console, ids).await? {
        console.daemon.tell(&Request::new(Method::DELETE, MESSAGES).id(&id)).await?;
        done(console, &id, "forgotten")?;
    }
    Ok(())
}

/// All ids are looked up before the first is acted on: a typing error changes nothing.
async fn whole_ids(console: &mut Console<'_>, ids: &[String]) -> Result<Vec<String>, Failure> {
    let mut whole = Vec::new();
    for id in ids {
        whole.push(console.daemon.message_id(id).await?);
    }
    Ok(whole)
}

fn done(console: &mut Console<'_>, id: &str, what: &'static str) -> Result<(), Failure> {
    console.report(&[("id", id), ("done", what)], Line::of(format!("{id} {what}")))
}

/// `meshctl conversations`.
pub(super) async fn conversations(console: &mut Console<'_>) -> Result<(), Failure> {
    let pages = console.daemon.list(Request::get("/v1/conversations"), None);
    console.show_list(pages, conversation_table, conversation_row, "no conversations").await
}

fn conversation_table() -> Table<5> {
    Table::new([
        Column::left("CONVERSATION").at_least(16),
        Column::right("UNREAD"),
        Column::right("MESSAGES"),
        Column::left("LAST").at_least(16),
        Column::left("TEXT"),
    ])
}

fn conversation_row(conversation: &Conversation, now: Timestamp) -> [Line; 5] {
    let last = conversation.last.as_ref();
    let at = last.and_then(|last| last.received_at.as_deref().or(last.created_at.as_deref()));
    let name = if conversation.title == conversation.id {
        Line::new().styled(PLACE, view::short_id(&conversation.id))
    } else {
        view::name_and_id(Some(&conversation.title), &conversation.id)
    };
    let unread = if conversation.unread > 0 { STRONG } else { FAINT };
    [
        name,
        Line::new().styled(unread, conversation.unread),
        Line::of(conversation.messages),
        Line::new().styled(FAINT, at.map_or_else(String::new, |at| moment::ago(at, now))),
        Line::of(last.map_or("", |last| last.text.as_str())),
    ]
}

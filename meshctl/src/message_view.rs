//! How a message looks: as a line that `watch` prints, as a row of a list, as a card.
//!
//! A name is never shown without the beginning of the id behind it: names are not unique and prove nothing. A
//! sender that no signature proves is marked `unsigned`. In lines and rows a text is one line, its line ends
//! spelled `\n`; a card shows its lines, indented, so that no text can look like the card's own fields.

use crate::amount;
use crate::limits::{ID_CHARS_SHOWN, NAME_COLUMNS_MAX};
use crate::line::{BAD, Column, FAINT, GOOD, Line, PLACE, PLAIN, STRONG, Table, WARN};
use crate::moment;
use anstyle::Style;
use jiff::Timestamp;
use meshlink_api::{
    HandOverStep, LinkKind, Message, MessageStatus, Priority, Protection, Recipient, Sender, Trace,
};

/// The beginning of an id; a channel or a foreign system's id as far as it fits.
pub(crate) fn short_id(id: &str) -> String {
    let plain = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if plain { id.chars().take(ID_CHARS_SHOWN).collect() } else { clip(id) }
}

/// A name with the beginning of its id, or the id alone.
pub(crate) fn name_and_id(name: Option<&str>, id: &str) -> Line {
    match name.filter(|name| !name.is_empty()) {
        Some(name) => Line::new().styled(STRONG, clip(name)).styled(FAINT, format!(" ({})", short_id(id))),
        None => Line::new().styled(STRONG, short_id(id)),
    }
}

/// The word for a link's kind.
pub(crate) fn kind_word(kind: LinkKind) -> &'static str {
    match kind {
        LinkKind::Ble => "ble",
        LinkKind::Lan => "lan",
        LinkKind::Relay => "relay",
        LinkKind::Pipe => "pipe",
    }
}

/// The word for a status.
pub(crate) fn status_word(status: MessageStatus) -> &'static str {
    match status {
        MessageStatus::Pending => "pending",
        MessageStatus::Synced => "synced",
        MessageStatus::Delivered => "delivered",
        MessageStatus::Read => "read",
        MessageStatus::Expired => "expired",
        MessageStatus::Failed => "failed",
    }
}

/// The style of a status.
pub(crate) fn status_style(status: MessageStatus) -> Style {
    match status {
        MessageStatus::Pending => WARN,
        MessageStatus::Synced => PLAIN,
        MessageStatus::Delivered | MessageStatus::Read => GOOD,
        MessageStatus::Expired | MessageStatus::Failed => BAD,
    }
}

/// The line that `watch` prints.
pub(crate) fn one_line(message: &Message, now: Timestamp) -> Line {
    let when = message.received_at.as_deref().or(message.created_at.as_deref());
    let when = when.map_or_else(|| "--:--:--".into(), |at| moment::clock(at, now));
    Line::new()
        .styled(FAINT, when)
        .text(" ")
        .styled(PLACE, place(message))
        .text(" ")
        .join(sender(&message.from))
        .text(": ")
        .join(seal_mark(message))
        .join(urgency(message))
        .text(&message.text)
}

/// A table for messages whose columns are the same on every page.
pub(crate) fn table() -> Table<6> {
    Table::new([
        Column::left("ID").at_least(ID_CHARS_SHOWN),
        Column::left("WHEN").at_least(16),
        Column::left("WHERE").at_least(ID_CHARS_SHOWN),
        Column::left("FROM").at_least(NAME_COLUMNS_MAX),
        Column::left("STATUS").at_least(9),
        Column::left("TEXT"),
    ])
}

/// A row of [`table`].
pub(crate) fn row(message: &Message, now: Timestamp) -> [Line; 6] {
    let when = message.received_at.as_deref().or(message.created_at.as_deref());
    let status = match (message.from.me, message.read) {
        (true, _) => Line::new().styled(status_style(message.status), status_word(message.status)),
        (false, true) => Line::new(),
        (false, false) => Line::new().styled(STRONG, "unread"),
    };
    [
        Line::of(short_id(&message.id)),
        Line::new().styled(FAINT, when.map_or_else(|| "unknown".into(), |at| moment::ago(at, now))),
        Line::new().styled(PLACE, place(message)),
        sender(&message.from),
        status,
        seal_mark(message).join(urgency(message)).text(&message.text),
    ]
}

/// All there is to say about a message, but for its text.
pub(crate) fn facts(message: &Message, now: Timestamp) -> Vec<(&'static str, Line)> {
    let from = &message.from;
    let author = Line::of(from.name.as_deref().map_or_else(String::new, |name| format!("{} ", clip(name))));
    let author = author.text(&from.id).text(if from.me { " (me)" } else { "" });
    let status = Line::new().styled(status_style(message.status), status_word(message.status));
    let mut facts = vec![
        ("id", Line::new().styled(STRONG, &message.id)),
        ("from", author),
        ("to", Line::new().styled(PLACE, &message.to)),
        ("conversation", Line::new().styled(PLACE, &message.conversation)),
        (
            "status",
            status.text(message.status_reason.as_deref().map_or_else(String::new, |why| format!(": {why}"))),
        ),
        ("protection", protection(message)),
        ("priority", Line::new().styled(priority_style(message.priority), priority_word(message.priority))),
    ];
    if !from.me {
        facts.push(("read", Line::of(if message.read { "yes" } else { "no" })));
    }
    facts.push(("created", instant(message.created_at.as_deref(), now)));
    facts.push(("received", instant(message.received_at.as_deref(), now)));
    facts.push(("expires", instant(message.expires_at.as_deref(), now)));
    facts.extend(message.recipients.iter().map(|recipient| ("recipient", recipient_line(recipient))));
    facts.extend(message.reply_to.as_ref().map(|id| ("answers", Line::of(id))));
    facts.extend(message.attachments.iter().map(|file| ("attachment", Line::of(file))));
    facts
}

/// How far a message to a group got with one of its members.
fn recipient_line(recipient: &Recipient) -> Line {
    let name = recipient.name.as_deref().map_or_else(String::new, |name| format!("{} ", clip(name)));
    let status = Line::new().styled(status_style(recipient.status), status_word(recipient.status));
    Line::of(name).text(&recipient.id).text(": ").join(status)
}

/// The lines of a message's text, each behind a bar.
pub(crate) fn text_lines(message: &Message) -> impl Iterator<Item = Line> {
    message.text.lines().map(|line| Line::new().styled(FAINT, "| ").text(line))
}

/// What a trace says before its steps.
pub(crate) fn trace_facts(trace: &Trace) -> Vec<(&'static str, Line)> {
    let mut facts = vec![
        ("id", Line::new().styled(STRONG, &trace.id)),
        ("status", Line::new().styled(status_style(trace.status), status_word(trace.status))),
    ];
    facts.extend(trace.waiting.as_ref().map(|waiting| ("waiting", Line::of(waiting))));
    let carried = match trace.carried {
        true => format!("yes, {} more", moment::span(trace.expires_in_s, 2)),
        false => "no longer".into(),
    };
    facts.extend(trace.size_bytes.map(|bytes| ("size", Line::of(amount::bytes(bytes)))));
    facts.extend(trace.age_s.map(|age_s| ("under way", Line::of(moment::span(age_s, 2)))));
    facts.extend(trace.hops.map(|hops| ("hops", Line::of(hops))));
    facts.push(("carried", Line::of(carried)));
    facts
}

/// The steps of a trace.
pub(crate) fn trace_table(trace: &Trace, now: Timestamp) -> Table<4> {
    let mut table =
        Table::new([Column::left("WHEN"), Column::left("STEP"), Column::left("PEER"), Column::left("OVER")]);
    for step in &trace.steps {
        let word = match step.step {
            HandOverStep::Offered => "offered",
            HandOverStep::Stored => "stored",
            HandOverStep::Received => "received",
            HandOverStep::Delivered => "delivered",
            HandOverStep::Read => "read",
        };
        let everybody = || Line::of("everybody");
        table.row([
            Line::new().styled(
                FAINT,
                step.at.as_deref().map_or_else(|| "unknown".into(), |at| moment::ago(at, now)),
            ),
            Line::of(word),
            step.peer.as_ref().map_or_else(everybody, |peer| name_and_id(step.peer_name.as_deref(), peer)),
            Line::of(step.via.map_or("", kind_word)),
        ]);
    }
    table
}

fn instant(at: Option<&str>, now: Timestamp) -> Line {
    match at {
        Some(at) => Line::of(moment::exact_and_distance(at, now)),
        None => Line::of("unknown: no trusted clock"),
    }
}

/// As `--to` takes it. What begins with `#` is a channel: no name of a person or a group looks like one.
fn place(message: &Message) -> String {
    match &message.conversation_name {
        Some(name) if message.conversation.starts_with("group:") => format!("group:{}", clip(name)),
        Some(name) => format!("@{}", clip(name)),
        None => short_id(&message.conversation),
    }
}

fn sender(from: &Sender) -> Line {
    if from.me {
        return Line::new().styled(GOOD, "me");
    }
    let line = name_and_id(from.name.as_deref(), &from.id);
    if from.authenticated { line } else { line.styled(WARN, " unsigned") }
}

fn urgency(message: &Message) -> Line {
    match message.priority {
        Priority::Sos => Line::new().styled(BAD, "SOS").text(" "),
        Priority::Normal | Priority::Bulk => Line::new(),
    }
}

/// What is not for everybody says so, and how sure it is who the other is.
fn seal_mark(message: &Message) -> Line {
    match message.protection {
        Protection::Public => Line::new(),
        Protection::Channel => Line::new().styled(FAINT, "[channel] "),
        Protection::Sealed => Line::new().styled(FAINT, "[sealed] "),
        Protection::SealedVerified => Line::new().styled(GOOD, "[verified] "),
    }
}

fn protection(message: &Message) -> Line {
    let (readers, keys) = match (message.conversation.starts_with("group:"), message.from.me) {
        (true, true) => ("members of the group", "keys"),
        (true, false) => ("members of the group", "sender's key"),
        (false, _) => ("the recipient", "key"),
    };
    match message.protection {
        Protection::Public if message.from.authenticated => Line::of("public: everyone can read it; signed"),
        Protection::Public => {
            Line::new().styled(WARN, "public: everyone can read it; unsigned, its sender is a claim")
        }
        Protection::Channel => Line::of("channel: whoever knows the channel's password can read it"),
        Protection::Sealed => {
            Line::of(format!("sealed: only {readers} can read it; {keys} not compared in person"))
        }
        Protection::SealedVerified => {
            Line::new().styled(GOOD, format!("sealed: only {readers} can read it; {keys} verified"))
        }
    }
}

/// The word for a priority.
pub(crate) fn priority_word(priority: Priority) -> &'static str {
    match priority {
        Priority::Sos => "sos",
        Priority::Normal => "normal",
        Priority::Bulk => "bulk",
    }
}

fn priority_style(priority: Priority) -> Style {
    match priority {
        Priority::Sos => BAD,
        Priority::Normal | Priority::Bulk => PLAIN,
    }
}

fn clip(text: &str) -> String {
    Line::of(text).clipped(NAME_COLUMNS_MAX).to_string()
}

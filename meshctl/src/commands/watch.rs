//! `watch`: messages as they come in, each once, as lines, as JSON, or as runs of a command.
//!
//! Without a position it begins at the newest one the daemon has when `watch` starts, asked for before the
//! stream is opened: what comes in while it connects is not missed. `--cursor NAME` keeps the position in the
//! daemon after each message that was printed or whose command has ended, so nothing is skipped when the program
//! stops in between; a crash between the two shows that one message again.

use super::Console;
use crate::args::Watch;
use crate::daemon::parse;
use crate::failure::{Failure, cause};
use crate::feed::{Feed, Happening};
use crate::limits::ID_CHARS_MIN;
use crate::line::Line;
use crate::message_view::{one_line, priority_word};
use crate::request::Request;
use hyper::Method;
use jiff::Timestamp;
use meshlink_api::{Cursor, EventType, Message, NewCursor, Protection, Status};
use serde_json::value::RawValue;
use std::ffi::OsString;
use std::io::Write as _;
use std::process::{Command, Stdio};
use tokio::time::Instant;

const CURSORS: &str = "/v1/cursors";

/// `meshctl watch`.
pub(super) async fn watch(console: &mut Console<'_>, watch: Watch) -> Result<(), Failure> {
    let mut seen = Seen::default();
    let Some(timeout) = watch.timeout else { return run(console, &watch, &mut seen).await };
    let deadline = Instant::now() + timeout;
    tokio::time::timeout_at(deadline, run(console, &watch, &mut seen)).await.unwrap_or_else(|_| {
        let wanted = watch.count.map_or_else(String::new, |count| format!(" of {count}"));
        let what = format!("{}{wanted} messages came within {} s", seen.shown, timeout.as_secs_f64());
        let hint = seen
            .has_left_out_own
            .then(|| "what this node itself sent was left out: --own shows it too".into());
        Err(Failure::TimedOut { what, hint })
    })
}

/// What came in so far.
#[derive(Debug, Default)]
struct Seen {
    shown: u64,
    /// Whether a message was passed over because this node sent it.
    has_left_out_own: bool,
}

async fn run(console: &mut Console<'_>, watch: &Watch, seen: &mut Seen) -> Result<(), Failure> {
    let mut feed = Feed::after(start(console, watch).await?, None);
    feed.open(&mut console.daemon).await?;
    console.screen.say(Line::of("watching; Ctrl-C ends it"));
    while watch.count.is_none_or(|count| seen.shown < count) {
        let event = feed.next(&mut console.daemon, console.screen).await?;
        let Some(message) = message_of(console, &event)? else { continue };
        if !is_wanted(watch, &message) {
            seen.has_left_out_own |= message.from.me && !watch.own && watch.from.is_none();
            continue;
        }
        match &watch.exec {
            Some(command) => execute(console, command, &message, &event.data),
            None => print(console, &message, &event.data)?,
        }
        seen.shown += 1;
        if let Some(name) = &watch.cursor {
            keep(console, name, event.cursor).await?;
        }
    }
    Ok(())
}

async fn start(console: &mut Console<'_>, watch: &Watch) -> Result<String, Failure> {
    if let Some(cursor) = &watch.since {
        return Ok(cursor.clone());
    }
    if let Some(name) = &watch.cursor {
        match console.daemon.ask::<Cursor>(&Request::get(CURSORS).id(name)).await {
            Ok(kept) => return Ok(kept.value.cursor),
            Err(Failure::Refused { problem, .. }) if problem.status == 404 => {}
            Err(failure) => return Err(failure),
        }
    }
    let newest = console.daemon.ask::<Status>(&Request::get("/v1/status")).await?.value.cursor;
    if let Some(name) = &watch.cursor {
        keep(console, name, newest.clone()).await?;
    }
    Ok(newest)
}

/// Keeps a position in the daemon. A daemon that is away for the moment is no reason to end: the next message
/// keeps a later one.
async fn keep(console: &mut Console<'_>, name: &str, cursor: String) -> Result<(), Failure> {
    let request = Request::new(Method::PUT, CURSORS).id(name).json(&NewCursor { cursor });
    match console.daemon.tell(&request).await {
        Err(failure) if failure.may_pass() => {
            console.screen.warn(format!("the position was not kept: {failure}"));
            Ok(())
        }
        kept => kept,
    }
}

fn message_of(console: &mut Console<'_>, event: &Happening) -> Result<Option<Message>, Failure> {
    match event.kind {
        EventType::MessageNew => {
            let address = console.daemon.address().expect("events come from a daemon that answered");
            parse(event.data.get().as_bytes(), address).map(Some)
        }
        EventType::Gap => {
            console.screen.warn(
                "the daemon no longer keeps all events since that position, so messages may be missing here; \
                 `meshctl list` has all that are stored",
            );
            Ok(None)
        }
        EventType::Status
        | EventType::MessageStatus
        | EventType::PeerUp
        | EventType::PeerDown
        | EventType::LinkUp
        | EventType::LinkDown
        | EventType::TransportState
        | EventType::ContactChanged
        | EventType::GroupChanged => Ok(None),
    }
}

fn is_wanted(watch: &Watch, message: &Message) -> bool {
    let from = &message.from;
    let from_wanted = match watch.from.as_deref() {
        None => watch.own || !from.me,
        Some("me") => from.me,
        Some(who) => (watch.own || !from.me) && (begins(&from.id, who) || from.name.as_deref() == Some(who)),
    };
    let to_wanted = watch.to.as_deref().is_none_or(|to| {
        [&message.conversation, &message.to].into_iter().any(|place| place == to || begins_id(place, to))
    });
    from_wanted && to_wanted
}

fn begins(id: &str, prefix: &str) -> bool {
    prefix.len() >= ID_CHARS_MIN && id.starts_with(prefix)
}

/// As [`begins`], but a channel's name has no beginning that stands for it.
fn begins_id(place: &str, prefix: &str) -> bool {
    !place.starts_with('#') && begins(place, prefix)
}

fn print(console: &mut Console<'_>, message: &Message, raw: &RawValue) -> Result<(), Failure> {
    if console.screen.is_json() {
        return console.screen.json(raw);
    }
    console.screen.line(&one_line(message, Timestamp::now()))
}

/// Runs the user's command. What comes from the message is in its environment and on its standard input, never
/// in the line that the shell reads. A command that fails is told of, and the next message gets its own run.
fn execute(console: &mut Console<'_>, command: &str, message: &Message, raw: &RawValue) {
    let trouble = match spawn(console, command, message, raw) {
        Ok(status) if status.success() => return,
        Ok(status) => format!("the command ended with {status}"),
        Err(error) => format!("the command could not be run: {}", cause(&error)),
    };
    console.screen.warn(format!("{trouble} (message {})", message.id));
}

fn spawn(
    console: &Console<'_>,
    command: &str,
    message: &Message,
    raw: &RawValue,
) -> std::io::Result<std::process::ExitStatus> {
    let mut child = Command::new("sh")
        .arg("-c")
        .arg(command)
        .envs(variables(message))
        .envs(console.daemon.search().variables())
        .stdin(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A command that does not read its input closes it early: that is its business.
        drop(writeln!(stdin, "{}", crate::json_text::record(raw)));
    }
    child.wait()
}

fn variables(message: &Message) -> [(&'static str, OsString); 9] {
    // An environment can't hold NUL.
    let text = |text: &str| OsString::from(text.replace('\0', "\u{fffd}"));
    let protection = match message.protection {
        Protection::Public => "public",
        Protection::Channel => "channel",
        Protection::Sealed => "sealed",
        Protection::SealedVerified => "sealed_verified",
    };
    [
        ("MESHLINK_ID", text(&message.id)),
        ("MESHLINK_FROM", text(&message.from.id)),
        ("MESHLINK_FROM_NAME", text(message.from.name.as_deref().unwrap_or_default())),
        ("MESHLINK_AUTHENTICATED", text(if message.from.authenticated { "true" } else { "false" })),
        ("MESHLINK_TO", text(&message.to)),
        ("MESHLINK_CONVERSATION", text(&message.conversation)),
        ("MESHLINK_TEXT", text(&message.text)),
        ("MESHLINK_PROTECTION", text(protection)),
        ("MESHLINK_PRIORITY", text(priority_word(message.priority))),
    ]
}

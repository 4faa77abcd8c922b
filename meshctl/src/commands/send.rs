//! `send`: one message, stored exactly once, followed as far as asked.
//!
//! The request carries a random `Idempotency-Key`. If the connection breaks before the answer is there, nobody
//! knows whether the message was stored; the same request with the same key finds out without storing it twice.
//! Waiting reads the event stream from the position in the answer, so that no change of status can fall between
//! the two requests.

use super::Console;
use crate::args::{Sending, Wait};
use crate::daemon::{Answer, parse};
use crate::failure::Failure;
use crate::feed::{Feed, Pause};
use crate::limits::TEXT_BYTES_MAX;
use crate::line::Line;
use crate::message_view::{status_style, status_word};
use crate::request::Request;
use data_encoding::BASE32_NOPAD;
use meshlink_api::{EventType, Message, MessageStatus, NewMessage, Trace};
use std::io::{self, IsTerminal as _, Read as _};
use std::time::Duration;
use tokio::time::Instant;

/// `meshctl send`.
pub(super) async fn send(console: &mut Console<'_>, send: Sending) -> Result<(), Failure> {
    let text = check(read_text(send.text)?)?;
    let deadline = Instant::now() + send.timeout;
    let reply_to = match &send.reply_to {
        Some(id) => Some(console.daemon.message_id(id).await?),
        None => None,
    };
    let message = NewMessage {
        to: Some(send.to),
        text,
        ttl_s: send.ttl,
        priority: Some(send.priority.0),
        reply_to,
        attachments: Vec::new(),
    };
    let stored = store(console, &message, deadline, send.timeout).await?;
    let Some(goal) = goal(send.wait) else { return print(console, &stored) };
    let last = follow(console, stored, goal, deadline, send.timeout).await?;
    print(console, &last.answer)?;
    last.ending.map_or(Ok(()), Err)
}

fn read_text(text: Option<String>) -> Result<String, Failure> {
    match text {
        Some(text) if text != "-" => return Ok(text),
        None if io::stdin().is_terminal() => {
            return Err(Failure::usage("there is no text to send", "give it in quotes, or pipe it in"));
        }
        Some(_) | None => {}
    }
    let mut bytes = Vec::new();
    // Three bytes more than a message can have: a line end to leave out, and one that proves it too long.
    io::stdin().take(TEXT_BYTES_MAX as u64 + 3).read_to_end(&mut bytes).map_err(|error| Failure::Failed {
        what: format!("can't read standard input: {}", crate::failure::cause(&error)),
        hint: None,
    })?;
    let mut text = String::from_utf8(bytes).map_err(|_| {
        Failure::usage("standard input is not UTF-8 text", "convert it first, such as with iconv")
    })?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

fn check(text: String) -> Result<String, Failure> {
    match text.len() {
        0 => Err(Failure::usage("the message is empty", "give at least one character")),
        1..=TEXT_BYTES_MAX => Ok(text),
        _ => Err(Failure::usage(
            format!("the message is longer than {TEXT_BYTES_MAX} bytes"),
            "send it in parts",
        )),
    }
}

async fn store(
    console: &mut Console<'_>,
    message: &NewMessage,
    deadline: Instant,
    timeout: Duration,
) -> Result<Answer<Message>, Failure> {
    let request = Request::post("/v1/messages").json(message).header("idempotency-key", random_key()?);
    let mut pause = Pause::default();
    loop {
        let asked = tokio::time::timeout_at(deadline, console.daemon.ask(&request)).await;
        let failure = match asked {
            Ok(Ok(answer)) => return Ok(answer),
            // Nothing was sent yet to a daemon that was never there.
            Ok(Err(failure)) if !failure.may_pass() || console.daemon.address().is_none() => {
                return Err(failure);
            }
            Ok(Err(failure)) => failure,
            Err(_) => return Err(unknown_fate(timeout)),
        };
        let wait = pause.next();
        if Instant::now() + wait >= deadline {
            return Err(failure);
        }
        console.screen.detail(Line::of(format!("{failure}; trying again with the same key")));
        tokio::time::sleep(wait).await;
    }
}

fn unknown_fate(timeout: Duration) -> Failure {
    Failure::TimedOut {
        what: format!("the daemon did not confirm the message within {} s", timeout.as_secs_f64()),
        hint: Some("it may be stored or not: `meshctl list` shows it".into()),
    }
}

fn random_key() -> Result<String, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Failure::Failed {
        what: format!("the system gives no random numbers: {error}"),
        hint: None,
    })?;
    Ok(BASE32_NOPAD.encode(&bytes).to_lowercase())
}

fn goal(wait: Wait) -> Option<MessageStatus> {
    match wait {
        Wait::Stored => None,
        Wait::Synced => Some(MessageStatus::Synced),
        Wait::Delivered => Some(MessageStatus::Delivered),
        Wait::Read => Some(MessageStatus::Read),
    }
}

struct Followed {
    answer: Answer<Message>,
    ending: Option<Failure>,
}

async fn follow(
    console: &mut Console<'_>,
    stored: Answer<Message>,
    goal: MessageStatus,
    deadline: Instant,
    timeout: Duration,
) -> Result<Followed, Failure> {
    let word = status_word(goal);
    let message = &stored.value;
    console.screen.say(Line::of(format!("stored as {}; waiting until it is {word}", message.id)));
    if message.conversation.starts_with('#') && goal != MessageStatus::Synced {
        let advice = format!(
            "a post to {} has no one recipient, so it never gets {word}; wait for synced",
            message.to
        );
        console.screen.warn(advice);
    }
    let mut feed = Feed::after(message.cursor.clone(), Some("message.status"));
    let mut answer = stored;
    loop {
        if let Some(ending) = ended(&answer.value, goal) {
            return Ok(Followed { answer, ending: ending.err() });
        }
        match tokio::time::timeout_at(deadline, next_status(console, &mut feed, &answer.value.id)).await {
            Ok(next) => answer = next?,
            Err(_) => {
                let ending = Some(too_late(console, &answer.value, word, timeout).await);
                return Ok(Followed { answer, ending });
            }
        }
    }
}

/// Whether the message got where it should, or can no longer get there.
fn ended(message: &Message, goal: MessageStatus) -> Option<Result<(), Failure>> {
    let why = match message.status {
        MessageStatus::Expired => "expired before anyone could take it",
        MessageStatus::Failed => "can't be sent",
        status if rank(status) >= rank(goal) => return Some(Ok(())),
        MessageStatus::Pending | MessageStatus::Synced | MessageStatus::Delivered | MessageStatus::Read => {
            return None;
        }
    };
    let reason = message.status_reason.as_deref().unwrap_or(why);
    let what = format!("the message is {}: {reason}", status_word(message.status));
    Some(Err(Failure::Failed { what, hint: None }))
}

fn rank(status: MessageStatus) -> u8 {
    match status {
        MessageStatus::Expired | MessageStatus::Failed => 0,
        MessageStatus::Pending => 1,
        MessageStatus::Synced => 2,
        MessageStatus::Delivered => 3,
        MessageStatus::Read => 4,
    }
}

async fn next_status(
    console: &mut Console<'_>,
    feed: &mut Feed,
    id: &str,
) -> Result<Answer<Message>, Failure> {
    loop {
        let event = feed.next(&mut console.daemon, console.screen).await?;
        match event.kind {
            EventType::MessageStatus => {
                let address = console.daemon.address().expect("events come from a daemon that answered");
                let value: Message = parse(event.data.get().as_bytes(), address)?;
                if value.id == id {
                    return Ok(Answer { value, raw: event.data });
                }
            }
            // What is missing may be the change waited for.
            EventType::Gap => return console.daemon.ask(&Request::get("/v1/messages").id(id)).await,
            EventType::Status
            | EventType::MessageNew
            | EventType::PeerUp
            | EventType::PeerDown
            | EventType::LinkUp
            | EventType::LinkDown
            | EventType::TransportState
            | EventType::ContactChanged
            | EventType::GroupChanged => {}
        }
    }
}

async fn too_late(console: &mut Console<'_>, message: &Message, word: &str, timeout: Duration) -> Failure {
    let request = Request::get("/v1/messages").id(&message.id).action("trace");
    let asked = tokio::time::timeout(Duration::from_secs(2), console.daemon.ask::<Trace>(&request)).await;
    let waiting = asked.ok().and_then(Result::ok).and_then(|trace| trace.value.waiting);
    Failure::TimedOut {
        what: format!(
            "not {word} within {} s; it is {}{}",
            timeout.as_secs_f64(),
            status_word(message.status),
            waiting.map_or_else(String::new, |waiting| format!(": {waiting}"))
        ),
        hint: Some(match message.status {
            // Only the recipient knows whether it sends that.
            MessageStatus::Delivered => "it has arrived; that it was read is told where both sides chose so before it was sent: `meshctl contact receipts NAME read`".into(),
            MessageStatus::Pending
            | MessageStatus::Synced
            | MessageStatus::Read
            | MessageStatus::Expired
            | MessageStatus::Failed => {
                format!("it is still under way: `meshctl trace {}` shows how far it is", message.id)
            }
        }),
    }
}

fn print(console: &mut Console<'_>, answer: &Answer<Message>) -> Result<(), Failure> {
    if console.screen.is_json() {
        return console.screen.json(&answer.raw);
    }
    let message = &answer.value;
    let status = status_word(message.status);
    console.screen.line(&Line::of(&message.id).text(" ").styled(status_style(message.status), status))
}

//! Between the mesh and clients that know nothing of it: the JSON dialect of a relay.
//!
//! **Out.** Own `#mesh` messages go out as `TEXT`, in order, once each. How far that went is a durable mark for
//! each relay and topic, so what was written while the relay (or this daemon) was away follows later, and
//! nothing is said twice. A text counts as out when the relay answered the ping behind it: a relay handles a
//! client's frames in order, so then it has taken the text, or said why not.
//!
//! **In.** A `TEXT` of a client becomes a `#mesh` message that nobody vouches for. One that carries a
//! `messageId` comes from another node and is skipped: the message itself comes over a link.

use std::time::Duration;

use meshlink_api::relay::{CONTROL_FRAMES_PER_S, ErrorFrame, MESSAGE_BYTES_MAX, Text};
use meshlink_core::bridged::SENDER_BYTES_MAX;
use meshlink_core::limits::{CREATED_UNIX_MS_MAX, CREATED_UNIX_MS_MIN};
use meshlink_core::{BridgedPost, MessageRecord, MessageStatus, Node, Seq, StoreError};
use serde_json::Value;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use crate::driver::Driver;
use crate::sqlite::{MessageFilter, Order, SqliteStore};
use crate::stop::Stopping;

/// The channel that JSON clients hear and speak in.
const CHANNEL: &str = "#mesh";
/// Messages looked at in one read.
const PAGE: usize = 32;
/// News gathers this long before the node is asked for it: it comes in bursts.
const GATHER: Duration = Duration::from_millis(10);
/// The mark is written this long after a text went out, with whatever else went out by then.
const MARK_AFTER: Duration = Duration::from_millis(100);
/// Texts a second. Relays refuse a client that says more than their `--max-rate`, 200 by default.
const APART: Duration = Duration::from_millis(10);
/// Each text has a ping behind it, and relays cut whoever sends too many of those.
const _: () = assert!(1_000 / APART.as_millis() < CONTROL_FRAMES_PER_S as u128);
/// Pause after a relay said that this was too much.
const TOO_MUCH: Duration = Duration::from_secs(1);

/// Stands for the name of a client that gives itself none.
const NOBODY: &str = "unnamed";
/// Characters of the node's id that stand for its name while it has none.
const ID_CHARS_SHOWN: usize = 8;

/// A text on its way to the relay.
pub(super) struct Outgoing {
    pub(super) json: String,
    /// What became of it; dropped if the connection ended first.
    pub(super) done: oneshot::Sender<Fate>,
}

/// What a relay did with a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It passed it on.
    Taken,
    /// Not now: too many.
    TooMany,
    /// Never.
    Refused,
}

/// Carries own messages to one relay.
pub(super) struct Bridge {
    driver: Driver,
    mark: String,
    texts: mpsc::Sender<Outgoing>,
    nudge: std::sync::Arc<Notify>,
    /// All messages up to here are out.
    position: Seq,
    /// What the durable mark says.
    marked: Option<Seq>,
    mark_due: Option<Instant>,
}

/// Own messages in order.
struct Page {
    posts: Vec<Post>,
    /// Where to go on, if that was not all.
    next: Option<Seq>,
}

/// An own message, ready to go out.
struct Post {
    seq: Seq,
    /// `None`: not to be sent (any more).
    json: Option<String>,
}

impl Bridge {
    /// Looks up how far an earlier run came. A relay that is new to this node hears what is written from now
    /// on, not the past.
    ///
    /// # Errors
    /// The daemon is stopping, or the store failed.
    pub(super) async fn open(
        driver: Driver,
        mark: String,
        texts: mpsc::Sender<Outgoing>,
        nudge: std::sync::Arc<Notify>,
    ) -> anyhow::Result<Self> {
        let newest = *driver.newest().borrow();
        let name = mark.clone();
        let found = driver.read(move |node, _| node.store().mark(&name)).await??;
        let position = match found.and_then(|value| u64::try_from(value).ok()) {
            Some(value) => Seq(value),
            None => newest,
        };
        let marked = found.is_some().then_some(position);
        let mut bridge = Self { driver, mark, texts, nudge, position, marked, mark_due: None };
        if let Err(error) = bridge.write_mark().await {
            // A full disk is no reason not to connect.
            tracing::debug!(%error, "the relay's mark was not written");
            bridge.mark_due = Some(Instant::now() + TOO_MUCH);
        }
        Ok(bridge)
    }

    /// Carries until the daemon stops.
    pub(super) async fn run(mut self, mut stopping: Stopping) {
        let mut newest = self.driver.newest();
        loop {
            let more = tokio::select! {
                more = self.carry() => more,
                () = stopping.heard() => break,
            };
            match more {
                Ok(true) => continue,
                Ok(false) => {}
                // The disk fails at the moment, or the daemon stops: what comes next says which.
                Err(error) => tracing::debug!(%error, "own messages can't be carried to the relay"),
            }
            let mark_due = self.mark_due;
            tokio::select! {
                () = stopping.heard() => break,
                changed = newest.changed() => match changed {
                    Ok(()) => tokio::time::sleep(GATHER).await,
                    Err(_) => break,
                },
                () = until(mark_due) => {
                    if let Err(error) = self.write_mark().await {
                        tracing::debug!(%error, "the relay's mark was not written");
                        self.mark_due = Some(Instant::now() + TOO_MUCH);
                    }
                }
            }
        }
        // Best effort: without it the last texts go out once more.
        let _ = self.write_mark().await;
    }

    /// Carries one page of messages; whether there may be more.
    async fn carry(&mut self) -> anyhow::Result<bool> {
        let after = self.position;
        let Page { posts, next } = self.driver.read(move |node, _| posts_after(node, after)).await??;
        if !posts.is_empty() {
            self.nudge.notify_one();
        }
        for post in posts {
            let started = Instant::now();
            if let Some(json) = post.json {
                self.deliver(json).await?;
                self.mark_due.get_or_insert(Instant::now() + MARK_AFTER);
                if self.mark_due.is_some_and(|due| due <= Instant::now()) {
                    self.position = post.seq;
                    self.write_mark().await?;
                }
                tokio::time::sleep_until(started + APART).await;
            } else {
                self.mark_due.get_or_insert(Instant::now() + MARK_AFTER);
            }
            self.position = post.seq;
        }
        self.position = self.position.max(next.unwrap_or_default());
        Ok(next.is_some())
    }

    /// Hands a text to the connection, over and over until a relay took it or never will.
    async fn deliver(&mut self, json: String) -> anyhow::Result<()> {
        loop {
            let (done, fate) = oneshot::channel();
            let outgoing = Outgoing { json: json.clone(), done };
            self.hand_over(outgoing).await?;
            match fate.await {
                Ok(Fate::Taken) => return Ok(()),
                Ok(Fate::Refused) => {
                    tracing::warn!(
                        "the relay refused an own message in its JSON dialect; it still travels over links"
                    );
                    return Ok(());
                }
                Ok(Fate::TooMany) => tokio::time::sleep(TOO_MUCH).await,
                // The connection ended before the relay said anything.
                Err(_) => {}
            }
        }
    }

    /// Waits for the connection to take a text, as long as the relay is away. Meanwhile what went out before is
    /// marked, and whoever writes another message nudges.
    async fn hand_over(&mut self, outgoing: Outgoing) -> anyhow::Result<()> {
        let texts = self.texts.clone();
        let reserved = texts.reserve();
        tokio::pin!(reserved);
        let mut newest = self.driver.newest();
        let mut seen = *newest.borrow_and_update();
        loop {
            let mark_due = self.mark_due;
            tokio::select! {
                permit = &mut reserved => {
                    permit?.send(outgoing);
                    return Ok(());
                }
                () = until(mark_due) => self.write_mark().await?,
                changed = newest.changed() => {
                    changed?;
                    let after = std::mem::replace(&mut seen, *newest.borrow_and_update());
                    if !self.driver.read(move |node, _| posts_after(node, after)).await??.posts.is_empty() {
                        self.nudge.notify_one();
                    }
                }
            }
        }
    }

    async fn write_mark(&mut self) -> anyhow::Result<()> {
        self.mark_due = None;
        if self.marked == Some(self.position) {
            return Ok(());
        }
        let (name, position) = (self.mark.clone(), self.position);
        let value = i64::try_from(position.0)?;
        self.driver.write(move |node, _| node.store_mut().set_mark(&name, value)).await??;
        self.marked = Some(position);
        Ok(())
    }
}

/// Sleeps until then, for ever without a time.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

fn posts_after(node: &Node<SqliteStore>, after: Seq) -> Result<Page, StoreError> {
    let me = node.id();
    let filter = MessageFilter {
        conversation: Some(CHANNEL.to_owned()),
        from: Some(me),
        after: Some(after),
        order: Order::OldestFirst,
        limit: PAGE,
        ..MessageFilter::default()
    };
    let page = node.store().messages(&filter)?;
    if page.items.is_empty() {
        return Ok(Page { posts: Vec::new(), next: page.next });
    }
    let sender = match node.profile()?.name {
        Some(name) => name,
        None => me.to_string()[..ID_CHARS_SHOWN].to_owned(),
    };
    let posts = page.items.iter().map(|message| Post { seq: message.seq, json: render(message, &sender) });
    Ok(Page { posts: posts.collect(), next: page.next })
}

/// The text of a message as clients hear it; `None` if it is no longer to be sent, or too large for a relay.
fn render(message: &MessageRecord, sender: &str) -> Option<String> {
    if !message.own || matches!(message.status, MessageStatus::Expired | MessageStatus::Failed) {
        return None;
    }
    let text = Text {
        kind: Text::TYPE.to_owned(),
        payload: message.text.clone(),
        sender_id: sender.to_owned(),
        timestamp: message.created_unix_ms.and_then(|ms| i64::try_from(ms).ok()).unwrap_or(0),
        message_id: Some(message.id.to_string()),
    };
    let json = serde_json::to_string(&text).expect("a text is strings and a number");
    (json.len() <= MESSAGE_BYTES_MAX).then_some(json)
}

/// A client's post as the node takes it; `None` for everything else that clients say to each other.
///
/// Lenient, since these clients were not written for it: the words count, and whatever else is missing or can't be is
/// made up, by rules that are the same on every node, so that all of them make the same bundle.
pub(super) fn parse(json: &str) -> Option<BridgedPost> {
    let value: Value = serde_json::from_str(json).ok()?;
    if value.get("type")?.as_str()? != Text::TYPE || value.get("messageId").is_some_and(|id| !id.is_null()) {
        return None;
    }
    Some(BridgedPost {
        channel: CHANNEL.to_owned(),
        text: value.get("payload")?.as_str()?.to_owned(),
        sender_id: sender(value.get("senderId")),
        timestamp_ms: timestamp_ms(value.get("timestamp")),
    })
}

/// The name a client gives itself, as much of it as a bundle takes.
fn sender(name: Option<&Value>) -> String {
    let mut sender = match name {
        Some(Value::String(name)) => name.replace('\0', ""),
        Some(Value::Number(number)) => number.to_string(),
        Some(_) | None => String::new(),
    };
    sender.truncate(sender.floor_char_boundary(SENDER_BYTES_MAX));
    if sender.is_empty() { NOBODY.to_owned() } else { sender }
}

/// When a client says it wrote, in milliseconds since 1970; 0 if it does not say or says what can't be. What would be
/// in the seventies as milliseconds and is of our days as seconds is seconds: `date +%s` gives those.
fn timestamp_ms(time: Option<&Value>) -> i64 {
    let number = time.and_then(|time| time.as_i64().or_else(|| whole(time.as_f64()?))).unwrap_or(0);
    let Ok(number) = u64::try_from(number) else { return 0 };
    let ms = if (CREATED_UNIX_MS_MIN / 1000..=CREATED_UNIX_MS_MAX / 1000).contains(&number) {
        number * 1000
    } else {
        number
    };
    i64::try_from(ms).ok().filter(|_| ms <= CREATED_UNIX_MS_MAX).unwrap_or(0)
}

#[allow(clippy::cast_possible_truncation, reason = "the range is checked")]
fn whole(time: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    (time.abs() <= EXACT).then_some(time as i64)
}

/// What a relay says it could not pass on: the `code` of an error frame.
pub(super) fn refusal(json: &str) -> Option<String> {
    let error: ErrorFrame = serde_json::from_str(json).ok()?;
    (error.kind == "ERROR").then_some(error.code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clients_post_is_taken_as_it_is() {
        let post =
            parse(r#"{"type":"TEXT","payload":"Hello World","senderId":"test-1","timestamp":1234567890}"#);
        let expected = BridgedPost {
            channel: "#mesh".to_owned(),
            text: "Hello World".to_owned(),
            sender_id: "test-1".to_owned(),
            timestamp_ms: 1_234_567_890,
        };
        assert_eq!(post, Some(expected));
    }

    #[test]
    fn sloppy_clients_are_understood() {
        let post =
            parse(r#"{"type":"TEXT","payload":"x","senderId":7,"timestamp":1700000000123.5,"more":{}}"#)
                .unwrap();
        assert_eq!((post.sender_id.as_str(), post.timestamp_ms), ("7", 1_700_000_000_123));
        let post = parse(r#"{"type":"TEXT","payload":"x","timestamp":1e300,"messageId":null}"#).unwrap();
        assert_eq!((post.sender_id.as_str(), post.timestamp_ms), ("unnamed", 0));
        let post = parse(r#"{"type":"TEXT","payload":"only words"}"#).unwrap();
        assert_eq!((post.text.as_str(), post.sender_id.as_str()), ("only words", "unnamed"));
        let seconds = parse(r#"{"type":"TEXT","payload":"x","timestamp":1795683948}"#).unwrap();
        assert_eq!(seconds.timestamp_ms, 1_795_683_948_000);
    }

    #[test]
    fn y14_a_name_and_a_time_that_no_bundle_takes_are_made_ones_that_it_does() {
        let sender_of = |name: &str| {
            parse(&serde_json::json!({"type": "TEXT", "payload": "x", "senderId": name}).to_string())
                .unwrap()
                .sender_id
        };
        assert_eq!(sender_of("\0a\0"), "a");
        assert_eq!(sender_of("\0"), "unnamed");
        assert_eq!(sender_of(&"é".repeat(100)), "é".repeat(64));
        for time in ["-5", "-1e300", "9e15", "253402300800000", "\"now\"", "null"] {
            let post = parse(&format!(r#"{{"type":"TEXT","payload":"x","timestamp":{time}}}"#)).unwrap();
            assert_eq!(post.timestamp_ms, 0, "{time}");
        }
    }

    #[test]
    fn y14_what_is_no_post_is_skipped() {
        let deep = "[".repeat(10_000);
        for other in [
            "",
            "null",
            "[]",
            r#"{"type":"PING"}"#,
            r#"{"type":"TEXT"}"#,
            r#"{"type":"TEXT","payload":7}"#,
            r#"{"type":"TEXT","payload":"a node's own","messageId":"abc"}"#,
            &deep,
        ] {
            assert_eq!(parse(other), None, "{other:.40}");
        }
    }

    #[test]
    fn an_error_frame_names_its_code() {
        assert_eq!(
            refusal(r#"{"type":"ERROR","code":"rate_limited","message":"m"}"#).as_deref(),
            Some("rate_limited")
        );
        assert_eq!(refusal(r#"{"type":"TEXT","payload":"rate_limited"}"#), None);
    }
}

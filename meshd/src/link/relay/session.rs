//! One connection to a relay, from its handshake to its end: one task, one socket, all links through it.
//!
//! Reading never waits for writing and the other way round. What is written is bounded: links are asked for
//! more only while less than [`UNSENT_BYTES_MAX`] waits for the socket.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use futures_util::{SinkExt, future::BoxFuture};
use meshlink_api::relay::MeshFrame;
use meshlink_core::TransportState;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::{Bytes, Error as WsError, Message};

use super::bridge::{self, Fate, Outgoing};
use super::connect::Connection;
use super::mesh::{Frames, Mesh};
use super::{RelaySettings, dice};
use crate::driver::Driver;
use crate::link::status::StatusLine;
use crate::stop::Stopping;

/// Bytes waiting for the socket before links have to wait.
const UNSENT_BYTES_MAX: usize = 64 * 1024;
/// Bytes waiting for the socket at which the relay is given up: it does not read.
const UNSENT_BYTES_FATAL: usize = 1024 * 1024;
/// The socket took nothing for this long.
const WRITE_STALL_MAX: Duration = Duration::from_secs(30);
/// Without a word of the relay for this long it is asked whether it is there; relays of ours ping each 25 s.
const ASK_AFTER: Duration = Duration::from_secs(40);
/// Without a word of the relay for this long it is gone.
const SILENCE_MAX: Duration = Duration::from_secs(75);
/// Posts of clients on their way into the store.
const POSTS_IN_MAX: usize = 256;
/// For saying good-bye.
const CLOSE_TIME_MAX: Duration = Duration::from_millis(300);

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error("the daemon stops")]
    Stopping,
    #[error("the relay closed the connection{0}")]
    Closed(String),
    #[error("the connection was lost: {0}")]
    Lost(String),
    #[error("the relay was silent for {} s", SILENCE_MAX.as_secs())]
    Silent,
    #[error("the relay takes no more bytes")]
    Stuck,
    #[error("the relay broke the protocol: {0}")]
    Nonsense(String),
}

/// A connection at work.
pub(super) struct Session<'a> {
    connection: Connection,
    driver: Driver,
    status: &'a mut StatusLine,
    relay: &'a RelaySettings,
    mesh: Mesh,
    frames: Frames,
    unsent_bytes: usize,
    unsent_since: Instant,
    heard: Instant,
    asked: bool,
    /// A text whose pong has not come, with the number in its ping and what the relay said since.
    text: Option<(u64, Outgoing, Fate)>,
    texts: u64,
    posts: FuturesUnordered<BoxFuture<'static, ()>>,
    /// Nodes present, as last said.
    said: Option<usize>,
}

/// What happened on the socket.
enum Turn {
    Flushed,
    Came(Message),
    Ended(Ended),
}

impl<'a> Session<'a> {
    pub(super) fn new(
        connection: Connection,
        driver: Driver,
        relay: &'a RelaySettings,
        device_id: String,
        status: &'a mut StatusLine,
    ) -> Self {
        let mesh = Mesh::new(driver.links(), relay.url.to_string(), device_id, dice);
        let now = Instant::now();
        Self {
            connection,
            driver,
            status,
            relay,
            mesh,
            frames: Vec::new(),
            unsent_bytes: 0,
            unsent_since: now,
            heard: now,
            asked: false,
            text: None,
            texts: 0,
            posts: FuturesUnordered::new(),
            said: None,
        }
    }

    /// Serves the connection until it ends. Texts come from the bridge.
    pub(super) async fn run(
        mut self,
        texts: &mut mpsc::Receiver<Outgoing>,
        stopping: &mut Stopping,
    ) -> Ended {
        let bells = self.mesh.bells();
        loop {
            if let Err(ended) = self.send_what_waits() {
                return ended;
            }
            self.say();
            let wake = self.wake();
            let may_write = self.unsent_bytes < UNSENT_BYTES_MAX;
            let may_read = self.posts.len() < POSTS_IN_MAX;
            let turn = tokio::select! {
                () = stopping.heard() => {
                    self.say_good_bye().await;
                    return Ended::Stopping;
                }
                turn = Self::turn(&mut self.connection, self.unsent_bytes > 0, may_read) => turn,
                () = bells.out.notified(), if may_write => continue,
                () = bells.taken.notified(), if may_write => {
                    self.mesh.give_credit(&mut self.frames);
                    continue;
                }
                Some(()) = self.posts.next(), if !self.posts.is_empty() => continue,
                Some(text) = texts.recv(), if self.text.is_none() && may_write => {
                    self.send_text(text);
                    continue;
                }
                () = sleep_until(wake) => match self.look_at_the_clock() {
                    Ok(()) => continue,
                    Err(ended) => return ended,
                },
            };
            let taken = match turn {
                Turn::Flushed => {
                    self.unsent_bytes = 0;
                    Ok(())
                }
                Turn::Came(message) => self.take(message),
                Turn::Ended(ended) => Err(ended),
            };
            if let Err(ended) = taken {
                return ended;
            }
        }
    }

    /// Writes and reads at once, whichever goes on first.
    async fn turn(connection: &mut Connection, flush: bool, read: bool) -> Turn {
        let socket = &mut connection.socket;
        poll_fn(|cx| {
            if flush {
                match socket.poll_flush_unpin(cx) {
                    Poll::Ready(Ok(())) => return Poll::Ready(Turn::Flushed),
                    Poll::Ready(Err(error)) => return Poll::Ready(Turn::Ended(in_words(error))),
                    Poll::Pending => {}
                }
            }
            if !read {
                return Poll::Pending;
            }
            socket.poll_next_unpin(cx).map(|next| match next {
                Some(Ok(message)) => Turn::Came(message),
                Some(Err(error)) => Turn::Ended(in_words(error)),
                None => Turn::Ended(Ended::Closed(String::new())),
            })
        })
        .await
    }

    fn take(&mut self, message: Message) -> Result<(), Ended> {
        self.heard = Instant::now();
        self.asked = false;
        match message {
            Message::Binary(bytes) if self.connection.carries_links => {
                let frame = MeshFrame::decode(&bytes).map_err(|e| Ended::Nonsense(e.to_string()))?;
                self.mesh.take(frame, self.heard, &mut self.frames);
            }
            // What clients of another relay say in binary is between them.
            Message::Binary(_) => {}
            Message::Text(json) => self.take_text(json.as_str()),
            // The library has queued the pong.
            Message::Ping(_) => self.note_unsent(0),
            Message::Pong(number) => self.take_pong(&number),
            Message::Close(frame) => {
                let why = frame.map(|frame| frame.reason.to_string()).filter(|reason| !reason.is_empty());
                return Err(Ended::Closed(
                    why.map_or(String::new(), |why| format!(" ({})", printable(&why))),
                ));
            }
            Message::Frame(_) => {}
        }
        Ok(())
    }

    fn take_text(&mut self, json: &str) {
        if let Some(code) = bridge::refusal(json) {
            tracing::debug!(relay = %self.relay.url, code = printable(&code), "the relay did not pass something on");
            if let Some((_, _, fate)) = &mut self.text {
                *fate = if code == "rate_limited" { Fate::TooMany } else { Fate::Refused };
            }
            return;
        }
        let Some(post) = bridge::parse(json) else { return };
        let write = self.driver.write(move |node, now| node.submit_bridged(post, now));
        self.posts.push(Box::pin(async move {
            match write.await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => tracing::debug!(%error, "a relay client's post was not taken"),
                Err(error) => tracing::debug!(%error, "a relay client's post was not stored"),
            }
        }));
    }

    fn send_text(&mut self, text: Outgoing) {
        self.texts += 1;
        let number = Bytes::copy_from_slice(&self.texts.to_be_bytes());
        self.put(Message::text(text.json.as_str()));
        self.put(Message::Ping(number));
        self.text = Some((self.texts, text, Fate::Taken));
    }

    fn take_pong(&mut self, number: &[u8]) {
        if let Some((expected, text, fate)) = self.text.take() {
            if expected.to_be_bytes() == number {
                // The bridge may have been stopped.
                let _ = text.done.send(fate);
            } else {
                self.text = Some((expected, text, fate));
            }
        }
    }

    /// Moves frames of the links to the socket's buffer.
    fn send_what_waits(&mut self) -> Result<(), Ended> {
        if self.connection.carries_links && self.unsent_bytes < UNSENT_BYTES_MAX {
            let now = Instant::now();
            self.mesh.tend(now, &mut self.frames);
            let room = UNSENT_BYTES_MAX - self.unsent_bytes;
            self.mesh.collect(room, now, &mut self.frames);
        }
        for frame in std::mem::take(&mut self.frames) {
            self.put(Message::Binary(frame.into()));
        }
        if self.unsent_bytes > UNSENT_BYTES_FATAL { Err(Ended::Stuck) } else { Ok(()) }
    }

    fn put(&mut self, message: Message) {
        self.note_unsent(message.len());
        // Errors stay with the socket and come out of the next flush.
        let _ = self.connection.socket.start_send_unpin(message);
    }

    fn note_unsent(&mut self, bytes: usize) {
        if self.unsent_bytes == 0 {
            self.unsent_since = Instant::now();
        }
        self.unsent_bytes += bytes.max(1);
    }

    /// When to look at the clock at the latest.
    fn wake(&self) -> Instant {
        let silence = self.heard + if self.asked { SILENCE_MAX } else { ASK_AFTER };
        let stall = (self.unsent_bytes > 0).then(|| self.unsent_since + WRITE_STALL_MAX);
        let others = [stall, self.mesh.due(), self.status.due()];
        others.into_iter().flatten().fold(silence, Instant::min)
    }

    fn look_at_the_clock(&mut self) -> Result<(), Ended> {
        let now = Instant::now();
        if now >= self.heard + SILENCE_MAX {
            return Err(Ended::Silent);
        }
        if self.unsent_bytes > 0 && now >= self.unsent_since + WRITE_STALL_MAX {
            return Err(Ended::Stuck);
        }
        if !self.asked && now >= self.heard + ASK_AFTER {
            self.asked = true;
            self.put(Message::Ping(Bytes::new()));
        }
        self.status.report_due();
        Ok(())
    }

    /// Says how it stands, if that changed.
    fn say(&mut self) {
        let present = self.mesh.present();
        if self.said.replace(present) == Some(present) {
            return;
        }
        let nodes = match present {
            0 => "no other node present".to_owned(),
            1 => "1 other node present".to_owned(),
            n => format!("{n} other nodes present"),
        };
        let url = &self.relay.url;
        let (state, detail, hint) = if !self.connection.carries_links {
            let detail = "connected, but this relay passes on text only: no links to other nodes".to_owned();
            (TransportState::Degraded, detail, Some("run meshlink-relay there".to_owned()))
        } else if !url.tls() && !url.is_loopback() {
            let detail = format!(
                "connected without TLS, {nodes}; whoever is on the way sees which nodes talk, and what JSON clients say"
            );
            (TransportState::Degraded, detail, Some("give the relay a certificate and use wss://".to_owned()))
        } else {
            (TransportState::Up, format!("connected, {nodes}"), None)
        };
        self.status.set(state, detail, hint);
    }

    async fn say_good_bye(&mut self) {
        let socket = &mut self.connection.socket;
        // Whatever comes of it, the connection is over.
        let _ = timeout(CLOSE_TIME_MAX, socket.close(None)).await;
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "the list is another crate's, and grows")]
fn in_words(error: WsError) -> Ended {
    match error {
        WsError::ConnectionClosed | WsError::AlreadyClosed => Ended::Closed(String::new()),
        WsError::Io(error) => Ended::Lost(error.to_string()),
        WsError::Protocol(error) => match error {
            tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake => {
                Ended::Closed(String::new())
            }
            error => Ended::Nonsense(error.to_string()),
        },
        error => Ended::Nonsense(error.to_string()),
    }
}

/// Text of a relay, fit for a log and a status.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(120).collect()
}

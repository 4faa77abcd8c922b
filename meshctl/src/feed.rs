//! The daemon's events, in order, each once, over restarts of the daemon.
//!
//! A [`Feed`] reads `GET /v1/events` as lines of JSON and keeps the id of the last event it handed out. When the
//! connection ends it connects again, with `Last-Event-ID`, after pauses that double and are jittered, so that a
//! hundred watchers do not hit a starting daemon in the same millisecond. An event whose line was cut off was
//! never handed out, so it comes again; one that was handed out is never asked for again.
//!
//! The daemon keeps a line alive with comments; [`STREAM_IDLE_MS_MAX`] of silence count as a dead connection.
//! Lines that are empty or begin with `:` are such comments. Types this version does not know are passed over.

use crate::connection::broken;
use crate::daemon::{Daemon, Opened, parse};
use crate::failure::Failure;
use crate::limits::{EVENT_BYTES_MAX, RETRY_MS_MAX, RETRY_MS_MIN, STREAM_IDLE_MS_MAX};
use crate::line::Line;
use crate::place::Address;
use crate::request::Request;
use crate::screen::Screen;
use bytes::{Buf as _, Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use meshlink_api::EventType;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::time::Duration;

/// One event.
#[derive(Debug)]
pub(crate) struct Happening {
    /// What it is about.
    pub(crate) kind: EventType,
    /// The object it carries.
    pub(crate) data: Box<RawValue>,
    /// Its position.
    pub(crate) cursor: String,
}

#[derive(Debug, Deserialize)]
struct EventLine {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    data: Box<RawValue>,
}

/// Events after a position.
#[derive(Debug)]
pub(crate) struct Feed {
    types: Option<&'static str>,
    position: String,
    resuming: bool,
    stream: Option<Stream>,
    pause: Pause,
    lost: bool,
}

impl Feed {
    /// The events after `position`, of `types` (comma-separated) or all. Only with all of them does the position
    /// move on while nothing of interest happens, and stay among those that the daemon keeps.
    pub(crate) fn after(position: String, types: Option<&'static str>) -> Self {
        Self { types, position, resuming: false, stream: None, pause: Pause::default(), lost: false }
    }

    /// Connects, without a second try: a command whose daemon is absent from the start says so at once.
    ///
    /// # Errors
    /// As [`Daemon::open`].
    pub(crate) async fn open(&mut self, daemon: &mut Daemon) -> Result<(), Failure> {
        let request = Request::get("/v1/events").query_if("types", self.types);
        let request = request.header("accept", "application/x-ndjson");
        // The daemon judges `since`, which a person may have typed, and takes any `Last-Event-ID` for a position.
        let request = match self.resuming {
            false => request.query("since", &self.position),
            true => request.header("last-event-id", self.position.clone()),
        };
        self.stream = Some(Stream::new(daemon.open(&request).await?)?);
        Ok(())
    }

    /// Waits for the next event, connecting again as often as it takes.
    ///
    /// # Errors
    /// Whatever trying again does not mend.
    pub(crate) async fn next(
        &mut self,
        daemon: &mut Daemon,
        screen: &mut Screen,
    ) -> Result<Happening, Failure> {
        loop {
            let line = match self.stream.as_mut() {
                Some(stream) => stream.next().await,
                None => self.reopen(daemon, screen).await.map(|()| None),
            };
            match line {
                Ok(Some(line)) => {
                    self.pause = Pause::default();
                    self.position.clone_from(&line.id);
                    self.resuming = true;
                    if let Some(kind) = EventType::from_name(&line.kind) {
                        return Ok(Happening { kind, data: line.data, cursor: line.id });
                    }
                }
                Ok(None) => {}
                Err(failure) if failure.may_pass() => self.mourn(&failure, screen),
                Err(failure) => return Err(failure),
            }
        }
    }

    async fn reopen(&mut self, daemon: &mut Daemon, screen: &mut Screen) -> Result<(), Failure> {
        tokio::time::sleep(self.pause.next()).await;
        self.open(daemon).await?;
        if std::mem::take(&mut self.lost) {
            screen.say(Line::of("connected again"));
        }
        Ok(())
    }

    fn mourn(&mut self, failure: &Failure, screen: &mut Screen) {
        self.stream = None;
        if !std::mem::replace(&mut self.lost, true) {
            screen.say(Line::of(format!("{failure}; trying again until it is back")));
        } else {
            screen.detail(Line::of(failure));
        }
    }
}

#[derive(Debug)]
struct Stream {
    body: Incoming,
    address: Address,
    buffer: BytesMut,
    searched: usize,
}

impl Stream {
    fn new(opened: Opened) -> Result<Self, Failure> {
        let kind = opened.response.headers().get("content-type").and_then(|kind| kind.to_str().ok());
        if !kind.is_some_and(|kind| kind.starts_with("application/x-ndjson")) {
            let why = format!("its event stream is {}", kind.unwrap_or("of no kind"));
            return Err(Failure::Foreign { place: opened.address.to_string(), why });
        }
        let body = opened.response.into_body();
        Ok(Self { body, address: opened.address, buffer: BytesMut::new(), searched: 0 })
    }

    /// The next event's line; `None` for a comment.
    async fn next(&mut self) -> Result<Option<EventLine>, Failure> {
        let line = loop {
            if let Some(line) = self.take_line() {
                break line;
            }
            if self.buffer.len() > EVENT_BYTES_MAX {
                let why = format!("an event is larger than {} kB", EVENT_BYTES_MAX / 1000);
                return Err(Failure::Foreign { place: self.address.to_string(), why });
            }
            let data = self.read().await?;
            self.buffer.extend_from_slice(&data);
        };
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b":") {
            Ok(None)
        } else {
            parse(line, &self.address).map(Some)
        }
    }

    fn take_line(&mut self) -> Option<Bytes> {
        let Some(found) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') else {
            self.searched = self.buffer.len();
            return None;
        };
        let line = self.buffer.split_to(self.searched + found).freeze();
        self.buffer.advance(1);
        self.searched = 0;
        Some(line)
    }

    async fn read(&mut self) -> Result<Bytes, Failure> {
        let lost = |why: &str| Failure::Lost { place: self.address.to_string(), why: why.into() };
        let idle = Duration::from_millis(STREAM_IDLE_MS_MAX);
        match tokio::time::timeout(idle, self.body.frame()).await {
            Ok(Some(Ok(frame))) => Ok(frame.into_data().unwrap_or_default()),
            Ok(Some(Err(error))) => Err(broken(&self.address, &error)),
            Ok(None) => Err(lost("it was closed")),
            Err(_) => Err(lost("it fell silent")),
        }
    }
}

/// Pauses between tries: doubling, each somewhere between half and all of its length.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pause {
    next_ms: u64,
}

impl Default for Pause {
    fn default() -> Self {
        Self { next_ms: RETRY_MS_MIN }
    }
}

impl Pause {
    /// The next pause. Without a source of randomness it is not jittered, which is no reason to stop.
    pub(crate) fn next(&mut self) -> Duration {
        let full_ms = self.next_ms;
        self.next_ms = (full_ms * 2).min(RETRY_MS_MAX);
        let jitter = getrandom::u32().map_or(full_ms / 2, |random| u64::from(random) % (full_ms / 2 + 1));
        Duration::from_millis(full_ms / 2 + jitter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_and_are_jittered() {
        let mut pause = Pause::default();
        let mut full_ms = RETRY_MS_MIN;
        for _ in 0..12 {
            let ms = u64::try_from(pause.next().as_millis()).unwrap();
            assert!((full_ms / 2..=full_ms).contains(&ms), "{ms} of {full_ms}");
            full_ms = (full_ms * 2).min(RETRY_MS_MAX);
        }
        let firsts: std::collections::BTreeSet<_> = (0..50).map(|_| Pause::default().next()).collect();
        assert!(firsts.len() > 5, "{firsts:?}");
    }
}

//! Links through a WebSocket relay, and the JSON dialect spoken there.
//!
//! ```text
//! supervisor ── connect ── session (socket, mesh of links) ── end ── back-off ─┐
//!      ▲                      ▲                                                │
//!      └──────────────────────┼────────────────────────────────────────────────┘
//!                          bridge: own messages as TEXT, one at a time, marked when taken
//! ```
//!
//! A relay is a carrier like any other and trusted as much: links are encrypted end to end through it, what it
//! injects is checked like a radio neighbour's words, and nonsense ends the connection (threat Y-14).

mod backoff;
mod bridge;
mod connect;
mod mesh;
mod session;
mod url;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use meshlink_core::{LinkKind, TransportState};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

pub use url::RelayUrl;

use crate::driver::Driver;
use crate::link::network::NetworkChanges;
use crate::link::status::StatusLine;
use crate::stop::Stopping;
use backoff::{Backoff, NUDGE_APART};
use bridge::{Bridge, Outgoing};
use session::{Ended, Session};

/// What a user says about a relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelaySettings {
    /// Where it is, and the topic to meet in.
    pub url: RelayUrl,
    /// A file with the token it wants.
    pub token_file: Option<PathBuf>,
    /// A file with its certificate authority, instead of the system's.
    pub ca_file: Option<PathBuf>,
}

impl RelaySettings {
    /// A relay that needs no more than its URL.
    pub fn new(url: RelayUrl) -> Self {
        Self { url, token_file: None, ca_file: None }
    }

    /// How it is called in the status: the URL, and the topic if it is not the default one.
    pub fn name(&self) -> String {
        match self.url.topic() {
            Some(topic) => format!("{} {topic}", self.url),
            None => self.url.to_string(),
        }
    }
}

/// Keeps a connection to one relay until the daemon stops.
///
/// # Errors
/// The store failed before anything was connected, or the daemon is stopping already.
pub async fn run(
    relay: RelaySettings,
    driver: Driver,
    network: NetworkChanges,
    stopping: Stopping,
) -> anyhow::Result<()> {
    let (texts, outgoing) = mpsc::channel(1);
    let nudge = Arc::new(Notify::new());
    let bridge = Bridge::open(driver.clone(), relay.url.mark_name(), texts, Arc::clone(&nudge)).await?;
    let status = StatusLine::new(driver.links(), LinkKind::Relay, relay.name());
    let backoff = Backoff::new(relay.url.is_loopback());
    let supervisor =
        Supervisor { relay, driver, status, backoff, outgoing, nudge, network, tried: Instant::now() };
    tokio::join!(bridge.run(stopping.clone()), supervisor.run(stopping));
    Ok(())
}

/// Connects, and connects again.
struct Supervisor {
    relay: RelaySettings,
    driver: Driver,
    status: StatusLine,
    backoff: Backoff,
    outgoing: mpsc::Receiver<Outgoing>,
    /// Somebody here wrote a message.
    nudge: Arc<Notify>,
    network: NetworkChanges,
    tried: Instant,
}

impl Supervisor {
    async fn run(mut self, mut stopping: Stopping) {
        self.status.set(TransportState::Starting, "connecting".to_owned(), None);
        loop {
            self.tried = Instant::now();
            let Some((why, hint)) = self.try_once(&mut stopping).await else { return };
            let delay = self.backoff.delay(dice());
            let seconds = delay.as_secs_f64().ceil();
            self.status.set(TransportState::Down, format!("{why}; next try in {seconds} s"), hint);
            tokio::select! {
                () = stopping.heard() => return,
                () = self.wait(delay) => {}
            }
        }
    }

    /// One connection from its beginning to its end; why it ended, with a hint, or nothing when the daemon
    /// stops.
    async fn try_once(&mut self, stopping: &mut Stopping) -> Option<(String, Option<String>)> {
        let device_id = device_id();
        let connected = tokio::select! {
            () = stopping.heard() => return None,
            connected = connect::connect(&self.relay, &device_id) => connected,
        };
        let connection = match connected {
            Ok(connection) => connection,
            Err(error) => return Some((error.to_string(), error.hint(&self.relay.url))),
        };
        let connected = Instant::now();
        let session = Session::new(connection, self.driver.clone(), &self.relay, device_id, &mut self.status);
        let ended = session.run(&mut self.outgoing, stopping).await;
        self.backoff.connected(connected.elapsed());
        match &ended {
            Ended::Stopping => None,
            Ended::Closed(_) | Ended::Lost(_) | Ended::Silent | Ended::Stuck | Ended::Nonsense(_) => {
                Some((ended.to_string(), None))
            }
        }
    }

    /// Waits for the next try: the delay, or less if there is a reason.
    async fn wait(&mut self, delay: Duration) {
        let now = Instant::now();
        let end = now + delay;
        let nudged = (self.tried + NUDGE_APART).max(now).min(end);
        // What happened before this try failed is no reason to try again.
        self.network.mark_unchanged();
        let _ = self.nudge.notified().now_or_never();
        let nudge = Arc::clone(&self.nudge);
        let reason = async {
            tokio::select! {
                () = nudge.notified() => {}
                // An error means that nobody watches the network.
                changed = self.network.changed() => if changed.is_err() { std::future::pending().await },
            }
        };
        tokio::select! {
            () = tokio::time::sleep_until(end) => {}
            () = reason => tokio::time::sleep_until(nudged).await,
        }
    }
}

/// A name for one connection. It is new each time: who connects is nobody's business but the neighbours',
/// who learn it in the links' handshake.
fn device_id() -> String {
    format!("meshd-{:08x}{:08x}", dice(), dice())
}

/// A random number for delays and choices; a system without randomness makes them predictable, not wrong.
fn dice() -> u32 {
    let mut bytes = [0; 4];
    let _ = getrandom::fill(&mut bytes);
    u32::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests;

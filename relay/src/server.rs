//! The relay as it runs: one thread, one epoll, every socket.
//!
//! A turn of the loop reads from every connection that has something, lets the [`Hub`] work out what comes
//! of it, and then writes to every client that gets something: see [`crate::hub`] for why in this order.
//! No connection has a buffer of its own while nothing of it is unfinished; all read into one.
//!
//! ```text
//! accept ──► Head ──► Open ──► Closing ──► dropped
//!              └──► Held (wrong token) ──► Closing
//! ```
//!
//! [`conn`] holds the phases, [`entrance`] goes from `Accept` to `Open`, [`talk`] is what happens in `Open`,
//! [`exit`] everything after, and the deadlines of all.

mod conn;
mod entrance;
mod exit;
mod stream;
mod talk;

use crate::address_book::AddressBook;
use crate::config::Config;
use crate::door::Door;
use crate::hub::{ClientId, Hub};
use crate::limits::{ACCEPT_RETRY_MS, READ_BYTES, STOP_MS_MAX, SWEEP_MS};
use crate::metrics::Cut;
use conn::{Conns, Phase};
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token, Waker};
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use stream::Got;

const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);
/// Events taken from the kernel at once; more wait there for the next turn.
const EVENTS_PER_TURN: usize = 1_024;
/// Connections that wait in the kernel to be accepted.
const BACKLOG: i32 = 1_024;
/// Between two looks at the deadlines while refusals are held back.
const SWEEP_HELD_MS: u64 = 50;

/// Why a relay can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another program listens there.
    #[error("{address} is in use: stop the other program or choose another port with --listen")]
    InUse {
        /// Where.
        address: SocketAddr,
    },
    /// The system does not let it listen there.
    #[error(
        "can't listen on {address}: {why}; give an address of this machine and a port from 1024 with --listen"
    )]
    CantListen {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        why: std::io::Error,
    },
    /// The system has no means left for an event loop.
    #[error("can't set up the event loop: {why}")]
    NoEventLoop {
        /// What the system says.
        why: std::io::Error,
    },
}

/// The event loop of a relay failed.
#[derive(Debug, thiserror::Error)]
#[error("waiting for events failed: {0}")]
pub struct RunError(std::io::Error);

/// Ends a relay from another thread.
#[derive(Debug, Clone)]
pub struct Stopper {
    is_stopping: Arc<AtomicBool>,
    waker: Arc<Waker>,
}

impl Stopper {
    /// Tells the relay to say goodbye to its clients and return from [`Relay::run`], within about a second.
    pub fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
        // Fails only when the relay is gone, which is what is asked for.
        let _ = self.waker.wake();
    }
}

/// A relay, listening.
#[derive(Debug)]
pub struct Relay {
    poll: Poll,
    /// `None` once it is stopping.
    listener: Option<TcpListener>,
    address: SocketAddr,
    stopper: Stopper,
    tls: Option<Arc<rustls::ServerConfig>>,
    max_clients: usize,
    door: Door,
    book: AddressBook,
    hub: Hub,
    conns: Conns,
    /// Connections without a whole head, oldest first; those that have left are skipped.
    pending: VecDeque<(ClientId, u64)>,
    pending_count: usize,
    last_serial: u64,
    /// Refusals held back.
    held_count: usize,
    /// Connections that may have bytes to read though no event will say so.
    ready: Vec<ClientId>,
    /// There may be connections to accept.
    is_accepting: bool,
    /// Out of file descriptors: no accepting until then.
    accept_retry_ms: Option<u64>,
    scratch: Box<[u8]>,
    /// Bytes of unfinished messages of all clients.
    partial_bytes: usize,
    random: ring::rand::SystemRandom,
    started: Instant,
    now_ms: u64,
    swept_ms: u64,
    /// When stopping ends, once it has begun.
    stop_by_ms: Option<u64>,
}

impl Relay {
    /// Starts to listen. Clients wait until [`Relay::run`].
    ///
    /// # Errors
    /// [`StartError`] if it can't.
    pub fn bind(config: Config) -> Result<Self, StartError> {
        let poll = Poll::new().map_err(|why| StartError::NoEventLoop { why })?;
        let waker = Waker::new(poll.registry(), WAKER).map_err(|why| StartError::NoEventLoop { why })?;
        let address = config.listen;
        let mut listener = entrance::listen(address).map_err(|why| {
            if why.kind() == ErrorKind::AddrInUse {
                StartError::InUse { address }
            } else {
                StartError::CantListen { address, why }
            }
        })?;
        let address = listener
            .local_addr()
            .and_then(|address| {
                poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
                Ok(address)
            })
            .map_err(|why| StartError::NoEventLoop { why })?;
        let share = config.max_per_address.unwrap_or((config.max_clients / 4).max(16));
        let hostname = hostname();
        Ok(Self {
            poll,
            listener: Some(listener),
            address,
            stopper: Stopper { is_stopping: Arc::default(), waker: Arc::new(waker) },
            tls: config.tls.map(|identity| identity.0),
            max_clients: config.max_clients,
            door: Door::new(config.tokens, config.allow_origins, &hostname),
            book: AddressBook::new(share, config.max_per_address.is_some()),
            hub: Hub::new(config.max_rate),
            conns: Conns::default(),
            pending: VecDeque::new(),
            pending_count: 0,
            last_serial: 0,
            held_count: 0,
            ready: Vec::new(),
            is_accepting: true,
            accept_retry_ms: None,
            scratch: vec![0; READ_BYTES].into_boxed_slice(),
            partial_bytes: 0,
            random: ring::rand::SystemRandom::new(),
            started: Instant::now(),
            now_ms: 0,
            swept_ms: 0,
            stop_by_ms: None,
        })
    }

    /// The address it listens on; tells the port if it was to take a free one.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// What ends it.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Serves until it is stopped. Blocks; give it a thread.
    ///
    /// # Errors
    /// [`RunError`] if the system's event queue fails.
    pub fn run(mut self) -> Result<(), RunError> {
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        while !self.is_over() {
            self.wait(&mut events, self.timeout())?;
            self.turn(&events);
        }
        Ok(())
    }

    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> Result<(), RunError> {
        match self.poll.poll(events, timeout) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => events.clear(),
            Err(error) => return Err(RunError(error)),
        }
        self.now_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(())
    }

    fn turn(&mut self, events: &Events) {
        let ready = std::mem::take(&mut self.ready);
        for event in events {
            match event.token() {
                LISTENER => self.is_accepting = true,
                WAKER => {}
                Token(slot) => {
                    let id = ClientId(slot);
                    if event.is_writable() {
                        self.resume(id);
                    }
                    let has_ended = event.is_read_closed() || event.is_error();
                    if let Some(conn) = self.conns.get_mut(id)
                        && (event.is_readable() || has_ended)
                    {
                        conn.has_ended |= has_ended;
                        if !conn.is_ready {
                            self.read(id);
                        }
                    }
                }
            }
        }
        for id in ready {
            if let Some(conn) = self.conns.get_mut(id) {
                conn.is_ready = false;
                self.read(id);
            }
        }
        self.accept();
        self.flush();
        self.sweep_if_due();
        self.stop_if_told();
        self.conns.end_turn();
    }

    /// Reads once from a connection; whoever has more gets its next turn after all others.
    fn read(&mut self, id: ClientId) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        if let Phase::Held { .. } = conn.phase {
            // Whatever it sends is read when it has its answer.
            return;
        }
        let got = conn.stream.read(&mut self.scratch);
        let has_more = match got {
            Got::Bytes(_) | Got::Again => true,
            Got::LastBytes(_) => conn.has_ended,
            Got::Nothing | Got::End | Got::Broken => false,
        };
        if has_more {
            conn.is_ready = true;
            self.ready.push(id);
        }
        match got {
            Got::Bytes(bytes) | Got::LastBytes(bytes) => self.take(id, bytes),
            Got::Nothing | Got::Again => {}
            Got::End => self.forget(id),
            Got::Broken => self.cut(id, Cut::Broken),
        }
        if self.hub.wants_full_flush() {
            self.flush();
        }
    }

    /// Takes the first `bytes` of the read buffer as what a connection sent.
    fn take(&mut self, id: ClientId, bytes: usize) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        match conn.phase {
            Phase::Head { .. } => self.enter(id, bytes),
            Phase::Open(_) => self.hear(id, 0..bytes),
            Phase::Held { .. } | Phase::Closing(_) => {}
        }
    }

    /// A socket has room again.
    fn resume(&mut self, id: ClientId) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        if !conn.stream.resume() {
            return self.cut(id, Cut::Broken);
        }
        match &mut conn.phase {
            Phase::Open(_) => self.hub.unblock(id),
            Phase::Closing(closing) => {
                closing.outbox.unblock();
                self.push_last_words(id);
            }
            Phase::Head { .. } | Phase::Held { .. } => {}
        }
    }

    /// Writes to everyone who gets something, and cuts who can't be written to.
    fn flush(&mut self) {
        loop {
            let Self { hub, conns, now_ms, .. } = self;
            let mut bytes_out = 0;
            let doomed = hub.flush(*now_ms, |id, slices| {
                let taken = conns.get_mut(id)?.stream.write(slices)?;
                bytes_out += taken as u64;
                Some(taken)
            });
            hub.counters.bytes_out += bytes_out;
            if doomed.is_empty() {
                return;
            }
            for (id, cut) in doomed {
                self.cut(id, cut);
            }
        }
    }

    /// How long to wait for events.
    fn timeout(&self) -> Option<Duration> {
        if !self.ready.is_empty()
            || self.hub.is_behind()
            || (self.is_accepting && self.accept_retry_ms.is_none())
        {
            return Some(Duration::ZERO);
        }
        let sweep = (self.conns.len() > 0).then_some(self.swept_ms + self.sweep_ms());
        let next = [sweep, self.accept_retry_ms, self.stop_by_ms].into_iter().flatten().min()?;
        // One more: the clock counts whole milliseconds, and an early wake-up finds nothing due.
        Some(Duration::from_millis(next.saturating_sub(self.now_ms) + 1))
    }

    fn sweep_ms(&self) -> u64 {
        if self.held_count > 0 { SWEEP_HELD_MS } else { SWEEP_MS }
    }

    fn sweep_if_due(&mut self) {
        if self.now_ms >= self.swept_ms + self.sweep_ms() {
            self.swept_ms = self.now_ms;
            self.sweep();
            self.flush();
        }
    }

    /// Out of file descriptors: waits, since the kernel will not announce the waiting connections again.
    fn pause_accepting(&mut self) {
        self.accept_retry_ms = Some(self.now_ms + ACCEPT_RETRY_MS);
    }

    fn stop_if_told(&mut self) {
        if self.stop_by_ms.is_some() || !self.stopper.is_stopping.load(Ordering::Acquire) {
            return;
        }
        self.stop_by_ms = Some(self.now_ms + STOP_MS_MAX);
        self.listener = None;
        self.is_accepting = false;
        self.accept_retry_ms = None;
        self.say_goodbye();
    }

    fn is_over(&self) -> bool {
        self.stop_by_ms.is_some_and(|by| self.conns.len() == 0 || self.now_ms >= by)
    }
}

/// What this machine is called.
#[cfg(unix)]
fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// What this machine is called.
#[cfg(windows)]
fn hostname() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_default()
}

#[cfg(test)]
mod tests;

//! One connection and where it is in its life: head, open, closing.

use super::stream::Stream;
use crate::address_book::Address;
use crate::frame::Decoder;
use crate::hub::{Allowance, ClientId, Outbox};
use crate::limits::{
    CLOSE_MS_MAX, CONTROL_FRAMES_BURST, HEAD_MS_MAX, MESSAGE_MS_MAX, PING_AFTER_MS, SILENCE_MS_MAX,
};
use crate::metrics::Cut;
use crate::request::Head;
use meshlink_api::relay::CONTROL_FRAMES_PER_S;
use std::net::IpAddr;

#[derive(Debug)]
pub(super) struct Conn {
    pub(super) stream: Stream,
    pub(super) address: Address,
    /// The address it arrived at.
    pub(super) local: Option<IpAddr>,
    /// Whether the address book counts it.
    pub(super) is_counted: bool,
    /// Tells it from an earlier connection in the same slot.
    pub(super) serial: u64,
    /// There may be bytes to read, and it is in the list of those.
    pub(super) is_ready: bool,
    /// The other side is done: an event said so, so a short read is not the last.
    pub(super) has_ended: bool,
    pub(super) phase: Phase,
}

#[derive(Debug)]
pub(super) enum Phase {
    /// The request head is not whole, or the TLS handshake not done.
    Head { head: Head, deadline_ms: u64 },
    /// It had a wrong token and gets to know later.
    Held { answer: Vec<u8>, until_ms: u64 },
    /// It is a WebSocket, and a member of the hub.
    Open(Box<Open>),
    /// It gets its last words.
    Closing(Closing),
}

#[derive(Debug)]
pub(super) struct Open {
    pub(super) decoder: Decoder,
    /// When anything was last received.
    pub(super) heard_ms: u64,
    /// It was pinged since.
    pub(super) is_pinged: bool,
    /// Pings and pongs it may send.
    pub(super) control: Allowance,
    /// When the unfinished message began, if there is one.
    pub(super) message_ms: Option<u64>,
    /// Bytes of it, as counted in the relay's total.
    pub(super) partial_bytes: usize,
}

impl Open {
    fn due(&mut self, now_ms: u64) -> Due {
        let silent_ms = now_ms.saturating_sub(self.heard_ms);
        if silent_ms >= SILENCE_MS_MAX {
            Due::Cut(Cut::Silent)
        } else if self.message_ms.is_some_and(|since| now_ms.saturating_sub(since) >= MESSAGE_MS_MAX) {
            Due::Cut(Cut::MessageTimeout)
        } else if silent_ms >= PING_AFTER_MS && !self.is_pinged {
            self.is_pinged = true;
            Due::Ping
        } else {
            Due::Nothing
        }
    }
}

#[derive(Debug)]
pub(super) struct Closing {
    pub(super) outbox: Outbox,
    pub(super) deadline_ms: u64,
    /// Wait for the other side after the last byte, so that it gets to read it: closing a socket with unread
    /// bytes resets the connection, and a reset overtakes data.
    pub(super) lingers: bool,
    pub(super) is_finished: bool,
}

impl Phase {
    pub(super) fn head(now_ms: u64) -> Self {
        Self::Head { head: Head::default(), deadline_ms: now_ms + HEAD_MS_MAX }
    }

    pub(super) fn open(now_ms: u64) -> Self {
        Self::Open(Box::new(Open {
            decoder: Decoder::default(),
            heard_ms: now_ms,
            is_pinged: false,
            control: Allowance::new(CONTROL_FRAMES_PER_S, CONTROL_FRAMES_BURST, now_ms),
            message_ms: None,
            partial_bytes: 0,
        }))
    }

    pub(super) fn closing(outbox: Outbox, lingers: bool, now_ms: u64) -> Self {
        Self::Closing(Closing { outbox, deadline_ms: now_ms + CLOSE_MS_MAX, lingers, is_finished: false })
    }

    /// What is due. A ping is due once, until something is heard.
    pub(super) fn due(&mut self, now_ms: u64) -> Due {
        match self {
            Self::Head { deadline_ms, .. } if now_ms >= *deadline_ms => Due::Cut(Cut::HeadTimeout),
            Self::Held { until_ms, .. } if now_ms >= *until_ms => Due::Answer,
            Self::Closing(closing) if now_ms >= closing.deadline_ms => Due::Forget,
            Self::Open(open) => open.due(now_ms),
            Self::Head { .. } | Self::Held { .. } | Self::Closing(_) => Due::Nothing,
        }
    }
}

/// What is due for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    /// Ask whether it is still there.
    Ping,
    /// Give it the answer that was held back.
    Answer,
    /// It had its last words.
    Forget,
    Cut(Cut),
}

/// All connections, by [`ClientId`]. A slot is used again only after [`Conns::end_turn`], so that an id means
/// one connection for a whole turn.
#[derive(Debug, Default)]
pub(super) struct Conns {
    slots: Vec<Option<Conn>>,
    free: Vec<usize>,
    left_this_turn: Vec<usize>,
    count: usize,
}

impl Conns {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// The id the next [`Conns::insert`] gives out.
    pub(super) fn next_id(&self) -> ClientId {
        ClientId(self.free.last().copied().unwrap_or(self.slots.len()))
    }

    pub(super) fn insert(&mut self, conn: Conn) -> ClientId {
        self.count += 1;
        match self.free.pop() {
            Some(slot) => {
                self.slots[slot] = Some(conn);
                ClientId(slot)
            }
            None => {
                self.slots.push(Some(conn));
                ClientId(self.slots.len() - 1)
            }
        }
    }

    pub(super) fn get_mut(&mut self, id: ClientId) -> Option<&mut Conn> {
        self.slots.get_mut(id.0).and_then(Option::as_mut)
    }

    pub(super) fn remove(&mut self, id: ClientId) -> Option<Conn> {
        let conn = self.slots.get_mut(id.0)?.take()?;
        self.count -= 1;
        self.left_this_turn.push(id.0);
        Some(conn)
    }

    pub(super) fn end_turn(&mut self) {
        self.free.append(&mut self.left_this_turn);
    }

    /// All ids that may have a connection.
    pub(super) fn ids(&self) -> impl Iterator<Item = ClientId> + use<> {
        (0..self.slots.len()).map(ClientId)
    }
}

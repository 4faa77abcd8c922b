//! What an open WebSocket says, frame by frame.

use super::Relay;
use super::conn::Phase;
use crate::frame::{CLOSE_NORMAL, CLOSE_POLICY, CLOSE_TRY_LATER, Incoming, Outgoing, Violation};
use crate::hub::ClientId;
use crate::limits::PARTIAL_BYTES_TOTAL_MAX;
use crate::metrics::{Cut, Refusal};
use std::ops::{ControlFlow, Range};

/// Why a connection ends here.
enum End {
    /// The client closes, with this code.
    Closed(Option<u16>),
    /// It sent more pings and pongs than it may.
    Flood,
}

impl Relay {
    /// Takes a part of the read buffer as frames of a client.
    pub(super) fn hear(&mut self, id: ClientId, range: Range<usize>) {
        let Self { conns, hub, scratch, now_ms, .. } = self;
        let now_ms = *now_ms;
        let Some(Phase::Open(open)) = conns.get_mut(id).map(|conn| &mut conn.phase) else { return };
        if range.is_empty() {
            return;
        }
        open.heard_ms = now_ms;
        open.is_pinged = false;
        let (mut end, mut has_message) = (None, false);
        let control = &mut open.control;
        let fed = open.decoder.feed(&mut scratch[range], |incoming| {
            match incoming {
                Incoming::Text(text) => {
                    has_message = true;
                    hub.post(id, text, now_ms);
                }
                Incoming::Binary(bytes) => {
                    has_message = true;
                    hub.forward(id, bytes, now_ms);
                }
                Incoming::TooLarge(_) => {
                    has_message = true;
                    hub.refuse(id, Refusal::TooLarge, now_ms);
                }
                Incoming::Close(code) => {
                    end = Some(End::Closed(code));
                    return ControlFlow::Break(());
                }
                Incoming::Ping(_) | Incoming::Pong if !control.take(now_ms) => {
                    end = Some(End::Flood);
                    return ControlFlow::Break(());
                }
                Incoming::Ping(bytes) => hub.send(id, Outgoing::Pong, bytes, now_ms),
                Incoming::Pong => {}
            }
            ControlFlow::Continue(())
        });
        if has_message || !open.decoder.is_amid_message() {
            open.message_ms = None;
        }
        if open.decoder.is_amid_message() {
            open.message_ms.get_or_insert(now_ms);
        }
        let kept = open.decoder.kept_bytes();
        let before = std::mem::replace(&mut open.partial_bytes, kept);
        self.partial_bytes = self.partial_bytes + kept - before;
        match (fed, end) {
            (Err(Violation { code, why }), _) => self.close(id, code, why, Some(Cut::Protocol)),
            (Ok(()), Some(End::Closed(code))) => self.close_back(id, code.unwrap_or(CLOSE_NORMAL)),
            (Ok(()), Some(End::Flood)) => {
                self.close(id, CLOSE_POLICY, "too many pings and pongs", Some(Cut::Flood));
            }
            (Ok(()), None) if kept > before && self.partial_bytes > PARTIAL_BYTES_TOTAL_MAX => {
                let why = "too many unfinished messages; come back later";
                self.close(id, CLOSE_TRY_LATER, why, Some(Cut::Memory));
            }
            (Ok(()), None) => {}
        }
    }
}

//! How connections end, and the deadlines that end them.

use super::Relay;
use super::conn::{Closing, Phase};
use crate::answer::Answer;
use crate::frame::{self, CLOSE_GOING_AWAY, CLOSE_POLICY, Outgoing};
use crate::hub::{ClientId, Outbox};
use crate::limits::{MESSAGE_MS_MAX, PING_AFTER_MS, SILENCE_MS_MAX};
use crate::metrics::Cut;

/// What is due for a connection.
enum Due {
    Nothing,
    Ping,
    Answer,
    Drop,
    Cut(Cut),
}

impl Relay {
    /// Answers a request and closes.
    pub(super) fn answer(&mut self, id: ClientId, answer: Answer, is_head: bool) {
        self.hub.counters.answered(answer.status);
        self.end(id, &answer.encode(is_head), true);
    }

    /// Closes a WebSocket: the client is asked to close its side too.
    pub(super) fn close(&mut self, id: ClientId, code: u16, why: &str, cut: Option<Cut>) {
        if let Some(cut) = cut {
            self.hub.counters.cut(cut);
        }
        self.end(id, &frame::close(code, why), true);
    }

    /// Completes the closing that a client began (RFC 6455 section 5.5.1).
    pub(super) fn close_back(&mut self, id: ClientId, code: u16) {
        self.end(id, &frame::close(code, ""), false);
    }

    /// Sends a connection its last words after whatever waits for it already.
    fn end(&mut self, id: ClientId, last_words: &[u8], lingers: bool) {
        self.leave_phase(id, |relay, mut outbox| {
            outbox.append(relay.now_ms, |out| out.extend_from_slice(last_words));
            Phase::closing(outbox, lingers, relay.now_ms)
        });
        self.push_last_words(id);
    }

    /// Takes a connection out of whatever counts its phase, and puts it in the phase that `next` makes.
    fn leave_phase(&mut self, id: ClientId, next: impl FnOnce(&mut Self, Outbox) -> Phase) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        let mut outbox = None;
        match &conn.phase {
            Phase::Head { .. } => self.pending_count -= 1,
            Phase::Held { .. } => {
                self.held_count -= 1;
                self.book.release(conn.address);
            }
            Phase::Open(open) => {
                self.partial_bytes -= open.partial_bytes;
                outbox = self.hub.leave(id, self.now_ms);
            }
            Phase::Closing(_) => {}
        }
        let outbox = outbox.unwrap_or_else(|| self.hub.outbox());
        let phase = next(self, outbox);
        if let Some(conn) = self.conns.get_mut(id) {
            conn.phase = phase;
        }
    }

    /// Sends what it can of the last words; after them, drops the connection or waits for the other side.
    pub(super) fn push_last_words(&mut self, id: ClientId) {
        let now_ms = self.now_ms;
        let Some(conn) = self.conns.get_mut(id) else { return };
        let Phase::Closing(Closing { outbox, lingers, is_finished, .. }) = &mut conn.phase else { return };
        let stream = &mut conn.stream;
        let mut bytes_out = 0;
        let sent = outbox.send(now_ms, &mut |slices: &[std::io::IoSlice<'_>]| {
            let taken = stream.write(slices)?;
            bytes_out += taken as u64;
            Some(taken)
        });
        self.hub.counters.bytes_out += bytes_out;
        if sent.is_err() {
            return self.cut(id, Cut::Broken);
        }
        if outbox.is_empty() && !*is_finished {
            *is_finished = true;
            stream.finish();
            if !*lingers {
                self.forget(id);
            }
        }
    }

    /// Ends a connection without a word, and throws away what waits for it.
    pub(super) fn cut(&mut self, id: ClientId, cut: Cut) {
        if let Some(conn) = self.conns.get_mut(id) {
            self.hub.counters.cut(cut);
            conn.stream.abort();
            self.forget(id);
        }
    }

    /// Ends a connection that has nothing more to say.
    pub(super) fn forget(&mut self, id: ClientId) {
        self.leave_phase(id, |relay, outbox| Phase::closing(outbox, false, relay.now_ms));
        if let Some(mut conn) = self.conns.remove(id) {
            let _ = self.poll.registry().deregister(conn.stream.tcp());
            if conn.is_counted {
                self.book.disconnect(conn.address);
            }
            // A file descriptor is free again.
            self.accept_retry_ms = None;
        }
    }

    /// Looks at every deadline.
    pub(super) fn sweep(&mut self) {
        let now_ms = self.now_ms;
        for id in self.conns.ids() {
            match self.due(id, now_ms) {
                Due::Nothing => {}
                Due::Ping => self.hub.send(id, Outgoing::Ping, &[], now_ms),
                Due::Answer => self.release(id),
                Due::Drop => self.forget(id),
                Due::Cut(Cut::MessageTimeout) => {
                    self.close(id, CLOSE_POLICY, "message not finished in 30 s", Some(Cut::MessageTimeout));
                }
                Due::Cut(cut) => self.cut(id, cut),
            }
        }
        self.hub.sweep(now_ms);
    }

    fn due(&mut self, id: ClientId, now_ms: u64) -> Due {
        let Some(conn) = self.conns.get_mut(id) else { return Due::Nothing };
        match &mut conn.phase {
            Phase::Head { deadline_ms, .. } if now_ms >= *deadline_ms => Due::Cut(Cut::HeadTimeout),
            Phase::Held { until_ms, .. } if now_ms >= *until_ms => Due::Answer,
            Phase::Closing(closing) if now_ms >= closing.deadline_ms => Due::Drop,
            Phase::Open(open) => {
                let silent_ms = now_ms.saturating_sub(open.heard_ms);
                if silent_ms >= SILENCE_MS_MAX {
                    Due::Cut(Cut::Silent)
                } else if open.message_ms.is_some_and(|since| now_ms.saturating_sub(since) >= MESSAGE_MS_MAX)
                {
                    Due::Cut(Cut::MessageTimeout)
                } else if silent_ms >= PING_AFTER_MS && !open.is_pinged {
                    open.is_pinged = true;
                    Due::Ping
                } else {
                    Due::Nothing
                }
            }
            Phase::Head { .. } | Phase::Held { .. } | Phase::Closing(_) => Due::Nothing,
        }
    }

    /// A refusal was held back long enough.
    fn release(&mut self, id: ClientId) {
        let Some(Phase::Held { answer, .. }) = self.conns.get_mut(id).map(|conn| &mut conn.phase) else {
            return;
        };
        let answer = std::mem::take(answer);
        self.end(id, &answer, true);
        // What it sent meanwhile raised an event that was passed over.
        self.read(id);
    }

    /// The relay stops: every client is told, whoever is not one yet is dropped.
    pub(super) fn say_goodbye(&mut self) {
        for id in self.conns.ids() {
            let Some(conn) = self.conns.get_mut(id) else { continue };
            match conn.phase {
                Phase::Head { .. } => self.forget(id),
                Phase::Held { .. } => self.release(id),
                Phase::Open(_) => self.close(id, CLOSE_GOING_AWAY, "the relay is stopping", None),
                Phase::Closing(_) => {}
            }
        }
        self.flush();
    }
}

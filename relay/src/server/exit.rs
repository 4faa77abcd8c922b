//! How connections end, and the deadlines that end them.

use super::Relay;
use super::conn::{Closing, Due, Phase};
use crate::answer::Answer;
use crate::frame::{self, CLOSE_GOING_AWAY, CLOSE_POLICY, Outgoing};
use crate::hub::{ClientId, Outbox};
use crate::metrics::Cut;

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
            let Some(conn) = self.conns.get_mut(id) else { continue };
            match conn.phase.due(now_ms) {
                Due::Nothing => {}
                Due::Ping => self.hub.send(id, Outgoing::Ping, &[], now_ms),
                Due::Answer => self.release(id),
                Due::Forget => self.forget(id),
                Due::Cut(Cut::MessageTimeout) => {
                    self.close(id, CLOSE_POLICY, "message not finished in 30 s", Some(Cut::MessageTimeout));
                }
                Due::Cut(cut) => self.cut(id, cut),
            }
        }
        self.hub.sweep(now_ms);
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

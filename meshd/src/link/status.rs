//! How one transport stands, in words, and not more often than people read.
//!
//! A report becomes an event in the node's durable log, so presence that flickers is reported once a second
//! at most. A change of the state itself is never held back.

use std::time::Duration;

use meshlink_core::{LinkKind, TransportState, TransportStatus};
use tokio::time::Instant;

use crate::driver::LinkPort;

/// Between two reports of the same state.
const APART: Duration = Duration::from_secs(1);

/// The status line of one transport.
pub(super) struct StatusLine {
    port: LinkPort,
    kind: LinkKind,
    name: String,
    said: Option<TransportStatus>,
    next: Option<TransportStatus>,
    not_before: Instant,
}

impl StatusLine {
    pub(super) fn new(port: LinkPort, kind: LinkKind, name: String) -> Self {
        Self { port, kind, name, said: None, next: None, not_before: Instant::now() }
    }

    /// Says how it stands, now or as soon as it may.
    pub(super) fn set(&mut self, state: TransportState, detail: String, hint: Option<String>) {
        let status = TransportStatus { kind: self.kind, name: self.name.clone(), state, detail, hint };
        let urgent = self.said.as_ref().is_none_or(|said| said.state != state);
        self.next = Some(status);
        if urgent {
            self.not_before = Instant::now();
        }
        self.report_due();
    }

    /// When [`StatusLine::report_due`] has something to say.
    pub(super) fn due(&self) -> Option<Instant> {
        self.next.is_some().then_some(self.not_before)
    }

    pub(super) fn report_due(&mut self) {
        let now = Instant::now();
        if now < self.not_before {
            return;
        }
        if let Some(status) = self.next.take()
            && self.said.as_ref() != Some(&status)
        {
            // What follows a change of the state belongs to it: who is present, right after connecting.
            let news = self.said.as_ref().is_none_or(|said| said.state != status.state);
            self.not_before = if news { now } else { now + APART };
            self.port.report(status.clone());
            self.said = Some(status);
        }
    }
}

//! What was stored here and the neighbour has not been told yet.
//!
//! On a fast link an answer goes at once. On a slow one a frame for each costs a quarter of a short message, so answers go
//! at once only when none went lately, and then gather, to share a frame with what came meanwhile or with whatever else is
//! said (as delayed acknowledgements do, RFC 1122 section 4.2.3.2). So a single message is confirmed without delay, and a
//! burst costs few answers. Nothing gathers that is urgent, or so much that the neighbour's window could fill.

use crate::event::LinkKind;
use crate::id::IdPrefix;
use crate::limits::{ANSWERS_APART_MS, IN_FLIGHT_BYTES_MAX, IN_FLIGHT_MAX};

/// A part of the neighbour's window that may wait for its answer.
const WINDOW_PART: usize = 4;

/// See the module's text.
pub(super) struct Answers {
    apart_ms: u64,
    stored: Vec<IdPrefix>,
    /// Bytes of those bundles.
    bytes: u64,
    /// Until when they gather; `None`: no longer.
    gather_until_mono_ms: Option<u64>,
    went_mono_ms: Option<u64>,
}

impl Answers {
    pub(super) fn new(via: LinkKind) -> Self {
        let apart_ms = if via == LinkKind::Ble { ANSWERS_APART_MS } else { 0 };
        Self { apart_ms, stored: Vec::new(), bytes: 0, gather_until_mono_ms: None, went_mono_ms: None }
    }

    /// Takes in that a bundle of so many bytes is stored here.
    pub(super) fn add(&mut self, prefix: IdPrefix, bytes: u64, is_urgent: bool, now_mono_ms: u64) {
        let was_due = self.is_due();
        self.stored.push(prefix);
        self.bytes += bytes;
        let next_mono_ms = self.went_mono_ms.map_or(0, |went| went.saturating_add(self.apart_ms));
        let gathers = !was_due
            && !is_urgent
            && now_mono_ms < next_mono_ms
            && self.stored.len() < IN_FLIGHT_MAX / WINDOW_PART
            && self.bytes < IN_FLIGHT_BYTES_MAX / WINDOW_PART as u64;
        self.gather_until_mono_ms = gathers.then_some(next_mono_ms);
    }

    /// Whether there are some that go by themselves.
    pub(super) fn is_due(&self) -> bool {
        !self.stored.is_empty() && self.gather_until_mono_ms.is_none()
    }

    /// When [`Answers::on_timeout`] is due.
    pub(super) fn deadline(&self) -> Option<u64> {
        self.gather_until_mono_ms
    }

    pub(super) fn on_timeout(&mut self, now_mono_ms: u64) {
        self.gather_until_mono_ms.take_if(|until| now_mono_ms >= *until);
    }

    pub(super) fn len(&self) -> usize {
        self.stored.len()
    }

    /// Takes out as many as there is room for, since a frame goes now.
    pub(super) fn take(&mut self, room: usize, now_mono_ms: u64) -> Vec<IdPrefix> {
        let taken: Vec<IdPrefix> = self.stored.drain(..room.min(self.stored.len())).collect();
        if !taken.is_empty() {
            self.went_mono_ms = Some(now_mono_ms);
            self.bytes = 0;
            // What had no room goes with the next frame, at once.
            self.gather_until_mono_ms = None;
        }
        taken
    }
}

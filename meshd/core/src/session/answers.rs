//! What was stored here and the neighbour has not been told yet.
//!
//! On a fast link an answer goes at once. On a slow one a frame for each costs a quarter of a short message, so answers go
//! at once only when none went lately, and then gather, to share a frame with what came meanwhile or with whatever else is
//! said (as delayed acknowledgements do, RFC 1122 section 4.2.3.2). So a single message is confirmed without delay, and a
//! burst costs few answers. Nothing gathers that is urgent, or so much that the neighbour's window could fill.

use crate::event::LinkKind;
use crate::limits::{ANSWERS_APART_MS, IN_FLIGHT_BYTES_MAX, IN_FLIGHT_MAX};
use crate::wire::Run;

/// A part of the neighbour's window that may wait for its answer.
const WINDOW_PART: usize = 4;

/// See the module's text.
pub(super) struct Answers {
    apart_ms: u64,
    stored: Runs,
    /// Bytes of those bundles.
    bytes: u64,
    /// Until when they gather; `None`: no longer.
    gather_until_mono_ms: Option<u64>,
    went_mono_ms: Option<u64>,
}

impl Answers {
    pub(super) fn new(via: LinkKind) -> Self {
        let apart_ms = if via == LinkKind::Ble { ANSWERS_APART_MS } else { 0 };
        Self { apart_ms, stored: Runs::default(), bytes: 0, gather_until_mono_ms: None, went_mono_ms: None }
    }

    /// Takes in that the neighbour's bundle with this number, of so many bytes, is stored here.
    pub(super) fn add(&mut self, number: u64, bytes: u64, is_urgent: bool, now_mono_ms: u64) {
        let was_due = self.is_due();
        self.stored.add(number);
        self.bytes += bytes;
        let next_mono_ms = self.went_mono_ms.map_or(0, |went| went.saturating_add(self.apart_ms));
        let gathers = !was_due
            && !is_urgent
            && now_mono_ms < next_mono_ms
            && self.stored.count() < IN_FLIGHT_MAX / WINDOW_PART
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

    /// Of how many bundles.
    pub(super) fn count(&self) -> usize {
        self.stored.count()
    }

    /// Takes out as many as there is room for, since a frame goes now.
    pub(super) fn take(&mut self, room: usize, now_mono_ms: u64) -> Vec<Run> {
        let taken = self.stored.take(room);
        if !taken.is_empty() {
            self.went_mono_ms = Some(now_mono_ms);
            self.bytes = 0;
            // What had no room goes with the next frame, at once.
            self.gather_until_mono_ms = None;
        }
        taken
    }
}

/// Numbers of bundles to be answered, those next to each other together.
#[derive(Default)]
pub(super) struct Runs(Vec<Run>);

impl Runs {
    /// Takes in a number, higher than those before.
    pub(super) fn add(&mut self, number: u64) {
        let last = self.0.last().filter(|last| last.end() == number);
        let longer = last.and_then(|last| Run::new(last.first(), last.count() + 1));
        match (longer, self.0.last_mut()) {
            (Some(longer), Some(last)) => *last = longer,
            _ => self.0.extend(Run::new(number, 1)),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many numbers.
    pub(super) fn count(&self) -> usize {
        // They are counted one by one.
        self.0.iter().map(|run| run.count() as usize).sum()
    }

    /// Takes out the first runs, at most so many.
    pub(super) fn take(&mut self, runs: usize) -> Vec<Run> {
        self.0.drain(..runs.min(self.0.len())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_one_after_the_other_is_answered_together_and_a_gap_begins_anew() {
        let mut runs = Runs::default();
        [3, 4, 6, 7, 8, 10].into_iter().for_each(|number| runs.add(number));
        assert_eq!(runs.count(), 6);
        let run = |first, count| Run::new(first, count).unwrap();
        assert_eq!(runs.take(2), [run(3, 2), run(6, 3)]);
        assert_eq!((runs.take(9), runs.is_empty()), (vec![run(10, 1)], true));
    }
}

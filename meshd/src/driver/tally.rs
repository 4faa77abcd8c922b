//! What happened since the start, in numbers: for `/metrics`.
//!
//! Fed with what the node tells the outside anyway, so the core counts nothing for it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use meshlink_core::{CloseReason, Event, LinkKind, LinkStatus, NodeId};

/// Upper ends of the buckets for the length of an encounter, in seconds: passing by, a stop, a meal, a night.
pub const ENCOUNTER_BUCKETS_S: [f64; 6] = [10.0, 60.0, 300.0, 1800.0, 7200.0, 43200.0];
/// Upper ends of the buckets for a commit, in seconds: memory, SSD, good and bad SD cards.
pub const COMMIT_BUCKETS_S: [f64; 6] = [0.001, 0.005, 0.02, 0.1, 0.5, 2.0];

/// The numbers, shared between the node's thread and whoever shows them.
#[derive(Debug, Default)]
pub struct Tally(Mutex<Numbers>);

/// See [`Tally`].
#[derive(Debug, Default, Clone)]
pub struct Numbers {
    /// What links that are over have carried, by kind.
    pub past: BTreeMap<LinkKind, Carried>,
    /// How long encounters lasted that are over.
    pub encounters: Histogram<{ ENCOUNTER_BUCKETS_S.len() }>,
    /// Links that this node closed, by why.
    pub closes: BTreeMap<&'static str, u64>,
    /// How long commits took.
    pub commits: Histogram<{ COMMIT_BUCKETS_S.len() }>,
    /// Commits that failed.
    pub commits_failed: u64,
    /// Neighbours that are here, since when.
    here: BTreeMap<NodeId, u64>,
}

/// What links have carried.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Carried {
    /// How many links.
    pub links: u64,
    /// Bytes of frames.
    pub sent_bytes: u64,
    /// Bytes of frames.
    pub received_bytes: u64,
    /// Bundles.
    pub sent_bundles: u64,
    /// Bundles.
    pub received_bundles: u64,
}

impl Carried {
    /// Adds what a link has carried.
    pub fn add(&mut self, link: &LinkStatus) {
        self.links += 1;
        self.sent_bytes += link.sent_bytes;
        self.received_bytes += link.received_bytes;
        self.sent_bundles += link.sent_bundles;
        self.received_bundles += link.received_bundles;
    }
}

/// A distribution as Prometheus wants it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Histogram<const N: usize> {
    /// How many were at most as large as each bucket's upper end.
    pub up_to: [u64; N],
    /// How many in all.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
}

impl<const N: usize> Default for Histogram<N> {
    fn default() -> Self {
        Self { up_to: [0; N], count: 0, sum: 0.0 }
    }
}

impl<const N: usize> Histogram<N> {
    fn note(&mut self, value: f64, ends: &[f64; N]) {
        for (count, end) in self.up_to.iter_mut().zip(ends) {
            *count += u64::from(value <= *end);
        }
        self.count += 1;
        self.sum += value;
    }
}

impl Tally {
    /// The numbers as they are now.
    pub fn numbers(&self) -> Numbers {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Numbers> {
        self.0.lock().expect("nothing panics while it holds this lock")
    }

    pub(super) fn event(&self, event: &Event, mono_ms: u64) {
        match event {
            Event::LinkDown { link } => self.lock().past.entry(link.kind).or_default().add(link),
            Event::PeerUp { peer } => {
                self.lock().here.insert(*peer, mono_ms);
            }
            Event::PeerDown { peer } => {
                let mut numbers = self.lock();
                if let Some(since) = numbers.here.remove(peer) {
                    let lasted = Duration::from_millis(mono_ms.saturating_sub(since));
                    numbers.encounters.note(lasted.as_secs_f64(), &ENCOUNTER_BUCKETS_S);
                }
            }
            Event::LinkUp { .. }
            | Event::Transport { .. }
            | Event::MessageNew { .. }
            | Event::MessageStatus { .. }
            | Event::ContactChanged { .. }
            | Event::GroupChanged { .. } => {}
        }
    }

    pub(super) fn closed(&self, why: &CloseReason) {
        *self.lock().closes.entry(label(why)).or_default() += 1;
    }

    pub(super) fn committed(&self, took: Duration, worked: bool) {
        let mut numbers = self.lock();
        numbers.commits.note(took.as_secs_f64(), &COMMIT_BUCKETS_S);
        numbers.commits_failed += u64::from(!worked);
    }
}

/// A reason as a label; details are for the log.
fn label(why: &CloseReason) -> &'static str {
    match why {
        CloseReason::SelfLink => "self_link",
        CloseReason::Twin => "twin",
        CloseReason::Blocked => "blocked",
        CloseReason::Duplicate => "duplicate",
        CloseReason::Replaced => "replaced",
        CloseReason::NoCommonVersion => "no_common_version",
        CloseReason::HandshakeFailed(_) => "handshake_failed",
        CloseReason::HandshakeTimeout => "handshake_timeout",
        CloseReason::Stalled => "stalled",
        CloseReason::Protocol(_) => "protocol",
        CloseReason::InvalidBundles => "invalid_bundles",
        CloseReason::TooManyLinks => "too_many_links",
        CloseReason::StoreFailed => "store_failed",
        CloseReason::OtherIdentity => "other_identity",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encounter_is_counted_when_it_is_over_in_every_bucket_it_fits() {
        let tally = Tally::default();
        let peer = NodeId([1; 20]);
        tally.event(&Event::PeerUp { peer }, 1_000);
        assert_eq!(tally.numbers().encounters.count, 0);
        tally.event(&Event::PeerDown { peer }, 46_000);
        // One that was here before the start has no known length.
        tally.event(&Event::PeerDown { peer: NodeId([2; 20]) }, 46_000);
        let encounters = tally.numbers().encounters;
        assert_eq!((encounters.count, encounters.up_to, encounters.sum), (1, [0, 1, 1, 1, 1, 1], 45.0));
    }

    #[test]
    fn closes_are_counted_by_why_without_their_details() {
        let tally = Tally::default();
        tally.closed(&CloseReason::Protocol("one thing"));
        tally.closed(&CloseReason::Protocol("another"));
        assert_eq!(tally.numbers().closes, BTreeMap::from([("protocol", 2)]));
    }
}

//! Nodes that the user named: dialled for as long as the daemon runs. Pure but for the clock it is given.

use std::time::Duration;

use tokio::time::Instant;

use super::LanPeer;
use super::pause::Pause;

/// A node that is linked already is looked after again after this.
const MET: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Entry {
    peer: LanPeer,
    pause: Pause,
    not_before: Instant,
    busy: bool,
    /// It is this node itself.
    is_self: bool,
}

/// All of them, by number.
#[derive(Debug)]
pub(super) struct Named(Vec<Entry>);

impl Named {
    pub(super) fn new(peers: Vec<LanPeer>, now: Instant) -> Self {
        let entry =
            |peer| Entry { peer, pause: Pause::default(), not_before: now, busy: false, is_self: false };
        Self(peers.into_iter().map(entry).collect())
    }

    /// One to dial now.
    pub(super) fn due(&self, now: Instant) -> Option<(usize, &LanPeer)> {
        let entries = self.0.iter().enumerate();
        entries
            .filter(|(_, entry)| entry.waits() && entry.not_before <= now)
            .map(|(number, entry)| (number, &entry.peer))
            .next()
    }

    /// When one is to be dialled.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.iter().filter(|entry| entry.waits()).map(|entry| entry.not_before).min()
    }

    pub(super) fn dialling(&mut self, number: usize) {
        self.0[number].busy = true;
    }

    /// Its connection, or the try to make one, is over.
    pub(super) fn ended(&mut self, number: usize, lasted: Duration, now: Instant, chance: f64) {
        let entry = &mut self.0[number];
        entry.busy = false;
        entry.pause.lasted(lasted);
        entry.not_before = entry.not_before.max(now + entry.pause.failed(chance));
    }

    /// There is a connection with it already.
    pub(super) fn is_met(&mut self, number: usize, now: Instant) {
        let entry = &mut self.0[number];
        entry.pause = Pause::default();
        entry.not_before = now + MET;
    }

    /// The user named this node to itself, as the same list on every node does.
    pub(super) fn is_self(&mut self, number: usize) {
        self.0[number].is_self = true;
    }

    /// The network changed: all are worth a try now.
    pub(super) fn try_all(&mut self, now: Instant) {
        for entry in &mut self.0 {
            entry.not_before = entry.not_before.min(now);
            entry.pause = Pause::default();
        }
    }
}

impl Entry {
    fn waits(&self) -> bool {
        !self.busy && !self.is_self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(now: Instant) -> Named {
        Named::new(vec!["a:1".parse().unwrap(), "b:2".parse().unwrap()], now)
    }

    #[tokio::test]
    async fn each_is_dialled_at_once_and_again_after_a_pause() {
        let now = Instant::now();
        let mut named = named(now);
        for number in [0, 1] {
            assert_eq!(named.due(now).unwrap().0, number);
            named.dialling(number);
        }
        assert_eq!((named.due(now), named.next()), (None, None));
        named.ended(1, Duration::ZERO, now, 1.0);
        assert_eq!(named.due(now), None);
        assert_eq!(named.due(now + Duration::from_secs(1)).unwrap().0, 1);
    }

    #[tokio::test]
    async fn this_node_itself_is_not_dialled_twice() {
        let now = Instant::now();
        let mut named = named(now);
        named.dialling(0);
        named.is_self(0);
        named.ended(0, Duration::ZERO, now, 1.0);
        named.try_all(now);
        assert_eq!(named.due(now).unwrap().0, 1);
    }

    #[tokio::test]
    async fn one_that_is_met_already_is_left_alone_for_a_minute() {
        let now = Instant::now();
        let mut named = named(now);
        named.dialling(1);
        named.dialling(0);
        named.is_met(0, now);
        named.ended(0, Duration::ZERO, now, 1.0);
        assert_eq!(named.next(), Some(now + MET));
    }
}

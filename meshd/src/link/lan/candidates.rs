//! Nodes that were heard of and may be dialled: who, where, and when. Pure: `now` and chance are arguments.
//!
//! **Who dials.** Of two nodes the one with the smaller name, at once; the other one too if nothing came for
//! some seconds, in case the first can't (a firewall, a packet that was lost).
//!
//! Everything here comes from packets that anybody on the network may make up. So the table is bounded, one
//! machine fills only a few of its rows, a machine can take back only what it said itself, and whoever does not
//! answer is left alone for longer and longer and then forgotten (threats B-01, B-05).

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::time::Instant;

use super::multicast::Advert;
use super::name::Name;
use super::pause::Pause;

/// Nodes remembered.
const CANDIDATES_MAX: usize = 256;
/// Nodes remembered that one machine announced.
const PER_MACHINE_MAX: usize = 8;
/// Addresses remembered of one node.
const ADDRESSES_MAX: usize = 4;
/// How long the node with the larger name waits for the other to dial.
const PATIENCE: Duration = Duration::from_secs(3);
/// After the network changed, all are dialled within this.
const SOON: Duration = Duration::from_secs(1);
/// After so many failures in a row it is worth a word that a node can't be reached.
const UNREACHABLE: u32 = 3;
/// After so many failures in a row a node is forgotten until it is heard again: about half an hour.
const FAILURES_MAX: u32 = 14;

/// A node that was heard.
#[derive(Debug)]
struct Candidate {
    addresses: Vec<SocketAddr>,
    /// Good until then, unless it is heard again.
    until: Instant,
    ours_to_dial: bool,
    not_before: Instant,
    pause: Pause,
    /// Being dialled.
    busy: bool,
    /// Connections that are with it.
    links: u32,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    known: BTreeMap<Name, Candidate>,
}

impl Candidates {
    /// How many nodes were heard, have no link, and could not be reached when it was tried.
    pub(super) fn unreachable(&self) -> usize {
        self.known.values().filter(|c| c.links == 0 && c.pause.failures >= UNREACHABLE).count()
    }

    /// A node was heard. `own` is this node's name at the moment.
    pub(super) fn heard(&mut self, advert: &Advert, own: Name, now: Instant, chance: f64) {
        let Advert { instance, address } = *advert;
        if instance.ttl_s == 0 {
            return self.left(instance.name, address.ip());
        }
        let until = now + Duration::from_secs(instance.ttl_s.into());
        if !self.known.contains_key(&instance.name) && !self.has_room(address.ip(), now) {
            return;
        }
        let ours_to_dial = own < instance.name;
        let patience = if ours_to_dial { Duration::ZERO } else { PATIENCE + PATIENCE.mul_f64(chance) };
        let candidate = self.known.entry(instance.name).or_insert_with(|| Candidate {
            addresses: Vec::new(),
            until,
            ours_to_dial,
            not_before: now + patience,
            pause: Pause::default(),
            busy: false,
            links: 0,
        });
        candidate.until = candidate.until.max(until);
        if candidate.addresses.contains(&address) {
            return;
        }
        // A machine that listens elsewhere now.
        candidate.addresses.retain(|other| other.ip() != address.ip());
        if candidate.addresses.len() < ADDRESSES_MAX {
            candidate.addresses.push(address);
        }
    }

    /// Room for one more of this machine, made if need be.
    fn has_room(&mut self, machine: IpAddr, now: Instant) -> bool {
        self.forget(now);
        let of_it = self.known.values().filter(|c| c.is_at(machine)).count();
        if of_it >= PER_MACHINE_MAX {
            return false;
        }
        if self.known.len() < CANDIDATES_MAX {
            return true;
        }
        let idle = self.known.iter().filter(|(_, c)| c.is_idle());
        let worst = idle.max_by_key(|(_, c)| c.pause.failures).map(|(name, _)| *name);
        worst.is_some_and(|name| self.known.remove(&name).is_some())
    }

    /// A machine says that the node is not there any more.
    fn left(&mut self, name: Name, machine: IpAddr) {
        let Some(candidate) = self.known.get_mut(&name) else { return };
        candidate.addresses.retain(|address| address.ip() != machine);
        if candidate.addresses.is_empty() && candidate.is_idle() {
            self.known.remove(&name);
        }
    }

    /// Drops whoever was not heard for too long, or never answers.
    pub(super) fn forget(&mut self, now: Instant) {
        self.known.retain(|_, c| {
            !c.is_idle() || c.until > now && c.pause.failures < FAILURES_MAX && !c.addresses.is_empty()
        });
    }

    /// A node to dial now, at random if `shuffle` is, and where it was heard; each failure begins with another
    /// address.
    pub(super) fn due(
        &self,
        now: Instant,
        shuffle: impl Fn(usize) -> usize,
    ) -> Option<(Name, Vec<SocketAddr>)> {
        let due: Vec<_> = self.known.iter().filter(|(_, c)| c.waits() && c.not_before <= now).collect();
        let (name, candidate) = due.get(shuffle(due.len()))?;
        let mut addresses = candidate.addresses.clone();
        addresses.rotate_left(candidate.pause.failures as usize % candidate.addresses.len());
        Some((**name, addresses))
    }

    /// When somebody is to be dialled.
    pub(super) fn next(&self) -> Option<Instant> {
        self.known.values().filter(|c| c.waits()).map(|c| c.not_before).min()
    }

    /// It is being dialled.
    pub(super) fn dialling(&mut self, name: Name) {
        if let Some(candidate) = self.known.get_mut(&name) {
            candidate.busy = true;
        }
    }

    /// Dialling is over, well or not; [`Candidates::linked`] or [`Candidates::failed`] say which.
    pub(super) fn dialled(&mut self, name: Name) {
        if let Some(candidate) = self.known.get_mut(&name) {
            candidate.busy = false;
        }
    }

    /// There is a connection with it, from or to this address; whoever claims the name from a machine that
    /// never announced it does not count.
    pub(super) fn linked(&mut self, name: Name, machine: IpAddr) -> bool {
        let candidate = self.known.get_mut(&name).filter(|c| c.is_at(machine));
        let Some(candidate) = candidate else { return false };
        candidate.links += 1;
        true
    }

    /// A connection that counted as [`Candidates::linked`] ended after `lasted`.
    pub(super) fn unlinked(&mut self, name: Name, lasted: Duration, now: Instant, chance: f64) {
        let Some(candidate) = self.known.get_mut(&name) else { return };
        candidate.links = candidate.links.saturating_sub(1);
        candidate.pause.lasted(lasted);
        candidate.wait(now, chance);
    }

    /// It could not be reached.
    pub(super) fn failed(&mut self, name: Name, now: Instant, chance: f64) {
        if let Some(candidate) = self.known.get_mut(&name) {
            candidate.wait(now, chance);
        }
    }

    /// The network changed: everybody is worth a try now.
    pub(super) fn try_all(&mut self, now: Instant, chance: f64) {
        for candidate in self.known.values_mut() {
            let soon = now + SOON.mul_f64(chance);
            candidate.not_before = candidate.not_before.min(soon);
            candidate.pause = Pause::default();
        }
    }
}

impl Candidate {
    fn is_at(&self, machine: IpAddr) -> bool {
        self.addresses.iter().any(|address| address.ip() == machine)
    }

    fn is_idle(&self) -> bool {
        self.links == 0 && !self.busy
    }

    /// Nothing is there and nothing is on its way.
    fn waits(&self) -> bool {
        self.is_idle() && !self.addresses.is_empty()
    }

    fn wait(&mut self, now: Instant, chance: f64) {
        let patience = if self.ours_to_dial { Duration::ZERO } else { PATIENCE };
        self.not_before = now + self.pause.failed(chance) + patience;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::lan::dns::Instance;
    use crate::link::lan::pause::PAUSE_MAX;

    fn name(letter: char) -> Name {
        Name::parse(letter.to_string().repeat(16).as_bytes()).unwrap()
    }

    fn numbered(n: usize) -> Name {
        let letter = |shift: usize| char::from(b'a' + (n >> shift & 15) as u8);
        Name::parse(format!("{}{}{}aaaaaaaaaaaaa", letter(8), letter(4), letter(0)).as_bytes()).unwrap()
    }

    fn at(machine: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, machine], 4000))
    }

    fn advert(name: Name, address: SocketAddr) -> Advert {
        Advert { instance: Instance { name, port: address.port(), ttl_s: 4500 }, address }
    }

    fn bye(name: Name, address: SocketAddr) -> Advert {
        Advert { instance: Instance { name, port: 0, ttl_s: 0 }, address }
    }

    fn first(_: usize) -> usize {
        0
    }

    #[tokio::test]
    async fn the_smaller_name_dials_at_once_and_the_larger_is_patient() {
        let now = Instant::now();
        let mut candidates = Candidates::default();
        candidates.heard(&advert(name('m'), at(1)), name('a'), now, 0.0);
        assert_eq!(candidates.due(now, first), Some((name('m'), vec![at(1)])));
        let mut candidates = Candidates::default();
        candidates.heard(&advert(name('m'), at(1)), name('z'), now, 0.0);
        assert_eq!(candidates.due(now, first), None);
        assert_eq!(candidates.next(), Some(now + PATIENCE));
        assert!(candidates.due(now + PATIENCE, first).is_some());
    }

    #[tokio::test]
    async fn a_node_with_a_link_is_not_dialled() {
        let now = Instant::now();
        let mut candidates = Candidates::default();
        candidates.heard(&advert(name('m'), at(1)), name('a'), now, 0.0);
        candidates.dialling(name('m'));
        assert_eq!(candidates.due(now, first), None);
        candidates.dialled(name('m'));
        assert!(candidates.linked(name('m'), at(1).ip()));
        assert_eq!((candidates.due(now, first), candidates.next()), (None, None));
        candidates.unlinked(name('m'), Duration::from_secs(60), now, 1.0);
        assert_eq!(candidates.next(), Some(now + SOON));
    }

    #[tokio::test]
    async fn b05_whoever_does_not_answer_is_left_alone_longer_and_longer_and_then_forgotten() {
        let mut now = Instant::now();
        let mut candidates = Candidates::default();
        candidates.heard(&advert(name('m'), at(1)), name('a'), now, 0.0);
        let mut pauses = Vec::new();
        while let Some((dialled, _)) = candidates.due(now, first) {
            candidates.failed(dialled, now, 1.0);
            candidates.forget(now);
            let Some(next) = candidates.next() else { break };
            pauses.push(next.duration_since(now).as_secs());
            now = next;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300, 300]);
        assert_eq!(candidates.known.len(), 0);
    }

    #[tokio::test]
    async fn each_failure_begins_with_another_address() {
        let now = Instant::now();
        let mut candidates = Candidates::default();
        candidates.heard(&advert(name('m'), at(1)), name('a'), now, 0.0);
        candidates.heard(&advert(name('m'), at(2)), name('a'), now, 0.0);
        assert_eq!(candidates.due(now, first), Some((name('m'), vec![at(1), at(2)])));
        candidates.failed(name('m'), now, 0.0);
        assert_eq!(candidates.due(now + PAUSE_MAX, first), Some((name('m'), vec![at(2), at(1)])));
    }

    #[tokio::test]
    async fn a_port_that_changed_replaces_the_old_one() {
        let now = Instant::now();
        let mut candidates = Candidates::default();
        candidates.heard(&advert(name('m'), at(1)), name('a'), now, 0.0);
        let moved = SocketAddr::new(at(1).ip(), 4001);
        candidates.heard(&advert(name('m'), moved), name('a'), now, 0.0);
        assert_eq!(candidates.due(now, first), Some((name('m'), vec![moved])));
    }

    #[tokio::test]
    async fn b01_only_a_machine_itself_takes_back_what_it_announced() {
        let now = Instant::now();
        let mut candidates = Candidates::default();
        candidates.heard(&advert(name('m'), at(1)), name('a'), now, 0.0);
        candidates.heard(&bye(name('m'), at(66)), name('a'), now, 0.0);
        assert_eq!(candidates.known.len(), 1);
        candidates.heard(&bye(name('m'), at(1)), name('a'), now, 0.0);
        assert_eq!(candidates.known.len(), 0);
    }

    #[tokio::test]
    async fn b01_a_name_claimed_from_elsewhere_keeps_nobody_from_dialling() {
        let now = Instant::now();
        let mut candidates = Candidates::default();
        candidates.heard(&advert(name('m'), at(1)), name('a'), now, 0.0);
        assert!(!candidates.linked(name('m'), at(66).ip()));
        assert!(candidates.due(now, first).is_some());
    }

    #[tokio::test]
    async fn b01_fake_announcements_fill_a_machines_share_and_no_more() {
        let now = Instant::now();
        let mut candidates = Candidates::default();
        for n in 0..1000 {
            candidates.heard(&advert(numbered(n), at(66)), name('a'), now, 0.0);
        }
        assert_eq!(candidates.known.len(), PER_MACHINE_MAX);
        candidates.heard(&advert(name('m'), at(1)), name('a'), now, 0.0);
        assert_eq!(candidates.known.len(), PER_MACHINE_MAX + 1);
    }

    #[tokio::test]
    async fn b01_a_full_table_gives_up_whoever_failed_most() {
        let now = Instant::now();
        let mut candidates = Candidates::default();
        for n in 0..CANDIDATES_MAX {
            candidates.heard(&advert(numbered(n), at((n / 4) as u8)), name('a'), now, 0.0);
        }
        candidates.failed(numbered(7), now, 0.0);
        candidates.heard(&advert(name('z'), at(200)), name('a'), now, 0.0);
        assert_eq!(candidates.known.len(), CANDIDATES_MAX);
        assert!(candidates.known.contains_key(&name('z')) && !candidates.known.contains_key(&numbered(7)));
    }

    #[tokio::test]
    async fn who_was_not_heard_for_its_time_is_forgotten() {
        let now = Instant::now();
        let mut candidates = Candidates::default();
        candidates.heard(&advert(name('m'), at(1)), name('a'), now, 0.0);
        candidates.forget(now + Duration::from_secs(4499));
        assert_eq!(candidates.known.len(), 1);
        candidates.forget(now + Duration::from_secs(4501));
        assert_eq!(candidates.known.len(), 0);
    }
}

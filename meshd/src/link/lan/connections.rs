//! The connections there are, and which of two with one node stays.
//!
//! Two connections with one node that end at one machine say the same thing twice. **Both dialled**: each sees
//! the other's hello while its own dialling is young, and the one of the smaller name stays; both sides come to
//! the same. **A new one comes in although there is an old one**: the node lost the old one and this side has
//! not noticed, so the new one stays. **This side dialled although there is one**: the new one goes.
//!
//! A connection of the same name from another machine's address is left alone, since names prove nothing; if it
//! is the same node on another network, the node lets one work and the other stand by.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::admission::Id;
use super::name::Name;

/// A connection this young may have met another one on its way.
const YOUNG: Duration = Duration::from_secs(3);

/// Why there is a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// This side dialled whom it heard.
    Heard(Name),
    /// This side dialled whom the user named, by number.
    Named(usize),
    /// The other side dialled.
    Inbound,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Connecting,
    /// Connected; if this side dialled, its hello is out.
    Greeting,
    Linked,
}

/// One connection.
pub(super) struct Connection {
    pub(super) origin: Origin,
    pub(super) stage: Stage,
    /// Where the other side is, once connected.
    pub(super) machine: Option<IpAddr>,
    /// Own address, once connected.
    pub(super) local: Option<IpAddr>,
    /// What the other side calls itself.
    pub(super) name: Option<Name>,
    /// Counted among the links of a candidate.
    pub(super) is_counted: bool,
    pub(super) since: Instant,
    /// Ends the task that is at work on it.
    pub(super) task: Option<AbortHandle>,
}

impl Connection {
    pub(super) fn new(origin: Origin, now: Instant) -> Self {
        let stage = if origin == Origin::Inbound { Stage::Greeting } else { Stage::Connecting };
        Self {
            origin,
            stage,
            machine: None,
            local: None,
            name: None,
            is_counted: false,
            since: now,
            task: None,
        }
    }

    pub(super) fn is_dialled(&self) -> bool {
        self.origin != Origin::Inbound
    }

    /// Whether it is, or will be, with this node at this machine.
    fn is_with(&self, name: Name, machine: IpAddr) -> bool {
        match (self.name, self.origin) {
            (Some(other), _) => other == name && self.machine == Some(machine),
            // Not greeted yet: what was heard has to do.
            (None, Origin::Heard(other)) => other == name,
            (None, Origin::Named(_) | Origin::Inbound) => false,
        }
    }
}

/// Which connections stay.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// The new one; these end.
    New(Vec<Id>),
    /// What there was.
    Old,
}

/// All connections.
#[derive(Default)]
pub(super) struct Connections {
    pub(super) all: BTreeMap<Id, Connection>,
}

impl Connections {
    /// The other side of a connection has said its name: which connections with that node stay?
    pub(super) fn settle(&self, id: Id, own: Name, now: Instant) -> Settled {
        let Some(new) = self.all.get(&id) else { return Settled::Old };
        let (Some(name), Some(machine)) = (new.name, new.machine) else { return Settled::Old };
        let others = self.all.iter().filter(|(other, c)| **other != id && c.is_with(name, machine));
        let mut end = Vec::new();
        for (&other, old) in others {
            let young = now.duration_since(old.since) < YOUNG;
            let stays = match (new.is_dialled(), old.is_dialled(), old.stage) {
                (true, _, Stage::Linked) => true,
                // Both are being dialled; whichever greets first.
                (true, _, Stage::Connecting | Stage::Greeting) => false,
                // No hello is out on it, so the other side does not count on it.
                (false, _, Stage::Connecting) => false,
                (false, true, Stage::Greeting) => own < name,
                (false, true, Stage::Linked) => young && own < name,
                (false, false, Stage::Greeting | Stage::Linked) => false,
            };
            if stays {
                return Settled::Old;
            }
            end.push(other);
        }
        Settled::New(end)
    }

    /// Connections that this side dialled, at whatever stage.
    pub(super) fn dialled(&self) -> impl Iterator<Item = (Id, &Connection)> {
        self.all.iter().filter(|(_, c)| c.is_dialled()).map(|(&id, c)| (id, c))
    }

    pub(super) fn count(&self, stage: Stage) -> usize {
        self.all.values().filter(|c| c.stage == stage).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(letter: char) -> Name {
        Name::parse(letter.to_string().repeat(16).as_bytes()).unwrap()
    }

    fn machine() -> IpAddr {
        IpAddr::from([10, 0, 0, 1])
    }

    fn with(origin: Origin, stage: Stage, since: Instant) -> Connection {
        let greeted = stage == Stage::Linked || origin == Origin::Inbound;
        let name = greeted.then(|| name('m'));
        Connection { stage, machine: Some(machine()), name, ..Connection::new(origin, since) }
    }

    fn settle(old: Connection, new: Connection, own: Name, now: Instant) -> Settled {
        let mut connections = Connections::default();
        connections.all.insert(1, old);
        connections.all.insert(2, new);
        connections.settle(2, own, now)
    }

    #[tokio::test]
    async fn both_dialled_the_smaller_names_stays_on_both_sides() {
        let now = Instant::now();
        for stage in [Stage::Greeting, Stage::Linked] {
            let dialled = || with(Origin::Heard(name('m')), stage, now);
            let came = || with(Origin::Inbound, Stage::Greeting, now);
            assert_eq!(settle(dialled(), came(), name('a'), now), Settled::Old);
            assert_eq!(settle(dialled(), came(), name('z'), now), Settled::New(vec![1]));
        }
    }

    #[tokio::test]
    async fn what_comes_in_beats_what_is_only_being_tried() {
        let now = Instant::now();
        let dialled = with(Origin::Heard(name('m')), Stage::Connecting, now);
        let came = with(Origin::Inbound, Stage::Greeting, now);
        assert_eq!(settle(dialled, came, name('a'), now), Settled::New(vec![1]));
    }

    #[tokio::test]
    async fn a_node_that_comes_again_has_lost_the_old_one() {
        let now = Instant::now();
        for origin in [Origin::Heard(name('m')), Origin::Named(0), Origin::Inbound] {
            let old = with(origin, Stage::Linked, now);
            let came = with(Origin::Inbound, Stage::Greeting, now + YOUNG);
            assert_eq!(settle(old, came, name('a'), now + YOUNG), Settled::New(vec![1]), "{origin:?}");
        }
    }

    #[tokio::test]
    async fn what_was_dialled_needlessly_goes() {
        let now = Instant::now();
        let old = with(Origin::Inbound, Stage::Linked, now);
        let mut dialled = with(Origin::Named(0), Stage::Greeting, now);
        dialled.name = Some(name('m'));
        assert_eq!(settle(old, dialled, name('a'), now), Settled::Old);
    }

    #[tokio::test]
    async fn another_node_or_another_machine_is_no_rival() {
        let now = Instant::now();
        let mut other = with(Origin::Inbound, Stage::Linked, now);
        other.name = Some(name('x'));
        let came = with(Origin::Inbound, Stage::Greeting, now);
        assert_eq!(settle(other, came, name('a'), now), Settled::New(vec![]));
        let mut elsewhere = with(Origin::Inbound, Stage::Linked, now);
        elsewhere.machine = Some(IpAddr::from([10, 0, 1, 1]));
        let came = with(Origin::Inbound, Stage::Greeting, now);
        assert_eq!(settle(elsewhere, came, name('a'), now), Settled::New(vec![]));
    }
}

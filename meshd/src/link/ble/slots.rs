//! Connection slots: how many links an adapter has, and who goes when somebody waits.
//!
//! Controllers carry few connections, some only seven. Part of the slots is for our own dials alone, so that
//! callers can't hold them all (threat B-03). While somebody waits, a link on which nothing moved for
//! [`IDLE_FOR`] is cut, else the oldest one that had its [`TURN`].

use std::collections::BTreeMap;
use std::time::Duration;

use super::candidates::Address;

/// Links on one adapter.
pub(crate) const LINKS_MAX: usize = 7;
/// Of them, links that others made; as many lanes are offered.
pub(crate) const CALLERS_MAX: usize = 4;
/// A link on which no frame moved for this long gives way.
const IDLE_FOR: Duration = Duration::from_secs(30);
/// Every link may last this long, however many wait.
const TURN: Duration = Duration::from_secs(120);

/// A link's address and direction: both sides may have dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    /// Whose it is.
    pub(crate) address: Address,
    /// Whether we made it.
    pub(crate) dialled: bool,
}

#[derive(Debug, Clone, Copy)]
struct Link {
    since: Duration,
    moved: Duration,
}

/// The links of one adapter.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    links: BTreeMap<Key, Link>,
}

impl Slots {
    /// Whether there is room for a dial.
    pub(crate) fn may_dial(&self) -> bool {
        self.links.len() < LINKS_MAX
    }

    /// Whether there is room for a caller.
    pub(crate) fn may_accept(&self) -> bool {
        self.may_dial() && self.callers() < CALLERS_MAX
    }

    /// Takes a slot.
    pub(crate) fn add(&mut self, key: Key, now: Duration) {
        self.links.insert(key, Link { since: now, moved: now });
    }

    /// Gives a slot back.
    pub(crate) fn remove(&mut self, key: &Key) {
        self.links.remove(key);
    }

    /// Whether there is a link to that address, whoever made it.
    pub(crate) fn has(&self, address: &Address) -> bool {
        self.links.keys().any(|key| key.address == *address)
    }

    /// Whether there is another link to that address than this one.
    pub(crate) fn has_besides(&self, key: &Key) -> bool {
        self.links.keys().any(|other| other.address == key.address && other != key)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.links.len()
    }

    /// A frame moved on a link.
    pub(crate) fn moved(&mut self, key: &Key, now: Duration) {
        if let Some(link) = self.links.get_mut(key) {
            link.moved = now;
        }
    }

    /// Who has to go because somebody waits; nobody while all are busy and young. For a caller that waits, only
    /// a caller's link helps.
    pub(crate) fn victim(&self, for_caller: bool, now: Duration) -> Option<Key> {
        let eligible = || self.links.iter().filter(move |(key, _)| !for_caller || !key.dialled);
        let idle =
            eligible().filter(|(_, link)| link.moved + IDLE_FOR <= now).min_by_key(|(_, link)| link.moved);
        let had_turn =
            || eligible().filter(|(_, link)| link.since + TURN <= now).min_by_key(|(_, link)| link.since);
        idle.or_else(had_turn).map(|(key, _)| *key)
    }

    fn callers(&self) -> usize {
        self.links.keys().filter(|key| !key.dialled).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn secs(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    fn key(n: u8, dialled: bool) -> Key {
        Key { address: [n; 6], dialled }
    }

    #[test]
    fn b03_callers_never_hold_every_slot() {
        let mut slots = Slots::default();
        for n in 0..CALLERS_MAX as u8 {
            assert!(slots.may_accept());
            slots.add(key(n, false), secs(0));
        }
        assert!(!slots.may_accept());
        assert!(slots.may_dial());
    }

    #[test]
    fn b03_idle_links_go_first_then_the_oldest_and_busy_young_ones_stay() {
        let mut slots = Slots::default();
        slots.add(key(1, true), secs(0));
        slots.add(key(2, false), secs(10));
        slots.moved(&key(1, true), secs(35));
        slots.moved(&key(2, false), secs(36));
        assert_eq!(slots.victim(false, secs(60)), None);
        assert_eq!(slots.victim(false, secs(65)), Some(key(1, true)));
        assert_eq!(slots.victim(true, secs(66)), Some(key(2, false)));
        slots.moved(&key(1, true), secs(129));
        slots.moved(&key(2, false), secs(129));
        assert_eq!(slots.victim(false, secs(129)), Some(key(1, true)), "it had its turn");
        assert_eq!(slots.victim(true, secs(129)), None);
    }

    proptest! {
        #[test]
        fn b03_a_victim_is_a_link_and_within_limits_there_is_room(
            steps in prop::collection::vec((0..3u8, 0..12u8, any::<bool>(), 0..40u64), 0..80),
        ) {
            let (mut slots, mut now) = (Slots::default(), secs(0));
            for (what, who, dialled, pass) in steps {
                now += secs(pass);
                let key = key(who, dialled);
                match what {
                    0 if slots.links.contains_key(&key) => slots.moved(&key, now),
                    0 if if dialled { slots.may_dial() } else { slots.may_accept() } => slots.add(key, now),
                    1 => slots.remove(&key),
                    _ => {}
                }
                prop_assert!(slots.len() <= LINKS_MAX && slots.callers() <= CALLERS_MAX);
                if let Some(victim) = slots.victim(false, now) {
                    prop_assert!(slots.has(&victim.address));
                }
            }
        }
    }
}

//! Connection slots: how many links an adapter has, and who goes when somebody waits.
//!
//! Controllers carry few connections, some only seven. Part of the slots is for our own dials alone, so that
//! callers can't hold them all (threat B-03). While somebody waits, a link on which nothing moved for
//! [`IDLE_FOR`] is cut, else the oldest one that had its [`TURN`].
//!
//! Who has contacts keeps one slot for them: a contact's only link is never cut for others, and while strangers
//! hold all slots the one that came last has [`TRIAL`], which is enough to show who it is.

use std::collections::BTreeMap;
use std::time::Duration;

use super::candidates::Address;
use super::limits::SlotLimits;

/// A link on which no frame moved for this long gives way.
const IDLE_FOR: Duration = Duration::from_secs(30);
/// Every link may last this long, however many wait.
const TURN: Duration = Duration::from_secs(120);
/// What a stranger has at least of the slot that is kept for contacts.
const TRIAL: Duration = Duration::from_secs(10);

/// What a neighbour is to us, as far as the handshake has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Who {
    /// Not known yet, or nobody the user has chosen.
    #[default]
    Stranger,
    /// A contact of the user's.
    Contact,
}

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
    who: Who,
}

/// The links of one adapter.
#[derive(Debug)]
pub(crate) struct Slots {
    limits: SlotLimits,
    links: BTreeMap<Key, Link>,
    /// Whether the user has contacts, for whom a slot is kept.
    has_contacts: bool,
}

impl Slots {
    pub(crate) fn new(limits: SlotLimits) -> Self {
        Self { limits, links: BTreeMap::new(), has_contacts: false }
    }

    /// Whether there is room for a dial, while so many callers have been offered a lane and not come yet.
    pub(crate) fn may_dial(&self, expected: usize) -> bool {
        self.links.len() + expected < usize::from(self.limits.links())
    }

    /// Whether there is room for a caller, while so many others have been offered a lane and not come yet, or are being
    /// dialled.
    pub(crate) fn may_accept(&self, expected: usize, dialling: usize) -> bool {
        self.links.len() + expected + dialling < usize::from(self.limits.links())
            && self.callers() + expected < usize::from(self.limits.callers())
    }

    /// Takes a slot.
    pub(crate) fn add(&mut self, key: Key, now: Duration) {
        self.links.insert(key, Link { since: now, moved: now, who: Who::default() });
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

    /// Whether the user has contacts, and who is at the other end of each link.
    pub(crate) fn known(&mut self, has_contacts: bool, who: impl Fn(&Key) -> Who) {
        self.has_contacts = has_contacts;
        for (key, link) in &mut self.links {
            link.who = who(key);
        }
    }

    /// Who has to go because somebody waits; nobody while all are busy and young. For a caller that waits, only
    /// a caller's link helps.
    pub(crate) fn victim(&self, for_caller: bool, now: Duration) -> Option<Key> {
        let contacts = self.links.values().filter(|link| link.who == Who::Contact).count();
        let stays =
            |key: &Key, link: &Link| for_caller && key.dialled || contacts == 1 && link.who == Who::Contact;
        let eligible = || self.links.iter().filter(|(key, link)| !stays(key, link));
        let idle =
            eligible().filter(|(_, link)| link.moved + IDLE_FOR <= now).min_by_key(|(_, link)| link.moved);
        let had_turn =
            || eligible().filter(|(_, link)| link.since + TURN <= now).min_by_key(|(_, link)| link.since);
        let in_kept_slot = || {
            let newest = eligible().max_by_key(|(_, link)| link.since);
            newest.filter(|(_, link)| self.has_contacts && contacts == 0 && link.since + TRIAL <= now)
        };
        idle.or_else(had_turn).or_else(in_kept_slot).map(|(key, _)| *key)
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
        let limits = SlotLimits::default();
        let mut slots = Slots::new(limits);
        for n in 0..limits.callers() {
            assert!(slots.may_accept(0, 0));
            slots.add(key(n, false), secs(0));
        }
        assert!(!slots.may_accept(0, 0));
        assert!(slots.may_dial(0));
    }

    #[test]
    fn b03_idle_links_go_first_then_the_oldest_and_busy_young_ones_stay() {
        let mut slots = Slots::new(SlotLimits::default());
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

    #[test]
    fn who_is_expected_counts() {
        let mut slots = Slots::new(SlotLimits::new(3, 2).unwrap());
        assert!(slots.may_dial(2) && !slots.may_dial(3));
        assert!(slots.may_accept(1, 1) && !slots.may_accept(1, 2) && !slots.may_accept(2, 0));
        slots.add(key(1, true), secs(0));
        assert!(slots.may_accept(0, 1) && !slots.may_accept(1, 1) && !slots.may_dial(2));
    }

    #[test]
    fn b03_strangers_do_not_keep_the_slot_for_contacts_and_a_contact_does() {
        let mut slots = Slots::new(SlotLimits::new(2, 1).unwrap());
        slots.add(key(1, true), secs(0));
        slots.add(key(2, false), secs(1));
        assert_eq!(slots.victim(false, secs(29)), None, "without contacts nothing is kept for them");
        slots.known(true, |_| Who::Stranger);
        assert_eq!(slots.victim(false, secs(10)), None, "it may show who it is");
        assert_eq!(slots.victim(false, secs(11)), Some(key(2, false)));
        let contact = |key: &Key| if key.dialled { Who::Stranger } else { Who::Contact };
        slots.known(true, contact);
        assert_eq!(slots.victim(false, secs(29)), None, "the slot is a contact's");
        slots.moved(&key(1, true), secs(200));
        assert_eq!(slots.victim(false, secs(200)), Some(key(1, true)), "the stranger had its turn");
        assert_eq!(slots.victim(true, secs(200)), None, "a contact's only link stays");
    }

    proptest! {
        #[test]
        fn b03_a_victim_is_a_link_and_within_limits_there_is_room(
            steps in prop::collection::vec((0..3u8, 0..12u8, any::<bool>(), 0..40u64), 0..80),
        ) {
            let limits = SlotLimits::default();
            let (mut slots, mut now) = (Slots::new(limits), secs(0));
            for (what, who, dialled, pass) in steps {
                now += secs(pass);
                let key = key(who, dialled);
                match what {
                    0 if slots.links.contains_key(&key) => slots.moved(&key, now),
                    0 if if dialled { slots.may_dial(0) } else { slots.may_accept(0, 0) } => slots.add(key, now),
                    1 => slots.remove(&key),
                    _ => {}
                }
                prop_assert!(slots.len() <= usize::from(limits.links()) && slots.callers() <= usize::from(limits.callers()));
                if let Some(victim) = slots.victim(false, now) {
                    prop_assert!(slots.has(&victim.address));
                }
            }
        }
    }
}

//! Who was heard and is worth a dial, and when.
//!
//! The table is bounded whatever is on the air (threat B-01): a new address takes the place of the one unheard
//! longest. Dials are due by rule, so that of two nodes one dials and the other waits, and an address that
//! wasted a link is left alone for longer and longer (threat B-04). Time and dice are arguments.

use std::collections::BTreeMap;
use std::time::Duration;

use super::beacon::{Beacon, Fingerprint};

/// A device address; the last byte in it is the first one written.
pub(crate) type Address = [u8; 6];

/// Addresses remembered.
pub(crate) const CANDIDATES_MAX: usize = 256;
/// Who was heard this long ago may be gone: a dial would only block the radio, and BlueZ forgets it about then.
const HEARD_FOR: Duration = Duration::from_secs(30);
/// Who has connected to us gets this long to become a link before we dial it ourselves.
const CALL: Duration = Duration::from_secs(10);
/// The node with the larger beacon waits this long for the other's dial, and up to [`JITTER`] more.
const WAIT_FOR_DIAL: Duration = Duration::from_secs(2);
const JITTER: Duration = Duration::from_secs(1);
/// First and longest time for which an address that wasted a link is left alone.
const BACKOFF_MIN: Duration = Duration::from_secs(2);
const BACKOFF_MAX: Duration = Duration::from_secs(300);

/// What a controller that can't tell says, and every system passes on (Core Specification, Vol 4, Part E, 7.7.65.2).
const UNKNOWN_DBM: i16 = 127;

#[derive(Debug)]
struct Candidate {
    beacon: Option<Beacon>,
    /// When last; `None`: BlueZ remembers it, and it may be far away.
    heard: Option<Duration>,
    /// How strong its signal was.
    dbm: Option<i16>,
    /// When to dial; `None` while there is nothing to swap.
    dial_at: Option<Duration>,
    /// Links wasted in a row.
    wasted: u32,
    /// Dials in a row that did not become a link.
    missed: u32,
    /// Not dialled until then.
    not_before: Duration,
    /// Gets no lane until then, if it wasted more than one link.
    barred_until: Duration,
    /// It has connected to us, and may become a link until then.
    calls_until: Duration,
    linked: bool,
}

/// The addresses heard on one adapter.
#[derive(Debug, Default)]
pub(crate) struct Candidates {
    table: BTreeMap<Address, Candidate>,
}

/// What we say ourselves while we listen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ours {
    /// Our beacon.
    pub(crate) beacon: Beacon,
    /// What we hold.
    pub(crate) held: Fingerprint,
    /// Whether own messages wait for a neighbour to confirm that it has them. It may have confirmed, and the
    /// link broke: then equal stores have something to say to each other yet.
    pub(crate) unsettled: bool,
}

impl Candidates {
    /// Somebody was heard, with a beacon or with the one it had. Returns whether that says anything new. `dice` is
    /// random.
    pub(crate) fn heard(
        &mut self,
        address: Address,
        beacon: Option<Beacon>,
        ours: Ours,
        now: Duration,
        dice: u32,
    ) -> bool {
        if beacon.is_none() && !self.table.contains_key(&address) {
            return false;
        }
        let candidate = self.entry(address);
        let is_first = candidate.heard.replace(now).is_none();
        let before = candidate.beacon;
        candidate.beacon = beacon.or(before);
        if candidate.beacon.is_none() || candidate.beacon == before && !is_first {
            return false;
        }
        candidate.judge(ours, now, dice);
        true
    }

    /// Somebody had that beacon when it was last here.
    pub(crate) fn remember(&mut self, address: Address, beacon: Beacon) {
        let candidate = self.entry(address);
        (candidate.beacon, candidate.heard) = (Some(beacon), None);
    }

    /// Somebody has to be heard again before anything else.
    pub(crate) fn forget(&mut self, address: &Address) {
        if let Some(candidate) = self.table.get_mut(address) {
            candidate.heard = None;
        }
    }

    /// How strong somebody's signal is, or [`UNKNOWN_DBM`].
    pub(crate) fn measured(&mut self, address: &Address, dbm: i16) {
        if let Some(candidate) = self.table.get_mut(address) {
            candidate.dbm = Some(dbm).filter(|dbm| *dbm != UNKNOWN_DBM);
        }
    }

    /// How strong somebody's signal was when last heard, in dBm.
    pub(crate) fn dbm(&self, address: &Address) -> Option<i16> {
        self.table.get(address)?.dbm
    }

    /// Somebody has connected to us, or has gone.
    pub(crate) fn connected(&mut self, address: &Address, is: bool, now: Duration) {
        if let Some(candidate) = self.table.get_mut(address) {
            candidate.calls_until = if is { now + CALL } else { Duration::ZERO };
        }
    }

    /// What we hold or say has changed.
    pub(crate) fn ours_changed(&mut self, ours: Ours, now: Duration, dice: u32) {
        for candidate in self.table.values_mut() {
            let dial_at = candidate.dial_at;
            candidate.judge(ours, now, dice);
            // A store that changes all the time must not put a dial off for ever.
            if let (Some(before), Some(after)) = (dial_at, &mut candidate.dial_at) {
                *after = before.min(*after);
            }
        }
    }

    /// The next one to dial, if one is due: who has waited longest.
    pub(crate) fn due(&self, now: Duration) -> Option<Address> {
        self.dials(now).filter(|(at, _)| *at <= now).min().map(|(_, address)| address)
    }

    /// When the next one is due, if any is in sight.
    pub(crate) fn next_due(&self, now: Duration) -> Option<Duration> {
        self.dials(now).map(|(at, _)| at).min()
    }

    fn dials(&self, now: Duration) -> impl Iterator<Item = (Duration, Address)> {
        self.table.iter().filter_map(move |(address, candidate)| {
            let at = candidate.dial_at?.max(candidate.not_before).max(candidate.calls_until);
            (candidate.is_here(now) && !candidate.linked).then_some((at, *address))
        })
    }

    /// Whether a caller may have a lane now.
    pub(crate) fn may_call(&self, address: &Address, now: Duration) -> bool {
        self.table.get(address).is_none_or(|candidate| candidate.wasted < 2 || candidate.barred_until <= now)
    }

    /// Whether no dial of late came to nothing, and no link was of no use.
    pub(crate) fn is_promising(&self, address: &Address) -> bool {
        self.table.get(address).is_none_or(|candidate| candidate.wasted == 0 && candidate.missed == 0)
    }

    /// A link to that address is up, or is being made.
    pub(crate) fn link_up(&mut self, address: Address) {
        self.entry(address).linked = true;
    }

    /// The link to that address is over, or a caller never became one. If it was of no use, the address is left
    /// alone for a while, and its calls are refused.
    pub(crate) fn link_down(&mut self, address: Address, was_of_use: bool, now: Duration, dice: u32) {
        let candidate = self.entry(address);
        if was_of_use {
            (candidate.wasted, candidate.missed) = (0, 0);
        }
        candidate.leave_alone(now, dice);
        if !was_of_use {
            candidate.wasted += 1;
            candidate.barred_until = candidate.not_before;
        }
    }

    /// A dial did not become a link. It is tried again later and later; that our dials fail says nothing against
    /// its calls, which may be what works.
    pub(crate) fn dial_failed(&mut self, address: Address, now: Duration, dice: u32) {
        let candidate = self.entry(address);
        candidate.leave_alone(now, dice);
        candidate.missed += 1;
    }

    /// How many were heard of late.
    pub(crate) fn in_range(&self, now: Duration) -> usize {
        self.table.values().filter(|candidate| candidate.beacon.is_some() && candidate.is_here(now)).count()
    }

    fn entry(&mut self, address: Address) -> &mut Candidate {
        if !self.table.contains_key(&address) && self.table.len() >= CANDIDATES_MAX {
            let silent = |(_, candidate): &(&Address, &Candidate)| (candidate.linked, candidate.heard);
            if let Some(oldest) = self.table.iter().min_by_key(silent).map(|(address, _)| *address) {
                self.table.remove(&oldest);
            }
        }
        self.table.entry(address).or_insert(Candidate {
            beacon: None,
            heard: None,
            dbm: None,
            dial_at: None,
            wasted: 0,
            missed: 0,
            not_before: Duration::ZERO,
            barred_until: Duration::ZERO,
            calls_until: Duration::ZERO,
            linked: false,
        })
    }
}

impl Candidate {
    fn leave_alone(&mut self, now: Duration, dice: u32) {
        self.linked = false;
        self.calls_until = Duration::ZERO;
        let doubled = self.wasted.saturating_add(self.missed).min(8);
        let range = BACKOFF_MIN.saturating_mul(1 << doubled).min(BACKOFF_MAX);
        self.not_before = now + range / 2 + (range / 2).mul_f64(fraction(dice));
    }

    fn is_here(&self, now: Duration) -> bool {
        self.heard.is_some_and(|heard| heard + HEARD_FOR >= now)
    }

    fn judge(&mut self, ours: Ours, now: Duration, dice: u32) {
        let Some(theirs) = self.beacon else { return };
        self.dial_at = if theirs.holds_the_same(ours.held) && !ours.unsettled {
            None
        } else if ours.beacon < theirs {
            Some(now)
        } else {
            Some(now + WAIT_FOR_DIAL + JITTER.mul_f64(fraction(dice)))
        };
    }
}

fn fraction(dice: u32) -> f64 {
    f64::from(dice) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HELD: Fingerprint = Fingerprint([1; 16]);
    const OTHER: Fingerprint = Fingerprint([2; 16]);
    const START: Duration = Duration::from_secs(100);
    const A: Address = [1; 6];
    const B: Address = [2; 6];

    fn ours(first: u8) -> Ours {
        Ours { beacon: Beacon::new([first, 0, 0, 0], HELD), held: HELD, unsettled: false }
    }

    fn theirs(first: u8) -> Beacon {
        Beacon::new([first, 0, 0, 1], OTHER)
    }

    fn secs(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    #[test]
    fn the_smaller_beacon_dials_at_once_and_the_larger_waits() {
        let mut small = Candidates::default();
        assert!(small.heard(A, Some(theirs(9)), ours(1), START, 0));
        assert_eq!(small.due(START), Some(A));
        let mut large = Candidates::default();
        large.heard(A, Some(theirs(1)), ours(9), START, u32::MAX);
        assert_eq!(large.due(START), None);
        assert_eq!(large.next_due(START), Some(START + secs(3)));
        assert_eq!(large.due(START + secs(3)), Some(A));
    }

    #[test]
    fn a_strength_that_the_controller_does_not_know_is_no_strength() {
        let mut candidates = Candidates::default();
        candidates.heard(A, Some(theirs(1)), ours(9), START, 0);
        candidates.measured(&A, -60);
        assert_eq!(candidates.dbm(&A), Some(-60));
        candidates.measured(&A, 127);
        assert_eq!(candidates.dbm(&A), None, "an older one may be of another place");
    }

    #[test]
    fn hearing_the_same_again_changes_nothing() {
        let mut candidates = Candidates::default();
        candidates.heard(A, Some(theirs(1)), ours(9), START, 0);
        assert!(!candidates.heard(A, Some(theirs(1)), ours(9), START + secs(1), 0));
        assert_eq!(candidates.due(START + secs(2)), Some(A));
    }

    #[test]
    fn nobody_dials_who_holds_the_same_until_something_changes() {
        let mut candidates = Candidates::default();
        candidates.heard(A, Some(Beacon::new([7; 4], HELD)), ours(1), START, 0);
        assert_eq!(candidates.next_due(START), None);
        let changed = Ours { beacon: Beacon::new([1; 4], OTHER), held: OTHER, unsettled: false };
        candidates.ours_changed(changed, START, 0);
        assert_eq!(candidates.due(START), Some(A));
    }

    #[test]
    fn who_waits_for_a_confirmation_dials_who_holds_the_same() {
        let mut candidates = Candidates::default();
        candidates.heard(A, Some(Beacon::new([7; 4], HELD)), Ours { unsettled: true, ..ours(1) }, START, 0);
        assert_eq!(candidates.due(START), Some(A));
    }

    #[test]
    fn a_store_that_changes_all_the_time_puts_no_dial_off() {
        let mut candidates = Candidates::default();
        candidates.heard(A, Some(theirs(1)), ours(9), START, 0);
        for n in 1..20 {
            candidates.ours_changed(ours(9), START + Duration::from_millis(100 * n), 0);
        }
        assert_eq!(candidates.due(START + secs(2)), Some(A));
    }

    #[test]
    fn who_was_not_heard_lately_is_not_dialled() {
        let mut candidates = Candidates::default();
        candidates.heard(A, Some(theirs(9)), ours(1), START, 0);
        assert_eq!(candidates.in_range(START + HEARD_FOR), 1);
        assert_eq!(candidates.due(START + HEARD_FOR + secs(1)), None);
        assert_eq!(candidates.in_range(START + HEARD_FOR + secs(1)), 0);
    }

    #[test]
    fn who_is_only_remembered_is_dialled_once_it_is_heard_again() {
        let mut candidates = Candidates::default();
        candidates.remember(A, theirs(9));
        assert_eq!((candidates.next_due(START), candidates.in_range(START)), (None, 0));
        assert!(!candidates.heard(B, None, ours(1), START, 0), "it never said what it is");
        assert!(candidates.heard(A, None, ours(1), START, 0));
        assert!(!candidates.heard(A, None, ours(1), START + secs(1), 0));
        assert_eq!(candidates.due(START), Some(A));
        candidates.forget(&A);
        assert_eq!(candidates.due(START), None);
        candidates.heard(A, Some(theirs(9)), ours(1), START, 0);
        assert_eq!(candidates.due(START), Some(A));
    }

    #[test]
    fn who_has_connected_is_not_dialled_until_it_had_time_or_left() {
        let mut candidates = Candidates::default();
        candidates.heard(A, Some(theirs(9)), ours(1), START, 0);
        candidates.connected(&A, true, START);
        assert_eq!(candidates.due(START), None);
        assert_eq!(candidates.due(START + CALL), Some(A));
        candidates.connected(&A, false, START);
        assert_eq!(candidates.due(START), Some(A));
    }

    #[test]
    fn a_linked_neighbour_is_not_dialled() {
        let mut candidates = Candidates::default();
        candidates.link_up(A);
        candidates.heard(A, Some(theirs(9)), ours(1), START, 0);
        assert_eq!(candidates.due(START), None);
        candidates.link_down(A, true, START, 0);
        assert_eq!(candidates.due(START + BACKOFF_MIN), Some(A));
    }

    #[test]
    fn b04_wasted_links_are_left_alone_for_two_seconds_doubling_to_five_minutes() {
        let mut candidates = Candidates::default();
        let waits: Vec<u64> = (0..10)
            .map(|_| {
                candidates.heard(A, Some(theirs(9)), ours(1), START, 0);
                candidates.link_up(A);
                candidates.link_down(A, false, START, u32::MAX);
                (candidates.next_due(START).unwrap() - START).as_secs()
            })
            .collect();
        assert_eq!(waits, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        candidates.link_down(A, true, START, u32::MAX);
        assert_eq!(candidates.next_due(START), Some(START + secs(2)));
    }

    #[test]
    fn whom_we_can_t_reach_may_still_reach_us() {
        let mut candidates = Candidates::default();
        candidates.heard(A, Some(theirs(9)), ours(1), START, 0);
        let waits: Vec<u64> = (0..10)
            .map(|_| {
                candidates.dial_failed(A, START, u32::MAX);
                assert!(candidates.may_call(&A, START));
                (candidates.next_due(START).unwrap() - START).as_secs()
            })
            .collect();
        assert_eq!(waits, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        candidates.link_up(A);
        candidates.link_down(A, true, START, u32::MAX);
        assert_eq!(candidates.next_due(START), Some(START + secs(2)));
    }

    #[test]
    fn b04_a_caller_that_wastes_links_gets_no_lane_for_a_while() {
        let mut candidates = Candidates::default();
        assert!(candidates.may_call(&A, START));
        for _ in 0..3 {
            candidates.link_up(A);
            candidates.link_down(A, false, START, 0);
        }
        assert!(!candidates.may_call(&A, START));
        assert!(candidates.may_call(&B, START));
        assert!(candidates.may_call(&A, START + secs(8)));
    }

    proptest! {
        #[test]
        fn b01_fake_adverts_neither_grow_the_table_nor_push_a_link_out(
            adverts in prop::collection::vec((any::<Address>(), any::<u8>()), 0..2000),
        ) {
            let mut candidates = Candidates::default();
            candidates.link_up(A);
            for (n, (address, beacon)) in adverts.into_iter().enumerate() {
                candidates.heard(address, Some(theirs(beacon)), ours(1), START + Duration::from_millis(n as u64), 0);
                prop_assert!(candidates.table.len() <= CANDIDATES_MAX);
            }
            prop_assert!(candidates.table[&A].linked);
        }

        #[test]
        fn whatever_happens_only_the_unlinked_heard_and_different_are_due(
            steps in prop::collection::vec((0..4u8, 0..3u8, any::<u8>(), 0..20u64), 0..60),
        ) {
            let mut candidates = Candidates::default();
            let mut now = START;
            for (what, who, beacon, pass) in steps {
                now += secs(pass);
                let address = [who; 6];
                match what {
                    0 => drop(candidates.heard(address, Some(theirs(beacon)), ours(128), now, 0)),
                    1 => drop(candidates.heard(address, Some(Beacon::new([beacon; 4], HELD)), ours(128), now, 0)),
                    2 => candidates.link_up(address),
                    _ => candidates.link_down(address, false, now, 0),
                }
                if let Some(due) = candidates.due(now) {
                    let candidate = &candidates.table[&due];
                    prop_assert!(!candidate.linked && candidate.is_here(now));
                    prop_assert!(!candidate.beacon.unwrap().holds_the_same(HELD));
                    prop_assert!(candidate.not_before <= now);
                }
            }
        }
    }
}

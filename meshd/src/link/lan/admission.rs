//! Who may come in: how many connections, from whom, how fast (threats S-12, B-03). Pure.
//!
//! A connection is **half open** until the handshake on it is done. One machine has few of those and a bounded
//! rate of new ones, so a flood from one machine leaves room for all others; if many machines fill all places,
//! the oldest half-open connection makes room, as long as it had its second.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

/// Connections that others opened, all together.
pub(super) const INBOUND_MAX: usize = 48;
/// Of these half open.
const HALF_OPEN_MAX: usize = 16;
/// Connections from one machine; a few nodes may share one.
const PER_MACHINE_MAX: usize = 6;
/// Of these half open.
const HALF_OPEN_PER_MACHINE_MAX: usize = 3;
/// Connections one machine may open at once, and one more each [`REFILL`].
const BURST: u32 = 10;
const REFILL: Duration = Duration::from_secs(6);
/// Machines whose rate is remembered.
const MACHINES_MAX: usize = 256;
/// A half-open connection this old may have to make room.
const GRACE: Duration = Duration::from_secs(1);

/// A connection that came in, by number.
pub(super) type Id = u64;

#[derive(Debug)]
struct Visitor {
    machine: IpAddr,
    since: Instant,
    half_open: bool,
}

#[derive(Debug)]
struct Rate {
    left: u32,
    at: Instant,
}

/// Everybody who is in.
#[derive(Debug, Default)]
pub(super) struct Admission {
    visitors: BTreeMap<Id, Visitor>,
    rates: BTreeMap<IpAddr, Rate>,
}

/// What to do with somebody new.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Let in.
    Admit,
    /// Let in, and end this half-open one.
    AdmitInsteadOf(Id),
    /// Not now.
    Refuse,
}

impl Admission {
    /// Somebody connects, and is in unless the answer is [`Verdict::Refuse`].
    pub(super) fn ask(&mut self, id: Id, machine: IpAddr, now: Instant) -> Verdict {
        if !self.take_rate(machine, now) || self.visitors.len() >= INBOUND_MAX {
            return Verdict::Refuse;
        }
        let of_it = || self.visitors.values().filter(|visitor| visitor.machine == machine);
        let half_open_of_it = of_it().filter(|visitor| visitor.half_open).count();
        if of_it().count() >= PER_MACHINE_MAX || half_open_of_it >= HALF_OPEN_PER_MACHINE_MAX {
            return Verdict::Refuse;
        }
        let half_open = || self.visitors.iter().filter(|(_, visitor)| visitor.half_open);
        let mut verdict = Verdict::Admit;
        if half_open().count() >= HALF_OPEN_MAX {
            let oldest = half_open().min_by_key(|(_, visitor)| visitor.since);
            let Some((&oldest, _)) = oldest.filter(|(_, visitor)| visitor.since + GRACE <= now) else {
                return Verdict::Refuse;
            };
            self.visitors.remove(&oldest);
            verdict = Verdict::AdmitInsteadOf(oldest);
        }
        self.visitors.insert(id, Visitor { machine, since: now, half_open: true });
        verdict
    }

    /// The handshake is done.
    pub(super) fn known(&mut self, id: Id) {
        if let Some(visitor) = self.visitors.get_mut(&id) {
            visitor.half_open = false;
        }
    }

    /// The connection is over.
    pub(super) fn left(&mut self, id: Id) {
        self.visitors.remove(&id);
    }

    fn take_rate(&mut self, machine: IpAddr, now: Instant) -> bool {
        if self.rates.len() >= MACHINES_MAX && !self.rates.contains_key(&machine) {
            self.rates.retain(|_, rate| now < rate.at + REFILL * BURST);
            if self.rates.len() >= MACHINES_MAX {
                self.rates.pop_first();
            }
        }
        let rate = self.rates.entry(machine).or_insert(Rate { left: BURST, at: now });
        let refilled = now.duration_since(rate.at).as_millis() / REFILL.as_millis();
        if refilled > 0 {
            let refilled = u32::try_from(refilled).unwrap_or(BURST).min(BURST);
            *rate = Rate { left: (rate.left + refilled).min(BURST), at: now };
        }
        let Some(left) = rate.left.checked_sub(1) else { return false };
        rate.left = left;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(n: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, n])
    }

    #[tokio::test]
    async fn s12_one_machine_has_few_half_open_connections() {
        let now = Instant::now();
        let mut admission = Admission::default();
        let admitted = (0..10).filter(|&n| admission.ask(n, machine(1), now) == Verdict::Admit).count();
        assert_eq!(admitted, HALF_OPEN_PER_MACHINE_MAX);
        assert_eq!(admission.ask(99, machine(2), now), Verdict::Admit);
    }

    #[tokio::test]
    async fn s12_a_machine_that_always_comes_again_is_slowed_down() {
        let mut now = Instant::now();
        let mut admission = Admission::default();
        let mut admitted = 0;
        for n in 0..6000 {
            if admission.ask(n, machine(1), now) == Verdict::Admit {
                admitted += 1;
                admission.left(n);
            }
            now += Duration::from_millis(10);
        }
        assert!((19..=21).contains(&admitted), "{admitted} in a minute");
    }

    #[tokio::test]
    async fn s12_many_machines_do_not_keep_an_honest_one_out() {
        let mut now = Instant::now();
        let mut admission = Admission::default();
        for n in 0..HALF_OPEN_MAX as u8 {
            assert_eq!(admission.ask(n.into(), machine(n), now), Verdict::Admit);
            now += Duration::from_millis(1);
        }
        assert_eq!(admission.ask(98, machine(99), now), Verdict::Refuse, "each had its second");
        now += GRACE;
        assert_eq!(admission.ask(99, machine(99), now), Verdict::AdmitInsteadOf(0));
        assert_eq!(admission.ask(100, machine(100), now), Verdict::AdmitInsteadOf(1));
        // Who is known takes no half-open place.
        admission.known(99);
        assert_eq!(admission.ask(101, machine(101), now), Verdict::Admit);
    }

    #[tokio::test]
    async fn s12_there_is_an_end_to_connections_of_all_kinds() {
        let now = Instant::now();
        let mut admission = Admission::default();
        let mut admitted = 0;
        for n in 0..200_u8 {
            if admission.ask(n.into(), machine(n), now) == Verdict::Admit {
                admission.known(n.into());
                admitted += 1;
            }
        }
        assert_eq!(admitted, INBOUND_MAX);
        admission.left(0);
        assert_eq!(admission.ask(500, machine(201), now), Verdict::Admit);
    }

    #[tokio::test]
    async fn s12_rates_of_many_machines_are_bounded() {
        let now = Instant::now();
        let mut admission = Admission::default();
        for n in 0..10_000_u64 {
            let machine = IpAddr::from((n as u128).to_be_bytes());
            admission.ask(n, machine, now);
            admission.left(n);
        }
        assert!(admission.rates.len() <= MACHINES_MAX);
    }
}

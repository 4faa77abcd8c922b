//! How many connections an address has, and how often it had a wrong token.
//!
//! An address is an IPv4 address or an IPv6 /64, which is what one subscriber gets at least (RFC 6177).
//!
//! A wrong token is answered late: after [`TOKEN_FAILURES_FREE`] of them an address waits 250 ms for its
//! 401, then twice as long each time, up to 8 s. A right token is never made to wait, so nobody can lock out
//! the others behind the same router or reverse proxy by guessing.

use crate::limits::{
    TOKEN_ADDRESSES_MAX, TOKEN_DELAY_MS, TOKEN_DELAY_MS_MAX, TOKEN_FAILURES_FREE, TOKEN_HELD_MAX,
    TOKEN_MEMORY_MS,
};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

/// An IPv4 address or an IPv6 /64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    V4(Ipv4Addr),
    V6Net([u16; 4]),
    /// `127.0.0.0/8` and `::1`: programs of this machine, or a reverse proxy.
    Loopback,
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            ip if ip.is_loopback() => Self::Loopback,
            IpAddr::V4(ip) => Self::V4(ip),
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.segments();
                Self::V6Net([a, b, c, d])
            }
        }
    }
}

/// What happens to a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Answer 401 after this many milliseconds; 0: at once.
    Unauthorized { delay_ms: u64 },
    /// Answer 429: this address has enough refusals held back already.
    TooMany,
}

/// All addresses that are connected or have failed lately.
#[derive(Debug)]
pub(crate) struct AddressBook {
    /// Connections of one address.
    cap: usize,
    caps_loopback: bool,
    entries: HashMap<Address, Entry>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    connections: usize,
    failures: u32,
    failed_ms: u64,
    held: u32,
}

impl AddressBook {
    /// `cap`: connections of one address; loopback counts only if `caps_loopback`.
    pub(crate) fn new(cap: usize, caps_loopback: bool) -> Self {
        Self { cap, caps_loopback, entries: HashMap::new() }
    }

    /// Counts a new connection; `false` if its address has as many as it may, and then it is not counted.
    pub(crate) fn connect(&mut self, address: Address) -> bool {
        let entry = self.entries.entry(address).or_default();
        let is_capped = address != Address::Loopback || self.caps_loopback;
        if is_capped && entry.connections >= self.cap {
            return false;
        }
        entry.connections += 1;
        true
    }

    /// Counts a connection out.
    pub(crate) fn disconnect(&mut self, address: Address) {
        if let Some(entry) = self.entries.get_mut(&address) {
            entry.connections -= 1;
            if entry.connections == 0 && entry.failures == 0 {
                self.entries.remove(&address);
            }
        }
    }

    /// Notes a wrong token. After a delay other than 0, [`Self::release`] is due.
    pub(crate) fn fail(&mut self, address: Address, now_ms: u64) -> Verdict {
        if self.entries.len() >= TOKEN_ADDRESSES_MAX {
            self.forget_old(now_ms);
        }
        let Some(entry) = self.entries.get_mut(&address) else {
            return Verdict::Unauthorized { delay_ms: 0 };
        };
        if now_ms.saturating_sub(entry.failed_ms) > TOKEN_MEMORY_MS {
            entry.failures = 0;
        }
        entry.failures = entry.failures.saturating_add(1);
        entry.failed_ms = now_ms;
        let Some(excess) = entry.failures.checked_sub(TOKEN_FAILURES_FREE + 1) else {
            return Verdict::Unauthorized { delay_ms: 0 };
        };
        if entry.held >= TOKEN_HELD_MAX {
            return Verdict::TooMany;
        }
        entry.held += 1;
        Verdict::Unauthorized { delay_ms: (TOKEN_DELAY_MS << excess.min(16)).min(TOKEN_DELAY_MS_MAX) }
    }

    /// A refusal that was held back is answered or its connection is gone.
    pub(crate) fn release(&mut self, address: Address) {
        if let Some(entry) = self.entries.get_mut(&address) {
            entry.held -= 1;
        }
    }

    /// Drops addresses without connections: those that have not failed for long, or else all of them.
    fn forget_old(&mut self, now_ms: u64) {
        self.entries
            .retain(|_, e| e.connections > 0 || now_ms.saturating_sub(e.failed_ms) <= TOKEN_MEMORY_MS);
        if self.entries.len() >= TOKEN_ADDRESSES_MAX {
            self.entries.retain(|_, entry| entry.connections > 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(ip: &str) -> Address {
        Address::from(ip.parse::<IpAddr>().unwrap())
    }

    #[test]
    fn y06_an_address_is_an_ipv4_address_or_an_ipv6_slash_64() {
        assert_eq!(address("2001:db8:1:2::1"), address("2001:db8:1:2:ffff::9"));
        assert_ne!(address("2001:db8:1:2::1"), address("2001:db8:1:3::1"));
        assert_eq!(address("::ffff:192.0.2.7"), address("192.0.2.7"));
        assert_ne!(address("192.0.2.7"), address("192.0.2.8"));
        assert_eq!(address("127.0.0.9"), address("::1"));
    }

    #[test]
    fn y06_an_address_has_at_most_its_share_and_gets_it_back() {
        let mut book = AddressBook::new(3, false);
        let here = address("192.0.2.7");
        assert_eq!((0..10).filter(|_| book.connect(here)).count(), 3);
        assert!(book.connect(address("192.0.2.8")));
        book.disconnect(here);
        assert!(book.connect(here));
        assert!(!book.connect(here));
    }

    #[test]
    fn y06_loopback_is_capped_only_on_request() {
        let here = address("127.0.0.1");
        let mut book = AddressBook::new(3, false);
        assert_eq!((0..10).filter(|_| book.connect(here)).count(), 10);
        let mut book = AddressBook::new(3, true);
        assert_eq!((0..10).filter(|_| book.connect(here)).count(), 3);
    }

    #[test]
    fn y07_refusals_come_later_and_later_and_an_hour_later_at_once() {
        let mut book = AddressBook::new(100, false);
        let here = address("192.0.2.7");
        book.connect(here);
        let mut delays = Vec::new();
        for _ in 0..10 {
            let Verdict::Unauthorized { delay_ms } = book.fail(here, 1_000) else {
                panic!("held back too many")
            };
            if delay_ms > 0 {
                book.release(here);
            }
            delays.push(delay_ms);
        }
        assert_eq!(delays, [0, 0, 0, 250, 500, 1_000, 2_000, 4_000, 8_000, 8_000]);
        assert_eq!(book.fail(here, 3_600_000), Verdict::Unauthorized { delay_ms: 0 });
    }

    #[test]
    fn y07_an_address_has_few_refusals_held_back_and_the_book_stays_small() {
        let mut book = AddressBook::new(100, false);
        let here = address("192.0.2.7");
        book.connect(here);
        let too_many = (0..100).filter(|_| book.fail(here, 0) == Verdict::TooMany).count();
        assert_eq!(too_many, 100 - (TOKEN_FAILURES_FREE + TOKEN_HELD_MAX) as usize);
        for i in 0..20_000_u32 {
            let address = Address::V4(Ipv4Addr::from(i));
            book.connect(address);
            book.fail(address, 0);
            book.disconnect(address);
        }
        assert!(book.entries.len() <= TOKEN_ADDRESSES_MAX);
    }
}

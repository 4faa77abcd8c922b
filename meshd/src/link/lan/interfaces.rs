//! The machine's network interfaces, as far as the local network is concerned.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use if_addrs::IfAddr;

/// Interfaces used at most: a host of containers has hundreds.
const INTERFACES_MAX: usize = 16;

/// An interface with what it is called and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Interface {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) v4: Vec<(Ipv4Addr, u8)>,
    pub(super) v6: Vec<(Ipv6Addr, u8)>,
}

/// What there is at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Interfaces {
    /// Those on which neighbours may be: up, not loopback, not point to point.
    pub(super) local: Vec<Interface>,
    /// All addresses of interfaces that are up, loopback among them.
    alive: Vec<IpAddr>,
}

impl Interfaces {
    /// Looks. With `only`, nothing but the interfaces of these names counts as local.
    ///
    /// # Errors
    /// The system does not say, as in a sandbox without netlink.
    pub(super) fn look(only: &[String]) -> io::Result<Self> {
        Ok(Self::sort(if_addrs::get_if_addrs()?, only))
    }

    fn sort(found: Vec<if_addrs::Interface>, only: &[String]) -> Self {
        let mut local: BTreeMap<u32, Interface> = BTreeMap::new();
        let mut alive = Vec::new();
        for interface in found {
            // On Unix that is the flag RUNNING: up, and with a carrier.
            if !interface.is_oper_up() {
                continue;
            }
            alive.push(interface.ip());
            let wanted = only.is_empty() || only.contains(&interface.name);
            let Some(index) = interface.index.filter(|_| wanted) else { continue };
            if interface.is_loopback() || interface.is_p2p() {
                continue;
            }
            let name = interface.name;
            let entry = local.entry(index).or_insert_with(|| Interface {
                index,
                name,
                v4: Vec::new(),
                v6: Vec::new(),
            });
            match interface.addr {
                IfAddr::V4(address) => entry.v4.push((address.ip, address.prefixlen)),
                IfAddr::V6(address) => entry.v6.push((address.ip, address.prefixlen)),
            }
        }
        Self { local: local.into_values().take(INTERFACES_MAX).collect(), alive }
    }

    /// Whether an address of this machine is still one.
    pub(super) fn has(&self, address: IpAddr) -> bool {
        self.alive.contains(&address)
    }

    /// Whether a machine is on one of the networks this one is attached to.
    pub(super) fn reach(&self, address: IpAddr) -> bool {
        self.local.iter().any(|interface| interface.reaches(address))
    }

    /// Of a node's addresses those on networks this machine is attached to now; all, if none is.
    pub(super) fn nearest(&self, addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
        let near = |address: &SocketAddr| match address {
            SocketAddr::V6(v6) if v6.scope_id() != 0 => {
                self.local.iter().any(|interface| interface.index == v6.scope_id())
            }
            SocketAddr::V4(_) | SocketAddr::V6(_) => self.reach(address.ip()),
        };
        let nearest: Vec<SocketAddr> = addresses.iter().copied().filter(near).collect();
        if nearest.is_empty() { addresses } else { nearest }
    }

    /// Every address on a local network.
    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.local.iter().flat_map(Interface::addresses)
    }

    /// An address with the name of its interface instead of its number.
    pub(super) fn show(&self, address: SocketAddr) -> String {
        let SocketAddr::V6(v6) = address else { return address.to_string() };
        match self.local.iter().find(|interface| interface.index == v6.scope_id()) {
            Some(interface) => format!("[{}%{}]:{}", v6.ip(), interface.name, v6.port()),
            None => address.to_string(),
        }
    }
}

impl Interface {
    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let v4 = self.v4.iter().map(|(address, _)| IpAddr::V4(*address));
        v4.chain(self.v6.iter().map(|(address, _)| IpAddr::V6(*address)))
    }

    /// Whether a machine is on this interface's network.
    pub(super) fn reaches(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(ip) => self
                .v4
                .iter()
                .any(|(own, bits)| *bits > 0 && share(own.to_bits().into(), ip.to_bits().into(), 96 + bits)),
            IpAddr::V6(ip) => {
                ip.is_unicast_link_local()
                    || self
                        .v6
                        .iter()
                        .any(|(own, bits)| *bits > 0 && share(own.to_bits(), ip.to_bits(), *bits))
            }
        }
    }
}

/// Whether the upper bits of 128 are the same.
fn share(one: u128, other: u128, bits: u8) -> bool {
    (one ^ other).leading_zeros() >= u32::from(bits)
}

/// Whether an address can only be one nearby, whatever interfaces there are: private, link-local or this
/// machine itself.
pub(super) fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => {
            // 100.64/10: providers' and overlay networks (RFC 6598).
            let shared = ip.octets()[0] == 100 && ip.octets()[1] & 0xC0 == 64;
            ip.is_private() || ip.is_link_local() || ip.is_loopback() || shared
        }
        IpAddr::V6(ip) => ip.is_unicast_link_local() || ip.is_unique_local() || ip.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eth0() -> Interface {
        Interface {
            index: 2,
            name: "eth0".to_owned(),
            v4: vec![("203.0.113.130".parse().unwrap(), 25)],
            v6: vec![("fe80::2".parse().unwrap(), 64), ("2001:db8:1::2".parse().unwrap(), 64)],
        }
    }

    #[test]
    fn a_machine_is_near_if_it_shares_the_prefix() {
        let near = ["203.0.113.129", "203.0.113.254", "fe80::99", "2001:db8:1::99"];
        let far = ["203.0.113.1", "192.168.1.1", "2001:db8:2::99"];
        for address in near {
            assert!(eth0().reaches(address.parse().unwrap()), "{address}");
        }
        for address in far {
            assert!(!eth0().reaches(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn a_prefix_of_no_bits_reaches_nobody() {
        let all = Interface { v4: vec![("0.0.0.0".parse().unwrap(), 0)], ..eth0() };
        assert!(!all.reaches("8.8.8.8".parse().unwrap()));
        let all = Interface { v6: vec![("::".parse().unwrap(), 0)], ..eth0() };
        assert!(!all.reaches("2001:db8::1".parse().unwrap()));
    }

    #[test]
    fn private_is_what_no_router_of_the_internet_passes_on() {
        for address in ["10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.1.1", "127.0.0.1", "100.64.0.1"] {
            assert!(is_private(address.parse().unwrap()), "{address}");
        }
        for address in ["fe80::1", "fd00::1", "::1"] {
            assert!(is_private(address.parse().unwrap()), "{address}");
        }
        for address in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2001:db8::1"] {
            assert!(!is_private(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn of_a_nodes_addresses_those_on_networks_that_are_there_are_tried() {
        let interfaces = Interfaces { local: vec![eth0()], alive: Vec::new() };
        let link_local =
            |scope| SocketAddr::from(std::net::SocketAddrV6::new(Ipv6Addr::LOCALHOST, 80, 0, scope));
        let (here, gone): (SocketAddr, SocketAddr) =
            ("203.0.113.200:80".parse().unwrap(), "192.168.7.7:80".parse().unwrap());
        let nearest = interfaces.nearest(vec![gone, link_local(9), here, link_local(2)]);
        assert_eq!(nearest, [here, link_local(2)]);
        assert_eq!(interfaces.nearest(vec![gone]), [gone]);
    }

    #[test]
    fn link_local_addresses_are_shown_with_their_interface() {
        let interfaces = Interfaces { local: vec![eth0()], alive: Vec::new() };
        let address = std::net::SocketAddrV6::new("fe80::9".parse().unwrap(), 80, 0, 2);
        assert_eq!(interfaces.show(address.into()), "[fe80::9%eth0]:80");
        assert_eq!(interfaces.show("10.0.0.1:80".parse().unwrap()), "10.0.0.1:80");
    }

    #[test]
    fn this_machine_has_addresses() {
        let interfaces = Interfaces::look(&[]).unwrap();
        assert!(interfaces.has(IpAddr::V4(Ipv4Addr::LOCALHOST)), "{interfaces:?}");
        assert!(interfaces.local.iter().all(|interface| interface.name != "lo"));
        assert_eq!(Interfaces::look(&["none such".to_owned()]).unwrap().local, []);
    }
}

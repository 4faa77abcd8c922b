//! One ear and one voice for each interface and family: sockets in the groups of multicast DNS.
//!
//! Each socket is in the group on its own interface alone, so it is known where a packet came from, and what
//! is said goes out there. Other programs on the machine may have port 5353, too (Avahi does). What is sent
//! does not come back to this machine: two nodes on one machine do not meet over the local network.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::chance;
use super::dns::{self, Instance, KNOWN_MAX, PACKET_BYTES_MAX};
use super::interfaces::Interface;
use super::manners::Manners;
use super::name::Name;

const PORT: u16 = 5353;
const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xFF02, 0, 0, 0, 0, 0, 0, 0xFB);
/// RFC 6762 section 11: whoever is not on the network can't send this.
const HOPS: u32 = 255;
/// Packets read in a [`WINDOW`]; the rest of a flood stays with the kernel (threat B-05).
const PACKETS_MAX: u32 = 200;
const WINDOW: Duration = Duration::from_secs(1);

/// How this node is to be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Presence {
    pub(super) name: Name,
    pub(super) port: u16,
}

/// An instance that was heard, and where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Advert {
    pub(super) instance: Instance,
    pub(super) address: SocketAddr,
}

/// The two families of one interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    V4,
    V6,
}

/// A socket in the group of one interface.
pub(super) struct Voice {
    socket: UdpSocket,
    interface: Interface,
    group: SocketAddr,
}

impl Voice {
    /// Joins the group.
    ///
    /// # Errors
    /// The interface has no multicast, or another program has the port for itself.
    pub(super) fn join(interface: &Interface, family: Family) -> io::Result<Self> {
        let index = interface.index;
        let (socket, group) = match family {
            Family::V4 => {
                let first = interface.v4.first().ok_or(io::ErrorKind::AddrNotAvailable)?.0;
                let socket = socket(Domain::IPV4)?;
                #[cfg(any(target_os = "linux", target_os = "android"))]
                socket.set_multicast_all_v4(false)?;
                socket.join_multicast_v4_n(&GROUP_V4, &InterfaceIndexOrAddress::Index(index))?;
                socket.set_multicast_if_v4(&first)?;
                socket.set_multicast_ttl_v4(HOPS)?;
                socket.set_multicast_loop_v4(false)?;
                socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)).into())?;
                (socket, SocketAddr::from((GROUP_V4, PORT)))
            }
            Family::V6 => {
                let socket = socket(Domain::IPV6)?;
                socket.set_only_v6(true)?;
                #[cfg(any(target_os = "linux", target_os = "android"))]
                socket.set_multicast_all_v6(false)?;
                socket.join_multicast_v6(&GROUP_V6, index)?;
                socket.set_multicast_if_v6(index)?;
                socket.set_multicast_hops_v6(HOPS)?;
                socket.set_multicast_loop_v6(false)?;
                socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, PORT)).into())?;
                (socket, std::net::SocketAddrV6::new(GROUP_V6, PORT, 0, index).into())
            }
        };
        let socket = UdpSocket::from_std(socket.into())?;
        Ok(Self { socket, interface: interface.clone(), group })
    }

    /// Speaks and listens until nobody wants to hear any more, and says good-bye then.
    pub(super) async fn serve(self, mut presence: watch::Receiver<Presence>, heard: mpsc::Sender<Advert>) {
        let mut manners = Manners::new(Instant::now(), chance());
        let mut known: Vec<Name> = Vec::new();
        let mut buffer = vec![0; PACKET_BYTES_MAX];
        let mut pace = Pace::new(Instant::now());
        let mut said = *presence.borrow_and_update();
        loop {
            let listen_at = pace.resume_at();
            tokio::select! {
                changed = presence.changed() => {
                    self.leave(said);
                    if changed.is_err() {
                        return;
                    }
                    said = *presence.borrow_and_update();
                    manners.begin_again(Instant::now(), chance());
                }
                () = sleep_until(manners.next()) => self.speak(&mut manners, said, &known),
                received = self.receive(&mut buffer, listen_at) => {
                    let now = Instant::now();
                    pace.count(now);
                    let Some((packet, from)) = received else { continue };
                    let Some(packet) = dns::read(packet) else { continue };
                    if packet.asked && !packet.known.contains(&said.name) {
                        manners.asked(now, chance());
                    }
                    for instance in packet.instances {
                        if instance.name == said.name {
                            continue;
                        }
                        known.retain(|name| *name != instance.name);
                        if instance.ttl_s > 0 {
                            known.truncate(KNOWN_MAX - 1);
                            known.insert(0, instance.name);
                        }
                        let address = SocketAddr::new(from.ip(), instance.port);
                        let address = with_scope(address, from);
                        if heard.send(Advert { instance, address }).await.is_err() {
                            return self.leave(said);
                        }
                    }
                }
            }
        }
    }

    /// A packet from this network and from the port that answers come from; nothing if it was another.
    async fn receive<'b>(&self, buffer: &'b mut [u8], at: Option<Instant>) -> Option<(&'b [u8], SocketAddr)> {
        if let Some(at) = at {
            sleep_until(at).await;
        }
        match self.socket.recv_from(buffer).await {
            Ok((bytes, from)) => self.is_near(from).then_some((&buffer[..bytes], from)),
            Err(error) => {
                tracing::debug!(%error, interface = %self.interface.name, "multicast DNS can't be heard");
                // The interface is going; whoever watches the network ends this task.
                tokio::time::sleep(WINDOW).await;
                None
            }
        }
    }

    fn is_near(&self, from: SocketAddr) -> bool {
        let same_interface = match from {
            SocketAddr::V4(_) => true,
            SocketAddr::V6(v6) => v6.scope_id() == self.interface.index,
        };
        same_interface && from.port() == PORT && self.interface.reaches(from.ip())
    }

    fn speak(&self, manners: &mut Manners, presence: Presence, known: &[Name]) {
        let due = manners.take(Instant::now());
        if due.tell {
            self.send(&self.answer(presence, false));
        }
        if due.ask {
            self.send(&dns::question(known));
        }
    }

    fn leave(&self, presence: Presence) {
        self.send(&self.answer(presence, true));
    }

    fn answer(&self, Presence { name, port }: Presence, gone: bool) -> Vec<u8> {
        let addresses: Vec<IpAddr> = self.interface.addresses().collect();
        dns::answer(name, port, &addresses, gone)
    }

    /// A packet that can't be sent is lost, as any other may be; the next try is on the timetable.
    fn send(&self, packet: &[u8]) {
        if let Err(error) = self.socket.try_send_to(packet, self.group) {
            tracing::debug!(%error, interface = %self.interface.name, "multicast DNS can't be sent");
        }
    }
}

/// A link-local address is of use only with its interface.
fn with_scope(address: SocketAddr, from: SocketAddr) -> SocketAddr {
    match (address, from) {
        (SocketAddr::V6(mut v6), SocketAddr::V6(from)) if v6.ip().is_unicast_link_local() => {
            v6.set_scope_id(from.scope_id());
            v6.into()
        }
        (address, _) => address,
    }
}

fn socket(domain: Domain) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// How many packets are read at once.
struct Pace {
    window: Instant,
    count: u32,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self { window: now, count: 0 }
    }

    fn count(&mut self, now: Instant) {
        if now >= self.window + WINDOW {
            *self = Self::new(now);
        }
        self.count += 1;
    }

    /// When to go on reading, if it is too much now.
    fn resume_at(&self) -> Option<Instant> {
        (self.count >= PACKETS_MAX).then(|| self.window + WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn b05_a_flood_is_read_at_a_pace() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        for _ in 0..PACKETS_MAX - 1 {
            pace.count(start);
        }
        assert_eq!(pace.resume_at(), None);
        pace.count(start);
        assert_eq!(pace.resume_at(), Some(start + WINDOW));
        pace.count(start + WINDOW);
        assert_eq!(pace.resume_at(), None);
    }

    #[test]
    fn link_local_addresses_keep_their_interface() {
        let from = std::net::SocketAddrV6::new("fe80::1".parse().unwrap(), 5353, 0, 7);
        let plain = SocketAddr::new(IpAddr::V6("fe80::1".parse().unwrap()), 99);
        assert_eq!(with_scope(plain, from.into()).to_string(), "[fe80::1%7]:99");
    }
}

//! Notices that the machine's network changed, so that transports in back-off try again at once.
//!
//! On Linux a netlink socket (rtnetlink(7), multicast groups for links, addresses and routes) becomes readable
//! whenever something changes; what exactly does not matter, so nothing is parsed. It costs nothing while
//! nothing happens. Elsewhere, and in sandboxes without `AF_NETLINK`, only the back-off decides.

#[cfg(target_os = "linux")]
use std::time::Duration;

use tokio::sync::watch;

/// Changes come in bursts (link, address, routes): this long after the first, in milliseconds, the network is
/// taken for usable.
#[cfg(target_os = "linux")]
const SETTLE: Duration = Duration::from_millis(300);

/// Counts changes of the network. Receivers see the latest count.
pub type NetworkChanges = watch::Receiver<u64>;

/// Starts to watch; must be called inside a Tokio runtime. Without a way to watch, the count stays as it is.
pub fn watch_network() -> NetworkChanges {
    let (changed, changes) = watch::channel(0);
    #[cfg(target_os = "linux")]
    match netlink::open() {
        Ok(socket) => {
            tokio::spawn(async move {
                while netlink::changed(&socket).await.is_ok() {
                    tokio::time::sleep(SETTLE).await;
                    netlink::drain(&socket);
                    tracing::debug!("the network changed");
                    changed.send_modify(|count| *count += 1);
                }
            });
        }
        Err(error) => tracing::debug!(%error, "can't watch the network; retries follow the back-off alone"),
    }
    #[cfg(not(target_os = "linux"))]
    drop(changed);
    changes
}

#[cfg(target_os = "linux")]
mod netlink {
    use std::io;
    use std::os::unix::net::UnixDatagram as StdDatagram;

    use rustix::net::netlink::SocketAddrNetlink;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
    use tokio::net::UnixDatagram;

    /// `RTMGRP_LINK`, `RTMGRP_IPV4_IFADDR`, `RTMGRP_IPV4_ROUTE`, `RTMGRP_IPV6_IFADDR`, `RTMGRP_IPV6_ROUTE` of
    /// linux/rtnetlink.h.
    const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;

    /// Tokio has no type for netlink sockets, and registering a bare descriptor is unsafe; but to poll and
    /// receive, one datagram socket is like another.
    pub(super) fn open() -> io::Result<UnixDatagram> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        // No protocol means NETLINK_ROUTE.
        let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, None)?;
        bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
        UnixDatagram::from_std(StdDatagram::from(socket))
    }

    pub(super) async fn changed(socket: &UnixDatagram) -> io::Result<()> {
        socket.readable().await
    }

    /// Reads what is there. A full buffer (`ENOBUFS`) means changes, too, and is over with being told.
    pub(super) fn drain(socket: &UnixDatagram) {
        let mut buffer = [0; 4096];
        while socket.try_recv(&mut buffer).is_ok() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn watching_works_without_rights_and_a_quiet_network_counts_nothing() {
        let changes = watch_network();
        assert!(changes.has_changed().is_ok_and(|changed| !changed), "the watcher ended: no netlink socket");
        assert_eq!(*changes.borrow(), 0);
    }
}

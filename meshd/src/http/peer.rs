//! Who is at the other end of a connection, as far as the system knows.

use std::net::SocketAddr;

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    /// A process on this machine, through the Unix socket.
    #[cfg_attr(windows, expect(dead_code, reason = "there are none"))]
    Unix {
        /// Whether the kernel says (`SO_PEERCRED`) that it runs as this daemon's user or as root, or the socket's
        /// mode admitted it (see [`crate::activation`]).
        trusted: bool,
    },
    /// Anybody who reaches the TCP port.
    Tcp {
        /// The address on this side.
        local: SocketAddr,
    },
}

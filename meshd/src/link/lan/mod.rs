//! Links over the local network: neighbours are found with multicast DNS, frames go over TCP.
//!
//! ```text
//!  interfaces ──▶ multicast (one per interface and family) ──▶ candidates ──▶ dial ─┐
//!                                                                                   ├─▶ hello ─▶ carry ─▶ node
//!                                   listener ──▶ admission ──────────────── accept ─┘
//! ```
//!
//! [`supervisor`] owns all of it in one task; what decides is pure ([`candidates`], [`admission`], [`manners`],
//! [`dns`]). Nothing is configured, and nothing on the network says who a node is: its name there is random
//! and new with every start and every network. The session on a link is the same as on every other.
//!
//! The discovery is MeshLink's own rather than the `mdns-sd` crate: that keeps whatever anybody announces
//! without a bound, does not say from where a packet came, and runs a thread that wakes up every few seconds.

mod admission;
mod candidates;
mod connections;
mod dns;
mod ears;
mod interfaces;
mod manners;
mod multicast;
mod name;
mod named;
mod pause;
mod supervisor;
mod wire;
mod words;

use std::fmt;
use std::str::FromStr;

pub use supervisor::run;

/// What a user says about the local network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LanSettings {
    /// Whether there are links over it at all.
    pub enabled: bool,
    /// TCP port that neighbours connect to; 0 takes a free one.
    pub port: u16,
    /// Names of the interfaces to be found on; empty for all.
    pub interfaces: Vec<String>,
    /// Nodes to connect to that multicast does not find.
    pub peers: Vec<LanPeer>,
}

/// Where a node is that was named by the user: `host:port`.
#[derive(Clone, PartialEq, Eq)]
pub struct LanPeer {
    host: String,
    port: u16,
}

impl FromStr for LanPeer {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const BAD: &str =
            "not a host with a port, such as 192.168.1.20:6375, [fd00::2]:6375 or mill.lan:6375";
        let (host, port) = text.rsplit_once(':').ok_or(BAD)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or(BAD)?;
        let host = match host.strip_prefix('[') {
            Some(v6) => v6.strip_suffix(']').ok_or(BAD)?,
            None if host.contains(':') => return Err(BAD),
            None => host,
        };
        let is_clean = |c: char| c.is_ascii_alphanumeric() || ".-_:%".contains(c);
        if host.is_empty() || host.len() > 253 || !host.chars().all(is_clean) {
            return Err(BAD);
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for LanPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, port) = (&self.host, self.port);
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl fmt::Debug for LanPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_string(), f)
    }
}

/// A random number between 0 and 1, for delays and choices; without randomness they are predictable, not
/// wrong.
fn chance() -> f64 {
    let mut bytes = [0; 4];
    let _ = getrandom::fill(&mut bytes);
    f64::from(u32::from_be_bytes(bytes)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_a_host_and_a_port() {
        for good in ["192.168.1.20:6375", "mill.lan:1", "[fd00::2]:65535", "[fe80::1%eth0]:80"] {
            assert_eq!(good.parse::<LanPeer>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "mill",
            "mill:",
            "mill:0",
            "mill:70000",
            ":80",
            "fd00::2:80",
            "[fd00::2:80",
            "a b:80",
            "http://x:1",
        ] {
            assert!(bad.parse::<LanPeer>().is_err(), "{bad}");
        }
    }
}

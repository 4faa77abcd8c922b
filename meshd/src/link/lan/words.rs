//! How the local network stands, in words, with a hint where one helps.

use std::io::ErrorKind;

use meshlink_core::TransportState;

use super::interfaces::Interfaces;

/// What there is to say something about.
pub(super) struct Standing<'a> {
    pub(super) interfaces: &'a Interfaces,
    /// Why it is not known which interfaces there are.
    pub(super) blind: Option<&'a str>,
    /// Why nobody can be heard, on any interface.
    pub(super) deaf: Option<(&'a str, ErrorKind)>,
    pub(super) linked: usize,
    /// Nodes that were heard and never answered.
    pub(super) unreachable: usize,
    /// The user named nodes to connect to.
    pub(super) named: bool,
    pub(super) wanted_port: u16,
    pub(super) port: u16,
}

impl Standing<'_> {
    pub(super) fn words(&self) -> (TransportState, String, Option<String>) {
        let (state, detail, hint) = self.state();
        if self.wanted_port != 0 && self.wanted_port != self.port {
            let detail =
                format!("TCP port {} is taken, {} is used instead; {detail}", self.wanted_port, self.port);
            let hint = hint.or_else(|| Some("choose another port in [lan] of the configuration".to_owned()));
            let state = if state == TransportState::Up { TransportState::Degraded } else { state };
            return (state, detail, hint);
        }
        (state, detail, hint)
    }

    fn state(&self) -> (TransportState, String, Option<String>) {
        let neighbours = match self.linked {
            0 => "no neighbour yet".to_owned(),
            1 => "1 neighbour".to_owned(),
            n => format!("{n} neighbours"),
        };
        if let Some(why) = self.blind {
            let detail = format!("the system does not say which networks there are ({why}), {neighbours}");
            let hint = "a sandbox that forbids AF_NETLINK does that".to_owned();
            return (self.or_down(), detail, Some(hint));
        }
        let names: Vec<&str> =
            self.interfaces.local.iter().map(|interface| interface.name.as_str()).collect();
        if names.is_empty() {
            let hint = "connect a cable or join a wireless network".to_owned();
            return (self.or_down(), format!("no local network, {neighbours}"), Some(hint));
        }
        if let Some((why, kind)) = self.deaf {
            let hint = if kind == ErrorKind::AddrInUse {
                "another program keeps UDP port 5353 to itself; end it, or name nodes with --lan-peer"
            } else {
                "name nodes with --lan-peer, or switch this off with --no-lan"
            };
            let detail = format!("nobody can be found ({why}), {neighbours}");
            return (TransportState::Degraded, detail, Some(hint.to_owned()));
        }
        let on = names.join(", ");
        if self.linked == 0 && self.unreachable > 0 {
            let detail = format!("on {on}: {} heard, none can be reached", nodes(self.unreachable));
            let hint = format!(
                "let TCP port {} in through this machine's firewall, or see to the others' ports; guest networks keep machines apart",
                self.port
            );
            return (TransportState::Degraded, detail, Some(hint));
        }
        (TransportState::Up, format!("on {on}, TCP port {}: {neighbours}", self.port), None)
    }

    /// Without a network there may still be nodes on this machine that the user named.
    fn or_down(&self) -> TransportState {
        if self.named && self.linked > 0 { TransportState::Degraded } else { TransportState::Down }
    }
}

fn nodes(count: usize) -> String {
    if count == 1 { "1 node".to_owned() } else { format!("{count} nodes") }
}

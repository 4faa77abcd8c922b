//! The command line of `meshd`, as typed. What it means together with the environment and the configuration
//! file is decided in [`crate::config`].

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::Parser;

use crate::link::ble::adapter_name;
use crate::link::lan::LanPeer;
use crate::link::relay::RelayUrl;
use crate::log::LogFilter;

const AFTER_LONG_HELP: &str = "Files:
  /etc/meshlink/meshd.toml, ~/.config/meshlink/meshd.toml: settings of a system's and of a user's daemon
  /var/lib/meshlink, ~/.local/state/meshlink: keys, messages, API token
  /run/meshlink/meshd.sock, $XDG_RUNTIME_DIR/meshlink/meshd.sock: the API's socket

As a service:
  systemctl status meshd           how it is doing, in one line
  journalctl -u meshd              its log
  meshctl doctor                   what is wrong, and what to do about it
  usermod -aG meshlink USER        lets USER use the daemon, and everything it holds
  systemctl edit meshd             for settings of the service; the package has examples

Signals:
  SIGTERM, SIGINT: stop in good order; twice: at once
  SIGHUP: read the configuration again, and say in the log what needs a restart

Exit codes:
  0  stopped in good order
  1  failed
  2  usage or configuration";

/// What `--version` says: a build that can't be dialled is told from one that can.
const VERSION: &str = if crate::link::ble::CAN_BE_DIALLED {
    env!("CARGO_PKG_VERSION")
} else {
    concat!(env!("CARGO_PKG_VERSION"), " (Bluetooth: dials, can't be dialled)")
};

/// Keeps messages, meets neighbours, carries and forwards.
///
/// Every setting can also be given as MESHD_<NAME> in the environment or in a configuration file; a flag
/// wins over the environment, the environment over the file.
#[derive(Debug, Clone, Default, Parser)]
#[command(name = "meshd", version, long_version = VERSION, max_term_width = 100, after_long_help = AFTER_LONG_HELP)]
pub struct Args {
    /// Configuration file [default: ~/.config/meshlink/meshd.toml, if it is there].
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the node's keys and messages are kept [default: ~/.local/state/meshlink].
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// TCP address of the API; port 0 takes a free one [default: 127.0.0.1:6374].
    #[arg(long, value_name = "ADDR:PORT", value_parser = socket_address)]
    pub listen: Option<SocketAddr>,
    /// No TCP for the API, only the Unix socket.
    #[arg(long, conflicts_with = "listen")]
    pub no_tcp: bool,
    /// Unix socket of the API [default: $XDG_RUNTIME_DIR/meshlink/meshd.sock].
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Relay to meet other nodes at, such as wss://relay.example.org; may be repeated.
    #[arg(long, value_name = "WS_URL")]
    pub relay: Vec<RelayUrl>,
    /// Bluetooth adapter to use; may be repeated [default: the first there is].
    #[arg(long, value_name = "hciN", conflicts_with = "no_ble", value_parser = adapter_name)]
    pub adapter: Vec<String>,
    /// No Bluetooth.
    #[arg(long)]
    pub no_ble: bool,
    /// Find nodes on the local network and be found there; this is the default.
    #[arg(long)]
    pub lan: bool,
    /// Don't look for nodes on the local network, and don't show up there.
    #[arg(long, conflicts_with = "lan")]
    pub no_lan: bool,
    /// Node on the network that multicast does not find, to connect to; may be repeated.
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "no_lan")]
    pub lan_peer: Vec<LanPeer>,
    /// TCP port for neighbours on the local network [default: a free one].
    #[arg(long, value_name = "PORT", conflicts_with = "no_lan")]
    pub lan_port: Option<u16>,
    /// Let pages of exactly this origin call the API with a token; may be repeated.
    #[arg(long, value_name = "ORIGIN", value_parser = origin)]
    pub allow_origin: Vec<String>,
    /// Serve the files of this directory at / (a web UI).
    #[arg(long, value_name = "DIR")]
    pub ui: Option<PathBuf>,
    /// Name the node introduces itself with.
    #[arg(long, value_name = "NICKNAME", value_parser = nickname)]
    pub name: Option<String>,
    /// Unlock the node with the first line of this file. On the first start it becomes the node's passphrase.
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// Destroy the node of the state directory, its keys first, and end. For a daemon that does not run; else
    /// there is meshctl wipe. No way back.
    #[arg(long)]
    pub wipe: bool,
    /// Start a relay and a second, talkative node as well, to see how it works. Without --state-dir nothing
    /// is kept.
    #[arg(long)]
    pub demo: bool,
    /// Check the settings, print what they come to, and exit.
    #[arg(long)]
    pub check_config: bool,
    /// Print a configuration file with every setting, its meaning and its default, and exit.
    #[arg(long)]
    pub print_config: bool,
    /// What to log: a level or target=level, separated by commas [default: info].
    #[arg(long, value_name = "FILTER")]
    pub log: Option<LogFilter>,
}

/// An address with a port.
///
/// # Errors
/// In words.
pub fn socket_address(text: &str) -> Result<SocketAddr, String> {
    if let Some(port) = text.strip_prefix("localhost:").and_then(|port| port.parse().ok()) {
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    text.parse().map_err(|_| "not an address with a port, such as 127.0.0.1:6374 or [::1]:0".to_owned())
}

/// A web origin as browsers send it: scheme, host, port if not the scheme's own; lower case.
///
/// # Errors
/// In words.
pub fn origin(text: &str) -> Result<String, String> {
    let bad = || "not an origin, such as http://localhost:5173 (scheme and host, no path)".to_owned();
    let origin = text.strip_suffix('/').unwrap_or(text).to_ascii_lowercase();
    let rest = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")).ok_or_else(bad)?;
    let clean = rest.chars().all(|c| c.is_ascii_alphanumeric() || ".-:[]_".contains(c));
    let port_ok = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => !host.is_empty() && port.parse::<u16>().is_ok(),
        Some(_) | None => !rest.is_empty(),
    };
    if clean && port_ok { Ok(origin) } else { Err(bad()) }
}

/// A name for the profile: 1 to 64 bytes without control characters.
///
/// # Errors
/// In words.
pub fn nickname(text: &str) -> Result<String, String> {
    let name = text.trim();
    if name.is_empty() || name.len() > 64 || name.chars().any(char::is_control) {
        return Err("a name has 1 to 64 bytes and no control characters".to_owned());
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_is_well_formed() {
        Args::command().debug_assert();
    }

    /// `MESHLINK_UPDATE=1 cargo test -p meshd --lib args` writes it anew.
    #[test]
    fn the_man_page_is_that_of_these_arguments() {
        let mut page = Vec::new();
        clap_mangen::Man::new(Args::command()).section("8").render(&mut page).unwrap();
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/man/meshd.8");
        if std::env::var_os("MESHLINK_UPDATE").is_some() {
            std::fs::write(&path, &page).unwrap();
        }
        let committed = std::fs::read(&path).unwrap_or_default();
        assert!(committed == page, "docs/man/meshd.8 is out of date: run with MESHLINK_UPDATE=1");
    }

    #[test]
    fn origins_are_what_browsers_send() {
        for good in ["http://localhost:5173", "https://ui.example.org", "http://[::1]:80"] {
            assert_eq!(origin(good).as_deref(), Ok(good));
        }
        assert_eq!(origin("HTTP://LocalHost:5173/").as_deref(), Ok("http://localhost:5173"));
        for bad in [
            "",
            "*",
            "null",
            "localhost:5173",
            "ftp://x",
            "http://",
            "http://a/b",
            "http://a:99999",
            "http://a b",
            "http://:80",
        ] {
            assert!(origin(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn contradictions_are_usage_errors() {
        for bad in [
            &["meshd", "--listen", "127.0.0.1:0", "--no-tcp"][..],
            &["meshd", "--lan", "--no-lan"],
            &["meshd", "--lan-peer", "10.0.0.2:1", "--no-lan"],
            &["meshd", "--listen", "nonsense"],
            &["meshd", "--adapter", "hci0", "--no-ble"],
            &["meshd", "--adapter", "eth0"],
        ] {
            assert!(Args::try_parse_from(bad).is_err(), "{bad:?}");
        }
    }
}

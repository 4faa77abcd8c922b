//! What the user wants, put together from its sources: flag, then environment (`MESHD_*`), then file, then
//! default.
//!
//! Each source becomes a [`Layer`] of optional values; [`Settings`] takes each value from the highest layer
//! that has it, and remembers which that was, for `--check-config`. The file with every default is
//! `default.toml`, compiled in; a test holds that it says what [`Settings::default`] does.

mod file;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use meshlink_core::Limits;

use crate::args::{self, Args};
use crate::clock::ClockPolicy;
use crate::link::ble::{self, BleSettings};
use crate::link::lan::{LanPeer, LanSettings};
use crate::link::relay::{RelaySettings, RelayUrl};
use crate::log::LogFilter;
use crate::places::{self, Environment};
use crate::retention::Retention;

/// The file with every setting and its default.
pub const DEFAULT_FILE: &str = include_str!("default.toml");

/// The API's TCP port.
const PORT: u16 = 6374;

/// Settings that can't be used. One line, with what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("can't read the configuration file {}: {why}", path.display())]
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// Why.
        why: std::io::Error,
    },
    /// Something in the file is wrong.
    #[error("{}:{line}: {problem}", path.display())]
    InFile {
        /// Which one.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// A variable is wrong.
    #[error("environment variable {name}: {problem}")]
    InEnvironment {
        /// Its name.
        name: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

/// What the daemon runs with.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where keys and messages are kept; `None` for the usual place.
    pub state_dir: Option<PathBuf>,
    /// The name to introduce itself with; `None` to keep the one it has.
    pub name: Option<String>,
    /// A file with the passphrase to unlock the node with.
    pub passphrase_file: Option<PathBuf>,
    /// What to log.
    pub log: LogFilter,
    /// Whether to believe the machine's clock.
    pub clock: ClockPolicy,
    /// The API's TCP address; `None` for no TCP.
    pub listen: Option<SocketAddr>,
    /// The API's Unix socket; `None` for the usual place.
    pub socket: Option<PathBuf>,
    /// Host names that requests may name besides loopback ones.
    pub allowed_hosts: Vec<String>,
    /// Origins of pages that may call the API with a token.
    pub allow_origins: Vec<String>,
    /// A web UI's files.
    pub ui: Option<PathBuf>,
    /// How much is kept.
    pub limits: Limits,
    /// For how long messages are.
    pub retention: Retention,
    /// Links over the local network.
    pub lan: LanSettings,
    /// Relays to meet other nodes at.
    pub relays: Vec<RelaySettings>,
    /// Bluetooth.
    pub ble: BleSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self::resolve(&[]).0
    }
}

/// The values one source gives.
#[derive(Debug, Default)]
struct Layer {
    /// Which source, as users know it.
    source: String,
    state_dir: Option<PathBuf>,
    name: Option<String>,
    passphrase_file: Option<PathBuf>,
    log: Option<LogFilter>,
    clock: Option<ClockPolicy>,
    tcp: Option<bool>,
    listen: Option<SocketAddr>,
    socket: Option<PathBuf>,
    allowed_hosts: Option<Vec<String>>,
    allow_origins: Option<Vec<String>>,
    ui: Option<PathBuf>,
    bytes_max: Option<u64>,
    bundles_max: Option<u64>,
    events_kept: Option<u64>,
    peers_kept: Option<u64>,
    lan: Option<bool>,
    lan_port: Option<u16>,
    lan_interfaces: Option<Vec<String>>,
    lan_peers: Option<Vec<LanPeer>>,
    retention: Option<Retention>,
    relays: Option<Vec<RelaySettings>>,
    ble: Option<bool>,
    adapters: Option<Vec<String>>,
    ble_profile: Option<ble::Profile>,
    ble_l2cap: Option<bool>,
    ble_slots: Option<ble::SlotLimits>,
}

/// One setting as it came out, and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name in the configuration file, with the table.
    pub key: String,
    /// Its value.
    pub value: String,
    /// Its source, as users know it.
    pub origin: String,
}

/// Settings and where each came from.
#[derive(Debug)]
pub struct Configuration {
    /// What the daemon runs with.
    pub settings: Settings,
    /// Every setting that has a value, and its source.
    pub entries: Vec<Entry>,
    /// What is worth a word but stops nothing.
    pub warnings: Vec<String>,
}

impl Configuration {
    /// One line for each setting: what it is, and its source.
    pub fn report(&self) -> String {
        let line = |entry: &Entry| format!("{} = {}  # {}\n", entry.key, entry.value, entry.origin);
        self.entries.iter().map(line).collect()
    }

    /// Reads all sources.
    ///
    /// # Errors
    /// [`ConfigError`], for the user.
    pub fn load(args: &Args, env: Environment<'_>) -> Result<Self, ConfigError> {
        let flags = Layer::from_args(args);
        let environment = Layer::from_environment(env)?;
        let mut layers = vec![flags, environment];
        if let Some(path) = config_file(args, env) {
            layers.push(file::read(&path)?);
        }
        let (settings, entries) = Settings::resolve(&layers);
        let warnings = warnings(&settings);
        Ok(Self { settings, entries, warnings })
    }
}

fn config_file(args: &Args, env: Environment<'_>) -> Option<PathBuf> {
    let named = args.config.clone().or_else(|| env("MESHD_CONFIG").map(PathBuf::from));
    named.or_else(|| places::config_files(env).into_iter().find(|path| path.exists()))
}

/// Every variable there is.
const VARIABLES: [&str; 18] = [
    "MESHD_ADAPTER",
    "MESHD_ALLOW_ORIGIN",
    "MESHD_CLOCK",
    "MESHD_CONFIG",
    "MESHD_LAN",
    "MESHD_LAN_PEER",
    "MESHD_LAN_PORT",
    "MESHD_LISTEN",
    "MESHD_LOG",
    "MESHD_NAME",
    "MESHD_NO_BLE",
    "MESHD_NO_LAN",
    "MESHD_NO_TCP",
    "MESHD_PASSPHRASE_FILE",
    "MESHD_RELAY",
    "MESHD_SOCKET",
    "MESHD_STATE_DIR",
    "MESHD_UI",
];

/// Words about variables that look like ours and are not. Not an error: container platforms make up variables
/// for each service they know, `MESHD_PORT` among them.
pub fn unknown_variables(names: impl Iterator<Item = String>) -> Vec<String> {
    let unknown = |name: &String| name.starts_with("MESHD_") && !VARIABLES.contains(&name.as_str());
    names
        .filter(unknown)
        .map(|name| format!("environment variable {name} is no setting and changes nothing"))
        .collect()
}

fn warnings(settings: &Settings) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(address) = settings.listen.filter(|address| !address.ip().is_loopback()) {
        warnings.push(format!(
            "the API listens on {address}, which other machines reach; requests need a token, but it travels unencrypted"
        ));
    }
    warnings
}

impl Layer {
    fn from_args(args: &Args) -> Self {
        let relays = args.relay.iter().cloned().map(RelaySettings::new).collect::<Vec<_>>();
        Self {
            source: "flag".to_owned(),
            state_dir: args.state_dir.clone(),
            name: args.name.clone(),
            passphrase_file: args.passphrase_file.clone(),
            log: args.log.clone(),
            // `--listen` says that TCP is wanted, whatever lower layers say.
            tcp: if args.no_tcp { Some(false) } else { args.listen.map(|_| true) },
            listen: args.listen,
            socket: args.socket.clone(),
            allow_origins: (!args.allow_origin.is_empty()).then(|| args.allow_origin.clone()),
            ui: args.ui.clone(),
            // Naming a node or a port says that the local network is wanted.
            lan: match args.no_lan {
                true => Some(false),
                false => (args.lan || args.lan_port.is_some() || !args.lan_peer.is_empty()).then_some(true),
            },
            lan_port: args.lan_port,
            lan_peers: (!args.lan_peer.is_empty()).then(|| args.lan_peer.clone()),
            relays: (!relays.is_empty()).then_some(relays),
            // `--adapter` says that Bluetooth is wanted, whatever lower layers say.
            ble: if args.no_ble { Some(false) } else { (!args.adapter.is_empty()).then_some(true) },
            adapters: (!args.adapter.is_empty()).then(|| args.adapter.clone()),
            ..Self::default()
        }
    }

    fn from_environment(env: Environment<'_>) -> Result<Self, ConfigError> {
        let vars = Variables(env);
        let listen = vars.parse_with("MESHD_LISTEN", args::socket_address)?;
        let no_tcp = vars.parse_with("MESHD_NO_TCP", truth)?;
        let relays = vars.list("MESHD_RELAY", RelayUrl::from_str)?;
        let no_ble = vars.parse_with("MESHD_NO_BLE", truth)?;
        let adapters = vars.list("MESHD_ADAPTER", ble::adapter_name)?;
        let no_lan = vars.parse_with("MESHD_NO_LAN", truth)?;
        let lan = vars.parse_with("MESHD_LAN", truth)?;
        let lan_port = vars.parse_with("MESHD_LAN_PORT", |text| {
            text.parse::<u16>().map_err(|_| "not a port, such as 6375")
        })?;
        Ok(Self {
            source: "environment".to_owned(),
            state_dir: vars.path("MESHD_STATE_DIR"),
            name: vars.parse_with("MESHD_NAME", args::nickname)?,
            passphrase_file: vars.path("MESHD_PASSPHRASE_FILE"),
            log: vars.parse_with("MESHD_LOG", LogFilter::from_str)?,
            clock: vars.parse_with("MESHD_CLOCK", ClockPolicy::from_str)?,
            tcp: no_tcp.map(|no| !no).or(listen.map(|_| true)),
            listen,
            socket: vars.path("MESHD_SOCKET"),
            allow_origins: vars.list("MESHD_ALLOW_ORIGIN", args::origin)?,
            ui: vars.path("MESHD_UI"),
            ble: no_ble.map(|no| !no).or(adapters.as_ref().map(|_| true)),
            adapters,
            lan: no_lan.filter(|no| *no).map(|no| !no).or(lan).or(no_lan.map(|no| !no)),
            lan_port,
            lan_peers: vars.list("MESHD_LAN_PEER", LanPeer::from_str)?,
            relays: relays.map(|urls| urls.into_iter().map(RelaySettings::new).collect()),
            ..Self::default()
        })
    }
}

fn truth(text: &str) -> Result<bool, &'static str> {
    match text {
        "1" | "true" | "yes" => Ok(true),
        "0" | "false" | "no" => Ok(false),
        _ => Err("write 1 or 0"),
    }
}

/// The environment, with errors that name the variable. An empty variable counts as not set.
struct Variables<'a>(Environment<'a>);

impl Variables<'_> {
    fn path(&self, name: &str) -> Option<PathBuf> {
        (self.0)(name).filter(|value| !value.is_empty()).map(PathBuf::from)
    }

    fn parse_with<T, E: std::fmt::Display>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(value) = (self.0)(name).filter(|value| !value.is_empty()) else { return Ok(None) };
        let problem = |problem: String| ConfigError::InEnvironment { name, problem };
        let text = value.to_str().ok_or_else(|| problem("not UTF-8".to_owned()))?;
        parse(text).map(Some).map_err(|e| problem(e.to_string()))
    }

    /// Values separated by spaces or commas.
    fn list<T, E: std::fmt::Display>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Option<Vec<T>>, ConfigError> {
        self.parse_with(name, |text| {
            text.split([',', ' ']).filter(|part| !part.is_empty()).map(&parse).collect::<Result<Vec<T>, E>>()
        })
    }
}

impl Settings {
    /// Each value from the first layer that has it.
    fn resolve(layers: &[Layer]) -> (Self, Vec<Entry>) {
        let mut pick = Pick { layers, entries: Vec::new() };
        let (limits, defaults) = (Limits::default(), BleSettings::default());
        let tcp = pick.value("api.tcp", |layer| layer.tcp, true);
        let listen =
            pick.value("api.listen", |layer| layer.listen, SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)));
        let settings = Self {
            listen: tcp.then_some(listen),
            state_dir: pick.option("state_dir", |layer| layer.state_dir.clone()),
            name: pick.option("name", |layer| layer.name.clone()),
            passphrase_file: pick.option("passphrase_file", |layer| layer.passphrase_file.clone()),
            log: pick.value("log", |layer| layer.log.clone(), LogFilter::default()),
            clock: pick.value("clock", |layer| layer.clock, ClockPolicy::default()),
            socket: pick.option("api.socket", |layer| layer.socket.clone()),
            allowed_hosts: pick.value("api.allowed_hosts", |layer| layer.allowed_hosts.clone(), Vec::new()),
            allow_origins: pick.value("api.allow_origins", |layer| layer.allow_origins.clone(), Vec::new()),
            ui: pick.option("api.ui", |layer| layer.ui.clone()),
            limits: Limits {
                store_bytes_max: pick.value(
                    "store.bytes_max",
                    |layer| layer.bytes_max,
                    limits.store_bytes_max,
                ),
                store_bundles_max: pick.value(
                    "store.bundles_max",
                    |layer| layer.bundles_max,
                    limits.store_bundles_max,
                ),
                events_kept: pick.value("store.events_kept", |layer| layer.events_kept, limits.events_kept),
                peers_kept: pick.value("store.peers_kept", |layer| layer.peers_kept, limits.peers_kept),
            },
            ble: BleSettings {
                enabled: pick.value("bluetooth.enabled", |layer| layer.ble, defaults.enabled),
                adapters: pick.value("bluetooth.adapters", |layer| layer.adapters.clone(), defaults.adapters),
                profile: pick.value("bluetooth.profile", |layer| layer.ble_profile, defaults.profile),
                l2cap: pick.value("bluetooth.l2cap", |layer| layer.ble_l2cap, defaults.l2cap),
                slots: pick.slots(defaults.slots),
            },
            lan: LanSettings {
                enabled: pick.value("lan.enabled", |layer| layer.lan, true),
                port: pick.value("lan.port", |layer| layer.lan_port, 0),
                interfaces: pick.value("lan.interfaces", |layer| layer.lan_interfaces.clone(), Vec::new()),
                peers: pick.value("lan.peers", |layer| layer.lan_peers.clone(), Vec::new()),
            },
            retention: pick.value("retention", |layer| layer.retention.clone(), Retention::default()),
            relays: pick.relays(),
        };
        (settings, pick.entries)
    }
}

struct Pick<'a> {
    layers: &'a [Layer],
    entries: Vec<Entry>,
}

impl Pick<'_> {
    fn value<T: std::fmt::Debug>(&mut self, key: &str, get: impl Fn(&Layer) -> Option<T>, default: T) -> T {
        let found = self.layers.iter().find_map(|layer| Some((get(layer)?, layer.source.as_str())));
        let (value, source) = found.unwrap_or((default, "default"));
        self.say(key, &format!("{value:?}"), source);
        value
    }

    fn option<T: std::fmt::Debug>(&mut self, key: &str, get: impl Fn(&Layer) -> Option<T>) -> Option<T> {
        let (value, source) =
            self.layers.iter().find_map(|layer| Some((get(layer)?, layer.source.as_str())))?;
        self.say(key, &format!("{value:?}"), source);
        Some(value)
    }

    /// Both numbers come from one layer, where they were found to fit each other.
    fn slots(&mut self, default: ble::SlotLimits) -> ble::SlotLimits {
        let slots = |layer: &Layer| layer.ble_slots;
        self.value("bluetooth.links", |layer| slots(layer).map(ble::SlotLimits::links), default.links());
        self.value(
            "bluetooth.callers",
            |layer| slots(layer).map(ble::SlotLimits::callers),
            default.callers(),
        );
        self.layers.iter().find_map(slots).unwrap_or(default)
    }

    /// The relays of the highest layer that has any, once each. One that a flag or variable names keeps the
    /// token and authority that a lower layer has for it.
    fn relays(&mut self) -> Vec<RelaySettings> {
        let Some(top) = self.layers.iter().find(|layer| layer.relays.is_some()) else { return Vec::new() };
        let all: Vec<&RelaySettings> =
            self.layers.iter().flat_map(|layer| layer.relays.iter().flatten()).collect();
        let mut relays: Vec<RelaySettings> = Vec::new();
        for relay in top.relays.iter().flatten() {
            if relays.iter().any(|other| other.url == relay.url) {
                continue;
            }
            let same = || all.iter().filter(|other| other.url == relay.url);
            relays.push(RelaySettings {
                url: relay.url.clone(),
                token_file: same().find_map(|other| other.token_file.clone()),
                ca_file: same().find_map(|other| other.ca_file.clone()),
            });
        }
        for relay in &relays {
            self.say("relay.url", &format!("{:?}", relay.name()), &top.source);
            for (key, path) in [("relay.token_file", &relay.token_file), ("relay.ca_file", &relay.ca_file)] {
                if let Some(path) = path {
                    self.say(key, &format!("{path:?}"), &top.source);
                }
            }
        }
        relays
    }

    /// Notes a setting, its value as the file has it: what is no TOML by itself, an address or a word, is in quotes.
    fn say(&mut self, key: &str, value: &str, source: &str) {
        let is_toml = toml::from_str::<toml::Table>(&format!("value = {value}")).is_ok();
        let value = if is_toml { value.to_owned() } else { format!("{:?}", value.to_lowercase()) };
        let (key, origin) = (key.to_owned(), source.to_owned());
        self.entries.push(Entry { key, value, origin });
    }
}

#[cfg(test)]
mod tests;

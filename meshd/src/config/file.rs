//! The configuration file: TOML in which every key is known.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Deserializer};

use super::{ConfigError, Layer};
use crate::args;
use crate::clock::ClockPolicy;
use crate::link::ble;
use crate::link::lan::LanPeer;
use crate::link::relay::{RelaySettings, RelayUrl};
use crate::log::LogFilter;
use crate::retention::Retention;

/// Largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Least room for a store to be of use, in bytes.
const BYTES_MIN: u64 = 1024 * 1024;
/// Least count of anything kept.
const COUNT_MIN: u64 = 100;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    state_dir: Option<PathBuf>,
    #[serde(deserialize_with = "nickname")]
    name: Option<String>,
    passphrase_file: Option<PathBuf>,
    #[serde(deserialize_with = "from_text")]
    log: Option<LogFilter>,
    clock: Option<ClockPolicy>,
    api: Api,
    store: Store,
    bluetooth: Bluetooth,
    lan: Lan,
    #[serde(deserialize_with = "retention")]
    retention: Option<Retention>,
    relay: Option<Vec<Relay>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Api {
    tcp: Option<bool>,
    #[serde(deserialize_with = "address")]
    listen: Option<SocketAddr>,
    socket: Option<PathBuf>,
    allowed_hosts: Option<Vec<String>>,
    #[serde(deserialize_with = "origins")]
    allow_origins: Option<Vec<String>>,
    ui: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Store {
    #[serde(deserialize_with = "bytes")]
    bytes_max: Option<u64>,
    #[serde(deserialize_with = "count")]
    bundles_max: Option<u64>,
    #[serde(deserialize_with = "count")]
    events_kept: Option<u64>,
    #[serde(deserialize_with = "count")]
    peers_kept: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(try_from = "BluetoothKeys")]
struct Bluetooth {
    keys: BluetoothKeys,
    slots: Option<ble::SlotLimits>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct BluetoothKeys {
    enabled: Option<bool>,
    #[serde(deserialize_with = "adapters")]
    adapters: Option<Vec<String>>,
    profile: Option<ble::Profile>,
    l2cap: Option<bool>,
    links: Option<u8>,
    callers: Option<u8>,
}

impl TryFrom<BluetoothKeys> for Bluetooth {
    type Error = String;

    fn try_from(keys: BluetoothKeys) -> Result<Self, String> {
        if keys.links.is_none() && keys.callers.is_none() {
            return Ok(Self { keys, slots: None });
        }
        let usual = ble::SlotLimits::default();
        let links = keys.links.unwrap_or(usual.links());
        let callers = keys.callers.unwrap_or(usual.callers().min(links.saturating_sub(1)));
        let slots = ble::SlotLimits::new(links, callers)?;
        Ok(Self { keys, slots: Some(slots) })
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Lan {
    enabled: Option<bool>,
    port: Option<u16>,
    interfaces: Option<Vec<String>>,
    #[serde(deserialize_with = "lan_peers")]
    peers: Option<Vec<LanPeer>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, try_from = "RelayKeys")]
struct Relay(RelaySettings);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RelayKeys {
    url: RelayUrl,
    topic: Option<String>,
    token_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
}

impl TryFrom<RelayKeys> for Relay {
    type Error = String;

    fn try_from(keys: RelayKeys) -> Result<Self, String> {
        let url = match keys.topic {
            Some(topic) => keys.url.with_topic(&topic)?,
            None => keys.url,
        };
        Ok(Self(RelaySettings { url, token_file: keys.token_file, ca_file: keys.ca_file }))
    }
}

/// Reads a configuration file.
pub(super) fn read(path: &Path) -> Result<Layer, ConfigError> {
    let unreadable = |why| ConfigError::Unreadable { path: path.to_owned(), why };
    let size = path.metadata().map_err(unreadable)?.len();
    if size > FILE_BYTES_MAX {
        return Err(unreadable(std::io::Error::other("it is too large for a configuration file")));
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let mut layer = parse(&text).map_err(|(line, problem)| ConfigError::InFile {
        path: path.to_owned(),
        line,
        problem,
    })?;
    layer.source = path.display().to_string();
    Ok(layer)
}

/// Reads the text of a configuration file.
///
/// # Errors
/// The line, from 1, and what is wrong with it, on one line.
pub(super) fn parse(text: &str) -> Result<Layer, (usize, String)> {
    let file: File = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text.as_bytes()[..at].iter().filter(|&&byte| byte == b'\n').count() + 1;
        let message = error.message().replace("unknown field", "unknown setting").replace('\n', " ");
        (line, message)
    })?;
    let Bluetooth { keys: bluetooth, slots } = file.bluetooth;
    Ok(Layer {
        source: String::new(),
        state_dir: file.state_dir,
        name: file.name,
        passphrase_file: file.passphrase_file,
        log: file.log,
        clock: file.clock,
        tcp: file.api.tcp,
        listen: file.api.listen,
        socket: file.api.socket,
        allowed_hosts: file.api.allowed_hosts,
        allow_origins: file.api.allow_origins,
        ui: file.api.ui,
        bytes_max: file.store.bytes_max,
        bundles_max: file.store.bundles_max,
        events_kept: file.store.events_kept,
        peers_kept: file.store.peers_kept,
        ble: bluetooth.enabled,
        adapters: bluetooth.adapters,
        ble_profile: bluetooth.profile,
        ble_l2cap: bluetooth.l2cap,
        ble_slots: slots,
        lan: file.lan.enabled,
        lan_port: file.lan.port,
        lan_interfaces: file.lan.interfaces,
        lan_peers: file.lan.peers,
        retention: file.retention,
        relays: file.relay.map(|relays| relays.into_iter().map(|relay| relay.0).collect()),
    })
}

fn from_text<'de, D, T>(value: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: std::fmt::Display>,
{
    text_with(value, T::from_str)
}

fn nickname<'de, D: Deserializer<'de>>(value: D) -> Result<Option<String>, D::Error> {
    text_with(value, args::nickname)
}

fn address<'de, D: Deserializer<'de>>(value: D) -> Result<Option<SocketAddr>, D::Error> {
    text_with(value, args::socket_address)
}

fn text_with<'de, D, T, E>(value: D, parse: impl Fn(&str) -> Result<T, E>) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    E: std::fmt::Display,
{
    let text = String::deserialize(value)?;
    parse(&text).map(Some).map_err(serde::de::Error::custom)
}

fn retention<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Retention>, D::Error> {
    Retention::new(BTreeMap::deserialize(value)?).map(Some).map_err(serde::de::Error::custom)
}

fn lan_peers<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Vec<LanPeer>>, D::Error> {
    let texts = Vec::<String>::deserialize(value)?;
    let peers = texts.iter().map(|text| text.parse()).collect::<Result<_, _>>();
    peers.map(Some).map_err(serde::de::Error::custom)
}

fn origins<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Vec<String>>, D::Error> {
    let texts = Vec::<String>::deserialize(value)?;
    let origins = texts.iter().map(|text| args::origin(text)).collect::<Result<_, _>>();
    origins.map(Some).map_err(serde::de::Error::custom)
}

fn adapters<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Vec<String>>, D::Error> {
    let texts = Vec::<String>::deserialize(value)?;
    let names = texts.iter().map(|text| ble::adapter_name(text)).collect::<Result<_, _>>();
    names.map(Some).map_err(serde::de::Error::custom)
}

fn bytes<'de, D: Deserializer<'de>>(value: D) -> Result<Option<u64>, D::Error> {
    at_least(value, BYTES_MIN)
}

fn count<'de, D: Deserializer<'de>>(value: D) -> Result<Option<u64>, D::Error> {
    at_least(value, COUNT_MIN)
}

fn at_least<'de, D: Deserializer<'de>>(value: D, min: u64) -> Result<Option<u64>, D::Error> {
    let number = u64::deserialize(value)?;
    if number < min || number > i64::MAX as u64 {
        return Err(serde::de::Error::custom(format_args!("must be at least {min}")));
    }
    Ok(Some(number))
}

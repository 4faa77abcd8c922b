//! What a user reads after the first start: who this node is, where its API is, what to type next.

use std::io::Write;

use crate::config::Settings;
use crate::daemon::{Addresses, environment};
use crate::driver::Driver;
use crate::listen::TOKEN_FILE;
use crate::places;
use crate::state_dir::StateDir;

/// The facts.
pub(crate) struct Banner {
    node: String,
    name: Option<String>,
    api: String,
    token: String,
    lan: &'static str,
    relays: String,
    bluetooth: String,
    /// How to call `meshctl` so that it finds this daemon.
    meshctl: String,
    demo: bool,
}

impl Banner {
    pub(crate) async fn new(
        addresses: &Addresses,
        state: &StateDir,
        driver: &Driver,
        settings: &Settings,
        demo: bool,
    ) -> Self {
        let known =
            driver.read(|node, _| (node.id().to_string(), node.profile().ok().and_then(|p| p.name))).await;
        let (node, name) = known.unwrap_or_default();
        let tcp = addresses.tcp.map(|address| format!("http://{address}"));
        let socket = addresses.socket.as_ref().map(|socket| socket.display().to_string());
        let relays = match settings.relays.as_slice() {
            [] => "none; meet other nodes with --relay ws://host:8080".to_owned(),
            relays => relays.iter().map(|relay| relay.name()).collect::<Vec<_>>().join(", "),
        };
        Self {
            node,
            name,
            api: tcp.into_iter().chain(socket).collect::<Vec<_>>().join(" and "),
            token: state.path().join(TOKEN_FILE).display().to_string(),
            bluetooth: bluetooth(settings),
            lan: if settings.lan.enabled {
                "neighbours are found there; --no-lan keeps off it"
            } else {
                "off"
            },
            relays,
            meshctl: meshctl(addresses, state),
            demo,
        }
    }

    /// For a person, on standard error.
    pub(crate) fn print(&self) {
        let Self { node, name, api, token, bluetooth, lan, relays, meshctl, demo } = self;
        let name = name.as_deref().map_or("no name yet: --name".to_owned(), |name| format!("{name:?}"));
        let mut text = format!(
            "\nNode {node} ({name})\n  API        {api}\n  token      {token}\n  Bluetooth  {bluetooth}\n  network    {lan}\n  relays     {relays}\n\nNext:\n  {meshctl} status\n  {meshctl} send \"hello\"\n  {meshctl} watch\n"
        );
        if *demo {
            text += "\nA second node, Echo, lives in this process and answers what you send. Both meet at a relay of\nthis process, where `websocat URL` with the relay's URL above sees and says the same. Ctrl-C ends it all.\n";
        }
        // A closed terminal is no reason to stop.
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    /// For the log, at every start.
    pub(crate) fn log(&self) {
        tracing::info!(api = self.api, version = env!("CARGO_PKG_VERSION"), "meshd is up");
        tracing::debug!(node = self.node, "that is this node's id");
    }
}

fn bluetooth(settings: &Settings) -> String {
    let ble = &settings.ble;
    match ble.adapters.as_slice() {
        _ if !ble.enabled => "switched off".to_owned(),
        [] => "on, with the first adapter there is; `status` says how it stands".to_owned(),
        adapters => format!("on, with {}; `status` says how it stands", adapters.join(", ")),
    }
}

/// `meshctl` looks at the usual places by itself.
fn meshctl(addresses: &Addresses, state: &StateDir) -> String {
    // Not quietly: the first time it is built, and silence for a minute looks like a node that does not answer.
    let program = if environment("CARGO_PKG_NAME").is_some() { "cargo run -p meshctl --" } else { "meshctl" };
    let usual = places::state_dir(&environment).map(|dir| places::socket(&environment, &dir));
    let is_usual = |socket: &std::path::PathBuf| {
        usual.is_ok_and(|usual| usual == *socket) || socket == std::path::Path::new(places::SYSTEM_SOCKET)
    };
    if addresses.socket.as_ref().is_some_and(is_usual) {
        program.to_owned()
    } else {
        format!("{program} --state-dir {}", state.path().display())
    }
}

//! The life of the process: settings, state, store, node, links, API; and the way back down.
//!
//! What is decided here is only the order. Whatever could refuse to start comes before anything is promised:
//! `api.json` and systemd's READY are written when the API answers. On the way down nothing new comes in
//! first, and the store is closed last.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use meshlink_core::{LinkKind, Node, Seq, Store, TransportState, TransportStatus};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::activation::{Activated, tcp_listener};
use crate::args::Args;
use crate::banner::Banner;
use crate::clock::Clock;
use crate::config::{Configuration, DEFAULT_FILE, Settings, unknown_variables};
use crate::control::{self, Control, adopt_name};
use crate::demo::{Demo, ScratchDir};
use crate::driver::Driver;
use crate::http::{self, App, Listener};
use crate::identity_file::{self, system_entropy};
use crate::link::ble;
use crate::link::network::watch_network;
use crate::link::{lan, relay};
use crate::listen::{self, SocketFile};
use crate::locking;
use crate::places;
use crate::retention;
use crate::service_manager;
use crate::signals::{HANG_UP, Signals};
use crate::sqlite::SqliteStore;
use crate::state_dir::{LOCK_FILE, StateDir};
use crate::state_files::{self, DATABASE};
use crate::stop::{Stopper, Stopping, stopper};
use crate::vault::{self, Keyring, Passphrase, Unlocked};

/// The systemd credential with the passphrase.
const PASSPHRASE_CREDENTIAL: &str = "meshd.passphrase";
/// For answers under way when the daemon stops.
const HTTP_TIME_MAX: Duration = Duration::from_millis(1000);
/// For links to say good-bye.
const LINKS_TIME_MAX: Duration = Duration::from_millis(600);

/// How the process ends if not well.
enum Failure {
    /// What was asked for makes no sense: exit code 2.
    Usage(anyhow::Error),
    /// Anything else: exit code 1.
    Failed(anyhow::Error),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

/// Runs the daemon with the arguments and the environment of this process.
pub fn main() -> ExitCode {
    // A core would hold the keys (threat C-18), and nobody needs one: a panic says where it was.
    if let Err(error) = forbid_cores() {
        let _ = writeln!(std::io::stderr(), "meshd: cores can't be switched off ({error})");
    }
    // Whatever this process makes is its user's alone.
    #[cfg(unix)]
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let args = Args::parse();
    let (error, code) = match run(&args) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Usage(error)) => (error, 2),
        Err(Failure::Failed(error)) => (error, 1),
    };
    // Nobody may be there to read it; the exit code says it, too.
    let _ = writeln!(std::io::stderr(), "meshd: {error:#}");
    ExitCode::from(code)
}

#[cfg(target_os = "linux")]
fn forbid_cores() -> std::io::Result<()> {
    Ok(rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?)
}

#[cfg(all(unix, not(target_os = "linux")))]
fn forbid_cores() -> std::io::Result<()> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    Ok(setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?)
}

/// Windows' error reports can't be forbidden without unsafe code of ours.
#[cfg(windows)]
fn forbid_cores() -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

fn run(args: &Args) -> Result<(), Failure> {
    if args.print_config {
        return Ok(print(DEFAULT_FILE)?);
    }
    let configuration =
        Configuration::load(args, &|name| std::env::var_os(name)).map_err(|e| Failure::Usage(e.into()))?;
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let warnings = || configuration.warnings.iter().cloned().chain(unknown_variables(names));
    if args.check_config {
        return check_config(&configuration, warnings());
    }
    if args.wipe {
        return wipe(&configuration.settings);
    }
    let log = crate::log::start(&configuration.settings.log);
    let control = Control::new(args, &configuration, log);
    for warning in warnings() {
        tracing::warn!("{warning}");
    }
    let activated = Activated::take()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .build()
        .context("can't start the runtime")?;
    let ended = runtime.block_on(live(configuration.settings, control, activated, args.demo));
    // A name lookup may hang; nobody waits for its answer any more.
    runtime.shutdown_background();
    ended
}

/// Says what the settings come to, and what a start would say about them.
fn check_config(
    configuration: &Configuration,
    warnings: impl Iterator<Item = String>,
) -> Result<(), Failure> {
    if let Some(path) = &configuration.settings.ui {
        http::check_ui(path).map_err(|error| Failure::Usage(error.into()))?;
    }
    for warning in warnings {
        // Nobody may be there to read it.
        let _ = writeln!(std::io::stderr(), "meshd: warning: {warning}");
    }
    Ok(print(&configuration.report())?)
}

fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// From start to stop.
async fn live(
    mut settings: Settings,
    control: Control,
    activated: Activated,
    with_demo: bool,
) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let (stopper, stopping) = stopper();
    let clock = Clock::new(settings.clock);
    let demo = if with_demo { Some(Demo::prepare(&mut settings)?) } else { None };
    let start = Start::new(&settings, demo.as_ref().and_then(Demo::scratch))?;
    let api = Api::bind(&settings, activated, &start, with_demo).await?;
    let first_start = !start.state.has(DATABASE);
    let (driver, keyring) = start.open_node(&settings, clock)?;
    introduce(&driver, &settings).await?;
    report_missing_transports(&driver, &settings);

    let mut links = spawn_links(&settings, &driver, &stopping);
    let demo = match demo {
        Some(demo) => Some(demo.run(driver.clone(), stopping.clone()).await?),
        None => None,
    };
    let answering = api.serve(&settings, &control, &start, &driver, keyring, stopping.clone()).await?;
    let banner = Banner::new(&answering.addresses, &start.state, &driver, &settings, demo.is_some()).await;
    // A journal is read by nobody at the first start, and keeps for months who this node is.
    if (first_start || demo.is_some()) && !crate::log::stderr_is_the_journal() {
        banner.print();
    }
    banner.log();
    service_manager::ready();
    tokio::spawn(retention::run(settings.retention.clone(), driver.clone(), stopping.clone()));
    tokio::spawn(service_manager::report(driver.clone(), stopping));

    let wiped = Arc::clone(&answering.wiped);
    let ended = wait_for_end(&mut signals, &control, &driver, &wiped).await;
    service_manager::stopping();
    stop(&start, stopper, answering, &mut links, &driver).await;
    if state_files::is_wiped(&start.state).is_ok_and(|wiped| wiped) {
        finish_wipe(&start.state);
    }
    if let Some(demo) = demo {
        demo.stop().await;
    }
    ended
}

/// Before there is a node: the state directory and what is in it.
pub(crate) struct Start {
    pub(crate) state: Arc<StateDir>,
}

fn state_path(settings: &Settings) -> Result<PathBuf, Failure> {
    match &settings.state_dir {
        Some(path) => Ok(path.clone()),
        None => places::state_dir(&environment).map_err(|e| Failure::Usage(e.into())),
    }
}

/// Destroys the node of a state directory that no daemon has.
fn wipe(settings: &Settings) -> Result<(), Failure> {
    let path = state_path(settings)?;
    if !path.exists() {
        return Err(Failure::Usage(anyhow::anyhow!("{} is not there: nothing to wipe", path.display())));
    }
    let state = StateDir::open(&path).map_err(anyhow::Error::from)?;
    state_files::destroy_keys(&state).map_err(anyhow::Error::from)?;
    print("the keys are destroyed\n")?;
    state_files::finish_wipe(&state).map_err(anyhow::Error::from)?;
    for name in state_files::strangers(state.path()) {
        print(&format!("left there, since it is not meshd's: {name}\n"))?;
    }
    state.remove(LOCK_FILE).map_err(anyhow::Error::from)?;
    Ok(print("everything else is gone, too\n")?)
}

impl Start {
    fn new(settings: &Settings, scratch: Option<&ScratchDir>) -> Result<Self, Failure> {
        let path = match scratch.filter(|_| settings.state_dir.is_none()) {
            Some(scratch) => scratch.path().to_owned(),
            None => state_path(settings)?,
        };
        let state = StateDir::open(&path).map_err(anyhow::Error::from)?;
        if state_files::is_wiped(&state).map_err(anyhow::Error::from)? {
            tracing::warn!("a wipe was interrupted: it goes on");
            state_files::finish_wipe(&state).map_err(anyhow::Error::from)?;
        }
        Ok(Self { state: Arc::new(state) })
    }

    fn open_node(&self, settings: &Settings, clock: Clock) -> anyhow::Result<(Driver, Keyring)> {
        open_node(&self.state, settings, given_passphrase(settings).as_ref(), clock)
    }
}

/// The passphrase that is there for the daemon: in the file that was named, else in systemd's credential. A file that
/// can't be read is said, and the node starts locked: it still carries.
fn given_passphrase(settings: &Settings) -> Option<Passphrase> {
    let credential = || {
        let path = Path::new(&environment("CREDENTIALS_DIRECTORY")?).join(PASSPHRASE_CREDENTIAL);
        path.exists().then_some(path)
    };
    let path = settings.passphrase_file.clone().or_else(credential)?;
    Passphrase::read(&path).inspect_err(|error| tracing::error!(%error, "no passphrase is used")).ok()
}

/// Opens keys and store of a state directory and starts the node on its thread, locked if the keys are.
pub(crate) fn open_node(
    state: &Arc<StateDir>,
    settings: &Settings,
    passphrase: Option<&Passphrase>,
    clock: Clock,
) -> anyhow::Result<(Driver, Keyring)> {
    let (keyring, unlocked) = vault::apart(|| Keyring::open(Arc::clone(state), DATABASE, passphrase))?;
    let database = state.path().join(DATABASE);
    let (store, identity) = match unlocked {
        Some(Unlocked { identity, keys, restored }) => {
            let store = SqliteStore::open(&database, Some(keys))?;
            let identity = locking::choose(&keyring, &store, identity, restored, state.path())?;
            (store, identity)
        }
        None => {
            tracing::warn!("locked: this node carries for others until it is unlocked with `meshctl unlock`");
            (SqliteStore::open(&database, None)?, identity_file::generate(&system_entropy)?)
        }
    };
    let mut seed = [0; 32];
    system_entropy(&mut seed)
        .map_err(|detail| anyhow::anyhow!("the system gives no random bytes ({detail})"))?;
    let mut node = Node::open(store, identity, seed, settings.limits, clock.now())?;
    node.set_reachable();
    Ok((Driver::start(node, clock)?, keyring))
}

/// Removes what a wipe leaves: the keys are gone already.
fn finish_wipe(state: &StateDir) {
    match state_files::finish_wipe(state) {
        Ok(()) => tracing::warn!("wiped"),
        Err(error) => {
            tracing::error!(%error, "the wipe goes on at the next start; what is left can't be opened")
        }
    }
    for name in state_files::strangers(state.path()) {
        tracing::warn!(name, "not this program's, and still there");
    }
    if let Err(error) = state.remove(LOCK_FILE) {
        tracing::debug!(%error, "the lock file stays");
    }
}

/// Writes down whose the store is and takes the name that was asked for. A full disk is no reason not to
/// start.
async fn introduce(driver: &Driver, settings: &Settings) -> anyhow::Result<()> {
    let name = settings.name.clone();
    let written = driver
        .write(move |node, now| -> anyhow::Result<()> {
            if node.store().is_locked() {
                return Ok(());
            }
            locking::settle_copy(node, now)?;
            locking::note_owner(node)?;
            adopt_name(node, name, now)
        })
        .await;
    match written {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error.context("can't set the node's name")),
        Err(error) => {
            tracing::warn!(%error, "the node's name was not stored");
            Ok(())
        }
    }
}

/// Transports that a user may look for and that are not there.
fn report_missing_transports(driver: &Driver, settings: &Settings) {
    let port = driver.links();
    let off = |kind, name: &str, detail: &str, hint: Option<&str>| TransportStatus {
        kind,
        name: name.to_owned(),
        state: TransportState::Off,
        detail: detail.to_owned(),
        hint: hint.map(str::to_owned),
    };
    if !settings.lan.enabled {
        let hint = "leave --no-lan out, or set enabled = true in [lan] of the configuration";
        port.report(off(LinkKind::Lan, "lan", "switched off", Some(hint)));
    }
    if settings.relays.is_empty() {
        let hint = "name one with --relay ws://host:8080, or in the configuration file";
        port.report(off(LinkKind::Relay, "relay", "no relay is configured", Some(hint)));
    }
}

fn spawn_links(settings: &Settings, driver: &Driver, stopping: &Stopping) -> JoinSet<()> {
    let mut links = JoinSet::new();
    links.spawn(ble::run(settings.ble.clone(), driver.clone(), stopping.clone()));
    if settings.relays.is_empty() && !settings.lan.enabled {
        return links;
    }
    let network = watch_network();
    if settings.lan.enabled {
        links.spawn(lan::run(settings.lan.clone(), driver.links(), network.clone(), stopping.clone()));
    }
    for relay in &settings.relays {
        let name = relay.name();
        let link = relay::run(relay.clone(), driver.clone(), network.clone(), stopping.clone());
        links.spawn(async move {
            if let Err(error) = link.await {
                tracing::error!(%error, relay = name, "the link to the relay ended");
            }
        });
    }
    links
}

/// The API, bound but not answering yet.
struct Api {
    listeners: Vec<Listener>,
    addresses: Addresses,
    /// Only one that this process made goes with it.
    socket: Option<SocketFile>,
}

/// Where the API answers.
#[derive(Debug, Clone)]
pub(crate) struct Addresses {
    pub(crate) tcp: Option<std::net::SocketAddr>,
    /// `None` where there are no Unix sockets.
    pub(crate) socket: Option<PathBuf>,
}

/// The API at work.
struct Answering {
    addresses: Addresses,
    server: tokio::task::JoinHandle<()>,
    wiped: Arc<Notify>,
    _socket: Option<SocketFile>,
}

impl Api {
    /// Takes the addresses. What systemd handed over takes the place of what would be made here, of its kind.
    async fn bind(
        settings: &Settings,
        activated: Activated,
        #[cfg_attr(windows, expect(unused_variables, reason = "it may have to hold a socket"))] start: &Start,
        with_demo: bool,
    ) -> anyhow::Result<Self> {
        let mut listeners = Vec::new();
        #[cfg(unix)]
        let (path, socket) = unix_sockets(settings, activated.unix, start, with_demo, &mut listeners).await?;
        #[cfg(windows)]
        let (path, socket) = (no_unix_sockets(settings)?, None);
        let mut tcp = None;
        for listener in activated.tcp {
            let listener = tcp_listener(listener)?;
            tcp = Some(listener.local_addr().context("can't tell the API's address")?);
            listeners.push(Listener::Tcp(listener));
        }
        if let (None, Some(address)) = (tcp, settings.listen) {
            let listener = bind_tcp(address, with_demo).await?;
            tcp = Some(listener.local_addr().context("can't tell the API's address")?);
            listeners.push(Listener::Tcp(listener));
        }
        Ok(Self { listeners, addresses: Addresses { tcp, socket: path }, socket })
    }

    /// Starts to answer, and writes down where.
    async fn serve(
        self,
        settings: &Settings,
        control: &Control,
        start: &Start,
        driver: &Driver,
        keyring: Keyring,
        mut stopping: Stopping,
    ) -> Result<Answering, Failure> {
        let wiped = Arc::new(Notify::new());
        let file_token = listen::token(&start.state, &system_entropy).map_err(anyhow::Error::from)?;
        let app = App::new(http::Settings {
            driver: driver.clone(),
            keyring: Arc::new(keyring),
            state_dir: start.state.path().to_owned(),
            wiped: Arc::clone(&wiped),
            file_token,
            store_bytes_max: settings.limits.store_bytes_max,
            control: control.clone(),
            ui_dir: settings.ui.clone(),
        })
        .await
        .map_err(|error| match error {
            http::StartError::Ui { .. } => Failure::Usage(error.into()),
            http::StartError::Gone | http::StartError::Store(_) => Failure::Failed(error.into()),
        })?;
        let server = tokio::spawn(http::serve(app, self.listeners, async move { stopping.heard().await }));
        let Addresses { tcp, socket } = &self.addresses;
        if let Err(error) = listen::write_address(&start.state, *tcp, socket.as_deref()) {
            // A full disk; programs find the socket without it.
            tracing::warn!(%error, "programs that look for the API in the state directory won't find it");
        }
        Ok(Answering { addresses: self.addresses, server, wiped, _socket: self.socket })
    }
}

/// Unix sockets: those that systemd handed over, else one of our own, which goes with its owner; and the path of one.
#[cfg(unix)]
async fn unix_sockets(
    settings: &Settings,
    handed_over: Vec<crate::activation::ActivatedUnix>,
    start: &Start,
    with_demo: bool,
    listeners: &mut Vec<Listener>,
) -> anyhow::Result<(Option<PathBuf>, Option<SocketFile>)> {
    if handed_over.is_empty() {
        let (unix, socket) = bind_unix(settings, start, with_demo).await?;
        listeners.push(Listener::Unix { listener: unix, admits: false });
        return Ok((Some(socket.path().to_owned()), Some(socket)));
    }
    let path = handed_over.iter().find_map(|unix| unix.path().map(Path::to_owned));
    for unix in handed_over {
        let admits = unix.admits();
        tracing::debug!(path = ?unix.path(), admits, "socket handed over by systemd");
        if !admits {
            tracing::warn!(
                path = ?unix.path(),
                "the socket unit lets everybody connect: only this user and root are trusted on it"
            );
        }
        listeners.push(Listener::Unix { listener: unix.into_listener()?, admits });
    }
    Ok((Some(path.context("the socket that systemd handed over has no path")?), None))
}

/// Here programs reach the API over TCP alone.
#[cfg(windows)]
fn no_unix_sockets(settings: &Settings) -> anyhow::Result<Option<PathBuf>> {
    anyhow::ensure!(settings.socket.is_none(), "no Unix sockets on this system: leave --socket out");
    anyhow::ensure!(
        settings.listen.is_some(),
        "TCP is the only way to the API on this system: leave --no-tcp out"
    );
    Ok(None)
}

/// The Unix socket. A demonstration that was told none steps aside for a daemon at work.
#[cfg(unix)]
async fn bind_unix(
    settings: &Settings,
    start: &Start,
    with_demo: bool,
) -> anyhow::Result<(tokio::net::UnixListener, SocketFile)> {
    let usual = settings.socket.clone().unwrap_or_else(|| places::socket(&environment, start.state.path()));
    match listen::bind_unix(&usual).await {
        Err(_) if with_demo && settings.socket.is_none() => {
            Ok(listen::bind_unix(&start.state.path().join("meshd.sock")).await?)
        }
        bound => Ok(bound?),
    }
}

/// The TCP port, with the same courtesy.
async fn bind_tcp(address: std::net::SocketAddr, with_demo: bool) -> anyhow::Result<tokio::net::TcpListener> {
    match listen::bind_tcp(address).await {
        Err(_) if with_demo && Settings::default().listen == Some(address) => {
            Ok(listen::bind_tcp(std::net::SocketAddr::new(address.ip(), 0)).await?)
        }
        bound => Ok(bound?),
    }
}

async fn wait_for_end(
    signals: &mut Signals,
    control: &Control,
    driver: &Driver,
    wiped: &Notify,
) -> Result<(), Failure> {
    let end = async {
        loop {
            match signals.next().await {
                HANG_UP if !signals.interactive => {
                    service_manager::reloading();
                    if let Err(error) = control::reload(control, driver).await {
                        tracing::error!(%error, "the configuration has a mistake; everything stays as it is");
                    }
                    service_manager::reloaded();
                }
                name => return name,
            }
        }
    };
    tokio::select! {
        () = wiped.notified() => {
            tracing::warn!("wiped: stopping, and removing what is left");
            Ok(())
        }
        name = end => {
            tracing::info!("{name}: stopping");
            Ok(())
        }
        () = gone(driver.newest()) => Err(Failure::Failed(anyhow::anyhow!("the node's thread ended by itself"))),
    }
}

/// Waits until the node's thread is gone.
async fn gone(mut newest: watch::Receiver<Seq>) {
    while newest.changed().await.is_ok() {}
}

async fn stop(
    start: &Start,
    stopper: Stopper,
    answering: Answering,
    links: &mut JoinSet<()>,
    driver: &Driver,
) {
    tokio::spawn(async {
        // Whoever asks twice is not interested in good order.
        if let Ok(mut signals) = Signals::listen() {
            while signals.next().await == HANG_UP {}
            std::process::exit(1);
        }
    });
    if let Err(error) = start.state.remove(listen::ADDRESS_FILE) {
        tracing::debug!(%error, "api.json stays");
    }
    stopper.stop();
    let Answering { mut server, _socket, .. } = answering;
    if timeout(HTTP_TIME_MAX, &mut server).await.is_err() {
        server.abort();
        tracing::debug!("answers under way were cut");
    }
    let all = async { while links.join_next().await.is_some() {} };
    if timeout(LINKS_TIME_MAX, all).await.is_err() {
        links.abort_all();
    }
    driver.stop().await;
    tracing::info!("stopped");
}

pub(crate) fn environment(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name)
}

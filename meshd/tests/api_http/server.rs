//! A node with its API on a free loopback port and a Unix socket, for one test.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;

use meshd::clock::{Clock, ClockPolicy};
use meshd::config;
use meshd::control::Control;
use meshd::driver::Driver;
use meshd::http::{App, Listener, SecretHash, Settings, serve};
use meshd::identity_file::IDENTITY_FILE;
use meshd::sqlite::SqliteStore;
use meshd::state_dir::StateDir;
use meshd::vault::{Keyring, Unlocked};
use meshlink_core::{BridgedPost, Limits, Node, Now, StoreError};
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use crate::client::Client;

/// The same node in every test, in the form of the first release's key file.
fn identity_text() -> String {
    let secret = [7; 64];
    let check = data_encoding::HEXLOWER.encode(&blake3::hash(&secret).as_bytes()[..8]);
    format!("meshlink-identity-1 {} {check}\n", data_encoding::HEXLOWER.encode(&secret))
}

/// The token of the file in the state directory.
pub(crate) const TOKEN: &str = "the file's token";
/// The origin that may call.
pub(crate) const ALLOWED_ORIGIN: &str = "http://localhost:5173";

/// A running node; it stops with its owner.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) socket: PathBuf,
    driver: Driver,
    runtime: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    dir: Option<tempfile::TempDir>,
}

/// How it differs from the default.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) ui_dir: Option<PathBuf>,
    pub(crate) events_kept: Option<u64>,
    /// A directory with the store of an earlier server.
    pub(crate) dir: Option<tempfile::TempDir>,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::with(Options::default())
    }

    pub(crate) fn with(options: Options) -> Self {
        let dir = options.dir.unwrap_or_else(|| tempfile::tempdir().expect("a temporary directory"));
        let socket = dir.path().join("meshd.sock");
        let _ = std::fs::remove_file(&socket);
        let mut limits = Limits::default();
        limits.events_kept = options.events_kept.unwrap_or(limits.events_kept);
        let state = Arc::new(StateDir::open(dir.path()).expect("a state directory"));
        if !state.has(IDENTITY_FILE) {
            state.write_private(IDENTITY_FILE, identity_text().as_bytes()).expect("room");
        }
        let (keyring, unlocked) = Keyring::open(state, "meshd.db", None).expect("keys");
        let Unlocked { identity, keys, restored: _ } = unlocked.expect("no passphrase");
        let store = SqliteStore::open(&dir.path().join("meshd.db"), Some(keys)).expect("a store");
        let clock = Clock::new(ClockPolicy::Trust);
        let node = Node::open(store, identity, [3; 32], limits, clock.now()).expect("a node");
        let driver = Driver::start(node, clock).expect("a driver");
        let (started, start) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let settings = Settings {
            driver: driver.clone(),
            keyring: Arc::new(keyring),
            state_dir: dir.path().to_owned(),
            wiped: Arc::default(),
            file_token: SecretHash::of(TOKEN),
            store_bytes_max: limits.store_bytes_max,
            control: Control::fixed(&config::Settings {
                allowed_hosts: vec!["mesh.example".to_owned()],
                allow_origins: vec![ALLOWED_ORIGIN.to_owned()],
                ..config::Settings::default()
            }),
            ui_dir: options.ui_dir,
        };
        let thread = std::thread::spawn({
            let socket = socket.clone();
            move || {
                let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
                runtime.block_on(async {
                    let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
                    let unix = UnixListener::bind(&socket).expect("a free path");
                    let app = App::new(settings).await.expect("an app");
                    let address = tcp.local_addr().expect("bound");
                    started.send((address, Handle::current())).expect("the test waits");
                    let stop = async { _ = stopped.await };
                    serve(
                        app,
                        vec![Listener::Tcp(tcp), Listener::Unix { listener: unix, admits: false }],
                        stop,
                    )
                    .await;
                });
            }
        });
        let (address, runtime) = start.recv().expect("the server starts");
        Self { address, socket, driver, runtime, stop: Some(stop), thread: Some(thread), dir: Some(dir) }
    }

    /// A client with the file's token.
    pub(crate) fn client(&self) -> Client {
        Client::tcp(self.address).bearer(TOKEN)
    }

    /// A client of a named token with that scope.
    pub(crate) fn client_with_scope(&self, scope: &str) -> Client {
        let made =
            self.client().post("/v1/tokens", &serde_json::json!({"name": scope, "scope": scope})).created();
        Client::tcp(self.address).bearer(made["secret"].as_str().expect("a secret"))
    }

    /// A client on the Unix socket.
    pub(crate) fn unix_client(&self) -> Client {
        Client::unix(&self.socket)
    }

    /// Changes the node behind the API's back, durably.
    pub(crate) fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Node<SqliteStore>, Now) -> Result<T, StoreError> + Send + 'static,
    ) -> T {
        let written = self.runtime.block_on(self.driver.write(change));
        written.expect("durable").expect("stored")
    }

    /// Something that came in from elsewhere; its id.
    pub(crate) fn receive(&self, text: &str) -> String {
        self.receive_all([text.to_owned()]).remove(0)
    }

    /// Several such things in one transaction.
    pub(crate) fn receive_all(&self, texts: impl IntoIterator<Item = String>) -> Vec<String> {
        let texts: Vec<String> = texts.into_iter().collect();
        self.write(move |node, now| {
            let mut receive = |text: &String| node.submit_bridged(from_elsewhere(text), now);
            Ok(texts
                .iter()
                .map(|text| receive(text).expect("acceptable").expect("new").to_string())
                .collect())
        })
    }

    /// Stops the server in good order and gives its directory back.
    pub(crate) fn stop(mut self) -> tempfile::TempDir {
        self.end();
        self.dir.take().expect("only taken here")
    }

    fn end(&mut self) {
        let Some(stop) = self.stop.take() else { return };
        let _ = stop.send(());
        self.thread.take().expect("there with the sender").join().expect("the server does not panic");
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(self.driver.stop());
    }
}

/// A post of a program that knows nothing of MeshLink.
pub(crate) fn from_elsewhere(text: &str) -> BridgedPost {
    BridgedPost {
        channel: "#mesh".to_owned(),
        text: text.to_owned(),
        sender_id: "old-client".to_owned(),
        timestamp_ms: 1_767_225_600_000,
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

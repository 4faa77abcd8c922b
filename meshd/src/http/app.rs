//! What every handler needs: the way to the node, who is let in, and what is open.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use meshlink_core::node::Node;
use meshlink_core::{Now, Seq, Store};
use tokio::sync::{Mutex, MutexGuard, Notify, Semaphore, watch};

use super::guard::Failures;
use super::limits;
use super::problem::{Code, Failure};
use super::render::Vitals;
use super::request_counts::RequestCounts;
use super::secret::SecretHash;
use super::steady_clock::SteadyClock;
use super::ticket::TicketBox;
use super::token_book::{Caller, TokenBook};
use super::ui::UiDir;
use crate::control::Control;
use crate::driver::{Driver, WriteError};
use crate::sqlite::SqliteStore;
use crate::vault::Keyring;

/// What the API is started with.
pub struct Settings {
    /// The way to the node.
    pub driver: Driver,
    /// The keys of the state directory.
    pub keyring: Arc<Keyring>,
    /// The state directory itself, for messages about it.
    pub state_dir: PathBuf,
    /// Is told once the keys were destroyed: the daemon is then to end and to remove the rest.
    pub wiped: Arc<Notify>,
    /// The hash of the token in the state directory; whoever shows that token may do everything.
    pub file_token: SecretHash,
    /// The cap of the node's store, shown beside its use.
    pub store_bytes_max: u64,
    /// The settings in force, and those of them that may change while it runs.
    pub control: Control,
    /// A web UI's files, served at `/`.
    pub ui_dir: Option<PathBuf>,
}

/// Why the API can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The node's thread is gone.
    #[error("the node stopped before the API could start")]
    Gone,
    /// The tokens can't be read.
    #[error(transparent)]
    Store(#[from] meshlink_core::store::StoreError),
    /// The UI's files can't be served.
    #[error("can't serve a UI from {}: {detail}", path.display())]
    Ui {
        /// What was given.
        path: PathBuf,
        /// Why not.
        detail: String,
    },
}

/// The API as it runs. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Inner>);

struct Inner {
    driver: Driver,
    keyring: Arc<Keyring>,
    keyring_turn: Mutex<()>,
    state_dir: PathBuf,
    wiped: Arc<Notify>,
    locked: watch::Sender<bool>,
    started: Instant,
    clock: SteadyClock,
    store_bytes_max: u64,
    control: Control,
    ui: Option<UiDir>,
    tokens: TokenBook,
    tickets: TicketBox,
    failures: Failures,
    streams: Arc<Semaphore>,
    derivations: Semaphore,
    copies: Arc<Semaphore>,
    stopping: watch::Sender<bool>,
    requests: RequestCounts,
}

impl App {
    /// Reads the tokens and looks at the UI's directory.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn new(settings: Settings) -> Result<Self, StartError> {
        let look = |node: &Node<SqliteStore>, _| (node.store().tokens(), node.store().is_locked());
        let (rows, is_locked) = settings.driver.read(look).await.map_err(|_| StartError::Gone)?;
        let rows = rows?;
        let entries = rows.into_iter().map(super::route::tokens::entry_of).collect();
        let ui = settings.ui_dir.map(|path| open_ui(&path));
        let now = Instant::now();
        Ok(Self(Arc::new(Inner {
            driver: settings.driver,
            keyring: settings.keyring,
            keyring_turn: Mutex::default(),
            state_dir: settings.state_dir,
            wiped: settings.wiped,
            locked: watch::channel(is_locked).0,
            started: now,
            clock: SteadyClock::new(),
            store_bytes_max: settings.store_bytes_max,
            control: settings.control,
            ui: ui.transpose()?,
            tokens: TokenBook::new(settings.file_token, entries),
            tickets: TicketBox::default(),
            failures: Failures::new(now),
            streams: Arc::new(Semaphore::new(limits::STREAMS_MAX)),
            derivations: Semaphore::new(1),
            copies: Arc::new(Semaphore::new(1)),
            stopping: watch::channel(false).0,
            requests: RequestCounts::default(),
        })))
    }

    /// Reads from the node between two of its commits.
    pub(super) async fn read<T, E>(
        &self,
        f: impl FnOnce(&Node<SqliteStore>, Now) -> Result<T, E> + Send + 'static,
    ) -> Result<T, Failure>
    where
        T: Send + 'static,
        E: Send + 'static,
        Failure: From<E>,
    {
        Ok(self.0.driver.read(self.steadily(f)).await.map_err(|_| stopping())??)
    }

    /// As [`App::read`], as soon as there is an event after this one.
    pub(super) async fn read_news<T, E>(
        &self,
        after: Seq,
        f: impl FnOnce(&Node<SqliteStore>, Now) -> Result<T, E> + Send + 'static,
    ) -> Result<T, Failure>
    where
        T: Send + 'static,
        E: Send + 'static,
        Failure: From<E>,
    {
        Ok(self.0.driver.read_news(after, self.steadily(f)).await.map_err(|_| stopping())??)
    }

    /// A look by the API's own clock.
    fn steadily<T>(
        &self,
        f: impl FnOnce(&Node<SqliteStore>, Now) -> T + Send + 'static,
    ) -> impl FnOnce(&Node<SqliteStore>, Now) -> T + Send + 'static {
        let app = self.clone();
        move |node, now| f(node, app.0.clock.steady(now))
    }

    /// Changes something and answers once it is durable.
    pub(super) async fn write<T, E>(
        &self,
        f: impl FnOnce(&mut Node<SqliteStore>, Now) -> Result<T, E> + Send + 'static,
    ) -> Result<T, Failure>
    where
        T: Send + 'static,
        E: Send + 'static,
        Failure: From<E>,
    {
        let app = self.clone();
        match self.0.driver.write(move |node, now| f(node, app.0.clock.steady(now))).await {
            Ok(outcome) => Ok(outcome?),
            Err(WriteError::Store(error)) => Err(error.into()),
            Err(WriteError::Gone) => Err(stopping()),
        }
    }

    /// Notes that a token was used; once a minute that is written down, without making anyone wait for it.
    pub(super) fn note_use(&self, caller: &Caller) {
        let Some((id, unix_ms)) = self.0.tokens.note_use(caller, self.0.driver.now().unix_ms) else { return };
        let app = self.clone();
        tokio::spawn(async move {
            let touched = app.write(move |node, _| node.store_mut().touch_token(&id, unix_ms)).await;
            if let Err(failure) = touched {
                tracing::debug!(problem = failure.code().as_str(), "the use of a token was not recorded");
            }
        });
    }

    /// Ends the event streams, so that a stop need not wait for them.
    pub(super) fn stop(&self) {
        self.0.stopping.send_replace(true);
    }

    pub(super) fn stopping(&self) -> watch::Receiver<bool> {
        self.0.stopping.subscribe()
    }

    pub(super) fn keyring(&self) -> &Arc<Keyring> {
        &self.0.keyring
    }

    /// Waits until nobody else tries a passphrase: that takes a while, and there are few threads for such work.
    pub(super) async fn keyring_turn(&self) -> MutexGuard<'_, ()> {
        self.0.keyring_turn.lock().await
    }

    /// For the one backup of the store that is made at a time.
    pub(super) fn copies(&self) -> &Arc<Semaphore> {
        &self.0.copies
    }

    /// The state directory.
    pub(super) fn state_dir(&self) -> &Path {
        &self.0.state_dir
    }

    /// Has the daemon end and remove what is left.
    pub(super) fn tell_wiped(&self) {
        self.0.wiped.notify_one();
    }

    /// Whether the node is locked.
    pub(super) fn is_locked(&self) -> bool {
        *self.0.locked.borrow()
    }

    /// Notes that the node was locked or unlocked. Event streams end when it is locked.
    pub(super) fn set_locked(&self, locked: bool) {
        self.0.locked.send_replace(locked);
    }

    pub(super) fn locked(&self) -> watch::Receiver<bool> {
        self.0.locked.subscribe()
    }

    pub(super) fn driver(&self) -> &Driver {
        &self.0.driver
    }

    /// What the state of this process adds to the node's.
    pub(super) fn vitals(&self) -> Vitals {
        Vitals {
            uptime_s: self.0.started.elapsed().as_secs(),
            store_bytes_max: self.0.store_bytes_max,
            has_passphrase: self.0.keyring.has_passphrase(),
        }
    }

    pub(super) fn control(&self) -> &Control {
        &self.0.control
    }

    pub(super) fn ui(&self) -> Option<&UiDir> {
        self.0.ui.as_ref()
    }

    pub(super) fn tokens(&self) -> &TokenBook {
        &self.0.tokens
    }

    pub(super) fn tickets(&self) -> &TicketBox {
        &self.0.tickets
    }

    pub(super) fn failures(&self) -> &Failures {
        &self.0.failures
    }

    /// Whose turn it is to make a key of a password, which takes a lot of memory.
    pub(super) fn derivations(&self) -> &Semaphore {
        &self.0.derivations
    }

    pub(super) fn streams(&self) -> &Arc<Semaphore> {
        &self.0.streams
    }

    pub(super) fn requests(&self) -> &RequestCounts {
        &self.0.requests
    }
}

fn stopping() -> Failure {
    Code::Stopping.because("the node's thread has ended").hint("try again once meshd has restarted")
}

/// Whether a directory can be served as a web UI.
///
/// # Errors
/// [`StartError::Ui`].
pub fn check_ui(path: &Path) -> Result<(), StartError> {
    open_ui(path).map(drop)
}

fn open_ui(path: &Path) -> Result<UiDir, StartError> {
    UiDir::open(path).map_err(|detail| StartError::Ui { path: path.to_owned(), detail })
}

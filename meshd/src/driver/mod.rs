//! The driver of a node: one thread owns node and store, everything else talks to it through [`Driver`].
//!
//! ```text
//!  http ── read, write ──┐                              ┌── answers ──▶ http
//!                        ├─▶ queue ─▶ take what is there ┤
//!  links ── frames ──────┘           handle, ONE commit  └── frames ──▶ links with room
//! ```
//!
//! **Group commit.** Whatever gathers while one commit waits for the disk shares the next. Alone, a write is
//! committed at once; several who were answered together are waited for up to half the time a commit takes, so
//! that they share the next one too. What nobody waits for (`Node::is_commit_due`) gathers for some time.
//!
//! **Nothing leaves early.** A write is answered, and a read looks, after the commit of the batch it came in
//! with; so what a reader saw is durable.
//!
//! **Bounded.** Requests in the queue have permits ([`REQUESTS_MAX`]), frames in both directions a budget of
//! bytes per link (see [`lane`]). The thread sleeps until there is work or the node's own deadline.
//!
//! A panic on the node's thread is a bug that left node and store in a state nobody knows: the process ends
//! (exit code 1) and whoever supervises it starts it again from what is on the disk.

mod engine;
mod lane;
pub mod tally;

use std::future::Future;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use meshlink_core::{Node, Now, Seq, Store, StoreError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use crate::clock::Clock;
use crate::sqlite::SqliteStore;

use engine::{Command, Engine, Waiting};
use tally::Tally;

pub use lane::{Bells, Budget, Incoming, LinkClosed, LinkEnd, LinkPort, NotSent};

/// Requests waiting for the node's thread at one time; more wait for a permit, in order.
pub const REQUESTS_MAX: usize = 256;

/// The thread is gone: the daemon is stopping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the daemon is stopping")]
pub struct DriverGone;

/// Why a write has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// It was not stored.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// See [`DriverGone`].
    #[error("the daemon is stopping")]
    Gone,
}

/// The way to a node on its thread. Cheap to clone.
///
/// The node runs until [`Driver::stop`], whatever happens to the clones.
pub struct Driver<S = SqliteStore> {
    shared: Arc<Shared<S>>,
}

impl<S> Clone for Driver<S> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

struct Shared<S> {
    commands: Sender<Command<S>>,
    requests: Arc<Semaphore>,
    newest: watch::Receiver<Seq>,
    links: LinkPort,
    clock: Clock,
    tally: Arc<Tally>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl<S: Store + Send + 'static> Driver<S> {
    /// Starts the node's thread.
    ///
    /// # Errors
    /// The system gives no thread, or the store can't be read.
    pub fn start(node: Node<S>, clock: Clock) -> anyhow::Result<Self> {
        let (commands, queue) = channel();
        let newest = node.store().event_bounds()?.map_or(Seq(0), |(_, newest)| newest);
        let (newest_sender, newest) = watch::channel(newest);
        let tally = Arc::new(Tally::default());
        let engine = Engine::new(node, clock.clone(), newest_sender, Arc::clone(&tally));
        let thread =
            std::thread::Builder::new().name("node".to_owned()).spawn(move || run(engine, &queue))?;
        let links = LinkPort::new({
            let commands = commands.clone();
            move |command| commands.send(Command::Link(command)).map_err(|_| LinkClosed)
        });
        let requests = Arc::new(Semaphore::new(REQUESTS_MAX));
        let thread = Mutex::new(Some(thread));
        Ok(Self { shared: Arc::new(Shared { commands, requests, newest, links, clock, tally, thread }) })
    }

    /// Looks at the node after the next commit. Reads only; short, since everything waits for it.
    ///
    /// # Errors
    /// [`DriverGone`].
    pub async fn read<T, F>(&self, look: F) -> Result<T, DriverGone>
    where
        T: Send + 'static,
        F: FnOnce(&Node<S>, Now) -> T + Send + 'static,
    {
        let permit = self.permit().await?;
        let (look, answered) = answering(look);
        let job = Box::new(move |node: &Node<S>, now| {
            drop(permit);
            look(node, now);
        });
        self.shared.commands.send(Command::Read(job)).map_err(|_| DriverGone)?;
        answered.await.map_err(|_| DriverGone)
    }

    /// As [`Driver::read`], as soon as an event after this one is durable: at once, if there is one. The look is
    /// taken right behind the commit that brought the event. Whoever stops waiting is forgotten.
    ///
    /// # Errors
    /// [`DriverGone`].
    pub async fn read_news<T, F>(&self, after: Seq, look: F) -> Result<T, DriverGone>
    where
        T: Send + 'static,
        F: FnOnce(&Node<S>, Now) -> T + Send + 'static,
    {
        let permit = self.permit().await?;
        let (look, answered) = answering(look);
        let waits = Arc::new(());
        let waiting = Waiting { look: Box::new(look), waits: Arc::downgrade(&waits) };
        self.shared
            .commands
            .send(Command::Await { after, waiting, _permit: permit })
            .map_err(|_| DriverGone)?;
        let answer = answered.await.map_err(|_| DriverGone);
        drop(waits);
        answer
    }

    /// Changes the node, and answers when the transaction is durable. What `change` has written stays part of
    /// it whatever `change` returns, so it checks first.
    ///
    /// The change happens even if the caller does not wait for it.
    ///
    /// # Errors
    /// [`WriteError::Store`] when the commit failed: nothing of it happened.
    pub fn write<T, F>(&self, change: F) -> impl Future<Output = Result<T, WriteError>> + Send + use<T, F, S>
    where
        T: Send + 'static,
        F: FnOnce(&mut Node<S>, Now) -> T + Send + 'static,
    {
        let driver = self.clone();
        async move {
            let permit = driver.permit().await.map_err(|DriverGone| WriteError::Gone)?;
            let (answer, answered) = oneshot::channel();
            let job = Box::new(move |node: &mut Node<S>, now: Now| {
                drop(permit);
                let value = change(node, now);
                Box::new(move |committed: Result<(), StoreError>| {
                    // Whoever asked may have left.
                    let _ = answer.send(committed.map(|()| value));
                }) as engine::Answer
            });
            driver.shared.commands.send(Command::Write(job)).map_err(|_| WriteError::Gone)?;
            Ok(answered.await.map_err(|_| WriteError::Gone)??)
        }
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit, DriverGone> {
        Arc::clone(&self.shared.requests).acquire_owned().await.map_err(|_| DriverGone)
    }

    /// The newest event that is durable. A stream waits on it and then reads from the store.
    pub fn newest(&self) -> watch::Receiver<Seq> {
        self.shared.newest.clone()
    }

    /// The way in for transports.
    pub fn links(&self) -> LinkPort {
        self.shared.links.clone()
    }

    /// What happened since the start.
    pub fn tally(&self) -> &Tally {
        &self.shared.tally
    }

    /// This moment, as the node would see it.
    pub fn now(&self) -> Now {
        self.shared.clock.now()
    }

    /// Ends the node's thread after everything queued so far is done and durable, and closes the store.
    pub async fn stop(&self) {
        let (done, stopped) = oneshot::channel();
        if self.shared.commands.send(Command::Stop(done)).is_err() || stopped.await.is_err() {
            return;
        }
        let thread = self.shared.thread.lock().expect("nothing panics while it holds this lock").take();
        if let Some(thread) = thread {
            // The engine said that it is done; the thread has nothing left but to return.
            let _ = thread.join();
        }
    }
}

/// A look whose result somebody waits for.
fn answering<S, T: Send + 'static>(
    look: impl FnOnce(&Node<S>, Now) -> T + Send + 'static,
) -> (impl FnOnce(&Node<S>, Now) + Send + 'static, oneshot::Receiver<T>) {
    let (answer, answered) = oneshot::channel();
    let look = move |node: &Node<S>, now: Now| {
        // Whoever asked may have left.
        let _ = answer.send(look(node, now));
    };
    (look, answered)
}

fn run<S: Store>(engine: Engine<S>, queue: &Receiver<Command<S>>) {
    struct ExitOnPanic;
    impl Drop for ExitOnPanic {
        fn drop(&mut self) {
            if std::thread::panicking() {
                tracing::error!(
                    "the node's thread panicked: this is a bug; meshd exits so that it is started again"
                );
                std::process::exit(1);
            }
        }
    }
    let _guard = ExitOnPanic;
    engine.run(queue);
}

#[cfg(test)]
mod fake_node;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use fake_node::Commands;

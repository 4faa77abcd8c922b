//! `--demo`: one process that shows the whole thing. A relay on a free loopback port, this node, and a second,
//! talkative one that lives in a scratch directory and answers politely.
//!
//! The demonstration keeps to itself: other relays and the local network are left out, so that nothing of it
//! reaches a real mesh.
//! Without `--state-dir` this node's own state is scratch as well, and nothing stays behind.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use meshlink_core::{BundleId, Draft, Node, NodeId, Priority, ProfileDraft, Seq, Store, StoreError};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::clock::Clock;
use crate::config::Settings;
use crate::daemon::open_node;
use crate::driver::Driver;
use crate::link::network::watch_network;
use crate::link::relay::{self, RelaySettings, RelayUrl};
use crate::sqlite::{MessageFilter, Order, SqliteStore};
use crate::state_dir::StateDir;
use crate::stop::Stopping;

/// Between two answers, so that nobody drowns in politeness.
const ANSWER_APART: Duration = Duration::from_secs(1);
/// Characters of a message that are quoted back.
const QUOTE_CHARS: usize = 80;
/// For the second node to say good-bye.
const STOP_TIME_MAX: Duration = Duration::from_millis(600);

/// A directory that is removed with its owner.
pub(crate) struct ScratchDir(PathBuf);

impl ScratchDir {
    fn new(name: &str) -> anyhow::Result<Self> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|e| anyhow::anyhow!("the system gives no random bytes: {e}"))?;
        let unique = data_encoding::HEXLOWER.encode(&random);
        let path = std::env::temp_dir().join(format!("meshd-{name}-{unique}"));
        #[cfg_attr(windows, expect(unused_mut, reason = "the directory for passing files is the user's own"))]
        let mut builder = std::fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&path).with_context(|| format!("can't make {}", path.display()))?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, "{} stays behind", self.0.display());
        }
    }
}

/// The relay runs; the second node does not yet.
pub(crate) struct Demo {
    relay: RunningRelay,
    url: RelayUrl,
    scratch: Option<ScratchDir>,
    settings: Settings,
}

struct RunningRelay {
    stopper: meshlink_relay::Stopper,
    thread: JoinHandle<Result<(), meshlink_relay::RunError>>,
}

impl Demo {
    /// Starts the relay and makes it this node's only one.
    pub(crate) fn prepare(settings: &mut Settings) -> anyhow::Result<Self> {
        let config = meshlink_relay::Config {
            listen: std::net::SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, 0)),
            ..meshlink_relay::Config::default()
        };
        let relay = meshlink_relay::Relay::bind(config).context("can't start the demonstration's relay")?;
        let url: RelayUrl = format!("ws://{}", relay.local_addr()).parse().map_err(anyhow::Error::msg)?;
        let stopper = relay.stopper();
        let thread = std::thread::Builder::new().name("relay".to_owned()).spawn(move || relay.run())?;
        if !settings.relays.is_empty() {
            tracing::warn!("--demo keeps to itself: the configured relays are left out");
        }
        settings.relays = vec![RelaySettings::new(url.clone())];
        settings.ble.enabled = false;
        settings.lan.enabled = false;
        let scratch = settings.state_dir.is_none().then(|| ScratchDir::new("demo")).transpose()?;
        if settings.name.is_none() && scratch.is_some() {
            settings.name = Some("You".to_owned());
        }
        let settings = settings.clone();
        Ok(Self { relay: RunningRelay { stopper, thread }, url, scratch, settings })
    }

    /// Where this node's own state goes, if nobody said.
    pub(crate) fn scratch(&self) -> Option<&ScratchDir> {
        self.scratch.as_ref()
    }

    /// Starts the second node.
    pub(crate) async fn run(self, first: Driver, stopping: Stopping) -> anyhow::Result<RunningDemo> {
        let home = ScratchDir::new("demo-echo")?;
        let state = Arc::new(StateDir::open(home.path())?);
        let clock = Clock::new(self.settings.clock);
        let (driver, _) = open_node(&state, &Settings { name: None, ..self.settings }, None, clock)?;
        let listens_to = first.read(|node, _| node.id()).await?;
        let mut tasks = JoinSet::new();
        let link =
            relay::run(RelaySettings::new(self.url), driver.clone(), watch_network(), stopping.clone());
        tasks.spawn(async move {
            if let Err(error) = link.await {
                tracing::warn!(%error, "the demonstration's second node has no relay");
            }
        });
        let echo = driver.clone();
        let mut stop = stopping;
        tasks.spawn(async move {
            tokio::select! {
                () = stop.heard() => {}
                result = talk(echo, listens_to) => if let Err(error) = result {
                    tracing::warn!(%error, "the demonstration's second node fell silent");
                },
            }
        });
        Ok(RunningDemo {
            relay: self.relay,
            driver,
            tasks,
            _state: state,
            _home: home,
            _scratch: self.scratch,
        })
    }
}

/// All of it at work.
pub(crate) struct RunningDemo {
    relay: RunningRelay,
    driver: Driver,
    tasks: JoinSet<()>,
    _state: Arc<StateDir>,
    _home: ScratchDir,
    _scratch: Option<ScratchDir>,
}

impl RunningDemo {
    /// Ends the second node and the relay, and removes the scratch directories.
    pub(crate) async fn stop(mut self) {
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(STOP_TIME_MAX, all).await.is_err() {
            self.tasks.abort_all();
        }
        self.driver.stop().await;
        self.relay.stopper.stop();
        match self.relay.thread.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the demonstration's relay failed"),
            Err(_) => tracing::warn!("the demonstration's relay panicked"),
        }
    }
}

/// Greets, and then answers every message of one node.
async fn talk(driver: Driver, listens_to: NodeId) -> anyhow::Result<()> {
    let about = "The second node of a demonstration: it answers what it hears.".to_owned();
    let greeting =
        "Hello! I am the second node of this demonstration. Write something to #mesh and I answer.";
    driver
        .write(move |node, now| -> anyhow::Result<()> {
            let profile = ProfileDraft { name: Some("Echo".to_owned()), about: Some(about), avatar: None };
            node.set_profile(profile, now)?;
            node.submit(draft(greeting.to_owned(), None), now)?;
            Ok(())
        })
        .await??;
    let mut newest = driver.newest();
    let mut position = Seq(0);
    loop {
        let heard = driver.read(move |node, _| heard_after(node, listens_to, position)).await??;
        position = position.max(heard.next);
        let Some((id, answer)) = heard.answer else {
            if !heard.more {
                newest.changed().await?;
            }
            continue;
        };
        driver.write(move |node, now| node.submit(draft(answer, Some(id)), now)).await??;
        tokio::time::sleep(ANSWER_APART).await;
    }
}

fn draft(text: String, reply_to: Option<BundleId>) -> Draft {
    Draft { channel: "#mesh".to_owned(), text, lifetime_s: None, priority: Priority::Normal, reply_to }
}

/// What the second node heard.
struct Heard {
    /// The message and what to say to it.
    answer: Option<(BundleId, String)>,
    /// Where to go on listening.
    next: Seq,
    /// Whether to look again at once.
    more: bool,
}

/// The next message of that node, with an answer to it.
fn heard_after(node: &Node<SqliteStore>, from: NodeId, after: Seq) -> Result<Heard, StoreError> {
    let filter = MessageFilter {
        from: Some(from),
        after: Some(after),
        order: Order::OldestFirst,
        limit: 1,
        ..MessageFilter::default()
    };
    let mut page = node.store().messages(&filter)?;
    let Some(message) = page.items.pop() else {
        return Ok(Heard { answer: None, next: page.next.unwrap_or_default(), more: page.next.is_some() });
    };
    let hops = node.store().bundle(&message.id)?.map_or(0, |bundle| bundle.hops);
    let hops = if hops == 1 { "1 hop".to_owned() } else { format!("{hops} hops") };
    let quote: String = message.text.chars().take(QUOTE_CHARS).collect();
    let dots = if quote.len() < message.text.len() { "…" } else { "" };
    let answer = format!("I heard you over {hops}: “{quote}{dots}”");
    Ok(Heard { answer: Some((message.id, answer)), next: message.seq, more: true })
}

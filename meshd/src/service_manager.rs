//! What systemd hears of this process: that it is ready, how it is doing, that it is alive (sd_notify(3)).
//!
//! The watchdog is fed by whoever asks the whole way through: a task on the runtime's thread has the node's
//! thread read from the store, and only an answer counts. A thread that hangs, or a store that can't be read,
//! ends the feeding, and systemd starts the process again (threat D-04). A full disk does not: reading works.
//!
//! Without systemd nothing here runs, and nothing wakes the machine.

use std::time::Duration;

use meshlink_core::{LinkKind, Node, Store, StoreError, TransportState};
use sd_notify::NotifyState;

use crate::driver::Driver;
use crate::locking::OWNER_MARK;
use crate::sqlite::SqliteStore;
use crate::stop::Stopping;

/// Between two looks at the state where systemd asks for no watchdog.
const STATUS_INTERVAL: Duration = Duration::from_secs(60);
/// For work that is known to take long.
const PATIENCE: Duration = Duration::from_secs(3600);
/// Feeds within the time that the watchdog allows: one may be late, or get lost, without harm.
const FEEDS_PER_PERIOD: u32 = 3;

/// Says that the daemon does what it is there for.
pub(crate) fn ready() {
    notify(&[NotifyState::Ready, NotifyState::Status("serving")]);
}

/// Says that it ends.
pub(crate) fn stopping() {
    notify(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

/// Says that a reload is over.
pub(crate) fn reloaded() {
    notify(&[NotifyState::Ready]);
}

/// Says that a reload begins; [`reloaded`] ends it.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(_) => notify(&[NotifyState::Reloading]),
    }
}

/// For work that keeps the node's thread for longer than the watchdog allows: systemd waits as long as this is
/// held, [`PATIENCE`] at most.
pub(crate) fn be_patient() -> Patience {
    let period = sd_notify::watchdog_enabled();
    if period.is_some() {
        notify(&[NotifyState::WatchdogUsec(micros(PATIENCE)), NotifyState::Watchdog]);
    }
    Patience(period)
}

/// See [`be_patient`].
pub(crate) struct Patience(Option<Duration>);

impl Drop for Patience {
    fn drop(&mut self) {
        if let Some(period) = self.0 {
            notify(&[NotifyState::Watchdog, NotifyState::WatchdogUsec(micros(period))]);
        }
    }
}

fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

/// Feeds the watchdog and keeps the status line, as long as node and store answer.
pub(crate) async fn report(driver: Driver, stopping: Stopping) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    let pace = match sd_notify::watchdog_enabled() {
        Some(period) => Pace { interval: period / FEEDS_PER_PERIOD, feeds: true },
        None => Pace { interval: STATUS_INTERVAL, feeds: false },
    };
    watch(driver, stopping, pace, notify).await;
}

/// How often to look, and whether somebody waits for it.
#[derive(Debug, Clone, Copy)]
struct Pace {
    interval: Duration,
    feeds: bool,
}

async fn watch(driver: Driver, mut stopping: Stopping, pace: Pace, mut tell: impl FnMut(&[NotifyState<'_>])) {
    let interval = pace.interval;
    let mut said = String::new();
    loop {
        let asked = tokio::time::timeout(interval, driver.read(|node, _| status_line(node)));
        match asked.await {
            Ok(Ok(Ok(line))) => {
                let mut words = Vec::new();
                if pace.feeds {
                    words.push(NotifyState::Watchdog);
                }
                if line != said {
                    words.push(NotifyState::Status(&line));
                }
                tell(&words);
                said = line;
            }
            Ok(Ok(Err(error))) => tracing::error!(%error, "the store can't be read; the watchdog is not fed"),
            // The node is gone; whoever waits for that ends the process.
            Ok(Err(_)) => return,
            Err(_) => {
                tracing::error!("the node's thread gave no answer in {interval:?}; the watchdog is not fed");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            () = stopping.heard() => return,
        }
    }
}

/// `2 links, 153 bundles in 412 KiB; relay up; bluetooth down`. No node and no address is in it: every
/// user of the machine can read it.
fn status_line(node: &Node<SqliteStore>) -> Result<String, StoreError> {
    let store = node.store();
    let held = store.usage_of_all()?;
    // Totals are in memory; this is what shows that the file can be read.
    store.mark(OWNER_MARK)?;
    let links = node.links().count();
    let locked = if store.is_locked() { "locked: " } else { "" };
    let mut line = format!("{locked}{links} links, {} bundles in {} KiB", held.bundles, held.bytes / 1024);
    for transport in node.transports() {
        let state = match transport.state {
            TransportState::Off => continue,
            TransportState::Starting => "starting",
            TransportState::Up => "up",
            TransportState::Degraded => "degraded",
            TransportState::Down => "down",
        };
        line += &format!("; {} {state}", kind_word(transport.kind));
    }
    Ok(line)
}

fn kind_word(kind: LinkKind) -> &'static str {
    match kind {
        LinkKind::Ble => "bluetooth",
        LinkKind::Lan => "lan",
        LinkKind::Relay => "relay",
        LinkKind::Pipe => "pipe",
    }
}

fn notify(states: &[NotifyState<'_>]) {
    if states.is_empty() {
        return;
    }
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd was not told");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use meshlink_core::{Identity, Limits};

    use super::*;
    use crate::clock::{Clock, ClockPolicy};
    use crate::stop::stopper;

    fn driver(dir: &std::path::Path) -> Driver {
        let clock = Clock::new(ClockPolicy::Trust);
        let store = SqliteStore::open(
            &dir.join("db"),
            Some(crate::vault::MasterKey::from_bytes([1; 32]).record_keys()),
        )
        .unwrap();
        let identity = Identity::from_bytes(&[7; 64]);
        let node = Node::open(store, identity, [1; 32], Limits::default(), clock.now()).unwrap();
        Driver::start(node, clock).unwrap()
    }

    #[tokio::test]
    async fn d04_the_watchdog_is_fed_while_the_node_answers_and_at_no_other_time() {
        let temp = tempfile::tempdir().unwrap();
        let driver = driver(temp.path());
        let (_stopper, stopping) = stopper();
        let told = Arc::new(Mutex::new(Vec::new()));
        let pace = Pace { interval: Duration::from_millis(20), feeds: true };
        tokio::spawn(watch(driver.clone(), stopping, pace, {
            let told = Arc::clone(&told);
            move |words| told.lock().unwrap().extend(words.iter().map(ToString::to_string))
        }));
        let fed = || told.lock().unwrap().iter().filter(|word| *word == "WATCHDOG=1").count();
        while fed() < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(told.lock().unwrap()[1], "STATUS=0 links, 0 bundles in 0 KiB");
        // The node's thread hangs.
        let (release, held) = std::sync::mpsc::channel::<()>();
        let (began, begins) = tokio::sync::oneshot::channel();
        let hanging = tokio::spawn({
            let driver = driver.clone();
            async move {
                let hang = move |_: &Node<SqliteStore>, _| {
                    let _ = began.send(());
                    let _ = held.recv();
                };
                driver.read(hang).await.unwrap();
            }
        });
        begins.await.unwrap();
        let before = fed();
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(fed(), before, "fed while nothing answers");
        drop(release);
        hanging.await.unwrap();
        while fed() == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let statuses = told.lock().unwrap().iter().filter(|word| word.starts_with("STATUS")).count();
        assert_eq!(statuses, 1, "a status that did not change is said once");
        driver.stop().await;
    }
}

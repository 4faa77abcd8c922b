//! Bluetooth through BlueZ: watches the bus, keeps a task for each adapter, and says what is wrong.
//!
//! Nothing is fatal. Whatever goes away takes what rested on it along and is tried again: at once when BlueZ
//! comes back, every second otherwise.

mod adapter;
mod air;
mod bus;
mod carry;
mod dial;
mod fault;
mod lanes;
mod privacy;
mod rfkill;

use std::time::Duration;

use bluer::Session;
use meshlink_core::{MessageStatus, TransportState};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::beacon::Fingerprint;
use super::holdings::{Holdings, Walk};
use super::{BleSettings, NAME, report};
use crate::driver::{Driver, LinkPort};
use crate::stop::Stopping;
use adapter::{Post, ask};
use bus::Bus;
use fault::Fault;

/// Between two tries of what failed.
const TRY_APART: Duration = Duration::from_secs(1);
/// Between two looks at what is held, when there is reason to.
const LOOK_APART: Duration = Duration::from_millis(500);
/// Bundles that are only carried make no event: look this often anyway.
const LOOK_ANYWAY: Duration = Duration::from_secs(10);

/// What the node holds, as far as neighbours care.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Held {
    fingerprint: Fingerprint,
    /// Own messages wait for a neighbour to confirm that it has them.
    unsettled: bool,
}

/// What a look at a device came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    /// Not one of ours, or not here.
    Nothing,
    /// As it was.
    Known,
    /// Not heard before, or with another beacon.
    New,
}

/// Keeps Bluetooth going until the daemon stops.
pub(super) async fn run(settings: BleSettings, driver: Driver, stopping: Stopping) {
    let (sender, held) = watch::channel(Held::default());
    let mut ended = stopping.clone();
    let mut radio =
        Radio { settings, port: driver.links(), held, stopping, said: None, adapters: Vec::new() };
    tokio::select! {
        () = watch_holdings(&driver, &sender) => {}
        () = radio.run() => {}
        // Adapters say good-bye first, within what the daemon grants its links.
        () = async { ended.heard().await; sleep(GOODBYE).await } => {}
    }
}

/// For links to say good-bye.
const GOODBYE: Duration = Duration::from_millis(400);

/// Keeps the fingerprint of what is held true.
async fn watch_holdings(driver: &Driver, held: &watch::Sender<Held>) {
    let mut newest = driver.newest();
    let mut holdings = Holdings::default();
    loop {
        let mut walk = holdings;
        let walked = driver
            .read(move |node, _| {
                let outcome = walk.walk(node.store());
                let pending = node.store().counts().own_with(MessageStatus::Pending);
                (walk, outcome, pending > 0)
            })
            .await;
        let Ok((walk, outcome, unsettled)) = walked else { return };
        holdings = walk;
        match outcome {
            Ok(Walk::Unfinished | Walk::Stale) => continue,
            Ok(Walk::Whole(fingerprint)) => {
                let now = Held { fingerprint, unsettled };
                held.send_if_modified(|before| std::mem::replace(before, now) != now);
            }
            Err(error) => tracing::debug!(%error, "what is held can't be read"),
        }
        sleep(LOOK_APART).await;
        tokio::select! {
            changed = newest.changed() => if changed.is_err() { return },
            () = sleep(LOOK_ANYWAY) => {}
        }
    }
}

/// All of Bluetooth on this machine.
struct Radio {
    settings: BleSettings,
    port: LinkPort,
    held: watch::Receiver<Held>,
    stopping: Stopping,
    /// The fault that was reported last for the whole.
    said: Option<Fault>,
    /// Adapters in use, as last known.
    adapters: Vec<String>,
}

impl Radio {
    async fn run(&mut self) {
        loop {
            let fault = match Bus::connect().await {
                Ok(bus) => self.on_bus(bus).await,
                Err(_) => Fault::NoBus,
            };
            if fault == Fault::Stopping {
                return;
            }
            self.say(&fault);
            tokio::select! {
                () = sleep(TRY_APART) => {}
                () = self.stopping.heard() => return,
            }
        }
    }

    /// While the bus is there.
    async fn on_bus(&mut self, mut bus: Bus) -> Fault {
        let session = match ask(Session::new()).await {
            Ok(session) => session,
            Err(fault) => return fault,
        };
        loop {
            let owner = bus.owner();
            let fault = tokio::select! {
                fault = self.with_bluez(&session) => fault,
                fault = replaced(&mut bus, owner) => fault,
            };
            if matches!(fault, Fault::NoBus | Fault::Stopping) {
                return fault;
            }
            if fault != Fault::Restarted {
                self.say(&fault);
                tokio::select! {
                    () = sleep(TRY_APART) => {}
                    () = self.stopping.heard() => return Fault::Stopping,
                    changed = bus.changed() => if changed.is_err() { return Fault::NoBus },
                }
            }
        }
    }

    /// While the same bluetoothd is there.
    async fn with_bluez(&mut self, session: &Session) -> Fault {
        let names = match ask(session.adapter_names()).await {
            Ok(names) => names,
            Err(fault) => return fault,
        };
        let chosen = match self.settings.adapters.as_slice() {
            [] => names.into_iter().min().into_iter().collect(),
            chosen => chosen.to_vec(),
        };
        if chosen.is_empty() {
            return Fault::NoAdapter;
        }
        self.said = None;
        report(&self.port, NAME, TransportState::Up, &format!("uses {}", chosen.join(", ")), None);
        self.adapters.clone_from(&chosen);
        let mut adapters = JoinSet::new();
        for name in chosen {
            let post = Post {
                name,
                profile: self.settings.profile,
                port: self.port.clone(),
                held: self.held.clone(),
                stopping: self.stopping.clone(),
            };
            adapters.spawn(keep(post, self.settings.adapters.is_empty()));
        }
        while let Some(ended) = adapters.join_next().await {
            if let Ok(Some(fault)) = ended {
                return fault;
            }
        }
        Fault::Stopping
    }

    /// Says what is wrong with the whole, once.
    fn say(&mut self, fault: &Fault) {
        if self.said.as_ref() != Some(fault) {
            for name in [NAME].into_iter().chain(self.adapters.iter().map(String::as_str)) {
                report(&self.port, name, TransportState::Down, &fault.to_string(), fault.hint());
            }
            self.said = Some(fault.clone());
        }
    }
}

/// Waits until bluetoothd is another one, or none.
async fn replaced(bus: &mut Bus, owner: Option<String>) -> Fault {
    loop {
        if bus.changed().await.is_err() {
            return Fault::NoBus;
        }
        match bus.owner() {
            None => return Fault::NoBluez,
            // The first call may have started it.
            Some(_) if owner.is_none() => return Fault::Restarted,
            now if now != owner => return Fault::Restarted,
            Some(_) => {}
        }
    }
}

/// Keeps one adapter going. One that nobody named gives up when it is gone: there may be another.
async fn keep(post: Post, any: bool) -> Option<Fault> {
    let mut was_on = false;
    let mut said = None;
    loop {
        let started = Instant::now();
        let fault = adapter::run(&post, &mut was_on).await?;
        if any && fault == Fault::Absent {
            report(&post.port, &post.name, TransportState::Down, &fault.to_string(), fault.hint());
            return Some(fault);
        }
        if fault == Fault::Absent {
            // Another one may come by this name.
            was_on = false;
        }
        // It was up in between.
        if started.elapsed() > TRY_APART {
            said = None;
        }
        if said.as_ref() != Some(&fault) {
            report(&post.port, &post.name, TransportState::Down, &fault.to_string(), fault.hint());
            said = Some(fault);
        }
        sleep(TRY_APART).await;
    }
}

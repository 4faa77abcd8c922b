//! Bluetooth where programs can dial and can't be dialled: macOS, Windows, and on Linux to try it out.
//!
//! btleplug knows the central's role alone. So a node here advertises nothing: it hears the beacons of nodes
//! that can be dialled (those on Linux), and dials each that holds something else. Two nodes of this kind do not
//! meet over Bluetooth. The link itself is the same: offer, chunks, session.
//!
//! One task owns the table of who was heard; every link has a task of its own that reports back when it ends.

mod carry;
mod dial;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use btleplug::api::{Central as _, CentralEvent, Manager as _, ScanFilter};
use btleplug::platform::{Adapter, Manager, PeripheralId};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use meshlink_core::TransportState;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use uuid::Uuid;

use super::beacon::Beacon;
use super::candidates::{Address, CANDIDATES_MAX, Candidates, Ours};
use super::duty::Duty;
use super::held::{Held, watch_holdings};
use super::holdings::Holdings;
use super::slots::{Key, Slots};
use super::{BleSettings, NAME, names, report};
use crate::driver::{Driver, LinkPort};
use crate::stop::Stopping;

/// Between two tries of what failed.
const TRY_APART: Duration = Duration::from_secs(3);
/// A system that answers slower than this hangs.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
/// For links to say good-bye.
const GOODBYE: Duration = Duration::from_millis(400);
/// Frames that a link has to bring to have been of use: more than a handshake.
const FRAMES_OF_USE: u32 = 3;

const ONE_WAY: &str = "dials Bluetooth nodes, but can't be dialled on this system";
const ONE_WAY_HINT: &str = "nodes on Linux are met; two of this kind meet over a local network or a relay";

/// Why there is no Bluetooth at the moment.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("no Bluetooth adapter")]
    NoAdapter,
    #[error("Bluetooth does not answer")]
    Hung,
    #[error("Bluetooth failed: {0}")]
    System(#[from] btleplug::Error),
    #[error("Bluetooth ended")]
    Ended,
}

impl Fault {
    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoAdapter => Some("switch Bluetooth on, or plug an adapter in"),
            Self::Hung | Self::Ended => None,
            Self::System(_) => Some("switch Bluetooth on, and let this program use it in the system's settings"),
        }
    }
}

/// Dials whoever is heard until the daemon stops.
pub(super) async fn run(settings: BleSettings, driver: Driver, mut stopping: Stopping) {
    let mut said = None;
    let mut holdings = Holdings::default();
    loop {
        let fault = tokio::select! {
            () = stopping.heard() => return,
            fault = work(&settings, &driver, &mut holdings, stopping.clone()) => fault,
        };
        let Err(fault) = fault else { return };
        let words = fault.to_string();
        if said.as_ref() != Some(&words) {
            report(&driver.links(), NAME, TransportState::Down, &words, fault.hint());
            said = Some(words);
        }
        tokio::select! {
            () = stopping.heard() => return,
            () = sleep(TRY_APART) => {}
        }
    }
}

/// Asks the system something.
async fn ask<T>(call: impl Future<Output = btleplug::Result<T>>) -> Result<T, Fault> {
    Ok(timeout(ANSWER_TIME_MAX, call).await.map_err(|_| Fault::Hung)??)
}

/// With one adapter, until something is wrong with it or the daemon stops.
async fn work(
    settings: &BleSettings,
    driver: &Driver,
    holdings: &mut Holdings,
    stopping: Stopping,
) -> Result<(), Fault> {
    let manager = ask(Manager::new()).await?;
    let adapter = choose(ask(manager.adapters()).await?, &settings.adapters).await?;
    let events = ask(adapter.events()).await?;
    let (sender, held) = watch::channel(None);
    let mut radio = Radio::new(adapter, driver.links(), Duty::new(settings.profile, Duration::ZERO), held);
    report(&driver.links(), NAME, TransportState::Degraded, ONE_WAY, Some(ONE_WAY_HINT));
    let ended = tokio::select! {
        ended = radio.run(events, stopping) => ended,
        () = watch_holdings(driver, holdings, &sender) => Ok(()),
    };
    radio.cut_all().await;
    ended
}

/// The adapter that was named, else the first one. Only Linux has names for them.
async fn choose(adapters: Vec<Adapter>, named: &[String]) -> Result<Adapter, Fault> {
    for adapter in adapters {
        let name = ask(adapter.adapter_info()).await?;
        let is_wanted = |wanted: &String| name.split(' ').next() == Some(wanted);
        if named.is_empty() || named.iter().any(is_wanted) {
            return Ok(adapter);
        }
    }
    Err(Fault::NoAdapter)
}

/// A link at work, seen from here.
struct Linked {
    cut: Arc<Notify>,
    /// A frame moved since this was looked at last.
    moved: Arc<AtomicBool>,
}

struct Radio {
    adapter: Adapter,
    port: LinkPort,
    duty: Duty,
    held: watch::Receiver<Option<Held>>,
    started: Instant,
    candidates: Candidates,
    /// What the system calls those that were heard; it hides their addresses on some.
    ids: BTreeMap<Address, PeripheralId>,
    slots: Slots,
    links: BTreeMap<Address, Linked>,
    /// Links and dials; each ends with whose it was and how many frames it brought.
    tasks: JoinSet<(Address, u32)>,
}

impl Radio {
    fn new(adapter: Adapter, port: LinkPort, duty: Duty, held: watch::Receiver<Option<Held>>) -> Self {
        Self {
            adapter,
            port,
            duty,
            held,
            started: Instant::now(),
            candidates: Candidates::default(),
            ids: BTreeMap::new(),
            slots: Slots::default(),
            links: BTreeMap::new(),
            tasks: JoinSet::new(),
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Listens, dials whoever is due, rests.
    async fn run(
        &mut self,
        mut events: BoxStream<'_, CentralEvent>,
        mut stopping: Stopping,
    ) -> Result<(), Fault> {
        loop {
            ask(self.adapter.start_scan(ScanFilter::default())).await?;
            let listens_until = Instant::now() + self.duty.scan();
            self.attend(&mut events, listens_until, true, &mut stopping).await?;
            // Some systems let a connection wait for the end of a discovery.
            ask(self.adapter.stop_scan()).await?;
            self.dial_all();
            let rests_until = Instant::now() + self.duty.pause(self.now());
            self.attend(&mut events, rests_until, false, &mut stopping).await?;
            if stopping.is_stopping() {
                return Ok(());
            }
        }
    }

    /// Takes in what happens until then, or with `eager` until somebody is to be dialled.
    async fn attend(
        &mut self,
        events: &mut BoxStream<'_, CentralEvent>,
        end: Instant,
        eager: bool,
        stopping: &mut Stopping,
    ) -> Result<(), Fault> {
        loop {
            let due = self.candidates.next_due(self.now()).map(|at| self.started + at);
            let wake = due.filter(|_| eager && self.slots.may_dial()).map_or(end, |due| due.min(end));
            tokio::select! {
                () = stopping.heard() => return Ok(()),
                event = events.next() => self.hear(event.ok_or(Fault::Ended)?),
                Some(ended) = self.tasks.join_next() => {
                    if let Ok((address, frames)) = ended {
                        self.link_ended(address, frames);
                    }
                }
                changed = self.held.changed() => {
                    changed.map_err(|_| Fault::Ended)?;
                    self.holdings_changed();
                }
                () = sleep_until(wake) => return Ok(()),
            }
        }
    }

    fn hear(&mut self, event: CentralEvent) {
        match event {
            CentralEvent::ServiceDataAdvertisement { id, service_data } => {
                let Some(data) = service_data.get(&Uuid::from_u128(names::SERVICE)) else { return };
                let (Some(beacon), Some(ours)) = (Beacon::read(data), self.ours()) else { return };
                let (address, now) = (address_of(&id), self.now());
                if self.candidates.heard(address, Some(beacon), ours, now, 0) {
                    self.duty.something_new(now);
                }
                if self.ids.len() >= CANDIDATES_MAX && !self.ids.contains_key(&address) {
                    let links = &self.links;
                    self.ids.retain(|address, _| links.contains_key(address));
                }
                self.ids.insert(address, id);
            }
            CentralEvent::DeviceDisconnected(id) => {
                if let Some(link) = self.links.get(&address_of(&id)) {
                    link.cut.notify_one();
                }
            }
            CentralEvent::DeviceDiscovered(_)
            | CentralEvent::DeviceUpdated(_)
            | CentralEvent::DeviceConnected(_)
            | CentralEvent::DeviceServicesModified(_)
            | CentralEvent::ManufacturerDataAdvertisement { .. }
            | CentralEvent::ServicesAdvertisement { .. }
            | CentralEvent::RssiUpdate { .. }
            | CentralEvent::StateUpdate(_) => {}
        }
    }

    /// Nobody hears this node, so it is always the one that dials, at once: its beacon is the smallest there is.
    fn ours(&self) -> Option<Ours> {
        let Held { fingerprint, unsettled } = (*self.held.borrow())?;
        Some(Ours { beacon: Beacon::new([0; 4], fingerprint), held: fingerprint, unsettled })
    }

    fn holdings_changed(&mut self) {
        if let Some(ours) = self.ours() {
            self.candidates.ours_changed(ours, self.now(), 0);
        }
    }

    fn dial_all(&mut self) {
        while let Some(address) = self.candidates.due(self.now()) {
            let Some(id) = self.ids.get(&address).cloned() else {
                self.candidates.link_down(address, false, self.now(), 0);
                continue;
            };
            if !self.slots.may_dial() {
                return self.make_room();
            }
            let now = self.now();
            let (cut, moved) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(true)));
            self.slots.add(Key { address, dialled: true }, now);
            self.candidates.link_up(address);
            self.links.insert(address, Linked { cut: Arc::clone(&cut), moved: Arc::clone(&moved) });
            let (adapter, port) = (self.adapter.clone(), self.port.clone());
            self.tasks.spawn(async move { (address, dial::link(&adapter, &port, &id, &cut, &moved).await) });
        }
    }

    /// Ends a link that had its time, since somebody waits.
    fn make_room(&mut self) {
        let now = self.now();
        for (&address, link) in &self.links {
            if link.moved.swap(false, Ordering::Relaxed) {
                self.slots.moved(&Key { address, dialled: true }, now);
            }
        }
        let victim = self.slots.victim(false, now).and_then(|key| self.links.get(&key.address));
        if let Some(link) = victim {
            link.cut.notify_one();
        }
    }

    fn link_ended(&mut self, address: Address, frames: u32) {
        self.links.remove(&address);
        self.slots.remove(&Key { address, dialled: true });
        self.candidates.link_down(address, frames >= FRAMES_OF_USE, self.now(), 0);
    }

    /// Ends all links in good order, in the time there is.
    async fn cut_all(&mut self) {
        for link in self.links.values() {
            link.cut.notify_one();
        }
        let all = async { while self.tasks.join_next().await.is_some() {} };
        // What is not done by then is aborted with this.
        let _ = timeout(GOODBYE, all).await;
    }
}

/// A short name for a device: where systems hide addresses, they have names of their own.
fn address_of(id: &PeripheralId) -> Address {
    let hash = blake3::hash(id.to_string().as_bytes());
    hash.as_bytes().first_chunk().copied().expect("a hash has 32 bytes")
}

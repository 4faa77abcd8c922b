//! Bluetooth through btleplug: the dialling half of the link, where no service can be offered to callers.
//!
//! On macOS and Windows this is all of Bluetooth; on Linux the feature `btleplug` builds it in the place of
//! bluer, which proves it against a real BlueZ. Who is dialled and when, slots, chunks and back-offs are
//! those of every adapter: here is only what btleplug needs. Nobody hears this node, so it is always the one that
//! dials, and two nodes of this kind never meet over Bluetooth. The status says so.

mod dial;
mod fault;
mod system;

use std::sync::Arc;
use std::time::Duration;

use btleplug::api::{Central as _, CentralState, Manager as _, ScanFilter};
use btleplug::platform::{Adapter, Manager};
use meshlink_core::TransportState;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::air::Power;
use super::candidates::Address;
use super::held::{Friends, Held, known_held, watch_holdings};
use super::holdings::Holdings;
use super::seek::{Radio, seek};
use super::{BleSettings, GOODBYE, NAME, report};
use crate::driver::{Driver, LinkPort};
use crate::stop::Stopping;
use fault::{ANSWER_TIME_MAX, Fault, ask};
use system::System;

/// One adapter's air, and a slot in it.
type Air = super::air::Air<System>;
type Slot = super::air::Slot<System>;

/// Between two tries of what failed. Nobody tells when it may work again.
const TRY_APART: Duration = Duration::from_secs(2);
/// Nobody can call: no lanes.
const LANES: u8 = 0;
/// Nobody hears this node's beacon, so it is the smallest: its owner dials at once.
const UNHEARD: [u8; 4] = [0; 4];

/// Keeps Bluetooth going until the daemon stops.
pub(super) async fn run(settings: BleSettings, driver: Driver, stopping: Stopping) {
    let (sender, held) = watch::channel(None);
    let (friends_sender, friends) = watch::channel(Friends::default());
    let mut adapters = JoinSet::new();
    let mut chosen: Vec<Option<String>> = settings.adapters.iter().cloned().map(Some).collect();
    if chosen.is_empty() {
        chosen.push(None);
    }
    for name in chosen {
        let post = Post {
            name,
            settings: settings.clone(),
            port: driver.links(),
            held: held.clone(),
            friends: friends.clone(),
            stopping: stopping.clone(),
        };
        adapters.spawn(keep(post));
    }
    let mut holdings = Holdings::default();
    let mut ended = stopping;
    tokio::select! {
        () = async { while adapters.join_next().await.is_some() {} } => {}
        () = watch_holdings(&driver, &mut holdings, &sender, &friends_sender) => {}
        // Links say good-bye first, within what the daemon grants them.
        () = async { ended.heard().await; sleep(GOODBYE).await } => {}
    }
}

/// What an adapter's task needs to know.
struct Post {
    /// The adapter's name; `None`: the first there is.
    name: Option<String>,
    settings: BleSettings,
    port: LinkPort,
    /// `None`: it is not known yet.
    held: watch::Receiver<Option<Held>>,
    friends: watch::Receiver<Friends>,
    stopping: Stopping,
}

impl Post {
    fn say(&self, state: TransportState, detail: &str, hint: Option<&str>) {
        report(&self.port, self.name.as_deref().unwrap_or(NAME), state, detail, hint);
    }
}

/// Keeps one adapter going.
async fn keep(post: Post) {
    let mut stopping = post.stopping.clone();
    let mut said = None;
    loop {
        match work(&post, &mut said).await {
            Ok(()) => return,
            Err(fault) => {
                if said.as_ref() != Some(&fault) {
                    post.say(TransportState::Down, &fault.to_string(), fault.hint());
                    said = Some(fault);
                }
            }
        }
        tokio::select! {
            () = sleep(TRY_APART) => {}
            () = stopping.heard() => return,
        }
    }
}

/// Works until something is wrong, or, without a fault, until the daemon stops. With the first sign of life there is no
/// fault that was said any more.
async fn work(post: &Post, said: &mut Option<Fault>) -> Result<(), Fault> {
    let manager = ask(Manager::new()).await?;
    let (name, adapter) = find(&manager, post.name.as_deref()).await?;
    if ask(adapter.adapter_state()).await? == CentralState::PoweredOff {
        return Err(Fault::Off);
    }
    let mut held = post.held.clone();
    let Some(now) = known_held(&mut held).await else { return Ok(()) };
    let events = ask(adapter.events()).await?;
    let system = System::new(adapter);
    let (port, friends) = (post.port.clone(), post.friends.clone());
    let air = Air::new(system, LANES, now.ours(UNHEARD), &post.settings, port, friends);
    let _ends = air.end_links();
    let mut stopping = post.stopping.clone();
    *said = None;
    let profile = format!("{:?}", post.settings.profile).to_lowercase();
    let detail = format!("listening ({profile}) and dialling through {name}; can't be dialled (btleplug)");
    post.say(TransportState::Up, &detail, Some(DIALS_ONLY));
    let mut ears = Ears { air: &air };
    let ended = tokio::select! {
        () = stopping.heard() => Ok(()),
        fault = system::hear(&air, events) => Err(fault),
        fault = seek(&air, &mut ears) => Err(fault),
        fault = power_off(&air) => Err(fault),
        () = tell_holdings(&air, held) => Ok(()),
    };
    if ended.is_ok() {
        air.cut_all().await;
    }
    ended
}

/// What follows for the user.
const DIALS_ONLY: &str = "two nodes that can't be dialled never meet over Bluetooth: have a Linux node in between, or the local network, or a relay";

/// The adapter of that name, or the first, with its name.
async fn find(manager: &Manager, wanted: Option<&str>) -> Result<(String, Adapter), Fault> {
    let mut is_any = false;
    for adapter in ask(manager.adapters()).await? {
        is_any = true;
        let info = ask(adapter.adapter_info()).await?;
        let name = info.split(' ').next().unwrap_or_default();
        if wanted.is_none_or(|wanted| wanted == name) {
            return Ok((name.to_owned(), adapter));
        }
    }
    Err(if is_any { Fault::Absent } else { Fault::NoAdapter })
}

/// Who is heard is judged by what we hold now.
async fn tell_holdings(air: &Air, mut held: watch::Receiver<Option<Held>>) {
    while held.changed().await.is_ok() {
        let now = *held.borrow_and_update();
        if let Some(now) = now {
            air.ours_changed(now.ours(UNHEARD));
        }
    }
}

async fn power_off(air: &Air) -> Fault {
    // The sender lives in `air`.
    let _ = air.power.subscribe().wait_for(|power| *power != Power::On).await;
    Fault::Off
}

/// An adapter's radio, as [`seek`] uses it.
struct Ears<'a> {
    air: &'a Arc<Air>,
}

impl Radio for Ears<'_> {
    type Fault = Fault;

    async fn listen(&mut self) -> Result<bool, Fault> {
        // Neighbours show their service's data and no list of services, which is what filters look at.
        ask(self.air.adapter.adapter.start_scan(ScanFilter::default())).await.map(|()| true)
    }

    async fn rest(&self) -> Result<(), Fault> {
        match timeout(ANSWER_TIME_MAX, self.air.adapter.adapter.stop_scan()).await {
            Err(_) => Err(Fault::Hung),
            // Somebody has ended all of it, or the adapter is gone, which the next listening finds.
            Ok(Ok(()) | Err(_)) => Ok(()),
        }
    }

    async fn dial(&self, address: Address) {
        dial::dial(self.air, address).await;
    }
}

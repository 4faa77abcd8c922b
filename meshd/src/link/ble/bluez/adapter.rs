//! One adapter at work: advertises, listens, dials and serves until something is wrong with it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bluer::adv::{Advertisement, AdvertisementHandle};
use bluer::{Adapter, Address, Uuid};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::super::air::{Power, dice};
use super::super::beacon::{Beacon, EPOCH};
use super::super::candidates::{self, Ours};
use super::super::duty::Profile;
use super::super::held::{Friends, Held, known_held};
use super::super::seek::{Radio, seek};
use super::super::{BleSettings, names};
use super::bus::{ANSWER_TIME_MAX, Bus, Known};
use super::fault::Fault;
use super::halves::{Halves, Refusals};
use super::l2cap::Ear;
use super::{Air, dial, lanes, rfkill};
use crate::driver::LinkPort;

/// For the end of an advertisement to be over.
const REMOVAL: Duration = Duration::from_millis(500);
/// The advertisement is renewed this often at most.
const RENEW_APART: Duration = Duration::from_secs(2);
/// The first try after a refused one; then twice as long each time, up to [`RENEW_APART`]. A controller that was
/// just switched on refuses while the kernel is still at it.
const RETRY_FIRST: Duration = Duration::from_millis(250);

/// What an adapter's task needs to know.
#[derive(Clone)]
pub(super) struct Post {
    pub(super) name: String,
    pub(super) settings: BleSettings,
    pub(super) bus: Arc<Bus>,
    pub(super) port: LinkPort,
    /// `None`: it is not known yet.
    pub(super) held: watch::Receiver<Option<Held>>,
    pub(super) friends: watch::Receiver<Friends>,
    pub(super) stopping: crate::stop::Stopping,
}

/// Runs an adapter until something is wrong with it, or until the daemon stops: then there is no fault.
///
/// Every run registers what it does over a connection to the bus that is clean.
pub(super) async fn run(post: &Post, known: &Known, was_on: &mut bool) -> Option<Fault> {
    work(post, known, was_on).await.err()
}

/// Asks BlueZ something.
pub(super) async fn ask<T>(call: impl Future<Output = bluer::Result<T>>) -> Result<T, Fault> {
    let answer = timeout(ANSWER_TIME_MAX, call).await.map_err(|_| Fault::Hung)?;
    answer.map_err(|error| Fault::of(&error))
}

/// Has BlueZ take a registration in. A call that is given up goes on by itself: the registration may still come to stand,
/// and ends with its handle. Only dropped, it would hold its place until BlueZ ends (docs/ble.md, 9).
pub(super) async fn register<T: Send + 'static>(
    call: impl Future<Output = bluer::Result<T>> + Send + 'static,
) -> Result<bluer::Result<T>, Fault> {
    match timeout(ANSWER_TIME_MAX, tokio::spawn(call)).await {
        Err(_) => Err(Fault::Hung),
        Ok(Err(_)) => Err(Fault::Stopping),
        Ok(Ok(answer)) => Ok(answer),
    }
}

async fn work(post: &Post, known: &Known, was_on: &mut bool) -> Result<(), Fault> {
    let session = post.bus.own.clean(&post.name, post.bus.owner()).await?;
    let adapter = session.adapter(&post.name).map_err(|error| Fault::of(&error))?;
    let random = dice().to_be_bytes();
    let Some(held) = known_held(&mut post.held.clone()).await else {
        return Ok(());
    };
    let friends = post.friends.clone();
    let lanes = post.settings.slots.callers();
    let air = Air::new(adapter, lanes, held.ours(random), &post.settings, post.port.clone(), friends);
    for neighbour in known.neighbours.iter().filter(|neighbour| neighbour.adapter == post.name) {
        air.remember(neighbour.address.0, neighbour.beacon, neighbour.is_connected);
    }
    let ear = Arc::clone(&air);
    let _attached = post.bus.attach(&post.name, move |news| ear.hear(news));
    switch_on(&air.adapter, was_on).await?;
    let _ends = air.end_links();
    let mut stopping = post.stopping.clone();
    let halves = Halves::new(&post.port, &post.name, post.settings.profile);
    let mut ears = Ears { air: &air, bus: &post.bus, refusals: Refusals::default(), halves: &halves };
    let ended = tokio::select! {
        () = stopping.heard() => Ok(()),
        fault = serve(&air, post, &halves, random) => Err(fault),
        fault = seek(&air, &mut ears) => Err(fault),
        fault = power_off(&air) => Err(fault),
    };
    if ended.is_ok() {
        air.cut_all().await;
    }
    ended
}

/// Switches the adapter on, once: who switches it off afterwards means it.
async fn switch_on(adapter: &Adapter, was_on: &mut bool) -> Result<(), Fault> {
    if !ask(adapter.is_powered()).await? {
        if *was_on || rfkill::is_blocked(adapter.name()).await {
            return Err(off(adapter.name()).await);
        }
        ask(adapter.set_powered(true)).await?;
    }
    *was_on = true;
    Ok(())
}

/// Why an adapter has no power.
async fn off(name: &str) -> Fault {
    if rfkill::is_blocked(name).await { Fault::Blocked } else { Fault::SwitchedOff }
}

async fn power_off(air: &Air) -> Fault {
    // The sender lives in `air`.
    let _ = air.power.subscribe().wait_for(|power| *power != Power::On).await;
    if *air.power.borrow() == Power::Gone { Fault::Absent } else { off(air.adapter.name()).await }
}

/// Takes calls, and says that it does.
async fn serve(air: &Arc<Air>, post: &Post, halves: &Halves<'_>, random: [u8; 4]) -> Fault {
    if air.uses_l2cap
        && let Some(ear) = Ear::open(air).await
    {
        // Once a run.
        let _ = air.psm.set(ear.psm);
        air.spawn(ear.serve(Arc::clone(air)));
    }
    match register(lanes::offer(Arc::clone(air))).await {
        Err(fault) => fault,
        Ok(Err(error)) => Fault::NoServices(error.to_string()),
        // Kept while we advertise.
        Ok(Ok(_services)) => advertise(air, post, halves, random).await,
    }
}

/// Keeps the advertisement up and true.
async fn advertise(air: &Arc<Air>, post: &Post, halves: &Halves<'_>, mut random: [u8; 4]) -> Fault {
    let mut held = post.held.clone();
    let mut epoch_ends = Instant::now() + EPOCH;
    let mut on_air: Option<AdvertisementHandle> = None;
    let mut retry = RETRY_FIRST;
    loop {
        let Some(now) = known_held(&mut held).await else {
            // The daemon stops.
            return std::future::pending().await;
        };
        let Ours { beacon, .. } = air.ours_changed(now.ours(random));
        match renew(air, advertisement(beacon, post.settings.profile), &mut on_air).await {
            Ok(()) => halves.heard_by_others(None).await,
            Err(fault @ (Fault::Hung | Fault::Stopping)) => return fault,
            // Whoever is heard is dialled all the same.
            Err(fault) => halves.heard_by_others(Some(fault)).await,
        }
        if on_air.is_none() {
            sleep_until(Instant::now() + retry).await;
            retry = (2 * retry).min(RENEW_APART);
            continue;
        }
        retry = RETRY_FIRST;
        sleep_until(Instant::now() + RENEW_APART).await;
        tokio::select! {
            changed = held.changed() => if changed.is_err() {
                // The daemon stops.
                std::future::pending::<()>().await;
            },
            () = sleep_until(epoch_ends) => {
                random = dice().to_be_bytes();
                epoch_ends = Instant::now() + EPOCH;
            }
        }
    }
}

/// Puts an advertisement in the place of the one that is on the air. Where there is room for both, the new one
/// comes first: to the kernel the end of the old one is a command like others, and it refuses the next meanwhile.
async fn renew(
    air: &Arc<Air>,
    new: Advertisement,
    on_air: &mut Option<AdvertisementHandle>,
) -> Result<(), Fault> {
    let mut answer = put_on_air(air, new.clone()).await?;
    if answer.is_err() && on_air.take().is_some() {
        sleep_until(Instant::now() + REMOVAL).await;
        answer = put_on_air(air, new).await?;
    }
    *on_air = Some(answer.map_err(|error| Fault::NoAdvertisement(error.to_string()))?);
    Ok(())
}

async fn put_on_air(air: &Arc<Air>, new: Advertisement) -> Result<bluer::Result<AdvertisementHandle>, Fault> {
    let adapter = air.adapter.clone();
    register(async move { adapter.advertise(new).await }).await
}

fn advertisement(beacon: Beacon, profile: Profile) -> Advertisement {
    let every = profile.advertise_every();
    Advertisement {
        service_data: BTreeMap::from([(Uuid::from_u128(names::SERVICE), beacon.bytes().to_vec())]),
        discoverable: Some(true),
        min_interval: Some(every),
        max_interval: Some(every + every / 2),
        ..Default::default()
    }
}

/// An adapter's radio, as [`seek`] uses it.
struct Ears<'a> {
    air: &'a Arc<Air>,
    bus: &'a Bus,
    refusals: Refusals,
    halves: &'a Halves<'a>,
}

impl Radio for Ears<'_> {
    type Fault = Fault;

    async fn listen(&mut self) -> Result<bool, Fault> {
        let listens = match self.bus.listen(self.air.adapter.name()).await {
            Ok(()) => true,
            Err(Fault::Busy) => false,
            Err(fault) => return Err(fault),
        };
        tracing::trace!(adapter = self.air.adapter.name(), listens, "asked to listen");
        self.halves.hears_others(!self.refusals.are_too_many(listens, Instant::now())).await;
        Ok(listens)
    }

    async fn rest(&self) -> Result<(), Fault> {
        self.bus.rest(self.air.adapter.name()).await
    }

    async fn dial(&self, address: candidates::Address) {
        dial::dial(self.air, Address(address)).await;
    }
}

//! One adapter at work: advertises, listens, dials and serves until something is wrong with it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bluer::adv::{Advertisement, AdvertisementHandle};
use bluer::{Adapter, Address, Session};
use meshlink_core::TransportState;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::super::beacon::{Beacon, EPOCH};
use super::super::candidates::Ours;
use super::super::duty::Profile;
use super::super::limits::SlotLimits;
use super::super::report;
use super::air::{Air, Next, Power, dice};
use super::bus::{ANSWER_TIME_MAX, Bus, Known};
use super::fault::Fault;
use super::l2cap::Ear;
use super::lanes::{self, SERVICE};
use super::{Friends, Held, dial, privacy, rfkill};
use crate::driver::LinkPort;

/// For the end of an advertisement to be over.
const REMOVAL: Duration = Duration::from_millis(500);
/// The advertisement is renewed this often at most.
const RENEW_APART: Duration = Duration::from_secs(2);
/// Between two tries to listen while the kernel still does so for a bluetoothd that was killed.
const BUSY_APART: Duration = Duration::from_millis(500);
/// It does that for 10 s at most. Later, something is wrong with it or with bluetoothd (docs/ble.md, 16).
const BUSY_FOR: Duration = Duration::from_secs(15);
/// The first try after a refused one; then twice as long each time, up to [`RENEW_APART`]. A controller that was
/// just switched on refuses while the kernel is still at it.
const RETRY_FIRST: Duration = Duration::from_millis(250);

/// What an adapter's task needs to know.
#[derive(Clone)]
pub(super) struct Post {
    pub(super) name: String,
    pub(super) profile: Profile,
    pub(super) l2cap: bool,
    pub(super) slots: SlotLimits,
    pub(super) bus: Arc<Bus>,
    pub(super) port: LinkPort,
    /// `None`: it is not known yet.
    pub(super) held: watch::Receiver<Option<Held>>,
    pub(super) friends: watch::Receiver<Friends>,
    pub(super) stopping: crate::stop::Stopping,
}

/// Runs an adapter until something is wrong with it, or until the daemon stops: then there is no fault.
///
/// Every run has a connection to the bus of its own for what it registers. With its end BlueZ drops all of that,
/// also what was half registered when a call was given up.
pub(super) async fn run(post: &Post, known: &Known, was_on: &mut bool) -> Option<Fault> {
    work(post, known, was_on).await.err()
}

/// Asks BlueZ something.
pub(super) async fn ask<T>(call: impl Future<Output = bluer::Result<T>>) -> Result<T, Fault> {
    let answer = timeout(ANSWER_TIME_MAX, call).await.map_err(|_| Fault::Hung)?;
    answer.map_err(|error| Fault::of(&error))
}

async fn work(post: &Post, known: &Known, was_on: &mut bool) -> Result<(), Fault> {
    let session = ask(Session::new()).await?;
    let adapter = session.adapter(&post.name).map_err(|error| Fault::of(&error))?;
    let random = dice().to_be_bytes();
    let Some(held) = known_held(&mut post.held.clone()).await else {
        return Ok(());
    };
    let address = ask(adapter.address()).await?;
    let air = Air::new(adapter, address, ours(random, held), post);
    for neighbour in known.neighbours.iter().filter(|neighbour| neighbour.adapter == post.name) {
        air.remember(neighbour);
    }
    let ear = Arc::clone(&air);
    let _attached = post.bus.attach(&post.name, move |news| ear.hear(news));
    switch_on(&air.adapter, was_on).await?;
    let _ends = EndLinks(Arc::clone(&air));
    let mut stopping = post.stopping.clone();
    let ended = tokio::select! {
        () = stopping.heard() => Ok(()),
        fault = serve(&air, post, random) => Err(fault),
        fault = seek(&air, post) => Err(fault),
        fault = power_off(&air) => Err(fault),
    };
    if ended.is_ok() {
        air.cut_all();
        while air.links() > 0 {
            air.wake.notified().await;
        }
    }
    ended
}

/// Links do not outlive their adapter's task.
struct EndLinks(Arc<Air>);

impl Drop for EndLinks {
    fn drop(&mut self) {
        self.0.abort_all();
    }
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
async fn serve(air: &Arc<Air>, post: &Post, random: [u8; 4]) -> Fault {
    if air.uses_l2cap
        && let Some(ear) = Ear::open(air)
    {
        // Once a run.
        let _ = air.psm.set(ear.psm);
        air.spawn(ear.serve(Arc::clone(air)));
    }
    match timeout(ANSWER_TIME_MAX, lanes::register(air)).await {
        Err(_) => Fault::Hung,
        Ok(Err(error)) => Fault::NoServices(error.to_string()),
        // Kept while we advertise.
        Ok(Ok(_services)) => advertise(air, post, random).await,
    }
}

/// Keeps the advertisement up and true.
async fn advertise(air: &Arc<Air>, post: &Post, mut random: [u8; 4]) -> Fault {
    let mut held = post.held.clone();
    let mut epoch_ends = Instant::now() + EPOCH;
    let mut on_air: Option<AdvertisementHandle> = None;
    let mut retry = RETRY_FIRST;
    loop {
        let Some(now) = known_held(&mut held).await else {
            // The daemon stops.
            return std::future::pending().await;
        };
        let Ours { beacon, .. } = air.ours_changed(ours(random, now));
        match renew(air, advertisement(beacon, post.profile), &mut on_air).await {
            Ok(()) => say_up(post, None).await,
            Err(Fault::Hung) => return Fault::Hung,
            // Whoever is heard is dialled all the same.
            Err(fault) => say_up(post, Some(&fault)).await,
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
    let mut answer = register(air, new.clone()).await?;
    if answer.is_err() && on_air.take().is_some() {
        sleep_until(Instant::now() + REMOVAL).await;
        answer = register(air, new).await?;
    }
    *on_air = Some(answer.map_err(|error| Fault::NoAdvertisement(error.to_string()))?);
    Ok(())
}

async fn register(air: &Arc<Air>, new: Advertisement) -> Result<bluer::Result<AdvertisementHandle>, Fault> {
    timeout(ANSWER_TIME_MAX, air.adapter.advertise(new)).await.map_err(|_| Fault::Hung)
}

/// What is held, once it is known; `None` when the daemon stops.
async fn known_held(held: &mut watch::Receiver<Option<Held>>) -> Option<Held> {
    *held.wait_for(Option::is_some).await.ok()?
}

fn ours(random: [u8; 4], held: Held) -> Ours {
    let Held { fingerprint, unsettled } = held;
    Ours { beacon: Beacon::new(random, fingerprint), held: fingerprint, unsettled }
}

fn advertisement(beacon: Beacon, profile: Profile) -> Advertisement {
    let every = profile.advertise_every();
    Advertisement {
        service_data: BTreeMap::from([(SERVICE, beacon.bytes().to_vec())]),
        discoverable: Some(true),
        min_interval: Some(every),
        max_interval: Some(every + every / 2),
        ..Default::default()
    }
}

async fn say_up(post: &Post, half: Option<&Fault>) {
    if let Some(fault) = half {
        let works = if *fault == Fault::Deaf { "advertising" } else { "listening, but not heard by others" };
        let detail = format!("{works}: {fault}");
        report(&post.port, &post.name, TransportState::Degraded, &detail, fault.hint());
        return;
    }
    let hint = privacy::hint().await;
    let detail = format!("advertising and listening ({:?})", post.profile).to_lowercase();
    report(&post.port, &post.name, TransportState::Up, &detail, hint);
}

/// Listens, dials whoever is due, rests.
async fn seek(air: &Arc<Air>, post: &Post) -> Fault {
    let bus = &post.bus;
    let mut refused_since = None;
    let mut is_deaf = false;
    loop {
        let (listen, mut pause) = air.duty();
        match bus.listen(air.adapter.name()).await {
            Ok(()) => {
                tracing::trace!(adapter = air.adapter.name(), "listening");
                refused_since = None;
                if std::mem::take(&mut is_deaf) {
                    say_up(post, None).await;
                }
                until_somebody_is_due(air, Instant::now() + listen).await;
            }
            // The kernel listens for a bluetoothd that is gone. Nobody tells when that ends.
            Err(Fault::Busy) => {
                tracing::trace!(adapter = air.adapter.name(), "busy listening for another");
                pause = pause.min(BUSY_APART);
                let since = *refused_since.get_or_insert_with(Instant::now);
                if !is_deaf && since.elapsed() > BUSY_FOR {
                    is_deaf = true;
                    say_up(post, Some(&Fault::Deaf)).await;
                }
            }
            Err(fault) => return fault,
        }
        // Before anybody is dialled: a connection waits for the end of a discovery.
        if let Err(fault) = bus.rest(air.adapter.name()).await {
            return fault;
        }
        while let Next::Dial(address) = air.next() {
            dial::dial(air, Address(address)).await;
        }
        tracing::trace!(
            adapter = air.adapter.name(),
            in_range = air.in_range(),
            links = air.links(),
            "resting"
        );
        until_somebody_is_due(air, Instant::now() + pause).await;
    }
}

async fn until_somebody_is_due(air: &Air, ends: Instant) {
    loop {
        let due = match air.next() {
            Next::Dial(_) => return,
            Next::At(at) => air.instant(at).min(ends),
            Next::Nobody => ends,
        };
        tokio::select! {
            () = air.wake.notified() => {}
            () = sleep_until(due) => if due == ends { return },
        }
    }
}

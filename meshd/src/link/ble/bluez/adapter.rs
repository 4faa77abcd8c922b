//! One adapter at work: advertises, listens, dials and serves until something is wrong with it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bluer::adv::{Advertisement, AdvertisementHandle};
use bluer::{Adapter, AdapterEvent, AdapterProperty, Address, DiscoveryFilter, DiscoveryTransport, Session};
use futures_util::stream::StreamExt;
use meshlink_core::TransportState;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::super::beacon::{Beacon, EPOCH};
use super::super::candidates::Ours;
use super::super::duty::{Duty, Profile};
use super::super::report;
use super::air::{Air, Next, dice};
use super::fault::Fault;
use super::lanes::{self, SERVICE};
use super::{Heard, Held, dial, privacy, rfkill};
use crate::driver::LinkPort;

/// BlueZ answers in milliseconds, on a busy machine in seconds; after this it hangs.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
/// For the end of an advertisement to be over.
const REMOVAL: Duration = Duration::from_millis(500);
/// The advertisement is renewed this often at most.
const RENEW_APART: Duration = Duration::from_secs(2);

/// What an adapter's task needs to know.
#[derive(Clone)]
pub(super) struct Post {
    pub(super) name: String,
    pub(super) profile: Profile,
    pub(super) port: LinkPort,
    pub(super) held: watch::Receiver<Held>,
    pub(super) stopping: crate::stop::Stopping,
}

/// Runs an adapter until something is wrong with it, or until the daemon stops: then there is no fault.
///
/// Every run has a connection to the bus of its own. With its end BlueZ drops whatever was registered on it, also
/// what was half registered when a call was given up.
pub(super) async fn run(post: &Post, was_on: &mut bool) -> Option<Fault> {
    let session = match ask(Session::new()).await {
        Ok(session) => session,
        Err(fault) => return Some(fault),
    };
    work(&session, post, was_on).await.err()
}

/// Asks BlueZ something.
pub(super) async fn ask<T>(call: impl Future<Output = bluer::Result<T>>) -> Result<T, Fault> {
    let answer = timeout(ANSWER_TIME_MAX, call).await.map_err(|_| Fault::Hung)?;
    answer.map_err(|error| Fault::of(&error))
}

async fn work(session: &Session, post: &Post, was_on: &mut bool) -> Result<(), Fault> {
    let adapter = session.adapter(&post.name).map_err(|error| Fault::of(&error))?;
    let mut events = Box::pin(ask(adapter.events()).await?);
    switch_on(&adapter, was_on).await?;
    let random = dice().to_be_bytes();
    let air = Air::new(adapter, post.port.clone(), ours(random, *post.held.borrow()));
    let _ends = EndLinks(Arc::clone(&air));
    // Kept while we serve.
    let _services = timeout(ANSWER_TIME_MAX, lanes::register(&air))
        .await
        .map_err(|_| Fault::Hung)?
        .map_err(|error| Fault::NoServices(error.to_string()))?;
    let mut stopping = post.stopping.clone();
    let ended = tokio::select! {
        () = stopping.heard() => Ok(()),
        fault = advertise(&air, post, random) => Err(fault),
        fault = seek(&air, post.profile) => Err(fault),
        fault = power_off(&post.name, &mut events) => Err(fault),
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

async fn power_off(
    name: &str,
    events: &mut (impl futures_util::Stream<Item = AdapterEvent> + Unpin),
) -> Fault {
    loop {
        match events.next().await {
            Some(AdapterEvent::PropertyChanged(AdapterProperty::Powered(false))) => return off(name).await,
            Some(_) => {}
            None => return Fault::Absent,
        }
    }
}

/// Keeps the advertisement up and true.
async fn advertise(air: &Arc<Air>, post: &Post, mut random: [u8; 4]) -> Fault {
    let mut held = post.held.clone();
    let mut epoch_ends = Instant::now() + EPOCH;
    let mut on_air: Option<AdvertisementHandle> = None;
    loop {
        let Ours { beacon, .. } = air.ours_changed(ours(random, *held.borrow_and_update()));
        match renew(air, advertisement(beacon, post.profile), &mut on_air).await {
            Ok(()) => say_up(air, post, None).await,
            Err(Fault::Hung) => return Fault::Hung,
            // Whoever is heard is dialled all the same.
            Err(fault) => say_up(air, post, Some(&fault)).await,
        }
        sleep_until(Instant::now() + RENEW_APART).await;
        if on_air.is_none() {
            continue;
        }
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

async fn say_up(air: &Arc<Air>, post: &Post, unheard: Option<&Fault>) {
    if let Some(fault) = unheard {
        let detail = format!("listening, but not heard by others: {fault}");
        report(&air.port, &post.name, TransportState::Degraded, &detail, fault.hint());
        return;
    }
    let hint = privacy::hint().await;
    let detail = format!("advertising and listening ({:?})", post.profile).to_lowercase();
    report(&air.port, &post.name, TransportState::Up, &detail, hint);
}

/// Listens, dials whoever is due, rests.
async fn seek(air: &Arc<Air>, profile: Profile) -> Fault {
    let mut duty = Duty::new(profile, air.now());
    loop {
        match listen(air, &mut duty).await {
            // The end of the last discovery is not over yet, or another program is at it: after the rest.
            Ok(()) | Err(Fault::Busy) => {}
            Err(fault) => return fault,
        }
        while let Next::Dial(address) = air.next() {
            dial::dial(air, Address(address)).await;
        }
        let rest_ends = Instant::now() + duty.pause(air.now());
        tracing::trace!(
            adapter = air.adapter.name(),
            in_range = air.in_range(),
            links = air.links(),
            "resting"
        );
        rest(air, rest_ends).await;
    }
}

/// Listens for as long as the profile says, or until somebody is due.
async fn listen(air: &Arc<Air>, duty: &mut Duty) -> Result<(), Fault> {
    let ends = Instant::now() + duty.scan();
    let filter =
        DiscoveryFilter { transport: DiscoveryTransport::Le, duplicate_data: false, ..Default::default() };
    ask(air.adapter.set_discovery_filter(filter)).await?;
    // Dropped before anybody is dialled: that ends the discovery.
    let mut events = Box::pin(ask(air.adapter.discover_devices_with_changes()).await?);
    loop {
        let due = match air.next() {
            Next::Dial(_) => return Ok(()),
            Next::At(at) => air.instant(at).min(ends),
            Next::Nobody => ends,
        };
        tokio::select! {
            event = events.next() => match event {
                Some(AdapterEvent::DeviceAdded(address)) => {
                    if look_at(air, address).await? == Heard::New {
                        duty.something_new(air.now());
                    }
                }
                Some(_) => {}
                // Somebody else has ended all discovery, or the adapter is gone, which the next call tells.
                None => return Ok(()),
            },
            () = air.wake.notified() => {}
            () = sleep_until(due) => if due == ends { return Ok(()) },
        }
    }
}

/// Reads the beacon of a device that is here now.
async fn look_at(air: &Arc<Air>, address: Address) -> Result<Heard, Fault> {
    let Ok(device) = air.adapter.device(address) else { return Ok(Heard::Nothing) };
    let seen = async {
        // A device that is only remembered has no signal.
        let Some(_) = device.rssi().await? else { return Ok(None) };
        Ok(device.service_data().await?.and_then(|data| Beacon::read(data.get(&SERVICE)?)))
    };
    match timeout(ANSWER_TIME_MAX, seen).await {
        Err(_) => Err(Fault::Hung),
        Ok(Ok(Some(beacon))) if air.heard(address.0, beacon) => Ok(Heard::New),
        Ok(Ok(Some(_))) => Ok(Heard::Known),
        Ok(Ok(None)) => Ok(Heard::Nothing),
        Ok(Err(error)) => {
            let error: bluer::Error = error;
            tracing::trace!(%address, %error, "heard and gone");
            Ok(Heard::Nothing)
        }
    }
}

/// Rests, unless somebody is due.
async fn rest(air: &Arc<Air>, ends: Instant) {
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

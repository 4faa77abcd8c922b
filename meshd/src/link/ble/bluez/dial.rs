//! The calling half: connects to a neighbour that was heard, and takes the lane it offers.

use std::sync::Arc;
use std::time::Duration;

use bluer::gatt::remote::Characteristic;
use bluer::{Address, Device, ErrorKind};
use meshlink_core::LinkKind;
use tokio::time::{Instant, timeout};

use super::super::carry::{Pipe, carry};
use super::super::chunk::Chunks;
use super::super::names;
use super::super::offer::{OUR_WINDOW_BYTES, Offer, OfferError};
use super::super::slots::Key;
use super::lanes::handle;
use super::pipe::Sockets;
use super::{Air, Slot, l2cap};

/// Another program's discovery makes a connection wait up to 10 s (docs/ble.md, 4).
const CONNECT_TIME_MAX: Duration = Duration::from_secs(15);
/// For finding the neighbour's services.
const RESOLVE_TIME_MAX: Duration = Duration::from_secs(15);
/// For an L2CAP channel; another way is taken if there is none by then.
const CHANNEL_TIME_MAX: Duration = Duration::from_secs(2);
/// For the first answer over a channel that was tried before anything was asked: some that come to stand in the first moments
/// of an adapter carry nothing (docs/ble.md, 19). The offer is read next time.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(3);
/// For each step after that.
const STEP_TIME_MAX: Duration = Duration::from_secs(5);
/// Why a dial came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    #[error("{0}")]
    Bluez(#[from] bluer::Error),
    #[error("no answer in time")]
    Late,
    #[error("it was gone before its services were known")]
    Gone,
    #[error("it has no lane for us now")]
    NoLane,
    #[error(transparent)]
    Offer(#[from] OfferError),
    #[error("it has called us meanwhile")]
    Met,
}

/// A lane of a neighbour's.
struct Taken {
    pipe: Sockets,
    window_bytes: usize,
    /// Nothing was asked of the neighbour before.
    straight: bool,
}

/// Dials a neighbour; its link then lives by itself.
pub(super) async fn dial(air: &Arc<Air>, address: Address) {
    let started = Instant::now();
    let Ok(device) = air.adapter.device(address) else { return };
    let Some(_dialling) = air.begin_dial(address.0) else { return };
    let key = Key { address: address.0, dialled: true };
    match reach(air, &device).await {
        Ok(taken) => {
            tracing::debug!(%address, ms = started.elapsed().as_millis(), "dialled");
            let slot = air.open(key);
            air.spawn(link(Arc::clone(air), slot, device, taken, started.elapsed()));
        }
        Err(DialError::Met) => tracing::debug!(%address, "called by whom we dialled"),
        Err(error) => {
            tracing::debug!(%address, %error, ms = started.elapsed().as_millis(), "a dial came to nothing");
            leave(air, &key, &device).await;
            air.dial_failed(address.0);
            if matches!(&error, DialError::Bluez(error) if error.kind == ErrorKind::NotFound) {
                // What BlueZ remembers of its services is old: with the device it forgets them.
                let _ = air.adapter.remove_device(address).await;
                air.forget(&address.0);
            }
        }
    }
}

async fn reach(air: &Arc<Air>, device: &Device) -> Result<Taken, DialError> {
    let address = device.address();
    if air.is_linked(&address.0) {
        return Err(DialError::Met);
    }
    let ends = if air.uses_l2cap { ends(air, device).await } else { None };
    match timeout(CONNECT_TIME_MAX, device.connect()).await.map_err(|_| DialError::Late)? {
        Err(error) if error.kind != ErrorKind::AlreadyConnected => return Err(error.into()),
        Ok(()) | Err(_) => tracing::trace!(%address, "connected"),
    }
    if air.is_linked(&address.0) {
        return Err(DialError::Met);
    }
    if let Some(ends) = &ends
        && air.may_go_straight(&address.0)
        && let Some(pipe) = channel(ends, names::PSM).await
    {
        return Ok(Taken { pipe, window_bytes: OUR_WINDOW_BYTES, straight: true });
    }
    let offer = offer(air, device).await?;
    if air.is_linked(&address.0) {
        return Err(DialError::Met);
    }
    let lane_number = offer.lane.ok_or(DialError::NoLane)?;
    let window_bytes = offer.window_bytes();
    if let (Some(ends), Some(psm)) = (&ends, offer.psm)
        && let Some(pipe) = channel(ends, psm).await
    {
        return Ok(Taken { pipe, window_bytes, straight: false });
    }
    let mine = lane(device, lane_number).await?;
    // In this order: who writes without having subscribed is refused.
    let reader = step(mine.notify_io()).await?;
    tracing::trace!(%address, "subscribed");
    let writer = step(mine.write_io()).await?;
    Ok(Taken { pipe: Sockets::Gatt { reader, writer }, window_bytes, straight: false })
}

/// Where a channel would be, if BlueZ knows. Without one the link goes over GATT.
async fn ends(air: &Air, device: &Device) -> Option<l2cap::Ends> {
    match step(l2cap::Ends::ask(air, device)).await {
        Ok(ends) => Some(ends),
        Err(error) => {
            tracing::debug!(address = %device.address(), %error, "no address for a channel");
            None
        }
    }
}

/// Opens a channel, if the neighbour takes one there.
async fn channel(ends: &l2cap::Ends, psm: u16) -> Option<Sockets> {
    let address = ends.neighbour.addr;
    match timeout(CHANNEL_TIME_MAX, l2cap::connect(ends, psm)).await {
        Ok(Ok(channel)) => return Some(Sockets::l2cap(channel)),
        Ok(Err(error)) => tracing::debug!(%address, psm, %error, "no L2CAP channel"),
        Err(_) => tracing::debug!(%address, psm, "no L2CAP channel in time"),
    }
    None
}

/// What the neighbour offers, once its services are known.
async fn offer(air: &Air, device: &Device) -> Result<Offer, DialError> {
    let address = device.address();
    let known = async { device.is_services_resolved().await.unwrap_or(false) };
    let resolved = timeout(RESOLVE_TIME_MAX, air.is_resolved(&address.0, known));
    if !resolved.await.map_err(|_| DialError::Late)? {
        return Err(DialError::Gone);
    }
    tracing::trace!(%address, "its services are known");
    Ok(Offer::decode(&step(lane(device, 0).await?.read()).await?)?)
}

/// The characteristic of one of a neighbour's lanes. Handles are fixed, so where BlueZ puts it is known without
/// asking for all it has.
async fn lane(device: &Device, lane: u8) -> bluer::Result<Characteristic> {
    let service = handle(lane);
    device.service(service).await?.characteristic(service + 1).await
}

async fn step<T>(call: impl Future<Output = bluer::Result<T>>) -> Result<T, DialError> {
    Ok(timeout(STEP_TIME_MAX, call).await.map_err(|_| DialError::Late)??)
}

async fn link(air: Arc<Air>, mut slot: Slot, device: Device, taken: Taken, took: Duration) {
    let address = device.address();
    let Taken { pipe, window_bytes, straight } = taken;
    slot.answer_by = straight.then(|| Instant::now() + ANSWER_TIME_MAX);
    let end = air.port.open(LinkKind::Ble, address.to_string(), true);
    slot.named(end.id());
    end.facts(pipe.facts(air.dbm(&address.0), Some(took)));
    let chunks = Chunks::new(pipe.value_bytes(), window_bytes);
    let why = carry(&mut slot, &end, &pipe, chunks).await;
    tracing::debug!(%address, reason = %why, "a dialled link ended");
    drop((end, pipe));
    // The slot is kept until then: BlueZ takes 2 s, and a dial meanwhile would get the dying connection.
    leave(&air, &slot.key, &device).await;
}

/// Ends the connection, unless the neighbour's own link to us is on it.
async fn leave(air: &Arc<Air>, key: &Key, device: &Device) {
    if air.is_linked_besides(key) {
        return;
    }
    if let Ok(Err(error)) = timeout(STEP_TIME_MAX, device.disconnect()).await {
        tracing::debug!(%error, address = %device.address(), "disconnect");
    }
}

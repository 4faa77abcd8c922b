//! The calling half: connects to a neighbour that was heard, and takes the lane it offers.

use std::sync::Arc;
use std::time::Duration;

use bluer::gatt::remote::Characteristic;
use bluer::gatt::{CharacteristicReader, CharacteristicWriter};
use bluer::{Address, Device, ErrorKind};
use meshlink_core::LinkKind;
use tokio::time::{Instant, sleep, timeout};

use super::super::chunk::Chunks;
use super::super::offer::{Offer, OfferError};
use super::super::slots::Key;
use super::air::{Air, Slot};
use super::carry::{carry, value_bytes};
use super::lanes::{LANE, SERVICE, handle};

/// Another program's discovery makes a connection wait up to 10 s (docs/ble.md, 4).
const CONNECT_TIME_MAX: Duration = Duration::from_secs(15);
/// For finding the neighbour's services.
const RESOLVE_TIME_MAX: Duration = Duration::from_secs(15);
/// For each step after that.
const STEP_TIME_MAX: Duration = Duration::from_secs(5);
/// How long to wait for the end of our own discovery.
const QUIET_TIME_MAX: Duration = Duration::from_secs(2);
const QUIET_STEP: Duration = Duration::from_millis(10);

/// Why a dial came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    #[error("{0}")]
    Bluez(#[from] bluer::Error),
    #[error("no answer in time")]
    Late,
    #[error("it does not have our service where it should be")]
    NotOurs,
    #[error("it has no lane for us now")]
    NoLane,
    #[error(transparent)]
    Offer(#[from] OfferError),
    #[error("it has called us meanwhile")]
    Met,
}

/// A lane of a neighbour's.
struct Taken {
    reader: CharacteristicReader,
    writer: CharacteristicWriter,
    offer: Offer,
}

/// Dials a neighbour; its link then lives by itself.
pub(super) async fn dial(air: &Arc<Air>, address: Address) {
    let started = Instant::now();
    let Ok(device) = air.adapter.device(address) else { return };
    match reach(air, &device).await {
        Ok(taken) => {
            tracing::debug!(%address, ms = started.elapsed().as_millis(), "dialled");
            let rssi = device.rssi().await.ok().flatten();
            let slot = air.open(Key { address: address.0, dialled: true });
            air.spawn(link(Arc::clone(air), slot, device, taken, rssi));
        }
        Err(DialError::Met) => tracing::debug!(%address, "called by whom we dialled"),
        Err(error) => {
            tracing::debug!(%address, %error, ms = started.elapsed().as_millis(), "a dial came to nothing");
            leave(air, &Key { address: address.0, dialled: true }, &device).await;
            air.dial_failed(address.0);
            if matches!(error, DialError::NotOurs) {
                // What BlueZ remembers of it may be old.
                let _ = air.adapter.remove_device(address).await;
            }
        }
    }
}

async fn reach(air: &Arc<Air>, device: &Device) -> Result<Taken, DialError> {
    wait_until_quiet(air).await;
    if air.is_linked(&device.address().0) {
        return Err(DialError::Met);
    }
    match timeout(CONNECT_TIME_MAX, device.connect()).await.map_err(|_| DialError::Late)? {
        Err(error) if error.kind != ErrorKind::AlreadyConnected => return Err(error.into()),
        Ok(()) | Err(_) => {}
    }
    let zero = timeout(RESOLVE_TIME_MAX, lane(device, 0)).await.map_err(|_| DialError::Late)??;
    let offer = step(zero.read()).await?;
    let offer = Offer::decode(&offer)?;
    if air.is_linked(&device.address().0) {
        return Err(DialError::Met);
    }
    let mine = match offer.lane.ok_or(DialError::NoLane)? {
        0 => zero,
        n => timeout(RESOLVE_TIME_MAX, lane(device, n)).await.map_err(|_| DialError::Late)??,
    };
    // In this order: who writes without having subscribed is refused.
    let reader = step(mine.notify_io()).await?;
    let writer = step(mine.write_io()).await?;
    Ok(Taken { reader, writer, offer })
}

/// The characteristic of one of a neighbour's lanes.
async fn lane(device: &Device, lane: u8) -> Result<Characteristic, DialError> {
    for service in device.services().await? {
        if service.id() != handle(lane) || service.uuid().await? != SERVICE {
            continue;
        }
        for characteristic in service.characteristics().await? {
            if characteristic.uuid().await? == LANE {
                return Ok(characteristic);
            }
        }
    }
    Err(DialError::NotOurs)
}

async fn step<T>(call: impl Future<Output = bluer::Result<T>>) -> Result<T, DialError> {
    Ok(timeout(STEP_TIME_MAX, call).await.map_err(|_| DialError::Late)??)
}

/// The discovery's end is asked for when its stream is dropped, and takes a moment.
async fn wait_until_quiet(air: &Arc<Air>) {
    let quiet = async {
        while air.adapter.is_discovering().await.unwrap_or(false) {
            sleep(QUIET_STEP).await;
        }
    };
    // Another program's discovery may go on for long; the dial then takes longer.
    let _ = timeout(QUIET_TIME_MAX, quiet).await;
}

async fn link(air: Arc<Air>, mut slot: Slot, device: Device, taken: Taken, rssi: Option<i16>) {
    let address = device.address();
    let Taken { reader, writer, offer } = taken;
    let end = air.port.open(LinkKind::Ble, address.to_string(), true);
    if let Some(dbm) = rssi {
        end.rssi(dbm);
    }
    let chunks = Chunks::new(value_bytes(&writer), offer.window_bytes());
    let why = carry(&mut slot, &end, &reader, &writer, chunks).await;
    tracing::debug!(%address, reason = %why, "a dialled link ended");
    drop((end, reader, writer));
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

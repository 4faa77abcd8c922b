//! One dial and the link that comes of it.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use btleplug::api::{Central as _, CharPropFlags, Characteristic, Peripheral as _};
use btleplug::platform::{Adapter, Peripheral, PeripheralId};
use meshlink_core::LinkKind;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use super::super::chunk::Chunks;
use super::super::names;
use super::super::offer::{Offer, OfferError};
use super::carry::{Values, carry};
use crate::driver::LinkPort;

/// For a neighbour to accept a connection.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(15);
/// For finding its services.
const RESOLVE_TIME_MAX: Duration = Duration::from_secs(15);
/// For each step after that.
const STEP_TIME_MAX: Duration = Duration::from_secs(5);
/// What of a value does not arrive (docs/ble.md, 2), and the longest one that does.
const LOST_BYTES: usize = 3;
const VALUE_BYTES_MAX: usize = 509;

/// Why a dial came to nothing.
#[derive(Debug, thiserror::Error)]
enum DialError {
    #[error("{0}")]
    System(#[from] btleplug::Error),
    #[error("no answer in time")]
    Late,
    #[error("it is no node")]
    NoNode,
    #[error("it has no lane for us now")]
    NoLane,
    #[error(transparent)]
    Offer(#[from] OfferError),
}

/// Dials, and lives as long as the link; returns how many frames it brought.
pub(super) async fn link(
    adapter: &Adapter,
    port: &LinkPort,
    id: &PeripheralId,
    cut: &Notify,
    moved: &AtomicBool,
) -> u32 {
    let started = Instant::now();
    let Ok(peripheral) = adapter.peripheral(id).await else { return 0 };
    let reached = tokio::select! {
        reached = reach(&peripheral) => reached,
        () = cut.notified() => Err(DialError::Late),
    };
    let mut frames = 0;
    match reached {
        Ok((values, window_bytes)) => {
            tracing::debug!(%id, ms = started.elapsed().as_millis(), "dialled");
            let end = port.open(LinkKind::Ble, id.to_string(), true);
            let mut values = values;
            let chunks = Chunks::new(value_bytes(&peripheral), window_bytes);
            let why = carry(&end, &mut values, chunks, cut, moved, &mut frames).await;
            tracing::debug!(%id, reason = %why, "a dialled link ended");
        }
        Err(error) => {
            tracing::debug!(%id, %error, ms = started.elapsed().as_millis(), "a dial came to nothing");
        }
    }
    // Whatever comes of it, the link is over.
    let _ = timeout(STEP_TIME_MAX, peripheral.disconnect()).await;
    frames
}

async fn reach(peripheral: &Peripheral) -> Result<(Values, usize), DialError> {
    within(CONNECT_TIME_MAX, peripheral.connect()).await?;
    within(RESOLVE_TIME_MAX, peripheral.discover_services()).await?;
    let lane = lane(peripheral).ok_or(DialError::NoNode)?;
    let offer = Offer::decode(&within(STEP_TIME_MAX, peripheral.read(&lane)).await?)?;
    if offer.lane.is_none() {
        return Err(DialError::NoLane);
    }
    let values = within(STEP_TIME_MAX, peripheral.notifications()).await?;
    within(STEP_TIME_MAX, peripheral.subscribe(&lane)).await?;
    Ok((Values { peripheral: peripheral.clone(), lane, values }, offer.window_bytes()))
}

async fn within<T>(
    time: Duration,
    call: impl Future<Output = btleplug::Result<T>>,
) -> Result<T, DialError> {
    Ok(timeout(time, call).await.map_err(|_| DialError::Late)??)
}

/// The lane that the system shows us: one of several that look the same to it. Reading it asks for that one.
fn lane(peripheral: &Peripheral) -> Option<Characteristic> {
    let (service, lane) = (Uuid::from_u128(names::SERVICE), Uuid::from_u128(names::LANE));
    peripheral.characteristics().into_iter().find(|characteristic| {
        characteristic.service_uuid == service
            && characteristic.uuid == lane
            && characteristic.properties.contains(CharPropFlags::NOTIFY)
    })
}

fn value_bytes(peripheral: &Peripheral) -> usize {
    usize::from(peripheral.mtu()).saturating_sub(LOST_BYTES).min(VALUE_BYTES_MAX)
}

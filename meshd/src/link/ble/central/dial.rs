//! One dial, and the link that comes of it: the caller's half of docs/ble.md, "Names on the air".

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use btleplug::api::{Characteristic, Peripheral as _, ValueNotification, WriteType};
use btleplug::platform::Peripheral;
use futures_util::stream::{Stream, StreamExt};
use meshlink_core::LinkKind;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::super::candidates::Address;
use super::super::carry::{LOST_BYTES, Pipe, carry};
use super::super::chunk::Chunks;
use super::super::names;
use super::super::offer::{Offer, OfferError};
use super::super::slots::Key;
use super::system::shown;
use super::{Air, Slot};

/// For a neighbour to accept a connection.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(15);
/// For finding its services.
const RESOLVE_TIME_MAX: Duration = Duration::from_secs(15);
/// For each step after that.
const STEP_TIME_MAX: Duration = Duration::from_secs(5);
/// For what was handed over to be written, when a link ends.
const FLUSH_TIME_MAX: Duration = Duration::from_millis(300);
/// A link on which nothing moved for this long is asked after: nobody may have told its end.
const ASK_AFTER: Duration = Duration::from_secs(10);
/// No value on GATT is longer, whatever the MTU; of that BlueZ loses some (docs/ble.md, 2).
const VALUE_BYTES_MAX: usize = 512 - LOST_BYTES;

/// Why a dial came to nothing.
#[derive(Debug, thiserror::Error)]
enum DialError {
    #[error("{0}")]
    System(#[from] btleplug::Error),
    #[error("no answer in time")]
    Late,
    #[error("it shows no such lane")]
    NotShown,
    #[error("it has no lane for us now")]
    NoLane,
    #[error(transparent)]
    Offer(#[from] OfferError),
}

/// Dials a neighbour; its link then lives by itself.
pub(super) async fn dial(air: &Arc<Air>, address: Address) {
    let started = Instant::now();
    let Ok(peripheral) = step(air.adapter.peripheral(&address)).await else {
        // Forgotten by the system or by us: it must be heard again.
        return air.forget(&address);
    };
    let Some(_dialling) = air.begin_dial(address) else { return };
    let shown = shown(&peripheral);
    match reach(air, &address, &peripheral).await {
        Ok((lane, window_bytes)) => {
            tracing::debug!(address = shown, ms = started.elapsed().as_millis(), "dialled");
            let slot = air.open(Key { address, dialled: true });
            air.spawn(link(Arc::clone(air), slot, shown, lane, window_bytes, started.elapsed()));
        }
        Err(error) => {
            tracing::debug!(address = shown, %error, ms = started.elapsed().as_millis(), "a dial came to nothing");
            leave(&peripheral).await;
            air.dial_failed(address);
        }
    }
}

async fn reach(air: &Air, address: &Address, peripheral: &Peripheral) -> Result<(Lane, usize), DialError> {
    if let Err(error) = within(CONNECT_TIME_MAX, peripheral.connect()).await
        // Of an earlier life of this program, perhaps.
        && !step(peripheral.is_connected()).await?
    {
        return Err(error);
    }
    let connected = air.adapter.connected(address).ok_or(DialError::Late)?;
    within(RESOLVE_TIME_MAX, peripheral.discover_services()).await?;
    let offer = Offer::decode(&step(peripheral.read(&characteristic(peripheral, 0)?)).await?)?;
    let lane = characteristic(peripheral, offer.lane.ok_or(DialError::NoLane)?)?;
    // In this order: what comes between would be lost, and who writes without having subscribed is refused.
    let values = step(peripheral.notifications()).await?;
    step(peripheral.subscribe(&lane)).await?;
    Ok((Lane::new(peripheral.clone(), lane, values, connected), offer.window_bytes()))
}

/// The characteristic of one of a neighbour's lanes.
fn characteristic(peripheral: &Peripheral, lane: u8) -> Result<Characteristic, DialError> {
    let (service, uuid) = (Uuid::from_u128(names::service(lane)), Uuid::from_u128(names::LANE));
    let mut all = peripheral.characteristics().into_iter();
    all.find(|found| found.service_uuid == service && found.uuid == uuid).ok_or(DialError::NotShown)
}

async fn within<T>(time: Duration, call: impl Future<Output = btleplug::Result<T>>) -> Result<T, DialError> {
    Ok(timeout(time, call).await.map_err(|_| DialError::Late)??)
}

async fn step<T>(call: impl Future<Output = btleplug::Result<T>>) -> Result<T, DialError> {
    within(STEP_TIME_MAX, call).await
}

async fn link(air: Arc<Air>, mut slot: Slot, shown: String, lane: Lane, window_bytes: usize, took: Duration) {
    let end = air.port.open(LinkKind::Ble, shown.clone(), true);
    slot.named(end.id());
    end.facts(lane.facts(air.dbm(&slot.key.address), Some(took)));
    let chunks = Chunks::new(lane.value_bytes(), window_bytes);
    let why = carry(&mut slot, &end, &lane, chunks).await;
    tracing::debug!(address = shown, reason = %why, "a dialled link ended");
    drop(end);
    let peripheral = lane.peripheral.clone();
    lane.flush().await;
    // The slot is kept until then: a dial meanwhile would get the dying connection.
    leave(&peripheral).await;
}

async fn leave(peripheral: &Peripheral) {
    if let Err(error) = step(peripheral.disconnect()).await {
        tracing::debug!(%error, "disconnect");
    }
}

/// A neighbour's lane at work. Values are written by a task of their own: a write that was given up half-way may or may
/// not have been sent.
struct Lane {
    peripheral: Peripheral,
    characteristic: Characteristic,
    values: Mutex<Pin<Box<dyn Stream<Item = ValueNotification> + Send>>>,
    out: mpsc::Sender<Vec<u8>>,
    writer: JoinHandle<()>,
    connected: watch::Receiver<bool>,
}

impl Lane {
    fn new(
        peripheral: Peripheral,
        characteristic: Characteristic,
        values: Pin<Box<dyn Stream<Item = ValueNotification> + Send>>,
        connected: watch::Receiver<bool>,
    ) -> Self {
        let (out, mut taken) = mpsc::channel::<Vec<u8>>(1);
        let (to, lane) = (peripheral.clone(), characteristic.clone());
        let writer = tokio::spawn(async move {
            while let Some(value) = taken.recv().await {
                if let Err(error) = to.write(&lane, &value, WriteType::WithoutResponse).await {
                    tracing::debug!(%error, "a value could not be written");
                    return;
                }
            }
        });
        Self { peripheral, characteristic, values: Mutex::new(values), out, writer, connected }
    }

    /// Returns once the neighbour holds no link with us. A node that was killed says nothing, and its system keeps the
    /// connection: then there is no lane to read, or, of one that came back, a lane is on offer. Another lane than ours is
    /// read, since systems tell what was read like what was sent.
    async fn forgotten(&self) {
        let ours = &self.characteristic;
        let mut all = self.peripheral.characteristics().into_iter();
        let Some(other) = all.find(|lane| lane.uuid == ours.uuid && lane.service_uuid != ours.service_uuid)
        else {
            return std::future::pending().await;
        };
        loop {
            sleep(ASK_AFTER).await;
            match step(self.peripheral.read(&other)).await {
                Ok(answer) if Offer::decode(&answer).is_ok_and(|offer| offer.lane.is_none()) => {}
                // Busy; a connection that answers nothing for 30 s is ended by the system.
                Err(DialError::Late) => {}
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// Lets what was handed over be written.
    async fn flush(self) {
        drop(self.out);
        if timeout(FLUSH_TIME_MAX, self.writer).await.is_err() {
            tracing::debug!("the last values of a link were not written in time");
        }
    }
}

impl Pipe for Lane {
    fn value_bytes(&self) -> usize {
        usize::from(self.peripheral.mtu()).saturating_sub(LOST_BYTES).min(VALUE_BYTES_MAX)
    }

    fn path(&self) -> &'static str {
        "gatt"
    }

    async fn recv(&self) -> io::Result<Vec<u8>> {
        let mut values = self.values.lock().await;
        let ours = &self.characteristic;
        while let Some(ValueNotification { uuid, service_uuid, value }) = values.next().await {
            if uuid == ours.uuid && service_uuid == ours.service_uuid {
                return Ok(value);
            }
        }
        Ok(Vec::new())
    }

    async fn send(&self, value: &[u8]) -> io::Result<()> {
        let room = self.out.reserve().await.map_err(|_| io::ErrorKind::BrokenPipe)?;
        room.send(value.to_vec());
        Ok(())
    }

    async fn closed(&self) -> io::Result<()> {
        let mut connected = self.connected.clone();
        tokio::select! {
            () = self.out.closed() => {}
            // An error: the device was forgotten.
            _ = connected.wait_for(|is| !is) => {}
            () = self.forgotten() => {}
        }
        Ok(())
    }
}

//! What btleplug tells of an adapter, and how devices are called: systems that hide addresses name them in ways of
//! their own, so a device goes by a hash of its name here.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard};

use btleplug::api::{BDAddr, Central as _, CentralEvent, CentralState, Peripheral as _};
use btleplug::platform::{Adapter, Peripheral, PeripheralId};
use futures_util::stream::{Stream, StreamExt};
use tokio::sync::watch;
use uuid::Uuid;

use super::super::air::News;
use super::super::beacon::Beacon;
use super::super::candidates::{Address, CANDIDATES_MAX};
use super::super::names;
use super::Air;
use super::fault::{Fault, ask};

/// An adapter, and the devices on it that were heard to be nodes.
pub(super) struct System {
    pub(super) adapter: Adapter,
    devices: Mutex<BTreeMap<Address, Device>>,
}

struct Device {
    id: PeripheralId,
    is_connected: watch::Sender<bool>,
}

impl System {
    pub(super) fn new(adapter: Adapter) -> Self {
        Self { adapter, devices: Mutex::default() }
    }

    /// A node that was heard.
    pub(super) async fn peripheral(&self, address: &Address) -> btleplug::Result<Peripheral> {
        let id = self.devices().get(address).map(|device| device.id.clone());
        self.adapter.peripheral(&id.ok_or(btleplug::Error::DeviceNotFound)?).await
    }

    /// Whether a node is connected, to be told of its end. As of now it counts as connected.
    pub(super) fn connected(&self, address: &Address) -> Option<watch::Receiver<bool>> {
        let devices = self.devices();
        let device = devices.get(address)?;
        device.is_connected.send_replace(true);
        Some(device.is_connected.subscribe())
    }

    fn devices(&self) -> MutexGuard<'_, BTreeMap<Address, Device>> {
        self.devices.lock().expect("nothing panics while it holds this lock")
    }
}

/// How links to a device show its address.
pub(super) fn shown(peripheral: &Peripheral) -> String {
    let address = peripheral.address();
    if address == BDAddr::default() { peripheral.id().to_string() } else { address.to_string() }
}

/// Tells the air what happens, until the system says no more.
pub(super) async fn hear(air: &Air, mut events: Pin<Box<dyn Stream<Item = CentralEvent> + Send>>) -> Fault {
    while let Some(event) = events.next().await {
        match event {
            CentralEvent::DeviceDiscovered(id) => discovered(air, id).await,
            CentralEvent::ServiceDataAdvertisement { id, service_data } => {
                let data = service_data.get(&Uuid::from_u128(names::SERVICE));
                if let Some(beacon) = data.and_then(|data| Beacon::read(data)) {
                    let address = know(air, id);
                    air.hear(News::Heard { address, beacon: Some(beacon), dbm: None });
                }
            }
            CentralEvent::RssiUpdate { id, rssi } => {
                air.hear(News::Heard { address: address_of(&id), beacon: None, dbm: Some(rssi) });
            }
            CentralEvent::DeviceConnected(id) => connection(air, &id, true),
            CentralEvent::DeviceDisconnected(id) => connection(air, &id, false),
            CentralEvent::StateUpdate(state) => air.hear(News::Powered(state != CentralState::PoweredOff)),
            CentralEvent::DeviceUpdated(_)
            | CentralEvent::DeviceServicesModified(_)
            | CentralEvent::ManufacturerDataAdvertisement { .. }
            | CentralEvent::ServicesAdvertisement { .. } => {}
        }
    }
    Fault::Gone
}

/// A device is new, or was known before we listened: then it may be far away, and it was not heard now.
async fn discovered(air: &Air, id: PeripheralId) {
    let Ok(peripheral) = ask(air.adapter.adapter.peripheral(&id)).await else { return };
    let Ok(Some(properties)) = ask(peripheral.properties()).await else { return };
    let data = properties.service_data.get(&Uuid::from_u128(names::SERVICE));
    let Some(beacon) = data.and_then(|data| Beacon::read(data)) else { return };
    let address = know(air, id);
    if properties.rssi.is_some() {
        air.hear(News::Heard { address, beacon: Some(beacon), dbm: properties.rssi });
    } else {
        air.remember(address, beacon, false);
    }
}

fn connection(air: &Air, id: &PeripheralId, is: bool) {
    let address = address_of(id);
    if let Some(device) = air.adapter.devices().get(&address) {
        device.is_connected.send_replace(is);
    }
    air.hear(News::Connected { address, is });
}

/// Keeps a node's name. When there are too many, those without a link are forgotten, and kept anew when they are heard.
fn know(air: &Air, id: PeripheralId) -> Address {
    let address = address_of(&id);
    let mut devices = air.adapter.devices();
    if devices.len() >= 2 * CANDIDATES_MAX && !devices.contains_key(&address) {
        devices.retain(|address, _| air.is_linked(address));
    }
    devices.entry(address).or_insert_with(|| Device { id, is_connected: watch::Sender::new(false) });
    address
}

fn address_of(id: &PeripheralId) -> Address {
    let hash = blake3::hash(id.to_string().as_bytes());
    *hash.as_bytes().first_chunk().expect("a hash has 32 bytes")
}

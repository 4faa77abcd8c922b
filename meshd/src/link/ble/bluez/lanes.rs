//! The serving half: the GATT services that callers connect to, one lane for each.
//!
//! Every lane is a service of its own at a fixed handle with one characteristic, because handles that move are
//! written to wrongly by peers that remember them (docs/ble.md, 3), and up to BlueZ 5.68 a characteristic has one
//! pair of sockets for all peers (7).

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use bluer::gatt::local::{
    Application, ApplicationHandle, Characteristic, CharacteristicControl, CharacteristicControlEvent,
    CharacteristicNotify, CharacteristicNotifyMethod, CharacteristicRead, CharacteristicReadRequest,
    CharacteristicWrite, CharacteristicWriteMethod, ReqError, Service, characteristic_control,
};
use bluer::gatt::{CharacteristicReader, CharacteristicWriter};
use bluer::{Address, Device, Uuid};
use futures_util::future::FutureExt;
use futures_util::stream::StreamExt;
use meshlink_core::LinkKind;
use tokio::time::{sleep, timeout};

use super::super::carry::{Pipe, carry};
use super::super::chunk::Chunks;
use super::super::names;
use super::super::offer::OUR_WINDOW_BYTES;
use super::super::slots::Key;
use super::Air;
use super::pipe::Sockets;

/// Where lane 0 is, far above what BlueZ puts there itself.
const FIRST_HANDLE: u16 = 0xe000;
/// Service, declaration, value and configuration take four.
const HANDLES_EACH: u16 = 8;
/// Who subscribes has to write within this long (threat B-04).
const FIRST_WORD: Duration = Duration::from_secs(10);
/// The caller ends the connection within this long after the link, of which BlueZ takes 2 s; else we do.
const LEAVE: Duration = Duration::from_secs(4);

/// Who has asked for a lane may stay this long without a link: a lane is kept for 15 s, and its first word takes 10
/// at most.
const VISIT: Duration = Duration::from_secs(30);

/// The handle of a lane's service.
pub(super) fn handle(lane: u8) -> u16 {
    FIRST_HANDLE + HANDLES_EACH * u16::from(lane)
}

/// Offers the lanes to callers for as long as the answer is kept.
pub(super) async fn offer(air: Arc<Air>) -> bluer::Result<ApplicationHandle> {
    let mut services = Vec::new();
    for lane in 0..air.lanes {
        let (control, control_handle) = characteristic_control();
        // What is registered lives as long as the connection to the bus, which the air keeps.
        let readers = Arc::downgrade(&air);
        let characteristic = Characteristic {
            uuid: Uuid::from_u128(names::LANE),
            read: Some(CharacteristicRead {
                read: true,
                fun: Box::new(move |request| {
                    let answer =
                        readers.upgrade().ok_or(ReqError::Failed).and_then(|air| answer(&air, &request));
                    async move { answer }.boxed()
                }),
                ..Default::default()
            }),
            write: Some(CharacteristicWrite {
                write_without_response: true,
                method: CharacteristicWriteMethod::Io,
                ..Default::default()
            }),
            notify: Some(CharacteristicNotify {
                notify: true,
                method: CharacteristicNotifyMethod::Io,
                ..Default::default()
            }),
            control_handle,
            ..Default::default()
        };
        services.push(Service {
            uuid: Uuid::from_u128(names::service(lane)),
            handle: NonZeroU16::new(handle(lane)),
            primary: true,
            characteristics: vec![characteristic],
            ..Default::default()
        });
        air.spawn(serve(Arc::clone(&air), lane, control));
    }
    air.adapter.serve_gatt_application(Application { services, ..Default::default() }).await
}

/// What a caller that reads is told.
fn answer(air: &Arc<Air>, request: &CharacteristicReadRequest) -> Result<Vec<u8>, ReqError> {
    let offer = air.offer_to(request.device_address.0).encode();
    if air.visits(request.device_address.0) {
        air.spawn(show_out(Arc::clone(air), request.device_address));
    }
    offer.get(usize::from(request.offset)..).map(<[u8]>::to_vec).ok_or(ReqError::InvalidOffset)
}

/// One lane: callers, one after the other.
async fn serve(air: Arc<Air>, lane: u8, mut control: CharacteristicControl) {
    while let Some(event) = control.next().await {
        let CharacteristicControlEvent::Notify(writer) = event else {
            // Writing without subscribing: nobody could answer.
            refuse(event);
            continue;
        };
        let address = writer.device_address().0;
        if !air.lane_is_of(lane, &address) {
            tracing::debug!(lane, address = %writer.device_address(), "subscribed to a lane that is not its own");
            continue;
        }
        air.take_lane(lane, address);
        let mut slot = air.open(Key { address, dialled: false });
        match timeout(FIRST_WORD, first_word(&mut control, &writer)).await {
            Ok(Some(reader)) => {
                let device = writer.device_address();
                let pipe = Sockets::Gatt { reader, writer };
                let chunks = Chunks::new(pipe.value_bytes(), OUR_WINDOW_BYTES);
                let end = air.port.open(LinkKind::Ble, device.to_string(), false);
                slot.named(end.id());
                end.facts(pipe.facts(air.dbm(&address), None));
                let foreign = async {
                    while let Some(event) = control.next().await {
                        refuse(event);
                    }
                };
                tokio::select! {
                    why = carry(&mut slot, &end, &pipe, chunks) => {
                        tracing::debug!(lane, address = %device, reason = %why, "a caller's link ended");
                    }
                    () = foreign => {}
                }
            }
            Ok(None) | Err(_) => tracing::debug!(lane, "a caller subscribed and said nothing"),
        }
        // The slot is kept until the connection is gone: who called again on a dying connection would lose it.
        see_off(&air, &slot.key, Address(address)).await;
        drop(slot);
        air.free_lane(lane);
    }
}

/// Waits for the owner's first write, which brings the socket for all others.
async fn first_word(
    control: &mut CharacteristicControl,
    writer: &CharacteristicWriter,
) -> Option<CharacteristicReader> {
    loop {
        let event = tokio::select! {
            event = control.next() => event?,
            _ = writer.closed() => return None,
        };
        match event {
            CharacteristicControlEvent::Write(request)
                if request.device_address() == writer.device_address() =>
            {
                return request.accept().ok();
            }
            other @ (CharacteristicControlEvent::Write(_) | CharacteristicControlEvent::Notify(_)) => {
                refuse(other)
            }
        }
    }
}

fn refuse(event: CharacteristicControlEvent) {
    match event {
        CharacteristicControlEvent::Write(request) => request.reject(ReqError::NotAuthorized),
        // Dropped, its socket is closed.
        CharacteristicControlEvent::Notify(_) => {}
    }
}

/// Who has asked for a lane and holds none after a while is in the way of others: it is disconnected, and counted
/// as a waste of time (threat B-03). Who never asks can't be told from the user's own devices.
async fn show_out(air: Arc<Air>, address: Address) {
    sleep(VISIT).await;
    if !air.loiters(&address.0) {
        return;
    }
    tracing::debug!(%address, "a caller stays without a link");
    air.call_wasted(address.0);
    let Ok(device) = air.adapter.device(address) else { return };
    if let Err(error) = device.disconnect().await {
        tracing::debug!(%error, %address, "the caller stays connected");
    }
}

/// After the link: the caller ends the connection, or we do, so that no slot of the controller is held.
pub(super) async fn see_off(air: &Arc<Air>, key: &Key, address: Address) {
    let Ok(device) = air.adapter.device(address) else { return };
    if air.is_linked_besides(key) || timeout(LEAVE, disconnected(&device)).await.is_ok() {
        return;
    }
    if !air.is_linked_besides(key)
        && let Err(error) = device.disconnect().await
    {
        tracing::debug!(%error, %address, "the caller stays connected");
    }
}

/// Waits until a device is not connected, or nobody knows.
async fn disconnected(device: &Device) {
    let Ok(events) = device.events().await else { return };
    let mut events = std::pin::pin!(events);
    while device.is_connected().await.unwrap_or(false) {
        if events.next().await.is_none() {
            return;
        }
    }
}

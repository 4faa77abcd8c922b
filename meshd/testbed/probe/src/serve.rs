//! The serving end: advertises, offers the characteristics of [`crate::wire`] and an L2CAP listener.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use bluer::adv::Advertisement;
use bluer::gatt::CharacteristicWriter;
use bluer::gatt::local::{
    Application, Characteristic, CharacteristicControl, CharacteristicControlEvent, CharacteristicNotify,
    CharacteristicNotifyMethod, CharacteristicRead, CharacteristicWrite, CharacteristicWriteMethod, Service,
    characteristic_control,
};
use bluer::l2cap::{SocketAddr, Stream, StreamListener};
use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::wire::{
    ARRIVED_BYTES, INBOX_CALLS, INBOX_SOCKET, L2CAP_RECEIVE_BYTES_MAX, L2CAP_SOCKET_BYTES, ORDER, OUTBOX, Order, PSM,
    SERVICE,
};

/// Where the first service is, far above what BlueZ puts there itself.
const FIRST_HANDLE: u16 = 0x0100;
/// What has not come after so long a silence was lost.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// A service, a characteristic, its value and its configuration take four.
const HANDLES_EACH: u16 = 8;

/// Serves until killed. Prints one line of JSON when it can be found.
pub async fn run(adapter: &str) -> Result<()> {
    let session = bluer::Session::new().await?;
    let adapter = session.adapter(adapter)?;
    adapter.set_powered(true).await?;
    let address = SocketAddr::new(adapter.address().await?, bluer::AddressType::LePublic, 0);
    let listener = StreamListener::bind(address).await?;
    listener.as_ref().set_recv_mtu(L2CAP_RECEIVE_BYTES_MAX)?;
    let psm = listener.as_ref().local_addr()?.psm;

    let received = Received::default();
    let (orders_in, orders) = mpsc::unbounded_channel();
    let (inbox, inbox_handle) = characteristic_control();
    let (outbox, outbox_handle) = characteristic_control();
    let inbox_socket = Characteristic {
        uuid: INBOX_SOCKET,
        write: Some(CharacteristicWrite {
            write_without_response: true,
            method: CharacteristicWriteMethod::Io,
            ..Default::default()
        }),
        control_handle: inbox_handle,
        ..Default::default()
    };
    let outbox_socket = Characteristic {
        uuid: OUTBOX,
        notify: Some(CharacteristicNotify {
            notify: true,
            method: CharacteristicNotifyMethod::Io,
            ..Default::default()
        }),
        control_handle: outbox_handle,
        ..Default::default()
    };
    let characteristics = vec![
        psm_characteristic(psm),
        order_characteristic(orders_in),
        inbox_calls_characteristic(received.clone()),
        inbox_socket,
        outbox_socket,
    ];
    let application = Application { services: services(characteristics), ..Default::default() };
    let _application = adapter.serve_gatt_application(application).await?;
    let _advertisement = adapter.advertise(advertisement()).await?;
    println!("{}", json!({ "address": address.addr.to_string(), "psm": psm }));

    tokio::join!(
        drain_inbox(inbox, received.clone()),
        answer_orders(outbox, orders, received),
        accept_streams(listener)
    );
    Ok(())
}

/// Bytes that came in over GATT, by either inbox.
#[derive(Clone, Default)]
struct Received {
    bytes: Arc<AtomicU64>,
    more: Arc<tokio::sync::Notify>,
}

impl Received {
    fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.more.notify_one();
    }

    /// Waits until so many have come, or for long none; takes them out and says how many there were.
    async fn take(&self, bytes: u64) -> u64 {
        while self.bytes.load(Ordering::Relaxed) < bytes {
            if timeout(SILENCE_MAX, self.more.notified()).await.is_err() {
                return self.bytes.swap(0, Ordering::Relaxed);
            }
        }
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        bytes
    }
}

/// One service for each characteristic, at handles of its own. bluer offers its objects in random order and
/// BlueZ numbers them as they come: without this every start would move the handles, and a peer that remembers
/// the old ones would write to the wrong characteristic.
fn services(characteristics: Vec<Characteristic>) -> Vec<Service> {
    let with_handle = |(index, characteristic)| Service {
        uuid: SERVICE,
        handle: NonZeroU16::new(FIRST_HANDLE + HANDLES_EACH * index),
        primary: true,
        characteristics: vec![characteristic],
        ..Default::default()
    };
    (0..).zip(characteristics).map(with_handle).collect()
}

fn advertisement() -> Advertisement {
    Advertisement {
        service_uuids: [SERVICE].into(),
        discoverable: Some(true),
        min_interval: Some(Duration::from_millis(30)),
        max_interval: Some(Duration::from_millis(60)),
        ..Default::default()
    }
}

fn psm_characteristic(psm: u16) -> Characteristic {
    Characteristic {
        uuid: PSM,
        read: Some(CharacteristicRead {
            read: true,
            fun: Box::new(move |_| async move { Ok(psm.to_le_bytes().to_vec()) }.boxed()),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn order_characteristic(orders: mpsc::UnboundedSender<Order>) -> Characteristic {
    write_characteristic(ORDER, true, move |value| {
        if let Some(order) = Order::decode(&value) {
            let _ = orders.send(order); // fails only while the program ends
        }
    })
}

fn inbox_calls_characteristic(received: Received) -> Characteristic {
    write_characteristic(INBOX_CALLS, false, move |value| received.add(value.len()))
}

fn write_characteristic(
    uuid: bluer::Uuid,
    with_response: bool,
    take: impl Fn(Vec<u8>) + Send + Sync + 'static,
) -> Characteristic {
    let take = Arc::new(take);
    Characteristic {
        uuid,
        write: Some(CharacteristicWrite {
            write: with_response,
            write_without_response: !with_response,
            method: CharacteristicWriteMethod::Fun(Box::new(move |value, _| {
                take(value);
                async { Ok(()) }.boxed()
            })),
            ..Default::default()
        }),
        ..Default::default()
    }
}

async fn drain_inbox(mut inbox: CharacteristicControl, received: Received) {
    while let Some(event) = inbox.next().await {
        let CharacteristicControlEvent::Write(request) = event else { continue };
        eprintln!("inbox: socket for {}, mtu {}", request.device_address(), request.mtu());
        let Ok(reader) = request.accept() else { continue };
        let received = received.clone();
        tokio::spawn(async move {
            while let Ok(value) = reader.recv().await {
                if value.is_empty() {
                    break;
                }
                received.add(value.len());
            }
            eprintln!("inbox: socket closed");
        });
    }
}

async fn answer_orders(
    mut outbox: CharacteristicControl,
    mut orders: mpsc::UnboundedReceiver<Order>,
    received: Received,
) {
    let mut writer: Option<CharacteristicWriter> = None;
    loop {
        tokio::select! {
            Some(event) = outbox.next() => if let CharacteristicControlEvent::Notify(subscribed) = event {
                eprintln!("outbox: {} subscribed, mtu {}", subscribed.device_address(), subscribed.mtu());
                writer = Some(subscribed);
            },
            Some(order) = orders.recv() => {
                let Some(writer) = &writer else { continue };
                if let Err(error) = obey(order, writer, &received).await {
                    eprintln!("outbox: {error}");
                }
            }
            else => return,
        }
    }
}

async fn obey(order: Order, writer: &CharacteristicWriter, received: &Received) -> std::io::Result<()> {
    match order {
        Order::Receive(bytes) => {
            let arrived = received.take(u64::from(bytes)).await.to_le_bytes();
            writer.send(&arrived[..ARRIVED_BYTES]).await
        }
        Order::Send(bytes) => {
            let value = vec![7; writer.mtu()];
            let mut left = bytes as usize;
            while left > 0 {
                let length = left.min(value.len());
                writer.send(&value[..length]).await?;
                left -= length;
            }
            Ok(())
        }
    }
}

async fn accept_streams(listener: StreamListener) {
    while let Ok((stream, peer)) = listener.accept().await {
        eprintln!("l2cap: {} connected", peer.addr);
        if let Err(error) = stream.as_ref().set_recv_buffer(L2CAP_SOCKET_BYTES) {
            eprintln!("l2cap: receive buffer: {error}");
        }
        if let Err(error) = serve_stream(stream).await {
            eprintln!("l2cap: {error}");
        }
    }
}

async fn serve_stream(mut stream: Stream) -> std::io::Result<()> {
    let mut order = [0; Order::BYTES];
    let mut buffer = vec![3; 64 * 1024];
    while stream.read_exact(&mut order).await.is_ok() {
        match Order::decode(&order) {
            Some(Order::Receive(bytes)) => {
                let mut left = bytes as usize;
                while left > 0 {
                    left -= stream.read(&mut buffer[..left.min(64 * 1024)]).await?.max(1);
                }
                stream.write_all(&[1]).await?;
            }
            Some(Order::Send(bytes)) => {
                let mut left = bytes as usize;
                while left > 0 {
                    let length = left.min(buffer.len());
                    stream.write_all(&buffer[..length]).await?;
                    left -= length;
                }
            }
            None => return Ok(()),
        }
    }
    Ok(())
}

//! The measuring end: finds the server, connects, moves bytes each way and prints what it took.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bluer::gatt::remote::{Characteristic, CharacteristicWriteRequest};
use bluer::gatt::{CharacteristicReader, CharacteristicWriter, WriteOp};
use bluer::l2cap::{Socket, SocketAddr, Stream};
use bluer::{Adapter, AdapterEvent, Device, DiscoveryFilter, DiscoveryTransport, Uuid};
use futures_util::StreamExt as _;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::wire::{
    ARRIVED_BYTES, INBOX_CALLS, INBOX_SOCKET, L2CAP_RECEIVE_BYTES_MAX, L2CAP_SOCKET_BYTES, ORDER, OUTBOX, Order, PSM,
    SERVICE, write_bytes_max,
};

/// One MiB: long enough for a rate, short enough for an emulated machine.
pub const DEFAULT_BYTES: u32 = 1 << 20;
/// No step takes longer than this unless bytes were lost.
const STEP_MAX: Duration = Duration::from_secs(60);

/// How long one scan lasts. btvirt shows an advertisement once, when a scan or the advertising starts, and the
/// kernel may not listen yet: a scan that heard nothing is begun anew.
const SCAN: Duration = Duration::from_secs(2);
/// Bytes under way at most: bluetoothd drops values that find the socket of a slow reader full, and tells
/// neither end.
const WINDOW: u32 = 64 * 1024;
/// The same over L2CAP, where the kernel's credits guard the way and the reader's socket holds this much: the yardstick is
/// to be the best that a plain program gets.
const L2CAP_WINDOW: u32 = 128 * 1024;

/// Measures and prints one JSON object. With `bytes` 0 it only meets the server and has one byte echoed.
pub async fn run(adapter: &str, bytes: u32) -> Result<()> {
    let session = bluer::Session::new().await?;
    let adapter = session.adapter(adapter)?;
    adapter.set_powered(true).await?;
    let mut figures = Map::new();
    let outcome = take_figures(&adapter, bytes, &mut figures).await;
    // Also what was measured before a failure: it says how far it came.
    println!("{}", Value::Object(figures));
    outcome
}

async fn take_figures(adapter: &Adapter, bytes: u32, figures: &mut Map<String, Value>) -> Result<()> {
    let device = timeout(STEP_MAX, meet(adapter, figures)).await.context("nobody met in a minute")??;
    let peer = Peer::of(&device).await?;
    let mut gatt = Gatt::open(&peer).await?;
    figures.insert("att_mtu".into(), gatt.inbox.mtu().into());
    gatt.deliver(1, figures, "first_byte").await?;
    if bytes > 0 {
        figures.insert("write_bytes_passing".into(), sizes_that_pass(&mut gatt).await?);
        let lost = gatt.push(bytes, figures, "gatt_write_to_socket").await?;
        figures.insert("gatt_write_to_socket_lost_bytes".into(), lost.into());
        gatt.deliver_in_window(bytes, figures).await?;
        gatt.deliver_by_calls(bytes / 4, figures, &peer).await?;
        gatt.fetch(bytes, figures).await?;
        l2cap(adapter, &device, peer.psm().await?, bytes, figures).await?;
    }
    Ok(device.disconnect().await?)
}

/// Discovers the service, connects and resolves its characteristics.
async fn meet(adapter: &Adapter, figures: &mut Map<String, Value>) -> Result<Device> {
    let filter =
        DiscoveryFilter { transport: DiscoveryTransport::Le, duplicate_data: false, ..Default::default() };
    adapter.set_discovery_filter(filter).await?;
    let start = Instant::now();
    let device = loop {
        // Discovery ends with its stream, before connecting: the kernel makes a connection wait for the end of
        // a scan, up to 10 s.
        if let Ok(found) = timeout(SCAN, find(adapter)).await {
            break found?;
        }
    };
    figures.insert("discover_ms".into(), ms(start));
    let start = Instant::now();
    device.connect().await?;
    figures.insert("connect_ms".into(), ms(start));
    let start = Instant::now();
    device.services().await?;
    figures.insert("resolve_ms".into(), ms(start));
    Ok(device)
}

async fn find(adapter: &Adapter) -> Result<Device> {
    let mut events = std::pin::pin!(adapter.discover_devices_with_changes().await?);
    loop {
        let Some(event) = events.next().await else { bail!("discovery ended") };
        let AdapterEvent::DeviceAdded(address) = event else { continue };
        let device = adapter.device(address)?;
        // Remembered devices are reported too, and again when heard: only one with a signal is there now.
        if device.rssi().await?.is_some() && device.uuids().await?.unwrap_or_default().contains(&SERVICE) {
            return Ok(device);
        }
    }
}

/// The server's characteristics.
struct Peer(Vec<(Uuid, Characteristic)>);

impl Peer {
    async fn of(device: &Device) -> Result<Self> {
        let mut found = Vec::new();
        for service in device.services().await? {
            if service.uuid().await? == SERVICE {
                for characteristic in service.characteristics().await? {
                    found.push((characteristic.uuid().await?, characteristic));
                }
            }
        }
        Ok(Self(found))
    }

    fn get(&self, uuid: Uuid) -> Result<&Characteristic> {
        let found = self.0.iter().find(|(of, _)| *of == uuid);
        found.map(|(_, characteristic)| characteristic).with_context(|| format!("no characteristic {uuid}"))
    }

    async fn psm(&self) -> Result<u16> {
        let value = self.get(PSM)?.read().await?;
        Ok(u16::from_le_bytes(value.as_slice().try_into().context("the PSM is not two bytes")?))
    }
}

/// The GATT path: a socket for writes, a socket for notifications, a characteristic for orders.
struct Gatt<'a> {
    order: &'a Characteristic,
    inbox: CharacteristicWriter,
    outbox: CharacteristicReader,
}

impl<'a> Gatt<'a> {
    async fn open(peer: &'a Peer) -> Result<Self> {
        let inbox = peer.get(INBOX_SOCKET)?.write_io().await.context("AcquireWrite")?;
        let outbox = peer.get(OUTBOX)?.notify_io().await.context("AcquireNotify")?;
        Ok(Self { order: peer.get(ORDER)?, inbox, outbox })
    }

    async fn command(&self, order: Order) -> Result<()> {
        let request = CharacteristicWriteRequest { op_type: WriteOp::Request, ..Default::default() };
        Ok(self.order.write_ext(&order.encode(), &request).await?)
    }

    /// Writes that many bytes into the inbox and waits for the server to have them all.
    async fn deliver(&mut self, bytes: u32, figures: &mut Map<String, Value>, name: &str) -> Result<()> {
        match self.push(bytes, figures, name).await? {
            0 => Ok(()),
            lost => bail!("{name}: {lost} bytes were lost"),
        }
    }

    /// The same, and returns how many were lost: nothing holds the writer up while the reader is slow.
    async fn push(&mut self, bytes: u32, figures: &mut Map<String, Value>, name: &str) -> Result<u32> {
        let value = vec![9; write_bytes_max(self.inbox.mtu())];
        let start = Instant::now();
        self.command(Order::Receive(bytes)).await.context("order")?;
        let mut left = bytes as usize;
        while left > 0 {
            let length = left.min(value.len());
            self.inbox.send(&value[..length]).await?;
            left -= length;
        }
        let lost = bytes - self.arrived().await.with_context(|| name.to_owned())?;
        if lost == 0 {
            record(figures, name, bytes, start);
        }
        Ok(lost)
    }

    /// What the server says has arrived.
    async fn arrived(&self) -> Result<u32> {
        let value = timeout(STEP_MAX, self.outbox.recv()).await.context("no word of what arrived")??;
        let bytes: [u8; ARRIVED_BYTES] = value.as_slice().try_into().context("not a number of bytes")?;
        Ok(u32::from_le_bytes(bytes))
    }

    /// The same by a program that loses nothing to a slow reader: within [`WINDOW`].
    async fn deliver_in_window(&mut self, bytes: u32, figures: &mut Map<String, Value>) -> Result<()> {
        let value = vec![9; write_bytes_max(self.inbox.mtu())];
        let start = Instant::now();
        let (mut sent, mut arrived, mut unanswered) = (0, 0, 0);
        while sent < bytes || unanswered > 0 {
            if sent < bytes && unanswered < 2 {
                let next = (bytes - sent).min(WINDOW / 2);
                self.command(Order::Receive(next)).await?;
                let mut left = next as usize;
                while left > 0 {
                    let length = left.min(value.len());
                    self.inbox.send(&value[..length]).await?;
                    left -= length;
                }
                (sent, unanswered) = (sent + next, unanswered + 1);
                continue;
            }
            arrived += self.arrived().await?;
            unanswered -= 1;
        }
        if arrived < bytes {
            bail!("{} bytes were lost within a window", bytes - arrived);
        }
        record(figures, "gatt_write_in_window", bytes, start);
        Ok(())
    }

    async fn deliver_by_calls(
        &mut self,
        bytes: u32,
        figures: &mut Map<String, Value>,
        peer: &Peer,
    ) -> Result<()> {
        let inbox = peer.get(INBOX_CALLS)?.write_io().await?;
        let socket = std::mem::replace(&mut self.inbox, inbox);
        self.deliver(bytes, figures, "gatt_write_to_calls").await?;
        self.inbox = socket;
        Ok(())
    }

    async fn fetch(&mut self, bytes: u32, figures: &mut Map<String, Value>) -> Result<()> {
        let start = Instant::now();
        let (mut left, mut ordered) = (bytes as usize, 0);
        while left > 0 {
            // A half window more whenever a half has arrived.
            while ordered < bytes && ordered - (bytes - left as u32) <= WINDOW / 2 {
                let next = (bytes - ordered).min(WINDOW / 2);
                self.command(Order::Send(next)).await?;
                ordered += next;
            }
            let value = timeout(STEP_MAX, self.outbox.recv()).await.context("notifications were lost")??;
            if value.is_empty() {
                bail!("the notification socket closed with {left} bytes to come");
            }
            left = left.saturating_sub(value.len());
        }
        record(figures, "gatt_notify", bytes, start);
        Ok(())
    }
}

/// Which of the largest value sizes survive a write without response.
async fn sizes_that_pass(gatt: &mut Gatt<'_>) -> Result<Value> {
    let mtu = gatt.inbox.mtu();
    let mut passing = Vec::new();
    for size in [20, 244, mtu - 3, mtu - 2, mtu - 1, mtu] {
        gatt.command(Order::Receive(u32::try_from(size)?)).await?;
        gatt.inbox.send(&vec![9; size]).await?;
        if timeout(Duration::from_secs(1), gatt.outbox.recv()).await.is_ok() {
            passing.push(size);
            continue;
        }
        // Lost: the order is still open. Fill it with pieces known to pass.
        for piece in vec![9; size].chunks(16) {
            gatt.inbox.send(piece).await?;
        }
        timeout(STEP_MAX, gatt.outbox.recv()).await.context("the inbox died of a large write")??;
    }
    Ok(json!(passing))
}

async fn l2cap(
    adapter: &Adapter,
    device: &Device,
    psm: u16,
    bytes: u32,
    figures: &mut Map<String, Value>,
) -> Result<()> {
    let start = Instant::now();
    let socket = Socket::new_stream()?;
    socket.bind(SocketAddr::new(adapter.address().await?, bluer::AddressType::LePublic, 0))?;
    socket.set_recv_mtu(L2CAP_RECEIVE_BYTES_MAX)?;
    let target = SocketAddr::new(device.address(), device.address_type().await?, psm);
    let mut stream = timeout(STEP_MAX, socket.connect(target)).await.context("L2CAP connect")??;
    stream.as_ref().set_recv_buffer(L2CAP_SOCKET_BYTES)?;
    timeout(STEP_MAX, connected(&stream)).await.context("L2CAP connect")?;
    figures.insert("l2cap_connect_ms".into(), ms(start));
    timeout(STEP_MAX, deliver_stream(&mut stream, bytes, figures))
        .await
        .context("L2CAP stalled")?
        .context("L2CAP deliver")?;
    figures.insert("l2cap_send_mtu".into(), stream.as_ref().send_mtu().context("L2CAP send MTU")?.into());
    timeout(STEP_MAX, fetch_stream(&mut stream, bytes, figures))
        .await
        .context("L2CAP stalled")?
        .context("L2CAP fetch")
}

/// bluer's connect may return while the kernel still connects: the socket was writable before it began. Writing
/// fails until then, and so does asking for the send MTU.
async fn connected(stream: &Stream) {
    while stream.as_ref().send_mtu().is_err() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn deliver_stream(stream: &mut Stream, bytes: u32, figures: &mut Map<String, Value>) -> Result<()> {
    let start = Instant::now();
    let data = vec![3; L2CAP_WINDOW as usize / 2];
    let (mut sent, mut unanswered) = (0, 0);
    while sent < bytes {
        let next = (bytes - sent).min(L2CAP_WINDOW / 2);
        stream.write_all(&Order::Receive(next).encode()).await?;
        stream.write_all(&data[..next as usize]).await?;
        (sent, unanswered) = (sent + next, unanswered + 1);
        if unanswered == 2 {
            stream.read_exact(&mut [0]).await?;
            unanswered -= 1;
        }
    }
    stream.read_exact(&mut [0][..unanswered]).await?;
    record(figures, "l2cap_deliver", bytes, start);
    Ok(())
}

async fn fetch_stream(stream: &mut Stream, bytes: u32, figures: &mut Map<String, Value>) -> Result<()> {
    let start = Instant::now();
    let mut data = vec![0; L2CAP_WINDOW as usize / 2];
    let (mut got, mut ordered) = (0, 0);
    while got < bytes {
        while ordered < bytes && ordered - got < L2CAP_WINDOW {
            let next = (bytes - ordered).min(L2CAP_WINDOW / 2);
            stream.write_all(&Order::Send(next).encode()).await?;
            ordered += next;
        }
        let next = (bytes - got).min(L2CAP_WINDOW / 2);
        stream.read_exact(&mut data[..next as usize]).await?;
        got += next;
    }
    record(figures, "l2cap_fetch", bytes, start);
    Ok(())
}

fn record(figures: &mut Map<String, Value>, name: &str, bytes: u32, start: Instant) {
    figures.insert(format!("{name}_ms"), ms(start));
    if bytes > 1 {
        let rate = f64::from(bytes) / start.elapsed().as_secs_f64();
        figures.insert(format!("{name}_bytes_per_s"), json!(rate.round()));
    }
}

fn ms(start: Instant) -> Value {
    json!((start.elapsed().as_secs_f64() * 10_000.0).round() / 10.0)
}

//! L2CAP channels: the faster way, where both sides' kernels have it. It goes past bluetoothd and its two copies of every
//! value. They are at a known PSM, or at one that is learned over GATT (docs/ble.md, "Names on the air").

use std::sync::Arc;
use std::time::Duration;

use bluer::l2cap::{SeqPacket, SeqPacketListener, Socket, SocketAddr};
use bluer::{Address, AddressType, Device};
use meshlink_core::LinkKind;
use tokio::time::sleep;

use super::super::carry::{Pipe, carry};
use super::super::chunk::Chunks;
use super::super::names;
use super::super::offer::OUR_WINDOW_BYTES;
use super::super::slots::Key;
use super::lanes::see_off;
use super::pipe::Sockets;
use super::{Air, Slot};

/// What we take in one packet, in bytes. With the default of 672 the rate is half.
const RECEIVE_BYTES_MAX: u16 = 8192;
/// Largest value we send or expect.
pub(super) const VALUE_BYTES_MAX: usize = 4096;
/// Holds a window of packets with what the kernel spends on each.
const SOCKET_BYTES: i32 = 256 * 1024;
/// Channels that wait to be accepted.
const BACKLOG: u32 = 4;
/// The kernel's choice.
const ANY_PSM: u16 = 0;
/// Between two looks whether a channel stands.
const LOOK_APART: Duration = Duration::from_millis(2);

/// Where callers may open channels on one adapter.
pub(super) struct Ear {
    listener: SeqPacketListener,
    pub(super) psm: u16,
}

impl Ear {
    /// Opens one, if the kernel has Bluetooth sockets for this process.
    pub(super) async fn open(air: &Air) -> Option<Self> {
        match Self::try_open(air).await {
            Ok(ear) => Some(ear),
            Err(error) => {
                tracing::debug!(%error, adapter = air.adapter.name(), "no L2CAP here");
                None
            }
        }
    }

    async fn try_open(air: &Air) -> bluer::Result<Self> {
        let own = air.adapter.address().await?;
        let socket = match socket(own, names::PSM) {
            Ok(socket) => socket,
            Err(error) => {
                tracing::debug!(%error, adapter = air.adapter.name(), "another PSM than the usual one");
                socket(own, ANY_PSM)?
            }
        };
        let listener = socket.listen(BACKLOG)?;
        let psm = listener.as_ref().local_addr()?.psm;
        Ok(Self { listener, psm })
    }

    /// Takes calls from those who would be offered a lane, until the adapter is done with.
    pub(super) async fn serve(self, air: Arc<Air>) {
        loop {
            match self.listener.accept().await {
                Ok((channel, peer)) if air.takes_channel(&peer.addr.0) => {
                    // At once: the lane is free again, and nobody else may take the slot.
                    let slot = air.open(Key { address: peer.addr.0, dialled: false });
                    air.spawn(link(Arc::clone(&air), slot, channel, peer.addr));
                }
                Ok((_, peer)) => {
                    tracing::debug!(address = %peer.addr, "a channel from whom would be offered no lane")
                }
                Err(error) => {
                    // The adapter is gone, which its own task is told.
                    tracing::debug!(%error, "no more channels");
                    return;
                }
            }
        }
    }
}

/// Where a channel begins and where it goes.
///
/// Asked for before there is a connection: while it looks for services bluetoothd may answer seconds late.
pub(super) struct Ends {
    own: Address,
    pub(super) neighbour: SocketAddr,
}

impl Ends {
    pub(super) async fn ask(air: &Air, device: &Device) -> bluer::Result<Self> {
        let neighbour = SocketAddr::new(device.address(), device.address_type().await?, ANY_PSM);
        Ok(Self { own: air.adapter.address().await?, neighbour })
    }
}

/// Opens a channel to a connected neighbour.
pub(super) async fn connect(ends: &Ends, psm: u16) -> bluer::Result<SeqPacket> {
    let target = SocketAddr { psm, ..ends.neighbour };
    let channel = socket(ends.own, ANY_PSM)?.connect(target).await?;
    // bluer's connect may return while the kernel still connects (docs/ble.md, 5).
    while channel.send_mtu().is_err() {
        sleep(LOOK_APART).await;
    }
    channel.as_ref().set_recv_buffer(SOCKET_BYTES)?;
    Ok(channel)
}

fn socket(own: Address, psm: u16) -> bluer::Result<Socket<SeqPacket>> {
    let socket = Socket::new_seq_packet()?;
    socket.bind(SocketAddr::new(own, AddressType::LePublic, psm))?;
    socket.set_recv_mtu(RECEIVE_BYTES_MAX)?;
    Ok(socket)
}

async fn link(air: Arc<Air>, mut slot: Slot, channel: SeqPacket, address: Address) {
    if let Err(error) = channel.as_ref().set_recv_buffer(SOCKET_BYTES) {
        tracing::debug!(%error, "a channel's buffer");
    }
    let end = air.port.open(LinkKind::Ble, address.to_string(), false);
    slot.named(end.id());
    let pipe = Sockets::l2cap(channel);
    end.facts(pipe.facts(air.dbm(&address.0), None));
    let chunks = Chunks::new(pipe.value_bytes(), OUR_WINDOW_BYTES);
    let why = carry(&mut slot, &end, &pipe, chunks).await;
    tracing::debug!(%address, reason = %why, "a caller's channel ended");
    drop((end, pipe));
    see_off(&air, &slot.key, address).await;
}

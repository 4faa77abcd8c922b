//! What BlueZ and the kernel give a link: two sockets for a lane, or an L2CAP channel.

use std::io;

use bluer::gatt::{CharacteristicReader, CharacteristicWriter};
use bluer::l2cap::SeqPacket;
use tokio::sync::Mutex;

use super::super::carry::{LOST_BYTES, Pipe};
use super::l2cap::VALUE_BYTES_MAX;

/// A link's sockets.
pub(super) enum Sockets {
    Gatt {
        reader: CharacteristicReader,
        writer: CharacteristicWriter,
    },
    L2cap {
        channel: SeqPacket,
        /// Where values come in. One for all, since a link waits for the next many times before it comes.
        room: Mutex<Vec<u8>>,
    },
}

impl Sockets {
    pub(super) fn l2cap(channel: SeqPacket) -> Self {
        Self::L2cap { channel, room: Mutex::new(vec![0; VALUE_BYTES_MAX]) }
    }
}

impl Pipe for Sockets {
    fn value_bytes(&self) -> usize {
        match self {
            Self::Gatt { writer, .. } => writer.mtu().saturating_sub(LOST_BYTES),
            Self::L2cap { channel, .. } => channel.send_mtu().unwrap_or_default().min(VALUE_BYTES_MAX),
        }
    }

    fn path(&self) -> &'static str {
        match self {
            Self::Gatt { .. } => "gatt",
            Self::L2cap { .. } => "l2cap",
        }
    }

    async fn recv(&self) -> io::Result<Vec<u8>> {
        match self {
            Self::Gatt { reader, .. } => reader.recv().await,
            Self::L2cap { channel, room } => {
                let mut room = room.lock().await;
                let length = channel.recv(&mut room).await?;
                Ok(room[..length].to_vec())
            }
        }
    }

    async fn send(&self, value: &[u8]) -> io::Result<()> {
        match self {
            Self::Gatt { writer, .. } => writer.send(value).await,
            Self::L2cap { channel, .. } => channel.send(value).await.map(drop),
        }
    }

    async fn closed(&self) -> io::Result<()> {
        match self {
            Self::Gatt { writer, .. } => writer.closed().await,
            Self::L2cap { .. } => std::future::pending().await,
        }
    }
}

//! What BlueZ and the kernel give a link: two sockets for a lane, or an L2CAP channel.

use std::io;

use bluer::gatt::{CharacteristicReader, CharacteristicWriter};
use bluer::l2cap::SeqPacket;

use super::super::carry::{LOST_BYTES, Pipe};
use super::l2cap::VALUE_BYTES_MAX;

/// A link's sockets.
pub(super) enum Sockets {
    Gatt { reader: CharacteristicReader, writer: CharacteristicWriter },
    L2cap(SeqPacket),
}

impl Pipe for Sockets {
    fn value_bytes(&self) -> usize {
        match self {
            Self::Gatt { writer, .. } => writer.mtu().saturating_sub(LOST_BYTES),
            Self::L2cap(channel) => channel.send_mtu().unwrap_or_default().min(VALUE_BYTES_MAX),
        }
    }

    fn path(&self) -> &'static str {
        match self {
            Self::Gatt { .. } => "gatt",
            Self::L2cap(_) => "l2cap",
        }
    }

    async fn recv(&self) -> io::Result<Vec<u8>> {
        match self {
            Self::Gatt { reader, .. } => reader.recv().await,
            Self::L2cap(channel) => {
                let mut value = vec![0; VALUE_BYTES_MAX];
                let length = channel.recv(&mut value).await?;
                value.truncate(length);
                Ok(value)
            }
        }
    }

    async fn send(&self, value: &[u8]) -> io::Result<()> {
        match self {
            Self::Gatt { writer, .. } => writer.send(value).await,
            Self::L2cap(channel) => channel.send(value).await.map(drop),
        }
    }

    async fn closed(&self) -> io::Result<()> {
        match self {
            Self::Gatt { writer, .. } => writer.closed().await,
            Self::L2cap(_) => std::future::pending().await,
        }
    }
}

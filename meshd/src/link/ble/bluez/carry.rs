//! One link at work: frames between the node and what carries its values, until either side ends it.

use std::time::Duration;

use bluer::gatt::{CharacteristicReader, CharacteristicWriter};
use bluer::l2cap::SeqPacket;
use futures_util::FutureExt;
use meshlink_core::LinkFacts;
use tokio::time::{Instant, sleep_until};

use super::super::chunk::{Arrival, ChunkError, Chunks};
use super::air::Slot;
use super::l2cap::VALUE_BYTES_MAX;
use crate::driver::LinkEnd;

/// A frame that is not whole, or a window without credit, for this long: the other side is gone or hostile.
const STALL: Duration = Duration::from_secs(30);
/// A value that others have overtaken comes within this long, or was lost.
const GAP: Duration = Duration::from_secs(3);
/// What BlueZ's sockets promise and do not carry (docs/ble.md, 2).
const LOST_BYTES: usize = 3;

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error("the node is done with it")]
    ByNode,
    #[error("the neighbour is done with it")]
    ByPeer,
    #[error("somebody else needs the slot, or the daemon stops")]
    Cut,
    #[error("the connection is gone")]
    Gone,
    #[error("nothing moved for {} s", STALL.as_secs())]
    Stalled,
    #[error("a value was lost")]
    Lost,
    #[error(transparent)]
    Nonsense(#[from] ChunkError),
    #[error("the socket failed: {0}")]
    Socket(#[from] std::io::Error),
}

/// What a link's values go through.
pub(super) enum Pipe {
    Gatt { reader: CharacteristicReader, writer: CharacteristicWriter },
    L2cap(SeqPacket),
}

impl Pipe {
    /// Largest value that it passes on.
    pub(super) fn value_bytes(&self) -> usize {
        match self {
            Self::Gatt { writer, .. } => writer.mtu().saturating_sub(LOST_BYTES),
            Self::L2cap(channel) => channel.send_mtu().unwrap_or_default().min(VALUE_BYTES_MAX),
        }
    }

    /// What is known of a link through it.
    pub(super) fn facts(&self, rssi: Option<i16>, connect: Option<Duration>) -> LinkFacts {
        LinkFacts {
            rssi,
            path: Some(match self {
                Self::Gatt { .. } => "gatt",
                Self::L2cap(_) => "l2cap",
            }),
            mtu_bytes: u32::try_from(self.value_bytes()).ok(),
            connect_ms: connect.and_then(|time| u32::try_from(time.as_millis()).ok()),
        }
    }

    /// The next value; an empty one is the end.
    async fn recv(&self) -> std::io::Result<Vec<u8>> {
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

    async fn send(&self, value: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Gatt { writer, .. } => writer.send(value).await,
            Self::L2cap(channel) => channel.send(value).await.map(drop),
        }
    }

    /// Waits for an end that reading does not show.
    async fn closed(&self) -> std::io::Result<()> {
        match self {
            Self::Gatt { writer, .. } => writer.closed().await,
            Self::L2cap(_) => std::future::pending().await,
        }
    }
}

/// Carries frames until the link ends; says good-bye if there is somebody to hear it.
pub(super) async fn carry(slot: &mut Slot, end: &LinkEnd, pipe: &Pipe, mut chunks: Chunks) -> Ended {
    let why = match pump(slot, end, pipe, &mut chunks).await {
        Ok(never) => match never {},
        Err(why) => why,
    };
    match why {
        Ended::ByNode | Ended::Cut | Ended::Stalled | Ended::Lost | Ended::Nonsense(_) => {
            // If it is not heard, the neighbour notices the end of the connection.
            let _ = pipe.send(&chunks.close()).now_or_never();
        }
        Ended::ByPeer | Ended::Gone | Ended::Socket(_) => {}
    }
    why
}

async fn pump(
    slot: &mut Slot,
    end: &LinkEnd,
    pipe: &Pipe,
    chunks: &mut Chunks,
) -> Result<std::convert::Infallible, Ended> {
    let cut = std::sync::Arc::clone(&slot.cut);
    let mut pending = None;
    let mut moved = Instant::now();
    let mut gap_ends = None;
    loop {
        gap_ends = chunks.has_gap().then(|| gap_ends.unwrap_or_else(|| Instant::now() + GAP));
        if pending.is_none() {
            pending = chunks.cut();
        }
        let waits = chunks.is_assembling() || pending.is_some() || !chunks.wants_frame();
        tokio::select! {
            () = cut.notified() => return Err(Ended::Cut),
            value = pipe.recv() => {
                moved = Instant::now();
                take_in(slot, end, pipe, chunks, value?).await?;
            }
            sent = send(pipe, pending.as_deref()), if pending.is_some() => {
                sent?;
                pending = None;
            }
            frame = end.next(), if pending.is_none() && chunks.wants_frame() => {
                chunks.load(frame.ok_or(Ended::ByNode)?);
                slot.sent();
                moved = Instant::now();
            }
            closed = pipe.closed() => {
                closed?;
                return Err(Ended::Gone);
            }
            () = sleep_until(moved + STALL), if waits => return Err(Ended::Stalled),
            () = sleep_until(gap_ends.unwrap_or(moved)), if gap_ends.is_some() => return Err(Ended::Lost),
        }
    }
}

async fn send(pipe: &Pipe, chunk: Option<&[u8]>) -> std::io::Result<()> {
    match chunk {
        Some(chunk) => pipe.send(chunk).await,
        None => std::future::pending().await,
    }
}

async fn take_in(
    slot: &mut Slot,
    end: &LinkEnd,
    pipe: &Pipe,
    chunks: &mut Chunks,
    value: Vec<u8>,
) -> Result<(), Ended> {
    if value.is_empty() {
        return Err(Ended::Gone);
    }
    chunks.take_in(value)?;
    while let Some(arrival) = chunks.arrival()? {
        match arrival {
            Arrival::Frame(frame) => {
                slot.received();
                end.send(frame).await.map_err(|_| Ended::ByNode)?;
            }
            Arrival::Close => return Err(Ended::ByPeer),
            Arrival::Piece | Arrival::Credit => {}
        }
    }
    // After the node has taken the frame: a node that is busy slows its neighbours down.
    if let Some(credit) = chunks.credit() {
        pipe.send(&credit).await?;
    }
    Ok(())
}

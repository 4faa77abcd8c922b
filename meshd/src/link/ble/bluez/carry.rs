//! One link at work: frames between the node and two sockets of BlueZ's, until either side ends it.

use std::time::Duration;

use bluer::gatt::{CharacteristicReader, CharacteristicWriter};
use tokio::time::{Instant, sleep_until};

use super::super::chunk::{Arrival, ChunkError, Chunks};
use super::air::Slot;
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

/// Largest value that a socket passes on.
pub(super) fn value_bytes(writer: &CharacteristicWriter) -> usize {
    writer.mtu().saturating_sub(LOST_BYTES)
}

/// Carries frames until the link ends; says good-bye if there is somebody to hear it.
pub(super) async fn carry(
    slot: &mut Slot,
    end: &LinkEnd,
    reader: &CharacteristicReader,
    writer: &CharacteristicWriter,
    mut chunks: Chunks,
) -> Ended {
    let why = match pump(slot, end, reader, writer, &mut chunks).await {
        Ok(never) => match never {},
        Err(why) => why,
    };
    match why {
        Ended::ByNode | Ended::Cut | Ended::Stalled | Ended::Lost | Ended::Nonsense(_) => {
            // If it is not heard, the neighbour notices the end of the connection.
            let _ = writer.try_send(&chunks.close());
        }
        Ended::ByPeer | Ended::Gone | Ended::Socket(_) => {}
    }
    why
}

async fn pump(
    slot: &mut Slot,
    end: &LinkEnd,
    reader: &CharacteristicReader,
    writer: &CharacteristicWriter,
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
            value = reader.recv() => {
                moved = Instant::now();
                take_in(slot, end, writer, chunks, value?).await?;
            }
            sent = send(writer, pending.as_deref()), if pending.is_some() => {
                sent?;
                pending = None;
            }
            frame = end.next(), if pending.is_none() && chunks.wants_frame() => {
                chunks.load(frame.ok_or(Ended::ByNode)?);
                slot.sent();
                moved = Instant::now();
            }
            closed = writer.closed() => {
                closed?;
                return Err(Ended::Gone);
            }
            () = sleep_until(moved + STALL), if waits => return Err(Ended::Stalled),
            () = sleep_until(gap_ends.unwrap_or(moved)), if gap_ends.is_some() => return Err(Ended::Lost),
        }
    }
}

async fn send(writer: &CharacteristicWriter, chunk: Option<&[u8]>) -> std::io::Result<()> {
    match chunk {
        Some(chunk) => writer.send(chunk).await,
        None => std::future::pending().await,
    }
}

async fn take_in(
    slot: &mut Slot,
    end: &LinkEnd,
    writer: &CharacteristicWriter,
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
        writer.send(&credit).await?;
    }
    Ok(())
}

//! One link at work: frames between the node and what carries its values, until either side ends it.

use std::io;
use std::time::Duration;

use futures_util::FutureExt;
use meshlink_core::LinkFacts;
use tokio::time::{Instant, sleep_until};

use super::air::Slot;
use super::chunk::{Arrival, ChunkError, Chunks};
use crate::driver::LinkEnd;

/// A frame that is not whole, or a window without credit, for this long: the other side is gone or hostile.
const STALL: Duration = Duration::from_secs(30);
/// A value that others have overtaken comes within this long, or was lost.
const GAP: Duration = Duration::from_secs(3);
/// What of an MTU is no value: BlueZ's sockets promise more and do not carry it (docs/ble.md, 2).
pub(super) const LOST_BYTES: usize = 3;

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
    Socket(#[from] io::Error),
}

/// What a link's values go through. Dropping any of its futures loses no value and sends none twice.
pub(super) trait Pipe: Sync {
    /// Largest value that it passes on.
    fn value_bytes(&self) -> usize;
    /// How such links are called.
    fn path(&self) -> &'static str;
    /// The next value; an empty one is the end.
    fn recv(&self) -> impl Future<Output = io::Result<Vec<u8>>> + Send;
    /// Passes a value on, once there is room.
    fn send(&self, value: &[u8]) -> impl Future<Output = io::Result<()>> + Send;
    /// Waits for an end that reading does not show.
    fn closed(&self) -> impl Future<Output = io::Result<()>> + Send;

    /// What is known of a link through it.
    fn facts(&self, rssi: Option<i16>, connect: Option<Duration>) -> LinkFacts {
        LinkFacts {
            rssi,
            path: Some(self.path()),
            mtu_bytes: u32::try_from(self.value_bytes()).ok(),
            connect_ms: connect.and_then(|time| u32::try_from(time.as_millis()).ok()),
        }
    }
}

/// Carries frames until the link ends; says good-bye if there is somebody to hear it.
pub(super) async fn carry<A>(
    slot: &mut Slot<A>,
    end: &LinkEnd,
    pipe: &impl Pipe,
    mut chunks: Chunks,
) -> Ended {
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

async fn pump<A>(
    slot: &mut Slot<A>,
    end: &LinkEnd,
    pipe: &impl Pipe,
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

async fn send(pipe: &impl Pipe, chunk: Option<&[u8]>) -> io::Result<()> {
    match chunk {
        Some(chunk) => pipe.send(chunk).await,
        None => std::future::pending().await,
    }
}

async fn take_in<A>(
    slot: &mut Slot<A>,
    end: &LinkEnd,
    pipe: &impl Pipe,
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

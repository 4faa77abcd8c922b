//! One link at work: frames between the node and values of one characteristic, until either side ends it.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use btleplug::api::{Characteristic, Peripheral as _, ValueNotification, WriteType};
use btleplug::platform::Peripheral;
use futures_util::StreamExt;
use futures_util::stream::Stream;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

use super::super::chunk::{Arrival, ChunkError, Chunks};
use crate::driver::LinkEnd;

/// A frame that is not whole, or a window without credit, for this long: the other side is gone or hostile.
const STALL: Duration = Duration::from_secs(30);
/// A value that others have overtaken comes within this long, or was lost.
const GAP: Duration = Duration::from_secs(3);
/// For a good-bye to be sent.
const GOODBYE: Duration = Duration::from_millis(300);

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error("the node is done with it")]
    ByNode,
    #[error("the neighbour is done with it")]
    ByPeer,
    #[error("the connection is gone, somebody else needs the slot, or the daemon stops")]
    Cut,
    #[error("nothing moved for {} s", STALL.as_secs())]
    Stalled,
    #[error("a value was lost")]
    Lost,
    #[error(transparent)]
    Nonsense(#[from] ChunkError),
    #[error("writing failed: {0}")]
    System(#[from] btleplug::Error),
}

/// What a link's values go through.
pub(super) struct Values {
    pub(super) peripheral: Peripheral,
    pub(super) lane: Characteristic,
    pub(super) values: Pin<Box<dyn Stream<Item = ValueNotification> + Send>>,
}

impl Values {
    async fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            let ValueNotification { uuid, service_uuid, value } = self.values.next().await?;
            if uuid == self.lane.uuid && service_uuid == self.lane.service_uuid {
                return Some(value);
            }
        }
    }
}

async fn write(peripheral: &Peripheral, lane: &Characteristic, value: &[u8]) -> btleplug::Result<()> {
    peripheral.write(lane, value, WriteType::WithoutResponse).await
}

/// Carries frames until the link ends; says good-bye if there is somebody to hear it. Counts in `frames` what
/// came.
pub(super) async fn carry(
    end: &LinkEnd,
    values: &mut Values,
    mut chunks: Chunks,
    cut: &Notify,
    moved: &AtomicBool,
    frames: &mut u32,
) -> Ended {
    let (peripheral, lane) = (values.peripheral.clone(), values.lane.clone());
    let why = tokio::select! {
        () = cut.notified() => Ended::Cut,
        why = pump(end, values, &mut chunks, moved, frames) => match why {
            Ok(never) => match never {},
            Err(why) => why,
        },
    };
    match why {
        Ended::ByNode | Ended::Cut | Ended::Stalled | Ended::Lost | Ended::Nonsense(_) => {
            // If it is not heard, the neighbour notices the end of the connection.
            let _ = timeout(GOODBYE, write(&peripheral, &lane, &chunks.close())).await;
        }
        Ended::ByPeer | Ended::System(_) => {}
    }
    why
}

async fn pump(
    end: &LinkEnd,
    values: &mut Values,
    chunks: &mut Chunks,
    moved: &AtomicBool,
    frames: &mut u32,
) -> Result<std::convert::Infallible, Ended> {
    let (peripheral, lane) = (values.peripheral.clone(), values.lane.clone());
    let mut last = Instant::now();
    let mut gap_ends = None;
    loop {
        gap_ends = chunks.has_gap().then(|| gap_ends.unwrap_or_else(|| Instant::now() + GAP));
        if let Some(credit) = chunks.credit() {
            write(&peripheral, &lane, &credit).await?;
        }
        while let Some(chunk) = chunks.cut() {
            timeout(STALL, write(&peripheral, &lane, &chunk)).await.map_err(|_| Ended::Stalled)??;
            last = Instant::now();
        }
        let waits = chunks.is_assembling() || !chunks.wants_frame();
        tokio::select! {
            value = values.next() => {
                last = Instant::now();
                chunks.take_in(value.ok_or(Ended::Cut)?)?;
                while let Some(arrival) = chunks.arrival()? {
                    match arrival {
                        Arrival::Frame(frame) => {
                            *frames = frames.saturating_add(1);
                            moved.store(true, Ordering::Relaxed);
                            end.send(frame).await.map_err(|_| Ended::ByNode)?;
                        }
                        Arrival::Close => return Err(Ended::ByPeer),
                        Arrival::Piece | Arrival::Credit => {}
                    }
                }
            }
            frame = end.next(), if chunks.wants_frame() => {
                chunks.load(frame.ok_or(Ended::ByNode)?);
                moved.store(true, Ordering::Relaxed);
                last = Instant::now();
            }
            () = sleep_until(last + STALL), if waits => return Err(Ended::Stalled),
            () = sleep_until(gap_ends.unwrap_or(last)), if gap_ends.is_some() => return Err(Ended::Lost),
        }
    }
}

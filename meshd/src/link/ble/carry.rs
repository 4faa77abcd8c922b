//! One link at work: frames between the node and what carries its values, until either side ends it.

use std::io;
use std::time::Duration;

use futures_util::FutureExt;
use meshlink_core::LinkFacts;
use tokio::time::{Instant, sleep_until};

use super::air::Slot;
use super::chunk::{Arrival, ChunkError, Chunks};
use super::pace::{self, Pace};
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
    #[error("nobody answered in time")]
    Unanswered,
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
        Ended::ByNode
        | Ended::Cut
        | Ended::Stalled
        | Ended::Unanswered
        | Ended::Lost
        | Ended::Nonsense(_) => {
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
    let mut pace = Pace::default();
    chunks.limit(pace::LEAST_BYTES);
    loop {
        gap_ends = chunks.has_gap().then(|| gap_ends.unwrap_or_else(|| Instant::now() + GAP));
        if pending.is_none() {
            pending = next(chunks);
        }
        let waits = chunks.is_assembling() || pending.is_some() || !chunks.wants_frame();
        tokio::select! {
            () = cut.notified() => return Err(Ended::Cut),
            value = pipe.recv() => {
                moved = Instant::now();
                take_in(slot, end, chunks, &mut pace, value?).await?;
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
            () = sleep_until(slot.answer_by.unwrap_or(moved)), if slot.answer_by.is_some() => {
                return Err(Ended::Unanswered);
            }
        }
    }
}

/// What goes next: credit first, which is due once the node has taken the frames. A node that is busy slows its neighbours down.
fn next(chunks: &mut Chunks) -> Option<Vec<u8>> {
    chunks.credit().or_else(|| chunks.cut())
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
    chunks: &mut Chunks,
    pace: &mut Pace,
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
            Arrival::Credit(bytes) => {
                let before = chunks.uncredited_bytes() + bytes;
                if let Some(limit) = pace.credited(Instant::now(), bytes, before, chunks.limit_bytes()) {
                    chunks.limit(limit);
                }
            }
            Arrival::Piece => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};

    use meshlink_core::LinkKind;
    use tokio::sync::{Mutex, mpsc};
    use tokio::time::timeout;

    use super::super::air::tests::air;
    use super::super::offer::OUR_WINDOW_BYTES;
    use super::super::slots::Key;
    use super::*;
    use crate::driver::Commands;

    const VALUE_BYTES: usize = 100;

    /// A way through memory that holds two values, fewer than a window.
    struct Memory {
        to: mpsc::Sender<Vec<u8>>,
        from: Mutex<mpsc::Receiver<Vec<u8>>>,
    }

    impl Memory {
        fn pair() -> [Self; 2] {
            let ((to_b, from_a), (to_a, from_b)) = (mpsc::channel(2), mpsc::channel(2));
            [(to_b, from_b), (to_a, from_a)].map(|(to, from)| Self { to, from: Mutex::new(from) })
        }
    }

    impl Pipe for Memory {
        fn value_bytes(&self) -> usize {
            VALUE_BYTES
        }

        fn path(&self) -> &'static str {
            "memory"
        }

        async fn recv(&self) -> io::Result<Vec<u8>> {
            Ok(self.from.lock().await.recv().await.unwrap_or_default())
        }

        async fn send(&self, value: &[u8]) -> io::Result<()> {
            self.to.send(value.to_vec()).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
        }

        async fn closed(&self) -> io::Result<()> {
            std::future::pending().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn frames_pass_whole_and_in_order_both_ways_until_one_side_ends_it() {
        let (port, mut commands) = Commands::pair();
        let ends = [true, false].map(|dialled| {
            let end = port.open(LinkKind::Ble, "there".into(), dialled);
            (end, commands.opened().unwrap(), air().open(Key { address: [1; 6], dialled }))
        });
        let [(end, node, mut slot), (their_end, their_node, mut their_slot)] = ends;
        let frames: Vec<Vec<u8>> = (0..60).map(|n| vec![n; usize::from(n) * 400 + 1]).collect();
        for frame in &frames {
            node.push(frame);
            their_node.push(frame);
        }
        let [pipe, theirs] = Memory::pair();
        let (cut, chunks) = (std::sync::Arc::clone(&slot.cut), || Chunks::new(VALUE_BYTES, OUR_WINDOW_BYTES));
        let nodes = async {
            let (mut got, mut they_got) = (Vec::new(), Vec::new());
            while got.len() < frames.len() || they_got.len() < frames.len() {
                // The clock is stopped: it goes on when all else waits.
                tokio::time::sleep(Duration::from_millis(1)).await;
                got.extend(node.taken());
                they_got.extend(their_node.taken());
            }
            cut.notify_one();
            (got, they_got)
        };
        let (why, their_why, (got, they_got)) = tokio::join!(
            carry(&mut slot, &end, &pipe, chunks()),
            carry(&mut their_slot, &their_end, &theirs, chunks()),
            nodes
        );
        assert!(got == frames && they_got == frames);
        assert!(matches!((why, their_why), (Ended::Cut, Ended::ByPeer)));
    }

    /// A way on which values take time, to somebody who takes them in at once.
    #[derive(Default)]
    struct Slow {
        /// Bytes a second.
        rate: AtomicU32,
        state: std::sync::Mutex<OnTheWay>,
    }

    #[derive(Default)]
    struct OnTheWay {
        /// When each value that is not credited arrives.
        values: VecDeque<(Instant, usize)>,
        taken: u16,
        credits: u16,
        bytes: usize,
        most_bytes: usize,
    }

    impl Slow {
        /// The most that was under way in `time` at `rate`, of a sender that always has something.
        async fn most_bytes(&self, rate: u32, time: Duration) -> usize {
            self.rate.store(rate, Ordering::Relaxed);
            self.state.lock().unwrap().most_bytes = 0;
            tokio::time::sleep(time).await;
            self.state.lock().unwrap().most_bytes
        }
    }

    impl Pipe for Slow {
        fn value_bytes(&self) -> usize {
            500
        }

        fn path(&self) -> &'static str {
            "slow"
        }

        async fn recv(&self) -> io::Result<Vec<u8>> {
            let arrives = self.state.lock().unwrap().values.get(15).map(|(arrives, _)| *arrives);
            let Some(arrives) = arrives else { return std::future::pending().await };
            sleep_until(arrives).await;
            let mut state = self.state.lock().unwrap();
            state.bytes -= state.values.drain(..16).map(|(_, bytes)| bytes).sum::<usize>();
            state.taken += 16;
            let [high, low] = (0b10 << 14 | state.credits).to_be_bytes();
            state.credits += 1;
            let [taken, taken_high] = state.taken.to_le_bytes();
            Ok(vec![high, low, taken, taken_high])
        }

        async fn send(&self, value: &[u8]) -> io::Result<()> {
            let mut state = self.state.lock().unwrap();
            let last = state.values.back().map_or_else(Instant::now, |(arrives, _)| *arrives);
            let rate = f64::from(self.rate.load(Ordering::Relaxed));
            let arrives = last + Duration::from_secs_f64(value.len() as f64 / rate);
            state.values.push_back((arrives, value.len()));
            state.bytes += value.len();
            state.most_bytes = state.most_bytes.max(state.bytes);
            Ok(())
        }

        async fn closed(&self) -> io::Result<()> {
            std::future::pending().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_an_urgent_frame_waits_for_follows_the_rate() {
        let (port, mut commands) = Commands::pair();
        let end = port.open(LinkKind::Ble, "there".into(), true);
        let node = commands.opened().unwrap();
        (0..2_000).for_each(|_| node.push(&[1; 996]));
        let mut slot = air().open(Key { address: [1; 6], dialled: true });
        let pipe = Slow::default();
        pipe.rate.store(20_000, Ordering::Relaxed);
        let rates = async {
            let poor = pipe.most_bytes(20_000, Duration::from_secs(10)).await;
            let middling = pipe.most_bytes(30_000, Duration::from_secs(10)).await;
            let good = pipe.most_bytes(200_000, Duration::from_secs(3)).await;
            pipe.most_bytes(20_000, Duration::from_secs(5)).await;
            let poor_again = pipe.most_bytes(20_000, Duration::from_secs(5)).await;
            [poor, middling, good, poor_again]
        };
        let chunks = Chunks::new(500, OUR_WINDOW_BYTES);
        let most = tokio::select! {
            why = carry(&mut slot, &end, &pipe, chunks) => panic!("{why}"),
            most = rates => most,
        };
        assert_eq!(most.map(|bytes| bytes.div_ceil(1024)), [32, 47, 64, 32], "KiB");
    }

    #[tokio::test(start_paused = true)]
    async fn b04_who_has_to_answer_and_does_not_loses_its_link_and_who_does_keeps_it() {
        for answers in [false, true] {
            let (port, _commands) = Commands::pair();
            let end = port.open(LinkKind::Ble, "there".into(), true);
            let mut slot = air().open(Key { address: [1; 6], dialled: true });
            slot.answer_by = Some(Instant::now() + Duration::from_secs(3));
            let [pipe, theirs] = Memory::pair();
            if answers {
                let mut chunks = Chunks::new(VALUE_BYTES, OUR_WINDOW_BYTES);
                chunks.load(vec![7; 10]);
                theirs.send(&chunks.cut().unwrap()).await.unwrap();
            }
            let chunks = Chunks::new(VALUE_BYTES, OUR_WINDOW_BYTES);
            let why = timeout(Duration::from_secs(4), carry(&mut slot, &end, &pipe, chunks)).await;
            assert_eq!(matches!(why, Ok(Ended::Unanswered)), !answers, "{why:?}");
        }
    }

    /// Somebody who never stops to send frames of a byte.
    struct Flood(AtomicU16);

    impl Pipe for Flood {
        fn value_bytes(&self) -> usize {
            VALUE_BYTES
        }

        fn path(&self) -> &'static str {
            "flood"
        }

        async fn recv(&self) -> io::Result<Vec<u8>> {
            let [high, low] = (0b01 << 14 | self.0.fetch_add(1, Ordering::Relaxed)).to_be_bytes();
            Ok(vec![high, low, 0])
        }

        async fn send(&self, _: &[u8]) -> io::Result<()> {
            Ok(())
        }

        async fn closed(&self) -> io::Result<()> {
            std::future::pending().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn b05_who_never_stops_talking_does_not_keep_its_link() {
        let (port, _commands) = Commands::pair();
        let end = port.open(LinkKind::Ble, "there".into(), false);
        let mut slot = air().open(Key { address: [1; 6], dialled: false });
        slot.cut.notify_one();
        let chunks = Chunks::new(VALUE_BYTES, OUR_WINDOW_BYTES);
        let flood = Flood(AtomicU16::new(0));
        let why = timeout(Duration::from_secs(1), carry(&mut slot, &end, &flood, chunks)).await;
        assert!(matches!(why, Ok(Ended::Cut)), "{why:?}");
    }
}

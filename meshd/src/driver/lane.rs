//! Lanes: the two bounded queues of frames between one link and the node's thread.
//!
//! - **Out** ([`LinkEnd::next`]): the thread fills it while it holds less than [`OUT_BYTES`] and asks the node
//!   for no more until half of that is gone. So the node decides late what goes next, and a call for help
//!   overtakes everything that is not on the air yet.
//! - **In** ([`LinkEnd::send`]): a link may have a budget of bytes under way to the thread. Then it waits
//!   (`send`), or accounts by itself ([`LinkEnd::try_send`], [`LinkEnd::taken`]), as relays' links do.
//!
//! A transport drives many links in one task by giving all of them the same bell.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use meshlink_core::limits::FRAME_BYTES_MAX;
use meshlink_core::{CloseReason, LinkFacts, LinkId, LinkKind, TransportStatus};
use tokio::sync::Notify;

/// Bytes of frames ready for a link; the last one may go over it.
const OUT_BYTES: usize = 32 * 1024;
/// Bytes of frames under way from a link to the thread.
const IN_BYTES: usize = 64 * 1024;
/// What a frame counts at least: its place in the queue.
const FRAME_COST_MIN: usize = 64;

/// The node has given the link up, or is gone itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the link is closed")]
pub struct LinkClosed;

/// Why [`LinkEnd::try_send`] did not send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotSent {
    /// The budget is used up.
    Full,
    /// The link is closed.
    Closed,
}

/// What [`LinkEnd::try_next`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A frame to put on the wire.
    Frame(Vec<u8>),
    /// Nothing yet; the bell rings.
    Nothing,
    /// The node has given the link up.
    Closed(Option<CloseReason>),
}

/// What links tell the node's thread.
pub(super) enum LinkCommand {
    Up {
        link: LinkId,
        kind: LinkKind,
        address: String,
        dialled: bool,
        lane: Arc<Lane>,
    },
    Down {
        link: LinkId,
    },
    /// Frames wait in the link's lane.
    Frames {
        link: LinkId,
    },
    /// A lane that was full has room; the node is asked for more.
    Room,
    Facts {
        link: LinkId,
        facts: LinkFacts,
    },
    Report(TransportStatus),
}

/// The way into the node for transports. Cheap to clone.
#[derive(Clone)]
pub struct LinkPort {
    post: Arc<dyn Fn(LinkCommand) -> Result<(), LinkClosed> + Send + Sync>,
    next_id: Arc<AtomicU64>,
}

/// How much may be under way from a link to the thread.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Bytes of frames at most; small frames count more than their bytes.
    pub bytes: usize,
    /// After so many payload bytes taken the bell rings.
    pub tell_bytes: usize,
}

/// Which bells a link rings; a task that drives many links shares them.
#[derive(Debug, Clone, Default)]
pub struct Bells {
    /// There is a frame to put on the wire, or the link is closed.
    pub out: Arc<Notify>,
    /// The thread took enough that more can be sent, or that it should be said.
    pub taken: Arc<Notify>,
}

impl LinkPort {
    pub(super) fn new(post: impl Fn(LinkCommand) -> Result<(), LinkClosed> + Send + Sync + 'static) -> Self {
        Self { post: Arc::new(post), next_id: Arc::new(AtomicU64::new(1)) }
    }

    /// Tells the node of a new link. Exactly one of its two ends says `dialled`.
    pub fn open(&self, kind: LinkKind, address: String, dialled: bool) -> LinkEnd {
        let budget = Budget { bytes: IN_BYTES, tell_bytes: IN_BYTES / 4 };
        self.open_with(kind, address, dialled, budget, Bells::default())
    }

    /// Like [`LinkPort::open`], with a budget of its own for the bytes under way to the thread, and bells.
    pub fn open_with(
        &self,
        kind: LinkKind,
        address: String,
        dialled: bool,
        budget: Budget,
        bells: Bells,
    ) -> LinkEnd {
        let id = LinkId(self.next_id.fetch_add(1, Ordering::Relaxed));
        let lane = Arc::new(Lane { queues: Mutex::default(), budget, bells });
        let up = LinkCommand::Up { link: id, kind, address, dialled, lane: Arc::clone(&lane) };
        if (self.post)(up).is_err() {
            lane.close(None);
        }
        LinkEnd { id, lane, port: self.clone() }
    }

    /// Says how a transport stands.
    pub fn report(&self, status: TransportStatus) {
        // Without a node nobody asks any more.
        let _ = (self.post)(LinkCommand::Report(status));
    }
}

/// A transport's end of a link; dropping it is the end of the link.
pub struct LinkEnd {
    id: LinkId,
    lane: Arc<Lane>,
    port: LinkPort,
}

impl LinkEnd {
    /// The link's number.
    pub fn id(&self) -> LinkId {
        self.id
    }

    /// Hands a frame from the wire to the node; waits while the budget is used up.
    ///
    /// # Errors
    /// [`LinkClosed`].
    pub async fn send(&self, mut frame: Vec<u8>) -> Result<(), LinkClosed> {
        loop {
            match self.offer(frame, true) {
                Ok(()) => return Ok(()),
                Err((NotSent::Closed, _)) => return Err(LinkClosed),
                Err((NotSent::Full, back)) => frame = back,
            }
            self.lane.bells.taken.notified().await;
        }
    }

    /// Hands a frame from the wire to the node, if the budget allows.
    ///
    /// # Errors
    /// [`NotSent`].
    pub fn try_send(&self, frame: Vec<u8>) -> Result<(), NotSent> {
        self.offer(frame, false).map_err(|(why, _)| why)
    }

    fn offer(&self, frame: Vec<u8>, wait: bool) -> Result<(), (NotSent, Vec<u8>)> {
        let first = {
            let mut queues = self.lane.lock();
            if queues.closed.is_some() {
                return Err((NotSent::Closed, frame));
            }
            // An oversized frame goes alone; the node closes the link for it.
            if !queues.inward.is_empty() && queues.in_bytes + cost(&frame) > self.lane.budget.bytes {
                queues.sender_waits = wait;
                return Err((NotSent::Full, frame));
            }
            queues.in_bytes += cost(&frame);
            queues.inward.push_back(frame);
            queues.inward.len() == 1
        };
        // One command for all that gather until the thread looks.
        if first && (self.port.post)(LinkCommand::Frames { link: self.id }).is_err() {
            self.lane.close(None);
        }
        Ok(())
    }

    /// Payload bytes the thread took since this was asked last.
    pub fn taken(&self) -> usize {
        std::mem::take(&mut self.lane.lock().taken_bytes)
    }

    /// The next frame to put on the wire; `None` when the link is closed.
    pub async fn next(&self) -> Option<Vec<u8>> {
        loop {
            match self.try_next() {
                Incoming::Frame(frame) => return Some(frame),
                Incoming::Closed(_) => return None,
                Incoming::Nothing => self.lane.bells.out.notified().await,
            }
        }
    }

    /// The next frame to put on the wire, if there is one.
    pub fn try_next(&self) -> Incoming {
        let (frame, room) = {
            let mut queues = self.lane.lock();
            let Some(frame) = queues.outward.pop_front() else {
                return queues.closed.map_or(Incoming::Nothing, Incoming::Closed);
            };
            queues.out_bytes -= cost(&frame);
            let room = queues.starved && queues.out_bytes <= OUT_BYTES / 2;
            queues.starved &= !room;
            (frame, room)
        };
        if room {
            // A node that is gone has closed the lane, which the next look finds.
            let _ = (self.port.post)(LinkCommand::Room);
        }
        Incoming::Frame(frame)
    }

    /// Tells the node what the transport knows of the link.
    pub fn facts(&self, facts: LinkFacts) {
        // As above.
        let _ = (self.port.post)(LinkCommand::Facts { link: self.id, facts });
    }
}

impl Drop for LinkEnd {
    fn drop(&mut self) {
        let _ = (self.port.post)(LinkCommand::Down { link: self.id });
    }
}

/// Both queues of one link.
pub(super) struct Lane {
    queues: Mutex<Queues>,
    budget: Budget,
    bells: Bells,
}

#[derive(Default)]
struct Queues {
    outward: VecDeque<Vec<u8>>,
    out_bytes: usize,
    /// The thread had more when the lane was full.
    starved: bool,
    inward: VecDeque<Vec<u8>>,
    in_bytes: usize,
    /// Payload bytes taken since last told.
    taken_bytes: usize,
    /// A sender waits for room.
    sender_waits: bool,
    /// Set when the node gave the link up; why, if it said so.
    closed: Option<Option<CloseReason>>,
}

impl Lane {
    /// Whether another frame may be put in. If not, a `Room` follows.
    pub(super) fn has_room(&self) -> bool {
        let mut queues = self.lock();
        queues.starved = queues.out_bytes >= OUT_BYTES;
        !queues.starved
    }

    /// Puts a frame in for the link; [`Lane::ring`] when done with all.
    pub(super) fn push(&self, frame: Vec<u8>) {
        let mut queues = self.lock();
        queues.out_bytes += cost(&frame);
        queues.outward.push_back(frame);
    }

    /// Wakes whoever puts frames on the wire.
    pub(super) fn ring(&self) {
        self.bells.out.notify_one();
    }

    /// Takes the next frame the link brought.
    pub(super) fn take(&self) -> Option<Vec<u8>> {
        let mut queues = self.lock();
        let frame = queues.inward.pop_front()?;
        queues.in_bytes -= cost(&frame);
        queues.taken_bytes += frame.len();
        let room = queues.sender_waits && queues.in_bytes + FRAME_BYTES_MAX <= self.budget.bytes;
        let much = queues.taken_bytes >= self.budget.tell_bytes;
        if room || much || queues.inward.is_empty() && queues.sender_waits {
            queues.sender_waits = false;
            self.bells.taken.notify_one();
        }
        Some(frame)
    }

    /// Ends the link from the node's side.
    pub(super) fn close(&self, why: Option<CloseReason>) {
        {
            let mut queues = self.lock();
            if queues.closed.is_none() {
                queues.closed = Some(why);
            }
            queues.outward.clear();
            queues.inward.clear();
            (queues.out_bytes, queues.in_bytes) = (0, 0);
        }
        self.bells.out.notify_one();
        self.bells.taken.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().expect("nothing panics while it holds this lock")
    }
}

fn cost(frame: &[u8]) -> usize {
    frame.len().max(FRAME_COST_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, channel};

    fn link(budget: Budget) -> (LinkEnd, Arc<Lane>, Receiver<LinkCommand>) {
        let (sender, commands) = channel();
        let port = LinkPort::new(move |command| sender.send(command).map_err(|_| LinkClosed));
        let end = port.open_with(LinkKind::Pipe, "test".to_owned(), true, budget, Bells::default());
        let Ok(LinkCommand::Up { lane, .. }) = commands.try_recv() else { panic!("the first word is Up") };
        (end, lane, commands)
    }

    fn small() -> (LinkEnd, Arc<Lane>, Receiver<LinkCommand>) {
        link(Budget { bytes: 1000, tell_bytes: 250 })
    }

    #[test]
    fn a_full_lane_asks_for_more_once_half_of_it_is_gone() {
        let (end, lane, commands) = small();
        let mut count = 0;
        while lane.has_room() {
            lane.push(vec![0; 1024]);
            count += 1;
        }
        assert_eq!(count, OUT_BYTES / 1024);
        for _ in 0..count / 2 - 1 {
            assert!(matches!(end.try_next(), Incoming::Frame(_)));
        }
        assert!(commands.try_recv().is_err(), "asked too early");
        end.try_next();
        assert!(matches!(commands.try_recv(), Ok(LinkCommand::Room)));
        while end.try_next() != Incoming::Nothing {}
        assert!(commands.try_recv().is_err(), "asked twice");
    }

    #[test]
    fn frames_come_out_in_order_and_one_command_covers_many() {
        let (end, lane, commands) = small();
        for n in 0..5 {
            end.try_send(vec![n]).unwrap();
        }
        assert!(matches!(commands.try_recv(), Ok(LinkCommand::Frames { .. })));
        assert!(commands.try_recv().is_err());
        let taken: Vec<Vec<u8>> = std::iter::from_fn(|| lane.take()).collect();
        assert_eq!(taken, [[0], [1], [2], [3], [4]]);
        end.try_send(vec![5]).unwrap();
        assert!(matches!(commands.try_recv(), Ok(LinkCommand::Frames { .. })));
    }

    #[test]
    fn tiny_frames_count_for_their_place() {
        let (end, _lane, _commands) = small();
        let sent = std::iter::from_fn(|| end.try_send(Vec::new()).ok()).take(1000).count();
        assert_eq!(sent, 1000 / FRAME_COST_MIN);
    }

    #[test]
    fn an_oversized_frame_goes_alone() {
        let (end, lane, _commands) = small();
        end.try_send(vec![0; 5000]).unwrap();
        assert_eq!(end.try_send(vec![0]), Err(NotSent::Full));
        lane.take().unwrap();
        end.try_send(vec![0]).unwrap();
    }

    #[tokio::test]
    async fn the_bell_rings_when_enough_was_taken() {
        let (end, lane, _commands) = small();
        for _ in 0..3 {
            end.try_send(vec![0; 100]).unwrap();
        }
        let rings = |lane: &Lane| {
            use futures_util::FutureExt;
            let taken = Arc::clone(&lane.bells.taken);
            taken.notified().now_or_never().is_some()
        };
        lane.take();
        lane.take();
        assert!(!rings(&lane));
        lane.take();
        assert!(rings(&lane));
        assert_eq!((end.taken(), end.taken()), (300, 0));
    }

    #[tokio::test]
    async fn a_closed_lane_wakes_both_sides_and_says_why() {
        let (end, lane, _commands) = small();
        lane.push(vec![1]);
        lane.close(Some(CloseReason::SelfLink));
        lane.close(None);
        assert_eq!(end.try_next(), Incoming::Closed(Some(CloseReason::SelfLink)));
        assert_eq!(end.next().await, None);
        assert_eq!(end.send(vec![1]).await, Err(LinkClosed));
    }

    #[test]
    fn dropping_the_end_tells_the_node() {
        let (end, _lane, commands) = small();
        drop(end);
        assert!(matches!(commands.try_recv(), Ok(LinkCommand::Down { .. })));
    }

    #[tokio::test]
    async fn a_link_of_a_node_that_is_gone_is_closed_from_the_start() {
        let port = LinkPort::new(|_| Err(LinkClosed));
        let end = port.open(LinkKind::Pipe, "test".to_owned(), true);
        assert_eq!(end.next().await, None);
    }
}

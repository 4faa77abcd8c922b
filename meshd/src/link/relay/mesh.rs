//! The links that go through one relay: who is there, which of them have a link, whose turn it is.
//!
//! No socket and no clock: frames of the relay go in, frames for the relay come out, `now` is an argument.
//!
//! **On the wire** the payload of a [`MeshFrame::Data`] is one byte and then one frame of the link: 1 for the
//! first frame of whoever dials, 0 for every other. So bytes that are still under way for a link that is over
//! are never taken for the beginning of a new one.
//!
//! **Who dials.** Of two nodes the one with the smaller device id, at once; the other one too if nothing came
//! for some seconds. If both do, the smaller one's link stays. At most [`LINKS_MAX`] are dialled, a few more
//! accepted; where more nodes are present, a link is given up now and then for another at random, so that
//! news spreads through all of them.
//!
//! **Windows.** At most [`WINDOW_BYTES`] of frames are under way to a node; it gives credit for what its own
//! node has taken. Whoever ignores that loses the link (threat Y-14).

use std::collections::BTreeMap;
use std::time::Duration;

use meshlink_api::relay::{HEADER_BYTES, MeshFrame, NAME_BYTES_MAX, WINDOW_BYTES};
use meshlink_core::LinkKind;
use meshlink_core::limits::FRAME_BYTES_MAX;
use tokio::time::Instant;

use crate::driver::{Bells, Budget, Incoming, LinkEnd, LinkPort, NotSent};

/// Links dialled or kept by choice through one relay.
pub(super) const LINKS_MAX: usize = 16;
/// Links at all through one relay: with what others dial.
const LINKS_ACCEPTED_MAX: usize = 24;
/// Nodes remembered as present.
const PRESENT_MAX: usize = 4096;
/// How long the node with the larger device id waits for the other to dial.
const PATIENCE: Duration = Duration::from_secs(5);
/// First pause after a link failed; doubles with each failure.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// A link that lasted this long was none of the failures.
const WELL_AFTER: Duration = Duration::from_secs(30);
/// How often a link is given up for another, where more nodes are present than have links.
const ROTATE_EVERY: Duration = Duration::from_secs(60);

/// Frames may be as small as the encryption leaves them and still fit the window.
const BUDGET: Budget = Budget { bytes: 4 * WINDOW_BYTES as usize, tell_bytes: WINDOW_BYTES as usize / 4 };

const CONTINUES: u8 = 0;
const OPENS: u8 = 1;

/// The links through one connection to a relay.
pub(super) struct Mesh {
    port: LinkPort,
    bells: Bells,
    /// How the relay is called in the addresses of links.
    relay: String,
    device_id: String,
    peers: BTreeMap<u32, Peer>,
    links: usize,
    rotate_at: Option<Instant>,
    dice: fn() -> u32,
}

struct Peer {
    /// Whether it is this side that dials at once.
    ours_to_dial: bool,
    /// Not to be dialled before.
    not_before: Instant,
    failures: u32,
    /// Told that there is no link; once is enough.
    told: bool,
    link: Option<Open>,
}

struct Open {
    end: LinkEnd,
    dialled: bool,
    /// The next frame is the first of a dialled link.
    opens: bool,
    since: Instant,
    /// Bytes that may still be sent.
    credit: usize,
    /// Taken from the node, waits for credit.
    held: Option<Vec<u8>>,
}

/// Where frames for the relay go: WebSocket messages, ready to be sent.
pub(super) type Frames = Vec<Vec<u8>>;

impl Mesh {
    pub(super) fn new(port: LinkPort, relay: String, device_id: String, dice: fn() -> u32) -> Self {
        // One task serves all links, so all ring the same bell.
        let bells = Bells::default();
        Self { port, bells, relay, device_id, peers: BTreeMap::new(), links: 0, rotate_at: None, dice }
    }

    /// The bells of all links.
    pub(super) fn bells(&self) -> Bells {
        self.bells.clone()
    }

    /// Other nodes present.
    pub(super) fn present(&self) -> usize {
        self.peers.len()
    }

    /// Takes a frame from the relay.
    pub(super) fn take(&mut self, frame: MeshFrame<'_>, now: Instant, out: &mut Frames) {
        match frame {
            MeshFrame::Present { handle, device_id } => self.arrived(handle, device_id, now),
            MeshFrame::Gone { handle } => {
                self.hang_up(handle, now);
                self.peers.remove(&handle);
            }
            MeshFrame::Data { handle, payload } => match payload.split_first() {
                Some((&OPENS, bytes)) => self.opened(handle, bytes, now, out),
                Some((&CONTINUES, bytes)) => self.came(handle, bytes, now, out),
                Some(_) | None => self.reset(handle, "not a frame of a link", now, out),
            },
            MeshFrame::Credit { handle, bytes } => {
                if let Some(open) = self.peers.get_mut(&handle).and_then(|peer| peer.link.as_mut()) {
                    open.credit = (open.credit + bytes as usize).min(WINDOW_BYTES as usize);
                }
            }
            MeshFrame::Reset { handle, why } => {
                if self.has_link(handle) {
                    tracing::debug!(handle, ?why, "link through the relay was reset");
                    self.hang_up(handle, now);
                }
            }
        }
    }

    fn arrived(&mut self, handle: u32, device_id: &str, now: Instant) {
        self.hang_up(handle, now);
        if self.peers.len() >= PRESENT_MAX && !self.peers.contains_key(&handle) {
            return;
        }
        let ours_to_dial = self.device_id.as_str() < device_id;
        let not_before = if ours_to_dial { now } else { now + PATIENCE + self.up_to(PATIENCE) };
        self.peers.insert(handle, Peer { ours_to_dial, not_before, failures: 0, told: false, link: None });
    }

    /// Somebody dials.
    fn opened(&mut self, handle: u32, bytes: &[u8], now: Instant, out: &mut Frames) {
        let Some(peer) = self.peers.get(&handle) else { return self.tell(handle, "not present", out) };
        match &peer.link {
            // Both dialled at once: the one with the smaller device id goes on.
            Some(open) if open.dialled && open.opens_unanswered(now) && peer.ours_to_dial => return,
            Some(_) => {
                self.drop_link(handle);
            }
            None => {}
        }
        if self.links >= LINKS_ACCEPTED_MAX {
            return self.tell(handle, "enough links", out);
        }
        self.open(handle, false, now);
        self.came(handle, bytes, now, out);
    }

    /// A frame of a link.
    fn came(&mut self, handle: u32, bytes: &[u8], now: Instant, out: &mut Frames) {
        let Some(peer) = self.peers.get_mut(&handle) else { return self.tell(handle, "not present", out) };
        let Some(open) = &peer.link else {
            if !std::mem::replace(&mut peer.told, true) {
                self.tell(handle, "no such link", out);
            }
            return;
        };
        match open.end.try_send(bytes.to_vec()) {
            Ok(()) => {}
            Err(NotSent::Full) => self.reset(handle, "window exceeded", now, out),
            // The node hung up; `collect` says so.
            Err(NotSent::Closed) => {}
        }
    }

    /// Collects what the links have to send, about `room_bytes` of it, in turns. Says whether that was all.
    pub(super) fn collect(&mut self, mut room_bytes: usize, now: Instant, out: &mut Frames) -> bool {
        loop {
            let mut progress = false;
            let handles: Vec<u32> = self.linked().collect();
            for handle in handles {
                if room_bytes == 0 {
                    return false;
                }
                if let Some(sent) = self.collect_one(handle, now, out) {
                    room_bytes = room_bytes.saturating_sub(sent);
                    progress = true;
                }
            }
            if !progress {
                return true;
            }
        }
    }

    /// One frame of one link, if it has one and may send it; its size.
    fn collect_one(&mut self, handle: u32, now: Instant, out: &mut Frames) -> Option<usize> {
        let open = self.peers.get_mut(&handle)?.link.as_mut()?;
        let frame = match open.held.take() {
            Some(frame) => frame,
            None => match open.end.try_next() {
                Incoming::Frame(frame) => frame,
                Incoming::Nothing => return None,
                Incoming::Closed(why) => {
                    tracing::debug!(handle, ?why, "this node gave the link up");
                    // Why is nobody's business: a blocked neighbour need not know.
                    self.reset(handle, "closed", now, out);
                    return None;
                }
            },
        };
        if frame.len() > open.credit {
            open.held = Some(frame);
            return None;
        }
        open.credit -= frame.len();
        let first = [if std::mem::take(&mut open.opens) { OPENS } else { CONTINUES }];
        let mut message = Vec::with_capacity(HEADER_BYTES + 1 + frame.len());
        MeshFrame::Data { handle, payload: &first }.encode_into(&mut message);
        message.extend_from_slice(&frame);
        let size = message.len();
        out.push(message);
        Some(size)
    }

    /// Gives credit for what the node took since the last time.
    pub(super) fn give_credit(&mut self, out: &mut Frames) {
        for (&handle, peer) in &self.peers {
            let taken = peer.link.as_ref().map_or(0, |open| open.end.taken());
            if let (1.., Ok(bytes)) = (taken, u32::try_from(taken)) {
                out.push(MeshFrame::Credit { handle, bytes }.encode());
            }
        }
    }

    /// Dials whom it is time to dial, and changes a link for another where that is due. To be called when the
    /// relay has said all it had to say, so that the choice is among all.
    pub(super) fn tend(&mut self, now: Instant, out: &mut Frames) {
        if self.rotate_at.is_some_and(|at| at <= now) {
            self.rotate_at = None;
            self.give_up_one(now, out);
        }
        while self.links < LINKS_MAX {
            let ready: Vec<u32> = self.ready(now).collect();
            let Some(handle) = self.pick(&ready) else { break };
            self.open(handle, true, now);
        }
        let crowded = self.links >= LINKS_MAX && self.peers.len() > self.links;
        if !crowded {
            self.rotate_at = None;
        } else if self.rotate_at.is_none() {
            self.rotate_at = Some(now + ROTATE_EVERY + self.up_to(ROTATE_EVERY / 2));
        }
    }

    /// When [`Mesh::tend`] has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        if self.links >= LINKS_MAX {
            return self.rotate_at;
        }
        self.peers.values().filter(|peer| peer.link.is_none()).map(|peer| peer.not_before).min()
    }

    /// Gives up a link at random, if somebody waits for one.
    fn give_up_one(&mut self, now: Instant, out: &mut Frames) {
        if self.ready(now).next().is_none() {
            return;
        }
        let linked: Vec<u32> = self.linked().collect();
        let Some(handle) = self.pick(&linked) else { return };
        self.drop_link(handle);
        self.tell(handle, "another's turn", out);
        let pause = PAUSE_MAX / 2 + self.up_to(PAUSE_MAX / 2);
        if let Some(peer) = self.peers.get_mut(&handle) {
            peer.not_before = now + pause;
        }
    }

    fn linked(&self) -> impl Iterator<Item = u32> {
        self.peers.iter().filter(|(_, peer)| peer.link.is_some()).map(|(&handle, _)| handle)
    }

    /// Nodes without a link that may be dialled.
    fn ready(&self, now: Instant) -> impl Iterator<Item = u32> {
        let ready = move |peer: &Peer| peer.link.is_none() && peer.not_before <= now;
        self.peers.iter().filter(move |(_, peer)| ready(peer)).map(|(&handle, _)| handle)
    }

    fn pick(&self, handles: &[u32]) -> Option<u32> {
        let at = (self.dice)() as usize % handles.len().max(1);
        handles.get(at).copied()
    }

    fn open(&mut self, handle: u32, dialled: bool, now: Instant) {
        let Some(peer) = self.peers.get_mut(&handle) else { return };
        let address = format!("{} #{handle}", self.relay);
        let end = self.port.open_with(LinkKind::Relay, address, dialled, BUDGET, self.bells.clone());
        let credit = WINDOW_BYTES as usize;
        peer.link = Some(Open { end, dialled, opens: dialled, since: now, credit, held: None });
        peer.told = false;
        self.links += 1;
    }

    fn has_link(&self, handle: u32) -> bool {
        self.peers.get(&handle).is_some_and(|peer| peer.link.is_some())
    }

    /// Ends a link and says so to the other side.
    fn reset(&mut self, handle: u32, why: &'static str, now: Instant, out: &mut Frames) {
        self.hang_up(handle, now);
        self.tell(handle, why, out);
    }

    fn tell(&self, handle: u32, why: &'static str, out: &mut Frames) {
        debug_assert!(why.len() <= NAME_BYTES_MAX);
        out.push(MeshFrame::Reset { handle, why }.encode());
    }

    /// Ends a link, if there is one, and puts off the next to the same node.
    fn hang_up(&mut self, handle: u32, now: Instant) {
        let Some(since) = self.drop_link(handle) else { return };
        let random = (self.dice)();
        let Some(peer) = self.peers.get_mut(&handle) else { return };
        if now.duration_since(since) >= WELL_AFTER {
            peer.failures = 0;
        }
        let pause = PAUSE_FIRST.saturating_mul(1 << peer.failures.min(16)).min(PAUSE_MAX);
        let jitter = pause.mul_f64(f64::from(random) / f64::from(u32::MAX));
        let patience = if peer.ours_to_dial { Duration::ZERO } else { PATIENCE };
        peer.failures += 1;
        peer.not_before = now + pause + jitter / 2 + patience;
    }

    /// Ends a link; since when it was.
    fn drop_link(&mut self, handle: u32) -> Option<Instant> {
        let open = self.peers.get_mut(&handle)?.link.take()?;
        self.links -= 1;
        Some(open.since)
    }

    fn up_to(&self, range: Duration) -> Duration {
        range.mul_f64(f64::from((self.dice)()) / f64::from(u32::MAX))
    }
}

impl Open {
    /// Whether it was dialled so recently that the other side may not have heard of it.
    fn opens_unanswered(&self, now: Instant) -> bool {
        now.duration_since(self.since) < PATIENCE
    }
}

/// A frame with its headers fits into one message of the relay.
const _: () = assert!(FRAME_BYTES_MAX + 1 + HEADER_BYTES <= meshlink_api::relay::MESSAGE_BYTES_MAX);

#[cfg(test)]
mod tests;

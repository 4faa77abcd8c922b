//! A few nodes joined by pipes, under a virtual clock: what the scenarios of the core's tests happen in.
//!
//! Nothing moves by itself. [`Net::settle`] carries frames until nobody has anything to say; [`Net::pass`] lets
//! time go by, from one deadline to the next.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a net whose parts fail is a failed test")]

pub mod groups;
pub mod people;

use std::collections::{BTreeMap, VecDeque};

use meshlink_core::mem::MemStore;
use meshlink_core::{
    BundleId, CloseReason, Draft, Event, Identity, Input, Limits, LinkId, LinkKind, LinkPhase, LoggedEvent,
    MessageRecord, MessageStatus, Node, NodeId, Now, Output, Priority, Seq, Store,
};

/// 2026-01-01.
pub const NEW_YEAR_MS: u64 = 1_767_225_600_000;
pub const MINUTE_MS: u64 = 60_000;
pub const DAY_MS: u64 = 24 * 3600 * 1000;

/// Which node of a net.
pub type At = usize;

pub struct Net {
    nodes: Vec<Member>,
    pipes: BTreeMap<LinkId, Pipe>,
    pub mono_ms: u64,
    next_link: u64,
    sent: u64,
    /// Frames carried so far.
    pub frames: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Why links were closed, by whom.
    pub closes: Vec<(At, CloseReason)>,
}

struct Member {
    node: Option<Node<MemStore>>,
    /// Milliseconds since 1970 when the net's clock was 0; `None`: no trusted clock.
    wall_ms: Option<u64>,
    secret: [u8; 64],
    seeds: u8,
    limits: Limits,
    pub events: Vec<LoggedEvent>,
}

/// One direction's end: what is on its way to `to`.
struct Pipe {
    to: At,
    /// The number of the same link at the other end.
    other: LinkId,
    /// Each with its place among all that were ever sent: what was sent first arrives first.
    frames: VecDeque<(u64, Vec<u8>)>,
    /// Frames this direction carries at all; then the link is cut.
    budget: Option<usize>,
    /// Takes frames and delivers none.
    is_dead: bool,
}

impl Net {
    pub fn new(count: usize) -> Self {
        Self::with_limits(count, Limits::default())
    }

    pub fn with_limits(count: usize, limits: Limits) -> Self {
        let mut net = Self {
            nodes: Vec::new(),
            pipes: BTreeMap::new(),
            mono_ms: 0,
            next_link: 1,
            sent: 0,
            frames: 0,
            bytes: 0,
            closes: Vec::new(),
        };
        for n in 0..count {
            net.add(n as u8 + 1, limits);
        }
        net
    }

    /// Adds a node with keys made of `secret`.
    pub fn add(&mut self, secret: u8, limits: Limits) -> At {
        let at = self.nodes.len();
        let member = Member {
            node: None,
            wall_ms: Some(NEW_YEAR_MS),
            secret: [secret; 64],
            seeds: 0,
            limits,
            events: Vec::new(),
        };
        self.nodes.push(member);
        self.start(at, MemStore::new());
        at
    }

    pub fn now(&self, at: At) -> Now {
        Now { mono_ms: self.mono_ms, unix_ms: self.nodes[at].wall_ms.map(|wall| wall + self.mono_ms) }
    }

    /// Sets a node's wall clock to what it would have shown when the net began.
    pub fn set_wall(&mut self, at: At, wall_ms: Option<u64>) {
        self.nodes[at].wall_ms = wall_ms;
    }

    pub fn node(&mut self, at: At) -> &mut Node<MemStore> {
        self.nodes[at].node.as_mut().expect("it runs")
    }

    pub fn store(&self, at: At) -> &MemStore {
        self.nodes[at].node.as_ref().expect("it runs").store()
    }

    pub fn id(&self, at: At) -> NodeId {
        Identity::from_bytes(&self.nodes[at].secret).node_id()
    }

    fn start(&mut self, at: At, store: MemStore) {
        let now = self.now(at);
        let member = &mut self.nodes[at];
        member.seeds += 1;
        let identity = Identity::from_bytes(&member.secret);
        let seed = [member.seeds ^ member.secret[0].wrapping_mul(16); 32];
        let mut node = Node::open(store, identity, seed, member.limits, now).unwrap();
        node.handle(Input::Timeout, now).unwrap();
        let _ = node.commit(now).unwrap();
        member.node = Some(node);
    }

    /// A power cut: what was not committed is gone, and all links but those that were lost silently before.
    pub fn crash(&mut self, at: At) {
        let mut store = self.store(at).clone();
        store.rollback();
        self.nodes[at].node = None;
        let links: Vec<LinkId> = self
            .pipes
            .iter()
            .filter(|(_, pipe)| pipe.to == at && !pipe.is_dead)
            .map(|(link, _)| *link)
            .collect();
        for link in links {
            self.cut(link);
        }
        self.start(at, store);
    }

    /// Joins two nodes; the number of the link at the first, which dials.
    pub fn join(&mut self, a: At, b: At) -> LinkId {
        self.join_by(a, b, LinkKind::Pipe)
    }

    pub fn join_by(&mut self, a: At, b: At, kind: LinkKind) -> LinkId {
        let (one, other) = (LinkId(self.next_link), LinkId(self.next_link + 1));
        self.next_link += 2;
        self.pipes.insert(one, Pipe { to: a, other, frames: VecDeque::new(), budget: None, is_dead: false });
        self.pipes
            .insert(other, Pipe { to: b, other: one, frames: VecDeque::new(), budget: None, is_dead: false });
        for (at, link, dialled, address) in [(a, one, true, b), (b, other, false, a)] {
            let now = self.now(at);
            let up = Input::LinkUp { link, kind, address: format!("node {address}"), dialled };
            self.node(at).handle(up, now).unwrap();
        }
        one
    }

    /// The number that the other end of a link has for it.
    pub fn other_end(&self, link: LinkId) -> LinkId {
        self.pipes[&link].other
    }

    /// Takes a link down at both ends; what was on its way is lost.
    pub fn cut(&mut self, link: LinkId) {
        let Some(pipe) = self.pipes.remove(&link) else { return };
        let other = self.pipes.remove(&pipe.other).expect("a pipe has two ends");
        for (at, link) in [(pipe.to, link), (other.to, pipe.other)] {
            let now = self.now(at);
            if let Some(node) = self.nodes[at].node.as_mut() {
                let _ = node.handle(Input::LinkDown { link }, now);
            }
        }
    }

    /// Takes all links down.
    pub fn cut_all(&mut self) {
        while let Some(link) = self.pipes.keys().next().copied() {
            self.cut(link);
        }
    }

    /// Takes a link down at its dialling end only: the other one still believes in it.
    pub fn lose_silently(&mut self, link: LinkId) {
        let pipe = self.pipes.get_mut(&link).expect("it is up");
        let at = pipe.to;
        pipe.frames.clear();
        pipe.is_dead = true;
        let other = pipe.other;
        let end = self.pipes.get_mut(&other).expect("a pipe has two ends");
        end.frames.clear();
        end.is_dead = true;
        let now = self.now(at);
        self.node(at).handle(Input::LinkDown { link }, now).unwrap();
    }

    /// Lets only so many more frames through to the end with that number, then cuts the link.
    pub fn cut_after(&mut self, link: LinkId, frames: usize) {
        self.pipes.get_mut(&link).expect("it is up").budget = Some(frames);
    }

    /// Puts a frame on its way to the end with that number.
    pub fn inject(&mut self, link: LinkId, frame: Vec<u8>) {
        self.sent += 1;
        self.pipes.get_mut(&link).expect("it is up").frames.push_back((self.sent, frame));
    }

    /// Commits at a node and takes what it gives, without delivering it.
    pub fn pump(&mut self, at: At) {
        let now = self.now(at);
        let Member { node: Some(node), events, .. } = &mut self.nodes[at] else { return };
        let Ok(mut outbox) = node.commit(now) else { return };
        let mut closes = Vec::new();
        while let Some(output) = outbox.next_output() {
            match output {
                Output::Close { link, why } => closes.push((link, why)),
                Output::Event(event) => events.push(event),
            }
        }
        let mut out = Vec::new();
        for link in outbox.links_with_frames() {
            while let Some(frame) = outbox.next_frame(link, now).unwrap() {
                assert!(frame.len() <= meshlink_core::limits::FRAME_BYTES_MAX);
                out.push((link, frame));
            }
        }
        let silent = outbox.links_with_frames();
        assert_eq!(silent, [], "a link that gave no frame has none");
        for (link, frame) in out {
            let Some(other) = self.pipes.get(&link).map(|pipe| pipe.other) else { continue };
            let pipe = self.pipes.get_mut(&other).expect("a pipe has two ends");
            if !pipe.is_dead {
                self.sent += 1;
                pipe.frames.push_back((self.sent, frame));
            }
        }
        for (link, why) in closes {
            self.closes.push((at, why));
            self.cut(link);
        }
    }

    /// Delivers one frame, if one is on its way.
    pub fn step(&mut self) -> bool {
        for at in 0..self.nodes.len() {
            self.pump(at);
        }
        let Some(link) = self.next_arrival() else { return false };
        let pipe = self.pipes.get_mut(&link).expect("found just now");
        if pipe.budget == Some(0) {
            self.cut(link);
            return true;
        }
        pipe.budget = pipe.budget.map(|left| left - 1);
        let (at, (_, frame)) = (pipe.to, pipe.frames.pop_front().expect("found just now"));
        self.frames += 1;
        self.bytes += frame.len() as u64;
        let now = self.now(at);
        if let Some(node) = self.nodes[at].node.as_mut() {
            let _ = node.handle(Input::Frame { link, bytes: &frame }, now);
        }
        true
    }

    /// The end at which the frame arrives that was sent first of those on their way.
    fn next_arrival(&self) -> Option<LinkId> {
        let fronts = self.pipes.iter().filter_map(|(link, pipe)| Some((pipe.frames.front()?.0, *link)));
        fronts.min().map(|(_, link)| link)
    }

    /// Delivers one frame without letting anybody commit.
    pub fn step_without_commit(&mut self) -> bool {
        let Some(link) = self.next_arrival() else { return false };
        let pipe = self.pipes.get_mut(&link).expect("found just now");
        let (at, (_, frame)) = (pipe.to, pipe.frames.pop_front().expect("found just now"));
        let now = self.now(at);
        self.node(at).handle(Input::Frame { link, bytes: &frame }, now).unwrap();
        true
    }

    /// Carries frames until nobody has anything to say.
    pub fn settle(&mut self) {
        let before = self.frames;
        while self.step() {
            assert!(self.frames - before < 100_000, "they never stop talking");
        }
    }

    /// Lets time go by, stopping at every deadline.
    pub fn pass(&mut self, ms: u64) {
        let end = self.mono_ms + ms;
        let mut stops = 0;
        loop {
            self.settle();
            let next = (0..self.nodes.len())
                .filter_map(|at| self.nodes[at].node.as_ref()?.poll_timeout())
                .map(|deadline| deadline.mono_ms.max(self.mono_ms))
                .min();
            match next.filter(|next| *next <= end) {
                Some(next) => {
                    stops += 1;
                    assert!(stops < 100_000, "deadlines that do not move");
                    self.mono_ms = next;
                }
                None => break,
            }
            for at in 0..self.nodes.len() {
                let now = self.now(at);
                if let Some(node) = self.nodes[at].node.as_mut() {
                    let _ = node.handle(Input::Timeout, now);
                }
            }
        }
        self.mono_ms = end;
        self.settle();
    }

    pub fn post(&mut self, at: At, text: &str) -> BundleId {
        self.post_with(at, text, Priority::Normal)
    }

    pub fn post_with(&mut self, at: At, text: &str, priority: Priority) -> BundleId {
        let now = self.now(at);
        self.node(at).submit(draft(text, priority), now).unwrap()
    }

    /// Texts of the messages shown at a node, oldest first.
    pub fn texts(&self, at: At) -> Vec<String> {
        self.messages(at).into_iter().map(|message| message.text).collect()
    }

    pub fn messages(&self, at: At) -> Vec<MessageRecord> {
        self.store(at).messages_after(Seq(0), 1_000_000).unwrap()
    }

    pub fn status(&self, at: At, id: &BundleId) -> MessageStatus {
        self.store(at).message(id).unwrap().expect("it is kept").status
    }

    /// The log of a node, without `Transport` events.
    pub fn log(&self, at: At) -> Vec<Event> {
        self.store(at).events_after(Seq(0), 1_000_000).unwrap().into_iter().map(|event| event.event).collect()
    }

    pub fn phases(&self, at: At) -> Vec<(LinkKind, LinkPhase)> {
        let node = self.nodes[at].node.as_ref().expect("it runs");
        node.links().map(|link| (link.kind, link.phase)).collect()
    }

    pub fn frames_waiting(&self, link: LinkId) -> usize {
        self.pipes.get(&link).map_or(0, |pipe| pipe.frames.len())
    }

    pub fn is_up(&self, link: LinkId) -> bool {
        self.pipes.contains_key(&link)
    }
}

pub fn draft(text: &str, priority: Priority) -> Draft {
    Draft { channel: "#mesh".to_owned(), text: text.to_owned(), lifetime_s: None, priority, reply_to: None }
}

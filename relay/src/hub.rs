//! Who hears what: topics, membership, presence, links between nodes, and the queues in between.
//!
//! The hub has no socket and no clock. Clients join and leave; what they say goes in through
//! [`Hub::post`] (text) and [`Hub::forward`] (link frames); [`Hub::flush`] hands out what came of it.
//!
//! ```text
//! read a, read b, read c ...      then, once per turn:
//!   post ──► log of the topic ──► members: ONE write of all they do not have yet
//!   forward ──► outbox of the addressee ──► one write
//! ```
//!
//! That is where the speed comes from: a post is encoded once, and a subscriber costs one system call per
//! turn, not one per post. Under load a turn serves a third of the members and then looks for news, so that
//! each write carries what came in three turns: nobody waits longer than the whole round would have taken
//! anyway, and there are fewer system calls. A single post goes to everyone at once. A client that can't take its bytes gets a queue ([`outbox`]) with a limit; over
//! the limit, a post costs it the connection ([`Cut`]) and a link frame costs it that link.
//!
//! A device id is a name that its bearer chose. It grants nothing and reserves nothing: two clients may bear
//! the same one (the older may be a dead connection that was not noticed yet), nodes tell them apart by
//! handle and trust neither before their own handshake.

mod allowance;
mod link;
mod outbox;
mod topic;

pub(crate) use allowance::Allowance;
pub(crate) use outbox::{Meter, Outbox};
pub(crate) use topic::Dialect;

use crate::frame::{self, Outgoing};
use crate::limits::{
    GATHERED_BYTES_MAX, NODES_PER_TOPIC_MAX, QUEUE_BYTES_MAX, QUEUE_ERROR_BYTES_MAX, QUEUED_BYTES_TOTAL_MAX,
    STALL_MS_MAX,
};
use crate::metrics::{Counters, Cut, Refusal};
use crate::post::{self, NoPost};
use link::Links;
use meshlink_api::relay::{ErrorFrame, MESSAGE_BYTES_MAX};
use std::collections::HashMap;
use std::io::IoSlice;
use topic::{Log, Spares, Topic};

/// Names a connection. Given out again only after the turn in which its client left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ClientId(pub(crate) usize);

/// A client that is about to join.
#[derive(Debug)]
pub(crate) struct Newcomer {
    pub(crate) dialect: Dialect,
    pub(crate) topic: String,
    pub(crate) device_id: String,
    /// Bytes to send before anything else.
    pub(crate) greeting: Vec<u8>,
}

/// Why a client can't join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CantJoin {
    /// The topic has as many nodes as it may.
    TopicFull,
    /// Every handle was given out once.
    HandlesUsedUp,
}

/// The hub of one relay.
#[derive(Debug)]
pub(crate) struct Hub {
    /// Posts per second of one client; 0 for no limit.
    max_rate: u32,
    members: Vec<Option<Member>>,
    json_clients: usize,
    /// By handle.
    nodes: HashMap<u32, ClientId>,
    last_handle: u32,
    topics: Vec<Topic>,
    topics_by_name: HashMap<Box<str>, usize>,
    topics_free: Vec<usize>,
    /// Bytes of posts since everyone had everything.
    gathered_bytes: usize,
    /// Topics with posts that not everyone has.
    hot: Vec<usize>,
    /// Members whose outbox got something in this turn.
    dirty: Vec<ClientId>,
    /// Members to be cut, found in this turn.
    doomed: Vec<(ClientId, Cut)>,
    spares: Spares,
    meter: Meter,
    pub(crate) counters: Counters,
}

#[derive(Debug)]
struct Member {
    topic: usize,
    topic_name: Box<str>,
    dialect: Dialect,
    /// Where it is in its group's list.
    seat: usize,
    /// Set for nodes.
    handle: u32,
    device_id: Box<str>,
    links: Links,
    rate: Allowance,
    outbox: Outbox,
    /// How far in its group's log it has got.
    cursor: u64,
    /// Where in that log its own last post ends.
    posted_to: u64,
    is_dirty: bool,
    is_doomed: bool,
}

impl Hub {
    pub(crate) fn new(max_rate: u32) -> Self {
        Self {
            max_rate,
            members: Vec::new(),
            json_clients: 0,
            nodes: HashMap::new(),
            last_handle: 0,
            topics: Vec::new(),
            topics_by_name: HashMap::new(),
            topics_free: Vec::new(),
            gathered_bytes: 0,
            hot: Vec::new(),
            dirty: Vec::new(),
            doomed: Vec::new(),
            spares: Spares::default(),
            meter: Meter::default(),
            counters: Counters::default(),
        }
    }

    /// Clients of both dialects.
    pub(crate) fn clients(&self) -> usize {
        self.json_clients + self.nodes.len()
    }

    pub(crate) fn nodes(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn topics(&self) -> usize {
        self.topics_by_name.len()
    }

    /// Bytes that wait for all clients together.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.meter.bytes()
    }

    /// An outbox for a client that is not in the hub: what it holds is counted here too.
    pub(crate) fn outbox(&self) -> Outbox {
        Outbox::new(self.meter.clone())
    }

    /// Whether there are posts that not everyone has: [`Hub::flush`] goes on with them.
    pub(crate) fn is_behind(&self) -> bool {
        !self.hot.is_empty()
    }

    /// Whether so much has gathered that everyone has to be served before more is read.
    pub(crate) fn wants_full_flush(&self) -> bool {
        self.gathered_bytes >= GATHERED_BYTES_MAX
    }

    /// Takes a client into its topic.
    ///
    /// # Errors
    /// [`CantJoin`], and nothing has changed.
    pub(crate) fn join(&mut self, client: ClientId, newcomer: Newcomer, now_ms: u64) -> Result<(), CantJoin> {
        let is_node = newcomer.dialect == Dialect::Node;
        if is_node {
            if self.last_handle == u32::MAX {
                return Err(CantJoin::HandlesUsedUp);
            }
            let known = self.topics_by_name.get(newcomer.topic.as_str());
            if known.is_some_and(|topic| self.topics[*topic].nodes.members.len() >= NODES_PER_TOPIC_MAX) {
                return Err(CantJoin::TopicFull);
            }
            self.last_handle += 1;
        }
        let topic = self.topic(&newcomer.topic);
        let group = self.topics[topic].group_mut(newcomer.dialect);
        let seat = group.join(client);
        let cursor = group.log.end();
        let mut outbox = self.outbox();
        outbox.append(now_ms, |out| out.extend_from_slice(&newcomer.greeting));
        let member = Member {
            topic,
            topic_name: newcomer.topic.into(),
            dialect: newcomer.dialect,
            seat,
            handle: if is_node { self.last_handle } else { 0 },
            device_id: newcomer.device_id.into(),
            links: Links::default(),
            rate: Allowance::new(self.max_rate, self.max_rate, now_ms),
            outbox,
            cursor,
            posted_to: 0,
            is_dirty: false,
            is_doomed: false,
        };
        if self.members.len() <= client.0 {
            self.members.resize_with(client.0 + 1, || None);
        }
        let before = self.members[client.0].replace(member);
        assert!(before.is_none(), "client {client:?} joins once");
        self.mark_dirty(client);
        match newcomer.dialect {
            Dialect::Json => self.json_clients += 1,
            Dialect::Node => self.introduce(client, now_ms),
        }
        Ok(())
    }

    /// The topic of this name, made if there is none.
    fn topic(&mut self, name: &str) -> usize {
        if let Some(topic) = self.topics_by_name.get(name) {
            return *topic;
        }
        let topic = self.topics_free.pop().unwrap_or_else(|| {
            self.topics.push(Topic::default());
            self.topics.len() - 1
        });
        self.topics_by_name.insert(name.into(), topic);
        topic
    }

    /// Takes a client out; returns what still waits for it. `None` if it was not in.
    pub(crate) fn leave(&mut self, client: ClientId, now_ms: u64) -> Option<Outbox> {
        let member = self.members.get_mut(client.0)?.take()?;
        let topic = &mut self.topics[member.topic];
        let group = topic.group_mut(member.dialect);
        let taken_over_by = group.leave(member.seat);
        if group.members.is_empty() {
            group.log.clear(&mut self.spares);
        }
        if let Some(moved) = taken_over_by {
            let moved = self.members[moved.0].as_mut().expect("whoever is listed in a topic is a member");
            moved.seat = member.seat;
        }
        match member.dialect {
            Dialect::Json => self.json_clients -= 1,
            Dialect::Node => self.withdraw(member.topic, member.handle, now_ms),
        }
        if self.topics[member.topic].is_empty() {
            self.topics[member.topic] = Topic::default();
            self.topics_by_name.remove(&member.topic_name);
            self.topics_free.push(member.topic);
        }
        Some(member.outbox)
    }

    /// A text frame: goes to everyone else in the topic, if it is a post. A node's goes to the clients of the
    /// JSON dialect only.
    pub(crate) fn post(&mut self, client: ClientId, text: &str, now_ms: u64) {
        let Some(member) = self.members.get_mut(client.0).and_then(Option::as_mut) else { return };
        self.counters.posts_in += 1;
        self.counters.bytes_in += text.len() as u64;
        if !member.rate.take(now_ms) {
            return self.refuse(client, Refusal::RateLimited, now_ms);
        }
        match post::check(text) {
            Ok(()) => {}
            Err(NoPost::InvalidJson) => return self.refuse(client, Refusal::InvalidJson, now_ms),
            Err(NoPost::MissingType) => return self.refuse(client, Refusal::MissingType, now_ms),
        }
        let topic = &mut self.topics[member.topic];
        self.gathered_bytes += topic.json.post(client, text, &mut self.spares);
        if member.dialect == Dialect::Json {
            self.gathered_bytes += topic.nodes.post(client, text, &mut self.spares);
        }
        member.posted_to = topic.group_mut(member.dialect).log.end();
        if !topic.is_hot {
            topic.is_hot = true;
            self.hot.push(member.topic);
        }
    }

    /// Tells a client, and nobody else, that something it sent was not passed on.
    pub(crate) fn refuse(&mut self, client: ClientId, refusal: Refusal, now_ms: u64) {
        self.counters.refused(refusal);
        let Some(member) = self.members.get(client.0).and_then(Option::as_ref) else { return };
        if member.outbox.cost() > QUEUE_ERROR_BYTES_MAX {
            return;
        }
        let error = ErrorFrame {
            kind: "ERROR".to_owned(),
            code: refusal.code().to_owned(),
            message: self.explain(refusal, member.dialect),
        };
        let text = serde_json::to_vec(&error).expect("an error frame is three strings");
        self.send(client, Outgoing::Text, &text, now_ms);
    }

    fn explain(&self, refusal: Refusal, dialect: Dialect) -> String {
        match (refusal, dialect) {
            (Refusal::InvalidJson, _) => "not JSON: send a text frame with one JSON object".to_owned(),
            (Refusal::MissingType, _) => r#"no "type": send an object with one string "type""#.to_owned(),
            (Refusal::TooLarge, _) => {
                format!("larger than {MESSAGE_BYTES_MAX} bytes, the most a message may have")
            }
            (Refusal::RateLimited, _) => {
                format!("more than {} messages per second; this one was dropped", self.max_rate)
            }
            (Refusal::InvalidFrame, Dialect::Json) => {
                "binary frames are for the subprotocol meshlink.v1; send a text frame".to_owned()
            }
            (Refusal::InvalidFrame, Dialect::Node) => {
                "no Data, Credit or Reset frame of the subprotocol meshlink.v1".to_owned()
            }
        }
    }

    /// Queues one frame for one client. A client whose queue is full is doomed.
    pub(crate) fn send(&mut self, client: ClientId, kind: Outgoing, payload: &[u8], now_ms: u64) {
        let Some(member) = self.members.get_mut(client.0).and_then(Option::as_mut) else { return };
        member.outbox.append(now_ms, |out| frame::put(kind, payload, out));
        self.mark_dirty(client);
    }

    /// The client can take bytes again.
    pub(crate) fn unblock(&mut self, client: ClientId) {
        let Some(member) = self.members.get_mut(client.0).and_then(Option::as_mut) else { return };
        member.outbox.unblock();
        if !member.outbox.is_empty() {
            self.mark_dirty(client);
        }
    }

    fn mark_dirty(&mut self, client: ClientId) {
        let Some(member) = self.members.get_mut(client.0).and_then(Option::as_mut) else { return };
        if !member.is_dirty {
            member.is_dirty = true;
            self.dirty.push(client);
        }
    }

    fn doom(&mut self, client: ClientId, cut: Cut) {
        let Some(member) = self.members.get_mut(client.0).and_then(Option::as_mut) else { return };
        if !member.is_doomed {
            member.is_doomed = true;
            self.doomed.push((client, cut));
        }
    }

    /// Hands out everything said since the last time: `write` takes bytes for a client, see
    /// [`outbox::Write`]. Returns the clients that have to be cut.
    pub(crate) fn flush(
        &mut self,
        now_ms: u64,
        mut write: impl FnMut(ClientId, &[IoSlice<'_>]) -> Option<usize>,
    ) -> Vec<(ClientId, Cut)> {
        let all = self.wants_full_flush();
        for topic in std::mem::take(&mut self.hot) {
            if !std::mem::take(&mut self.topics[topic].is_hot) {
                continue;
            }
            for dialect in [Dialect::Json, Dialect::Node] {
                if self.topics[topic].group_mut(dialect).is_behind() {
                    self.serve(topic, dialect, all, now_ms, &mut write);
                }
            }
            if self.topics[topic].is_behind() {
                self.topics[topic].is_hot = true;
                self.hot.push(topic);
            }
        }
        if self.hot.is_empty() {
            self.gathered_bytes = 0;
        }
        for client in std::mem::take(&mut self.dirty) {
            let Some(member) = self.members.get_mut(client.0).and_then(Option::as_mut) else { continue };
            member.is_dirty = false;
            if member.outbox.send(now_ms, &mut |slices: &[IoSlice<'_>]| write(client, slices)).is_err() {
                self.doom(client, Cut::Broken);
            } else if member.outbox.is_empty() {
                member.links.mend();
            } else if member.outbox.cost() > QUEUE_BYTES_MAX {
                self.doom(client, Cut::SlowReader);
            }
        }
        if self.queued_bytes() > QUEUED_BYTES_TOTAL_MAX {
            self.doom_longest();
        }
        std::mem::take(&mut self.doomed)
    }

    /// Serves the next round of a group, or everyone.
    fn serve(
        &mut self,
        topic: usize,
        dialect: Dialect,
        all: bool,
        now_ms: u64,
        write: &mut impl FnMut(ClientId, &[IoSlice<'_>]) -> Option<usize>,
    ) {
        let mut group = std::mem::take(self.topics[topic].group_mut(dialect));
        for seats in group.take_round(all) {
            self.hand_out(&group.log, &group.members[seats], now_ms, write);
        }
        if !group.is_behind() {
            group.log.clear(&mut self.spares);
        } else if group.log.wants_trim() {
            let cursor = |client: &ClientId| self.members[client.0].as_ref().map(|member| member.cursor);
            let oldest = group.members.iter().filter_map(cursor).min();
            group.log.trim(oldest.unwrap_or(group.log.end()));
        }
        *self.topics[topic].group_mut(dialect) = group;
    }

    fn hand_out(
        &mut self,
        log: &Log,
        clients: &[ClientId],
        now_ms: u64,
        write: &mut impl FnMut(ClientId, &[IoSlice<'_>]) -> Option<usize>,
    ) {
        let mut offer = log.offer();
        let mut parts = Vec::new();
        let end = log.end();
        for &client in clients {
            let member = self.members[client.0].as_mut().expect("whoever is listed in a topic is a member");
            if member.cursor == end {
                continue;
            }
            let is_poster = member.posted_to > member.cursor;
            let frames = log.parts(client, member.cursor, is_poster, &mut parts);
            member.cursor = end;
            self.counters.deliveries += frames as u64;
            let mut write = |slices: &[IoSlice<'_>]| write(client, slices);
            let sent = member.outbox.deliver(&mut offer, &parts, now_ms, &mut write);
            if sent.is_err() {
                self.doom(client, Cut::Broken);
            } else if !member.outbox.is_empty() {
                // Its queue is looked at with those that got something for themselves.
                self.mark_dirty(client);
            }
        }
    }

    /// All queues together are too long: the longest go, until the rest fits.
    fn doom_longest(&mut self) {
        let mut queues: Vec<(usize, ClientId)> = (self.members.iter().enumerate())
            .filter_map(|(i, member)| Some((member.as_ref()?.outbox.cost(), ClientId(i))))
            .filter(|(cost, _)| *cost > 0)
            .collect();
        queues.sort_unstable_by_key(|(cost, _)| std::cmp::Reverse(*cost));
        let mut over = self.queued_bytes() - QUEUED_BYTES_TOTAL_MAX;
        for (cost, client) in queues {
            self.doom(client, Cut::Memory);
            over = over.saturating_sub(cost);
            if over == 0 {
                return;
            }
        }
    }

    /// Looks for queues that do not move. They are cut with the next flush.
    pub(crate) fn sweep(&mut self, now_ms: u64) {
        for i in 0..self.members.len() {
            let stalled =
                self.members[i].as_ref().is_some_and(|m| m.outbox.stalled_ms(now_ms) > STALL_MS_MAX);
            if stalled {
                self.doom(ClientId(i), Cut::SlowReader);
            }
        }
    }
}

#[cfg(test)]
mod tests;

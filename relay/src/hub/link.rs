//! Links between nodes: presence and the forwarding of [`MeshFrame`]s.
//!
//! Nodes know each other by handle; the relay puts the sender's handle where the addressee's was and looks
//! no further. A link frame is never dropped in silence: both ends are told with `Reset` that the link is
//! over. That happens when the addressee's queue is full, and when a node sends on without waiting for
//! `Credit`, so that one node can't take the queue that all links to its neighbour share.

use super::{ClientId, Dialect, Hub, Member};
use crate::frame::{self, Outgoing};
use crate::limits::{
    LINK_BYTES_UNDER_WAY_MAX, LINKS_PER_NODE_MAX, QUEUE_ERROR_BYTES_MAX, QUEUE_LINK_BYTES_MAX,
};
use crate::metrics::Refusal;
use meshlink_api::relay::{HEADER_BYTES, MeshFrame};
use std::collections::HashMap;

const NOT_HERE: &str = "not here";
const QUEUE_FULL: &str = "queue full";
const NO_CREDIT: &str = "sent without credit";
const TOO_MANY: &str = "too many links";

/// What the relay knows of a node's links.
#[derive(Debug, Default)]
pub(super) struct Links {
    /// By the addressee's handle: payload bytes sent there and not yet credited.
    under_way: HashMap<u32, u32>,
    /// Whose frames to this node were dropped since its queue was last empty: what they still send belongs
    /// to a link that is over.
    broken: Vec<u32>,
}

impl Links {
    /// The node has read all it was sent: who was shut out may try again.
    pub(super) fn mend(&mut self) {
        self.broken = Vec::new();
    }

    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.under_way.is_empty() && self.broken.is_empty()
    }
}

impl Hub {
    /// A binary frame: goes to the node it names.
    pub(crate) fn forward(&mut self, client: ClientId, bytes: &[u8], now_ms: u64) {
        let Some(member) = self.members.get_mut(client.0).and_then(Option::as_mut) else { return };
        self.counters.link_frames_in += 1;
        self.counters.bytes_in += bytes.len() as u64;
        match (member.dialect, MeshFrame::decode(bytes)) {
            (Dialect::Node, Ok(frame @ MeshFrame::Data { handle, .. })) => {
                self.route(client, handle, frame, now_ms)
            }
            (Dialect::Node, Ok(frame @ MeshFrame::Credit { handle, .. })) => {
                self.route(client, handle, frame, now_ms)
            }
            (Dialect::Node, Ok(frame @ MeshFrame::Reset { handle, .. })) => {
                self.route(client, handle, frame, now_ms)
            }
            (Dialect::Node, Ok(MeshFrame::Present { .. } | MeshFrame::Gone { .. }) | Err(_))
            | (Dialect::Json, _) => {
                let refusal =
                    if member.rate.take(now_ms) { Refusal::InvalidFrame } else { Refusal::RateLimited };
                self.refuse(client, refusal, now_ms);
            }
        }
    }

    fn route(&mut self, client: ClientId, to: u32, frame: MeshFrame<'_>, now_ms: u64) {
        let (from, topic) = self.node(client);
        let addressee = self.nodes.get(&to).copied().filter(|addressee| *addressee != client);
        let Some(addressee) = addressee.filter(|addressee| self.node(*addressee).1 == topic) else {
            self.counters.dropped_not_here += 1;
            if !matches!(frame, MeshFrame::Reset { .. }) {
                self.tell_reset(client, to, NOT_HERE, now_ms);
            }
            return;
        };
        if let Err(why) = self.admit(client, from, addressee, to, frame) {
            return self.break_link(client, from, addressee, to, why, now_ms);
        }
        let frame = match frame {
            MeshFrame::Data { payload, .. } => MeshFrame::Data { handle: from, payload },
            MeshFrame::Credit { bytes, .. } => MeshFrame::Credit { handle: from, bytes },
            MeshFrame::Reset { why, .. } => MeshFrame::Reset { handle: from, why },
            other @ (MeshFrame::Present { .. } | MeshFrame::Gone { .. }) => other,
        };
        self.counters.link_frames_out += 1;
        self.send_link(addressee, frame, now_ms);
    }

    /// Whether the addressee has room for a frame; if so, notes what it means for the link.
    fn admit(
        &mut self,
        client: ClientId,
        from: u32,
        addressee: ClientId,
        to: u32,
        frame: MeshFrame<'_>,
    ) -> Result<(), &'static str> {
        let queued = self.member(addressee).outbox.cost();
        let links = &mut self.member(addressee).links;
        if links.broken.contains(&from) || queued + size(frame) > QUEUE_LINK_BYTES_MAX {
            return Err(QUEUE_FULL);
        }
        match frame {
            MeshFrame::Data { payload, .. } => {
                let under_way = &mut self.member(client).links.under_way;
                if under_way.len() >= LINKS_PER_NODE_MAX && !under_way.contains_key(&to) {
                    return Err(TOO_MANY);
                }
                let bytes = under_way.entry(to).or_default();
                *bytes = bytes.saturating_add(u32::try_from(payload.len()).unwrap_or(u32::MAX));
                if *bytes > LINK_BYTES_UNDER_WAY_MAX {
                    return Err(NO_CREDIT);
                }
            }
            MeshFrame::Credit { bytes, .. } => {
                if let Some(left) = links.under_way.get_mut(&from) {
                    *left = left.saturating_sub(bytes);
                    if *left == 0 {
                        links.under_way.remove(&from);
                    }
                }
            }
            MeshFrame::Reset { .. } => {
                links.under_way.remove(&from);
                self.member(client).links.under_way.remove(&to);
            }
            MeshFrame::Present { .. } | MeshFrame::Gone { .. } => {}
        }
        Ok(())
    }

    /// A frame can't be passed on, so its link is over: tells both ends.
    fn break_link(
        &mut self,
        client: ClientId,
        from: u32,
        addressee: ClientId,
        to: u32,
        why: &str,
        now_ms: u64,
    ) {
        self.counters.dropped_queue_full += u64::from(why == QUEUE_FULL);
        self.counters.dropped_no_credit += u64::from(why != QUEUE_FULL);
        self.member(client).links.under_way.remove(&to);
        self.tell_reset(client, to, why, now_ms);
        let links = &mut self.member(addressee).links;
        links.under_way.remove(&from);
        if !links.broken.contains(&from) {
            if why == QUEUE_FULL {
                links.broken.push(from);
            }
            self.send_link(addressee, MeshFrame::Reset { handle: from, why }, now_ms);
        }
    }

    /// Answers a node that its link is over, unless it does not read the answers.
    fn tell_reset(&mut self, client: ClientId, handle: u32, why: &str, now_ms: u64) {
        if self.member(client).outbox.cost() <= QUEUE_ERROR_BYTES_MAX {
            self.send_link(client, MeshFrame::Reset { handle, why }, now_ms);
        }
    }

    /// Tells a node that just joined who is there, and them that it is.
    pub(super) fn introduce(&mut self, client: ClientId, now_ms: u64) {
        let (handle, topic) = self.node(client);
        self.nodes.insert(handle, client);
        let device_id = self.member(client).device_id.clone();
        for other in self.topics[topic].nodes.members.clone() {
            if other == client {
                continue;
            }
            self.send_link(other, MeshFrame::Present { handle, device_id: &device_id }, now_ms);
            let (handle, _) = self.node(other);
            let device_id = self.member(other).device_id.clone();
            self.send_link(client, MeshFrame::Present { handle, device_id: &device_id }, now_ms);
        }
    }

    /// Tells the nodes of a topic that one of them left.
    pub(super) fn withdraw(&mut self, topic: usize, handle: u32, now_ms: u64) {
        self.nodes.remove(&handle);
        for other in self.topics[topic].nodes.members.clone() {
            self.member(other).links.under_way.remove(&handle);
            self.send_link(other, MeshFrame::Gone { handle }, now_ms);
        }
    }

    fn send_link(&mut self, client: ClientId, frame: MeshFrame<'_>, now_ms: u64) {
        self.member(client).outbox.append(now_ms, |out| {
            frame::put_header(Outgoing::Binary, size(frame), out);
            frame.encode_into(out);
        });
        self.mark_dirty(client);
    }

    /// Handle and topic of a node.
    fn node(&self, client: ClientId) -> (u32, usize) {
        let member = self.members[client.0].as_ref().expect("whoever has a handle is a member");
        (member.handle, member.topic)
    }

    fn member(&mut self, client: ClientId) -> &mut Member {
        self.members[client.0].as_mut().expect("whoever has a handle is a member")
    }
}

/// Bytes of an encoded frame.
fn size(frame: MeshFrame<'_>) -> usize {
    HEADER_BYTES
        + match frame {
            MeshFrame::Present { device_id, .. } => device_id.len(),
            MeshFrame::Gone { .. } => 0,
            MeshFrame::Data { payload, .. } => payload.len(),
            MeshFrame::Credit { .. } => 4,
            MeshFrame::Reset { why, .. } => why.len(),
        }
}

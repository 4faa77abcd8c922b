//! Who hears whom: wires come up, carry frames one after the other, and are cut.

use meshlink_core::event::LinkKind;
use meshlink_core::id::LinkId;
use meshlink_core::node::Input;

use super::{Happening, Life, World};
use crate::wire::{End, Wire, transmission_ms};

impl World {
    pub(super) fn meet(&mut self, a: usize, b: usize, for_ms: u64, kind: u8) {
        let both_run = [a, b].iter().all(|&n| matches!(self.nodes[n].life, Life::Running(_)));
        if !both_run {
            return;
        }
        let kind = [LinkKind::Ble, LinkKind::Lan, LinkKind::Relay][usize::from(kind)];
        let ends = [a, b].map(|node| {
            self.nodes[node].next_link += 1;
            End { node, link: LinkId(self.nodes[node].next_link), sending: false, up: true }
        });
        self.planned += 1;
        let number = self.planned;
        self.wires.insert(number, Wire { ends, kind });
        self.report.links += 1;
        self.plan_at(self.now_ms.saturating_add(for_ms), Happening::Cut { wire: number });
        for (side, end) in ends.into_iter().enumerate() {
            let address = format!("node {}", ends[1 - side].node);
            self.feed(end.node, Input::LinkUp { link: end.link, kind, address, dialled: side == 0 });
        }
    }

    pub(super) fn wires_of(&self, node: usize) -> Vec<u64> {
        let touches = |wire: &Wire| wire.ends.iter().any(|end| end.node == node);
        self.wires.iter().filter(|(_, wire)| touches(wire)).map(|(number, _)| *number).collect()
    }

    pub(super) fn cut(&mut self, number: u64) {
        let Some(wire) = self.wires.remove(&number) else { return };
        for end in wire.ends {
            if end.up {
                self.feed(end.node, Input::LinkDown { link: end.link });
            }
        }
    }

    pub(super) fn arrive(&mut self, number: u64, side: usize, frame: &[u8]) {
        let Some(wire) = self.wires.get(&number) else { return };
        let end = wire.ends[side];
        if end.up {
            self.feed(end.node, Input::Frame { link: end.link, bytes: frame });
        }
    }

    pub(super) fn sent(&mut self, number: u64, side: usize) {
        let Some(wire) = self.wires.get_mut(&number) else { return };
        wire.ends[side].sending = false;
        let node = wire.ends[side].node;
        self.settle(node);
    }

    pub(super) fn idle_ends(&self, index: usize) -> Vec<(u64, usize, LinkId)> {
        let mut ends = Vec::new();
        for number in self.wires_of(index) {
            for (side, end) in self.wires[&number].ends.iter().enumerate() {
                if end.node == index && end.up && !end.sending {
                    ends.push((number, side, end.link));
                }
            }
        }
        ends
    }

    pub(super) fn transmit(&mut self, number: u64, side: usize, frame: Vec<u8>) {
        let Some(wire) = self.wires.get_mut(&number) else { return };
        wire.ends[side].sending = true;
        self.report.frames += 1;
        self.report.bytes += frame.len() as u64;
        let sent_ms = self.now_ms + transmission_ms(frame.len(), self.plan.bandwidth_bytes_per_s);
        let arrives_ms = sent_ms + self.plan.latency_ms;
        self.plan_at(sent_ms, Happening::Sent { wire: number, side });
        if self.faults && self.dice.chance(self.plan.repeated_frame) {
            self.plan_at(
                arrives_ms,
                Happening::Arrive { wire: number, side: 1 - side, frame: frame.clone() },
            );
        }
        self.plan_at(arrives_ms, Happening::Arrive { wire: number, side: 1 - side, frame });
    }

    /// A node closed its end: the other one notices a moment later.
    pub(super) fn hang_up(&mut self, index: usize, link: LinkId) {
        let found = self.wires.iter().find_map(|(number, wire)| Some((*number, wire.side_of(index, link)?)));
        let Some((number, side)) = found else { return };
        if let Some(wire) = self.wires.get_mut(&number) {
            wire.ends[side].up = false;
        }
        self.plan_at(self.now_ms + self.plan.latency_ms, Happening::Cut { wire: number });
    }
}

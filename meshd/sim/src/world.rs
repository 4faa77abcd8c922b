//! The virtual world: time, nodes, wires, and what happens to them.
//!
//! One queue of happenings ordered by time and then by the order in which they were planned. A node is driven
//! as the daemon drives it: handle what came in, commit, take what the outbox gives. Crashes strike between
//! those steps, where the daemon could be killed: before the commit what was handled is gone, after it what
//! was committed stays and nothing of it was said.

mod wires;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use meshlink_core::clock::Now;
use meshlink_core::event::Event;
use meshlink_core::flaw::Flaw as CoreFlaw;
use meshlink_core::id::{BundleId, LinkId};
use meshlink_core::identity::Identity;
use meshlink_core::limits::Limits;
use meshlink_core::mem::{Flaw, MemStore};
use meshlink_core::node::{Draft, Input, Node, Output, SubmitError};
use meshlink_core::store::{Priority, Store, StoredBundle};

use crate::dice::Dice;
use crate::oracle::Oracle;
use crate::report::Report;
use crate::scenario::Scenario;
use crate::treason;
use crate::wire::Wire;

/// 1 January 2026: what the worlds' clocks show at the start, in milliseconds since 1970.
const EPOCH_UNIX_MS: u64 = 1_767_225_600_000;
const DAY_MS: i64 = 24 * 3_600 * 1_000;
const TEN_YEARS_MS: u64 = 10 * 365 * 24 * 3_600 * 1_000;
/// The longest a world may run without time passing, in happenings: a loop between two nodes.
const STEPS_AT_ONE_TIME_MAX: u32 = 100_000;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Submit { node: usize, bytes: u64 },
    Meet { a: usize, b: usize, for_ms: u64, kind: u8 },
    Cut { wire: u64 },
    Arrive { wire: u64, side: usize, frame: Vec<u8> },
    Sent { wire: u64, side: usize },
    Wake { node: usize, mono_ms: u64 },
    Crash { node: usize, before_commit: bool },
    Restart { node: usize },
    ClockJump { node: usize },
    Betray { how: u8 },
    Heal,
}

enum Life {
    Running(Box<Node<MemStore>>),
    Down(Box<MemStore>),
    /// Only while it changes from one to the other.
    Between,
}

struct Inhabitant {
    life: Life,
    keys: [u8; 64],
    /// What it adds to the world's time to get its own; `None` without a clock.
    wall_offset_ms: Option<i64>,
    /// The world's time when it started: its monotonic clock counts from there.
    started_ms: u64,
    next_link: u64,
    wake_ms: Option<u64>,
    crash: Option<bool>,
}

/// See the module's text.
pub struct World {
    plan: Scenario,
    seed: u64,
    dice: Dice,
    now_ms: u64,
    planned: u64,
    queue: BinaryHeap<Reverse<(u64, u64, Happening)>>,
    nodes: Vec<Inhabitant>,
    wires: BTreeMap<u64, Wire>,
    oracle: Oracle,
    trace: blake3::Hasher,
    report: Report,
    faults: bool,
    flaw: Option<Flaw>,
    core_flaw: Option<CoreFlaw>,
    /// What the traitor had and dropped.
    archive: Vec<StoredBundle>,
    checked: BTreeMap<usize, (usize, [u64; 3])>,
}

impl World {
    /// Plans a world. Nothing has happened in it yet.
    pub fn new(plan: Scenario, seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let nodes = (0..plan.nodes).map(|_| inhabitant(&plan, &mut dice)).collect();
        let report = Report {
            seed,
            nodes: plan.nodes,
            acknowledged: 0,
            delivered_before_heal: 0,
            delivered: 0,
            deliveries_possible: 0,
            frames: 0,
            bytes: 0,
            links: 0,
            crashes: 0,
            simulated_s: 0,
            violations: Vec::new(),
            trace_hash: String::new(),
        };
        let mut world = Self {
            plan,
            seed,
            dice,
            now_ms: 0,
            planned: 0,
            queue: BinaryHeap::new(),
            nodes,
            wires: BTreeMap::new(),
            oracle: Oracle::default(),
            trace: blake3::Hasher::new(),
            report,
            faults: true,
            flaw: None,
            core_flaw: None,
            archive: Vec::new(),
            checked: BTreeMap::new(),
        };
        if world.plan.betrayals > 0 {
            world.oracle.betrays(world.plan.nodes - 1);
        }
        world.plan_happenings();
        world
    }

    /// Gives all stores a flaw that the world has to notice.
    pub fn with_flaw(mut self, flaw: Flaw) -> Self {
        self.flaw = Some(flaw);
        self
    }

    /// The same, of all nodes: a rule that they do not keep.
    pub fn with_core_flaw(mut self, flaw: CoreFlaw) -> Self {
        self.core_flaw = Some(flaw);
        self
    }

    fn plan_happenings(&mut self) {
        let plan = self.plan.clone();
        let end_ms = plan.duration_s * 1_000;
        for _ in 0..plan.messages {
            let node = self.any_node();
            let bytes = self.dice.between(1, plan.text_bytes_max);
            let at_ms = self.dice.between(0, end_ms);
            self.plan_at(at_ms, Happening::Submit { node, bytes });
        }
        for _ in 0..plan.encounters {
            let a = self.any_node();
            let b = (a + 1 + self.dice.between(0, plan.nodes as u64 - 2) as usize) % plan.nodes;
            let for_ms = self.dice.between(1, plan.encounter_s_max * 1_000);
            let kind = self.dice.between(0, 2) as u8;
            let at_ms = self.dice.between(0, end_ms);
            self.plan_at(at_ms, Happening::Meet { a, b, for_ms, kind });
            if self.dice.chance(plan.second_link) {
                let later_ms = at_ms + self.dice.between(0, for_ms);
                self.plan_at(later_ms, Happening::Meet { a: b, b: a, for_ms, kind: (kind + 1) % 3 });
            }
        }
        for _ in 0..plan.crashes {
            let crash = Happening::Crash { node: self.any_node(), before_commit: self.dice.chance(0.5) };
            let at_ms = self.dice.between(0, end_ms);
            self.plan_at(at_ms, crash);
        }
        for _ in 0..plan.clock_jumps {
            let jump = Happening::ClockJump { node: self.any_node() };
            let at_ms = self.dice.between(0, end_ms);
            self.plan_at(at_ms, jump);
        }
        for n in 0..plan.betrayals {
            let at_ms = self.dice.between(0, end_ms);
            self.plan_at(at_ms, Happening::Betray { how: (n % 3) as u8 });
        }
        self.plan_at(end_ms + plan.away_s_max * 1_000 + 1, Happening::Heal);
    }

    /// Runs it to its end.
    pub fn run(mut self) -> Report {
        let end_ms = (self.plan.duration_s + self.plan.away_s_max + self.plan.heal_s) * 1_000;
        let mut steps_here = 0;
        for node in 0..self.nodes.len() {
            self.start(node, MemStore::default());
        }
        while let Some(Reverse((at_ms, _, happening))) = self.queue.pop() {
            if at_ms > end_ms || self.is_finished() {
                break;
            }
            steps_here = if at_ms == self.now_ms { steps_here + 1 } else { 0 };
            assert!(
                steps_here < STEPS_AT_ONE_TIME_MAX,
                "seed {}: time stands still at {at_ms} ms",
                self.seed
            );
            self.now_ms = at_ms;
            self.note(&happening);
            self.happen(happening);
        }
        self.finish()
    }

    /// After healing began: whether everybody has everything.
    fn is_finished(&self) -> bool {
        !self.faults && !self.plan.is_tight() && self.oracle.deliveries() == self.deliveries_possible()
    }

    fn deliveries_possible(&self) -> usize {
        self.oracle.arriving_elsewhere(self.nodes.len())
    }

    fn finish(mut self) -> Report {
        for (index, inhabitant) in self.nodes.iter().enumerate() {
            match &inhabitant.life {
                Life::Running(node) => self.oracle.check_kept(index, node.store()),
                Life::Down(store) => self.oracle.check_kept(index, store.as_ref()),
                Life::Between => {}
            }
        }
        self.oracle.check_nothing_is_made_up();
        if !self.plan.is_tight() {
            self.oracle.check_everybody_has_everything(self.nodes.len());
        }
        self.report.acknowledged = self.oracle.messages();
        self.report.delivered = self.oracle.deliveries();
        self.report.deliveries_possible = self.deliveries_possible();
        self.report.simulated_s = self.now_ms / 1_000;
        self.report.violations = self.oracle.violations().to_vec();
        self.report.trace_hash = self.trace.finalize().to_hex().to_string();
        self.report
    }

    fn any_node(&mut self) -> usize {
        self.dice.between(0, self.plan.nodes as u64 - 1) as usize
    }

    fn plan_at(&mut self, at_ms: u64, happening: Happening) {
        self.planned += 1;
        self.queue.push(Reverse((at_ms, self.planned, happening)));
    }

    fn note(&mut self, happening: &Happening) {
        self.trace.update(format!("{} {happening:?}\n", self.now_ms).as_bytes());
    }

    fn clock_of(&self, node: usize) -> Now {
        let inhabitant = &self.nodes[node];
        let unix_ms = inhabitant
            .wall_offset_ms
            .map(|offset| (EPOCH_UNIX_MS + self.now_ms).saturating_add_signed(offset));
        Now { mono_ms: self.now_ms - inhabitant.started_ms, unix_ms }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Submit { node, bytes } => self.submit(node, bytes),
            Happening::Meet { a, b, for_ms, kind } => self.meet(a, b, for_ms, kind),
            Happening::Cut { wire } => self.cut(wire),
            Happening::Arrive { wire, side, frame } => self.arrive(wire, side, &frame),
            Happening::Sent { wire, side } => self.sent(wire, side),
            Happening::Wake { node, mono_ms } => self.wake(node, mono_ms),
            Happening::Crash { node, before_commit } => self.nodes[node].crash = Some(before_commit),
            Happening::Restart { node } => self.restart(node),
            Happening::ClockJump { node } => self.jump_clock(node),
            Happening::Betray { how } => self.betray(how),
            Happening::Heal => self.heal(),
        }
    }

    fn start(&mut self, index: usize, store: MemStore) {
        self.nodes[index].started_ms = self.now_ms;
        let now = self.clock_of(index);
        let seed = self.dice.bytes();
        let identity = Identity::from_bytes(&self.nodes[index].keys);
        let mut store = store;
        store.plant(self.flaw);
        let mut node = Node::open(store, identity, seed, self.limits(), now).expect("a store in memory");
        node.plant(self.core_flaw);
        self.nodes[index].life = Life::Running(Box::new(node));
        self.settle(index);
    }

    fn limits(&self) -> Limits {
        Limits { store_bytes_max: self.plan.store_bytes, ..Limits::default() }
    }

    /// The last node keeps to nothing: it drops what it took, brings back what it had, or makes something up.
    fn betray(&mut self, how: u8) {
        let traitor = self.nodes.len() - 1;
        if !matches!(self.nodes[traitor].life, Life::Running(_)) || !self.faults {
            return;
        }
        let life = std::mem::replace(&mut self.nodes[traitor].life, Life::Between);
        let Life::Running(node) = life else { return };
        let mut store = node.into_store();
        store.rollback();
        self.wires_of(traitor).into_iter().for_each(|wire| self.cut(wire));
        let now_tl_ms = store.saved_clock().expect("a store in memory").timeline_ms;
        match how {
            0 => self.archive.extend(treason::drop_all(&mut store)),
            1 => treason::bring_back(&mut store, &self.archive, now_tl_ms),
            _ => {
                let keys = self.plan.stolen_keys.then(|| self.nodes[0].keys);
                treason::make_up(&mut store, keys, &mut self.dice);
            }
        }
        self.nodes[traitor].crash = None;
        self.start(traitor, store);
    }

    fn restart(&mut self, index: usize) {
        let life = std::mem::replace(&mut self.nodes[index].life, Life::Between);
        match life {
            Life::Down(store) => {
                self.oracle.reopened(index, store.as_ref());
                self.start(index, *store);
            }
            running @ (Life::Running(_) | Life::Between) => self.nodes[index].life = running,
        }
    }

    fn crash(&mut self, index: usize) {
        let life = std::mem::replace(&mut self.nodes[index].life, Life::Between);
        let Life::Running(node) = life else {
            self.nodes[index].life = life;
            return;
        };
        let mut store = node.into_store();
        store.rollback();
        self.nodes[index].life = Life::Down(Box::new(store));
        self.nodes[index].crash = None;
        self.report.crashes += 1;
        let cut: Vec<u64> = self.wires_of(index);
        for wire in cut {
            self.cut(wire);
        }
        let away_ms = self.dice.between(1, self.plan.away_s_max.max(1) * 1_000);
        self.plan_at(self.now_ms + away_ms, Happening::Restart { node: index });
    }

    fn jump_clock(&mut self, index: usize) {
        let by_ms = self.dice.between(0, 2 * TEN_YEARS_MS) as i64 - TEN_YEARS_MS as i64;
        if let Some(offset) = &mut self.nodes[index].wall_offset_ms {
            *offset += by_ms;
        }
    }

    fn submit(&mut self, index: usize, bytes: u64) {
        let now = self.clock_of(index);
        let letter = char::from(b'a' + self.dice.between(0, 25) as u8);
        let priority = match self.dice.between(0, 9) {
            0 => Priority::Sos,
            1 => Priority::Bulk,
            _ => Priority::Normal,
        };
        let draft = Draft {
            channel: "#mesh".into(),
            text: std::iter::repeat_n(letter, bytes as usize).collect(),
            lifetime_s: None,
            priority,
            reply_to: None,
        };
        let is_late = self.nodes[index].wall_offset_ms.is_some_and(|offset| offset < -DAY_MS);
        let Life::Running(node) = &mut self.nodes[index].life else { return };
        let id = match node.submit(draft, now) {
            Ok(id) => id,
            Err(SubmitError::StoreFull) => return,
            Err(error) => panic!("a draft within the limits: {error}"),
        };
        // Whether it was stored shows after the crash, if one comes between.
        self.oracle.unanswered(id);
        if self.settle(index) {
            self.oracle.acknowledged(index, id);
            if is_late {
                self.oracle.misdated(id);
            }
        }
    }

    fn wake(&mut self, index: usize, mono_ms: u64) {
        if self.nodes[index].wake_ms == Some(mono_ms) {
            self.nodes[index].wake_ms = None;
            self.feed(index, Input::Timeout);
        }
    }

    fn feed(&mut self, index: usize, input: Input<'_>) {
        let now = self.clock_of(index);
        let Life::Running(node) = &mut self.nodes[index].life else { return };
        node.handle(input, now).expect("a store in memory");
        self.settle(index);
    }

    /// Commits and takes out what the node gives; says whether the commit was reached.
    fn settle(&mut self, index: usize) -> bool {
        if self.nodes[index].crash == Some(true) {
            self.crash(index);
            return false;
        }
        let now = self.clock_of(index);
        let ends: Vec<(u64, usize, LinkId)> = self.idle_ends(index);
        let dies_after = self.nodes[index].crash == Some(false);
        let Life::Running(node) = &mut self.nodes[index].life else { return false };
        let mut outbox = node.commit(now).expect("a store in memory");
        if dies_after {
            self.crash(index);
            return true;
        }
        let mut outputs = Vec::new();
        while let Some(output) = outbox.next_output() {
            outputs.push(output);
        }
        let mut frames = Vec::new();
        for (wire, side, link) in ends {
            if let Some(frame) = outbox.next_frame(link, now).expect("a store in memory") {
                frames.push((wire, side, frame));
            }
        }
        let deadline = node.poll_timeout().map(|d| d.mono_ms);
        for (wire, side, frame) in frames {
            self.transmit(wire, side, frame);
        }
        self.plan_wake(index, deadline);
        self.check_shares(index);
        for output in outputs {
            self.take(index, output);
        }
        true
    }

    /// Where stores are small, after whatever changed what one holds.
    fn check_shares(&mut self, index: usize) {
        let limits = self.limits();
        let Life::Running(node) = &self.nodes[index].life else { return };
        let store = node.store();
        let newest = |priority| store.newest_row(priority).expect("a store in memory");
        let state = (store.bundles_held(), [Priority::Sos, Priority::Normal, Priority::Bulk].map(newest));
        if self.plan.is_tight() && self.checked.insert(index, state) != Some(state) {
            self.oracle.check_shares(index, store, &limits);
        }
    }

    fn plan_wake(&mut self, index: usize, deadline: Option<u64>) {
        let Some(mono_ms) = deadline else { return };
        if self.nodes[index].wake_ms.is_none_or(|planned| mono_ms < planned) {
            self.nodes[index].wake_ms = Some(mono_ms);
            let at_ms = (self.nodes[index].started_ms + mono_ms).max(self.now_ms);
            self.plan_at(at_ms, Happening::Wake { node: index, mono_ms });
        }
    }

    fn take(&mut self, index: usize, output: Output) {
        match output {
            Output::Event(logged) => {
                self.trace.update(format!("{index} {logged:?}\n").as_bytes());
                let held = match &logged.event {
                    Event::MessageStatus { id, .. } => self.held_elsewhere(index, id),
                    Event::MessageNew { .. }
                    | Event::PeerUp { .. }
                    | Event::PeerDown { .. }
                    | Event::LinkUp { .. }
                    | Event::LinkDown { .. }
                    | Event::Transport { .. }
                    | Event::ContactChanged { .. }
                    | Event::GroupChanged { .. } => true,
                };
                self.oracle.published(index, &logged, held);
            }
            Output::Close { link, .. } => self.hang_up(index, link),
        }
    }

    fn held_elsewhere(&self, index: usize, id: &BundleId) -> bool {
        self.nodes.iter().enumerate().filter(|(other, _)| *other != index).any(|(_, inhabitant)| {
            let store = match &inhabitant.life {
                Life::Running(node) => node.store(),
                Life::Down(store) => store.as_ref(),
                Life::Between => return false,
            };
            store.bundle(id).is_ok_and(|b| b.is_some()) || store.message(id).is_ok_and(|m| m.is_some())
        })
    }

    /// The end of all faults: everybody runs, knows the time if it has a clock at all, and is linked in a line
    /// until everything has arrived.
    fn heal(&mut self) {
        self.report.delivered_before_heal = self.oracle.deliveries();
        self.faults = false;
        let open: Vec<u64> = self.wires.keys().copied().collect();
        for wire in open {
            self.cut(wire);
        }
        for node in 0..self.nodes.len() {
            self.nodes[node].crash = None;
            self.nodes[node].wall_offset_ms = self.nodes[node].wall_offset_ms.map(|_| 0);
            self.restart(node);
        }
        for node in 1..self.nodes.len() {
            self.meet(node - 1, node, u64::MAX / 2, 1);
        }
    }
}

fn inhabitant(plan: &Scenario, dice: &mut Dice) -> Inhabitant {
    let wall_offset_ms =
        if dice.chance(plan.clockless) { None } else { Some(dice.between(0, 10_000) as i64) };
    Inhabitant {
        life: Life::Between,
        keys: dice.bytes(),
        wall_offset_ms,
        started_ms: 0,
        next_link: 0,
        wake_ms: None,
        crash: None,
    }
}

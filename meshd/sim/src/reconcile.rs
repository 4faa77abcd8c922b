//! What it costs two nodes to find out what each lacks: two real nodes on a link, under a virtual clock; their
//! processor time is real.

use std::time::Duration;

use meshlink_core::clock::Now;
use meshlink_core::event::{LinkKind, LinkPhase};
use meshlink_core::id::{BundleId, LinkId, NodeId};
use meshlink_core::identity::Identity;
use meshlink_core::limits::{HOPS_MAX, Limits};
use meshlink_core::mem::MemStore;
use meshlink_core::node::{Input, Node, Output};
use meshlink_core::store::{Class, Priority, Store, StoredBundle};
use serde::Serialize;

use crate::wire::transmission_ms;

/// 1 January 2026, in milliseconds since 1970.
const NOW_UNIX_MS: u64 = 1_767_225_600_000;
/// Arrivals after which something is wrong.
const STEPS_MAX: u64 = 1_000_000;

/// Which bundles only one of the two nodes holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// Any.
    Spread,
    /// The newest.
    Newest,
    /// None: the two hold the same.
    None,
}

/// What to measure.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Bundles in all, both nodes' together.
    pub n: u64,
    /// How many of them only one holds, each about half.
    pub d: u64,
    /// Which.
    pub shape: Shape,
    /// Bytes a second each way.
    pub bandwidth_bytes_per_s: u64,
    /// Delay of a frame each way, in milliseconds.
    pub latency_ms: u64,
    /// Makes the ids.
    pub seed: u64,
}

/// What it cost.
#[derive(Debug, Clone, Serialize)]
pub struct Cost {
    /// Bundles in all.
    pub n: u64,
    /// Those only one node holds, as it came out.
    pub d: u64,
    /// Which.
    pub shape: Shape,
    /// Bytes both ways until both knew: all messages of the reconciliation, and the encryption of their frames.
    pub bytes: u64,
    /// The same for each difference; 0 without one.
    pub bytes_per_diff: f64,
    /// What d ids of 64 bits take at least, when the other side's are known, in bytes for each.
    pub limit_bytes_per_diff: f64,
    /// Times that the side which began had to wait for an answer until it knew both differences.
    pub round_trips: u64,
    /// Frames of it, the side's that dialled and the other's.
    pub frames: [u64; 2],
    /// Processor time of the side that dialled and of the other, in milliseconds, with its encryption.
    pub cpu_ms: [f64; 2],
    /// Virtual time until the side that dialled knew both differences, in milliseconds.
    pub known_ms: u64,
    /// Processor time it took to make each node's summary of its store, once after its start, in milliseconds.
    pub first_ms: [f64; 2],
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "n={} d={} {:?}: {} bytes, {:.1} a difference (limit {:.1}), {} round trips, cpu {:.1} and {:.1} ms, \
             known after {} ms (first encounter after a start: {:.0} and {:.0} ms more)",
            self.n,
            self.d,
            self.shape,
            self.bytes,
            self.bytes_per_diff,
            self.limit_bytes_per_diff,
            self.round_trips,
            self.cpu_ms[0],
            self.cpu_ms[1],
            self.known_ms,
            self.first_ms[0],
            self.first_ms[1],
        )
    }
}

struct Side {
    node: Node<MemStore>,
    /// Frames on their way to it, and when each arrives.
    inbox: std::collections::VecDeque<(u64, Vec<u8>)>,
    /// When its end of the link is free again.
    free_ms: u64,
    cpu: Duration,
}

const LINK: LinkId = LinkId(1);

/// Measures one reconciliation.
///
/// # Errors
/// The two nodes come to no end.
pub fn measure(plan: Plan) -> anyhow::Result<Cost> {
    let [ours, theirs] = sets(plan);
    let d = (ours.1 + theirs.1) as u64;
    let mut sides = [(ours.0, 1), (theirs.0, 2)].map(|(ids, secret)| Side::new(&ids, secret));
    let first_ms = prepare(&mut sides)?;
    let mut pair = Pair { sides, plan, now_ms: 1_000 };
    pair.link_up();
    let known_ms = pair.run()?;
    let [one, other] = &pair.sides;
    let spent = [one, other].map(|side| side.node.spent_on_reconciling(LINK).unwrap_or_default());
    let bytes = spent[0].bytes + spent[1].bytes;
    Ok(Cost {
        n: plan.n,
        d,
        shape: plan.shape,
        bytes,
        bytes_per_diff: if d == 0 { 0.0 } else { bytes as f64 / d as f64 },
        limit_bytes_per_diff: limit(d),
        round_trips: spent[0].questions,
        frames: spent.map(|spent| spent.frames),
        cpu_ms: [one.cpu, other.cpu].map(|cpu| cpu.as_secs_f64() * 1e3),
        known_ms,
        first_ms,
    })
}

/// log2 of the number of sets of d ids of 64 bits, in bytes for each id.
fn limit(d: u64) -> f64 {
    if d == 0 {
        return 0.0;
    }
    let bits: f64 = (1..=d).map(|k| 64.0 - (k as f64).log2()).sum();
    bits / 8.0 / d as f64
}

/// Each node's ids, oldest first, and how many of them are only its own.
fn sets(plan: Plan) -> [(Vec<BundleId>, usize); 2] {
    let mut sides = [(Vec::new(), 0), (Vec::new(), 0)];
    let mut dice = crate::dice::Dice::new(plan.seed);
    let mut left = if plan.shape == Shape::None { 0 } else { plan.d.min(plan.n) };
    for n in 0..plan.n {
        let id = BundleId(*blake3::hash(&[plan.seed.to_be_bytes(), n.to_be_bytes()].concat()).as_bytes());
        let remaining = plan.n - n;
        let differs = match plan.shape {
            Shape::None => false,
            Shape::Newest => remaining <= left,
            Shape::Spread => dice.between(1, remaining) <= left,
        };
        if differs {
            let side = &mut sides[(left % 2) as usize];
            side.0.push(id);
            side.1 += 1;
            left -= 1;
        } else {
            sides.iter_mut().for_each(|side| side.0.push(id));
        }
    }
    sides
}

impl Side {
    fn new(ids: &[BundleId], secret: u8) -> Self {
        let mut store = MemStore::new();
        for id in ids {
            store.insert_bundle(&bundle(*id)).expect("a store in memory");
        }
        store.commit().expect("a store in memory");
        let limits = Limits { store_bundles_max: 10_000_000, store_bytes_max: 1 << 40, ..Limits::default() };
        let identity = Identity::from_bytes(&[secret; 64]);
        let node = Node::open(store, identity, [secret; 32], limits, now(0)).expect("a store in memory");
        Self { node, inbox: Default::default(), free_ms: 0, cpu: Duration::ZERO }
    }
}

/// A bundle of which only the id matters: it has gone too far and is too old to be handed over.
fn bundle(id: BundleId) -> StoredBundle {
    StoredBundle {
        id,
        kind: 900,
        priority: Priority::Normal,
        class: Class::Stranger,
        origin: None,
        header: Vec::new(),
        payload: Vec::new(),
        auth: Vec::new(),
        age_ms: 0,
        received_tl_ms: 0,
        expires_tl_ms: 1,
        hops: HOPS_MAX,
        copies: 8,
        ingress: Some(NodeId([9; NodeId::BYTES])),
        unshown_in: None,
        commitment: None,
    }
}

fn now(mono_ms: u64) -> Now {
    Now { mono_ms, unix_ms: Some(NOW_UNIX_MS + mono_ms) }
}

/// As after a first encounter, each node has summed up what it holds.
fn prepare(sides: &mut [Side; 2]) -> anyhow::Result<[f64; 2]> {
    let mut took = [0.0; 2];
    for (side, took) in sides.iter_mut().zip(&mut took) {
        let start = cpu_time();
        side.node.prepare_to_meet()?;
        *took = (cpu_time() - start).as_secs_f64() * 1e3;
    }
    Ok(took)
}

struct Pair {
    sides: [Side; 2],
    plan: Plan,
    now_ms: u64,
}

impl Pair {
    fn link_up(&mut self) {
        for (n, side) in self.sides.iter_mut().enumerate() {
            let up =
                Input::LinkUp { link: LINK, kind: LinkKind::Ble, address: String::new(), dialled: n == 0 };
            side.node.handle(up, now(self.now_ms)).expect("a store in memory");
        }
    }

    /// Carries frames until both sides know what they lack; says when the side that dialled did.
    fn run(&mut self) -> anyhow::Result<u64> {
        let (mut known_ms, mut met_ms) = (None, None);
        for _ in 0..STEPS_MAX {
            self.send()?;
            if met_ms.is_none() && self.is_met(0) {
                met_ms = Some(self.now_ms);
            }
            if known_ms.is_none() && self.is_live(0) {
                known_ms = met_ms.map(|met_ms| self.now_ms - met_ms);
            }
            if let Some(known_ms) = known_ms.filter(|_| self.is_live(1)) {
                return Ok(known_ms);
            }
            let arrivals = self.sides.iter().filter_map(|side| side.inbox.front().map(|(at, _)| *at));
            let frees = self.sides.iter().map(|side| side.free_ms).filter(|free| *free > self.now_ms);
            let next = arrivals.chain(frees).min();
            self.now_ms = next.ok_or_else(|| anyhow::anyhow!("the two nodes have nothing more to say"))?;
            self.arrive();
        }
        anyhow::bail!("the two nodes come to no end")
    }

    fn phase(&self, side: usize) -> Option<LinkPhase> {
        self.sides[side].node.links().next().map(|link| link.phase)
    }

    fn is_live(&self, side: usize) -> bool {
        self.phase(side) == Some(LinkPhase::Live)
    }

    fn is_met(&self, side: usize) -> bool {
        self.phase(side).is_some_and(|phase| phase != LinkPhase::Handshake)
    }

    fn arrive(&mut self) {
        for n in 0..2 {
            let is_met = self.is_met(n);
            let side = &mut self.sides[n];
            while side.inbox.front().is_some_and(|(at, _)| *at <= self.now_ms) {
                let (_, bytes) = side.inbox.pop_front().expect("there is one");
                let start = cpu_time();
                let frame = Input::Frame { link: LINK, bytes: &bytes };
                side.node.handle(frame, now(self.now_ms)).expect("a store in memory");
                // The handshake is another matter.
                side.cpu += if is_met { cpu_time() - start } else { Duration::ZERO };
            }
        }
    }

    fn send(&mut self) -> anyhow::Result<()> {
        let mut closed = None;
        for from in 0..2 {
            let is_met = self.is_met(from);
            let side = &mut self.sides[from];
            if side.free_ms > self.now_ms {
                continue;
            }
            let start = cpu_time();
            let mut outbox = side.node.commit(now(self.now_ms)).expect("a store in memory");
            while let Some(output) = outbox.next_output() {
                if let Output::Close { why, .. } = output {
                    closed = Some(why);
                }
            }
            let frame = outbox.next_frame(LINK, now(self.now_ms)).expect("a store in memory");
            side.cpu += if is_met { cpu_time() - start } else { Duration::ZERO };
            let Some(frame) = frame else { continue };
            side.free_ms = self.now_ms + transmission_ms(frame.len(), self.plan.bandwidth_bytes_per_s);
            let arrives_ms = side.free_ms + self.plan.latency_ms;
            self.sides[1 - from].inbox.push_back((arrives_ms, frame));
        }
        closed.map_or(Ok(()), |why| Err(anyhow::anyhow!("a node hung up: {why}")))
    }
}

/// Processor time this thread has used.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

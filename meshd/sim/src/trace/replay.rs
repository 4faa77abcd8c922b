//! The real nodes, going through a trace.
//!
//! Each person carries a node, each encounter is a link: it comes up after the set-up time, carries frames one after
//! the other with the bandwidth there is, and goes down when the two part. A letter is a sealed message between two who
//! are contacts before the trace begins ([`super::acquaint`]); carriers can't tell for whom it is, and drop it when its
//! receipt comes by. Nodes are driven as the daemon drives them: handle, commit, take what the outbox gives.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use meshlink_core::clock::Now;
use meshlink_core::event::{Event, LinkKind};
use meshlink_core::flaw::Flaw;
use meshlink_core::id::{BundleId, LinkId};
use meshlink_core::identity::Identity;
use meshlink_core::limits::Limits;
use meshlink_core::mem::MemStore;
use meshlink_core::node::{Draft, Input, Node, Output, PrivateDraft};
use meshlink_core::store::{Class, Priority, Store};
use meshlink_core::tally::Loss;

use crate::dice::Dice;
use crate::flood::Spammer;
use crate::liars::Liars;
use crate::wire::transmission_ms;

use super::acquaint::acquaint;
use super::contacts::Contacts;
use super::models::Achieved;
use super::work::{Letter, Notice};

/// 1 January 2026, in milliseconds since 1970.
const EPOCH_UNIX_MS: u64 = 1_767_225_600_000;

/// What the radios are like.
#[derive(Debug, Clone, Copy)]
pub struct Radio {
    /// Bytes a second each way.
    pub bandwidth_bytes_per_s: u64,
    /// From the moment two can hear each other until their link is up, in milliseconds.
    pub setup_ms: u64,
    /// Delay of a frame, in milliseconds.
    pub latency_ms: u64,
}

/// What a run came to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Replayed {
    /// The letters.
    pub achieved: Achieved,
    /// Bytes of all frames, handshakes and all.
    pub bytes: u64,
    /// Links that came up.
    pub links: u64,
    /// Posts that an attacker brought.
    pub spam: u64,
    /// Bytes counted in the fullest store of anybody else, at any time; only while there is an attacker.
    pub fullest_bytes: u64,
    /// Of each notice, who was shown it besides who said it.
    pub heard: Vec<BTreeSet<usize>>,
    /// Letters that came to a node which did not take them.
    pub refused: u64,
    /// The same by reason, of those there were.
    pub refused_for: BTreeMap<&'static str, u64>,
    /// Bundles that liars lied about.
    pub lies: u64,
    /// Receipts held at the end by the node that held most.
    pub receipts_held_max: u64,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Write { letter: usize },
    Say { notice: usize },
    Up { a: usize, b: usize, until_ms: u64 },
    Down { link: u64 },
    Arrive { link: u64, side: usize, frame: Vec<u8> },
    Free { link: u64, side: usize },
    Wake { node: usize, mono_ms: u64 },
}

/// A link, and which of its two ends are busy sending.
#[derive(Debug, Clone, Copy)]
struct Pair {
    ends: [usize; 2],
    is_busy: [bool; 2],
}

struct Person {
    keys: [u8; 64],
    node: Node<MemStore>,
    links: BTreeSet<u64>,
    wake_ms: Option<u64>,
}

/// See the module's text.
struct Replay<'a> {
    letters: &'a [Letter],
    notices: Vec<Notice>,
    radio: Radio,
    letters_priority: Priority,
    start_s: u64,
    now_ms: u64,
    planned: u64,
    queue: BinaryHeap<Reverse<(u64, u64, Happening)>>,
    people: Vec<Person>,
    links: BTreeMap<u64, Pair>,
    written: BTreeMap<BundleId, usize>,
    arrived: BTreeMap<usize, u64>,
    said: BTreeMap<BundleId, usize>,
    replayed: Replayed,
    spammer: Option<Spammer>,
    liars: Option<Liars>,
    seeds: Dice,
}

/// What the nodes are like, and who disturbs them.
pub(crate) struct Setting {
    pub(crate) limits: Limits,
    pub(crate) radio: Radio,
    pub(crate) letters_priority: Priority,
    /// What people say to everybody.
    pub(crate) notices: Vec<Notice>,
    pub(crate) spammer: Option<Spammer>,
    pub(crate) liars: Option<Liars>,
    pub(crate) flaw: Option<Flaw>,
}

impl Setting {
    /// Ordinary letters among honest people.
    pub(crate) fn honest(limits: Limits, radio: Radio) -> Self {
        let letters_priority = Priority::Normal;
        let notices = Vec::new();
        Self { limits, radio, letters_priority, notices, spammer: None, liars: None, flaw: None }
    }
}

/// Sends real nodes through a trace.
pub(crate) fn replay(
    contacts: &Contacts,
    letters: &[Letter],
    Setting { limits, radio, letters_priority, notices, spammer, liars, flaw }: Setting,
    dice: &mut Dice,
) -> Replayed {
    let now = Now { mono_ms: 0, unix_ms: Some(EPOCH_UNIX_MS) };
    let pairs: BTreeSet<(usize, usize)> =
        letters.iter().map(|letter| (letter.from.min(letter.to), letter.from.max(letter.to))).collect();
    let acquainted = acquaint(contacts.people, pairs, now, dice);
    let people = acquainted.into_iter().map(|person| {
        let identity = Identity::from_bytes(&person.keys);
        let node = Node::open(person.store, identity, dice.bytes(), limits, now);
        let mut node = node.expect("a store in memory");
        node.plant(flaw);
        Person { keys: person.keys, node, links: BTreeSet::new(), wake_ms: None }
    });
    let mut replay = Replay {
        letters,
        radio,
        letters_priority,
        replayed: Replayed { heard: vec![BTreeSet::new(); notices.len()], ..Replayed::default() },
        notices,
        start_s: contacts.span_s().0,
        now_ms: 0,
        planned: 0,
        queue: BinaryHeap::new(),
        people: people.collect(),
        links: BTreeMap::new(),
        written: BTreeMap::new(),
        arrived: BTreeMap::new(),
        said: BTreeMap::new(),
        spammer,
        liars,
        seeds: Dice::new(dice.between(0, u64::MAX - 1)),
    };
    replay.plan_all(contacts, dice);
    replay.run(contacts.span_s().1)
}

impl Replay<'_> {
    fn plan_all(&mut self, contacts: &Contacts, dice: &mut Dice) {
        for (letter, written) in self.letters.iter().enumerate() {
            self.plan(self.ms_of(written.at_s), Happening::Write { letter });
        }
        for notice in 0..self.notices.len() {
            self.plan(self.ms_of(self.notices[notice].at_s), Happening::Say { notice });
        }
        for met in contacts.encounters() {
            // Who dials is chance. Not all links of one step come up in the same millisecond.
            let (a, b) = if dice.chance(0.5) { (met.a, met.b) } else { (met.b, met.a) };
            let up_ms = self.ms_of(met.from_s) + self.radio.setup_ms + dice.between(0, 99);
            let until_ms = self.ms_of(met.to_s);
            if up_ms < until_ms {
                self.plan(up_ms, Happening::Up { a, b, until_ms });
            }
        }
    }

    fn run(mut self, end_s: u64) -> Replayed {
        let end_ms = self.ms_of(end_s);
        while let Some(Reverse((at_ms, _, happening))) = self.queue.pop() {
            if at_ms > end_ms {
                break;
            }
            self.now_ms = at_ms;
            self.happen(happening);
        }
        let mut latencies_s: Vec<u64> = self.arrived.into_values().collect();
        latencies_s.sort_unstable();
        self.replayed.achieved.latencies_s = latencies_s;
        for person in &self.people {
            let tally = person.node.tally();
            self.replayed.achieved.copies += tally.taken;
            for why in Loss::ALL.into_iter().filter(|why| tally.refused(*why) > 0) {
                self.replayed.refused += tally.refused(why);
                *self.replayed.refused_for.entry(why.code()).or_default() += tally.refused(why);
            }
            let receipts = person.node.store().usage(Class::Receipt).expect("a store in memory").bundles;
            self.replayed.receipts_held_max = self.replayed.receipts_held_max.max(receipts);
        }
        self.replayed
    }

    fn ms_of(&self, trace_s: u64) -> u64 {
        (trace_s - self.start_s) * 1_000
    }

    fn now(&self) -> Now {
        Now { mono_ms: self.now_ms, unix_ms: Some(EPOCH_UNIX_MS + self.now_ms) }
    }

    fn plan(&mut self, at_ms: u64, happening: Happening) {
        self.planned += 1;
        self.queue.push(Reverse((at_ms, self.planned, happening)));
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Write { letter } => self.write(letter),
            Happening::Say { notice } => self.say(notice),
            Happening::Up { a, b, until_ms } => self.link_up([a, b], until_ms),
            Happening::Down { link } => self.link_down(link),
            Happening::Arrive { link, side, frame } => {
                if let Some(pair) = self.links.get(&link) {
                    let node = pair.ends[side];
                    self.feed(node, Input::Frame { link: LinkId(link), bytes: &frame });
                }
            }
            Happening::Free { link, side } => {
                if let Some(pair) = self.links.get_mut(&link) {
                    pair.is_busy[side] = false;
                    let node = pair.ends[side];
                    self.settle(node);
                }
            }
            Happening::Wake { node, mono_ms } => {
                if self.people[node].wake_ms == Some(mono_ms) {
                    self.people[node].wake_ms = None;
                    self.feed(node, Input::Timeout);
                }
            }
        }
    }

    fn write(&mut self, letter: usize) {
        let Letter { from, to, text_bytes, .. } = self.letters[letter];
        let now = self.now();
        let draft = PrivateDraft {
            to: self.people[to].node.id(),
            text: "a".repeat(text_bytes),
            lifetime_s: None,
            priority: self.letters_priority,
            reply_to: None,
        };
        // A node that is full of its own writes no more.
        if let Ok(id) = self.people[from].node.submit_private(draft, now) {
            self.written.insert(id, letter);
        }
        self.settle(from);
    }

    fn say(&mut self, notice: usize) {
        let Notice { from, is_call, .. } = self.notices[notice];
        let now = self.now();
        let draft = Draft {
            channel: "#mesh".to_owned(),
            text: format!("{notice} {}", "b".repeat(200)),
            lifetime_s: None,
            priority: if is_call { Priority::Sos } else { Priority::Normal },
            reply_to: None,
        };
        if let Ok(id) = self.people[from].node.submit(draft, now) {
            self.said.insert(id, notice);
        }
        self.settle(from);
    }

    fn link_up(&mut self, ends: [usize; 2], until_ms: u64) {
        ends.iter().for_each(|node| self.bring_spam(*node));
        self.planned += 1;
        let link = self.planned;
        self.links.insert(link, Pair { ends, is_busy: [false; 2] });
        self.replayed.links += 1;
        self.plan(until_ms, Happening::Down { link });
        for (side, node) in ends.into_iter().enumerate() {
            self.people[node].links.insert(link);
            let up = Input::LinkUp {
                link: LinkId(link),
                kind: LinkKind::Ble,
                address: String::new(),
                dialled: side == 0,
            };
            self.feed(node, up);
        }
    }

    /// Fills an attacker's node anew: it opens on a store that holds what is to be brought, and has no room for more, so that
    /// nobody can hand anything on to it. While it meets several at a time it brings all of them the same.
    fn bring_spam(&mut self, node: usize) {
        let now = self.now();
        if !self.people[node].links.is_empty() {
            return;
        }
        let Some(spammer) = self.spammer.as_mut().filter(|spammer| node >= spammer.first) else { return };
        let posts = spammer.posts(EPOCH_UNIX_MS + self.now_ms, self.now_ms);
        self.replayed.spam += posts.len() as u64;
        let mut store = MemStore::new();
        for post in &posts {
            store.insert_bundle(post).expect("a store in memory");
        }
        store.commit().expect("a store in memory");
        if spammer.is_new_each_time {
            self.people[node].keys = self.seeds.bytes();
        }
        let identity = Identity::from_bytes(&self.people[node].keys);
        let limits = Limits { store_bundles_max: posts.len() as u64, ..Limits::default() };
        let opened = Node::open(store, identity, self.seeds.bytes(), limits, now);
        self.people[node].node = opened.expect("a store in memory");
        self.people[node].wake_ms = None;
    }

    fn weigh(&mut self, node: usize) {
        if self.spammer.as_ref().is_some_and(|spammer| node < spammer.first) {
            let store = self.people[node].node.store();
            let of = |class| store.usage(class).expect("a store in memory").bytes;
            self.replayed.fullest_bytes =
                self.replayed.fullest_bytes.max(Class::ALL.into_iter().map(of).sum());
        }
    }

    fn link_down(&mut self, link: u64) {
        let Some(pair) = self.links.remove(&link) else { return };
        for node in pair.ends {
            self.people[node].links.remove(&link);
            self.feed(node, Input::LinkDown { link: LinkId(link) });
            self.betray(node);
        }
    }

    /// After an encounter a liar does to its store what it does, and opens on what is left.
    fn betray(&mut self, node: usize) {
        let now = self.now();
        if !self.people[node].links.is_empty() {
            return;
        }
        let Some(liars) = self.liars.as_mut().filter(|liars| liars.is_one(node)) else { return };
        let mut store = self.people[node].node.store().clone();
        store.rollback();
        self.replayed.lies += liars.lie(node, &mut store, now.mono_ms) as u64;
        let identity = Identity::from_bytes(&self.people[node].keys);
        let opened = Node::open(store, identity, self.seeds.bytes(), Limits::default(), now);
        self.people[node].node = opened.expect("a store in memory");
        self.people[node].wake_ms = None;
    }

    fn feed(&mut self, node: usize, input: Input<'_>) {
        let now = self.now();
        self.people[node].node.handle(input, now).expect("a store in memory");
        self.settle(node);
        self.weigh(node);
    }

    fn settle(&mut self, index: usize) {
        let now = self.now();
        let idle: Vec<(u64, usize)> = self.people[index]
            .links
            .iter()
            .filter_map(|link| {
                let pair = self.links.get(link)?;
                let side = usize::from(pair.ends[1] == index);
                (!pair.is_busy[side]).then_some((*link, side))
            })
            .collect();
        let node = &mut self.people[index].node;
        let mut outbox = node.commit(now).expect("a store in memory");
        let mut outputs = Vec::new();
        while let Some(output) = outbox.next_output() {
            outputs.push(output);
        }
        let mut frames = Vec::new();
        for (link, side) in idle {
            if let Some(frame) = outbox.next_frame(LinkId(link), now).expect("a store in memory") {
                frames.push((link, side, frame));
            }
        }
        let deadline = node.poll_timeout();
        for (link, side, frame) in frames {
            self.transmit(link, side, frame);
        }
        if let Some(deadline) =
            deadline.filter(|due| self.people[index].wake_ms.is_none_or(|planned| due.mono_ms < planned))
        {
            self.people[index].wake_ms = Some(deadline.mono_ms);
            let at_ms = deadline.mono_ms.max(self.now_ms + 1);
            self.plan(at_ms, Happening::Wake { node: index, mono_ms: deadline.mono_ms });
        }
        for output in outputs {
            self.take(index, &output);
        }
    }

    fn take(&mut self, index: usize, output: &Output) {
        match output {
            Output::Close { link, .. } => self.plan(self.now_ms, Happening::Down { link: link.0 }),
            Output::Event(logged) => {
                let Event::MessageNew { id } = &logged.event else { return };
                let is_persons = self.spammer.as_ref().is_none_or(|spammer| index < spammer.first);
                if let Some(&notice) = self.said.get(id)
                    && is_persons
                    && self.notices[notice].from != index
                {
                    self.replayed.heard[notice].insert(index);
                }
                let Some(&letter) = self.written.get(id) else { return };
                let Letter { at_s, to, .. } = self.letters[letter];
                if index == to {
                    let took_ms = self.now_ms - self.ms_of(at_s);
                    self.arrived.entry(letter).or_insert(took_ms / 1_000);
                }
            }
        }
    }

    fn transmit(&mut self, link: u64, side: usize, frame: Vec<u8>) {
        let Some(pair) = self.links.get_mut(&link) else { return };
        pair.is_busy[side] = true;
        self.replayed.bytes += frame.len() as u64;
        let sent_ms = self.now_ms + transmission_ms(frame.len(), self.radio.bandwidth_bytes_per_s);
        self.plan(sent_ms, Happening::Free { link, side });
        let arrives_ms = sent_ms + self.radio.latency_ms;
        self.plan(arrives_ms, Happening::Arrive { link, side: 1 - side, frame });
    }
}

//! People who will write to each other are contacts before the trace begins.
//!
//! Each pair that has a letter to come meets once, in a room without anybody else: one shows a code, the other takes
//! it, each greets the other, both know the other's keys, and their receipts go back. What that left in their stores is thrown
//! away, so that all begin the trace with nothing to carry or to send. This is the real way of becoming contacts, only with links that cost nothing.

use meshlink_core::clock::Now;
use meshlink_core::event::LinkKind;
use meshlink_core::id::LinkId;
use meshlink_core::identity::Identity;
use meshlink_core::limits::{Limits, RECEIPT_MS_MAX};
use meshlink_core::mem::MemStore;
use meshlink_core::node::{ContactDraft, Input, Node};
use meshlink_core::store::{OfferKey, Store};

use crate::dice::Dice;

/// Rounds of frames after which two that meet have nothing to say, or something is wrong.
const ROUNDS_MAX: usize = 1_000;
const LINK: LinkId = LinkId(1);

/// Somebody's keys and store.
pub(super) struct Acquainted {
    pub(super) keys: [u8; 64],
    pub(super) store: MemStore,
}

/// Makes people, and contacts of each of these pairs.
pub(super) fn acquaint(
    people: usize,
    pairs: impl IntoIterator<Item = (usize, usize)>,
    now: Now,
    dice: &mut Dice,
) -> Vec<Acquainted> {
    let mut people: Vec<Acquainted> = (0..people)
        .map(|_| {
            let mut person = Acquainted { keys: dice.bytes(), store: MemStore::new() };
            let mut node = open(&mut person, now, dice);
            node.set_reachable();
            node.handle(Input::Timeout, now).expect("a store in memory");
            let _ = node.commit(now).expect("a store in memory");
            person.store = node.into_store();
            person
        })
        .collect();
    for (a, b) in pairs {
        let mut nodes = [a, b].map(|at| open(&mut people[at], now, dice));
        introduce(&mut nodes, now);
        for (at, node) in [a, b].into_iter().zip(nodes) {
            people[at].store = node.into_store();
            let own = people[at].own_id();
            people[at].throw_away(|origin| origin == Some(own));
        }
    }
    people.iter_mut().for_each(|person| person.throw_away(|_| false));
    people
}

fn open(person: &mut Acquainted, now: Now, dice: &mut Dice) -> Node<MemStore> {
    let store = std::mem::take(&mut person.store);
    let identity = Identity::from_bytes(&person.keys);
    Node::open(store, identity, dice.bytes(), Limits::default(), now).expect("a store in memory")
}

impl Acquainted {
    fn own_id(&self) -> meshlink_core::id::NodeId {
        Identity::from_bytes(&self.keys).node_id()
    }

    /// Drops all bundles but those of the origins to keep, and does not remember them.
    fn throw_away(&mut self, keep: impl Fn(Option<meshlink_core::id::NodeId>) -> bool) {
        let offers = self.store.offers(OfferKey::START, usize::MAX).expect("a store in memory");
        for offer in offers {
            let bundle = self.store.bundle(&offer.id).expect("a store in memory").expect("it was offered");
            if !keep(bundle.origin) {
                self.store.drop_bundle(&offer.id, 0).expect("a store in memory");
            }
        }
        self.store.forget_dropped(u64::MAX / 2, usize::MAX).expect("a store in memory");
        self.store.commit().expect("a store in memory");
    }
}

/// The one takes a code of the other.
fn introduce(nodes: &mut [Node<MemStore>; 2], now: Now) {
    let [a, b] = nodes;
    let code = Some(b.make_code(true, now).expect("few codes are open"));
    a.add_contact(ContactDraft { code, in_person: true, ..ContactDraft::default() }, now)
        .expect("a fresh code");
    for (node, dialled) in nodes.iter_mut().zip([true, false]) {
        let up = Input::LinkUp { link: LINK, kind: LinkKind::Pipe, address: String::new(), dialled };
        node.handle(up, now).expect("a store in memory");
    }
    talk(nodes, now);
    let now = Now { mono_ms: now.mono_ms + RECEIPT_MS_MAX, ..now };
    for node in nodes.iter_mut() {
        node.handle(Input::Timeout, now).expect("a store in memory");
    }
    talk(nodes, now);
    for node in nodes {
        node.handle(Input::LinkDown { link: LINK }, now).expect("a store in memory");
        let _ = node.commit(now).expect("a store in memory");
    }
}

/// Frames go to and fro until neither has another one.
fn talk(nodes: &mut [Node<MemStore>; 2], now: Now) {
    for _ in 0..ROUNDS_MAX {
        let mut is_silent = true;
        for from in [0, 1] {
            let mut outbox = nodes[from].commit(now).expect("a store in memory");
            while outbox.next_output().is_some() {}
            let frame = outbox.next_frame(LINK, now).expect("a store in memory");
            if let Some(frame) = frame {
                is_silent = false;
                let input = Input::Frame { link: LINK, bytes: &frame };
                nodes[1 - from].handle(input, now).expect("a store in memory");
            }
        }
        if is_silent {
            break;
        }
    }
}

//! The same random life for a store and for the reference model, compared at every step.

use super::{bundle, message, node, ok, peer};
use crate::clock::SavedClock;
use crate::event::{Event, LinkKind, MessageStatus};
use crate::id::{BundleId, Seq};
use crate::limits::COPIES_MAIL_MIN;
use crate::mem::MemStore;
use crate::receipt::Commitment;
use crate::store::{Class, HandOver, HandOverStep, Known, OfferKey, Priority, Shelf, Slot, Store};

/// Ids, origins and peers are taken from this many, so that operations meet.
const NAMES: u64 = 24;

/// Drives `store`, which is new, and a [`MemStore`] through `steps` operations chosen by `seed`, with commits
/// and rollbacks among them, and compares what they say. Panics with the step where they differ.
pub fn compare<S: Store>(mut store: S, seed: u64, steps: usize) {
    let mut model = MemStore::new();
    let mut dice = Dice(seed);
    for step in 0..steps {
        let operation = Operation::random(&mut dice);
        let got = operation.apply(&mut store);
        let expected = operation.apply(&mut model);
        assert_eq!(got, expected, "seed {seed}, step {step}: {operation:?}");
        if dice.below(16) == 0 {
            assert_eq!(observe(&store), observe(&model), "seed {seed}, after step {step}: {operation:?}");
        }
    }
    assert_eq!(observe(&store), observe(&model), "seed {seed}, at the end");
}

/// SplitMix64 (Steele, Lea, Flood 2014): good enough to choose operations, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn name(&mut self) -> u8 {
        self.below(NAMES) as u8
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

#[derive(Debug)]
enum Operation {
    Insert { n: u8, priority: Priority, class: Class, origin: Option<u8>, ingress: Option<u8>, more: Extra },
    Drop { n: u8, until: u64 },
    LetGo { n: u8, until: u64 },
    Show { n: u8 },
    HandOut { n: u8 },
    Forget { now: u64, limit: usize },
    Message { n: u8, own: bool, text: usize },
    Status { n: u8, status: MessageStatus },
    Read { n: u8 },
    Delete { n: u8 },
    TrimReceived { bytes: u64, limit: usize },
    Event { n: u8 },
    TrimEvents { keep: u64 },
    Peer { n: u8, heard: u64, blocked: bool },
    TrimPeers { keep: u64 },
    Join { n: u8 },
    Leave { n: u8 },
    HandOver { n: u8, peer: u8, step: HandOverStep },
    Slot { slot: Slot, n: u8 },
    Put { shelf: Shelf, n: u8 },
    Remove { shelf: Shelf, n: u8 },
    Clock { at: u64 },
    Commit,
    Rollback,
}

#[derive(Debug)]
struct Extra {
    expires: u64,
    payload: usize,
    unshown: Option<u8>,
    commitment: Option<u8>,
}

impl Operation {
    fn random(dice: &mut Dice) -> Self {
        let n = dice.name();
        match dice.below(32) {
            0..=5 => Self::Insert {
                n,
                priority: dice.of(&[Priority::Sos, Priority::Normal, Priority::Bulk]),
                class: dice.of(&Class::ALL),
                origin: Some(dice.name()).filter(|n| n % 5 != 0),
                ingress: Some(dice.name()).filter(|n| n % 4 != 0),
                more: Extra {
                    expires: dice.below(1_000),
                    payload: dice.below(2_000) as usize,
                    unshown: Some(dice.name()).filter(|n| n % 3 == 0),
                    commitment: Some(dice.name()).filter(|n| n % 3 == 0),
                },
            },
            6 | 7 => Self::Drop { n, until: dice.below(1_000) },
            28 | 29 => Self::LetGo { n, until: dice.below(1_000) },
            8 => Self::Show { n },
            9 => Self::Forget { now: dice.below(1_000), limit: dice.below(5) as usize },
            10 | 11 => Self::Message { n, own: dice.below(3) == 0, text: dice.below(300) as usize },
            12 => Self::Status { n, status: dice.of(&[MessageStatus::Synced, MessageStatus::Expired]) },
            13 => Self::Read { n },
            14 => Self::Delete { n },
            15 => Self::TrimReceived { bytes: dice.below(4_000), limit: dice.below(4) as usize },
            16 => Self::Event { n },
            17 => Self::TrimEvents { keep: dice.below(30) },
            18 => Self::Peer { n, heard: dice.below(100), blocked: dice.below(4) == 0 },
            19 => Self::TrimPeers { keep: dice.below(NAMES) },
            20 => Self::Join { n },
            21 => Self::Leave { n },
            22 => Self::HandOver {
                n,
                peer: dice.name(),
                step: dice.of(&[HandOverStep::Offered, HandOverStep::Stored, HandOverStep::Received]),
            },
            23 => Self::Slot { slot: dice.of(&[Slot::Profile, Slot::Links]), n },
            25 => Self::Put { shelf: dice.of(&[Shelf::Contact, Shelf::Due]), n },
            26 => Self::Remove { shelf: dice.of(&[Shelf::Contact, Shelf::Due]), n },
            27 => Self::HandOut { n },
            24 => Self::Clock { at: dice.below(1_000) },
            _ if dice.below(3) == 0 => Self::Rollback,
            _ => Self::Commit,
        }
    }

    /// Does it, and says what came of it.
    #[allow(clippy::unit_arg, reason = "that nothing came of it is said too")]
    fn apply(&self, store: &mut impl Store) -> String {
        match self {
            Self::Insert { n, priority, class, origin, ingress, more } => {
                let mut new = bundle(*n);
                new.priority = *priority;
                new.class = *class;
                new.origin = origin.map(node);
                new.ingress = ingress.map(node);
                new.expires_tl_ms = more.expires;
                new.payload = vec![*n; more.payload];
                new.unshown_in = more.unshown.map(channel);
                new.commitment = more.commitment.map(commitment);
                new.kind = u16::from(*n % 3);
                if matches!(ok(store.known(&new.id.prefix())), Known::Held(_)) {
                    return "held".to_owned();
                }
                ok(store.insert_bundle(&new));
                assert!(store.is_dirty());
                "inserted".to_owned()
            }
            Self::Drop { n, until } => say(ok(store.drop_bundle(&id(*n), *until))),
            Self::LetGo { n, until } => say(ok(store.let_go(&id(*n), *until))),
            Self::Show { n } => say(ok(store.mark_shown(&id(*n)))),
            Self::HandOut { n } => say(ok(store.hand_over_copy(&id(*n)))),
            Self::Forget { now, limit } => say(ok(store.forget_dropped(*now, *limit))),
            Self::Message { n, own, text } => {
                let mut new = message(*n);
                new.own = *own;
                new.text = "x".repeat(*text);
                if ok(store.message(&new.id)).is_some() {
                    return "kept".to_owned();
                }
                say(ok(store.insert_message(&mut new)))
            }
            Self::Status { n, status } => say(ok(store.set_status(&id(*n), *status, Some("why")))),
            Self::Read { n } => say(ok(store.mark_read(&id(*n)))),
            Self::Delete { n } => say(ok(store.delete_message(&id(*n)))),
            Self::TrimReceived { bytes, limit } => say(ok(store.trim_received(*bytes, *limit))),
            Self::Event { n } => say(ok(store.append_event(&Event::PeerUp { peer: node(*n) }, None))),
            Self::TrimEvents { keep } => say(ok(store.trim_events(*keep))),
            Self::Peer { n, heard, blocked } => {
                // Ties between equally silent ones may go either way, so there are none.
                let mut new = peer(*n, heard * NAMES + u64::from(*n));
                new.blocked = *blocked;
                say(ok(store.put_peer(&new)))
            }
            Self::TrimPeers { keep } => say(ok(store.trim_peers(*keep))),
            Self::Join { n } => say(ok(store.join(&channel(*n), None))),
            Self::Leave { n } => say(ok(store.leave(&channel(*n)))),
            Self::HandOver { n, peer, step } => say(ok(store.record_hand_over(&HandOver {
                bundle: id(*n),
                step: *step,
                peer: Some(node(*peer)),
                via: Some(LinkKind::Lan),
                at_unix_ms: None,
            }))),
            Self::Slot { slot, n } => say(ok(store.set_slot(*slot, &[*n]))),
            Self::Put { shelf, n } => say(ok(store.put_record(*shelf, &[*n], &[*n, 7]))),
            Self::Remove { shelf, n } => say(ok(store.remove_record(*shelf, &[*n]))),
            Self::Clock { at } => {
                say(ok(store.save_clock(SavedClock { timeline_ms: *at, unix_ms: Some(*at) })))
            }
            Self::Commit => say(ok(store.commit())),
            Self::Rollback => say(store.rollback()),
        }
    }
}

fn say(result: impl std::fmt::Debug) -> String {
    format!("{result:?}")
}

fn id(n: u8) -> BundleId {
    bundle(n).id
}

fn commitment(n: u8) -> Commitment {
    Commitment([n % 4; Commitment::BYTES])
}

fn channel(n: u8) -> String {
    format!("#c{}", n % 4)
}

/// Copies that a victim is to have at least.
const LEAST: [u8; 3] = [0, 3, COPIES_MAIL_MIN];

/// Everything a store says about itself, in words that can be compared.
fn observe(store: &impl Store) -> Vec<String> {
    let mut seen = vec![
        // Rows are any growing numbers, so only the order they give is compared.
        say(ok(store.offers(OfferKey::START, 1_000))
            .iter()
            .map(|o| (o.id, o.own, o.size_bytes))
            .collect::<Vec<_>>()),
        say(ok(store.fullest_ingress())),
        say(Class::ALL
            .map(|class| (ok(store.usage(class)), LEAST.map(|least| ok(store.victim(class, least)))))),
        say(ok(store.usage_of_public())),
        say((ok(store.expired(500, 1_000)), ok(store.next_expiry()))),
        say((ok(store.received_usage()), ok(store.messages_after(Seq(0), 1_000)))),
        say((ok(store.event_bounds()), ok(store.events_after(Seq(0), 10_000)))),
        say((ok(store.blocked()), ok(store.saved_clock()))),
        say([Slot::Profile, Slot::Links].map(|slot| ok(store.slot(slot)))),
    ];
    for n in 0..NAMES as u8 {
        let mut of_origin = ok(store.bundles_of_origin(&node(n), 1_000));
        of_origin.sort();
        seen.push(say((n, ok(store.known(&id(n).prefix())), ok(store.bundle(&id(n))), of_origin)));
        seen.push(say((ok(store.usage_of_origin(&node(n))), ok(store.victim_of_origin(&node(n))))));
        seen.push(say([0, 1, 2].map(|kind| ok(store.newest_of_kind(&node(n), kind)))));
        let brought = LEAST.map(|least| ok(store.victim_of_ingress(&node(n), least)));
        seen.push(say((ok(store.usage_of_ingress(&node(n))), brought)));
        seen.push(say((ok(store.peer(&node(n))), ok(store.hand_overs(&id(n))))));
        seen.push(say((ok(store.message(&id(n))), ok(store.message_state(&id(n))))));
    }
    seen.push(say([Shelf::Contact, Shelf::Due].map(|shelf| ok(store.records(shelf, &[], 100)))));
    for n in 0..4 {
        seen.push(say(ok(store.bundles_committed(&commitment(n), 1_000))));
        let unshown = ok(store.unshown(&channel(n), 0, 1_000));
        let ids: Vec<BundleId> = unshown.into_iter().map(|(_, id)| id).collect();
        seen.push(say((ok(store.is_joined(&channel(n))), ids)));
    }
    seen
}

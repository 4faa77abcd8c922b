//! What goes first, what gives way, what a receipt frees, and what a node says about all of that.

#![allow(clippy::unwrap_used, reason = "a net whose parts fail is a failed test")]

mod net;

use std::collections::BTreeSet;

use meshlink_core::header::Kind;
use meshlink_core::limits::UNTRIED_MS;
use meshlink_core::node::{ContactDraft, PrivateDraft};
use meshlink_core::store::{Class, OfferKey};
use meshlink_core::tally::Loss;
use meshlink_core::{BundleId, Limits, LinkKind, MessageStatus, Priority, Store};
use net::{At, Net, draft};

const MINUTE_MS: u64 = 60_000;

/// Nodes of which the first two are contacts, and nobody has anything to carry for it.
fn acquainted(count: usize, limits: Limits) -> Net {
    let mut net = Net::new(2);
    for at in [0, 1] {
        net.node(at).set_reachable();
    }
    net.pass(1);
    let now = net.now(0);
    let code = net.node(0).make_code(true, now).unwrap();
    let taken = ContactDraft { code: Some(code), in_person: true, ..ContactDraft::default() };
    net.node(1).add_contact(taken, now).unwrap();
    let link = net.join(0, 1);
    net.pass(MINUTE_MS);
    net.cut(link);
    for n in 2..count {
        net.add(n as u8 + 40, limits);
    }
    net
}

fn send(net: &mut Net, from: At, to: At, text: &str) -> BundleId {
    let (to, now) = (net.id(to), net.now(from));
    let (text, priority) = (text.to_owned(), Priority::Normal);
    let draft = PrivateDraft { to, text, lifetime_s: None, priority, reply_to: None };
    net.node(from).submit_private(draft, now).unwrap()
}

fn carry(net: &mut Net, from: At, to: At) {
    let link = net.join(from, to);
    net.settle();
    net.cut(link);
}

fn sealed_copies(net: &Net, at: At) -> Vec<u8> {
    let offers = net.store(at).offers(OfferKey::START, 10_000).unwrap();
    let bundles = offers.iter().map(|offer| net.store(at).bundle(&offer.id).unwrap().unwrap());
    bundles.filter(|b| b.kind == Kind::Sealed.number()).map(|b| b.copies).collect()
}

fn receipts(net: &Net, at: At) -> u64 {
    net.store(at).usage(Class::Receipt).unwrap().bundles
}

#[test]
fn c15_nobody_is_told_how_often_a_bundle_was_handed_on() {
    let mut net = acquainted(4, Limits::default());
    for n in 0..8 {
        send(&mut net, 0, 1, &format!("{n}"));
    }
    net.post(0, "hello");
    for at in [2, 3] {
        carry(&mut net, 0, at);
    }
    carry(&mut net, 2, 1);
    // The author, who handed them on twice, and carriers know of their own hand-overs alone.
    let copies = |at| sealed_copies(&net, at).into_iter().collect::<BTreeSet<u8>>();
    assert_eq!([copies(0), copies(3)], [BTreeSet::from([253]), BTreeSet::from([255])]);
    assert!(copies(2).contains(&254), "{:?}", copies(2));
}

/// Frames and bytes between a carrier that handed its bundles to so many others before, and the one it meets next.
fn said_after_meeting(others: usize) -> (u64, u64) {
    let mut net = acquainted(9, Limits::default());
    send(&mut net, 0, 1, "for one");
    net.post(0, "for all");
    carry(&mut net, 0, 2);
    (3..3 + others).for_each(|other| carry(&mut net, 2, other));
    net.pass(MINUTE_MS);
    let before = (net.frames, net.bytes);
    carry(&mut net, 2, 8);
    assert!(net.texts(8).contains(&"for all".to_owned()));
    (net.frames - before.0, net.bytes - before.1)
}

#[test]
fn c15_a_neighbour_does_not_hear_whom_a_carrier_met_before() {
    let alone = said_after_meeting(0);
    for others in 1..5 {
        assert_eq!(said_after_meeting(others), alone, "{others} others");
    }
}

#[test]
fn a_letter_that_nobody_has_stays_pending_over_a_restart() {
    let mut net = acquainted(2, Limits::default());
    let letters: Vec<BundleId> = (0..8).map(|n| send(&mut net, 0, 1, &format!("{n}"))).collect();
    net.settle();
    net.crash(0);
    for id in letters {
        assert_eq!(net.status(0, &id), MessageStatus::Pending);
    }
}

#[test]
fn what_a_neighbour_has_dropped_is_not_sent_to_it_at_each_encounter() {
    let mut net = acquainted(3, Limits::default());
    carry(&mut net, 0, 2);
    let others = net.node(2).tally().taken;
    let carrier = net.add(60, Limits { store_bundles_max: others + 3, ..Limits::default() });
    for n in 0..40 {
        send(&mut net, 0, 1, &format!("{n}"));
    }
    for _ in 0..5 {
        carry(&mut net, 0, carrier);
        carry(&mut net, carrier, 0);
    }
    let tally = *net.node(carrier).tally();
    assert!(tally.refused(Loss::NoRoom) >= 30, "{tally:?}");
    assert_eq!(tally.refused(Loss::Forgotten), 0);
}

/// A carrier with room for three letters that was offered five, and how many bundles it has taken.
fn full_carrier() -> (Net, At, u64) {
    let mut net = acquainted(3, Limits::default());
    carry(&mut net, 0, 2);
    let others = net.node(2).tally().taken;
    let carrier = net.add(60, Limits { store_bundles_max: others + 3, ..Limits::default() });
    carry(&mut net, 0, carrier);
    for n in 0..5 {
        send(&mut net, 0, 1, &format!("{n}"));
    }
    carry(&mut net, 0, carrier);
    (net, carrier, others + 3)
}

#[test]
fn mail_that_met_nobody_gives_way_to_no_other_mail() {
    let (mut net, carrier, most) = full_carrier();
    let tally = *net.node(carrier).tally();
    assert_eq!((tally.taken, tally.refused(Loss::NoRoom), tally.dropped(Loss::GaveWay)), (most, 2, 0));
    // What was refused is not asked for again.
    carry(&mut net, 0, carrier);
    assert_eq!(net.node(carrier).tally().refused(Loss::NoRoom), 2);
    // What was handed on once does give way.
    let other = net.add(61, Limits::default());
    carry(&mut net, carrier, other);
    send(&mut net, 0, 1, "late");
    carry(&mut net, 0, carrier);
    let tally = *net.node(carrier).tally();
    assert_eq!((tally.taken, tally.dropped(Loss::GaveWay)), (most + 1, 1));
}

#[test]
fn mail_that_had_no_room_is_taken_when_receipts_have_made_some() {
    let (mut net, carrier, most) = full_carrier();
    // Two found no room, and one gives way when it was handed on.
    let other = net.add(61, Limits::default());
    carry(&mut net, carrier, other);
    send(&mut net, 0, 1, "late");
    carry(&mut net, 0, carrier);
    assert_eq!(net.node(carrier).tally().dropped(Loss::GaveWay), 1);
    carry(&mut net, 0, carrier);
    carry(&mut net, other, carrier);
    assert_eq!(net.node(carrier).tally().taken, most + 1, "nothing goes for what had no room before");
    // What it holds arrives, and the receipts free all its room for letters.
    let link = net.join(carrier, 1);
    net.pass(MINUTE_MS);
    net.cut(link);
    assert_eq!(sealed_copies(&net, carrier), [0; 0]);
    carry(&mut net, 0, carrier);
    let held = sealed_copies(&net, carrier).len() as u64;
    assert_eq!(held, 3 - most.div_ceil(10), "a tenth stays free for what is new");
    assert_eq!(net.node(carrier).tally().taken, most + 1 + held);
    // What has arrived does not come back, wherever it is still carried.
    carry(&mut net, other, carrier);
    assert_eq!(sealed_copies(&net, carrier).len() as u64, held);
}

#[test]
fn l02_a_flood_of_posts_takes_no_place_of_mail_that_met_nobody() {
    let (mut net, carrier, most) = full_carrier();
    let loud = net.add(63, Limits::default());
    for n in 0..40 {
        net.post(loud, &format!("spam {n}"));
    }
    carry(&mut net, loud, carrier);
    let tally = *net.node(carrier).tally();
    assert!(tally.taken > most, "posts go on being taken: {tally:?}");
    assert_eq!(sealed_copies(&net, carrier).len(), 3);
    // And mail takes a post's place, as long as there is one.
    send(&mut net, 0, 1, "late");
    carry(&mut net, 0, carrier);
    assert_eq!(sealed_copies(&net, carrier).len(), 4);
}

#[test]
fn mail_that_nobody_takes_blocks_a_carrier_for_a_day() {
    let (mut net, carrier, most) = full_carrier();
    net.pass(UNTRIED_MS - 2 * MINUTE_MS);
    send(&mut net, 0, 1, "too early");
    carry(&mut net, 0, carrier);
    assert_eq!(net.node(carrier).tally().taken, most);
    net.pass(3 * MINUTE_MS);
    send(&mut net, 0, 1, "a day later");
    carry(&mut net, 0, carrier);
    let tally = *net.node(carrier).tally();
    assert_eq!((tally.taken, tally.dropped(Loss::GaveWay)), (most + 1, 1));
}

#[test]
fn l02_neighbours_share_a_carrier_and_whoever_brought_much_gives_way() {
    let mut net = acquainted(3, Limits::default());
    carry(&mut net, 0, 2);
    let others = net.node(2).tally().taken;
    let room = |letters| Limits { store_bundles_max: others + letters, ..Limits::default() };
    let [carrier, little] = [net.add(60, room(16)), net.add(61, room(6))];
    for at in [carrier, little] {
        carry(&mut net, 0, at);
    }
    // One neighbour fills the carrier, and then another one comes, with no room for more than it has.
    for n in 0..6 {
        send(&mut net, 1, 0, &format!("{n}"));
    }
    carry(&mut net, 1, little);
    for n in 0..16 {
        send(&mut net, 0, 1, &format!("{n}"));
    }
    carry(&mut net, 0, carrier);
    assert_eq!(sealed_copies(&net, carrier), [255; 16]);
    carry(&mut net, little, carrier);
    let brought = |net: &Net, by: At| net.store(carrier).usage_of_ingress(&net.id(by)).unwrap().bundles;
    let shared = brought(&net, little);
    assert!((1..=2).contains(&shared), "an eighth of what the other has: {shared}");
    assert_eq!(net.node(carrier).tally().dropped(Loss::LinkShare), shared);
    // Nor do the first one's push out the other's, now that all were handed on.
    let taker = net.add(62, Limits::default());
    carry(&mut net, carrier, taker);
    for n in 0..30 {
        send(&mut net, 0, 1, &format!("more {n}"));
    }
    carry(&mut net, 0, carrier);
    assert_eq!(brought(&net, little), shared);
    assert!(sealed_copies(&net, carrier).iter().filter(|copies| **copies == 255).count() >= 10);
}

#[test]
fn l02_mail_for_nobody_silences_no_posts_and_posts_take_no_more_than_their_share_of_mail() {
    let mut net = acquainted(2, Limits::default());
    let limits = Limits { store_bundles_max: 60, ..Limits::default() };
    let [carrier, author] = [net.add(60, limits), net.add(61, Limits::default())];
    let posts: Vec<BundleId> = (0..5).map(|n| net.post(author, &format!("post {n}"))).collect();
    carry(&mut net, author, carrier);
    for n in 0..90 {
        send(&mut net, 0, 1, &format!("{n}"));
    }
    carry(&mut net, 0, carrier);
    let has_all = posts.iter().all(|post| net.store(carrier).bundle(post).unwrap().is_some());
    let letters = sealed_copies(&net, carrier).len();
    assert!(has_all && letters >= 45, "all posts beside {letters} letters");
    // More posts get a share of a store full of mail, and that is all they get.
    for n in 0..90 {
        net.post(author, &format!("more {n}"));
    }
    carry(&mut net, author, carrier);
    let public = net.store(carrier).usage_of_public().unwrap();
    let letters = sealed_copies(&net, carrier).len() as u64;
    assert!((10..=20).contains(&public.bundles) && letters >= 40, "{public:?}, {letters} letters");
}

#[test]
fn what_is_for_a_node_itself_pushes_out_what_it_carries() {
    let limits = Limits { store_bundles_max: 3, ..Limits::default() };
    let mut net = acquainted(3, limits);
    let late = net.add(62, limits);
    for n in 0..3 {
        send(&mut net, 0, 1, &format!("{n}"));
    }
    carry(&mut net, 0, 2);
    // Posts to a channel that it reads are shown even where only untried mail could give way.
    let post = net.post(late, "a post");
    carry(&mut net, late, 2);
    assert!(net.store(2).message(&post).unwrap().is_some());
}

#[test]
fn receipts_take_no_bundles_place_and_free_what_has_arrived() {
    let limits = Limits { store_bundles_max: 6, ..Limits::default() };
    let mut net = acquainted(3, limits);
    for n in 0..3 {
        send(&mut net, 0, 1, &format!("{n}"));
    }
    carry(&mut net, 0, 2);
    let link = net.join(0, 1);
    net.pass(MINUTE_MS);
    net.cut(link);
    for n in 0..10 {
        net.post(0, &format!("post {n}"));
    }
    carry(&mut net, 0, 2);
    let tally = *net.node(2).tally();
    // Two more receipts are of the letters by which the two became contacts.
    assert_eq!((receipts(&net, 2), tally.receipts_taken, tally.dropped(Loss::Arrived)), (5, 5, 3));
    assert_eq!(net.store(2).bundles_held() as u64, 6 + 5);
    // What the receipts prove is not taken again.
    let late = net.add(90, Limits::default());
    net.join(late, 2);
    net.settle();
    assert_eq!(sealed_copies(&net, late), Vec::<u8>::new());
}

#[test]
fn a_receipt_goes_before_what_was_here_earlier() {
    let mut net = acquainted(4, Limits::default());
    let id = send(&mut net, 0, 1, "hello");
    for n in 0..8 {
        net.post(2, &format!("{n} {}", "long ".repeat(390)));
    }
    net.join(0, 1);
    net.pass(MINUTE_MS);
    assert_eq!(net.status(0, &id), MessageStatus::Delivered);
    carry(&mut net, 1, 2);
    assert!(receipts(&net, 2) >= 1);
    net.join_by(2, 3, LinkKind::Ble);
    while net.node(3).tally().taken + net.node(3).tally().receipts_taken == 0 {
        assert!(net.step());
    }
    assert!(net.node(3).tally().receipts_taken > 0, "{:?}", net.node(3).tally());
}

#[test]
fn what_is_for_the_neighbour_itself_goes_before_what_is_for_everybody() {
    let mut net = acquainted(2, Limits::default());
    for n in 0..8 {
        net.post(0, &format!("{n} {}", "long ".repeat(390)));
    }
    send(&mut net, 0, 1, "for you");
    net.join_by(0, 1, LinkKind::Ble);
    net.settle();
    assert_eq!(net.texts(1)[0], "for you");
    // But not before a call for help.
    let mut net = acquainted(2, Limits::default());
    send(&mut net, 0, 1, "for you");
    net.post_with(0, "help", Priority::Sos);
    net.join_by(0, 1, LinkKind::Ble);
    net.settle();
    assert_eq!(net.texts(1), ["help", "for you"]);
}

#[test]
fn of_equally_urgent_bundles_the_small_go_first() {
    let mut net = acquainted(2, Limits::default());
    net.settle();
    // Neither is pushed unasked.
    for n in 0..3 {
        net.post(0, &format!("{n} {}", "long ".repeat(1_500)));
    }
    for n in 3..6 {
        net.post(0, &format!("{n} {}", "less ".repeat(300)));
    }
    net.join_by(0, 1, LinkKind::Ble);
    net.settle();
    let came: String = net.texts(1).iter().map(|text| &text[..1]).collect();
    assert_eq!(came, "345012");
}

#[test]
fn what_gives_way_is_counted_and_its_message_says_why() {
    let mut net = Net::with_limits(1, Limits { store_bundles_max: 3, ..Limits::default() });
    let author = net.add(50, Limits::default());
    let first = net.post(author, "first");
    net.join(0, author);
    net.settle();
    for n in 0..4 {
        net.post(author, &format!("{n}"));
        net.settle();
    }
    let message = net.store(0).message(&first).unwrap().unwrap();
    assert_eq!(message.status, MessageStatus::Synced);
    assert_eq!(message.status_reason.as_deref(), Some(Loss::GaveWay.words()));
    assert_eq!(net.node(0).tally().dropped(Loss::GaveWay), 2);
    assert_eq!(net.node(0).tally().taken, 5);
    // The same of one that has expired, and the reason does not move it.
    let now = net.now(author);
    let draft = meshlink_core::Draft { lifetime_s: Some(60), ..draft("short", Priority::Normal) };
    let short = net.node(author).submit(draft, now).unwrap();
    net.pass(2 * MINUTE_MS);
    let message = net.store(author).message(&short).unwrap().unwrap();
    assert_eq!(
        (message.status, message.status_reason.as_deref()),
        (MessageStatus::Synced, Some(Loss::Expired.words()))
    );
}

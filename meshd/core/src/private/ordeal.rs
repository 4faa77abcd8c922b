//! Private mail in the hands of carriers that lose, delay, reorder, double and invent it.
//!
//! Two honest nodes that never meet: a rogue beside each brings what it wants, in the order it wants.

use crate::bundle::NewBundle;
use crate::draft::{ContactDraft, PrivateDraft};
use crate::event::LinkKind;
use crate::header::{Header, Kind};
use crate::id::{BundleId, NodeId, Seq};
use crate::limits::{
    COPIES_MAX, FAILURES_PER_HOUR_MAX, HOUR_BYTES_MIN, INTRO_COST, INTROS_PER_HOUR_MAX, Limits,
};
use crate::receipt::{Commitment, Receipt, Stage};
use crate::rogue::Rogue;
use crate::store::{Class, OfferKey, Priority, Shelf, Store, StoredBundle};
use crate::wire::{Carried, Message};

const DAY_MS: u64 = 24 * 3600 * 1000;

/// A node that can be written to, and the rogue beside it.
fn person(secret: u8) -> Rogue {
    person_with(secret, Limits::default())
}

fn person_with(secret: u8, limits: Limits) -> Rogue {
    let mut rogue = Rogue::meet_node(secret, limits, |node| node.set_reachable());
    rogue.hear();
    rogue
}

/// What a node holds.
fn bundles(of: &Rogue) -> Vec<StoredBundle> {
    let store = of.node.store();
    let offers = store.offers(OfferKey::START, 100_000).unwrap();
    offers.iter().map(|offer| store.bundle(&offer.id).unwrap().unwrap()).collect()
}

/// Private ones among them, as they were made.
fn sealed(of: &Rogue) -> Vec<StoredBundle> {
    bundles(of).into_iter().filter(|bundle| bundle.kind == 4 && bundle.ingress.is_none()).collect()
}

/// Brings a node a bundle that was that long under way; what it answers.
fn bring(to: &mut Rogue, bundle: &StoredBundle, age_ms: u64) -> Vec<String> {
    to.say(&[Message::Bundle(Carried { age_ms, hops: 3, bytes: bundle.bytes() })]);
    to.hear_words()
}

fn bring_all(from: &Rogue, to: &mut Rogue) {
    for bundle in bundles(from) {
        bring(to, &bundle, 0);
    }
}

fn id(of: &Rogue) -> NodeId {
    of.node.id()
}

fn send(from: &mut Rogue, to: &Rogue, text: &str) -> BundleId {
    let (to, text) = (id(to), text.to_owned());
    let draft = PrivateDraft { to, text, lifetime_s: None, priority: Priority::Normal, reply_to: None };
    let sent = from.node.submit_private(draft, from.now).unwrap();
    from.hear();
    sent
}

fn texts(of: &Rogue) -> Vec<String> {
    let messages = of.node.store().messages_after(Seq(0), 10_000).unwrap();
    messages.into_iter().filter(|message| !message.own).map(|message| message.text).collect()
}

/// Two who know each other.
fn friends() -> (Rogue, Rogue) {
    friends_with(Limits::default())
}

fn friends_with(limits: Limits) -> (Rogue, Rogue) {
    let (mut ana, mut bob) = (person_with(1, limits), person_with(2, limits));
    let code = bob.node.make_code(false, bob.now).unwrap();
    let draft = ContactDraft { code: Some(code), ..ContactDraft::default() };
    ana.node.add_contact(draft, ana.now).unwrap();
    ana.hear();
    for _ in 0..2 {
        bring_all(&ana, &mut bob);
        bring_all(&bob, &mut ana);
    }
    assert!(ana.node.contact(&id(&bob)).unwrap().is_heard);
    assert!(bob.node.contact(&id(&ana)).unwrap().is_heard);
    (ana, bob)
}

#[test]
fn two_hundred_messages_in_reverse_with_a_third_lost_and_brought_days_later_all_open_once() {
    let (mut ana, mut bob) = friends();
    let greetings = sealed(&ana).len();
    for n in 0..200 {
        send(&mut ana, &bob, &format!("message {n}"));
    }
    let mut mail = sealed(&ana).split_off(greetings);
    assert_eq!(mail.len(), 200);
    mail.reverse();
    let (lost, first): (Vec<_>, Vec<_>) = mail.iter().enumerate().partition(|(n, _)| n % 10 < 3);
    assert_eq!(lost.len(), 60);
    for (_, bundle) in &first {
        bring(&mut bob, bundle, 60_000);
    }
    let expected: Vec<String> = (0..200).rev().map(|n| format!("message {n}")).collect();
    let of = |part: &[(usize, &StoredBundle)]| -> Vec<String> {
        part.iter().map(|(n, _)| expected[*n].clone()).collect()
    };
    assert_eq!(texts(&bob), of(&first));
    bob.pass(4 * DAY_MS);
    bob.reconnect(LinkKind::Lan);
    bob.hear();
    for (_, bundle) in &lost {
        bring(&mut bob, bundle, 4 * DAY_MS);
    }
    assert_eq!(texts(&bob), [of(&first), of(&lost)].concat());
    // And everything once more, by somebody else.
    for bundle in &mail {
        bring(&mut bob, bundle, 5 * DAY_MS);
    }
    assert_eq!(texts(&bob).len(), 200);
}

#[test]
fn c09_one_message_brought_three_times_over_days_is_shown_once() {
    let (mut ana, mut bob) = friends();
    send(&mut ana, &bob, "once");
    let bundle = sealed(&ana).pop().unwrap();
    for day in 0..3 {
        bring(&mut bob, &bundle, day * DAY_MS);
        bob.pass(DAY_MS);
        bob.reconnect(LinkKind::Lan);
        bob.hear();
    }
    assert_eq!(texts(&bob), ["once"]);
}

#[test]
fn r01_r02_a_forgotten_message_played_back_young_is_not_shown_again() {
    for days in [1, 6, 13, 20, 40] {
        let (mut ana, mut bob) = friends();
        let message = send(&mut ana, &bob, "long ago");
        let bundle = sealed(&ana).pop().unwrap();
        bring(&mut bob, &bundle, 0);
        assert_eq!(texts(&bob), ["long ago"]);
        bob.node.forget(&message, bob.now).unwrap();
        for _ in 0..days {
            bob.pass(DAY_MS);
        }
        bob.reconnect(LinkKind::Lan);
        bob.hear();
        // Its carrier says it was just made.
        bring(&mut bob, &bundle, 0);
        assert_eq!(texts(&bob), Vec::<String>::new(), "{days} days");
    }
}

#[test]
fn c10_whoever_takes_the_disk_after_a_fortnight_opens_nothing_recorded_before() {
    let (mut ana, mut bob) = friends();
    for n in 0..20 {
        send(&mut ana, &bob, &format!("{n}"));
    }
    let recorded = sealed(&ana);
    for _ in 0..15 {
        bob.pass(DAY_MS);
    }
    // The thief runs the node's own program on the node's own disk, with nothing remembered as seen.
    let mut disk = bob.node.store().clone();
    let seen = disk.records(Shelf::Opened, &[], 1_000).unwrap();
    for (key, _) in seen {
        disk.remove_record(Shelf::Opened, &key).unwrap();
    }
    let mut thief = bob;
    *thief.node.store_mut() = disk;
    thief.reconnect(LinkKind::Lan);
    thief.hear();
    for bundle in &recorded {
        bring(&mut thief, bundle, 0);
    }
    assert_eq!(texts(&thief), Vec::<String>::new());
}

#[test]
fn c17_whatever_is_wrong_with_a_sealed_bundle_the_answer_is_the_same() {
    let (mut ana, mut bob) = friends();
    send(&mut ana, &bob, "hello");
    let good = sealed(&ana).pop().unwrap();
    let altered = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut payload = good.payload.clone();
        change(&mut payload);
        StoredBundle { payload, ..good.clone() }
    };
    let wrong = [
        altered(&|payload| payload[0] ^= 1),
        altered(&|payload| payload[5] ^= 1),
        altered(&|payload| payload[20] ^= 1),
        altered(&|payload| payload[70] ^= 1),
        altered(&|payload| *payload.last_mut().unwrap() ^= 1),
    ];
    for bundle in &wrong {
        assert_eq!(bring(&mut bob, bundle, 0), ["stored 1"]);
    }
    assert_eq!(texts(&bob), Vec::<String>::new());
    assert_eq!(bring(&mut bob, &good, 0), ["stored 1"]);
    assert_eq!(texts(&bob), ["hello"]);
}

/// An intro for nobody, with a payload of so many bytes; `n` makes it another one.
fn intro(n: u32, length: usize) -> NewBundle {
    let mut commitment = [0; 16];
    commitment[..4].copy_from_slice(&n.to_be_bytes());
    let commitment = Some(Commitment(commitment));
    let header = Header { commitment, ..Header::bare(Kind::Intro, 3_600, Priority::Normal) };
    let mut payload = vec![7; length];
    payload[..4].copy_from_slice(&n.to_be_bytes());
    NewBundle::unsigned(header, payload)
}

#[test]
fn c17_ten_thousand_foreign_intros_cost_a_bounded_number_of_tries() {
    let mut bob = person(2);
    let (mut stored, mut busy) = (0, 0);
    for batch in 0..200 {
        let intros: Vec<NewBundle> = (0..50).map(|n| intro(batch * 50 + n, 256)).collect();
        let messages: Vec<Message<'_>> = intros
            .iter()
            .map(|intro| Message::Bundle(Carried { age_ms: 0, hops: 1, bytes: intro.bytes() }))
            .collect();
        bob.say(&messages);
        for word in bob.hear_words() {
            let count = |word: &str| word.rsplit(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap();
            match word.as_str() {
                word if word.starts_with("stored") => stored += count(word),
                word if word.starts_with("refused Busy") => busy += count(word),
                other => panic!("{other}"),
            }
        }
    }
    assert_eq!((stored, busy), (INTROS_PER_HOUR_MAX, 10_000 - INTROS_PER_HOUR_MAX));
}

#[test]
fn l08_c17_an_intro_counts_as_many_times_its_bytes_in_what_strangers_may_write() {
    let mut bob = Rogue::meet_with(Limits { store_bytes_max: 64 * 1024 * 1024, ..Limits::default() });
    bob.hear();
    let mut cost_bytes = 0;
    let stored = (0..).take_while(|n| {
        let intro = intro(*n, 16 * 1024);
        bob.say(&[Message::Bundle(Carried { age_ms: 0, hops: 1, bytes: intro.bytes() })]);
        match bob.hear_words().as_slice() {
            [word] if word == "stored 1" => {
                cost_bytes = bob.node.store().bundle(&intro.id).unwrap().unwrap().cost_bytes();
                true
            }
            [word] if word == "refused Busy 1" => false,
            other => panic!("{other:?}"),
        }
    });
    let stored = stored.count() as u64;
    assert_eq!(stored, HOUR_BYTES_MIN / (cost_bytes * INTRO_COST), "of {cost_bytes} bytes each");
}

/// As many bundles as are taken, each `length` bytes long, that begin as `good` does and go on with nonsense: whoever has
/// carried one message can make them. Only the first hundred thousand are tried.
fn bring_copies_of_a_mark(to: &mut Rogue, good: &StoredBundle, first: u32, length: usize) -> u32 {
    (first..100_000)
        .find(|n| {
            let mut payload = vec![7; length];
            payload[..40].copy_from_slice(&good.payload[..40]);
            payload[40..44].copy_from_slice(&n.to_be_bytes());
            let commitment = Some(Commitment([9; 16]));
            let header = Header { commitment, ..Header::bare(Kind::Sealed, 3_600, Priority::Normal) };
            let copy = NewBundle::unsigned(header, payload);
            to.say(&[Message::Bundle(Carried { age_ms: 0, hops: 1, bytes: copy.bytes() })]);
            match to.hear_words().as_slice() {
                [word] if word == "stored 1" => n - first >= 4_000 && length == 256,
                [word] if word == "refused Busy 1" => true,
                other => panic!("{other:?}"),
            }
        })
        .expect("strangers may not make a node write for ever")
}

/// Ana's bundle for Bob, and who has not seen it yet: Bob, or somebody it is not for.
fn a_mark_and(is_recipient: bool) -> (StoredBundle, Rogue) {
    let small = Limits { store_bytes_max: 64 * 1024 * 1024, ..Limits::default() };
    let (mut ana, mut bob) = friends_with(small);
    send(&mut ana, &bob, "hello");
    let good = sealed(&ana).pop().unwrap();
    if !is_recipient {
        bob = person_with(3, small);
    }
    (good, bob)
}

#[test]
fn l02_c17_a_copied_mark_gives_no_room_and_does_not_tell_whose_it_is() {
    let [of_recipient, of_another] = [true, false].map(|is_recipient| {
        let (good, mut node) = a_mark_and(is_recipient);
        let taken = bring_copies_of_a_mark(&mut node, &good, 0, 16 * 1024);
        let classes: Vec<Class> = bundles(&node)
            .into_iter()
            .filter(|bundle| bundle.commitment == Some(Commitment([9; 16])))
            .map(|bundle| bundle.class)
            .collect();
        assert!(
            classes.iter().all(|class| *class == Class::Stranger),
            "nothing that opens, and no stranger's"
        );
        (taken, classes.len())
    });
    assert_eq!(of_recipient, of_another, "nobody finds out by trying for whom a message is");
    // A neighbour that used up what strangers may bring still brings what does open.
    let (good, mut bob) = a_mark_and(true);
    let large = bring_copies_of_a_mark(&mut bob, &good, 0, 16 * 1024);
    bring_copies_of_a_mark(&mut bob, &good, large + 1, 256);
    assert_eq!(bring(&mut bob, &good, 0), ["stored 1"]);
    assert_eq!(texts(&bob), ["hello"]);
}

#[test]
fn l02_c17_copies_of_a_mark_are_tried_a_bounded_number_of_times() {
    let (good, mut bob) = a_mark_and(true);
    let tried = bring_copies_of_a_mark(&mut bob, &good, 0, 256);
    assert!(u64::from(tried) >= FAILURES_PER_HOUR_MAX);
    let large = bring_copies_of_a_mark(&mut bob, &good, tried + 1, 16 * 1024);
    bring_copies_of_a_mark(&mut bob, &good, large + 1, 256);
    assert_eq!(
        bring(&mut bob, &good, 0),
        ["refused Busy 1"],
        "not even tried, as no stranger's would be taken"
    );
    bob.pass(3_600_000);
    bob.reconnect(LinkKind::Lan);
    bob.hear();
    assert_eq!(bring(&mut bob, &good, 0), ["stored 1"]);
    assert_eq!(texts(&bob), ["hello"], "it is only put off");
}

/// `ana`, whom `bob` does not know, writes to it by its id.
fn ask(ana: &mut Rogue, bob: &mut Rogue, text: &str) {
    let draft = ContactDraft { id: Some(id(bob)), ..ContactDraft::default() };
    ana.node.add_contact(draft, ana.now).unwrap();
    bring_all(bob, ana);
    send(ana, bob, text);
    bring_all(ana, bob);
}

#[test]
fn a_receipt_alone_tells_the_sender_of_an_intro_that_it_is_known_now() {
    let (mut ana, mut bob) = (person(1), person(2));
    ask(&mut ana, &mut bob, "we have not met");
    assert_eq!(texts(&bob), ["we have not met"]);
    bob.pass(60_000);
    let receipt = bundles(&bob).into_iter().find(|bundle| bundle.kind == Kind::Receipt.number());
    assert!(!ana.node.contact(&id(&bob)).unwrap().is_heard);
    bring(&mut ana, &receipt.expect("it confirms"), 0);
    assert!(ana.node.contact(&id(&bob)).unwrap().is_heard);
    let kinds = |of: &Rogue| -> Vec<u16> {
        bundles(of).iter().filter(|bundle| bundle.commitment.is_some()).map(|bundle| bundle.kind).collect()
    };
    send(&mut ana, &bob, "and now you know me");
    assert!(kinds(&ana).contains(&Kind::Sealed.number()), "no intro any more: {:?}", kinds(&ana));
}

#[test]
fn c19_a_receipt_that_took_nothing_back_here_gives_way_before_those_that_did() {
    let mut carrier = person(3);
    let secret_of = |n: u8| [n; 16];
    let mail = |n: u8| {
        let commitment = Some(Commitment::of(&secret_of(n)));
        let header = Header { commitment, ..Header::bare(Kind::Sealed, 3_600, Priority::Normal) };
        NewBundle::unsigned(header, vec![n; 256])
    };
    carrier.say(&[Message::Bundle(Carried { age_ms: 0, hops: 1, bytes: mail(1).bytes() })]);
    assert_eq!(carrier.hear_words(), ["stored 1"]);
    let copies = [1, 2].map(|n| {
        let receipt = NewBundle::receipt(&Receipt::of(&secret_of(n), Stage::Delivered));
        carrier.say(&[Message::Bundle(Carried { age_ms: 0, hops: 1, bytes: receipt.bytes() })]);
        assert_eq!(carrier.hear_words(), ["stored 1"]);
        carrier.node.store().bundle(&receipt.id).unwrap().unwrap().copies
    });
    assert!(carrier.node.store().bundle(&mail(1).id).unwrap().is_none(), "it has arrived");
    assert_eq!(copies, [COPIES_MAX, COPIES_MAX / 2], "of what was carried here, and of nothing");
}

#[test]
fn l02_mail_for_others_does_not_use_up_what_may_fail() {
    let (good, mut bob) = a_mark_and(true);
    let mut foreign = good.clone();
    foreign.payload[0] ^= 1;
    let last = bring_copies_of_a_mark(&mut bob, &foreign, 0, 256);
    let last = bring_copies_of_a_mark(&mut bob, &foreign, last + 1, 16 * 1024);
    bring_copies_of_a_mark(&mut bob, &foreign, last + 1, 256);
    assert_eq!(bring(&mut bob, &good, 0), ["stored 1"]);
    assert_eq!(texts(&bob), ["hello"]);
}

fn class_of(bundle: &StoredBundle, at: &Rogue) -> Class {
    at.node.store().bundle(&bundle.id).unwrap().expect("it is held").class
}

#[test]
fn l02_mail_of_somebody_who_only_asks_is_a_strangers() {
    let (mut ana, mut bob) = (person(1), person(2));
    ask(&mut ana, &mut bob, "may I?");
    bob.pass(60_000);
    bring_all(&bob, &mut ana);
    send(&mut ana, &bob, "still asking");
    let marked = sealed(&ana).pop().unwrap();
    bring(&mut bob, &marked, 0);
    assert_eq!(texts(&bob), ["may I?", "still asking"]);
    assert_eq!(class_of(&marked, &bob), Class::Stranger, "it opens, and nobody chose its author");
}

#[test]
fn c06_l02_what_comes_by_a_code_that_somebody_else_has_used_is_a_strangers() {
    let (mut ana, mut bob, mut carol) = (person(1), person(2), person(3));
    let code = bob.node.make_code(false, bob.now).unwrap();
    for (taker, class) in [(&mut ana, Class::Contact), (&mut carol, Class::Stranger)] {
        let draft = ContactDraft { code: Some(code.clone()), ..ContactDraft::default() };
        taker.node.add_contact(draft, taker.now).unwrap();
        taker.hear();
        let greeting = sealed(taker).pop().expect("it greets by the code");
        bring(&mut bob, &greeting, 0);
        assert_eq!(class_of(&greeting, &bob), class);
    }
    assert!(bob.node.contact(&id(&ana)).is_some() && bob.node.contact(&id(&carol)).is_none());
}

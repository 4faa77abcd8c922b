//! Private messages between nodes: contacts, sealing, receipts, and what carriers see of it.

#![allow(clippy::unwrap_used, reason = "a net whose parts fail is a failed test")]

mod net;

use meshlink_core::node::{ContactDraft, ContactError, PrivateDraft, SubmitError};
use meshlink_core::private::contact::{ReceiptChoice, Standing, Trust};
use meshlink_core::store::{Class, HandOverStep, OfferKey, Protection, Shelf};
use meshlink_core::{Event, Limits, MessageStatus, NodeId, Priority, Store};
use net::people::{code_of, exchange_code, people, send, take_code, write};
use net::{At, DAY_MS, MINUTE_MS, Net};

fn add(net: &mut Net, at: At, who: At, name: &str) -> NodeId {
    let (id, now) = (net.id(who), net.now(at));
    let draft = ContactDraft { id: Some(id), name: Some(name.to_owned()), ..ContactDraft::default() };
    net.node(at).add_contact(draft, now).unwrap().0
}

fn trust(net: &mut Net, at: At, who: At) -> Trust {
    let id = net.id(who);
    net.node(at).contact(&id).unwrap().trust
}

/// Everything a node's store holds of bundles, as bytes.
fn carried_bytes(net: &Net, at: At) -> Vec<u8> {
    let store = net.store(at);
    let offers = store.offers(OfferKey::START, 10_000).unwrap();
    let bundles = offers.iter().filter_map(|offer| store.bundle(&offer.id).unwrap());
    bundles.flat_map(|bundle| [bundle.header, bundle.payload, bundle.auth].concat()).collect()
}

fn holds(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

fn receipts(net: &mut Net, at: At, of: At, choice: ReceiptChoice) {
    let (id, now) = (net.id(of), net.now(at));
    net.node(at).set_receipts(&id, choice, now).unwrap();
}

#[test]
fn two_people_who_never_met_write_to_each_other_by_a_code() {
    let mut net = people(2);
    exchange_code(&mut net, 0, 1, false);
    let first = send(&mut net, 1, 0, "it is me");
    net.join(0, 1);
    net.settle();
    assert_eq!(net.texts(0), ["it is me"]);
    let back = send(&mut net, 0, 1, "so it is");
    net.settle();
    assert_eq!(net.texts(1), ["it is me", "so it is"]);
    net.pass(MINUTE_MS);
    assert_eq!(net.status(1, &first), MessageStatus::Delivered);
    assert_eq!(net.status(0, &back), MessageStatus::Delivered);
    for at in [0, 1] {
        let messages = net.messages(at);
        assert!(messages.iter().all(|message| message.protection == Protection::Sealed));
        assert!(messages.iter().all(|message| message.conversation == net.id(1 - at).to_string()));
    }
    // Neither brought the other's keys from where nobody else could have put them.
    assert_eq!((trust(&mut net, 0, 1), trust(&mut net, 1, 0)), (Trust::Unverified, Trust::Unverified));
}

#[test]
fn c03_c06_a_code_taken_in_person_verifies_once_its_owner_has_answered() {
    let mut net = people(2);
    exchange_code(&mut net, 0, 1, true);
    assert_eq!(trust(&mut net, 1, 0), Trust::Unverified, "nothing is proven yet");
    net.join(0, 1);
    net.settle();
    assert_eq!(trust(&mut net, 1, 0), Trust::Verified);
    assert_eq!(trust(&mut net, 0, 1), Trust::Unverified, "only who scanned has seen the keys");
    exchange_code(&mut net, 1, 0, true);
    net.settle();
    assert_eq!(trust(&mut net, 0, 1), Trust::Verified);
    send(&mut net, 1, 0, "hello");
    net.settle();
    assert_eq!(net.messages(0)[0].protection, Protection::SealedVerified);
}

#[test]
fn c06_a_code_works_once_and_for_a_while() {
    let mut net = people(4);
    let code = code_of(&mut net, 0, false);
    take_code(&mut net, 1, &code, false).unwrap();
    net.join(0, 1);
    net.settle();
    // Somebody else has seen the code.
    take_code(&mut net, 2, &code, false).unwrap();
    send(&mut net, 2, 0, "me too");
    net.join(0, 2);
    net.settle();
    let ids = [net.id(1), net.id(2)];
    assert!(net.node(0).contact(&ids[0]).is_some());
    assert!(net.node(0).contact(&ids[1]).is_none());
    assert!(net.texts(0).is_empty());
    // An old one is refused by who has a clock, and by its owner.
    let old = code_of(&mut net, 0, true);
    net.pass(11 * MINUTE_MS);
    assert_eq!(take_code(&mut net, 3, &old, true), Err(ContactError::CodeExpired));
    net.set_wall(3, None);
    take_code(&mut net, 3, &old, true).unwrap();
    net.join(0, 3);
    net.settle();
    let (late, owner) = (net.id(3), net.id(0));
    assert!(net.node(0).contact(&late).is_none());
    assert!(net.node(3).contact(&owner).unwrap().awaits_answer());
    assert_eq!(trust(&mut net, 3, 0), Trust::Unverified);
}

#[test]
fn a_message_by_id_waits_for_keys_and_leaves_when_they_come() {
    let mut net = people(2);
    let id = send(&mut net, 0, 1, "are you there");
    net.settle();
    let message = net.store(0).message(&id).unwrap().unwrap();
    assert_eq!(message.status, MessageStatus::Pending);
    assert!(message.status_reason.is_some_and(|reason| reason.contains("keys")));
    net.join(0, 1);
    net.settle();
    assert_eq!(net.texts(1), ["are you there"]);
    assert_eq!(net.store(0).message(&id).unwrap().unwrap().status_reason, None);
    let (sender, recipient) = (net.id(0), net.id(1));
    assert_eq!(net.node(1).contact(&sender).unwrap().standing, Standing::Asking);
    net.pass(MINUTE_MS);
    assert_eq!(net.status(0, &id), MessageStatus::Delivered);
    assert!(net.node(0).contact(&recipient).unwrap().is_heard);
    // From now on it is marked for the recipient, and no intro.
    send(&mut net, 0, 1, "again");
    net.settle();
    assert_eq!(net.texts(1), ["are you there", "again"]);
}

#[test]
fn a_message_that_waits_for_keys_or_that_a_neighbour_lacks_is_not_taken_for_elsewhere() {
    let mut net = people(3);
    let waiting = send(&mut net, 0, 2, "nobody has its keys");
    net.join(0, 1);
    net.settle();
    net.pass(MINUTE_MS);
    assert_eq!(net.status(0, &waiting), MessageStatus::Pending, "it was not even sealed");
    net.join(1, 2);
    net.settle();
    net.pass(MINUTE_MS);
    assert_eq!(net.texts(2), ["nobody has its keys"]);
}

#[test]
fn a_message_that_no_keys_come_for_expires_with_the_reason() {
    let mut net = people(1);
    let stranger = NodeId([9; NodeId::BYTES]);
    let id = write(&mut net, 0, stranger, "hello?").unwrap();
    net.pass(8 * DAY_MS);
    let message = net.store(0).message(&id).unwrap().unwrap();
    assert_eq!(message.status, MessageStatus::Expired);
    assert!(message.status_reason.is_some_and(|reason| reason.contains("keys")));
}

#[test]
fn a_carrier_brings_a_private_message_and_reads_nothing() {
    let mut net = people(3);
    exchange_code(&mut net, 0, 1, false);
    let link = net.join(0, 1);
    net.settle();
    net.cut(link);
    net.pass(DAY_MS);
    let id = send(&mut net, 0, 1, "CANARY-7b1f text");
    let link = net.join(0, 2);
    net.settle();
    net.cut(link);
    let seen = carried_bytes(&net, 2);
    assert!(!holds(&seen, b"CANARY"));
    assert!(!holds(&seen, &id.0[..8]), "not even the message's id");
    let sealed: Vec<_> = net
        .store(2)
        .offers(OfferKey::START, 100)
        .unwrap()
        .iter()
        .filter_map(|offer| net.store(2).bundle(&offer.id).unwrap())
        .filter(|bundle| bundle.kind == 4)
        .collect();
    assert!(!sealed.is_empty());
    for bundle in &sealed {
        assert!([256, 512, 1024].contains(&bundle.payload.len()), "c16");
        let bytes = [&bundle.header[..], &bundle.payload].concat();
        for person in [0, 1] {
            assert!(!holds(&bytes, &net.id(person).0[..4]), "no id of a person");
        }
        assert_eq!(bundle.origin, None);
    }
    net.join(2, 1);
    net.settle();
    assert_eq!(net.texts(1), ["CANARY-7b1f text"]);
    assert_eq!(net.texts(2), Vec::<String>::new());
}

#[test]
fn c19_a_receipt_purges_carriers_and_reaches_the_sender() {
    let mut net = people(3);
    exchange_code(&mut net, 0, 1, false);
    net.join(0, 2);
    net.join(2, 1);
    net.settle();
    let id = send(&mut net, 0, 1, "hello");
    net.settle();
    assert_eq!(net.texts(1), ["hello"]);
    assert_eq!(net.status(0, &id), MessageStatus::Synced);
    let sealed = |net: &Net, at| {
        let offers = net.store(at).offers(OfferKey::START, 100).unwrap();
        offers.iter().filter(|o| net.store(at).bundle(&o.id).unwrap().unwrap().kind == 4).count()
    };
    assert!(sealed(&net, 2) >= 1, "the carrier still has it");
    net.pass(MINUTE_MS);
    assert_eq!(net.status(0, &id), MessageStatus::Delivered);
    for at in 0..3 {
        assert_eq!(sealed(&net, at), 0, "node {at}");
    }
}

#[test]
fn read_receipts_are_off_and_need_both_sides() {
    for (sender, reader, expected) in [
        (ReceiptChoice::Delivered, ReceiptChoice::Delivered, MessageStatus::Delivered),
        (ReceiptChoice::Read, ReceiptChoice::Delivered, MessageStatus::Delivered),
        (ReceiptChoice::Delivered, ReceiptChoice::Read, MessageStatus::Delivered),
        (ReceiptChoice::Read, ReceiptChoice::Read, MessageStatus::Read),
        (ReceiptChoice::Read, ReceiptChoice::Nothing, MessageStatus::Synced),
    ] {
        let mut net = people(2);
        exchange_code(&mut net, 0, 1, false);
        net.join(0, 1);
        net.settle();
        receipts(&mut net, 0, 1, sender);
        receipts(&mut net, 1, 0, reader);
        let id = send(&mut net, 0, 1, "hello");
        net.pass(MINUTE_MS);
        let now = net.now(1);
        assert!(net.node(1).mark_read(&id, now).unwrap());
        net.pass(MINUTE_MS);
        assert_eq!(net.status(0, &id), expected, "{sender:?} {reader:?}");
        let steps = net.store(0).hand_overs(&id).unwrap();
        let confirmed: Vec<_> = steps.iter().filter(|step| step.peer.is_none()).collect();
        assert!(confirmed.iter().all(|step| step.via.is_none() && step.at_unix_ms.is_some()));
        let confirmed: Vec<_> = confirmed.iter().map(|step| step.step).collect();
        let noted: &[HandOverStep] = match expected {
            MessageStatus::Read => &[HandOverStep::Delivered, HandOverStep::Read],
            MessageStatus::Delivered => &[HandOverStep::Delivered],
            MessageStatus::Pending
            | MessageStatus::Synced
            | MessageStatus::Expired
            | MessageStatus::Failed => &[],
        };
        assert_eq!(confirmed, noted, "{expected:?}");
    }
}

#[test]
fn every_message_is_sealed_anew_and_long_texts_too() {
    let mut net = people(2);
    exchange_code(&mut net, 0, 1, false);
    net.join(0, 1);
    net.settle();
    let long = "x".repeat(16 * 1024);
    for text in ["a", "a", &long] {
        send(&mut net, 0, 1, text);
    }
    net.settle();
    assert!(net.texts(1) == ["a", "a", &long]);
}

#[test]
fn c10_keys_are_deleted_on_schedule_and_open_nothing_afterwards() {
    let mut net = people(2);
    exchange_code(&mut net, 0, 1, false);
    let link = net.join(0, 1);
    for n in 0..5 {
        send(&mut net, 0, 1, &format!("{n}"));
        send(&mut net, 1, 0, &format!("{n}"));
        net.settle();
    }
    net.cut(link);
    let secrets = |net: &Net, at| -> Vec<Vec<u8>> {
        [Shelf::Prekey, Shelf::Invite]
            .into_iter()
            .flat_map(|shelf| net.store(at).records(shelf, &[], 1_000).unwrap())
            .map(|(_, value)| value)
            .collect()
    };
    let old: Vec<Vec<Vec<u8>>> = [0, 1].map(|at| secrets(&net, at)).into();
    assert!(old.iter().all(|secrets| secrets.len() >= 2));
    net.pass(14 * DAY_MS + MINUTE_MS);
    for at in [0, 1] {
        let left = secrets(&net, at);
        // The secret is the first field of each record.
        assert!(old[at].iter().all(|old| !left.iter().any(|new| holds(new, &old[1..35]))), "node {at}");
        assert!(!left.is_empty(), "there are new ones");
    }
}

#[test]
fn keys_live_as_long_as_a_message_may_be_under_way() {
    let mut net = people(3);
    exchange_code(&mut net, 0, 1, false);
    let link = net.join(0, 1);
    net.settle();
    net.cut(link);
    // The published keys of node 1 are nearly a week old when this is sealed, and it takes nearly a week.
    net.pass(6 * DAY_MS);
    for n in 0..20 {
        send(&mut net, 0, 1, &format!("slow {n}"));
    }
    let link = net.join(0, 2);
    net.settle();
    net.cut(link);
    net.pass(6 * DAY_MS + DAY_MS / 2);
    net.join(2, 1);
    net.settle();
    let mut texts = net.texts(1);
    texts.sort();
    assert_eq!(texts.len(), 20, "{texts:?}");
}

#[test]
fn after_a_week_without_news_a_message_waits_for_fresh_keys() {
    let mut net = people(2);
    exchange_code(&mut net, 0, 1, false);
    let link = net.join(0, 1);
    net.settle();
    net.cut(link);
    net.pass(15 * DAY_MS);
    let id = send(&mut net, 0, 1, "long time");
    assert!(net.store(0).message(&id).unwrap().unwrap().status_reason.is_some());
    net.join(0, 1);
    net.settle();
    assert_eq!(net.texts(1), ["long time"]);
}

#[test]
fn a_crash_loses_no_key_and_no_contact() {
    let mut net = people(2);
    exchange_code(&mut net, 0, 1, false);
    net.join(0, 1);
    net.settle();
    let id = send(&mut net, 0, 1, "before");
    net.pump(0);
    for at in [0, 1] {
        net.crash(at);
        net.node(at).set_reachable();
    }
    net.join(0, 1);
    net.pass(MINUTE_MS);
    assert_eq!(net.texts(1), ["before"]);
    assert_eq!(net.status(0, &id), MessageStatus::Delivered);
    send(&mut net, 1, 0, "after");
    net.settle();
    assert_eq!(net.texts(0), ["before", "after"]);
}

#[test]
fn a_blocked_contact_is_not_heard_and_not_written_to() {
    let mut net = people(2);
    exchange_code(&mut net, 0, 1, false);
    let link = net.join(0, 1);
    net.settle();
    net.cut(link);
    let (sender, now) = (net.id(1), net.now(0));
    send(&mut net, 1, 0, "nasty");
    net.node(0).block(&sender, now).unwrap();
    assert_eq!(write(&mut net, 0, sender, "hi").unwrap_err(), SubmitError::BlockedRecipient { to: sender });
    let carrier = net.add(7, Limits::default());
    net.join(1, carrier);
    net.join(carrier, 0);
    net.pass(MINUTE_MS);
    assert_eq!(net.texts(0), Vec::<String>::new());
    let id = net.messages(1)[0].id;
    assert_eq!(net.status(1, &id), MessageStatus::Synced, "and no receipt");
}

#[test]
fn c05_the_safety_number_is_the_same_on_both_sides_and_verifies() {
    let mut net = people(2);
    exchange_code(&mut net, 0, 1, false);
    net.join(0, 1);
    net.settle();
    let ids = [net.id(0), net.id(1)];
    let number = net.node(0).safety_number(&ids[1]).unwrap();
    assert_eq!(net.node(1).safety_number(&ids[0]).unwrap(), number);
    let now = net.now(0);
    let wrong = number.replace('1', "2");
    assert_eq!(net.node(0).verify_contact(&ids[1], &wrong, now), Err(ContactError::WrongNumber));
    assert_eq!(trust(&mut net, 0, 1), Trust::Unverified);
    net.node(0).verify_contact(&ids[1], &number, now).unwrap();
    assert_eq!(trust(&mut net, 0, 1), Trust::Verified);
}

#[test]
fn a_verified_contact_introduces_another() {
    let mut net = people(3);
    for who in [0, 2] {
        exchange_code(&mut net, who, 1, true);
        exchange_code(&mut net, 1, who, true);
        net.join(1, who);
    }
    net.settle();
    let ids = [net.id(0), net.id(1), net.id(2)];
    let now = net.now(1);
    net.node(1).rename_contact(&ids[2], Some("Carol".to_owned()), now).unwrap();
    net.node(1).introduce(&ids[2], &ids[0], now).unwrap();
    net.settle();
    let carol = net.node(0).contact(&ids[2]).unwrap().clone();
    assert_eq!((carol.trust, carol.introduced_by), (Trust::Introduced, Some(ids[1])));
    assert_eq!(carol.name.as_deref(), Some("Carol"));
    send(&mut net, 0, 2, "we have a friend in common");
    net.settle();
    assert_eq!(net.texts(2), ["we have a friend in common"]);
    // Whoever is not verified introduces nobody.
    let now = net.now(2);
    net.node(2).unverify_contact(&ids[1], now).unwrap();
    let now = net.now(1);
    net.node(1).introduce(&ids[0], &ids[2], now).unwrap();
    net.settle();
    assert_ne!(trust(&mut net, 2, 0), Trust::Introduced);
}

#[test]
fn c02_somebody_else_under_the_same_name_blocks_sending_until_resolved() {
    for keeps in [true, false] {
        let mut net = people(3);
        let old = add(&mut net, 0, 1, "Bob");
        let now = net.now(2);
        let profile = meshlink_core::ProfileDraft { name: Some("bob".to_owned()), ..Default::default() };
        net.node(2).set_profile(profile, now).unwrap();
        exchange_code(&mut net, 2, 0, false);
        let rival = net.id(2);
        assert_eq!(
            write(&mut net, 0, old, "secret").unwrap_err(),
            SubmitError::RivalRecipient { to: old, rival }
        );
        let now = net.now(0);
        let now_bob = net.node(0).resolve_rival(&old, keeps, now).unwrap();
        assert_eq!(now_bob, if keeps { old } else { rival });
        assert_eq!(net.node(0).contact_called("BOB"), Some(now_bob));
        assert!(write(&mut net, 0, now_bob, "secret").is_ok());
        assert_eq!(net.node(0).resolve_rival(&old, keeps, now), Err(ContactError::NoRival));
    }
}

#[test]
fn names_are_unique_and_look_like_names() {
    let mut net = people(3);
    let bob = add(&mut net, 0, 1, "Bob");
    let (carol, now) = (net.id(2), net.now(0));
    let draft =
        |name: &str| ContactDraft { id: Some(carol), name: Some(name.to_owned()), ..ContactDraft::default() };
    let taken = net.node(0).add_contact(draft("bob"), now);
    assert_eq!(taken, Err(ContactError::NameTaken { name: "bob".to_owned(), by: bob }));
    for name in ["#mesh", "@x", "group:x", "a\u{202e}b", "", &bob.to_string()] {
        assert!(matches!(net.node(0).add_contact(draft(name), now), Err(ContactError::BadName { .. })));
    }
    let own = ContactDraft { id: Some(net.id(0)), ..ContactDraft::default() };
    assert_eq!(net.node(0).add_contact(own, now), Err(ContactError::Oneself));
    assert_eq!(net.node(0).add_contact(ContactDraft::default(), now), Err(ContactError::NobodyNamed));
}

#[test]
fn a_note_to_oneself_stays_here() {
    let mut net = people(2);
    net.join(0, 1);
    net.settle();
    let before = carried_bytes(&net, 0).len();
    let id = send(&mut net, 0, 0, "buy candles");
    net.settle();
    assert_eq!(net.status(0, &id), MessageStatus::Read);
    assert_eq!(net.texts(0), ["buy candles"]);
    assert_eq!(carried_bytes(&net, 0).len(), before, "no bundle");
}

#[test]
fn a_forgotten_private_message_is_withdrawn_if_nobody_has_it() {
    let mut net = people(2);
    exchange_code(&mut net, 0, 1, false);
    let link = net.join(0, 1);
    net.settle();
    net.cut(link);
    let id = send(&mut net, 0, 1, "oops");
    let now = net.now(0);
    assert!(net.node(0).forget(&id, now).unwrap());
    net.join(0, 1);
    net.pass(MINUTE_MS);
    assert_eq!(net.texts(1), Vec::<String>::new());
    // One that was received does not come back, whoever has it.
    let other = send(&mut net, 0, 1, "kept");
    net.settle();
    let now = net.now(1);
    assert!(net.node(1).forget(&other, now).unwrap());
    let carrier = net.add(9, Limits::default());
    net.join(0, carrier);
    net.join(carrier, 1);
    net.pass(MINUTE_MS);
    assert_eq!(net.texts(1), Vec::<String>::new());
}

#[test]
fn a_contacts_bundles_count_as_a_contacts() {
    let mut net = people(2);
    exchange_code(&mut net, 0, 1, false);
    net.join(0, 1);
    net.settle();
    receipts(&mut net, 0, 1, ReceiptChoice::Nothing);
    let before = net.store(0).usage(Class::Contact).unwrap().bundles;
    send(&mut net, 1, 0, "private");
    net.post(1, "public");
    net.settle();
    assert_eq!(net.store(0).usage(Class::Contact).unwrap().bundles, before + 2);
}

#[test]
fn changes_of_contacts_are_events() {
    let mut net = people(2);
    exchange_code(&mut net, 0, 1, false);
    net.join(0, 1);
    net.settle();
    for at in [0, 1] {
        let peer = net.id(1 - at);
        assert!(net.log(at).contains(&Event::ContactChanged { peer }), "node {at}");
    }
}

#[test]
fn a_lifetime_is_no_longer_than_a_key_lives() {
    let mut net = people(1);
    let now = net.now(0);
    let draft = PrivateDraft {
        to: NodeId([9; NodeId::BYTES]),
        text: "x".to_owned(),
        lifetime_s: Some(8 * 24 * 3600),
        priority: Priority::Normal,
        reply_to: None,
    };
    let refused = net.node(0).submit_private(draft, now);
    assert_eq!(refused, Err(SubmitError::BadLifetime { min: 60, max: 604_800 }));
}

#[test]
fn p10_after_a_sleep_of_two_weeks_keys_are_as_they_have_to_be_at_once() {
    let mut net = people(2);
    exchange_code(&mut net, 0, 1, false);
    net.join(0, 1);
    net.settle();
    for (from, to) in [(1, 0), (0, 1), (1, 0)] {
        send(&mut net, from, to, "before");
        net.settle();
    }
    net.pass(MINUTE_MS);
    net.cut_all();
    let keys = |net: &Net, at: At| net.store(at).records(Shelf::Prekey, &[], 100).unwrap();
    let before = keys(&net, 1);
    assert!(before.len() > 1);
    // The machine is suspended: no timer fires meanwhile, and then all are late.
    net.mono_ms += 15 * DAY_MS;
    net.pass(1);
    let after = keys(&net, 1);
    assert!(after.iter().all(|key| !before.contains(key)), "c10: none of those keys opens anything now");
    assert_eq!(after.len(), 1, "one was published with the waking");
    net.join(0, 1);
    net.settle();
    let id = send(&mut net, 0, 1, "after");
    net.pass(MINUTE_MS);
    assert_eq!(net.texts(1).last().map(String::as_str), Some("after"));
    assert_eq!(net.status(0, &id), MessageStatus::Delivered);
}

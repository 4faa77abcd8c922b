//! Messages, events, peers, channels, and the node's own small records.

use super::fixtures::{bundle, id, message, node, peer};
use super::ok;
use crate::clock::SavedClock;
use crate::event::{Event, LinkKind, MessageStatus};
use crate::id::Seq;
use crate::limits::{HAND_OVERS_MAX, MESSAGE_COST_BYTES};
use crate::store::{
    HandOver, HandOverStep, MessageRecord, Priority, ProfileRecord, Shelf, Slot, Store, Usage,
};

pub(super) fn run_all<S: Store>(make: &impl Fn() -> S) {
    pending_messages_are_the_own_ones_nobody_else_has(make());
    a_message_gets_the_position_of_its_event(make());
    a_message_is_changed_and_forgotten(make());
    received_messages_are_trimmed_read_ones_first(make());
    events_are_numbered_without_gaps_and_trimmed_from_the_front(make());
    l06_the_longest_silent_peer_goes_first_and_blocked_ones_stay(make());
    channels_are_joined_and_left_once(make());
    hand_overs_are_noted_once_and_bounded(make());
    slots_and_clocks_are_kept(make());
    r08_times_beyond_2038_are_kept(make());
    records_lie_on_their_shelves_by_key(make());
}

fn pending_messages_are_the_own_ones_nobody_else_has<S: Store>(mut store: S) {
    let mut seqs = Vec::new();
    for (n, own, status) in [
        (1, true, MessageStatus::Pending),
        (2, true, MessageStatus::Synced),
        (3, false, MessageStatus::Synced),
        (4, true, MessageStatus::Pending),
    ] {
        let mut one = MessageRecord { own, status, ..message(n) };
        seqs.push(ok(store.insert_message(&mut one)));
    }
    assert_eq!(ok(store.pending(seqs[3], 9)), [id(1), id(4)]);
    assert_eq!(ok(store.pending(seqs[2], 9)), [id(1)]);
    assert_eq!(ok(store.pending(seqs[3], 1)), [id(1)]);
    ok(store.set_status(&id(1), MessageStatus::Synced, None));
    assert_eq!(ok(store.pending(seqs[3], 9)), [id(4)]);
    ok(store.delete_message(&id(4)));
    assert_eq!(ok(store.pending(seqs[3], 9)), []);
}

fn a_message_gets_the_position_of_its_event<S: Store>(mut store: S) {
    ok(store.append_event(&Event::PeerUp { peer: node(1) }, None));
    let mut first = message(1);
    assert_eq!(ok(store.insert_message(&mut first)), Seq(2));
    assert_eq!(first.seq, Seq(2));
    assert_eq!(ok(store.message(&id(1))), Some(first.clone()));
    let logged = ok(store.events_after(Seq(1), 10));
    assert_eq!(logged.len(), 1);
    assert_eq!(logged[0].seq, Seq(2));
    assert_eq!(logged[0].event, Event::MessageNew { id: id(1) });
    assert_eq!(logged[0].at_unix_ms, first.received_unix_ms);
    let mut full = message(2);
    full.from = None;
    full.from_alias = Some("né".to_owned());
    full.own = true;
    full.status_reason = Some("why".to_owned());
    full.reply_to = Some(id(1));
    full.created_unix_ms = None;
    full.received_unix_ms = None;
    full.priority = Priority::Bulk;
    full.read = true;
    full.text = "a\u{1F469}\u{200D}\u{1F680}\n\u{202E}b".to_owned();
    ok(store.insert_message(&mut full));
    for message in [&first, &full] {
        assert_eq!(ok(store.message_state(&message.id)), Some(message.state()));
    }
    assert_eq!(ok(store.message_state(&id(3))), None);
    assert_eq!(ok(store.messages_after(Seq(0), 10)), [first.clone(), full.clone()]);
    assert_eq!(ok(store.messages_after(first.seq, 10)), [full]);
    assert_eq!(ok(store.messages_after(Seq(0), 1)), [first]);
}

fn a_message_is_changed_and_forgotten<S: Store>(mut store: S) {
    ok(store.insert_message(&mut message(1)));
    ok(store.set_status(&id(1), MessageStatus::Expired, Some("too late")));
    ok(store.set_status(&id(9), MessageStatus::Expired, None));
    let changed = ok(store.message(&id(1))).expect("kept");
    assert_eq!(
        (changed.status, changed.status_reason.as_deref()),
        (MessageStatus::Expired, Some("too late"))
    );
    assert!(ok(store.mark_read(&id(1))));
    assert!(!ok(store.mark_read(&id(1))));
    assert!(!ok(store.mark_read(&id(9))));
    assert!(ok(store.message(&id(1))).expect("kept").read);
    assert_eq!(ok(store.message_state(&id(1))), Some(changed.state()));
    assert!(ok(store.delete_message(&id(1))));
    assert!(!ok(store.delete_message(&id(1))));
    assert_eq!(ok(store.message(&id(1))), None);
    assert_eq!(ok(store.messages_after(Seq(0), 10)), []);
    assert_eq!(ok(store.events_after(Seq(0), 10)).len(), 1, "the log keeps what happened");
}

fn received_messages_are_trimmed_read_ones_first<S: Store>(mut store: S) {
    let cost = message(1).cost_bytes();
    assert_eq!(cost, MESSAGE_COST_BYTES + 6);
    for n in 1..=5 {
        ok(store.insert_message(&mut message(n)));
    }
    let mut own = message(6);
    own.own = true;
    ok(store.insert_message(&mut own));
    assert_eq!(ok(store.received_usage()), Usage { bundles: 5, bytes: 5 * cost });
    ok(store.mark_read(&id(3)));
    ok(store.mark_read(&id(6)));
    assert_eq!(ok(store.trim_received(5 * cost, 10)), 0);
    assert_eq!(ok(store.trim_received(4 * cost, 10)), 1);
    assert_eq!(ok(store.message(&id(3))), None);
    assert_eq!(ok(store.trim_received(0, 2)), 2, "at most the limit");
    let left: Vec<u8> = ok(store.messages_after(Seq(0), 10)).iter().map(|message| message.id.0[0]).collect();
    assert_eq!(left, [4, 5, 6]);
    assert_eq!(ok(store.trim_received(0, 10)), 2);
    assert!(ok(store.message(&id(6))).is_some(), "own messages stay");
    assert_eq!(ok(store.received_usage()), Usage::default());
}

fn events_are_numbered_without_gaps_and_trimmed_from_the_front<S: Store>(mut store: S) {
    assert_eq!(ok(store.event_bounds()), None);
    for n in 1..=6 {
        let event = Event::PeerUp { peer: node(n) };
        assert_eq!(ok(store.append_event(&event, Some(u64::from(n)))), Seq(u64::from(n)));
    }
    assert_eq!(ok(store.event_bounds()), Some((Seq(1), Seq(6))));
    assert_eq!(ok(store.trim_events(6)), 0);
    assert_eq!(ok(store.trim_events(4)), 2);
    assert_eq!(ok(store.event_bounds()), Some((Seq(3), Seq(6))));
    let page = ok(store.events_after(Seq(0), 2));
    assert_eq!(page.iter().map(|event| event.seq.0).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(page[0].event, Event::PeerUp { peer: node(3) });
    assert_eq!(page[0].at_unix_ms, Some(3));
    assert_eq!(ok(store.events_after(Seq(6), 2)), []);
    assert_eq!(ok(store.trim_events(0)), 4);
    assert_eq!(ok(store.event_bounds()), Some((Seq(7), Seq(6))), "none kept, six given");
    assert_eq!(ok(store.append_event(&Event::PeerUp { peer: node(7) }, None)), Seq(7));
}

fn l06_the_longest_silent_peer_goes_first_and_blocked_ones_stay<S: Store>(mut store: S) {
    for (n, heard) in [(1, 50), (2, 10), (3, 30), (4, 20)] {
        ok(store.put_peer(&peer(n, heard)));
    }
    let mut blocked = peer(2, 10);
    blocked.blocked = true;
    ok(store.put_peer(&blocked));
    let mut known = peer(1, 60);
    known.profile = Some(ProfileRecord {
        bundle: id(1),
        revision: 3,
        name: Some("Ana".to_owned()),
        about: None,
        avatar: Some("data:image/png;base64,".to_owned()),
    });
    known.last_seen_unix_ms = Some(5);
    known.encounters = 2;
    known.bundles_sent = 3;
    known.bundles_received = 4;
    ok(store.put_peer(&known));
    assert_eq!(ok(store.peer(&node(1))), Some(known));
    assert_eq!(ok(store.blocked()), [node(2)]);
    assert_eq!(ok(store.trim_peers(4)), 0);
    assert_eq!(ok(store.trim_peers(3)), 1);
    assert_eq!(ok(store.peer(&node(4))), None);
    assert_eq!(ok(store.trim_peers(0)), 2);
    assert_eq!(ok(store.peer(&node(2))), Some(blocked));
    assert_eq!(ok(store.peer(&node(1))), None);
}

fn channels_are_joined_and_left_once<S: Store>(mut store: S) {
    assert!(!ok(store.is_joined("#a")));
    assert!(ok(store.join("#a", Some(1))));
    assert!(!ok(store.join("#a", Some(2))));
    assert!(ok(store.is_joined("#a")));
    assert!(!ok(store.is_joined("#")));
    assert!(ok(store.leave("#a")));
    assert!(!ok(store.leave("#a")));
    assert!(!ok(store.is_joined("#a")));
}

fn hand_overs_are_noted_once_and_bounded<S: Store>(mut store: S) {
    let step = |n: u8, step| HandOver {
        bundle: id(1),
        step,
        peer: Some(node(n)),
        via: Some(LinkKind::Relay),
        at_unix_ms: Some(u64::from(n)),
    };
    ok(store.record_hand_over(&step(1, HandOverStep::Offered)));
    assert_eq!(ok(store.hand_overs(&id(1))), [], "no message, no steps");
    ok(store.insert_message(&mut message(1)));
    ok(store.insert_message(&mut message(2)));
    let first = step(1, HandOverStep::Offered);
    let second = step(1, HandOverStep::Stored);
    ok(store.record_hand_over(&first));
    ok(store.record_hand_over(&second));
    let mut again = first.clone();
    again.at_unix_ms = Some(99);
    again.via = Some(LinkKind::Ble);
    ok(store.record_hand_over(&again));
    assert_eq!(
        ok(store.hand_overs(&id(1))),
        [first.clone(), second],
        "the first of its kind counts, oldest first"
    );
    for n in 2..=255 {
        ok(store.record_hand_over(&step(n, HandOverStep::Offered)));
    }
    assert_eq!(ok(store.hand_overs(&id(1))).len(), HAND_OVERS_MAX);
    let confirmed =
        |step, at| HandOver { step, peer: None, via: None, at_unix_ms: Some(at), ..first.clone() };
    let delivered = confirmed(HandOverStep::Delivered, 7);
    let read = confirmed(HandOverStep::Read, 8);
    for step in [&delivered, &confirmed(HandOverStep::Delivered, 9), &read] {
        ok(store.record_hand_over(step));
    }
    assert_eq!(ok(store.hand_overs(&id(1)))[HAND_OVERS_MAX..], [delivered, read], "always room, once each");
    assert_eq!(ok(store.hand_overs(&id(2))), []);
    ok(store.delete_message(&id(1)));
    assert_eq!(ok(store.hand_overs(&id(1))), []);
}

fn slots_and_clocks_are_kept<S: Store>(mut store: S) {
    assert_eq!(ok(store.slot(Slot::Profile)), None);
    ok(store.set_slot(Slot::Profile, b"one"));
    ok(store.set_slot(Slot::Links, b""));
    ok(store.set_slot(Slot::Profile, b"two"));
    ok(store.commit());
    assert_eq!(ok(store.slot(Slot::Profile)).as_deref(), Some(&b"two"[..]));
    assert_eq!(ok(store.slot(Slot::Links)).as_deref(), Some(&b""[..]));
    assert_eq!(ok(store.saved_clock()), SavedClock::default());
    for unix_ms in [Some(1_700_000_000_000), None] {
        let clock = SavedClock { timeline_ms: 5, unix_ms };
        ok(store.save_clock(clock));
        ok(store.commit());
        assert_eq!(ok(store.saved_clock()), clock);
    }
}

fn r08_times_beyond_2038_are_kept<S: Store>(mut store: S) {
    let far = i64::MAX as u64;
    let mut late = bundle(1);
    late.expires_tl_ms = far;
    late.age_ms = far;
    ok(store.insert_bundle(&late));
    assert_eq!(ok(store.bundle(&id(1))), Some(late));
    assert_eq!(ok(store.next_expiry()), Some(far));
    assert_eq!(ok(store.expired(far, 1)), [id(1)]);
    let mut letter = message(1);
    letter.created_unix_ms = Some(far);
    ok(store.insert_message(&mut letter));
    assert_eq!(ok(store.message(&id(1))).expect("kept").created_unix_ms, Some(far));
}

fn records_lie_on_their_shelves_by_key<S: Store>(mut store: S) {
    for (shelf, key) in [(Shelf::Prekey, "b"), (Shelf::Contact, "b"), (Shelf::Contact, "a"), (Shelf::Due, "")]
    {
        ok(store.put_record(shelf, key.as_bytes(), format!("{shelf:?} {key}").as_bytes()));
    }
    assert_eq!(ok(store.record(Shelf::Contact, b"b")), Some(b"Contact b".to_vec()));
    assert_eq!(ok(store.record(Shelf::Contact, b"c")), None);
    let contacts = ok(store.records(Shelf::Contact, b"", 9));
    assert_eq!(contacts, [(b"a".to_vec(), b"Contact a".to_vec()), (b"b".to_vec(), b"Contact b".to_vec())]);
    assert_eq!(ok(store.records(Shelf::Contact, b"aa", 9)).len(), 1);
    assert_eq!(ok(store.records(Shelf::Contact, b"", 1)).len(), 1);
    ok(store.commit());
    ok(store.put_record(Shelf::Contact, b"a", b"new"));
    assert!(ok(store.remove_record(Shelf::Contact, b"b")));
    assert!(!ok(store.remove_record(Shelf::Contact, b"b")));
    assert_eq!(ok(store.records(Shelf::Contact, b"", 9)), [(b"a".to_vec(), b"new".to_vec())]);
    store.rollback();
    assert_eq!(ok(store.records(Shelf::Contact, b"", 9)), contacts);
}

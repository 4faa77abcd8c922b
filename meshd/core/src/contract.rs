//! What every [`Store`] has to do, as tests that any store can be put through.
//!
//! [`run_all`] checks each clause of the trait's text by itself; [`model::compare`] drives a store and
//! [`crate::mem::MemStore`] with the same random operations and compares everything they say. A new store
//! calls both from its own tests. Failures panic.

mod fixtures;
pub mod model;

pub use fixtures::{bundle, message, peer};
use fixtures::{id, node, prefix};

use crate::clock::SavedClock;
use crate::event::{Event, LinkKind, MessageStatus};
use crate::id::{BundleId, IdPrefix, Seq};
use crate::limits::{BUNDLE_COST_BYTES_MIN, HAND_OVERS_MAX, MESSAGE_COST_BYTES};
use crate::receipt::Commitment;
use crate::store::{
    Class, HandOver, HandOverStep, Known, MessageRecord, OfferKey, Priority, ProfileRecord, Shelf, Slot,
    Store, StoredBundle, Usage,
};

/// Runs every check, each on a store of its own.
pub fn run_all<S: Store>(make: impl Fn() -> S) {
    a_rollback_undoes_everything(make());
    a_commit_closes_the_transaction(make());
    a_bundle_comes_back_as_it_was(make());
    a_prefix_tells_held_from_dropped_from_unknown(make());
    a_short_beginning_finds_all_that_start_like_it(make());
    pending_messages_are_the_own_ones_nobody_else_has(make());
    rows_grow_and_are_never_reused(make());
    offers_come_by_priority_then_arrival(make());
    expiry_is_found_soonest_first(make());
    l07_dropped_ids_are_remembered_until_their_time(make());
    l05_usage_counts_at_least_the_minimum(make());
    usage_follows_what_comes_and_goes(make());
    l03_the_victim_is_the_least_urgent_then_the_most_spread_then_the_oldest(make());
    only_strangers_count_against_an_ingress(make());
    unshown_posts_are_found_by_channel(make());
    a_message_gets_the_position_of_its_event(make());
    a_message_is_changed_and_forgotten(make());
    received_messages_are_trimmed_read_ones_first(make());
    events_are_numbered_without_gaps_and_trimmed_from_the_front(make());
    l06_the_longest_silent_peer_goes_first_and_blocked_ones_stay(make());
    channels_are_joined_and_left_once(make());
    hand_overs_are_noted_once_and_bounded(make());
    slots_and_clocks_are_kept(make());
    c19_bundles_are_found_by_their_commitment(make());
    the_newest_of_a_kind_is_found(make());
    records_lie_on_their_shelves_by_key(make());
    r08_times_beyond_2038_are_kept(make());
}

/// Unwraps what a working disk never refuses.
fn ok<T>(result: Result<T, crate::store::StoreError>) -> T {
    result.expect("the disk under test works")
}

fn a_rollback_undoes_everything<S: Store>(mut store: S) {
    ok(store.insert_bundle(&bundle(1)));
    ok(store.insert_message(&mut message(1)));
    ok(store.commit());
    ok(store.drop_bundle(&id(1), 200_000));
    ok(store.insert_bundle(&bundle(2)));
    ok(store.insert_message(&mut message(2)));
    ok(store.mark_read(&id(1)));
    ok(store.put_peer(&peer(9, 1)));
    ok(store.join("#other", None));
    ok(store.set_slot(Slot::Profile, b"new"));
    ok(store.save_clock(SavedClock { timeline_ms: 7, unix_ms: None }));
    assert!(store.is_dirty());
    store.rollback();
    assert!(!store.is_dirty());
    assert_eq!(ok(store.known(&prefix(1))), Known::Held(id(1)));
    assert_eq!(ok(store.known(&prefix(2))), Known::No);
    assert_eq!(ok(store.bundle(&id(1))), Some(bundle(1)));
    assert_eq!(ok(store.usage(Class::Stranger)), Usage { bundles: 1, bytes: 600 });
    assert_eq!(ok(store.message(&id(2))), None);
    assert!(!ok(store.message(&id(1))).expect("committed").read);
    assert_eq!(ok(store.event_bounds()), Some((Seq(1), Seq(1))));
    assert_eq!(ok(store.peer(&node(9))), None);
    assert!(!ok(store.is_joined("#other")));
    assert_eq!(ok(store.slot(Slot::Profile)), None);
    assert_eq!(ok(store.saved_clock()), SavedClock::default());
    let mut second = message(2);
    assert_eq!(ok(store.insert_message(&mut second)), Seq(2), "a position rolled back is given again");
}

fn a_commit_closes_the_transaction<S: Store>(mut store: S) {
    assert!(!store.is_dirty());
    ok(store.commit());
    ok(store.insert_bundle(&bundle(1)));
    assert!(store.is_dirty());
    ok(store.commit());
    assert!(!store.is_dirty());
    store.rollback();
    assert_eq!(ok(store.bundle(&id(1))), Some(bundle(1)));
    ok(store.probe());
    assert!(!store.is_dirty());
}

fn a_bundle_comes_back_as_it_was<S: Store>(mut store: S) {
    let mut plain = bundle(1);
    plain.origin = None;
    plain.ingress = None;
    plain.auth = Vec::new();
    plain.class = Class::Own;
    plain.priority = Priority::Sos;
    let mut carried = bundle(2);
    carried.unshown_in = Some("#other".to_owned());
    carried.kind = u16::MAX;
    carried.class = Class::Contact;
    ok(store.insert_bundle(&plain));
    ok(store.insert_bundle(&carried));
    ok(store.commit());
    assert_eq!(ok(store.bundle(&id(1))), Some(plain));
    assert_eq!(ok(store.bundle(&id(2))), Some(carried));
    assert_eq!(ok(store.bundle(&id(3))), None);
    ok(store.drop_bundle(&id(1), 0));
    assert_eq!(ok(store.bundle(&id(1))), None);
}

fn a_prefix_tells_held_from_dropped_from_unknown<S: Store>(mut store: S) {
    let mut neighbour = bundle(5);
    neighbour.id.0[IdPrefix::BYTES - 1] = 6;
    ok(store.insert_bundle(&neighbour));
    assert_eq!(ok(store.known(&prefix(5))), Known::No, "one byte of the prefix differs");
    ok(store.insert_bundle(&bundle(5)));
    assert_eq!(ok(store.known(&prefix(5))), Known::Held(id(5)));
    ok(store.drop_bundle(&id(5), 500));
    assert_eq!(ok(store.known(&prefix(5))), Known::Dropped);
    let mut twin = bundle(5);
    twin.id.0[31] = 0;
    ok(store.insert_bundle(&twin));
    assert_eq!(ok(store.known(&prefix(5))), Known::Held(twin.id), "held wins over dropped");
}

fn a_short_beginning_finds_all_that_start_like_it<S: Store>(mut store: S) {
    let mut twin = bundle(5);
    twin.id.0[6] = 6;
    twin.priority = Priority::Sos;
    let (row, twin_row) = (ok(store.insert_bundle(&bundle(5))), ok(store.insert_bundle(&twin)));
    let found = ok(store.held_like(&id(5).0[..6], 9));
    let expected =
        [OfferKey { priority: bundle(5).priority, row }, OfferKey { priority: Priority::Sos, row: twin_row }];
    assert_eq!(found.iter().map(|offer| offer.key).collect::<Vec<_>>(), expected);
    assert_eq!(found.iter().map(|offer| offer.id).collect::<Vec<_>>(), [id(5), twin.id]);
    assert_eq!(found[0], ok(store.offers(OfferKey { row: row - 1, ..expected[0] }, 1))[0]);
    assert_eq!(ok(store.held_like(&id(5).0[..6], 1)).len(), 1);
    assert_eq!(ok(store.held_like(&id(5).0[..7], 9)).len(), 1);
    assert_eq!(ok(store.held_like(&id(5).0, 9)).len(), 1, "more than 12 bytes are not looked at");
    assert_eq!(ok(store.held_like(&id(4).0[..5], 9)), []);
    let mut ids = Vec::new();
    ok(store.each_id(&mut |id| ids.push(*id)));
    ids.sort();
    assert_eq!(ids, [id(5), twin.id]);
    assert!(ok(store.drop_bundle(&id(5), 500)) && !ok(store.drop_bundle(&id(5), 600)));
    assert!(ok(store.is_dropped_like(&id(5).0[..5])) && !ok(store.is_dropped_like(&twin.id.0[..7])));
    assert!(!ok(store.is_dropped_like(&id(4).0[..5])));
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

fn rows_grow_and_are_never_reused<S: Store>(mut store: S) {
    let first = ok(store.insert_bundle(&bundle(1)));
    assert!(first >= 1);
    let second = ok(store.insert_bundle(&bundle(2)));
    assert!(second > first);
    ok(store.commit());
    ok(store.drop_bundle(&id(2), 500));
    ok(store.commit());
    let third = ok(store.insert_bundle(&bundle(3)));
    assert!(third > second, "the row of a dropped bundle is not given again");
    ok(store.drop_bundle(&id(1), 500));
    assert!(ok(store.insert_bundle(&bundle(1))) > third, "nor is that of the same bundle");
}

fn offers_come_by_priority_then_arrival<S: Store>(mut store: S) {
    assert_eq!(ok(store.newest_row(Priority::Normal)), 0);
    for (n, priority) in [
        (9, Priority::Bulk),
        (8, Priority::Normal),
        (7, Priority::Sos),
        (6, Priority::Normal),
        (5, Priority::Sos),
    ] {
        let mut one = bundle(n);
        one.priority = priority;
        one.class = if n == 6 { Class::Own } else { Class::Stranger };
        ok(store.insert_bundle(&one));
    }
    let all = ok(store.offers(OfferKey::START, 10));
    assert_eq!(all.iter().map(|offer| offer.id.0[0]).collect::<Vec<_>>(), [7, 5, 8, 6, 9]);
    assert_eq!(all.iter().map(|offer| offer.own).collect::<Vec<_>>(), [false, false, false, true, false]);
    assert!(
        all.iter().all(|offer| offer.size_bytes == 600 && offer.hops == 1 && offer.ingress == Some(node(2)))
    );
    let mut paged = ok(store.offers(OfferKey::START, 2));
    while let Some(last) = paged.last() {
        let next = ok(store.offers(last.key, 2));
        if next.is_empty() {
            break;
        }
        paged.extend(next);
    }
    assert_eq!(paged, all, "pages join without gap or overlap");
    assert_eq!(ok(store.newest_row(Priority::Sos)), all[1].key.row);
    assert_eq!(ok(store.newest_row(Priority::Normal)), all[3].key.row);
    assert!(ok(store.offers(OfferKey::START, 0)).is_empty());
}

fn expiry_is_found_soonest_first<S: Store>(mut store: S) {
    assert_eq!(ok(store.next_expiry()), None);
    for (n, at) in [(1, 300), (2, 100), (3, 200)] {
        let mut one = bundle(n);
        one.expires_tl_ms = at;
        ok(store.insert_bundle(&one));
    }
    assert_eq!(ok(store.next_expiry()), Some(100));
    assert_eq!(ok(store.expired(99, 10)), []);
    assert_eq!(ok(store.expired(200, 10)), [id(2), id(3)]);
    assert_eq!(ok(store.expired(300, 1)), [id(2)]);
    ok(store.drop_bundle(&id(2), 0));
    assert_eq!(ok(store.next_expiry()), Some(200));
}

fn l07_dropped_ids_are_remembered_until_their_time<S: Store>(mut store: S) {
    ok(store.insert_bundle(&bundle(1)));
    ok(store.drop_bundle(&id(1), 500));
    ok(store.drop_bundle(&id(2), 400));
    assert_eq!(ok(store.known(&prefix(2))), Known::Dropped, "also an id that was never held");
    ok(store.drop_bundle(&id(1), 300));
    assert_eq!(ok(store.forget_dropped(399, 10)), 0);
    assert_eq!(ok(store.forget_dropped(499, 10)), 1, "the later of two times counts");
    assert_eq!(ok(store.known(&prefix(1))), Known::Dropped);
    assert_eq!(ok(store.known(&prefix(2))), Known::No);
    assert_eq!(ok(store.forget_dropped(500, 10)), 1, "its time is over when it is reached");
    for n in 10..20 {
        ok(store.drop_bundle(&id(n), 600));
    }
    assert_eq!(ok(store.forget_dropped(9_999, 4)), 4);
    assert_eq!(ok(store.forget_dropped(9_999, 100)), 6);
    ok(store.drop_bundle(&id(3), 700));
    ok(store.insert_bundle(&bundle(3)));
    assert_eq!(ok(store.known(&prefix(3))), Known::Held(id(3)));
    assert_eq!(ok(store.forget_dropped(9_999, 10)), 0, "what is held is no longer dropped");
}

fn l05_usage_counts_at_least_the_minimum<S: Store>(mut store: S) {
    let mut tiny = bundle(1);
    tiny.header = vec![0; 3];
    tiny.payload = Vec::new();
    tiny.auth = Vec::new();
    ok(store.insert_bundle(&tiny));
    assert_eq!(ok(store.usage(Class::Stranger)), Usage { bundles: 1, bytes: BUNDLE_COST_BYTES_MIN });
}

fn usage_follows_what_comes_and_goes<S: Store>(mut store: S) {
    assert_eq!(ok(store.usage(Class::Own)), Usage::default());
    let mut own = bundle(1);
    own.class = Class::Own;
    own.ingress = None;
    ok(store.insert_bundle(&own));
    ok(store.insert_bundle(&bundle(2)));
    let mut other = bundle(3);
    other.origin = Some(node(7));
    ok(store.insert_bundle(&other));
    let one = Usage { bundles: 1, bytes: 600 };
    let two = Usage { bundles: 2, bytes: 1_200 };
    assert_eq!(ok(store.usage(Class::Own)), one);
    assert_eq!(ok(store.usage(Class::Stranger)), two);
    assert_eq!(ok(store.usage_of_origin(&node(1))), two, "an origin's usage is that of all classes");
    assert_eq!(ok(store.usage_of_origin(&node(7))), one);
    assert_eq!(ok(store.usage_of_ingress(&node(2))), two);
    let mut of_origin = ok(store.bundles_of_origin(&node(1), 10));
    of_origin.sort();
    assert_eq!(of_origin, [id(1), id(2)]);
    assert_eq!(ok(store.bundles_of_origin(&node(1), 1)).len(), 1);
    ok(store.drop_bundle(&id(2), 0));
    ok(store.drop_bundle(&id(2), 0));
    assert_eq!(ok(store.usage(Class::Stranger)), one);
    assert_eq!(ok(store.usage_of_origin(&node(1))), one);
    assert_eq!(ok(store.usage_of_ingress(&node(2))), one);
    ok(store.drop_bundle(&id(3), 0));
    assert_eq!(ok(store.usage_of_origin(&node(7))), Usage::default());
    assert_eq!(ok(store.usage_of_ingress(&node(2))), Usage::default());
}

fn l03_the_victim_is_the_least_urgent_then_the_most_spread_then_the_oldest<S: Store>(mut store: S) {
    assert_eq!(ok(store.victim(Class::Stranger)), None);
    for (n, priority, origin, ingress) in [
        (1, Priority::Sos, 1, 2),
        (2, Priority::Normal, 1, 2),
        (3, Priority::Bulk, 7, 3),
        (4, Priority::Bulk, 1, 2),
        (5, Priority::Normal, 8, 3),
    ] {
        let mut one = bundle(n);
        one.priority = priority;
        one.origin = Some(node(origin));
        one.ingress = Some(node(ingress));
        ok(store.insert_bundle(&one));
    }
    let first = ok(store.victim(Class::Stranger)).expect("five are held");
    assert_eq!((first.id, first.priority, first.cost_bytes), (id(3), Priority::Bulk, 600));
    assert_eq!(first.expires_tl_ms, bundle(3).expires_tl_ms);
    assert_eq!((first.received_tl_ms, first.copies), (bundle(3).received_tl_ms, bundle(3).copies));
    assert_eq!(ok(store.victim_of_origin(&node(1))).expect("held").id, id(4));
    assert_eq!(ok(store.victim_of_ingress(&node(2))).expect("held").id, id(4));
    assert_eq!(ok(store.victim_of_origin(&node(9))), None);
    assert_eq!(ok(store.victim_of_ingress(&node(9))), None);
    assert_eq!(ok(store.victim(Class::Own)), None);
    ok(store.hand_over_copy(&id(5)));
    ok(store.hand_over_copy(&id(9)));
    assert_eq!(ok(store.bundle(&id(5))).expect("held").copies, bundle(5).copies - 1);
    assert_eq!(ok(store.victim_of_origin(&node(8))).expect("held").id, id(5));
    let mut order = Vec::new();
    while let Some(victim) = ok(store.victim(Class::Stranger)) {
        order.push(victim.id.0[0]);
        ok(store.drop_bundle(&victim.id, 0));
    }
    assert_eq!(order, [3, 4, 5, 2, 1]);
}

fn only_strangers_count_against_an_ingress<S: Store>(mut store: S) {
    let mut contact = bundle(1);
    contact.class = Class::Contact;
    ok(store.insert_bundle(&contact));
    assert_eq!(ok(store.usage_of_ingress(&node(2))), Usage::default());
    assert_eq!(ok(store.victim_of_ingress(&node(2))), None);
    assert_eq!(ok(store.usage_of_origin(&node(1))).bundles, 1);
}

fn unshown_posts_are_found_by_channel<S: Store>(mut store: S) {
    for (n, channel) in [(3, "#b"), (2, "#a"), (1, "#b"), (4, "#bb")] {
        let mut post = bundle(n);
        post.unshown_in = Some(channel.to_owned());
        ok(store.insert_bundle(&post));
    }
    let ids = |store: &S, channel: &str, after: u64, limit: usize| -> Vec<BundleId> {
        ok(store.unshown(channel, after, limit)).into_iter().map(|(_, id)| id).collect()
    };
    assert_eq!(ids(&store, "#b", 0, 10), [id(3), id(1)], "in order of arrival");
    assert_eq!(ids(&store, "#b", 0, 1), [id(3)]);
    let (row, _) = ok(store.unshown("#b", 0, 1))[0];
    assert_eq!(ids(&store, "#b", row, 10), [id(1)], "after the first");
    assert_eq!(ids(&store, "#b", row - 1, 10), [id(3), id(1)]);
    ok(store.mark_shown(&id(3)));
    ok(store.mark_shown(&id(99)));
    assert_eq!(ids(&store, "#b", 0, 10), [id(1)]);
    assert_eq!(ok(store.bundle(&id(3))).expect("held").unshown_in, None);
    ok(store.drop_bundle(&id(1), 0));
    assert_eq!(ids(&store, "#b", 0, 10), []);
    assert_eq!(ids(&store, "#a", 0, 10), [id(2)]);
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
        peer: node(n),
        via: LinkKind::Relay,
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
    again.via = LinkKind::Ble;
    ok(store.record_hand_over(&again));
    assert_eq!(ok(store.hand_overs(&id(1))), [first, second], "the first of its kind counts, oldest first");
    for n in 2..=255 {
        ok(store.record_hand_over(&step(n, HandOverStep::Offered)));
    }
    assert_eq!(ok(store.hand_overs(&id(1))).len(), HAND_OVERS_MAX);
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

fn c19_bundles_are_found_by_their_commitment<S: Store>(mut store: S) {
    let commitment = Commitment([4; Commitment::BYTES]);
    for n in [3, 1, 2] {
        let other = Commitment([n; Commitment::BYTES]);
        ok(store.insert_bundle(&StoredBundle {
            commitment: Some(if n == 2 { other } else { commitment }),
            ..bundle(n)
        }));
    }
    ok(store.insert_bundle(&bundle(4)));
    assert_eq!(ok(store.bundle(&id(3))).and_then(|bundle| bundle.commitment), Some(commitment));
    assert_eq!(ok(store.bundles_committed(&commitment, 9)), [id(3), id(1)]);
    assert_eq!(ok(store.bundles_committed(&commitment, 1)), [id(3)]);
    ok(store.drop_bundle(&id(3), 1));
    assert_eq!(ok(store.bundles_committed(&commitment, 9)), [id(1)]);
    assert_eq!(ok(store.bundles_committed(&Commitment([9; Commitment::BYTES]), 9)), []);
}

fn the_newest_of_a_kind_is_found<S: Store>(mut store: S) {
    for (n, kind, priority) in
        [(1, 7, Priority::Sos), (2, 7, Priority::Bulk), (3, 1, Priority::Normal), (4, 7, Priority::Sos)]
    {
        let origin = Some(node(if n == 4 { 9 } else { 1 }));
        ok(store.insert_bundle(&StoredBundle { kind, priority, origin, ..bundle(n) }));
    }
    assert_eq!(ok(store.newest_of_kind(&node(1), 7)), Some(id(2)));
    assert_eq!(ok(store.newest_of_kind(&node(1), 2)), None);
    assert_eq!(ok(store.newest_of_kind(&node(8), 7)), None);
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

//! Bundles: found, offered in order, counted, evicted, remembered when dropped.

use super::fixtures::{bundle, id, node, prefix};
use super::ok;
use crate::id::{BundleId, IdPrefix};
use crate::limits::{BUNDLE_COST_BYTES_MIN, COPIES_MAIL_MIN, COPIES_MAX, COPIES_PUBLIC_MAX};
use crate::receipt::Commitment;
use crate::store::{Class, Dropped, Known, OfferKey, Priority, Store, StoredBundle, Usage};

pub(super) fn run_all<S: Store>(make: &impl Fn() -> S) {
    a_bundle_comes_back_as_it_was(make());
    a_prefix_tells_held_from_dropped_from_unknown(make());
    a_short_beginning_finds_all_that_start_like_it(make());
    rows_grow_and_are_never_reused(make());
    offers_come_by_priority_then_arrival(make());
    expiry_is_found_soonest_first(make());
    l07_dropped_ids_are_remembered_until_their_time(make());
    what_had_no_room_is_told_from_what_is_not_wanted(make());
    l05_usage_counts_at_least_the_minimum(make());
    usage_follows_what_comes_and_goes(make());
    l03_the_victim_is_the_least_urgent_then_the_most_spread_then_the_oldest(make());
    l02_what_is_for_everybody_is_told_from_mail_by_its_copies(make());
    l02_the_neighbour_that_brought_most_is_found(make());
    only_strangers_count_against_an_ingress(make());
    unshown_posts_are_found_by_channel(make());
    c19_bundles_are_found_by_their_commitment(make());
    the_newest_of_a_kind_is_found(make());
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
    assert_eq!(ok(store.known(&prefix(5))), Known::Dropped(Dropped::ForGood));
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
    assert_eq!(ok(store.dropped_like(&id(5).0[..5])), Some(Dropped::ForGood));
    assert_eq!(ok(store.dropped_like(&twin.id.0[..7])), None);
    assert_eq!(ok(store.dropped_like(&id(4).0[..5])), None);
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
    assert_eq!(
        ok(store.known(&prefix(2))),
        Known::Dropped(Dropped::ForGood),
        "also an id that was never held"
    );
    ok(store.drop_bundle(&id(1), 300));
    assert_eq!(ok(store.forget_dropped(399, 10)), 0);
    assert_eq!(ok(store.forget_dropped(499, 10)), 1, "the later of two times counts");
    assert_eq!(ok(store.known(&prefix(1))), Known::Dropped(Dropped::ForGood));
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

fn what_had_no_room_is_told_from_what_is_not_wanted<S: Store>(mut store: S) {
    ok(store.insert_bundle(&bundle(1)));
    assert!(ok(store.let_go(&id(1), 500)) && !ok(store.let_go(&id(2), 500)), "the second was never held");
    ok(store.commit());
    for n in [1, 2] {
        assert_eq!(ok(store.known(&prefix(n))), Known::Dropped(Dropped::ForRoom));
        assert_eq!(ok(store.dropped_like(&id(n).0[..5])), Some(Dropped::ForRoom));
    }
    ok(store.drop_bundle(&id(1), 400));
    assert_eq!(ok(store.known(&prefix(1))), Known::Dropped(Dropped::ForGood));
    ok(store.let_go(&id(1), 600));
    assert_eq!(ok(store.known(&prefix(1))), Known::Dropped(Dropped::ForGood), "once for good is for good");
    assert_eq!(ok(store.forget_dropped(599, 10)), 1, "only the other one's time is over");
    ok(store.let_go(&id(5), 900));
    let mut twin = bundle(5);
    twin.id.0[6] = 6;
    ok(store.drop_bundle(&twin.id, 900));
    assert_eq!(ok(store.dropped_like(&id(5).0[..6])), Some(Dropped::ForGood), "of several that counts");
    assert_eq!(ok(store.dropped_like(&id(5).0[..7])), Some(Dropped::ForRoom));
    ok(store.insert_bundle(&bundle(5)));
    assert_eq!(ok(store.known(&prefix(5))), Known::Held(id(5)), "it may come again");
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
    assert_eq!(ok(store.victim(Class::Stranger, 0)), None);
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
    let first = ok(store.victim(Class::Stranger, 0)).expect("five are held");
    assert_eq!((first.id, first.priority, first.cost_bytes), (id(3), Priority::Bulk, 600));
    assert_eq!((first.kind, first.class), (bundle(3).kind, Class::Stranger));
    assert_eq!(first.expires_tl_ms, bundle(3).expires_tl_ms);
    assert_eq!((first.received_tl_ms, first.copies), (bundle(3).received_tl_ms, bundle(3).copies));
    assert_eq!(first.ingress, Some(node(3)));
    assert_eq!(ok(store.victim_of_origin(&node(1))).expect("held").id, id(4));
    assert_eq!(ok(store.victim_of_ingress(&node(2), 0)).expect("held").id, id(4));
    assert_eq!(ok(store.victim_of_origin(&node(9))), None);
    assert_eq!(ok(store.victim_of_ingress(&node(9), 0)), None);
    assert_eq!(ok(store.victim(Class::Own, 0)), None);
    ok(store.hand_over_copy(&id(5)));
    ok(store.hand_over_copy(&id(9)));
    assert_eq!(ok(store.bundle(&id(5))).expect("held").copies, bundle(5).copies - 1);
    assert_eq!(ok(store.victim_of_origin(&node(8))).expect("held").id, id(5));
    let mut order = Vec::new();
    while let Some(victim) = ok(store.victim(Class::Stranger, 0)) {
        order.push(victim.id.0[0]);
        ok(store.drop_bundle(&victim.id, 0));
    }
    assert_eq!(order, [3, 4, 5, 2, 1]);
}

fn l02_what_is_for_everybody_is_told_from_mail_by_its_copies<S: Store>(mut store: S) {
    for (n, class, priority, copies) in [
        (1, Class::Stranger, Priority::Normal, COPIES_PUBLIC_MAX),
        (2, Class::Contact, Priority::Normal, COPIES_PUBLIC_MAX),
        (3, Class::Stranger, Priority::Sos, COPIES_MAIL_MIN + 1),
        (4, Class::Stranger, Priority::Normal, COPIES_MAX),
        (5, Class::Stranger, Priority::Bulk, 0),
    ] {
        ok(store.insert_bundle(&StoredBundle { class, priority, copies, ..bundle(n) }));
    }
    assert_eq!(ok(store.usage_of_public()), Usage { bundles: 2, bytes: 1_200 });
    let first = |store: &S, least| ok(store.victim(Class::Stranger, least)).expect("some are held").id;
    let brought = |store: &S, least| ok(store.victim_of_ingress(&node(2), least)).expect("some are held").id;
    for (least, n) in [(0, 5), (1, 1), (COPIES_MAIL_MIN, 4), (COPIES_MAX, 4)] {
        assert_eq!((first(&store, least), brought(&store, least)), (id(n), id(n)), "{least}");
    }
    ok(store.drop_bundle(&id(4), 0));
    assert_eq!((first(&store, COPIES_MAIL_MIN), brought(&store, COPIES_MAIL_MIN)), (id(3), id(3)));
    assert_eq!(ok(store.victim(Class::Stranger, COPIES_MAX)), None);
    // Mail stays mail, however often it is handed on.
    for _ in 0..3 {
        [1, 3, 5].iter().for_each(|n| ok(store.hand_over_copy(&id(*n))));
    }
    let copies = [1, 3, 5].map(|n| ok(store.bundle(&id(n))).expect("held").copies);
    assert_eq!(copies, [COPIES_PUBLIC_MAX - 3, COPIES_MAIL_MIN, 0]);
    ok(store.drop_bundle(&id(1), 0));
    assert_eq!(ok(store.usage_of_public()).bundles, 1);
}

fn only_strangers_count_against_an_ingress<S: Store>(mut store: S) {
    let mut contact = bundle(1);
    contact.class = Class::Contact;
    ok(store.insert_bundle(&contact));
    assert_eq!(ok(store.usage_of_ingress(&node(2))), Usage::default());
    assert_eq!(ok(store.victim_of_ingress(&node(2), 0)), None);
    assert_eq!(ok(store.fullest_ingress()), None);
    assert_eq!(ok(store.usage_of_origin(&node(1))).bundles, 1);
}

fn l02_the_neighbour_that_brought_most_is_found<S: Store>(mut store: S) {
    for (n, ingress) in [(1, 4), (2, 3), (3, 3), (4, 5), (5, 5)] {
        let mut one = bundle(n);
        one.ingress = Some(node(ingress));
        ok(store.insert_bundle(&one));
    }
    let most = |store: &S| ok(store.fullest_ingress()).map(|(peer, usage)| (peer, usage.bundles));
    assert_eq!(most(&store), Some((node(3), 2)), "of two the one with the smaller id");
    ok(store.drop_bundle(&id(2), 0));
    assert_eq!(most(&store), Some((node(5), 2)));
    for n in [1, 3, 4, 5] {
        ok(store.drop_bundle(&id(n), 0));
    }
    assert_eq!(most(&store), None);
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

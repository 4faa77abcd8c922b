//! What a node keeps when there is too little room, when the disk fails, and when clocks are wrong.

#![allow(clippy::unwrap_used, reason = "a store that fails unasked is a failed test")]

mod net;

use meshlink_core::limits::{self, Limits};
use meshlink_core::store::{Class, OfferKey, Usage};
use meshlink_core::{BundleId, Event, MessageStatus, Priority, ProfileDraft, Store, StoreError, SubmitError};
use net::{DAY_MS, Net, draft};

/// Room for so many bundles of the least cost.
fn small(bundles: u64) -> Limits {
    let store_bytes_max = bundles * limits::BUNDLE_COST_BYTES_MIN * 100 / limits::BUNDLES_PERCENT + 64;
    Limits { store_bytes_max, ..Limits::default() }
}

fn held(net: &Net, at: usize) -> Usage {
    let classes = Class::ALL.map(|class| net.store(at).usage(class).unwrap());
    Usage {
        bundles: classes.iter().map(|usage| usage.bundles).sum(),
        bytes: classes.iter().map(|usage| usage.bytes).sum(),
    }
}

#[test]
fn l01_l02_one_neighbour_fills_a_tenth_and_one_origin_half_of_that() {
    let mut net = Net::with_limits(1, small(1_000));
    // Two that say much, and a carrier with room for all of it.
    let loud = net.add(70, Limits::default());
    let other = net.add(71, Limits::default());
    for n in 0..300 {
        net.post(loud, &format!("spam {n}"));
        net.post(other, &format!("more spam {n}"));
    }
    net.join(loud, other);
    net.settle();
    net.join(0, loud);
    net.settle();
    let origin = net.store(0).usage_of_origin(&net.id(loud)).unwrap();
    let ingress = net.store(0).usage_of_ingress(&net.id(loud)).unwrap();
    let space = small(1_000).bundle_bytes_max();
    assert!(origin.bytes <= space * limits::ORIGIN_PERCENT / 100, "{origin:?} of {space}");
    assert!(ingress.bytes <= space * limits::INGRESS_PERCENT / 100, "{ingress:?} of {space}");
    assert!(ingress.bundles >= 90, "what is allowed is used: {ingress:?}");
}

#[test]
fn l03_own_mail_is_never_evicted_and_takes_its_share_back() {
    let mut net = Net::with_limits(1, small(40));
    let sources: Vec<usize> = (80..100).map(|secret| net.add(secret, Limits::default())).collect();
    for source in sources {
        for n in 0..4 {
            net.post(source, &format!("{source} {n}"));
        }
        let link = net.join(0, source);
        net.settle();
        net.cut(link);
    }
    let full = held(&net, 0);
    assert!(full.bundles >= 30, "strangers borrow what is free: {full:?}");
    let mut own = Vec::new();
    loop {
        let now = net.now(0);
        match net.node(0).submit(draft("mine", Priority::Bulk), now) {
            Ok(id) => own.push(id),
            Err(SubmitError::StoreFull) => break,
            Err(other) => panic!("{other}"),
        }
        assert!(own.len() < 100);
    }
    assert!(own.len() >= 12, "own mail gets at least its 30 %: {}", own.len());
    let stranger = net.store(0).usage(Class::Stranger).unwrap();
    assert!(stranger.bundles >= 6, "and leaves strangers their 15 %: {stranger:?}");
    let late = net.add(120, Limits::default());
    for n in 0..50 {
        net.post_with(late, &format!("urgent {n}"), Priority::Sos);
    }
    net.join(0, late);
    net.settle();
    for id in &own {
        assert!(net.store(0).bundle(id).unwrap().is_some(), "own mail stays");
    }
    assert!(held(&net, 0).bytes <= small(40).bundle_bytes_max());
}

#[test]
fn l03_the_least_urgent_and_oldest_gives_way_and_is_not_taken_again() {
    let mut net = Net::with_limits(1, Limits { store_bundles_max: 10, ..Limits::default() });
    let author = net.add(50, Limits::default());
    let sos = net.post_with(author, "sos", Priority::Sos);
    let bulk: Vec<BundleId> =
        (0..9).map(|n| net.post_with(author, &format!("bulk {n}"), Priority::Bulk)).collect();
    net.join(0, author);
    net.settle();
    assert_eq!(held(&net, 0).bundles, 10);
    let normal = net.post(author, "normal");
    net.settle();
    assert_eq!(held(&net, 0).bundles, 10);
    assert!(net.store(0).bundle(&sos).unwrap().is_some());
    assert!(net.store(0).bundle(&normal).unwrap().is_some());
    assert_eq!(net.store(0).bundle(&bulk[0]), Ok(None), "the oldest of the least urgent went");
    let link = net.join(0, author);
    net.settle();
    assert!(net.is_up(link));
    assert_eq!(net.store(0).bundle(&bulk[0]), Ok(None));
}

#[test]
fn l07_only_so_many_dropped_ids_are_remembered() {
    let limits = Limits { store_bytes_max: 256 * 1024, ..Limits::default() };
    let most = limits.dropped_max();
    let mut net = Net::with_limits(1, limits);
    let author = net.add(50, Limits::default());
    net.join(0, author);
    net.settle();
    for n in 0..300 {
        net.post(author, &format!("{n}"));
        net.settle();
    }
    assert!(most < 280, "{most}");
    assert_eq!(net.store(0).dropped_remembered() as u64, most);
    let shown = net.texts(0).len();
    net.crash(0);
    net.join(0, author);
    net.settle();
    assert_eq!(net.store(0).dropped_remembered() as u64, most, "the count survives a restart");
    assert_eq!(net.texts(0).len(), shown, "what was shown is not shown again, remembered or not");
}

#[test]
fn what_is_less_urgent_than_all_that_is_held_is_refused() {
    let mut net = Net::with_limits(1, Limits { store_bundles_max: 5, ..Limits::default() });
    let author = net.add(50, Limits::default());
    for n in 0..5 {
        net.post_with(author, &format!("sos {n}"), Priority::Sos);
    }
    net.join(0, author);
    net.settle();
    let bulk = net.post_with(author, "bulk", Priority::Bulk);
    net.settle();
    assert_eq!(net.store(0).bundle(&bulk), Ok(None));
    assert_eq!(net.texts(0).len(), 5);
    assert_eq!(net.status(author, &bulk), MessageStatus::Pending, "its author knows that nobody has it");
}

#[test]
fn l02_so_many_calls_for_help_go_before_others_and_the_rest_is_carried_as_any_bundle() {
    let mut net = Net::with_limits(1, small(1_000));
    let urgent_at = |net: &Net| {
        let offers = net.store(0).offers(OfferKey::START, 10_000).unwrap();
        offers.iter().filter(|offer| offer.key.priority == Priority::Sos).count() as u64
    };
    let hour = 1_000 * limits::URGENT_HOUR_PERCENT / 100;
    let [loud, quiet] = [70, 71].map(|secret| net.add(secret, Limits::default()));
    for n in 0..hour {
        net.post_with(loud, &format!("help {n}"), Priority::Sos);
    }
    net.join(0, loud);
    net.settle();
    assert_eq!(net.texts(0).len() as u64, hour);
    assert!(net.messages(0).iter().all(|message| message.priority == Priority::Sos), "as it was written");
    let heeded = urgent_at(&net);
    assert!(
        (hour * 2 / 5..=hour / 2 + 1).contains(&heeded),
        "the rest is kept for others: {heeded} of {hour}"
    );
    net.post_with(quiet, "help", Priority::Sos);
    net.join(0, quiet);
    net.settle();
    assert_eq!(urgent_at(&net), heeded + 1);
    // In an hour there may be as many again.
    net.pass(3_600_000);
    for n in 0..5 {
        net.post_with(quiet, &format!("still {n}"), Priority::Sos);
    }
    net.settle();
    assert_eq!(urgent_at(&net), heeded + 6);
}

#[test]
fn l05_many_tiny_messages_count_as_rows() {
    let mut net = Net::with_limits(1, small(20));
    let now = net.now(0);
    let mut taken = 0;
    while net.node(0).submit(draft("x", Priority::Normal), now).is_ok() {
        taken += 1;
        assert!(taken <= 21);
    }
    assert_eq!(taken, 20);
}

#[test]
fn received_messages_have_a_share_of_their_own() {
    let mut net = Net::with_limits(1, small(200));
    let author = net.add(50, Limits::default());
    for n in 0..120 {
        net.post(author, &format!("{n} {}", "x".repeat(400)));
    }
    let own = net.post(0, "mine");
    net.join(0, author);
    net.settle();
    let received = net.store(0).received_usage().unwrap();
    assert!(received.bytes <= small(200).received_bytes_max(), "{received:?}");
    assert!(received.bundles > 20, "{received:?}");
    assert!(net.store(0).message(&own).unwrap().is_some());
    assert_eq!(net.texts(0).last().map(|text| text.starts_with("119 ")), Some(true), "the newest are kept");
}

#[test]
fn p04_a_full_disk_loses_nothing_that_was_promised_and_works_again_by_itself() {
    let mut net = Net::new(2);
    net.join(0, 1);
    net.settle();
    let kept = net.post(1, "kept");
    net.settle();
    net.node(1).store_mut().fail_writes(Some(StoreError::Full));
    let now = net.now(1);
    let refused = net.node(1).submit(draft("too much", Priority::Normal), now);
    assert_eq!(refused, Err(SubmitError::Store(StoreError::Full)));
    assert_eq!(net.node(1).commit(now).err(), Some(StoreError::Full));
    assert!(!net.node(1).is_writable());
    assert_eq!(net.texts(1), ["kept"], "reading works");
    // Its neighbour's news is not acknowledged.
    let id = net.post(0, "for later");
    net.settle();
    assert_eq!(net.status(0, &id), MessageStatus::Pending);
    net.pass(10_000);
    assert!(!net.node(1).is_writable());
    net.node(1).store_mut().fail_writes(None);
    net.pass(limits::PROBE_MS);
    assert!(net.node(1).is_writable());
    net.post(1, "again");
    net.join(0, 1);
    net.settle();
    assert_eq!(net.status(0, &id), MessageStatus::Synced);
    assert_eq!(net.texts(1), ["kept", "again", "for later"]);
    assert!(net.store(0).message(&kept).unwrap().is_some());
    let log = net.log(1);
    let ups = log.iter().filter(|event| matches!(event, Event::LinkUp { .. })).count();
    let downs = log.iter().filter(|event| matches!(event, Event::LinkDown { .. })).count();
    assert_eq!((ups, downs), (2, 1), "the log makes up for the links that were dropped");
}

#[test]
fn p03_a_failed_write_takes_the_whole_group_with_it() {
    let mut net = Net::new(1);
    let now = net.now(0);
    let first = net.node(0).submit(draft("in the same group", Priority::Normal), now).unwrap();
    let io = StoreError::Io { detail: "bad sector".to_owned() };
    net.node(0).store_mut().fail_writes(Some(io.clone()));
    assert!(net.node(0).submit(draft("second", Priority::Normal), now).is_err());
    net.node(0).store_mut().fail_writes(None);
    assert!(
        net.node(0).submit(draft("third", Priority::Normal), now).is_err(),
        "until the commit has said so"
    );
    assert_eq!(net.node(0).commit(now).err(), Some(io));
    assert_eq!(net.store(0).message(&first), Ok(None));
    net.post(0, "fourth");
    net.settle();
    assert_eq!(net.texts(0), ["fourth"]);
}

#[test]
fn r06_a_wall_clock_that_jumps_expires_nothing() {
    let mut net = Net::new(2);
    let id = net.post(0, "patience");
    net.settle();
    for year in [10, -1, 0] {
        let wall = net::NEW_YEAR_MS.checked_add_signed(year * 365 * DAY_MS as i64).unwrap();
        net.set_wall(0, Some(wall));
        net.pass(3_600_000);
        assert_eq!(net.status(0, &id), MessageStatus::Pending, "{year} years");
    }
    net.join(0, 1);
    net.settle();
    assert_eq!(net.texts(1), ["patience"]);
}

#[test]
fn r07_without_any_clock_ages_are_counted_and_carried() {
    let mut net = Net::new(3);
    for at in 0..3 {
        net.set_wall(at, None);
    }
    let id = net.post(0, "no clock");
    assert_eq!(net.messages(0)[0].created_unix_ms, None);
    let link = net.join(0, 1);
    net.settle();
    net.cut(link);
    net.pass(5 * DAY_MS);
    net.join(1, 2);
    net.settle();
    let bundle = net.store(2).bundle(&id).unwrap().expect("carried for five days");
    assert!(bundle.age_ms >= 5 * DAY_MS);
    net.pass(2 * DAY_MS + 5_000);
    assert_eq!(net.store(2).bundle(&id), Ok(None), "seven days in all");
}

#[test]
fn a_restart_goes_on_with_the_same_timeline() {
    let mut net = Net::new(1);
    let id = net.post(0, "across restarts");
    net.pass(3 * DAY_MS);
    net.crash(0);
    net.pass(3 * DAY_MS);
    assert_eq!(net.status(0, &id), MessageStatus::Pending);
    net.pass(DAY_MS + 7_200_000);
    assert_eq!(net.status(0, &id), MessageStatus::Expired);
}

#[test]
fn a_post_to_a_channel_not_joined_is_carried_and_shown_when_it_is_joined() {
    let mut net = Net::new(3);
    for at in [0, 2] {
        let now = net.now(at);
        assert_eq!(net.node(at).join("#garden", now), Ok(true));
        assert_eq!(net.node(at).join("#garden", now), Ok(false));
    }
    let now = net.now(0);
    let post = meshlink_core::Draft { channel: "#garden".to_owned(), ..draft("roses", Priority::Normal) };
    net.node(0).submit(post.clone(), now).unwrap();
    net.join(0, 1);
    net.join(1, 2);
    net.settle();
    assert_eq!(net.texts(2), ["roses"], "a carrier passes it on");
    assert_eq!(net.texts(1), Vec::<String>::new(), "and does not show it");
    let now = net.now(1);
    assert_eq!(
        net.node(1).submit(post.clone(), now),
        Err(SubmitError::NotJoined { channel: "#garden".to_owned() })
    );
    assert_eq!(net.node(1).join("#garden", now), Ok(true));
    assert_eq!(net.texts(1), ["roses"]);
    assert_eq!(net.node(1).leave("#garden", now), Ok(true));
    let now = net.now(0);
    net.node(0).submit(post, now).unwrap();
    net.settle();
    assert_eq!(net.texts(1).len(), 1, "after leaving, what was shown stays and no more comes");
    assert!(matches!(net.node(1).leave("#mesh", now), Err(SubmitError::CannotLeave { .. })));
    assert!(matches!(net.node(1).join("mesh", now), Err(SubmitError::BadChannel { .. })));
    assert!(matches!(net.node(1).join("#Mesh", now), Err(SubmitError::BadChannel { .. })));
}

#[test]
fn what_makes_no_sense_is_refused_with_the_reason() {
    let mut net = Net::new(1);
    let now = net.now(0);
    let mut submit = |change: fn(&mut meshlink_core::Draft)| {
        let mut draft = draft("text", Priority::Normal);
        change(&mut draft);
        net.node(0).submit(draft, now)
    };
    assert_eq!(submit(|d| d.text = " \n".to_owned()), Err(SubmitError::EmptyText));
    assert_eq!(submit(|d| d.text = "a\0".to_owned()), Err(SubmitError::NulInText));
    let bytes = limits::TEXT_BYTES_MAX + 1;
    let too_long = submit(|d| d.text = "x".repeat(limits::TEXT_BYTES_MAX + 1));
    assert_eq!(too_long, Err(SubmitError::TextTooLong { bytes, max: limits::TEXT_BYTES_MAX }));
    assert!(submit(|d| d.text = "x".repeat(limits::TEXT_BYTES_MAX)).is_ok());
    assert!(matches!(submit(|d| d.channel = "#No".to_owned()), Err(SubmitError::BadChannel { .. })));
    for lifetime_s in [0, limits::LIFETIME_S_MIN - 1, limits::LIFETIME_S_MAX + 1] {
        let mut draft = draft("text", Priority::Normal);
        draft.lifetime_s = Some(lifetime_s);
        let refused = net.node(0).submit(draft, now);
        assert!(matches!(refused, Err(SubmitError::BadLifetime { .. })), "{lifetime_s}");
    }
}

fn profile(name: &str) -> ProfileDraft {
    ProfileDraft { name: Some(name.to_owned()), about: None, avatar: None }
}

fn name_of(net: &Net, at: usize, of: usize) -> Option<String> {
    net.store(at).peer(&net.id(of)).unwrap()?.profile?.name
}

#[test]
fn a_profile_spreads_and_its_newest_revision_replaces_the_older() {
    let mut net = Net::new(3);
    let now = net.now(0);
    net.node(0).set_profile(profile("Ana"), now).unwrap();
    let link = net.join(0, 1);
    net.settle();
    assert_eq!(name_of(&net, 1, 0).as_deref(), Some("Ana"));
    net.cut(link);
    net.node(0).set_profile(profile("Ana B."), now).unwrap();
    net.node(0).set_profile(profile("Ana B."), now).unwrap();
    net.join(0, 2);
    net.settle();
    assert_eq!(name_of(&net, 2, 0).as_deref(), Some("Ana B."));
    net.join(1, 2);
    net.settle();
    assert_eq!(name_of(&net, 1, 0).as_deref(), Some("Ana B."), "the newer one replaces the older");
    assert_eq!(name_of(&net, 2, 0).as_deref(), Some("Ana B."), "and not the other way round");
    for at in 0..3 {
        let held = net.store(at).usage_of_origin(&net.id(0)).unwrap();
        assert_eq!(held.bundles, 1, "one profile is carried, at {at}");
    }
    let bad = net.node(0).set_profile(profile("\u{202e}"), now);
    assert!(matches!(bad, Err(SubmitError::BadField { field: "name", .. })), "{bad:?}");
    assert_eq!(net.node(0).profile().unwrap().name.as_deref(), Some("Ana B."));
}

#[test]
fn a_profile_is_published_again_before_it_is_forgotten() {
    let mut net = Net::new(2);
    let now = net.now(0);
    net.node(0).set_profile(profile("Ana"), now).unwrap();
    net.pass(20 * DAY_MS);
    net.join(0, 1);
    net.settle();
    assert_eq!(name_of(&net, 1, 0).as_deref(), Some("Ana"));
    net.crash(0);
    assert_eq!(net.node(0).profile().unwrap(), profile("Ana"));
}

#[test]
fn a_node_that_lost_its_disk_is_not_behind_its_own_older_self() {
    let mut net = Net::new(2);
    let now = net.now(0);
    net.node(0).set_profile(profile("before"), now).unwrap();
    net.post(0, "my old words");
    let link = net.join(0, 1);
    net.settle();
    net.cut(link);
    net.pass(60_000);
    let same = net.add(1, Limits::default());
    assert_eq!(net.id(same), net.id(0));
    let now = net.now(same);
    net.node(same).set_profile(profile("after"), now).unwrap();
    net.join(same, 1);
    net.settle();
    let own = net.messages(same);
    assert_eq!(own.len(), 1);
    assert!(own[0].own && own[0].read, "its own words come back as such (threat R-02)");
    assert_eq!(own[0].status, MessageStatus::Synced);
    assert_eq!(name_of(&net, 1, 0).as_deref(), Some("after"));
}

#[test]
fn events_and_peers_are_trimmed() {
    let limits = Limits { events_kept: 100, peers_kept: 5, ..Limits::default() };
    let mut net = Net::with_limits(1, limits);
    for n in 0..1_000 {
        net.post(0, &format!("{n}"));
        net.settle();
    }
    let (oldest, newest) = net.store(0).event_bounds().unwrap().unwrap();
    let kept = newest.0 - oldest.0;
    assert!(kept <= 100 + limits::TRIM_EVERY, "{kept}");
}

//! Channels, public and with a password: who is shown what, what carriers see, and what was posted before.

#![allow(clippy::unwrap_used, reason = "a net whose parts fail is a failed test")]

mod net;

use meshlink_core::channel::UNOPENED;
use meshlink_core::limits::{HISTORY_SLICE, SECRET_CHANNELS_MAX};
use meshlink_core::node::SubmitError;
use meshlink_core::private::channel_key::ChannelSecret;
use meshlink_core::store::{Class, OfferKey, Protection, StoredBundle};
use meshlink_core::{BundleId, Draft, Event, Limits, MessageStatus, Priority, Store};
use net::{At, DAY_MS, Net};

const SECRET_POST: u16 = 8;

fn secret(n: u8) -> ChannelSecret {
    ChannelSecret::from_bytes([n; 32])
}

fn join(net: &mut Net, at: At, channel: &str) -> Result<bool, SubmitError> {
    let now = net.now(at);
    net.node(at).join(channel, now)
}

fn join_secret(net: &mut Net, at: At, channel: &str, n: u8) -> Result<bool, SubmitError> {
    let now = net.now(at);
    net.node(at).join_secret(channel, &secret(n), now)
}

fn leave(net: &mut Net, at: At, channel: &str) -> Result<bool, SubmitError> {
    let now = net.now(at);
    net.node(at).leave(channel, now)
}

fn draft(channel: &str, text: &str) -> Draft {
    Draft { channel: channel.to_owned(), ..net::draft(text, Priority::Normal) }
}

fn post(net: &mut Net, at: At, channel: &str, text: &str) -> BundleId {
    let now = net.now(at);
    net.node(at).submit(draft(channel, text), now).unwrap()
}

fn held(net: &Net, at: At) -> Vec<StoredBundle> {
    let offers = net.store(at).offers(OfferKey::START, 10_000).unwrap();
    offers.iter().filter_map(|offer| net.store(at).bundle(&offer.id).unwrap()).collect()
}

fn new_messages(net: &Net, at: At) -> usize {
    net.log(at).iter().filter(|event| matches!(event, Event::MessageNew { .. })).count()
}

#[test]
fn members_read_each_other_and_know_who_spoke() {
    let mut net = Net::new(2);
    for at in [0, 1] {
        assert_eq!(join_secret(&mut net, at, "#ops", 7), Ok(true));
    }
    net.join(0, 1);
    net.settle();
    let id = post(&mut net, 0, "#ops", "to all of us");
    net.settle();
    let [message] = &net.messages(1)[..] else { panic!("one message") };
    assert_eq!((message.text.as_str(), message.conversation.as_str()), ("to all of us", "#ops"));
    assert_eq!((message.protection, message.from), (Protection::Channel, Some(net.id(0))));
    assert_eq!((message.id, message.read), (id, false));
    assert!(message.created_unix_ms.is_some());
    assert_eq!(net.messages(0)[0].protection, Protection::Channel);
    assert_eq!(net.status(0, &id), MessageStatus::Synced);
    assert_eq!(net.store(1).peer(&net.id(0)).unwrap().map(|peer| peer.profile), Some(None));
}

#[test]
fn c17_a_wrong_password_is_another_channel_and_no_answer_differs() {
    let mut net = Net::new(3);
    join_secret(&mut net, 0, "#ops", 7).unwrap();
    assert_eq!(join_secret(&mut net, 1, "#ops", 8), Ok(true), "nobody can tell that it is wrong");
    net.join(0, 1);
    net.join(0, 2);
    net.settle();
    let id = post(&mut net, 0, "#ops", "hello");
    net.settle();
    for at in [1, 2] {
        assert_eq!(net.texts(at), Vec::<String>::new());
        assert_eq!(new_messages(&net, at), 0);
        let stored = net.store(at).bundle(&id).unwrap().expect("carried all the same");
        assert_eq!(stored.unshown_in.as_deref(), Some(UNOPENED));
        assert_eq!(stored.class, Class::Stranger);
    }
    // Members and others hold it in the same class, for the same time: the network sees no difference.
    let mut member = Net::new(2);
    join_secret(&mut member, 0, "#ops", 7).unwrap();
    join_secret(&mut member, 1, "#ops", 7).unwrap();
    member.join(0, 1);
    let id = post(&mut member, 0, "#ops", "hello");
    member.settle();
    assert_eq!(member.store(1).bundle(&id).unwrap().unwrap().class, Class::Stranger);
}

#[test]
fn c15_c16_a_carrier_reads_nothing_and_sees_size_classes_only() {
    let mut net = Net::new(3);
    for at in [0, 2] {
        join_secret(&mut net, at, "#ops-canary", 7).unwrap();
    }
    let link = net.join(0, 1);
    for length in [1, 100, 300, 5_000] {
        post(&mut net, 0, "#ops-canary", &"CANARY-7b1f ".repeat(length / 12 + 1));
    }
    net.settle();
    net.cut(link);
    let posts: Vec<_> = held(&net, 1).into_iter().filter(|held| held.kind == SECRET_POST).collect();
    assert_eq!(posts.len(), 4);
    for post in &posts {
        let bytes = [&post.header[..], &post.payload, &post.auth].concat();
        let author = net.id(0);
        for needle in [&b"CANARY"[..], b"ops", &author.0[..4]] {
            assert!(!bytes.windows(needle.len()).any(|window| window == needle));
        }
        assert!(post.payload.len().is_power_of_two() && post.payload.len() >= 256);
        assert_eq!(post.origin, None);
    }
    net.join(1, 2);
    net.settle();
    assert_eq!(net.texts(2).len(), 4);
    assert_eq!(net.texts(1), Vec::<String>::new());
}

#[test]
fn c04_public_posts_to_the_name_of_a_password_channel_stay_apart() {
    let mut net = Net::new(2);
    join_secret(&mut net, 1, "#ops", 7).unwrap();
    join(&mut net, 0, "#ops").unwrap();
    net.join(0, 1);
    post(&mut net, 0, "#ops", "trust me, this is the secret channel");
    net.settle();
    assert_eq!(net.texts(1), Vec::<String>::new());
    assert_eq!(new_messages(&net, 1), 0);
    // And the other way round: what is said with a password is not shown to the public one.
    post(&mut net, 1, "#ops", "among us");
    net.settle();
    assert_eq!(net.texts(0), ["trust me, this is the secret channel"]);
    assert!(net.messages(1).iter().all(|message| message.protection == Protection::Channel));
}

#[test]
fn a_name_is_one_channel_at_a_time_and_every_refusal_says_why() {
    let mut net = Net::new(1);
    join_secret(&mut net, 0, "#ops", 7).unwrap();
    assert_eq!(join_secret(&mut net, 0, "#ops", 7), Ok(false), "the same again");
    let why = |result: Result<bool, SubmitError>| result.expect_err("refused").to_string();
    assert!(why(join_secret(&mut net, 0, "#ops", 8)).contains("another password"));
    assert!(why(join(&mut net, 0, "#ops")).contains("with a password"));
    join(&mut net, 0, "#flood").unwrap();
    assert!(why(join_secret(&mut net, 0, "#flood", 7)).contains("public"));
    assert!(why(join_secret(&mut net, 0, "#mesh", 7)).contains("can't have a password"));
    assert!(why(join_secret(&mut net, 0, "ops", 7)).contains("no channel"));
    assert!(why(join_secret(&mut net, 0, UNOPENED, 7)).contains("no channel"));
    assert_eq!(leave(&mut net, 0, "#ops"), Ok(true));
    assert_eq!(leave(&mut net, 0, "#ops"), Ok(false));
    assert_eq!(join_secret(&mut net, 0, "#ops", 8), Ok(true));
    let checks: Vec<_> = net.node(0).channels().unwrap().into_iter().map(|c| (c.name, c.check)).collect();
    assert_eq!(checks.len(), 3);
    assert!(checks.iter().all(|(name, check)| check.is_some() == (name == "#ops")), "{checks:?}");
    for n in 0..SECRET_CHANNELS_MAX - 1 {
        join_secret(&mut net, 0, &format!("#c{n}"), 7).unwrap();
    }
    assert!(why(join_secret(&mut net, 0, "#one-more", 7)).contains("the most"));
}

#[test]
fn what_is_said_to_a_channel_that_was_left_goes_nowhere() {
    let mut net = Net::new(2);
    join_secret(&mut net, 0, "#ops", 7).unwrap();
    leave(&mut net, 0, "#ops").unwrap();
    let now = net.now(0);
    let refused = net.node(0).submit(draft("#ops", "anybody?"), now);
    assert_eq!(refused, Err(SubmitError::NotJoined { channel: "#ops".to_owned() }));
    assert!(held(&net, 0).is_empty());
}

#[test]
fn r01_on_joining_what_was_posted_before_appears_once() {
    for is_secret in [true, false] {
        let enter = |net: &mut Net, at| {
            if is_secret { join_secret(net, at, "#flood", 7) } else { join(net, at, "#flood") }
        };
        let mut net = Net::new(2);
        enter(&mut net, 0).unwrap();
        net.join(0, 1);
        let first = post(&mut net, 0, "#flood", "first");
        post(&mut net, 0, "#flood", "second");
        net.settle();
        assert_eq!((net.texts(1).len(), new_messages(&net, 1)), (0, 0), "carried, not shown");
        assert_eq!(held(&net, 1).iter().filter(|held| held.unshown_in.is_some()).count(), 2);
        enter(&mut net, 1).unwrap();
        net.settle();
        assert_eq!(net.texts(1), ["first", "second"]);
        assert_eq!(new_messages(&net, 1), 2);
        // Forgotten here, left, joined again, restarted: none of it comes back.
        let now = net.now(1);
        assert_eq!(net.node(1).forget(&first, now), Ok(true));
        leave(&mut net, 1, "#flood").unwrap();
        enter(&mut net, 1).unwrap();
        net.settle();
        net.crash(1);
        net.join(0, 1);
        post(&mut net, 0, "#flood", "third");
        net.settle();
        assert_eq!(net.texts(1), ["second", "third"]);
        // What comes while it is left is carried, and there when it is joined again.
        leave(&mut net, 1, "#flood").unwrap();
        post(&mut net, 0, "#flood", "fourth");
        net.settle();
        assert_eq!(net.texts(1), ["second", "third"]);
        enter(&mut net, 1).unwrap();
        net.settle();
        assert_eq!(net.texts(1), ["second", "third", "fourth"]);
    }
}

#[test]
fn a_long_past_is_shown_in_slices() {
    for is_secret in [true, false] {
        let mut net = Net::new(2);
        let enter = |net: &mut Net, at| {
            if is_secret { join_secret(net, at, "#flood", 7) } else { join(net, at, "#flood") }
        };
        enter(&mut net, 0).unwrap();
        join_secret(&mut net, 0, "#other", 9).unwrap();
        let count = 2 * HISTORY_SLICE + 10;
        for n in 0..count {
            post(&mut net, 0, "#flood", &n.to_string());
            post(&mut net, 0, "#other", "not for node 1");
        }
        net.join(0, 1);
        net.settle();
        enter(&mut net, 1).unwrap();
        let now = net.texts(1).len();
        assert!((HISTORY_SLICE / 3..=HISTORY_SLICE).contains(&now), "{now} at once");
        net.pass(1_000);
        let expected: Vec<String> = (0..count).map(|n| n.to_string()).collect();
        let mut shown = net.texts(1);
        shown.sort_by_key(|text| text.parse::<usize>().unwrap());
        assert_eq!(shown, expected);
    }
}

#[test]
fn a_search_through_the_past_goes_on_after_a_restart() {
    let mut net = Net::new(2);
    join_secret(&mut net, 0, "#flood", 7).unwrap();
    for n in 0..2 * HISTORY_SLICE {
        post(&mut net, 0, "#flood", &n.to_string());
    }
    net.join(0, 1);
    net.settle();
    join_secret(&mut net, 1, "#flood", 7).unwrap();
    net.pump(1);
    net.crash(1);
    net.pass(1_000);
    assert_eq!(net.texts(1).len(), 2 * HISTORY_SLICE);
}

#[test]
fn a_past_that_other_keys_did_not_open_is_tried_with_new_ones() {
    let mut net = Net::new(2);
    join_secret(&mut net, 0, "#flood", 7).unwrap();
    join_secret(&mut net, 1, "#other", 9).unwrap();
    post(&mut net, 0, "#flood", "before");
    net.join(0, 1);
    net.settle();
    // With the restart it is tried once more, in vain.
    net.crash(1);
    net.pass(1_000);
    assert_eq!(net.texts(1), Vec::<String>::new());
    join_secret(&mut net, 1, "#flood", 7).unwrap();
    assert_eq!(net.texts(1), ["before"]);
}

#[test]
fn a_blocked_member_is_carried_and_not_shown() {
    let mut net = Net::new(3);
    for at in [0, 2] {
        join_secret(&mut net, at, "#ops", 7).unwrap();
    }
    let (blocked, now) = (net.id(0), net.now(2));
    net.node(2).block(&blocked, now).unwrap();
    net.join(0, 1);
    net.join(1, 2);
    let id = post(&mut net, 0, "#ops", "hello");
    net.settle();
    assert_eq!(net.texts(2), Vec::<String>::new());
    assert!(net.store(2).bundle(&id).unwrap().is_some());
}

#[test]
fn membership_and_messages_survive_a_restart_and_the_key_goes_with_leaving() {
    let mut net = Net::new(2);
    for at in [0, 1] {
        join_secret(&mut net, at, "#ops", 7).unwrap();
    }
    net.join(0, 1);
    net.settle();
    net.crash(1);
    net.join(0, 1);
    post(&mut net, 0, "#ops", "still here");
    net.settle();
    assert_eq!(net.texts(1), ["still here"]);
    leave(&mut net, 1, "#ops").unwrap();
    let records = net.store(1).records(meshlink_core::store::Shelf::SecretChannel, &[], 10);
    assert_eq!(records, Ok(Vec::new()));
    assert_eq!(net.texts(1), ["still here"], "what was shown stays");
}

#[test]
fn an_own_post_is_withdrawn_while_nobody_has_it() {
    let mut net = Net::new(2);
    for at in [0, 1] {
        join_secret(&mut net, at, "#ops", 7).unwrap();
    }
    let id = post(&mut net, 0, "#ops", "no, wait");
    assert_eq!(net.status(0, &id), MessageStatus::Pending);
    let now = net.now(0);
    assert_eq!(net.node(0).forget(&id, now), Ok(true));
    net.join(0, 1);
    net.settle();
    assert_eq!(net.texts(1), Vec::<String>::new());
}

#[test]
fn a_post_expires_with_its_lifetime_which_is_at_most_a_week() {
    let mut net = Net::new(1);
    join_secret(&mut net, 0, "#ops", 7).unwrap();
    let now = net.now(0);
    let long = Draft { lifetime_s: Some(8 * 24 * 3600), ..draft("#ops", "for ever") };
    let refused = net.node(0).submit(long, now);
    assert!(matches!(refused, Err(SubmitError::BadLifetime { max: 604_800, .. })), "{refused:?}");
    let id = post(&mut net, 0, "#ops", "for a week");
    net.pass(8 * DAY_MS);
    assert_eq!(net.status(0, &id), MessageStatus::Expired);
}

#[test]
fn l02_secret_posts_count_as_strangers_mail_for_who_brings_them() {
    let limits = Limits { store_bytes_max: 4 * 1024 * 1024, ..Limits::default() };
    let mut net = Net::with_limits(2, limits);
    for at in [0, 1] {
        join_secret(&mut net, at, "#ops", 7).unwrap();
    }
    for _ in 0..300 {
        post(&mut net, 0, "#ops", &"x".repeat(1_500));
    }
    net.join(0, 1);
    net.settle();
    let most = limits.bundle_bytes_max() / 10;
    let used = net.store(1).usage_of_ingress(&net.id(0)).unwrap().bytes;
    assert!(used > most / 2 && used <= most, "{used} of {most}");
    assert_eq!(net.store(1).usage(Class::Contact).unwrap().bundles, 0);
}

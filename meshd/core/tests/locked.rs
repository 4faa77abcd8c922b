//! A node whose store is locked: it carries for others, shows and says nothing, and catches up when it is unlocked.

#![allow(clippy::unwrap_used, reason = "a net whose parts fail is a failed test")]

mod net;

use meshlink_core::node::ContactError;
use meshlink_core::private::channel_key::ChannelSecret;
use meshlink_core::private::contact::ReceiptChoice;
use meshlink_core::store::Shelf;
use meshlink_core::store::{Known, Store, StoreError};
use meshlink_core::{Draft, Identity, MessageStatus, Priority, ProfileDraft, SubmitError};
use net::groups::{friends, group_of, say};
use net::people::{exchange_code, people, send, take_code, write};
use net::{DAY_MS, MINUTE_MS, Net};

fn lock(net: &mut Net, at: usize) {
    let node = net.node(at);
    node.store_mut().set_locked(true);
    node.assume(Identity::from_bytes(&[99; 64])).unwrap();
}

fn unlock(net: &mut Net, at: usize, secret: u8) {
    let now = net.now(at);
    let node = net.node(at);
    node.store_mut().set_locked(false);
    node.assume(Identity::from_bytes(&[secret; 64])).unwrap();
    node.catch_up(now).unwrap();
}

#[test]
fn a_locked_node_carries_between_others_as_somebody_else_and_shows_nothing() {
    let mut net = Net::new(3);
    lock(&mut net, 1);
    let id = net.post(0, "through a locked node");
    net.join(0, 1);
    net.settle();
    assert_eq!(net.store(1).known(&id.prefix()), Ok(Known::Held(id)));
    assert!(net.messages(1).is_empty());
    net.join(1, 2);
    net.settle();
    assert_eq!(net.texts(2), ["through a locked node"]);
    let real = net.id(1);
    for other in [0, 2] {
        assert_eq!(net.store(other).peer(&real), Ok(None), "it was seen as who it is");
    }
}

#[test]
fn unlocking_closes_the_links_and_shows_what_came_in_meanwhile_once() {
    let mut net = Net::new(2);
    lock(&mut net, 1);
    net.join(0, 1);
    net.settle();
    net.post(0, "while locked");
    net.settle();
    unlock(&mut net, 1, 2);
    net.settle();
    assert!(net.phases(1).is_empty(), "the neighbour would see that both are one");
    assert_eq!(net.texts(1), ["while locked"]);
    net.join(0, 1);
    net.settle();
    unlock(&mut net, 1, 2);
    net.settle();
    assert_eq!(net.texts(1), ["while locked"]);
}

#[test]
fn own_mail_goes_on_while_locked_and_its_status_moves() {
    let mut net = Net::new(2);
    let id = net.post(0, "sent, then locked");
    lock(&mut net, 0);
    net.join(0, 1);
    net.settle();
    assert_eq!(net.texts(1), ["sent, then locked"]);
    unlock(&mut net, 0, 1);
    assert_eq!(net.status(0, &id), MessageStatus::Synced);
    assert_eq!(net.texts(0), ["sent, then locked"]);
}

#[test]
fn whatever_needs_the_keys_is_refused_and_nothing_is_lost_by_asking() {
    let mut net = Net::new(2);
    net.join(0, 1);
    lock(&mut net, 0);
    net.join(0, 1);
    net.settle();
    let now = net.now(0);
    let node = net.node(0);
    let draft = Draft {
        channel: "#mesh".to_owned(),
        text: "no".to_owned(),
        lifetime_s: None,
        priority: Priority::Normal,
        reply_to: None,
    };
    let locked = Err(SubmitError::Store(StoreError::Locked));
    assert_eq!(node.submit(draft, now).map(|_| ()), locked);
    assert_eq!(node.set_profile(ProfileDraft::default(), now), locked);
    assert_eq!(node.join("#a", now).map(|_| ()), locked);
    assert_eq!(node.leave("#a", now).map(|_| ()), locked);
    let somebody = net.id(1);
    assert_eq!(write(&mut net, 0, somebody, "no").map(|_| ()), locked);
    let refused = Err(ContactError::Store(StoreError::Locked));
    let node = net.node(0);
    assert_eq!(node.make_code(false, now).map(|_| ()), refused);
    assert_eq!(node.verify_contact(&somebody, "1", now), refused);
    assert_eq!(node.remove_contact(&somebody, now), Err(StoreError::Locked));
    node.commit(now).expect("the store is as it was");
    assert_eq!(net.phases(0).len(), 1, "the links stay");
}

/// Two people who know each other and a carrier between them, who has the third place.
fn two_and_a_carrier() -> Net {
    let mut net = people(3);
    exchange_code(&mut net, 0, 1, false);
    send(&mut net, 1, 0, "hello");
    net.join(0, 1);
    net.settle();
    send(&mut net, 0, 1, "hello to you");
    net.settle();
    net.pass(MINUTE_MS);
    net.cut_all();
    net
}

/// Lets a carrier meet one and then the other.
fn carry(net: &mut Net, carrier: usize, from: usize, to: usize) {
    for at in [from, to] {
        let link = net.join(carrier, at);
        net.settle();
        net.cut(link);
    }
}

#[test]
fn private_mail_that_came_while_locked_is_shown_once_and_confirmed() {
    let mut net = two_and_a_carrier();
    let before = net.texts(1);
    lock(&mut net, 1);
    let id = send(&mut net, 0, 1, "while you slept");
    carry(&mut net, 2, 0, 1);
    net.pass(MINUTE_MS);
    assert_eq!(net.texts(1).iter().filter(|text| !text.is_empty()).count(), 0, "nothing is read");
    unlock(&mut net, 1, 2);
    let after = [&before[..], &["while you slept".to_owned()]].concat();
    assert_eq!(net.texts(1), after, "shown with the unlocking, and not only later");
    net.pass(MINUTE_MS);
    carry(&mut net, 2, 1, 0);
    assert_eq!(net.status(0, &id), MessageStatus::Delivered);
    lock(&mut net, 1);
    unlock(&mut net, 1, 2);
    net.pass(MINUTE_MS);
    assert_eq!(net.texts(1), after);
    // The answer rests on keys that came with it.
    send(&mut net, 1, 0, "good morning");
    carry(&mut net, 2, 1, 0);
    assert_eq!(net.texts(0).last().map(String::as_str), Some("good morning"));
}

#[test]
fn the_first_mail_of_a_stranger_that_came_while_locked_is_shown() {
    let mut net = people(2);
    let link = net.join(0, 1);
    net.settle();
    net.cut(link);
    lock(&mut net, 1);
    // Written by id, without a code: nothing marks whose it is.
    send(&mut net, 0, 1, "you do not know me");
    net.join(0, 1);
    net.settle();
    assert!(net.messages(1).is_empty());
    unlock(&mut net, 1, 2);
    assert_eq!(net.texts(1), ["you do not know me"]);
}

#[test]
fn what_became_of_own_private_mail_while_locked_is_known_afterwards() {
    let mut net = two_and_a_carrier();
    let taken = send(&mut net, 0, 1, "taken by a carrier");
    lock(&mut net, 0);
    let link = net.join(2, 0);
    net.settle();
    net.cut(link);
    assert_eq!(net.status(0, &taken), MessageStatus::Pending);
    unlock(&mut net, 0, 1);
    assert_eq!(net.status(0, &taken), MessageStatus::Synced);
    let read = send(&mut net, 0, 1, "confirmed");
    lock(&mut net, 0);
    carry(&mut net, 2, 0, 1);
    net.pass(MINUTE_MS);
    carry(&mut net, 2, 1, 0);
    unlock(&mut net, 0, 1);
    for id in [taken, read] {
        assert_eq!(net.status(0, &id), MessageStatus::Delivered);
    }
}

#[test]
fn posts_to_a_password_channel_that_came_while_locked_are_shown_once() {
    let mut net = Net::new(2);
    let secret = ChannelSecret::from_bytes([7; 32]);
    for at in [0, 1] {
        let now = net.now(at);
        net.node(at).join_secret("#ops", &secret, now).unwrap();
    }
    net.settle();
    lock(&mut net, 1);
    let now = net.now(1);
    let refused = net.node(1).join_secret("#other", &secret, now);
    assert_eq!(refused, Err(SubmitError::Store(StoreError::Locked)));
    net.join(0, 1);
    let draft = Draft { channel: "#ops".to_owned(), ..net::draft("while locked", Priority::Normal) };
    let now = net.now(0);
    net.node(0).submit(draft, now).unwrap();
    net.settle();
    assert!(net.messages(1).is_empty());
    for _ in 0..2 {
        unlock(&mut net, 1, 2);
        net.pass(1_000);
        assert_eq!(net.texts(1), ["while locked"]);
        lock(&mut net, 1);
    }
}

#[test]
fn more_mail_than_is_looked_into_at_once_is_all_shown() {
    let mut net = two_and_a_carrier();
    let before = net.texts(1).len();
    lock(&mut net, 1);
    for n in 0..150 {
        send(&mut net, 0, 1, &format!("letter {n}"));
    }
    carry(&mut net, 2, 0, 1);
    unlock(&mut net, 1, 2);
    let at_once = net.texts(1).len() - before;
    assert!((1..150).contains(&at_once), "{at_once} at once: nobody else would be served meanwhile");
    net.pass(1);
    assert_eq!(net.texts(1).len() - before, 150);
}

#[test]
fn c10_keys_whose_time_ended_while_locked_go_with_the_unlocking() {
    let mut net = two_and_a_carrier();
    let count = |net: &mut Net| net.store(1).records(Shelf::Prekey, &[], 1000).map(|keys| keys.len());
    let before = count(&mut net).unwrap();
    assert!(before > 0);
    lock(&mut net, 1);
    net.pass(15 * DAY_MS);
    unlock(&mut net, 1, 2);
    net.pass(1);
    assert_eq!(count(&mut net), Ok(1), "the one just published is left of {before}");
}

#[test]
fn a_receipt_choice_and_a_code_are_kept_through_a_locking() {
    let mut net = two_and_a_carrier();
    let (other, now) = (net.id(0), net.now(1));
    net.node(1).set_receipts(&other, ReceiptChoice::Nothing, now).unwrap();
    let code = net.node(1).make_code(false, now).unwrap().to_string();
    lock(&mut net, 1);
    assert_eq!(net.node(1).contacts().count(), 0, "nobody is known while locked");
    take_code(&mut net, 2, &code, false).unwrap();
    send(&mut net, 2, 1, "by your code");
    net.join(2, 1);
    net.settle();
    unlock(&mut net, 1, 2);
    assert_eq!(net.texts(1).last().map(String::as_str), Some("by your code"));
    assert_eq!(net.node(1).contact(&other).map(|contact| contact.receipts), Some(ReceiptChoice::Nothing));
}

#[test]
fn group_mail_that_came_while_locked_is_shown_once_with_the_unlocking_and_confirmed() {
    let mut net = friends(3);
    let group = group_of(&mut net, 3, false);
    say(&mut net, 0, &group, "before");
    net::groups::meet(&mut net, 3);
    lock(&mut net, 1);
    // One whose session is known, and one whose session comes by sealed mail of the same time.
    let known = say(&mut net, 0, &group, "while you slept");
    let new = say(&mut net, 2, &group, "me too");
    net.join(0, 1);
    net.join(1, 2);
    net.pass(MINUTE_MS);
    assert!(net.texts(1).iter().all(String::is_empty), "nothing is read");
    net.cut_all();
    let texts = ["before", "while you slept", "me too"];
    for _ in 0..2 {
        unlock(&mut net, 1, 2);
        assert_eq!(net.texts(1), texts, "with the unlocking, and once");
        net.pass(MINUTE_MS);
        assert_eq!(net.texts(1), texts);
        lock(&mut net, 1);
    }
    unlock(&mut net, 1, 2);
    net::groups::meet(&mut net, 3);
    for (at, id) in [(0, known), (2, new)] {
        assert_eq!(net.status(at, &id), MessageStatus::Delivered);
    }
    say(&mut net, 1, &group, "good morning");
    net::groups::meet(&mut net, 3);
    assert_eq!(net.texts(0).last().map(String::as_str), Some("good morning"));
}

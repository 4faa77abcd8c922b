//! A node whose store is locked: it carries for others, shows and says nothing, and catches up when it is unlocked.

mod net;

use meshlink_core::store::{Known, Store, StoreError};
use meshlink_core::{Draft, Identity, MessageStatus, Priority, ProfileDraft, SubmitError};
use net::Net;

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
    node.commit(now).expect("the store is as it was");
    assert_eq!(net.phases(0).len(), 1, "the links stay");
}

//! A node made of a backup: who it is, whom it knows, and what it must not have.

#![allow(clippy::unwrap_used, reason = "a net whose parts fail is a failed test")]

mod net;

use meshlink_core::group::entry::GroupId;
use meshlink_core::node::groups::Part;
use meshlink_core::private::contact::Trust;
use meshlink_core::store::{Shelf, Store, StoreError};
use meshlink_core::{BundleId, Export, Identity, Limits, MessageStatus, ProfileDraft, SubmitError};
use net::groups::{found, friends, group_of, meet, say, try_say};
use net::people::{exchange_code, people, send, write};
use net::{At, DAY_MS, MINUTE_MS, Net};

/// Two people who wrote to each other, so that each has keys of the other for one message, and verified.
fn acquainted() -> Net {
    let mut net = people(2);
    let (now, name) = (net.now(1), Some("Bea".to_owned()));
    net.node(1).set_profile(ProfileDraft { name, ..ProfileDraft::default() }, now).unwrap();
    exchange_code(&mut net, 0, 1, true);
    net.join(0, 1);
    net.settle();
    for (from, to) in [(1, 0), (0, 1), (1, 0), (1, 0), (1, 0), (1, 0), (1, 0), (0, 1)] {
        send(&mut net, from, to, "hello");
        net.settle();
    }
    net.pass(MINUTE_MS);
    net.cut_all();
    net
}

fn export(net: &mut Net, at: At) -> Export {
    Export::from_bytes(&net.node(at).export().unwrap().to_bytes()).unwrap()
}

/// A new machine that becomes the node of a backup; it was reachable as somebody else for a moment.
fn restore(net: &mut Net, secret: u8, export: Export) -> At {
    let at = net.add(secret + 9, Limits::default());
    net.node(at).set_reachable();
    net.pass(1);
    let now = net.now(at);
    net.node(at).restore(Identity::from_bytes(&[secret; 64]), export, now).unwrap();
    net.settle();
    at
}

#[test]
fn k04_a_restored_node_is_the_same_person_with_new_keys_and_nothing_said_meanwhile_is_lost() {
    let mut net = acquainted();
    let kept = export(&mut net, 1);
    // Written to keys that go with the old disk.
    let meanwhile = send(&mut net, 0, 1, "are you there?");
    let at = restore(&mut net, 2, kept);
    let (me, other) = (net.id(1), net.id(0));
    assert_eq!(net.node(at).id(), me);
    assert_eq!(net.node(at).profile().unwrap().name.as_deref(), Some("Bea"));
    let contact = net.node(at).contact(&other).unwrap().clone();
    assert_eq!((contact.trust, contact.keys().is_some()), (Trust::Verified, true));
    assert_eq!(net.store(at).records(Shelf::Prekey, &[], 100).unwrap().len(), 1, "the new published one");
    for shelf in [Shelf::Opened, Shelf::Outbound, Shelf::Invite] {
        assert_eq!(net.store(at).records(shelf, &[], 1), Ok(Vec::new()), "{shelf:?}");
    }
    assert!(net.messages(at).is_empty());

    net.join(0, at);
    net.settle();
    assert_eq!(net.texts(at), ["are you there?"], "sealed again to keys that are there");
    net.pass(MINUTE_MS);
    assert_eq!(net.status(0, &meanwhile), MessageStatus::Delivered);
    let back = write_as_restored(&mut net, at, 0, "I am");
    net.settle();
    assert_eq!(net.texts(0).last().map(String::as_str), Some("I am"));
    net.pass(MINUTE_MS);
    assert_eq!(net.status(at, &back), MessageStatus::Delivered);
    assert_eq!(net.store(0).peer(&me).unwrap().unwrap().profile.unwrap().name.as_deref(), Some("Bea"));
}

/// Writes as who a node is now, not as who its keys at the start were.
fn write_as_restored(net: &mut Net, at: At, to: At, text: &str) -> BundleId {
    let to = net.id(to);
    write(net, at, to, text).unwrap()
}

#[test]
fn k04_a_restored_node_takes_the_keys_its_contacts_publish_although_it_has_seen_them_before() {
    let mut net = acquainted();
    let kept = export(&mut net, 1);
    let at = restore(&mut net, 2, kept);
    let first = write_as_restored(&mut net, at, 0, "I am back");
    net.join(0, at);
    net.settle();
    assert_eq!(net.texts(0).last().map(String::as_str), Some("I am back"));
    net.pass(MINUTE_MS);
    assert_eq!(net.status(at, &first), MessageStatus::Delivered);
}

#[test]
fn k04_the_new_keys_count_although_the_restored_node_has_no_clock_and_an_old_backup() {
    let mut net = acquainted();
    let kept = export(&mut net, 1);
    // It goes on for weeks and publishes keys of higher revisions.
    net.join(0, 1);
    net.pass(9 * DAY_MS);
    net.cut_all();
    let meanwhile = send(&mut net, 0, 1, "are you there?");
    let at = net.add(11, Limits::default());
    net.set_wall(at, None);
    net.node(at).set_reachable();
    net.pass(1);
    let now = net.now(at);
    net.node(at).restore(Identity::from_bytes(&[2; 64]), kept, now).unwrap();
    net.join(0, at);
    net.pass(2 * 3600 * 1000);
    assert_eq!(net.texts(at), ["are you there?"]);
    assert_eq!(net.status(0, &meanwhile), MessageStatus::Delivered);
}

#[test]
fn k04_a_store_that_was_set_back_to_an_old_copy_notices_and_loses_nothing_said_meanwhile() {
    let mut net = acquainted();
    let old = net.store(1).clone();
    let link = net.join(0, 1);
    net.pass(5 * DAY_MS);
    // Keys for one message each that the old copy knows nothing of.
    for (from, to) in [(0, 1), (1, 0), (0, 1), (1, 0)] {
        send(&mut net, from, to, "later");
        net.settle();
    }
    net.pass(MINUTE_MS);
    net.cut(link);
    let meanwhile = send(&mut net, 0, 1, "are you there?");
    *net.node(1).store_mut() = old;
    net.crash(1);
    net.node(1).set_reachable();
    net.join(0, 1);
    net.pass(2 * 3600 * 1000);
    assert_eq!(net.texts(1).last().map(String::as_str), Some("are you there?"));
    assert_eq!(net.status(0, &meanwhile), MessageStatus::Delivered);
}

#[test]
fn k04_a_node_that_begins_anew_in_an_old_copy_uses_no_key_twice_and_loses_nothing_said_meanwhile() {
    let mut net = acquainted();
    let mut old = net.store(1).clone();
    // As a copy of the store is made: without what is deleted on schedule.
    for shelf in [Shelf::Prekey, Shelf::Invite] {
        for (key, _) in old.records(shelf, &[], 1000).unwrap() {
            old.remove_record(shelf, &key).unwrap();
        }
    }
    old.commit().unwrap();
    let link = net.join(0, 1);
    // Uses up the other's keys for one message each that the copy has; they are deleted two days later.
    for n in 0..8 {
        send(&mut net, 1, 0, &format!("since {n}"));
        net.settle();
    }
    net.pass(3 * DAY_MS);
    net.cut(link);
    let meanwhile = send(&mut net, 0, 1, "are you there?");
    *net.node(1).store_mut() = old;
    net.crash(1);
    net.node(1).set_reachable();
    let now = net.now(1);
    net.node(1).begin_anew(now).unwrap();
    net.settle();
    assert_eq!(net.store(1).records(Shelf::Prekey, &[], 100).unwrap().len(), 1, "the new published one");
    let first = send(&mut net, 1, 0, "I am back");
    net.join(0, 1);
    net.pass(2 * MINUTE_MS);
    assert_eq!(net.texts(1).last().map(String::as_str), Some("are you there?"));
    assert_eq!(net.status(0, &meanwhile), MessageStatus::Delivered);
    assert_eq!(net.texts(0).last().map(String::as_str), Some("I am back"));
    assert_eq!(net.status(1, &first), MessageStatus::Delivered);
}

#[test]
fn r02_what_was_shown_before_the_backup_comes_back_as_no_new_message() {
    let mut net = acquainted();
    let old = export(&mut net, 1);
    // A carrier kept everything that was ever under way.
    let carrier = net.add(7, Limits::default());
    send(&mut net, 0, 1, "said once");
    net.join(carrier, 0);
    net.settle();
    net.cut_all();
    net.join(carrier, 1);
    net.settle();
    net.cut_all();
    assert_eq!(net.texts(1).last().map(String::as_str), Some("said once"));
    let at = restore(&mut net, 2, old);
    net.join(carrier, at);
    net.pass(MINUTE_MS);
    assert_eq!(net.texts(at), Vec::<String>::new(), "its key went with the old disk");
}

#[test]
fn a_restore_that_fails_leaves_the_node_as_it_was() {
    let mut net = acquainted();
    let kept = export(&mut net, 1);
    let at = net.add(9, Limits::default());
    let (before, now) = (net.node(at).id(), net.now(at));
    net.node(at).restore(Identity::from_bytes(&[2; 64]), kept.clone(), now).unwrap();
    assert_eq!(net.node(at).id(), net.id(1));
    let fault = StoreError::Io { detail: "injected".to_owned() };
    net.node(at).store_mut().fail_writes(Some(fault.clone()));
    assert_eq!(net.node(at).commit(now).map(|_| ()), Err(fault));
    assert_eq!(net.node(at).id(), before);
    net.node(at).store_mut().fail_writes(None);
    assert_eq!(net.node(at).contacts().count(), 0);
    net.node(at).store_mut().set_locked(true);
    let refused = net.node(at).restore(Identity::from_bytes(&[2; 64]), kept, now);
    assert_eq!(refused, Err(SubmitError::Store(StoreError::Locked)));
    assert!(net.node(at).export().is_err());
}

#[test]
fn k02_no_key_that_is_deleted_on_schedule_and_no_word_is_in_a_backup() {
    let mut net = acquainted();
    let now = net.now(1);
    net.node(1).make_code(false, now).unwrap();
    let bytes = net.node(1).export().unwrap().to_bytes();
    let is_in = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    for shelf in [Shelf::Prekey, Shelf::Invite] {
        let records = net.store(1).records(shelf, &[], 100).unwrap();
        assert!(!records.is_empty(), "{shelf:?}");
        // Every key in a record is longer than that, and the export has nothing else in common with it.
        assert!(!records.iter().any(|(_, value)| value.windows(24).any(&is_in)), "{shelf:?}");
    }
    assert!(is_in(b"Bea") && !is_in(b"hello"));
    let theirs = net.store(0).records(Shelf::Prekey, &[], 100).unwrap();
    let public = |value: &[u8]| {
        let mut decoder = minicbor::Decoder::new(value);
        decoder.array().unwrap();
        let secret: [u8; 32] = decoder.bytes().unwrap().try_into().unwrap();
        x25519_dalek::x25519(secret, x25519_dalek::X25519_BASEPOINT_BYTES)
    };
    assert!(!theirs.iter().any(|(_, value)| is_in(&public(value))), "a key they gave for one message");
}

#[test]
fn k03_bytes_that_are_no_export_are_refused() {
    let mut net = acquainted();
    let good = net.node(1).export().unwrap().to_bytes();
    for end in 0..good.len() {
        assert!(Export::from_bytes(&good[..end]).is_err(), "cut at {end}");
    }
    assert!(Export::from_bytes(&[&good[..], &[0]].concat()).is_err());
}

/// Sessions of a member's that a node can read.
fn sessions_of(net: &Net, at: At, member: At) -> usize {
    let from = net.id(member);
    let all = net.store(at).records(Shelf::GroupSession, &from.0, 100).unwrap();
    all.iter().take_while(|(key, _)| key.starts_with(&from.0)).count()
}

fn with_all(net: &mut Net, at: At, others: &[At]) {
    for other in others {
        net.join(*other, at);
    }
    net.pass(5 * MINUTE_MS);
    net.cut_all();
}

fn count(net: &Net, at: At, text: &str) -> usize {
    net.texts(at).iter().filter(|shown| *shown == text).count()
}

#[test]
fn k04_r02_a_restored_member_of_a_group_reads_what_it_had_not_confirmed_and_writes_under_a_new_session() {
    let mut net = friends(3);
    let group = group_of(&mut net, 3, false);
    for at in 0..3 {
        say(&mut net, at, &group, &format!("before {at}"));
        meet(&mut net, 3);
    }
    let kept = export(&mut net, 2);
    // Its disk is lost, and nobody knows yet: the session of that was given to it long ago.
    say(&mut net, 0, &group, "meanwhile");
    meet(&mut net, 2);
    let at = restore(&mut net, 3, kept);
    let me = net.id(2);
    assert_eq!(net.node(at).groups()[&group].part_of(&me), Part::Joined);
    let (view, of_others) =
        (net.node(at).groups()[&group].view().clone(), net.node(0).groups()[&group].view().clone());
    assert_eq!(view, of_others);
    assert_eq!(net.store(at).records(Shelf::GroupSession, &[], 1), Ok(Vec::new()), "no session of anybody");
    assert_eq!(sessions_of(&net, 0, 2), 1);

    with_all(&mut net, at, &[0, 1]);
    say(&mut net, at, &group, "I am back");
    with_all(&mut net, at, &[0, 1]);
    assert_eq!(count(&net, at, "meanwhile"), 1, "{:?}", net.texts(at));
    assert!(!net.texts(at).iter().any(|text| text.starts_with("before")), "r02: nothing comes back as news");
    for other in [0, 1] {
        assert_eq!(count(&net, other, "I am back"), 1, "{:?}", net.texts(other));
        assert_eq!(sessions_of(&net, other, 2), 2, "a session that was not in the backup");
        say(&mut net, other, &group, &format!("welcome from {other}"));
    }
    with_all(&mut net, at, &[0, 1]);
    for other in [0, 1] {
        assert_eq!(count(&net, at, &format!("welcome from {other}")), 1);
    }
}

#[test]
fn k04_a_member_removed_after_the_backup_is_out_once_it_meets_anybody() {
    let mut net = friends(3);
    let group = group_of(&mut net, 3, false);
    let kept = export(&mut net, 2);
    let (gone, now) = (net.id(2), net.now(0));
    net.node(0).remove_from_group(&group, &gone, now).unwrap();
    meet(&mut net, 3);
    let at = restore(&mut net, 3, kept);
    assert_eq!(net.node(at).groups()[&group].part_of(&gone), Part::Joined, "as far as it knows");
    let behind = Err(SubmitError::BehindGroup { group });
    assert_eq!(try_say(&mut net, at, &group, "am I still in?"), behind);
    with_all(&mut net, at, &[0, 1]);
    say(&mut net, 0, &group, "without you");
    with_all(&mut net, at, &[0, 1]);
    assert_eq!(count(&net, at, "without you"), 0);
    assert_eq!(try_say(&mut net, at, &group, "am I still in?"), behind, "nobody tells it who is in");
}

#[test]
fn k04_a_restored_member_says_nothing_to_who_was_removed_meanwhile() {
    let mut net = friends(4);
    let group = group_of(&mut net, 4, false);
    let kept = export(&mut net, 1);
    let (gone, now) = (net.id(3), net.now(0));
    net.node(0).remove_from_group(&group, &gone, now).unwrap();
    meet(&mut net, 4);
    let at = restore(&mut net, 2, kept);
    assert_eq!(net.node(at).groups()[&group].part_of(&gone), Part::Joined, "as far as it knows");
    let behind = Err(SubmitError::BehindGroup { group });
    assert_eq!(try_say(&mut net, at, &group, "to all of you"), behind);
    // Who was removed does not make it believe anything.
    with_all(&mut net, at, &[3]);
    assert_eq!(try_say(&mut net, at, &group, "to all of you"), behind);
    net.crash(at);
    net.node(at).assume(Identity::from_bytes(&[2; 64])).unwrap();
    net.node(at).set_reachable();
    assert_eq!(try_say(&mut net, at, &group, "to all of you"), behind, "it is remembered");
    with_all(&mut net, at, &[2]);
    assert_eq!(net.node(at).groups()[&group].part_of(&gone), Part::Out);
    say(&mut net, at, &group, "to all of you");
    with_all(&mut net, at, &[0, 2, 3]);
    assert_eq!([0, 2, 3].map(|other| count(&net, other, "to all of you")), [1, 1, 0]);
}

#[test]
fn k04_a_copy_of_a_store_says_nothing_to_a_group_before_a_member_was_heard() {
    let mut net = friends(2);
    let group = group_of(&mut net, 2, false);
    let now = net.now(1);
    net.node(1).begin_anew(now).unwrap();
    assert_eq!(try_say(&mut net, 1, &group, "hello"), Err(SubmitError::BehindGroup { group }));
    meet(&mut net, 2);
    say(&mut net, 1, &group, "hello");
}

#[test]
fn a_restored_node_that_is_alone_in_a_group_waits_for_nobody() {
    let mut net = friends(2);
    let group = found(&mut net, 0, &[], false);
    let kept = export(&mut net, 0);
    let at = restore(&mut net, 1, kept);
    say(&mut net, at, &group, "a note");
}

/// A group of three in which node 1 has written, with a copy of its store as it was then; and it wrote on.
fn set_back() -> (Net, GroupId) {
    let mut net = friends(3);
    let group = group_of(&mut net, 3, false);
    say(&mut net, 1, &group, "one");
    meet(&mut net, 3);
    let old = net.store(1).clone();
    say(&mut net, 1, &group, "two");
    meet(&mut net, 3);
    *net.node(1).store_mut() = old;
    (net, group)
}

#[test]
fn k04_a_store_that_was_set_back_uses_no_index_of_a_session_twice() {
    let (mut net, group) = set_back();
    net.crash(1);
    net.node(1).set_reachable();
    // Before it has met anybody who could tell it.
    say(&mut net, 1, &group, "three");
    meet(&mut net, 3);
    for at in [0, 2] {
        assert_eq!(net.texts(at), ["one", "two", "three"], "node {at}");
    }
}

#[test]
fn k04_a_running_machine_that_was_set_back_begins_new_sessions_with_its_new_lineage() {
    let mut net = friends(3);
    // Without a clock its next keys would have the revision of those it has forgotten: so those come by.
    net.set_wall(1, None);
    let group = group_of(&mut net, 3, false);
    say(&mut net, 1, &group, "one");
    meet(&mut net, 3);
    let old = net.store(1).clone();
    net.join(0, 1);
    net.pass(4 * DAY_MS);
    net.cut_all();
    say(&mut net, 1, &group, "two");
    meet(&mut net, 3);
    // As if memory and disk of a virtual machine were put back: the program runs on and notices nothing by itself.
    *net.node(1).store_mut() = old;
    net.node(1).assume(Identity::from_bytes(&[2; 64])).unwrap();
    meet(&mut net, 3);
    say(&mut net, 1, &group, "three");
    meet(&mut net, 3);
    for at in [0, 2] {
        assert_eq!(net.texts(at), ["one", "two", "three"], "node {at}");
    }
}

#[test]
fn a_backup_without_groups_or_with_half_a_roster_is_told_apart() {
    let mut net = friends(2);
    let without = export(&mut net, 0).to_bytes();
    let group = group_of(&mut net, 2, false);
    let with = export(&mut net, 0);
    assert_eq!((with.groups(), Export::from_bytes(&without).unwrap().groups()), (1, 0));
    let mut bytes = with.to_bytes();
    // A byte of the founding entry: everything after it names another one.
    let at = bytes.windows(6).position(|window| window == b"Hikers").unwrap();
    bytes[at] ^= 1;
    assert!(Export::from_bytes(&bytes).is_err());
    let refused = try_say(&mut net, 0, &GroupId([9; 32]), "no such group");
    assert_eq!(refused, Err(SubmitError::NotInGroup { group: GroupId([9; 32]) }));
    assert!(net.node(0).groups().contains_key(&group));
}

//! Who can read what and from when on, on both sides of each limit.

use super::super::Group;
use super::super::ordeal::{NOW, Person, group_of_three, later, wrapped_again};
use super::*;
use crate::draft::GroupDraft;
use crate::group::sender::SessionKey;
use crate::private::contact::Contact;

fn alter(person: &mut Person, who: &NodeId, change: impl FnOnce(&mut Contact)) {
    let mut contact = person.0.contacts[who].clone();
    change(&mut contact);
    person.0.save_contact(who, contact).expect("saved");
}

fn opens(held: &HeldSession, stored: &StoredBundle) -> bool {
    let bundle = stored.bytes().parse().expect("well-formed");
    let covered = Covered::decode(&bundle.header, bundle.bytes.payload).expect("well-formed");
    held.open(&bundle, &covered).is_some()
}

/// A session that nobody uses, from some index on.
fn session(n: u8, index: u32) -> Handed {
    let key = Sender::draw(&mut crate::entropy::Entropy::new(&[n; 32])).key();
    Handed { cover: [n; 32], key: key.from(index).expect("within the session") }
}

fn held(person: &Person, from: &NodeId) -> Vec<(SessionId, u32)> {
    let of_member = person.0.groups.sessions.values().filter(|held| held.from == *from);
    of_member.map(|held| (held.key.session(), held.key.index())).collect()
}

fn waiting_receipts(person: &Person) -> usize {
    person.0.store.records(Shelf::GroupReceipt, &[], 1_000).expect("readable").len()
}

#[test]
fn c14_a_message_opens_in_the_group_it_was_for_as_whose_it_is_and_as_urgent_as_it_was() {
    let ([founder, one, other], group, stored) = group_of_three();
    let session = founder.own_session();
    let held = one.0.groups.sessions[&(founder.id(), session.key.session())].clone();
    assert!(opens(&held, &stored));
    assert!(!opens(&HeldSession { group: GroupId([9; 32]), ..held.clone() }, &stored));
    assert!(!opens(&HeldSession { from: other.id(), ..held.clone() }, &stored));
    let urgent =
        wrapped_again(&stored, &session, |header| Header { priority: crate::store::Priority::Sos, ..header });
    let bytes = urgent.bytes();
    let urgent = StoredBundle { header: bytes.header.to_vec(), payload: bytes.payload.to_vec(), ..stored };
    assert!(!opens(&held, &urgent));
    assert_eq!(held.group, group);
}

#[test]
fn r01_each_index_of_a_session_is_seen_by_itself() {
    let ([_, one, _], ..) = group_of_three();
    let fresh = one.0.groups.sessions.values().next().expect("there is one").clone();
    let mut all = fresh.clone();
    for index in 0..GROUP_SESSION_MESSAGES_MAX {
        let mut held = fresh.clone();
        held.see(index);
        assert!((0..GROUP_SESSION_MESSAGES_MAX).all(|other| held.has_seen(other) == (other == index)));
        assert!(!all.has_seen(index));
        all.see(index);
    }
    assert!((0..GROUP_SESSION_MESSAGES_MAX).all(|index| all.has_seen(index)));
}

#[test]
fn k04_who_is_behind_speaks_only_if_nobody_else_has_joined() {
    let (mut founder, one) = (Person::new(1), Person::new(2));
    founder.knows(&one);
    let draft = GroupDraft { name: "Hikers".to_owned(), history: false, members: vec![one.id()] };
    let group = founder.0.found_group(draft, NOW).expect("founded");
    founder.0.fall_behind().expect("stored");
    let (_, alone) = founder.says(&group, "who is invited reads nothing");
    assert!(founder.take_notes(&one.id()).iter().all(|(note, _)| note.sessions.is_empty()));
    assert_eq!(alone.class, Class::Own);
    let ([mut founder, ..], group, _) = group_of_three();
    founder.says(&group, "as long as it is not behind");
    founder.0.fall_behind().expect("stored");
    let draft = GroupMessageDraft {
        group,
        text: "to all".to_owned(),
        lifetime_s: None,
        priority: crate::store::Priority::Normal,
        reply_to: None,
    };
    assert_eq!(founder.0.submit_to_group(draft, NOW), Err(SubmitError::BehindGroup { group }));
}

#[test]
fn c19_a_message_says_when_it_was_written_and_whether_its_author_asks_who_reads_it() {
    for (receipts, wants_read) in [(ReceiptChoice::Delivered, false), (ReceiptChoice::Read, true)] {
        let ([mut founder, one, _], group, _) = group_of_three();
        alter(&mut founder, &one.id(), |contact| contact.receipts = receipts);
        for (unix_ms, said) in [
            (NOW.unix_ms, NOW.unix_ms),
            (Some(CREATED_UNIX_MS_MAX), Some(CREATED_UNIX_MS_MAX)),
            (Some(CREATED_UNIX_MS_MAX + 1), None),
        ] {
            let (_, stored) = founder.says_at(&group, "hello", Now { unix_ms, ..NOW });
            let heard = one.0.hear(&stored.bytes().parse().expect("well-formed")).expect("a member");
            assert_eq!((heard.words.created_unix_ms, heard.words.wants_read), (said, wants_read));
        }
    }
}

#[test]
fn c14_a_new_session_begins_after_so_many_messages_so_long_or_once_somebody_should_not_read_on() {
    let ([mut founder, one, other], group, _) = group_of_three();
    let (one, other) = (one.id(), other.id());
    let current = |founder: &Person| {
        let own = founder.0.groups.all[&group].kept.own.as_ref().expect("there is one");
        (own.sender.key().session(), own.sender.index())
    };
    let (first, _) = current(&founder);
    for _ in 1..GROUP_SESSION_MESSAGES_MAX {
        founder.says(&group, "another");
    }
    assert_eq!(current(&founder), (first, GROUP_SESSION_MESSAGES_MAX));
    founder.take_notes(&one);
    founder.says(&group, "one more");
    let (second, index) = current(&founder);
    assert_eq!((second == first, index), (false, 1));
    let handed: Vec<SessionKey> =
        founder.take_notes(&one).remove(0).0.sessions.iter().map(|handed| handed.key.clone()).collect();
    assert_eq!(handed.iter().map(SessionKey::session).collect::<Vec<_>>(), [second]);
    founder.says_at(&group, "in its last moment", later(GROUP_SESSION_MS_MAX - 1));
    assert_eq!(current(&founder), (second, 2));
    founder.says_at(&group, "too late", later(GROUP_SESSION_MS_MAX));
    let (third, _) = current(&founder);
    assert_ne!(third, second);
    founder.0.block(&one, NOW).expect("stored");
    founder.says_at(&group, "without one", later(GROUP_SESSION_MS_MAX));
    let (fourth, _) = current(&founder);
    assert_ne!(fourth, third);
    founder.says_at(&group, "and again", later(GROUP_SESSION_MS_MAX));
    assert_eq!(current(&founder), (fourth, 2));
    founder.0.remove_member(&group, &other, NOW).expect("removed");
    founder.says_at(&group, "to nobody", later(GROUP_SESSION_MS_MAX));
    assert_ne!(current(&founder).0, fourth);
}

#[test]
fn c02_a_key_goes_to_each_member_once_and_to_none_who_may_be_somebody_else() {
    let ([mut founder, one, other], group, _) = group_of_three();
    founder.0.forget_own_sessions().expect("stored");
    alter(&mut founder, &other.id(), |contact| contact.rival = Some(NodeId([9; 20])));
    for member in [&one, &other] {
        founder.take_notes(&member.id());
    }
    for (rival, told) in [(Some(NodeId([9; 20])), [1, 0]), (None, [0, 1]), (None, [0, 0])] {
        alter(&mut founder, &other.id(), |contact| contact.rival = rival);
        founder.says(&group, "hello");
        assert_eq!([&one, &other].map(|member| founder.take_notes(&member.id()).len()), told, "{rival:?}");
    }
}

#[test]
fn c05_an_own_message_is_shown_as_verified_if_all_its_readers_are() {
    let ([mut founder, one, other], group, _) = group_of_three();
    let shown = |founder: &mut Person| {
        let (id, _) = founder.says(&group, "hello");
        founder.0.store.message(&id).expect("readable").expect("there").protection
    };
    assert_eq!(shown(&mut founder), Protection::Sealed);
    alter(&mut founder, &one.id(), |contact| contact.trust = Trust::Verified);
    assert_eq!(shown(&mut founder), Protection::Sealed);
    alter(&mut founder, &other.id(), |contact| contact.trust = Trust::Verified);
    assert_eq!(shown(&mut founder), Protection::SealedVerified);
    for member in [one.id(), other.id()] {
        founder.0.remove_member(&group, &member, NOW).expect("removed");
    }
    assert_eq!(shown(&mut founder), Protection::Sealed, "nobody reads it");
}

#[test]
fn c14_what_was_said_before_is_handed_over_by_its_author_only() {
    let ([mut founder, mut one, other], group, _) = group_of_three();
    let who = one.id();
    let own = founder.own_session().key.session();
    founder.0.take_sessions(&group, &other.id(), vec![session(7, 0)], NOW).expect("stored");
    let draft = GroupDraft { name: "Climbers".to_owned(), history: false, members: Vec::new() };
    let elsewhere = founder.0.found_group(draft, NOW).expect("founded");
    founder.says(&elsewhere, "to nobody");
    let hand = |person: &mut Person, who: &NodeId| -> Vec<Vec<SessionId>> {
        person.take_notes(who);
        person.0.hand_over_history(&group, who, NOW).expect("stored");
        let notes = person.take_notes(who).into_iter();
        notes.map(|(note, _)| note.sessions.iter().map(|handed| handed.key.session()).collect()).collect()
    };
    assert_eq!(hand(&mut founder, &who), [[own]]);
    assert_eq!(hand(&mut one, &other.id()), Vec::<Vec<SessionId>>::new(), "it said nothing");
    founder.0.block(&who, NOW).expect("stored");
    assert_eq!(hand(&mut founder, &who), Vec::<Vec<SessionId>>::new());
}

#[test]
fn c14_a_session_that_comes_again_replaces_the_one_held_if_it_reads_more_and_is_of_the_same_group() {
    let ([founder, mut one, _], group, _) = group_of_three();
    let from = founder.id();
    one.0.forget_sessions_of(&group, &from).expect("stored");
    let name = session(7, 0).key.session();
    let mut take = |group: &GroupId, index: u32| {
        one.0.take_sessions(group, &from, vec![session(7, index)], NOW).expect("stored");
        held(&one, &from)
    };
    for (index, first) in [(5, 5), (6, 5), (5, 5), (3, 3)] {
        assert_eq!(take(&group, index), [(name, first)]);
    }
    assert_eq!(take(&GroupId([9; 32]), 0), [(name, 3)]);
    let place = (from, name);
    one.0.groups.sessions.get_mut(&place).expect("held").see(4);
    assert!(one.0.groups.sessions[&place].group == group);
    one.0.take_sessions(&group, &from, vec![session(7, 0)], NOW).expect("stored");
    let held = &one.0.groups.sessions[&place];
    assert_eq!((held.key.index(), held.has_seen(4), held.has_seen(3)), (0, true, false));
}

#[test]
fn l08_of_a_member_so_many_sessions_of_a_group_are_held_the_newest() {
    let ([founder, mut one, other], group, _) = group_of_three();
    let from = founder.id();
    one.0.forget_sessions_of(&group, &from).expect("stored");
    let elsewhere = GroupId([9; 32]);
    let at = |n: u8| later(u64::from(n));
    // Of another member and of another group, older than all.
    for (group, from) in [(group, other.id()), (elsewhere, from)] {
        one.0.take_sessions(&group, &from, vec![session(200, 0)], NOW).expect("stored");
    }
    let count = GROUP_SESSIONS_OF_MEMBER_MAX as u8;
    for n in 1..=count {
        one.0.take_sessions(&group, &from, vec![session(n, 0)], at(n)).expect("stored");
        assert_eq!(held(&one, &from).len(), usize::from(n) + 1);
    }
    one.0.take_sessions(&group, &from, vec![session(count + 1, 0)], at(count + 1)).expect("stored");
    let mut newest: Vec<SessionId> = (2..=count + 1).map(|n| session(n, 0).key.session()).collect();
    newest.push(session(200, 0).key.session());
    newest.sort();
    assert_eq!(held(&one, &from).into_iter().map(|(session, _)| session).collect::<Vec<_>>(), newest);
    assert_eq!(held(&one, &other.id()).len(), 1);
    // So it is after a restart.
    one.0.reload().expect("readable");
    assert_eq!(held(&one, &from).len(), newest.len());
}

#[test]
fn k04_a_key_to_a_session_goes_when_its_last_message_must_have_come() {
    let ([founder, mut one, _], group, _) = group_of_three();
    let from = founder.id();
    one.0.forget_sessions_of(&group, &from).expect("stored");
    one.0.take_sessions(&group, &from, vec![session(7, 5)], NOW).expect("stored");
    one.0.take_sessions(&group, &from, vec![session(8, 0)], NOW).expect("stored");
    one.0.take_sessions(&group, &from, vec![session(7, 3)], later(10)).expect("stored");
    for (ms, left) in [(0, 2), (9, 1), (11, 0)] {
        one.0.do_what_is_due(later(GROUP_SESSION_KEPT_MS - 1 + ms)).expect("done");
        assert_eq!(held(&one, &from).len(), left, "{ms}");
        assert_eq!(one.0.store.records(Shelf::GroupSession, &from.0, 100).expect("readable").len(), left);
    }
}

#[test]
fn c14_the_keys_of_whoever_leaves_go_and_all_of_them_when_this_node_does() {
    let ([mut founder, one, other], group, _) = group_of_three();
    let elsewhere = GroupId([9; 32]);
    for (n, (group, from)) in
        (1..).zip([(group, one.id()), (group, other.id()), (elsewhere, one.id()), (elsewhere, other.id())])
    {
        founder.0.hold_session(&group, &from, session(n, 0), NOW).expect("stored");
    }
    let left = |founder: &Person, group: GroupId, from: &NodeId| {
        founder.0.groups.sessions.values().filter(|held| held.group == group && held.from == *from).count()
    };
    let all = |founder: &Person| {
        let own = founder.id();
        let members = [own, one.id(), other.id()];
        (members.map(|from| left(founder, group, &from)), members.map(|from| left(founder, elsewhere, &from)))
    };
    assert_eq!(all(&founder), ([1, 1, 1], [0, 1, 1]));
    founder.0.remove_member(&group, &one.id(), NOW).expect("removed");
    assert_eq!(all(&founder), ([1, 0, 1], [0, 1, 1]));
    founder.0.leave_group(&group, NOW).expect("left");
    assert_eq!(all(&founder), ([0, 0, 0], [0, 1, 1]));
    assert!(founder.0.groups.all[&group].kept.own.is_none());
}

#[test]
fn c14_what_a_key_opens_that_came_too_late_or_to_the_wrong_one_is_not_shown() {
    let ([mut founder, mut one, other], group, stored) = group_of_three();
    let session = founder.own_session();
    // An own message that was forgotten, covered anew by a member.
    let id = founder.0.store.messages_after(Seq(0), 1).expect("readable")[0].id;
    assert!(founder.0.forget(&id).expect("stored"));
    founder.receives(wrapped_again(&stored, &session, |header| header).bytes());
    assert!(founder.texts().is_empty());
    assert_eq!(founder.0.store.records(Shelf::Opened, &[], 1), Ok(Vec::new()));
    // Of somebody who is out.
    let from = founder.id();
    let again = |person: &mut Person, n: u8| {
        person.0.hold_session(&group, &from, session.clone(), NOW).expect("stored");
        let change = |header: Header| Header { lifetime_s: 3_600 + u32::from(n), ..header };
        person.receives(wrapped_again(&stored, &session, change).bytes());
        person.texts().len()
    };
    let mut late = Person::new(3);
    late.0
        .groups
        .all
        .insert(group, Group { roster: other.0.groups.all[&group].roster.clone(), kept: Default::default() });
    founder.0.leave_group(&group, NOW).expect("left");
    assert!(one.hears(&founder, &group));
    assert_eq!(again(&mut one, 1), 0);
    // By somebody who has left.
    late.0.leave_group(&group, NOW).expect("left");
    assert_eq!(again(&mut late, 2), 0);
    // And as it has to be.
    let mut other = other;
    assert_eq!(again(&mut other, 3), 1);
}

#[test]
fn all_members_have_a_message_in_the_conversation_of_its_group() {
    let ([founder, mut one, _], group, stored) = group_of_three();
    one.receives(stored.bytes());
    for person in [&founder, &one] {
        let shown = person.0.store.messages_after(Seq(0), 2).expect("readable");
        assert_eq!((shown.len(), shown[0].conversation.as_str()), (1, format!("group:{group}").as_str()));
    }
}

#[test]
fn a_message_from_who_knows_another_roster_plans_a_repair_and_from_others_none() {
    let ([mut founder, mut one, _], group, stored) = group_of_three();
    one.receives(stored.bytes());
    assert_eq!((one.texts().len(), one.due(Task::RepairGroup)), (1, Vec::new()));
    founder.0.rename_group(&group, "Walkers".to_owned(), NOW).expect("renamed");
    let (_, next) = founder.says(&group, "by another name");
    one.receives(next.bytes());
    assert_eq!((one.texts().len(), one.due(Task::RepairGroup).len()), (2, 1));
}

#[test]
fn c19_a_message_is_confirmed_to_whom_the_user_chose_to_tell() {
    for (receipts, waiting) in
        [(ReceiptChoice::Nothing, 0), (ReceiptChoice::Delivered, 1), (ReceiptChoice::Read, 1)]
    {
        let ([founder, mut one, _], _, stored) = group_of_three();
        alter(&mut one, &founder.id(), |contact| contact.receipts = receipts);
        one.receives(stored.bytes());
        assert_eq!((one.texts().len(), waiting_receipts(&one)), (1, waiting), "{receipts:?}");
    }
}

#[test]
fn l02_a_bundle_that_opens_late_is_kept_as_a_fellows_for_as_long_as_its_author_wanted() {
    let ([founder, mut one, _], group, stored) = group_of_three();
    one.0.forget_sessions_of(&group, &founder.id()).expect("stored");
    one.receives(stored.bytes());
    let carried = |one: &Person| one.0.store.bundle(&stored.id).expect("readable").expect("carried");
    let unshown = |one: &Person| one.0.store.unshown(UNHEARD, 0, 10).expect("readable").len();
    let before = carried(&one);
    let lifetime_ms = GROUP_LIFETIME_S_MAX * 1000;
    assert_eq!((before.class, unshown(&one)), (Class::Stranger, 1));
    assert!(before.expires_tl_ms < before.received_tl_ms + lifetime_ms - before.age_ms);
    one.0.take_sessions(&group, &founder.id(), vec![founder.own_session()], NOW).expect("stored");
    let after = carried(&one);
    assert_eq!((after.class, unshown(&one), one.texts().len()), (Class::Contact, 0, 1));
    assert_eq!(after.expires_tl_ms, after.received_tl_ms + lifetime_ms - after.age_ms);
}

#[test]
fn l08_so_many_bundles_are_tried_with_a_new_session_at_once_and_the_rest_later() {
    for (count, at_once) in
        [(0, (1, 0)), (SWEEP_MAX, (1, 0)), (GROUP_TRIES_MAX - 1, (1, 1)), (GROUP_TRIES_MAX, (0, 1))]
    {
        let ([founder, mut one, _], group, stored) = group_of_three();
        one.0.forget_sessions_of(&group, &founder.id()).expect("stored");
        for n in 0..count as u16 {
            let mut id = [0; 32];
            id[..2].copy_from_slice(&n.to_be_bytes());
            let (id, unshown_in) = (BundleId(id), Some(UNHEARD.to_owned()));
            let other = StoredBundle {
                id,
                unshown_in,
                payload: vec![0; 256],
                class: Class::Stranger,
                ..stored.clone()
            };
            one.0.insert(&other).expect("stored");
        }
        one.receives(stored.bytes());
        one.0.take_sessions(&group, &founder.id(), vec![founder.own_session()], NOW).expect("stored");
        assert_eq!((one.texts().len(), one.due(Task::TryUnheard).len()), at_once, "{count}");
        one.0.do_what_is_due(NOW).expect("done");
        assert_eq!((one.texts().len(), one.due(Task::TryUnheard).len()), (1, 0), "{count}");
    }
}

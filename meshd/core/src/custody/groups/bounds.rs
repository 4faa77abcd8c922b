//! Who may do what in a group and whom it makes known, on both sides of each limit.

use super::ordeal::{NOW, Person, group_of_three};
use super::*;
use crate::event::MessageStatus;
use crate::group::note::Note;
use crate::identity::Identity;
use crate::limits::GROUP_INVITATIONS_MAX;
use crate::private::contact::ReceiptChoice;
use crate::receipt::Stage;

/// Makes a contact with keys of somebody who never says anything.
fn befriend(person: &mut Person, n: u8) -> NodeId {
    let keys = Identity::from_bytes(&[n; 64]).public();
    let mut contact = Contact::new(Standing::Added, 0, None);
    contact.set_keys(&keys);
    person.0.save_contact(&keys.node_id(), contact).expect("saved");
    keys.node_id()
}

fn found(person: &mut Person, members: Vec<NodeId>, history: bool) -> Result<GroupId, GroupError> {
    person.0.found_group(GroupDraft { name: "Hikers".to_owned(), history, members }, NOW)
}

fn entries(person: &Person, group: &GroupId) -> usize {
    person.0.groups.all[group].roster.entries().count()
}

#[test]
fn c14_who_is_in_is_not_invited_again_and_who_is_an_administrator_not_made_one() {
    let ([mut founder, one, _], group, _) = group_of_three();
    let who = one.id();
    let before = entries(&founder, &group);
    assert_eq!(founder.0.invite(&group, &who, false, NOW), Err(GroupError::AlreadyIn { who }));
    assert_eq!(entries(&founder, &group), before);
    assert_eq!(founder.0.invite(&group, &who, true, NOW), Ok(()));
    for is_admin in [false, true] {
        assert_eq!(founder.0.invite(&group, &who, is_admin, NOW), Err(GroupError::AlreadyIn { who }));
    }
    assert_eq!(entries(&founder, &group), before + 1);
}

#[test]
fn l08_a_group_has_so_many_members_and_no_more() {
    let mut founder = Person::new(1);
    let others: Vec<NodeId> = (2..).take(GROUP_MEMBERS_MAX).map(|n| befriend(&mut founder, n)).collect();
    let too_many = GroupError::TooManyMembers { max: GROUP_MEMBERS_MAX };
    assert_eq!(found(&mut founder, others.clone(), false), Err(too_many.clone()), "the founder is one too");
    let group = found(&mut founder, others[..GROUP_MEMBERS_MAX - 2].to_vec(), false).expect("founded");
    let [one, other] = [others[GROUP_MEMBERS_MAX - 2], others[GROUP_MEMBERS_MAX - 1]];
    assert_eq!(founder.0.invite(&group, &one, false, NOW), Ok(()), "there was room for one");
    assert_eq!(founder.0.invite(&group, &other, false, NOW), Err(too_many));
    assert_eq!(founder.0.invite(&group, &one, true, NOW), Ok(()), "who is in takes no room");
}

#[test]
fn l08_a_roster_grows_to_its_last_entry() {
    let mut founder = Person::new(1);
    let group = found(&mut founder, Vec::new(), false).expect("founded");
    let mut roster = founder.0.groups.all[&group].roster.clone();
    let mut many = Vec::new();
    while roster.entries().count() < GROUP_ENTRIES_MAX - 1 {
        let entry = founder.0.signed(&roster, Act::Policy { history: many.len() % 2 == 0 });
        roster.absorb(entry.clone());
        many.push(entry);
    }
    founder.0.take_entries(&group, many, NOW).expect("stored");
    assert_eq!(founder.0.rename_group(&group, "The last name".to_owned(), NOW), Ok(()));
    let full = Err(GroupError::TooManyEntries { max: GROUP_ENTRIES_MAX });
    assert_eq!(founder.0.rename_group(&group, "One too many".to_owned(), NOW), full);
    assert_eq!(
        (entries(&founder, &group), founder.0.groups.all[&group].view().name.as_str()),
        (GROUP_ENTRIES_MAX, "The last name")
    );
}

#[test]
fn c14_who_is_invited_is_no_member_and_a_member_no_administrator() {
    let ([mut founder, mut one, _], group, _) = group_of_three();
    let rename = |person: &mut Person| person.0.rename_group(&group, "Mine".to_owned(), NOW);
    assert_eq!(rename(&mut one), Err(GroupError::NotAdmin { group }));
    let mut four = Person::new(4);
    four.knows(&founder);
    let who = befriend(&mut founder, 4);
    founder.0.invite(&group, &who, false, NOW).expect("invited");
    assert!(four.hears(&founder, &group));
    assert_eq!(rename(&mut four), Err(GroupError::NotMember { group }));
    // Not even as an administrator, before it has accepted.
    founder.0.invite(&group, &who, true, NOW).expect("made one");
    assert!(four.hears(&founder, &group));
    assert_eq!(rename(&mut four), Err(GroupError::NotMember { group }));
    four.0.join_group(&group, NOW).expect("joined");
    assert_eq!(rename(&mut four), Ok(()));
}

#[test]
fn a_policy_is_set_once_and_kept() {
    let mut founder = Person::new(1);
    let group = found(&mut founder, Vec::new(), false).expect("founded");
    let before = entries(&founder, &group);
    for (history, added) in [(false, 0), (true, 1), (true, 1), (false, 2)] {
        assert_eq!(founder.0.set_history(&group, history, NOW), Ok(()));
        assert_eq!(founder.0.groups.all[&group].view().history, history);
        assert_eq!(entries(&founder, &group), before + added);
    }
}

#[test]
fn c14_who_was_removed_and_is_asked_again_has_no_keys_left() {
    let ([mut founder, mut one, _], group, _) = group_of_three();
    let who = one.id();
    assert!(!one.0.groups.sessions.is_empty());
    founder.0.remove_member(&group, &who, NOW).expect("removed");
    founder.0.invite(&group, &who, false, NOW).expect("invited");
    // It hears of both at once.
    assert!(one.hears(&founder, &group));
    assert_eq!(one.0.groups.all[&group].part_of(&who), Part::Invited);
    assert!(one.0.groups.sessions.is_empty());
}

#[test]
fn whoever_comes_back_is_told_everything_and_the_others_only_what_is_new() {
    let ([mut founder, one, other], group, _) = group_of_three();
    let heads = founder.0.groups.all[&group].roster.heads();
    for member in [one.id(), other.id()] {
        let note = Note::new(group, heads.clone());
        founder.0.take_note(&member, note, NOW).expect("stored");
    }
    let known = |founder: &Person| -> Vec<NodeId> {
        founder.0.groups.all[&group].kept.heads.iter().map(|heads| heads.of).collect()
    };
    assert_eq!(known(&founder).len(), 2);
    founder.0.remove_member(&group, &one.id(), NOW).expect("removed");
    founder.0.invite(&group, &one.id(), false, NOW).expect("invited");
    assert_eq!(known(&founder), [other.id()]);
}

#[test]
fn what_was_sent_before_is_handed_to_a_newcomer_once() {
    let mut founder = Person::new(1);
    let mut one = Person::new(2);
    one.knows(&founder);
    founder.knows(&one);
    let group = found(&mut founder, vec![one.id()], true).expect("founded");
    founder.says(&group, "nobody has joined");
    assert!(one.hears(&founder, &group));
    one.0.join_group(&group, NOW).expect("joined");
    assert!(founder.hears(&one, &group));
    let given = |founder: &Person| founder.0.groups.all[&group].kept.own.clone().expect("there").given;
    assert_eq!(given(&founder), [one.id()]);
    founder.0.rename_group(&group, "Walkers".to_owned(), NOW).expect("renamed");
    assert_eq!(given(&founder), [one.id()], "no change hands it over again");
}

#[test]
fn members_are_known_to_each_other_and_nobody_to_itself() {
    let mut founder = Person::new(1);
    let (mut one, mut other) = (Person::new(2), Person::new(3));
    for person in [&one, &other] {
        founder.knows(person);
    }
    one.knows(&founder);
    other.knows(&founder);
    let group = found(&mut founder, vec![one.id(), other.id()], false).expect("founded");
    assert!(one.hears(&founder, &group));
    assert!(!founder.0.contacts.contains_key(&founder.id()) && !one.0.contacts.contains_key(&one.id()));
    let fellow = other.id();
    assert!(one.0.is_fellow(&fellow) && !one.0.is_added(&fellow));
    assert!(!one.0.is_fellow(&founder.id()), "whom the user chose is more than that");
    assert!(!one.0.is_fellow(&NodeId([8; 20])));
    one.0.block(&fellow, NOW).expect("stored");
    assert!(!one.0.is_fellow(&fellow));
    // Whom the user removes stays known as long as there is a group with it.
    assert!(one.0.remove_contact(&founder.id(), NOW).expect("stored"));
    assert!(one.0.is_fellow(&founder.id()));
    one.0.forget_old_fellows().expect("stored");
    assert!(one.0.is_fellow(&founder.id()));
    one.0.leave_group(&group, NOW).expect("left");
    let chosen = befriend(&mut one, 7);
    one.0.forget_old_fellows().expect("stored");
    assert!(one.0.is_fellow(&founder.id()), "it is still in, and this node knows of it");
    founder.0.remove_member(&group, &fellow, NOW).expect("removed");
    let entries = founder.0.groups.all[&group].roster.entries().cloned().collect();
    one.0.take_entries(&group, entries, NOW).expect("stored");
    one.0.forget_old_fellows().expect("stored");
    assert!(!one.0.contacts.contains_key(&fellow), "who is in no group any more");
    assert!(one.0.is_added(&chosen));
}

#[test]
fn what_is_kept_of_a_group_is_there_after_a_restart() {
    let ([mut founder, mut one, _], group, _) = group_of_three();
    for person in [&mut founder, &mut one] {
        let own = person.0.groups.all[&group].kept.own.as_ref().map(|own| own.sender.index());
        person.0.reload().expect("readable");
        let known = &person.0.groups.all[&group];
        assert_eq!(known.since_unix_ms(), NOW.unix_ms);
        assert_eq!(known.kept.own.as_ref().map(|own| own.sender.index()), own);
    }
}

#[test]
fn l08_so_many_invitations_wait_and_so_many_groups_are_known() {
    let (mut ana, mut bob) = (Person::new(1), Person::new(2));
    ana.knows(&bob);
    bob.knows(&ana);
    let invite = |ana: &mut Person, bob: &mut Person| {
        let group = found(ana, vec![bob.id()], false).expect("founded");
        let is_welcome = bob.hears(ana, &group);
        // Room for the next one.
        ana.0.groups.all.remove(&group);
        is_welcome.then_some(group)
    };
    let asked: Vec<_> = (0..GROUP_INVITATIONS_MAX).filter_map(|_| invite(&mut ana, &mut bob)).collect();
    assert_eq!(asked.len(), GROUP_INVITATIONS_MAX);
    assert_eq!(invite(&mut ana, &mut bob), None);
    for group in &asked {
        bob.0.join_group(group, NOW).expect("invited");
    }
    for count in GROUP_INVITATIONS_MAX..GROUPS_MAX {
        assert_eq!(bob.0.groups.all.len(), count);
        let group = invite(&mut ana, &mut bob).expect("those joined do not count as invitations");
        bob.0.join_group(&group, NOW).expect("invited");
    }
    assert_eq!(invite(&mut ana, &mut bob), None, "so many are known at all");
    let too_many = Err(GroupError::TooManyGroups { max: GROUPS_MAX });
    assert_eq!(found(&mut bob, Vec::new(), false), too_many);
}

#[test]
fn c14_an_invitation_is_taken_from_an_administrator_whom_the_user_chose() {
    let ([mut founder, mut one, _], group, _) = group_of_three();
    let who = befriend(&mut founder, 4);
    founder.0.invite(&group, &who, false, NOW).expect("invited");
    assert!(one.hears(&founder, &group));
    let mut four = Person::new(4);
    four.knows(&one);
    assert!(!four.hears(&one, &group), "a member that is no administrator");
    assert!(!four.hears(&founder, &group), "nobody the user knows");
    four.knows(&founder);
    let asking = Contact { standing: Standing::Asking, ..four.0.contacts[&founder.id()].clone() };
    four.0.save_contact(&founder.id(), asking).expect("saved");
    assert!(!four.hears(&founder, &group), "somebody who only asks");
    four.knows(&founder);
    assert!(four.hears(&founder, &group));
    // Who was not told of the invitation believes it by the entries that come with it.
    let ([mut founder, mut one, _], group, _) = group_of_three();
    befriend(&mut founder, 4);
    founder.0.invite(&group, &who, false, NOW).expect("invited");
    let mut four = Person::new(4);
    four.knows(&founder);
    assert!(four.hears(&founder, &group));
    four.0.join_group(&group, NOW).expect("joined");
    assert!(one.hears(&four, &group));
    assert_eq!(one.0.groups.all[&group].part_of(&who), Part::Joined);
}

#[test]
fn c14_who_has_not_joined_takes_no_sessions() {
    let ([mut founder, ..], group, _) = group_of_three();
    let who = befriend(&mut founder, 4);
    founder.0.invite(&group, &who, false, NOW).expect("invited");
    let mut four = Person::new(4);
    four.knows(&founder);
    assert!(four.hears(&founder, &group));
    let hand = |founder: &Person, four: &mut Person| {
        let note = Note { sessions: vec![founder.own_session()], ..Note::new(group, Vec::new()) };
        four.0.take_note(&founder.id(), note, NOW).expect("stored");
        four.0.groups.sessions.len()
    };
    assert_eq!(hand(&founder, &mut four), 0);
    four.0.join_group(&group, NOW).expect("joined");
    assert_eq!(hand(&founder, &mut four), 1);
}

#[test]
fn k04_only_a_member_that_has_nothing_unknown_says_that_an_old_copy_is_level() {
    let ([mut founder, one, _], group, _) = group_of_three();
    let invited = befriend(&mut founder, 4);
    founder.0.invite(&group, &invited, false, NOW).expect("invited");
    let heads = founder.0.groups.all[&group].roster.heads();
    for (from, heads, is_behind) in [
        (invited, heads.clone(), Some(true)),
        (one.id(), vec![EntryHash([7; 32])], Some(true)),
        (one.id(), heads, None),
    ] {
        founder.0.fall_behind().expect("stored");
        founder.0.take_note(&from, Note::new(group, heads), NOW).expect("stored");
        assert_eq!(founder.0.groups.all[&group].kept.is_behind, is_behind);
    }
}

#[test]
fn c19_a_receipt_counts_of_a_recipient_in_the_messages_group() {
    let ([mut founder, one, other], group, _) = group_of_three();
    let (message, _) = founder.says(&group, "who has this?");
    let mut receive = |by: &NodeId, group: &GroupId, stage: Stage| {
        founder.0.take_group_receipt(group, by, &message, stage, NOW).expect("stored");
        let status = founder.0.store.message(&message).expect("readable").expect("there").status;
        let recipients = founder.0.group_recipients(&message).expect("readable");
        (status, recipients.iter().filter(|one| one.status >= MessageStatus::Delivered).count())
    };
    let pending = MessageStatus::Pending;
    assert_eq!(receive(&NodeId([9; 20]), &group, Stage::Delivered), (pending, 0), "nobody it was for");
    assert_eq!(receive(&one.id(), &GroupId([9; 32]), Stage::Delivered), (pending, 0), "another group");
    assert_eq!(receive(&one.id(), &group, Stage::Delivered), (pending, 1));
    // Read is only believed of whom this node would tell the same.
    assert_eq!(receive(&other.id(), &group, Stage::Read), (MessageStatus::Delivered, 2));
    for member in [&one, &other] {
        let contact = founder.0.contacts[&member.id()].clone();
        let tells = Contact { receipts: ReceiptChoice::Read, ..contact };
        founder.0.save_contact(&member.id(), tells).expect("saved");
    }
    for (member, status) in [(&one, MessageStatus::Delivered), (&other, MessageStatus::Read)] {
        founder.0.take_group_receipt(&group, &member.id(), &message, Stage::Read, NOW).expect("stored");
        assert_eq!(founder.0.store.message(&message).expect("readable").expect("there").status, status);
    }
}

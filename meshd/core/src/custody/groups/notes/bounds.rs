//! What has room in a note, and who is told what, how often.

use super::super::ordeal::{NOW, Person, group_of_three, later};
use super::*;
use crate::draft::GroupDraft;

/// Room for entries and sessions in a note.
const ROOM: usize = 12 * 1024;

/// A group of one who has joined and another who is invited, and has been told nothing.
fn pair() -> (Person, Person, GroupId) {
    let (mut founder, mut one) = (Person::new(1), Person::new(2));
    founder.knows(&one);
    one.knows(&founder);
    let draft = GroupDraft { name: "Hikers".to_owned(), history: false, members: vec![one.id()] };
    let group = founder.0.found_group(draft, NOW).expect("founded");
    founder.take_notes(&one.id());
    (founder, one, group)
}

fn rename(person: &mut Person, group: &GroupId, name: String) {
    person.0.rename_group(group, name, NOW).expect("renamed");
}

/// What the entries of a group come to in a note.
fn sizes(person: &Person, group: &GroupId) -> Vec<usize> {
    person.0.groups.all[group].roster.entries().map(|entry| entry.bytes.len() + 3).collect()
}

fn told(person: &mut Person, group: &GroupId, who: &NodeId, sessions: Vec<Handed>) -> Note {
    person.take_notes(who);
    person.0.tell(group, who, sessions, NOW).expect("stored");
    let mut notes = person.take_notes(who);
    assert_eq!(notes.len(), 1);
    notes.remove(0).0
}

fn confirms(person: &mut Person, who: &NodeId, note: &Note) -> Vec<Note> {
    let posted = Posted { note: note.encode().to_vec(), expires_tl_ms: 0, attempts: 0 };
    person.0.note_confirmed(who, &posted, NOW).expect("stored");
    person.take_notes(who).into_iter().map(|(note, _)| note).collect()
}

#[test]
fn l08_a_note_is_filled_with_entries_to_the_last_byte_beside_its_sessions() {
    for (sessions, over) in [(0, 0), (0, 1), (2, 0), (2, 1)] {
        let (mut founder, one, group) = pair();
        founder.says(&group, "for the session");
        let session = founder.own_session();
        let room = ROOM - sessions * Handed::BYTES;
        // A name of 64 bytes, and shorter ones so that all come to the room and so many bytes over.
        rename(&mut founder, &group, "x".repeat(64));
        let full = sizes(&founder, &group)[2];
        let rest = room + over - sizes(&founder, &group).iter().sum::<usize>();
        let count = rest.div_ceil(full);
        let mut too_much = count * full - rest;
        for n in 0..count {
            let less = too_much.min(40);
            too_much -= less;
            rename(&mut founder, &group, format!("{n:0>0$}", 64 - less));
        }
        let all = sizes(&founder, &group);
        assert_eq!(all.iter().sum::<usize>(), room + over);
        let note = told(&mut founder, &group, &one.id(), vec![session; sessions]);
        assert!(note.encode().len() <= GROUP_NOTE_BYTES_MAX);
        assert_eq!((note.entries.len(), note.sessions.len()), (all.len() - over, sessions), "{over} over");
        let last = note.entries.last().expect("some").hash;
        assert_eq!(note.heads, [last], "where it ends with these");
        let follows = confirms(&mut founder, &one.id(), &note);
        assert_eq!(follows.iter().map(|note| note.entries.len()).collect::<Vec<_>>(), vec![1; over]);
    }
}

#[test]
fn what_has_no_room_follows_note_by_note_until_all_is_told() {
    let (mut founder, mut one, group) = pair();
    for n in 0..120 {
        rename(&mut founder, &group, format!("{n:0>64}"));
    }
    let who = one.id();
    let mut notes = vec![told(&mut founder, &group, &who, Vec::new())];
    let mut count = 0;
    while let Some(note) = notes.pop() {
        assert!(notes.is_empty(), "one at a time");
        assert!(one.0.welcome(&founder.id(), &note, NOW).expect("stored"));
        assert_eq!(one.0.groups.all[&group].roster.heads(), note.heads);
        notes = confirms(&mut founder, &who, &note);
        count += 1;
    }
    assert_eq!(count, 3);
    assert_eq!(one.0.groups.all[&group].view(), founder.0.groups.all[&group].view());
}

#[test]
fn c14_nothing_follows_a_note_that_was_whole_or_for_who_is_out() {
    let (mut founder, one, group) = pair();
    let who = one.id();
    let whole = told(&mut founder, &group, &who, Vec::new());
    let old = Note::new(group, whole.heads.clone());
    for n in 0..60 {
        rename(&mut founder, &group, format!("{n:0>64}"));
    }
    let part = told(&mut founder, &group, &who, Vec::new());
    assert_eq!(confirms(&mut founder, &who, &old).len(), 0, "no entry was in it");
    assert_eq!(confirms(&mut founder, &who, &part).len(), 1);
    founder.0.block(&who, NOW).expect("stored");
    assert_eq!(confirms(&mut founder, &who, &part).len(), 0);
    founder.0.unblock(&who, NOW).expect("stored");
    founder.0.remove_member(&group, &who, NOW).expect("removed");
    founder.take_notes(&who);
    assert_eq!(confirms(&mut founder, &who, &part).len(), 0);
}

#[test]
fn who_is_blocked_is_told_nothing() {
    let (mut founder, one, group) = pair();
    let who = one.id();
    founder.0.block(&who, NOW).expect("stored");
    founder.0.tell(&group, &who, Vec::new(), NOW).expect("stored");
    assert!(founder.take_notes(&who).is_empty());
    founder.0.unblock(&who, NOW).expect("stored");
    assert!(!told(&mut founder, &group, &who, Vec::new()).entries.is_empty());
}

#[test]
fn a_note_that_nothing_confirms_is_sent_anew_three_times_to_who_is_in_and_not_blocked() {
    let ([mut founder, one, other], group, _) = group_of_three();
    let note = told(&mut founder, &group, &one.id(), Vec::new());
    let anew = |founder: &mut Person, who: &NodeId, attempts: u8| -> Vec<u8> {
        founder.take_notes(who);
        let posted = Posted { note: note.encode().to_vec(), expires_tl_ms: 0, attempts };
        founder.0.note_unconfirmed(who, posted, NOW).expect("stored");
        let notes = founder.take_notes(who);
        assert!(notes.iter().all(|(again, _)| *again == note));
        notes.into_iter().map(|(_, attempts)| attempts).collect()
    };
    assert_eq!(ATTEMPTS, 3);
    for (attempts, left) in [(3, vec![2]), (2, vec![1]), (1, vec![0]), (0, vec![])] {
        assert_eq!(anew(&mut founder, &one.id(), attempts), left);
    }
    founder.0.block(&one.id(), NOW).expect("stored");
    founder.0.remove_member(&group, &other.id(), NOW).expect("removed");
    for who in [one.id(), other.id()] {
        assert!(anew(&mut founder, &who, 3).is_empty());
    }
    founder.0.unblock(&one.id(), NOW).expect("stored");
    assert_eq!(anew(&mut founder, &one.id(), 3), [2]);
}

#[test]
fn where_a_roster_ends_is_remembered_of_each_newest_first_and_bounded() {
    let ([mut founder, one, other], group, _) = group_of_three();
    let known = founder.0.groups.all.get_mut(&group).expect("there");
    let head = |n: u8| EntryHash([n; 32]);
    for (heads, remembered) in [(vec![1], vec![1]), (vec![2, 3], vec![2, 3, 1]), (vec![1], vec![1, 2, 3])] {
        known.learn_heads(&other.id(), &[head(9)]);
        known.learn_heads(&one.id(), &heads.into_iter().map(head).collect::<Vec<_>>());
        assert_eq!(known.heads_of(&one.id()), remembered.into_iter().map(head).collect::<Vec<_>>());
        assert_eq!(known.heads_of(&other.id()), [head(9)]);
    }
    assert_eq!(known.heads_of(&NodeId([9; 20])), []);
    let many: Vec<EntryHash> = (0..GROUP_PARENTS_MAX as u8).map(|n| head(100 + n)).collect();
    known.learn_heads(&one.id(), &many);
    assert_eq!(known.heads_of(&one.id()), many);
    assert_eq!(known.kept.heads.len(), 2);
}

#[test]
fn two_are_level_if_neither_has_an_entry_that_the_other_lacks() {
    let ([mut founder, one, _], group, _) = group_of_three();
    let before = founder.0.groups.all[&group].roster.heads();
    rename(&mut founder, &group, "Walkers".to_owned());
    let known = founder.0.groups.all.get_mut(&group).expect("there");
    let after = known.roster.heads();
    let beyond = [after.clone(), vec![EntryHash([9; 32])]].concat();
    for (heads, is_level) in [(vec![], false), (before, false), (after, true), (beyond, false)] {
        known.kept.heads.clear();
        known.learn_heads(&one.id(), &heads);
        assert_eq!(known.is_level_with(&one.id()), is_level, "{heads:?}");
    }
}

#[test]
fn c14_entries_of_who_is_in_are_taken_and_of_nobody_else() {
    let ([mut founder, mut one, mut other], group, _) = group_of_three();
    let count = |person: &Person| person.0.groups.all[&group].roster.entries().count();
    founder.0.remove_member(&group, &other.id(), NOW).expect("removed");
    assert!(one.hears(&founder, &group));
    other.0.leave_group(&group, NOW).expect("left");
    let before = count(&one);
    assert!(!one.hears(&other, &group));
    assert_eq!(count(&one), before, "not even that it left");
    rename(&mut founder, &group, "Walkers".to_owned());
    assert!(one.hears(&founder, &group));
    assert_eq!(count(&one), before + 1);
}

#[test]
fn who_differs_is_told_after_a_while_and_again_only_if_there_is_news() {
    let ([mut founder, one, mut other], group, _) = group_of_three();
    let who = one.id();
    let plan = |founder: &mut Person, ms: u64| {
        founder.0.plan_repair(&group, &who, Some([7; 8]), later(ms)).expect("planned");
        founder.due(Task::RepairGroup)
    };
    assert_eq!(plan(&mut founder, 0), [GROUP_REPAIR_MS]);
    assert_eq!(plan(&mut founder, GROUP_REPAIR_MS - 1), [GROUP_REPAIR_MS], "it is planned already");
    assert_eq!(plan(&mut founder, GROUP_REPAIR_MS), [GROUP_REPAIR_MS, 2 * GROUP_REPAIR_MS]);
    let tell = |founder: &mut Person, n: u64| {
        founder.take_notes(&who);
        plan(founder, 10 * n * GROUP_REPAIR_MS);
        founder.0.do_what_is_due(later((10 * n + 1) * GROUP_REPAIR_MS)).expect("told");
        founder.take_notes(&who).len()
    };
    let counts: Vec<usize> = (1..=6).map(|n| tell(&mut founder, n)).collect();
    assert_eq!(counts.iter().sum::<usize>(), GROUP_REPAIRS_MAX as usize, "{counts:?}");
    assert_eq!(counts[5], 0);
    assert!(founder.hears(&other, &group));
    assert_eq!(tell(&mut founder, 7), 0, "what it said was known");
    other.0.leave_group(&group, NOW).expect("left");
    assert!(founder.hears(&other, &group));
    assert_eq!(tell(&mut founder, 8), 1);
}

#[test]
fn who_is_told_is_in_and_not_blocked_and_differs_as_far_as_this_member_knows() {
    let ([mut founder, one, _], group, _) = group_of_three();
    let who = one.id();
    let what = [&group.0[..], &who.0].concat();
    let heads = founder.0.groups.all[&group].roster.heads();
    let repairs = |founder: &mut Person, is_level: bool, said: Option<Digest>| {
        founder.take_notes(&who);
        let known = founder.0.groups.all.get_mut(&group).expect("there");
        known.kept.heads.clear();
        if is_level {
            known.learn_heads(&who, &known.roster.heads());
        }
        founder.0.groups.repairs.clear();
        founder.0.plan_repair(&group, &who, said, NOW).expect("planned");
        founder.0.repair(&what, NOW).expect("told");
        // What was said is answered once.
        founder.0.repair(&what, NOW).expect("told");
        founder.take_notes(&who).len()
    };
    let own = digest(&heads);
    for (is_level, said, told) in [
        (true, None, 0),
        (true, Some(own), 0),
        (true, Some([7; 8]), 1),
        (false, None, 2),
        (false, Some(own), 2),
    ] {
        assert_eq!(repairs(&mut founder, is_level, said), told, "{is_level} {said:?}");
    }
    founder.0.block(&who, NOW).expect("stored");
    assert_eq!(repairs(&mut founder, false, None), 0);
    founder.0.unblock(&who, NOW).expect("stored");
    founder.0.leave_group(&group, NOW).expect("left");
    assert_eq!(repairs(&mut founder, false, None), 0, "who left tells nobody anything");
    let ([mut founder, ..], _, _) = group_of_three();
    founder.0.remove_member(&group, &who, NOW).expect("removed");
    assert_eq!(repairs(&mut founder, false, None), 0);
}

#[test]
fn a_note_from_who_is_level_plans_nothing_and_from_another_a_repair() {
    let ([mut founder, one, other], group, _) = group_of_three();
    let heads = founder.0.groups.all[&group].roster.heads();
    founder.0.take_note(&one.id(), Note::new(group, heads), NOW).expect("stored");
    assert!(founder.due(Task::RepairGroup).is_empty());
    founder.0.take_note(&other.id(), Note::new(group, vec![EntryHash([9; 32])]), NOW).expect("stored");
    assert_eq!(founder.due(Task::RepairGroup).len(), 1);
}

#[test]
fn a_roster_ends_with_what_none_of_its_entries_names() {
    let ([founder, ..], group, _) = group_of_three();
    let roster = &founder.0.groups.all[&group].roster;
    let entries: Vec<SignedEntry> = roster.entries().cloned().collect();
    assert_eq!(ends(&[], &entries), roster.heads());
    assert_eq!(ends(&[entries[0].hash], &entries[1..]), roster.heads());
    assert_eq!(ends(&[entries[0].hash, entries[0].hash], &[]), [entries[0].hash]);
    let mut apart = [EntryHash([1; 32]), entries[0].hash];
    apart.sort();
    assert_eq!(ends(&[apart[1], apart[0]], &[]), apart);
}

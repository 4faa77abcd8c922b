//! What has room in a backup, and what a member that starts over is handed.

use super::super::Heads;
use super::super::ordeal::{NOW, Person, group_of_three};
use super::*;
use crate::draft::GroupDraft;
use crate::group::sender::SessionId;
use crate::receipt::Stage;

fn given(person: &Person, group: &GroupId) -> Vec<NodeId> {
    person.0.groups.all[group].kept.own.as_ref().expect("there is one").given.clone()
}

/// What a member is handed of a group when it starts over: each session with the index it begins at. `None` if it is told
/// nothing.
fn handed(person: &mut Person, group: &GroupId, who: &NodeId) -> Option<Vec<(SessionId, u32)>> {
    person.take_notes(who);
    person.0.start_over_with(who, NOW).expect("stored");
    let mut notes = person.take_notes(who);
    notes.retain(|(note, _)| note.group == *group);
    assert!(notes.len() < 2);
    let (note, _) = notes.pop()?;
    Some(note.sessions.iter().map(|handed| (handed.key.session(), handed.key.index())).collect())
}

#[test]
fn groups_that_were_left_give_way_in_a_backup_and_then_the_largest() {
    let mut founder = Person::new(1);
    let draft = |name: &str| GroupDraft { name: name.to_owned(), history: false, members: Vec::new() };
    let large = founder.0.found_group(draft("Large"), NOW).expect("founded");
    for n in 0..100 {
        founder.0.rename_group(&large, format!("{n:0>64}"), NOW).expect("renamed");
    }
    let left = founder.0.found_group(draft("Left"), NOW).expect("founded");
    founder.0.leave_group(&left, NOW).expect("left");
    let bytes = |person: &Person, group: &GroupId| -> usize {
        person.0.groups.all[group].roster.entries().map(|entry| entry.bytes.len()).sum()
    };
    let many = GROUP_BACKUP_BYTES_MAX / bytes(&founder, &large);
    assert!(
        GROUP_BACKUP_BYTES_MAX % bytes(&founder, &large) > bytes(&founder, &left),
        "as much room is left"
    );
    let names = |founder: &Person| {
        let (kept, left_out) = founder.0.export_groups();
        let names = kept.iter().map(|export| export.roster().expect("whole").view().name.clone());
        (names.collect::<Vec<_>>(), left_out)
    };
    let last = format!("{:0>64}", 99);
    assert_eq!(names(&founder), (vec![last.clone(), "Left".to_owned()], 0));
    // As many large ones as have room, and the one that was left.
    for n in 1..many as u8 {
        let roster = founder.0.groups.all[&large].roster.clone();
        founder.0.groups.all.insert(GroupId([n; 32]), Group { roster, kept: Kept::default() });
    }
    let (all, left_out) = names(&founder);
    assert_eq!((all.len(), all.last().map(String::as_str), left_out), (many + 1, Some("Left"), 0));
    // A small one takes the room of a large one, and no more comes after that.
    founder.0.found_group(draft(&"x".repeat(64)), NOW).expect("founded");
    for n in 0..2 {
        let roster = founder.0.groups.all[&large].roster.clone();
        founder.0.groups.all.insert(GroupId([200 + n; 32]), Group { roster, kept: Kept::default() });
    }
    let (all, left_out) = names(&founder);
    assert_eq!((all.len(), left_out), (many + 1, 3), "{all:?}");
    assert!(all[0].starts_with('x') && all[1..].iter().all(|name| *name == last));
}

#[test]
fn what_is_known_of_a_group_is_in_its_backup_and_an_entry_that_comes_twice_is_none_of_it() {
    let ([mut founder, ..], group, _) = group_of_three();
    let (kept, _) = founder.0.export_groups();
    let mut twice = kept[0].clone();
    twice.entries.push(twice.entries[1].clone());
    assert!(twice.roster().is_none());
    let mut restored = Person::new(1);
    restored.0.restore_groups(kept).expect("stored");
    restored.0.reload().expect("readable");
    let known = &restored.0.groups.all[&group];
    assert_eq!((known.since_unix_ms(), known.kept.is_behind), (NOW.unix_ms, Some(true)));
    assert_eq!(known.view(), founder.0.groups.all[&group].view());
    founder.0.fall_behind().expect("stored");
    founder.0.reload().expect("readable");
    assert_eq!(founder.0.groups.all[&group].kept.is_behind, Some(true));
}

#[test]
fn r02_who_starts_over_is_handed_a_session_from_the_first_message_on_that_it_has_not_confirmed() {
    let ([mut founder, one, other], group, _) = group_of_three();
    let (one, other) = (one.id(), other.id());
    let session = founder.own_session().key.session();
    for n in 1..=3 {
        founder.says(&group, &format!("{n}"));
    }
    let confirm = |founder: &mut Person, index: u32| {
        let id = message_id(&group, &session, index);
        founder.0.take_group_receipt(&group, &one, &id, Stage::Delivered, NOW).expect("stored");
    };
    assert_eq!(handed(&mut founder, &group, &one), Some(vec![(session, 0)]), "it has confirmed none");
    confirm(&mut founder, 0);
    confirm(&mut founder, 1);
    assert_eq!(handed(&mut founder, &group, &one), Some(vec![(session, 2)]));
    assert_eq!(given(&founder, &group), [other, one], "it has the session again, from there on");
    confirm(&mut founder, 3);
    assert_eq!(
        handed(&mut founder, &group, &one),
        Some(Vec::new()),
        "what is before a confirmed one is not shown again"
    );
    assert_eq!(given(&founder, &group), [other], "so it gets the session with the next message");
    let (last, _) = founder.says(&group, "4");
    assert_eq!(last, message_id(&group, &session, 4));
    let [(note, _)] = &founder.take_notes(&one)[..] else { panic!("one note") };
    assert_eq!(note.sessions[0].key.index(), 4);
    assert_eq!(
        handed(&mut founder, &group, &other),
        Some(vec![(session, 0)]),
        "that is each one's own affair"
    );
}

#[test]
fn k04_who_starts_over_is_handed_the_own_sessions_of_each_group_in_a_note_of_that_group() {
    let ([mut founder, mut member, _], group, _) = group_of_three();
    let one = member.id();
    let first = founder.own_session().key.session();
    founder.0.forget_own_sessions().expect("stored");
    let (message, _) = founder.says(&group, "in a second session");
    let second = founder.0.groups.all[&group].kept.own.as_ref().expect("made").sender.key().session();
    assert_ne!(first, second);
    let draft = GroupDraft { name: "Climbers".to_owned(), history: false, members: vec![one] };
    let elsewhere = founder.0.found_group(draft, NOW).expect("founded");
    assert!(member.hears(&founder, &elsewhere));
    member.0.join_group(&elsewhere, NOW).expect("joined");
    assert!(founder.hears(&member, &elsewhere));
    founder.says(&elsewhere, "to the same one");
    let mut both = [(first, 0), (second, 0)];
    both.sort();
    assert_eq!(handed(&mut founder, &group, &one), Some(both.to_vec()));
    assert!(given(&founder, &group).contains(&one));
    founder.0.take_group_receipt(&group, &one, &message, Stage::Delivered, NOW).expect("stored");
    assert_eq!(handed(&mut founder, &group, &one), Some(vec![(first, 0)]));
    assert!(!given(&founder, &group).contains(&one), "it has only the old one");
    founder.0.leave_group(&group, NOW).expect("left");
    assert_eq!(handed(&mut founder, &group, &one), None, "who left tells nobody anything");
}

#[test]
fn who_starts_over_has_no_entries_any_more_and_the_others_theirs() {
    let ([mut founder, one, other], group, _) = group_of_three();
    let heads = |founder: &Person| -> Vec<NodeId> {
        founder.0.groups.all[&group].kept.heads.iter().map(|heads| heads.of).collect()
    };
    for member in [one.id(), other.id()] {
        let ends = founder.0.groups.all[&group].roster.heads();
        founder
            .0
            .groups
            .all
            .get_mut(&group)
            .expect("there")
            .kept
            .heads
            .push(Heads { of: member, heads: ends });
    }
    founder.take_notes(&one.id());
    founder.0.start_over_with(&one.id(), NOW).expect("stored");
    assert_eq!(heads(&founder), [other.id()]);
    let [(note, _)] = &founder.take_notes(&one.id())[..] else { panic!("one note") };
    assert_eq!(note.entries.len(), founder.0.groups.all[&group].roster.entries().count());
}

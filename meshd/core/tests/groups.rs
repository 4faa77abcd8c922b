//! Groups between nodes: founding, joining, leaving, removing, and what members read of it, when.

#![allow(clippy::unwrap_used, reason = "a net whose parts fail is a failed test")]

mod net;

use meshlink_core::group::entry::GroupId;
use meshlink_core::node::groups::{Part, conversation_of};
use meshlink_core::node::{GroupDraft, GroupError, SubmitError};
use meshlink_core::private::contact::ReceiptChoice;
use meshlink_core::store::{OfferKey, Protection, Shelf};
use meshlink_core::{Event, MessageStatus, NodeId, Store};
use net::groups::{found, friends, group_of, join, meet, say, try_say};
use net::people::{exchange_code, people};
use net::{At, DAY_MS, MINUTE_MS, Net};

fn members(net: &mut Net, at: At, group: &GroupId) -> Vec<NodeId> {
    let view = net.node(at).groups()[group].view().clone();
    view.members.into_iter().filter(|(_, member)| member.is_joined).map(|(id, _)| id).collect()
}

fn part(net: &mut Net, at: At, group: &GroupId) -> Part {
    let id = net.id(at);
    net.node(at).groups()[group].part_of(&id)
}

/// Own texts and others', as they are shown.
fn texts(net: &Net, at: At) -> Vec<String> {
    net.texts(at)
}

#[test]
fn a_group_talks_once_those_invited_have_joined() {
    let mut net = friends(3);
    let group = found(&mut net, 0, &[1, 2], false);
    meet(&mut net, 3);
    for at in [1, 2] {
        assert_eq!(part(&mut net, at, &group), Part::Invited);
        let inviter = net.id(0);
        let own = net.id(at);
        assert_eq!(net.node(at).groups()[&group].invited_by(&own), Some(inviter));
        assert_eq!(try_say(&mut net, at, &group, "?"), Err(SubmitError::NotInGroup { group }));
    }
    say(&mut net, 0, &group, "too early for anybody");
    meet(&mut net, 3);
    join(&mut net, 1, &group);
    join(&mut net, 2, &group);
    meet(&mut net, 3);
    let id = say(&mut net, 1, &group, "hello all");
    meet(&mut net, 3);
    assert_eq!(texts(&net, 0), ["too early for anybody", "hello all"]);
    assert_eq!(texts(&net, 2), ["hello all"]);
    let message = net.store(2).message(&id).unwrap().expect("the same id everywhere");
    assert_eq!(message.conversation, conversation_of(&group));
    assert_eq!((message.from, message.protection), (Some(net.id(1)), Protection::Sealed));
    assert_eq!(net.status(1, &id), MessageStatus::Delivered);
    let recipients = net.node(1).group_recipients(&id).unwrap();
    assert_eq!(recipients.len(), 2);
    assert!(recipients.iter().all(|recipient| recipient.status == MessageStatus::Delivered));
    assert!(net.log(2).contains(&Event::GroupChanged { group }));
}

#[test]
fn one_bundle_serves_a_group_of_five_and_says_nothing() {
    let mut net = friends(5);
    let group = group_of(&mut net, 5, false);
    say(&mut net, 0, &group, "first, with the keys");
    meet(&mut net, 5);
    let count = |net: &Net, at| net.store(at).offers(OfferKey::START, 1_000).unwrap().len();
    let before = count(&net, 0);
    let id = say(&mut net, 0, &group, "CANARY-55aa");
    assert_eq!(count(&net, 0), before + 1, "one encryption for all");
    let carrier = net.node(0).carrier_of(&id).unwrap().unwrap();
    let bundle = net.store(0).bundle(&carrier).unwrap().unwrap();
    assert!([256, 512].contains(&bundle.payload.len()), "c16");
    let bytes = [&bundle.header[..], &bundle.payload].concat();
    let own = net.id(0);
    for secret in [&group.0[..8], &own.0[..8], &id.0[..8], b"CANARY"] {
        assert!(!bytes.windows(secret.len()).any(|window| window == secret));
    }
    assert_eq!((bundle.origin, bundle.commitment), (None, None));
    meet(&mut net, 5);
    for at in 1..5 {
        assert_eq!(texts(&net, at), ["first, with the keys", "CANARY-55aa"]);
    }
}

#[test]
fn five_who_never_met_over_a_line_of_nodes_with_one_away_for_a_week() {
    let mut net = people(5);
    // What they have of each other is the text of a code that the first one showed to each; the others are no contacts.
    for at in 1..5 {
        exchange_code(&mut net, 0, at, false);
    }
    meet(&mut net, 5);
    let group = group_of(&mut net, 5, false);
    // The last one is away; the others meet once a day.
    let mut sent: Vec<String> = Vec::new();
    let mut last = None;
    for day in 0..7 {
        for at in 0..4 {
            let text = format!("day {day} from {at}");
            last = Some(say(&mut net, at, &group, &text));
            sent.push(text);
        }
        meet(&mut net, 4);
        net.pass(DAY_MS);
    }
    let last = last.unwrap();
    assert_eq!(net.status(3, &last), MessageStatus::Synced, "one still lacks it");
    let away = net.id(4);
    let recipients = net.node(3).group_recipients(&last).unwrap();
    for recipient in &recipients {
        let expected = if recipient.id == away { MessageStatus::Pending } else { MessageStatus::Delivered };
        assert_eq!(recipient.status, expected);
    }
    meet(&mut net, 5);
    meet(&mut net, 5);
    sent.sort();
    for at in 0..5 {
        let mut shown = texts(&net, at);
        shown.sort();
        assert_eq!(shown, sent, "node {at}");
    }
    assert_eq!(net.status(3, &last), MessageStatus::Delivered);
}

#[test]
fn c14_a_removed_member_reads_nothing_sent_after_the_removal_is_known() {
    let mut net = friends(4);
    let group = group_of(&mut net, 4, false);
    for at in 0..4 {
        say(&mut net, at, &group, &format!("before {at}"));
    }
    meet(&mut net, 4);
    assert_eq!(texts(&net, 3).len(), 4);
    let (gone, now) = (net.id(3), net.now(0));
    net.node(0).remove_from_group(&group, &gone, now).unwrap();
    // This one does not know yet: its message is still for the removed one's eyes.
    say(&mut net, 2, &group, "unaware");
    meet(&mut net, 4);
    assert_eq!(part(&mut net, 3, &group), Part::Out);
    for at in 0..3 {
        assert_eq!(members(&mut net, at, &group).len(), 3);
        say(&mut net, at, &group, &format!("after {at}"));
    }
    meet(&mut net, 4);
    assert!(!texts(&net, 3).iter().any(|text| text.starts_with("after")), "{:?}", texts(&net, 3));
    for at in 0..3 {
        assert_eq!(texts(&net, at).iter().filter(|text| text.starts_with("after")).count(), 3);
    }
    assert_eq!(try_say(&mut net, 3, &group, "still here"), Err(SubmitError::NotInGroup { group }));
}

#[test]
fn c14_a_new_member_reads_what_came_before_only_if_the_group_says_so() {
    for history in [false, true] {
        let mut net = friends(3);
        let group = found(&mut net, 0, &[1], history);
        meet(&mut net, 3);
        join(&mut net, 1, &group);
        meet(&mut net, 3);
        say(&mut net, 0, &group, "old");
        meet(&mut net, 3);
        let (newcomer, now) = (net.id(2), net.now(0));
        net.node(0).invite_to_group(&group, &newcomer, false, now).unwrap();
        meet(&mut net, 3);
        join(&mut net, 2, &group);
        meet(&mut net, 3);
        say(&mut net, 0, &group, "new");
        meet(&mut net, 3);
        let expected: &[&str] = if history { &["old", "new"] } else { &["new"] };
        assert_eq!(texts(&net, 2), expected);
    }
}

#[test]
fn c14_an_invitation_is_taken_from_a_contact_only() {
    let mut net = friends(3);
    let (stranger, now) = (net.id(0), net.now(2));
    net.node(2).remove_contact(&stranger, now).unwrap();
    let group = found(&mut net, 0, &[1, 2], false);
    meet(&mut net, 3);
    assert!(!net.node(2).groups().contains_key(&group));
    assert!(net.node(2).contact(&stranger).is_none(), "not even as somebody asking");
    assert_eq!(part(&mut net, 1, &group), Part::Invited);
    // Whoever can't be reached by a contact can't be invited either.
    let nobody = NodeId([9; 20]);
    let now = net.now(0);
    let refused = net.node(0).invite_to_group(&group, &nobody, false, now);
    assert_eq!(refused, Err(GroupError::NoContact { who: nobody }));
}

#[test]
fn members_who_are_no_contacts_of_each_other_talk() {
    let mut net = friends(3);
    for (one, other) in [(1, 2), (2, 1)] {
        let (id, now) = (net.id(other), net.now(one));
        net.node(one).remove_contact(&id, now).unwrap();
    }
    let group = group_of(&mut net, 3, false);
    say(&mut net, 1, &group, "hello stranger");
    meet(&mut net, 3);
    say(&mut net, 2, &group, "hello");
    meet(&mut net, 3);
    assert_eq!(texts(&net, 2), ["hello stranger", "hello"]);
    assert_eq!(texts(&net, 1), ["hello stranger", "hello"]);
    let other = net.id(2);
    assert!(net.node(1).contact(&other).is_none(), "a fellow is no contact");
    assert_eq!(net.node(1).contacts().count(), 1);
}

#[test]
fn declining_leaving_and_renaming_are_seen_by_all() {
    let mut net = friends(3);
    let group = found(&mut net, 0, &[1, 2], false);
    meet(&mut net, 3);
    join(&mut net, 1, &group);
    let now = net.now(2);
    net.node(2).leave_group(&group, now).unwrap();
    meet(&mut net, 3);
    let mut both = [net.id(0), net.id(1)];
    both.sort();
    for at in [0, 1] {
        assert_eq!(members(&mut net, at, &group), both);
        assert_eq!(net.node(at).groups()[&group].view().members.len(), 2);
    }
    let now = net.now(0);
    net.node(0).rename_group(&group, "Climbers".to_owned(), now).unwrap();
    let now = net.now(1);
    assert_eq!(net.node(1).rename_group(&group, "Mine".to_owned(), now), Err(GroupError::NotAdmin { group }));
    meet(&mut net, 3);
    assert_eq!(net.node(1).groups()[&group].view().name, "Climbers");
    let now = net.now(1);
    net.node(1).leave_group(&group, now).unwrap();
    meet(&mut net, 3);
    assert_eq!(members(&mut net, 0, &group), [net.id(0)]);
    // Who left can be asked again.
    let (again, now) = (net.id(1), net.now(0));
    net.node(0).invite_to_group(&group, &again, false, now).unwrap();
    meet(&mut net, 3);
    assert_eq!(part(&mut net, 1, &group), Part::Invited);
}

#[test]
fn c14_two_administrators_apart_change_the_group_and_all_agree_afterwards() {
    let mut net = friends(5);
    let group = found(&mut net, 0, &[1, 2], false);
    meet(&mut net, 5);
    for at in [1, 2] {
        join(&mut net, at, &group);
    }
    meet(&mut net, 5);
    let (one, now) = (net.id(1), net.now(0));
    net.node(0).invite_to_group(&group, &one, true, now).unwrap();
    meet(&mut net, 5);
    // Neither hears of the other: one removes 2 and invites 3, the other renames and invites 4.
    let (two, three, four) = (net.id(2), net.id(3), net.id(4));
    let now = net.now(0);
    net.node(0).remove_from_group(&group, &two, now).unwrap();
    net.node(0).invite_to_group(&group, &three, false, now).unwrap();
    net.node(1).rename_group(&group, "Climbers".to_owned(), now).unwrap();
    net.node(1).invite_to_group(&group, &four, false, now).unwrap();
    meet(&mut net, 5);
    meet(&mut net, 5);
    join(&mut net, 3, &group);
    join(&mut net, 4, &group);
    meet(&mut net, 5);
    meet(&mut net, 5);
    let view = net.node(0).groups()[&group].view().clone();
    assert_eq!(view.name, "Climbers");
    assert_eq!(view.members.values().filter(|member| member.is_joined).count(), 4);
    for at in [1, 3, 4] {
        assert_eq!(*net.node(at).groups()[&group].view(), view, "node {at}");
    }
    say(&mut net, 4, &group, "all here?");
    meet(&mut net, 5);
    for at in [0, 1, 3] {
        assert!(texts(&net, at).contains(&"all here?".to_owned()), "node {at}");
    }
}

#[test]
fn read_receipts_follow_what_both_chose_for_each_other() {
    let mut net = friends(3);
    let group = group_of(&mut net, 3, false);
    // 0 and 1 say so to each other; 2 says it of nobody.
    for (one, other) in [(0, 1), (1, 0)] {
        let (id, now) = (net.id(other), net.now(one));
        net.node(one).set_receipts(&id, ReceiptChoice::Read, now).unwrap();
    }
    let id = say(&mut net, 0, &group, "read me");
    meet(&mut net, 3);
    for at in [1, 2] {
        let now = net.now(at);
        assert!(net.node(at).mark_read(&id, now).unwrap());
    }
    meet(&mut net, 3);
    let one = net.id(1);
    for recipient in net.node(0).group_recipients(&id).unwrap() {
        let expected = if recipient.id == one { MessageStatus::Read } else { MessageStatus::Delivered };
        assert_eq!(recipient.status, expected);
    }
    assert_eq!(net.status(0, &id), MessageStatus::Delivered, "not all have read it");
}

#[test]
fn c14_with_frames_lost_and_notes_late_everything_is_read_once() {
    let mut net = friends(4);
    let group = group_of(&mut net, 4, false);
    let mut sent = Vec::new();
    let mut draw: u64 = 7;
    for round in 0..12 {
        for at in 0..4 {
            let text = format!("{round} from {at}");
            say(&mut net, at, &group, &text);
            sent.push(text);
        }
        // Some of the links, each cut after a few frames, in another order each time.
        for _ in 0..3 {
            draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (one, other) = ((draw >> 33) as usize % 4, (draw >> 40) as usize % 4);
            if one == other || draw >> 62 == 0 {
                continue;
            }
            let link = net.join(one, other);
            net.cut_after(link, 4 + (draw >> 50) as usize % 30);
            net.settle();
            net.cut(link);
        }
        net.pass(40 * MINUTE_MS);
    }
    for _ in 0..3 {
        meet(&mut net, 4);
    }
    sent.sort();
    for at in 0..4 {
        let mut shown = texts(&net, at);
        shown.sort();
        assert_eq!(shown, sent, "node {at}");
    }
}

#[test]
fn an_old_session_ends_by_age_and_by_number() {
    let mut net = friends(2);
    let group = group_of(&mut net, 2, false);
    let sessions = |net: &Net| net.store(1).records(Shelf::GroupSession, &[], 100).unwrap().len();
    say(&mut net, 0, &group, "one");
    meet(&mut net, 2);
    say(&mut net, 0, &group, "two");
    meet(&mut net, 2);
    assert_eq!(sessions(&net), 1);
    net.pass(8 * DAY_MS);
    say(&mut net, 0, &group, "three");
    meet(&mut net, 2);
    assert_eq!(sessions(&net), 2);
    for n in 0..100 {
        say(&mut net, 0, &group, &format!("many {n}"));
    }
    meet(&mut net, 2);
    assert_eq!(sessions(&net), 3);
    assert_eq!(texts(&net, 1).len(), 103);
    // The keys go when their last message must have come.
    net.pass(22 * DAY_MS);
    assert_eq!(sessions(&net), 0);
    say(&mut net, 0, &group, "and on");
    meet(&mut net, 2);
    assert_eq!(texts(&net, 1).len(), 104);
}

#[test]
fn limits_and_refusals_of_a_group_are_said_before_anything_happens() {
    let mut net = friends(2);
    let now = net.now(0);
    let nobody = NodeId([9; 20]);
    let (own, other) = (net.id(0), net.id(1));
    let draft = |name: &str, members: &[NodeId]| GroupDraft {
        name: name.to_owned(),
        history: false,
        members: members.to_vec(),
    };
    let refused = [
        (draft("", &[other]), GroupError::BadName { problem: "has to have 1 to 64 bytes" }),
        (draft("x", &[nobody]), GroupError::NoContact { who: nobody }),
        (draft("x", &[own]), GroupError::AlreadyIn { who: own }),
        (draft("x", &vec![other; 64]), GroupError::TooManyMembers { max: 64 }),
    ];
    for (draft, error) in refused {
        assert_eq!(net.node(0).found_group(draft, now), Err(error));
    }
    assert!(net.node(0).groups().is_empty());
    net.node(0).block(&other, now).unwrap();
    assert_eq!(net.node(0).found_group(draft("x", &[other]), now), Err(GroupError::Blocked { who: other }));
    let group = GroupId([1; 32]);
    assert_eq!(net.node(0).leave_group(&group, now), Err(GroupError::Unknown { group }));
    assert_eq!(try_say(&mut net, 0, &group, "?"), Err(SubmitError::NotInGroup { group }));
}

#[test]
fn a_blocked_member_reads_nothing_more_and_is_not_shown() {
    let mut net = friends(3);
    let group = group_of(&mut net, 3, false);
    for at in 0..3 {
        say(&mut net, at, &group, "before");
    }
    meet(&mut net, 3);
    let (two, now) = (net.id(2), net.now(0));
    net.node(0).block(&two, now).unwrap();
    say(&mut net, 0, &group, "without two");
    say(&mut net, 2, &group, "from two");
    meet(&mut net, 3);
    assert!(!texts(&net, 0).contains(&"from two".to_owned()));
    assert!(!texts(&net, 2).contains(&"without two".to_owned()));
    assert!(texts(&net, 1).contains(&"without two".to_owned()));
}

#[test]
fn a_node_that_starts_again_goes_on_with_its_groups() {
    let mut net = friends(3);
    let group = group_of(&mut net, 3, false);
    say(&mut net, 0, &group, "one");
    meet(&mut net, 3);
    for at in 0..3 {
        net.crash(at);
        net.node(at).set_reachable();
    }
    say(&mut net, 0, &group, "two");
    say(&mut net, 2, &group, "three");
    meet(&mut net, 3);
    for at in 0..3 {
        let mut shown = texts(&net, at);
        shown.sort();
        assert_eq!(shown, ["one", "three", "two"], "node {at}");
    }
}

#[test]
fn k04_a_node_set_back_to_an_old_copy_uses_no_index_of_a_group_session_twice() {
    let mut net = friends(3);
    let group = group_of(&mut net, 3, false);
    say(&mut net, 0, &group, "one");
    meet(&mut net, 3);
    let old = net.store(0).clone();
    say(&mut net, 0, &group, "two");
    meet(&mut net, 3);
    *net.node(0).store_mut() = old;
    net.crash(0);
    net.node(0).set_reachable();
    let now = net.now(0);
    net.node(0).begin_anew(now).unwrap();
    meet(&mut net, 3);
    say(&mut net, 0, &group, "three");
    meet(&mut net, 3);
    for at in 1..3 {
        assert_eq!(texts(&net, at), ["one", "two", "three"], "node {at}");
    }
}

#[test]
fn whoever_is_removed_is_not_waited_for_any_more() {
    let mut net = friends(3);
    let group = group_of(&mut net, 3, false);
    // The last one is away, and hears nothing of it.
    let id = say(&mut net, 0, &group, "who is there?");
    meet(&mut net, 2);
    assert_eq!(net.status(0, &id), MessageStatus::Synced);
    let (away, now) = (net.id(2), net.now(0));
    net.node(0).remove_from_group(&group, &away, now).unwrap();
    assert_eq!(net.status(0, &id), MessageStatus::Delivered, "at once, not when its lifetime ends");
}

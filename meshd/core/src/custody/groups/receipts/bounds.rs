//! Who hears of what, and what becomes of a message when its time is over.

use super::super::ordeal::{NOW, Person, group_of_three, later};
use super::*;
use crate::limits::{GROUP_LIFETIME_S_MAX, RECEIPT_MS_MAX};
use crate::private::contact::{Contact, Key};

const LIFETIME_MS: u64 = GROUP_LIFETIME_S_MAX * 1000;

fn message(n: u8) -> BundleId {
    BundleId([n; 32])
}

fn status(person: &Person, id: &BundleId) -> MessageStatus {
    person.0.store.message(id).expect("readable").expect("there").status
}

fn chooses(person: &mut Person, of: &NodeId, receipts: ReceiptChoice) {
    let contact = Contact { receipts, ..person.0.contacts[of].clone() };
    person.0.save_contact(of, contact).expect("saved");
}

fn waiting(person: &Person) -> usize {
    person.0.store.records(Shelf::GroupReceipt, &[], 1_000).expect("readable").len()
}

#[test]
fn c19_who_has_read_is_told_to_whoever_asked_and_would_tell_it_too() {
    for (receipts, wants_read, is_blocked, told) in [
        (ReceiptChoice::Read, true, false, 1),
        (ReceiptChoice::Delivered, true, false, 0),
        (ReceiptChoice::Read, false, false, 0),
        (ReceiptChoice::Read, true, true, 0),
    ] {
        let ([founder, mut one, _], group, _) = group_of_three();
        let from = founder.id();
        chooses(&mut one, &from, receipts);
        if is_blocked {
            one.0.block(&from, NOW).expect("stored");
        }
        let (secret, bundle) = (Key([0; 32]), message(7));
        let opened = OpenedMessage { from, secret, bundle, wants_read, group: Some(group) };
        one.0.confirm_reading(&group, &message(8), &opened, NOW).expect("stored");
        assert_eq!(waiting(&one), told, "{receipts:?} {wants_read} {is_blocked}");
    }
}

#[test]
fn l08_receipts_go_together_so_many_in_a_note_and_the_rest_in_the_next() {
    for (count, notes) in
        [(1, vec![1]), (GROUP_RECEIPTS_MAX, vec![64]), (GROUP_RECEIPTS_MAX + 1, vec![64, 1])]
    {
        let ([founder, mut one, _], group, _) = group_of_three();
        let author = founder.id();
        one.take_notes(&author);
        for n in 0..count as u8 {
            one.0.confirm(&group, &author, &message(n), Stage::Delivered, NOW).expect("stored");
        }
        assert_eq!(one.due(Task::SendGroupReceipts).len(), 1, "once for all of {count}");
        let mut sent = Vec::new();
        for round in 1..=3 {
            one.0.do_what_is_due(later(round * RECEIPT_MS_MAX)).expect("sent");
            // Nobody repeats them.
            sent.extend(one.take_notes(&author).iter().map(|(note, anew)| (note.receipts.len(), *anew)));
        }
        assert_eq!(sent, notes.iter().map(|count| (*count, 0)).collect::<Vec<_>>());
        assert_eq!((waiting(&one), one.due(Task::SendGroupReceipts).len()), (0, 0));
    }
}

#[test]
fn c14_who_is_blocked_or_out_gets_no_receipts() {
    let ([mut founder, mut one, other], group, _) = group_of_three();
    let (author, out) = (founder.id(), other.id());
    let notes = |one: &mut Person, author: &NodeId| {
        one.0.confirm(&group, author, &message(7), Stage::Read, NOW).expect("stored");
        one.take_notes(author);
        one.0.send_group_receipts(&[&author.0[..], &group.0].concat(), NOW).expect("sent");
        one.take_notes(author).into_iter().map(|(note, _)| note.receipts).collect::<Vec<_>>()
    };
    let read = vec![vec![(message(7), Stage::Read)]];
    assert_eq!((notes(&mut one, &author), notes(&mut one, &out)), (read.clone(), read));
    one.0.block(&author, NOW).expect("stored");
    founder.0.remove_member(&group, &out, NOW).expect("removed");
    assert!(one.hears(&founder, &group));
    assert_eq!((notes(&mut one, &author), notes(&mut one, &out)), (Vec::new(), Vec::new()));
}

#[test]
fn whoever_left_is_waited_for_in_none_of_many_messages() {
    let ([mut founder, one, other], group, _) = group_of_three();
    let (last, _) = founder.says(&group, "for both");
    founder.0.take_group_receipt(&group, &one.id(), &last, Stage::Delivered, NOW).expect("stored");
    let sent = founder.0.sent_to_group(&last).expect("readable").expect("there");
    // So many others come before it.
    for n in 0..=SWEEP_MAX as u16 {
        let key = [&n.to_be_bytes()[..], &[0; 30]].concat();
        let other = Sent { group: GroupId([9; 32]), ..sent.clone() };
        founder.0.store.put_record(Shelf::GroupSent, &key, &encoded(&other)).expect("stored");
    }
    assert!(last.0[..2] > SWEEP_MAX.to_be_bytes()[6..]);
    assert_eq!(status(&founder, &last), MessageStatus::Pending);
    founder.0.remove_member(&group, &other.id(), NOW).expect("removed");
    assert_eq!(status(&founder, &last), MessageStatus::Delivered);
}

#[test]
fn receipts_are_waited_for_after_a_messages_lifetime_for_as_long_as_they_may_be_under_way() {
    let ([mut founder, one, other], group, _) = group_of_three();
    let (nobodys, _) = founder.says(&group, "nobody has this");
    let (everybodys, _) = founder.says(&group, "all have this");
    let (read, _) = founder.says(&group, "all have read this");
    for member in [one.id(), other.id()] {
        chooses(&mut founder, &member, ReceiptChoice::Read);
        for (message, stage) in [(&everybodys, Stage::Delivered), (&read, Stage::Read)] {
            founder.0.take_group_receipt(&group, &member, message, stage, NOW).expect("stored");
        }
    }
    let last_ms = LIFETIME_MS + PRIVATE_LIFETIME_MS_MAX;
    let (pending, delivered) = (MessageStatus::Pending, MessageStatus::Delivered);
    for (ms, first, all_wait, read_waits) in [
        (LIFETIME_MS - 1, pending, true, true),
        (LIFETIME_MS, pending, true, false),
        (last_ms - 1, pending, true, false),
        (last_ms, MessageStatus::Expired, false, false),
    ] {
        founder.0.do_what_is_due(later(ms)).expect("done");
        let all = [&nobodys, &everybodys, &read];
        assert_eq!(all.map(|id| status(&founder, id)), [first, delivered, MessageStatus::Read], "{ms}");
        let is_waited_for = all.map(|id| {
            let bundle =
                founder.0.carrier_to_group(id).expect("readable").expect("known as long as the message");
            founder.0.store.record(Shelf::Sent, &bundle.0).expect("readable").is_some()
        });
        assert_eq!(is_waited_for, [all_wait, all_wait, read_waits], "{ms}");
    }
    let expired = founder.0.store.message(&nobodys).expect("readable").expect("there");
    assert_eq!(expired.status_reason.as_deref(), Some(NOT_ALL_HAVE_IT));
}

#[test]
fn a_message_to_a_group_that_is_forgotten_is_withdrawn_while_nobody_has_it() {
    for (reached, is_held) in [(MessageStatus::Pending, false), (MessageStatus::Synced, true)] {
        let ([mut founder, ..], group, _) = group_of_three();
        let (id, stored) = founder.says(&group, "oops");
        founder.0.advance(&id, reached, None, NOW).expect("stored");
        let message = founder.0.store.message(&id).expect("readable").expect("there");
        founder.0.withdraw_from_group(&message.state()).expect("stored");
        assert_eq!(founder.0.store.bundle(&stored.id).expect("readable").is_some(), is_held, "{reached:?}");
        assert_eq!(founder.0.carrier_to_group(&id), Ok(None));
        assert_eq!(founder.0.store.record(Shelf::Sent, &stored.id.0), Ok(None));
    }
}

//! Answers by number, from a neighbour that does not keep to the rules.

use crate::abuse::{carried, draft, post};
use crate::event::{LinkKind, MessageStatus};
use crate::node::{CloseReason, Input};
use crate::rogue::Rogue;
use crate::store::Store;
use crate::wire::{Message, Refusal, Run};

fn run(first: u64, count: u64) -> Run {
    Run::new(first, count).unwrap()
}

/// What the node says now of what it was sent.
fn answers(rogue: &mut Rogue) -> Vec<Message<'static>> {
    let frames = rogue.hear();
    let messages = frames.iter().flat_map(|plain| Message::read_all(plain).unwrap());
    let answer = |message| {
        if let Message::Stored(run) = message {
            return Some(Message::Stored(run));
        }
        if let Message::Refused(why, run) = message { Some(Message::Refused(why, run)) } else { None }
    };
    messages.filter_map(answer).collect()
}

#[test]
fn each_bundle_is_answered_by_its_number_whatever_becomes_of_it() {
    let mut rogue = Rogue::meet();
    rogue.hear();
    let (one, two, mut bad) = (post("one"), post("two"), post("bad"));
    bad.auth[0] ^= 1;
    rogue.say(&[carried(&one), carried(&two), carried(&bad), carried(&one)]);
    assert_eq!(
        answers(&mut rogue),
        [Message::Stored(run(0, 2)), Message::Stored(run(3, 1)), Message::Refused(Refusal::Bad, run(2, 1)),],
        "a second copy counts, and is stored"
    );
    // What can't even be named is refused as well.
    let mut nameless = carried(&one);
    let Message::Bundle(bundle) = &mut nameless else { panic!("a bundle") };
    bundle.bytes.header = b"no header";
    rogue.say(&[nameless, carried(&post("three"))]);
    assert_eq!(answers(&mut rogue), [Message::Stored(run(5, 1)), Message::Refused(Refusal::Bad, run(4, 1))]);
}

#[test]
fn s08_an_answer_to_what_was_not_sent_ends_the_link_and_confirms_nothing() {
    for first in [1, u64::MAX - 1] {
        let mut rogue = Rogue::meet();
        rogue.hear();
        let id = rogue.node.submit(draft("mine"), rogue.now).unwrap();
        assert_eq!(rogue.hear_words(), ["bundle 0 0"]);
        rogue.say(&[Message::Stored(run(first, 1))]);
        assert!(matches!(rogue.closed(), Some(CloseReason::Protocol(_))), "{first}");
        let status = rogue.node.store().message(&id).unwrap().unwrap().status;
        assert_eq!(status, MessageStatus::Pending);
    }
}

#[test]
fn s08_an_answer_to_an_earlier_session_confirms_nothing_that_this_one_sends() {
    let mut rogue = Rogue::meet();
    rogue.hear();
    let first = rogue.node.submit(draft("first"), rogue.now).unwrap();
    assert_eq!(rogue.hear_words(), ["bundle 0 0"]);
    rogue.say(&[carried(&post("theirs"))]);
    assert_eq!(answers(&mut rogue), [Message::Stored(run(0, 1))]);
    // It begins anew on the same link. The answer to what the old session sent comes after that.
    rogue.say(&[Message::Takeover]);
    rogue.hear();
    let second = rogue.node.submit(draft("second"), rogue.now).unwrap();
    assert_eq!(rogue.hear_words(), ["bundle 0 0"]);
    rogue.say(&[Message::Stored(run(0, 1))]);
    let status = |rogue: &Rogue, id| rogue.node.store().message(id).unwrap().unwrap().status;
    assert_eq!(status(&rogue, &second), MessageStatus::Pending, "it is the second one on this link");
    assert_eq!(status(&rogue, &first), MessageStatus::Pending, "nobody waits for that any more");
    rogue.say(&[Message::Stored(run(1, 1))]);
    assert_eq!(status(&rogue, &second), MessageStatus::Synced);
    rogue.say(&[carried(&post("theirs again"))]);
    assert_eq!(answers(&mut rogue), [Message::Stored(run(1, 1))]);
}

#[test]
fn what_comes_while_a_link_stands_by_is_counted_as_its_sender_counts_it() {
    let mut rogue = Rogue::meet();
    rogue.hear();
    let better = rogue.link;
    rogue.reconnect(LinkKind::Relay);
    assert_ne!(better, rogue.link);
    rogue.say(&[carried(&post("ignored"))]);
    assert_eq!(answers(&mut rogue), []);
    rogue.node.handle(Input::LinkDown { link: better }, rogue.now).unwrap();
    rogue.say(&[carried(&post("taken"))]);
    assert_eq!(answers(&mut rogue), [Message::Stored(run(1, 1))]);
    // What is no message ends a link that stands by as any other.
    let worker = rogue.link;
    rogue.reconnect(LinkKind::Relay);
    assert_ne!(worker, rogue.link);
    rogue.say_bytes(&[0x80]);
    assert!(matches!(rogue.closed(), Some(CloseReason::Protocol(_))));
}

//! Two or three nodes, and what becomes of messages between them.

mod net;

use meshlink_core::limits::PATIENCE_MS;
use meshlink_core::store::{Dropped, HandOverStep, Known};
use meshlink_core::{Event, LinkKind, LinkPhase, MessageStatus, NodeId, Now, Priority, Store};
use net::{DAY_MS, Net};

#[test]
fn a_message_reaches_the_neighbour_and_its_status_moves() {
    let mut net = Net::new(2);
    let early = net.post(0, "before they met");
    assert_eq!(net.status(0, &early), MessageStatus::Pending);
    net.join(0, 1);
    net.settle();
    assert_eq!(net.texts(1), ["before they met"]);
    assert_eq!(net.status(0, &early), MessageStatus::Synced);
    let live = net.post(0, "while they talk");
    net.settle();
    assert_eq!(net.texts(1), ["before they met", "while they talk"]);
    assert_eq!(net.status(0, &live), MessageStatus::Synced);
    let received = &net.messages(1)[0];
    assert!(!received.own && !received.read);
    assert_eq!(received.status, MessageStatus::Synced);
    assert_eq!(received.from, Some(net.id(0)));
    assert_eq!(net.phases(0), [(LinkKind::Pipe, LinkPhase::Live)]);
}

#[test]
fn a_mule_delivers_after_a_partition() {
    let mut net = Net::new(3);
    let id = net.post(0, "by mule");
    let first = net.join(0, 1);
    net.settle();
    net.cut(first);
    net.pass(3_600_000);
    net.join(2, 1);
    net.settle();
    assert_eq!(net.texts(2), ["by mule"]);
    let bundle = net.store(2).bundle(&id).unwrap().unwrap();
    assert_eq!(bundle.hops, 2);
    assert!((3_600_000..3_700_000).contains(&bundle.age_ms), "{}", bundle.age_ms);
}

#[test]
fn what_finding_out_costs_is_counted_alike_by_both_sides() {
    let mut net = Net::new(2);
    for n in 0..100 {
        net.post(n % 2, &format!("message {n}"));
    }
    net.join(0, 1);
    net.settle();
    let [a, b] = [0, 1].map(|at| *net.node(at).tally());
    assert!(a.reconcile_sent_bytes > 100 && b.reconcile_sent_bytes > 100, "{a:?} {b:?}");
    assert_eq!(a.reconcile_sent_bytes, b.reconcile_received_bytes);
    assert_eq!(b.reconcile_sent_bytes, a.reconcile_received_bytes);
}

#[test]
fn what_was_sent_is_there_in_order_and_once() {
    let mut net = Net::new(2);
    for n in 0..500 {
        net.post(0, &format!("message {n}"));
    }
    net.join(1, 0);
    net.settle();
    for n in 500..1_000 {
        net.post(0, &format!("message {n}"));
    }
    net.settle();
    let expected: Vec<String> = (0..1_000).map(|n| format!("message {n}")).collect();
    assert_eq!(net.texts(1), expected);
    assert!(net.frames < 200, "{} frames for 1000 messages", net.frames);
}

#[test]
fn live_news_crosses_a_chain_of_nodes() {
    let mut net = Net::new(4);
    for (a, b) in [(0, 1), (2, 1), (2, 3)] {
        net.join(a, b);
    }
    net.settle();
    net.post(0, "along the chain");
    net.settle();
    for at in 1..4 {
        assert_eq!(net.texts(at), ["along the chain"], "at {at}");
    }
}

#[test]
fn s07_in_a_full_mesh_everybody_has_it_once_and_few_copies_travel() {
    let mut net = Net::new(6);
    for a in 0..6 {
        for b in 0..a {
            net.join(a, b);
        }
    }
    net.settle();
    let before: u64 = (0..6).map(|at| received(&mut net, at)).sum();
    net.post(0, "to all");
    net.settle();
    for at in 1..6 {
        assert_eq!(net.texts(at), ["to all"], "at {at}");
    }
    let copies = (0..6).map(|at| received(&mut net, at)).sum::<u64>() - before;
    assert_eq!(copies, 5, "each of the others took one copy");
}

#[test]
fn s07_three_that_all_meet_stop_sending_each_other_second_copies() {
    let mut net = Net::new(3);
    for (a, b) in [(0, 1), (1, 2), (2, 0)] {
        net.join(a, b);
    }
    for n in 0..6 {
        net.post(n % 3, &format!("learned from {n}"));
        net.settle();
    }
    let sent = |net: &mut Net| -> u64 {
        (0..3).map(|at| net.node(at).links().map(|link| link.sent_bundles).sum::<u64>()).sum()
    };
    let before = sent(&mut net);
    for n in 0..10 {
        net.post(n % 3, &format!("{n}"));
        net.settle();
    }
    assert_eq!(sent(&mut net) - before, 20, "each of ten messages to each of two others");
}

#[test]
fn a_hub_learns_that_its_neighbours_have_nothing_from_each_other() {
    let mut net = Net::new(5);
    for leaf in 1..5 {
        net.join(0, leaf);
    }
    net.settle();
    net.post(1, "announced");
    net.settle();
    let before = net.frames;
    net.post(1, "pushed");
    net.settle();
    for leaf in 2..5 {
        assert_eq!(net.texts(leaf), ["announced", "pushed"]);
    }
    assert_eq!(net.frames - before, 8, "a bundle and an answer on each link");
}

fn received(net: &mut Net, at: usize) -> u64 {
    net.node(at).links().map(|link| link.received_bundles).sum()
}

#[test]
fn a_large_message_is_announced_first_and_fetched() {
    let mut net = Net::new(2);
    net.join(0, 1);
    net.settle();
    let text = "x".repeat(16 * 1024);
    net.post(0, &text);
    net.settle();
    assert_eq!(net.texts(1), [text]);
}

#[test]
fn s05_an_interrupted_transfer_goes_on_with_another_carrier() {
    let mut net = Net::new(3);
    let texts: Vec<String> = (0..40).map(|n| format!("{n} {}", "x".repeat(8_000))).collect();
    for text in &texts {
        net.post(0, text);
    }
    let to_mule = net.join(0, 2);
    net.settle();
    net.cut(to_mule);
    let link = net.join(1, 0);
    net.cut_after(link, 8);
    net.settle();
    let partly = net.texts(1).len();
    assert!(partly > 0 && partly < 40, "{partly}");
    net.join(1, 2);
    net.settle();
    assert_eq!(net.texts(1), texts);
}

#[test]
fn s07_two_carriers_at_once_deliver_once_and_the_second_steps_in() {
    let mut net = Net::new(4);
    for n in 0..60 {
        net.post(0, &format!("{n} {}", "x".repeat(5_000)));
    }
    for mule in [2, 3] {
        let link = net.join(0, mule);
        net.settle();
        net.cut(link);
    }
    let first = net.join(1, 2);
    net.join(1, 3);
    net.cut_after(first, 6);
    net.settle();
    assert!(!net.is_up(first));
    assert_eq!(net.texts(1).len(), 60);
    let taken: u64 = received(&mut net, 1);
    assert!(taken < 60, "the rest came over the link that is gone");
}

#[test]
fn an_urgent_message_overtakes() {
    let mut net = Net::new(2);
    for n in 0..100 {
        net.post_with(0, &format!("bulk {n} {}", "x".repeat(4_000)), Priority::Bulk);
    }
    net.post(0, "normal");
    net.post_with(0, "sos", Priority::Sos);
    let link = net.join(1, 0);
    net.cut_after(link, 4);
    net.settle();
    let texts = net.texts(1);
    assert_eq!(texts[..2], ["sos", "normal"], "{} came", texts.len());
}

#[test]
fn an_urgent_message_overtakes_what_waits_on_a_live_link() {
    let mut net = Net::new(2);
    let link = net.join(1, 0);
    net.settle();
    for n in 0..100 {
        net.post_with(0, &format!("bulk {n}"), Priority::Bulk);
    }
    net.post_with(0, "sos", Priority::Sos);
    net.cut_after(link, 1);
    net.settle();
    assert_eq!(net.texts(1).first().map(String::as_str), Some("sos"));
}

#[test]
fn p01_nothing_acknowledged_is_lost_when_the_receiver_crashes_before_its_commit() {
    let mut net = Net::new(2);
    net.join(0, 1);
    net.settle();
    let id = net.post(0, "hold on");
    net.pump(0);
    // The frame arrives, and the power goes before the commit.
    assert!(net.step_without_commit());
    net.crash(1);
    net.settle();
    assert_eq!(net.status(0, &id), MessageStatus::Pending);
    assert_eq!(net.texts(1), Vec::<String>::new());
    net.join(0, 1);
    net.settle();
    assert_eq!(net.texts(1), ["hold on"]);
    assert_eq!(net.status(0, &id), MessageStatus::Synced);
}

#[test]
fn a_restart_keeps_everything_and_tells_nothing_twice() {
    let mut net = Net::new(2);
    net.post(0, "one");
    net.join(0, 1);
    net.settle();
    net.crash(1);
    net.join(0, 1);
    net.settle();
    assert_eq!(net.texts(1), ["one"]);
    let log = net.log(1);
    let of = |event: fn(&Event) -> bool| log.iter().filter(|e| event(e)).count();
    assert_eq!(of(|event| matches!(event, Event::MessageNew { .. })), 1);
    assert_eq!(of(|event| matches!(event, Event::LinkUp { .. })), 2);
    assert_eq!(of(|event| matches!(event, Event::LinkDown { .. })), 1, "the crash is made up for");
    assert_eq!(of(|event| matches!(event, Event::PeerUp { .. })), 2);
    assert_eq!(of(|event| matches!(event, Event::PeerDown { .. })), 1);
}

#[test]
fn the_way_of_a_message_is_noted_at_both_ends() {
    let mut net = Net::new(2);
    let id = net.post(0, "traced");
    net.join(0, 1);
    net.settle();
    let peer = Some(net.id(1));
    let steps: Vec<_> =
        net.store(0).hand_overs(&id).unwrap().iter().map(|step| (step.step, step.peer)).collect();
    assert_eq!(steps, [(HandOverStep::Offered, peer), (HandOverStep::Stored, peer)]);
    let steps = net.store(1).hand_overs(&id).unwrap();
    assert_eq!(steps.len(), 1);
    assert_eq!((steps[0].step, steps[0].via), (HandOverStep::Received, Some(LinkKind::Pipe)));
}

#[test]
fn a_message_nobody_takes_expires_with_a_reason() {
    let mut net = Net::new(2);
    let id = net.post(0, "too late");
    net.pass(7 * DAY_MS + 2_000);
    assert_eq!(net.status(0, &id), MessageStatus::Expired);
    let message = net.store(0).message(&id).unwrap().unwrap();
    assert!(message.status_reason.is_some());
    assert_eq!(net.store(0).known(&id.prefix()), Ok(Known::Dropped(Dropped::ForGood)));
    net.join(0, 1);
    net.settle();
    assert_eq!(net.texts(1), Vec::<String>::new());
    net.pass(DAY_MS + 3_600_000);
    assert_eq!(net.store(0).known(&id.prefix()), Ok(Known::No), "in the end even its id is forgotten");
}

#[test]
fn a_message_that_was_taken_does_not_expire_for_its_author() {
    let mut net = Net::new(2);
    let id = net.post(0, "taken");
    net.join(0, 1);
    net.pass(8 * DAY_MS);
    assert_eq!(net.status(0, &id), MessageStatus::Synced);
    assert_eq!(net.store(1).bundle(&id), Ok(None));
    assert_eq!(net.texts(1), ["taken"], "a message outlives its bundle");
}

#[test]
fn a_forgotten_pending_message_is_withdrawn() {
    let mut net = Net::new(2);
    let id = net.post(0, "never mind");
    let now = net.now(0);
    assert_eq!(net.node(0).forget(&id, now), Ok(true));
    assert_eq!(net.node(0).forget(&id, now), Ok(false));
    net.join(0, 1);
    net.settle();
    assert_eq!(net.texts(1), Vec::<String>::new());
    let id = net.post(0, "said");
    net.settle();
    net.node(0).forget(&id, now).unwrap();
    net.settle();
    assert!(net.store(0).bundle(&id).unwrap().is_some(), "what others have is still carried");
    assert_eq!(net.texts(1), ["said"]);
}

#[test]
fn a_bridged_post_taken_over_twice_is_one_message() {
    let mut net = Net::new(3);
    let post = meshlink_core::BridgedPost {
        channel: "#mesh".to_owned(),
        text: "Hello World".to_owned(),
        sender_id: "test-1".to_owned(),
        timestamp_ms: 1_234_567_890,
    };
    let now = net.now(0);
    let first = net.node(0).submit_bridged(post.clone(), now).unwrap();
    assert!(first.is_some());
    assert_eq!(net.node(0).submit_bridged(post.clone(), now).unwrap(), None);
    let now = net.now(1);
    assert_eq!(net.node(1).submit_bridged(post, now).unwrap(), first);
    net.join(0, 1);
    net.join(1, 2);
    net.settle();
    for at in 0..3 {
        let messages = net.messages(at);
        assert_eq!(messages.len(), 1, "at {at}");
        assert_eq!(messages[0].from, None);
        assert_eq!(messages[0].from_alias.as_deref(), Some("test-1"));
        assert_eq!(messages[0].status, MessageStatus::Synced);
    }
}

#[test]
fn a_bridged_post_without_a_time_has_none() {
    let mut net = Net::new(2);
    let post = meshlink_core::BridgedPost {
        channel: "#mesh".to_owned(),
        text: "when?".to_owned(),
        sender_id: "unnamed".to_owned(),
        timestamp_ms: 0,
    };
    let now = net.now(0);
    net.node(0).submit_bridged(post, now).unwrap();
    net.join(0, 1);
    net.settle();
    for at in 0..2 {
        assert_eq!(
            (net.texts(at), net.messages(at)[0].created_unix_ms),
            (vec!["when?".to_owned()], None),
            "{at}"
        );
    }
}

#[test]
fn what_a_neighbour_says_of_a_bundle_it_was_sent_waits_for_company_but_not_for_long() {
    let mut net = Net::new(2);
    net.join(0, 1);
    net.settle();
    let id = net.post(0, "hello");
    let now = net.now(0);
    net.pump(0);
    assert!(!net.node(0).is_commit_due(now), "nothing is left to commit");
    assert!(net.step_without_commit());
    assert!(net.node(1).is_commit_due(now), "a user waits for the message, and the neighbour for its answer");
    net.pump(1);
    assert!(net.step_without_commit());
    assert!(!net.node(0).is_commit_due(now), "nobody waits for the status");
    let deadline = net.node(0).poll_timeout().expect("it is to be committed");
    assert!(deadline.mono_ms <= now.mono_ms + PATIENCE_MS, "{deadline:?}");
    let later = Now { mono_ms: now.mono_ms + PATIENCE_MS, ..now };
    assert!(net.node(0).is_commit_due(later));
    // Nobody was told, so a power cut may take it back; the next meeting finds it out again.
    net.crash(0);
    assert_eq!(net.status(0, &id), MessageStatus::Pending);
    net.join(0, 1);
    net.settle();
    assert_eq!(net.status(0, &id), MessageStatus::Synced);
    assert_eq!(net.texts(1), ["hello"], "shown once");
}

#[test]
fn whatever_a_user_or_a_neighbour_waits_for_is_due_at_once() {
    let mut net = Net::new(2);
    let now = net.now(0);
    assert!(!net.node(0).is_commit_due(now));
    net.node(0).block(&NodeId([9; NodeId::BYTES]), now).unwrap();
    assert!(net.node(0).is_commit_due(now), "a user blocked somebody");
    net.pump(0);
    assert!(!net.node(0).is_commit_due(now));
    let link = net.join(0, 1);
    assert!(net.node(0).is_commit_due(now), "the handshake begins");
    net.settle();
    net.inject(link, vec![0xff; 100]);
    assert!(net.step_without_commit());
    assert!(net.node(0).is_commit_due(now), "the link is to be closed");
}

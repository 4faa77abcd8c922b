//! Several links to one neighbour, links to oneself, to whom one has blocked, and links that die.

mod net;

use meshlink_core::limits::{ANSWERS_APART_MS, IN_FLIGHT_MAX};
use meshlink_core::store::Slot;
use meshlink_core::{
    CloseReason, Event, Identity, Limits, LinkKind, LinkPhase, MessageStatus, Priority, Store,
};
use net::Net;

fn count(log: &[Event], is: impl Fn(&Event) -> bool) -> usize {
    log.iter().filter(|event| is(event)).count()
}

#[test]
fn a_second_link_stands_by_and_takes_over_at_once() {
    let mut net = Net::new(2);
    let relay = net.join_by(0, 1, LinkKind::Relay);
    net.settle();
    let lan = net.join_by(1, 0, LinkKind::Lan);
    net.settle();
    for at in 0..2 {
        let mut phases = net.phases(at);
        phases.sort();
        assert_eq!(
            phases,
            [(LinkKind::Lan, LinkPhase::Live), (LinkKind::Relay, LinkPhase::Standby)],
            "at {at}"
        );
    }
    net.post(0, "over the LAN");
    net.settle();
    net.cut(lan);
    net.post(0, "over the relay");
    net.post(1, "and back");
    net.settle();
    for at in 0..2 {
        let mut texts = net.texts(at);
        texts.sort();
        assert_eq!(texts, ["and back", "over the LAN", "over the relay"], "at {at}");
    }
    assert_eq!(net.phases(0), [(LinkKind::Relay, LinkPhase::Live)]);
    assert!(net.is_up(relay));
    let log = net.log(0);
    assert_eq!(count(&log, |event| matches!(event, Event::PeerUp { .. })), 1, "a neighbour is up once");
    assert_eq!(count(&log, |event| matches!(event, Event::PeerDown { .. })), 0);
}

#[test]
fn both_sides_choose_the_same_of_two_like_links() {
    let mut net = Net::new(2);
    net.join_by(0, 1, LinkKind::Relay);
    net.join_by(1, 0, LinkKind::Relay);
    net.settle();
    net.post(0, "once");
    net.settle();
    assert_eq!(net.texts(1), ["once"]);
    for at in 0..2 {
        let working = net.phases(at).iter().filter(|(_, phase)| *phase == LinkPhase::Live).count();
        assert_eq!(working, 1, "at {at}");
        let bundles: u64 = net.node(at).links().map(|link| link.received_bundles + link.sent_bundles).sum();
        assert_eq!(bundles, 1, "at {at}");
    }
}

#[test]
fn a_ble_link_does_not_stand_by() {
    let mut net = Net::new(2);
    let ble = net.join_by(0, 1, LinkKind::Ble);
    net.settle();
    net.join_by(0, 1, LinkKind::Lan);
    net.settle();
    assert!(!net.is_up(ble));
    assert!(net.closes.iter().any(|(_, why)| *why == CloseReason::Duplicate));
    let again = net.join_by(1, 0, LinkKind::Ble);
    net.settle();
    assert!(!net.is_up(again));
    assert_eq!(net.phases(0), [(LinkKind::Lan, LinkPhase::Live)]);
    let log = net.log(0);
    assert_eq!(count(&log, |event| matches!(event, Event::PeerUp { .. })), 1);
    assert_eq!(count(&log, |event| matches!(event, Event::PeerDown { .. })), 0, "it was there all the time");
    net.post(1, "still there");
    net.settle();
    assert_eq!(net.texts(0), ["still there"]);
}

#[test]
fn on_a_slow_link_what_is_new_while_an_answer_is_due_shares_a_frame() {
    let frames_for = |kind: LinkKind, text: &str, last: Priority| {
        let mut net = Net::new(2);
        let dialled = net.join_by(0, 1, kind);
        let link = net.other_end(dialled);
        net.settle();
        for n in 0..5 {
            net.post_with(0, &format!("{n}{text}"), if n == 4 { last } else { Priority::Normal });
            net.pump(0);
        }
        let frames = net.frames_waiting(link);
        net.pass(2 * ANSWERS_APART_MS);
        assert_eq!(net.texts(1).len(), 5);
        let id = net.post(0, "later");
        net.pump(0);
        assert_eq!(net.frames_waiting(link), 1, "nothing is due, nothing waits");
        net.pass(ANSWERS_APART_MS);
        assert_eq!(net.status(0, &id), MessageStatus::Synced);
        frames
    };
    let (ble, normal) = (LinkKind::Ble, Priority::Normal);
    assert_eq!(frames_for(ble, "", normal), 1, "four wait for the answer to the first");
    assert_eq!(frames_for(LinkKind::Lan, "", normal), 5, "elsewhere nothing waits");
    assert_eq!(
        frames_for(ble, "", Priority::Sos),
        2,
        "a call for help does not wait, and takes the others along"
    );
    assert_eq!(frames_for(ble, &"long ".repeat(150), normal), 2, "what fills a frame goes");
}

/// Two nodes with a live link, on which an answer has just gone.
fn answered_just_now(kind: LinkKind) -> Net {
    let mut net = Net::new(2);
    net.join_by(0, 1, kind);
    net.settle();
    net.pass(ANSWERS_APART_MS);
    let first = net.post(0, "first");
    net.settle();
    assert_eq!(net.status(0, &first), MessageStatus::Synced, "one alone is answered at once");
    net
}

#[test]
fn on_a_slow_link_a_burst_costs_few_answers() {
    let frames_for = |kind| {
        let mut net = answered_just_now(kind);
        let before = net.frames;
        let posts: Vec<_> = (0..10)
            .map(|n| {
                let id = net.post(0, &format!("burst {n}"));
                net.pass(20);
                id
            })
            .collect();
        net.pass(2 * ANSWERS_APART_MS);
        for id in &posts {
            assert_eq!(net.status(0, id), MessageStatus::Synced);
        }
        assert_eq!(net.texts(1).len(), 11);
        net.frames - before
    };
    assert_eq!(frames_for(LinkKind::Lan), 20, "elsewhere each is answered at once");
    assert_eq!(frames_for(LinkKind::Ble), 4, "one and its answer, nine and theirs");
}

#[test]
fn on_a_slow_link_an_answer_that_waits_goes_with_what_is_said_anyway() {
    let mut net = answered_just_now(LinkKind::Ble);
    let second = net.post(0, "second");
    net.settle();
    assert_eq!(net.texts(1).len(), 2, "it is there");
    assert_eq!(net.status(0, &second), MessageStatus::Pending, "and its answer waits");
    net.post(1, "a word of one's own");
    net.settle();
    assert_eq!(net.status(0, &second), MessageStatus::Synced);
}

#[test]
fn a_call_for_help_is_answered_at_once_and_with_it_what_waits() {
    let mut net = answered_just_now(LinkKind::Ble);
    let second = net.post(0, "second");
    net.settle();
    let call = net.post_with(0, "help", Priority::Sos);
    net.settle();
    assert_eq!([net.status(0, &second), net.status(0, &call)], [MessageStatus::Synced; 2]);
}

#[test]
fn what_could_fill_the_senders_window_is_answered_at_once() {
    let mut net = answered_just_now(LinkKind::Ble);
    let quarter = IN_FLIGHT_MAX / 4;
    let posts: Vec<_> = (0..quarter + 8).map(|n| net.post(0, &format!("much {n}"))).collect();
    net.settle();
    let answered = posts.iter().filter(|id| net.status(0, id) == MessageStatus::Synced).count();
    assert!(answered >= quarter, "{answered} of {} answered while no time went by", posts.len());
}

#[test]
fn s05_a_dead_link_that_only_one_side_notices_is_replaced_by_the_other_one() {
    let mut net = Net::new(2);
    net.join_by(0, 1, LinkKind::Relay);
    let lan = net.join_by(0, 1, LinkKind::Lan);
    net.settle();
    // Node 0's cable is out; node 1 hears nothing of it.
    net.lose_silently(lan);
    net.post(0, "first");
    net.post(1, "second");
    net.settle();
    let mut texts = net.texts(0);
    texts.sort();
    assert_eq!(texts, ["first", "second"]);
    assert_eq!(net.texts(1).len(), 2);
    assert!(net.closes.contains(&(1, CloseReason::Replaced)));
    assert_eq!(net.phases(1), [(LinkKind::Relay, LinkPhase::Live)]);
}

#[test]
fn s05_a_new_link_works_at_once_though_the_other_side_believes_in_the_lost_one() {
    for dialler in [0, 1] {
        let mut net = Net::new(2);
        let dead = net.join_by(0, 1, LinkKind::Lan);
        net.settle();
        net.lose_silently(dead);
        net.post(0, "first");
        net.post(1, "second");
        let link = net.join_by(dialler, 1 - dialler, LinkKind::Lan);
        net.settle();
        for at in [0, 1] {
            let mut texts = net.texts(at);
            texts.sort();
            assert_eq!(texts, ["first", "second"], "node {at}, dialled by {dialler}, without waiting");
            let live = net.phases(at).into_iter().filter(|phase| phase.1 == LinkPhase::Live).count();
            assert_eq!(live, 1);
        }
        assert!(net.is_up(link));
    }
}

#[test]
fn a_side_that_began_in_vain_begins_again_when_the_other_takes_over() {
    let mut net = Net::new(2);
    let dead = net.join_by(0, 1, LinkKind::Lan);
    net.settle();
    net.lose_silently(dead);
    // After a restart node 0 knows nothing of the lost link, and can't tell that there was one.
    net.crash(0);
    let early = net.post(0, "early");
    net.join_by(0, 1, LinkKind::Relay);
    net.settle();
    assert_eq!(net.texts(1), [""; 0], "node 1 still takes the lost link for the better one");
    net.cut(dead);
    net.settle();
    assert_eq!(net.texts(1), ["early"]);
    assert_eq!(net.status(0, &early), MessageStatus::Synced);
}

#[test]
fn a_link_to_oneself_is_closed() {
    let mut net = Net::new(1);
    net.join(0, 0);
    net.settle();
    assert!(net.closes.contains(&(0, CloseReason::SelfLink)));
    assert_eq!(net.phases(0), []);
    assert_eq!(count(&net.log(0), |event| matches!(event, Event::LinkUp { .. })), 0);
}

#[test]
fn c13_a_copy_of_this_node_is_told_from_a_link_to_itself() {
    let mut net = Net::new(1);
    net.join(0, 0);
    net.settle();
    assert!(!net.node(0).has_met_twin());
    // The same keys on another machine.
    let mut net = Net::new(0);
    let (one, copy) = (net.add(9, Limits::default()), net.add(9, Limits::default()));
    net.join(one, copy);
    net.settle();
    assert!(net.closes.contains(&(one, CloseReason::Twin)));
    assert!(net.node(one).has_met_twin());
    net.join(copy, one);
    net.settle();
    assert!(net.node(copy).has_met_twin());
    // Locked, it is somebody else, who has met no copy of itself.
    net.node(one).assume(Identity::from_bytes(&[99; 64])).expect("the store can be read");
    assert!(!net.node(one).has_met_twin());
    assert_eq!(net.phases(one), []);
}

#[test]
fn a_blocked_node_is_neither_heard_nor_carried_nor_met() {
    let mut net = Net::new(3);
    let before = net.post(1, "before the block");
    net.join(0, 1);
    net.join(0, 2);
    net.settle();
    let spammer = net.id(1);
    let now = net.now(0);
    assert_eq!(net.node(0).block(&spammer, now), Ok(true));
    assert_eq!(net.node(0).block(&spammer, now), Ok(false));
    net.settle();
    assert!(net.closes.contains(&(0, CloseReason::Blocked)));
    assert_eq!(net.store(0).bundle(&before), Ok(None), "what was carried of it is dropped");
    net.join(0, 1);
    net.join(1, 0);
    net.settle();
    assert_eq!(net.phases(0).len(), 1, "only the link to the third node");
    // Its words come by another way, and are not taken either.
    net.join(1, 2);
    let after = net.post(1, "after the block");
    net.settle();
    assert_eq!(net.texts(2), ["before the block", "after the block"]);
    assert_eq!(net.texts(0), ["before the block"]);
    assert_eq!(net.store(0).bundle(&after), Ok(None));
    assert_eq!(net.node(0).unblock(&spammer, now), Ok(true));
    assert_eq!(net.node(0).unblock(&spammer, now), Ok(false));
    net.join(0, 1);
    net.post(1, "after the peace");
    net.settle();
    assert_eq!(net.texts(0).last().map(String::as_str), Some("after the peace"));
}

#[test]
fn peers_are_up_and_down_with_their_first_and_last_link() {
    let mut net = Net::new(2);
    let one = net.join_by(0, 1, LinkKind::Relay);
    let other = net.join_by(0, 1, LinkKind::Lan);
    net.settle();
    net.cut(one);
    net.settle();
    net.cut(other);
    net.settle();
    let log = net.log(0);
    let names: Vec<&str> = log
        .iter()
        .map(|event| match event {
            Event::PeerUp { .. } => "peer up",
            Event::PeerDown { .. } => "peer down",
            Event::LinkUp { .. } => "link up",
            Event::LinkDown { .. } => "link down",
            Event::MessageNew { .. }
            | Event::MessageStatus { .. }
            | Event::Transport { .. }
            | Event::ContactChanged { .. }
            | Event::GroupChanged { .. } => "other",
        })
        .collect();
    assert_eq!(names, ["peer up", "link up", "link up", "link down", "link down", "peer down"]);
    let peer = net.store(0).peer(&net.id(1)).unwrap().unwrap();
    assert_eq!(peer.encounters, 1);
}

#[test]
fn s09_a_neighbour_is_known_by_its_handshake_only() {
    let mut net = Net::new(3);
    net.join(0, 1);
    net.join(1, 2);
    net.settle();
    net.post(2, "from afar");
    net.settle();
    let afar = net.store(0).peer(&net.id(2)).unwrap().expect("it was heard of");
    assert_eq!((afar.encounters, afar.last_seen_unix_ms), (0, None));
    assert!(net.node(0).links().all(|link| link.peer != Some(net_id(2))));
}

fn net_id(secret: u8) -> meshlink_core::NodeId {
    meshlink_core::Identity::from_bytes(&[secret + 1; 64]).node_id()
}

#[test]
fn what_a_link_did_is_added_to_its_peer() {
    let mut net = Net::new(2);
    for n in 0..3 {
        net.post(0, &format!("{n}"));
    }
    let link = net.join(0, 1);
    net.settle();
    net.cut(link);
    net.settle();
    let peer = net.store(0).peer(&net.id(1)).unwrap().unwrap();
    assert_eq!((peer.bundles_sent, peer.bundles_received, peer.encounters), (3, 0, 1));
    let peer = net.store(1).peer(&net.id(0)).unwrap().unwrap();
    assert_eq!((peer.bundles_sent, peer.bundles_received), (0, 3));
    assert_eq!(peer.last_seen_unix_ms, net.now(1).unix_ms);
}

#[test]
fn an_idle_live_link_says_nothing() {
    let mut net = Net::new(2);
    net.post(0, "one");
    net.join(0, 1);
    net.settle();
    let frames = net.frames;
    net.pass(10 * 3_600_000);
    assert_eq!(net.frames, frames);
    assert_eq!(net.phases(1), [(LinkKind::Pipe, LinkPhase::Live)]);
}

#[test]
fn k06_where_a_neighbour_was_is_in_nothing_that_a_node_keeps() {
    let mut net = Net::new(2);
    let link = net.join(0, 1);
    net.settle();
    assert!(net.node(0).links().any(|link| link.address == "node 1"), "it is known while the link is up");
    let kept = net.store(0).slot(Slot::Links).expect("readable").expect("a link is up");
    net.cut(link);
    net.settle();
    let is_in = |bytes: &[u8]| bytes.windows(5).any(|window| window == b"node ");
    assert!(!is_in(&kept));
    let mut count = 0;
    for event in net.log(0) {
        if let Event::LinkUp { link } | Event::LinkDown { link } = event {
            assert_eq!((link.address.as_str(), link.peer), ("", Some(net.id(1))));
            count += 1;
        }
    }
    assert_eq!(count, 2);
}

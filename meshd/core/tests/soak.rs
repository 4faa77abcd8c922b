//! A month of ordinary use in simulated time: what was forgotten in the protocol is gone from the store, and the process
//! grows by no more than what people wrote (threat P-11). A test of its own, since the memory of a process is measured.

#![allow(clippy::unwrap_used, reason = "a net whose parts fail is a failed test")]
#![allow(clippy::disallowed_methods, reason = "it reads how large its own process is")]

mod net;

use meshlink_core::group::entry::GroupId;
use meshlink_core::store::{Shelf, Store};
use net::groups::{cut, friends, group_of, line, say};
use net::people::send;
use net::{At, MINUTE_MS, Net};

const HOUR_MS: u64 = 60 * MINUTE_MS;
const NODES: usize = 3;

/// Pages of the process that are in memory, in bytes.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// A day: people meet at noon and in the evening, and everybody writes to everybody, to the group and in public.
fn a_day(net: &mut Net, group: &GroupId, day: u64) {
    for half in 0..2 {
        for at in 0..NODES {
            net.post(at, &format!("public words of {at} on day {day}.{half}"));
            send(net, at, (at + 1) % NODES, &format!("private words on day {day}.{half}"));
            say(net, at, group, &format!("words to all on day {day}.{half}"));
        }
        let links = line(net, NODES);
        net.pass(HOUR_MS);
        cut(net, links);
        net.pass(11 * HOUR_MS);
    }
}

/// What a node keeps of others and for the protocol, beside the messages that it shows and who has them: bundles, then each shelf.
fn kept(net: &Net, at: At) -> Vec<(String, usize)> {
    let store = net.store(at);
    let bundles = usize::try_from(store.usage_of_all().unwrap().bundles).unwrap();
    let shelves = Shelf::ALL.into_iter().filter(|shelf| *shelf != Shelf::GroupSent).map(|shelf| {
        let count = store.records(shelf, &[], usize::MAX).unwrap().len();
        (format!("{shelf:?}"), count)
    });
    [("bundles".to_owned(), bundles)].into_iter().chain(shelves).collect()
}

#[test]
fn p11_after_thirty_days_of_use_a_node_keeps_what_it_kept_after_twenty_and_has_grown_less_than_a_mebibyte_a_day()
 {
    let mut net = friends(NODES);
    let group = group_of(&mut net, NODES, false);
    let mut before = (0, Vec::new());
    for day in 1..=30 {
        a_day(&mut net, &group, day);
        if day == 20 {
            before = (resident_bytes(), (0..NODES).map(|at| kept(&net, at)).collect());
        }
    }
    let grown = resident_bytes().saturating_sub(before.0);
    println!("grown by {grown} bytes in ten days, kept: {:?}", kept(&net, 0));
    assert!(grown <= 10 << 20, "{grown} bytes in ten days");
    for at in 0..NODES {
        for ((what, then), (_, now)) in before.1[at].iter().zip(kept(&net, at)) {
            // A session, its keys and what hangs on them come and go by the week.
            assert!(
                now <= then + then / 5 + 8,
                "node {at}, {what}: {then} after twenty days, {now} after thirty"
            );
        }
        // It was a month of traffic, not of silence.
        assert!(net.messages(at).len() > 30 * 2 * 4, "{}", net.messages(at).len());
    }
}

//! Two daemons and a relay: what is written here arrives there, now or when the relay is back.

mod daemon_process;

use std::time::{Duration, Instant};

use daemon_process::relay::Relay;
use daemon_process::{Daemon, PATIENCE, wait_for};

fn wait_until_linked(daemon: &Daemon) {
    wait_for("a link", PATIENCE, || (daemon.get("/v1/status")["links"].as_u64()? > 0).then_some(()));
}

#[test]
fn a_message_arrives_and_its_sender_learns_so() {
    let dir = tempfile::tempdir().unwrap();
    let relay = Relay::start();
    let a = Daemon::start(dir.path(), "a", &["--relay", &relay.url(), "--name", "Ann"]);
    let b = Daemon::start(dir.path(), "b", &["--relay", &relay.url()]);
    wait_until_linked(&a);
    let id = a.post("hello");
    wait_for("the message", PATIENCE, || (b.texts() == ["hello"]).then_some(()));
    wait_for("synced", PATIENCE, || (a.status_of(&id) == "synced").then_some(()));
    let from = &b.get(&format!("/v1/messages/{id}"))["from"];
    assert_eq!((&from["me"], &from["authenticated"]), (&false.into(), &true.into()));
    let links = b.get("/v1/links");
    assert_eq!(links["items"][0]["kind"], "relay");
    assert_eq!(links["items"][0]["peer"], a.get("/v1/status")["node_id"]);
    wait_for("the status", PATIENCE, || {
        (a.relay()["detail"] == "connected, 1 other node present").then_some(())
    });
}

#[test]
fn y12_what_was_written_while_the_relay_was_away_arrives_in_order_once_each_within_5_s() {
    let dir = tempfile::tempdir().unwrap();
    let mut relay = Relay::start();
    let a = Daemon::start(dir.path(), "a", &["--relay", &relay.url()]);
    let b = Daemon::start(dir.path(), "b", &["--relay", &relay.url()]);
    wait_until_linked(&a);
    wait_until_linked(&b);
    relay.stop();
    let status = wait_for("the status to say so", PATIENCE, || {
        let status = a.relay();
        (status["state"] == "down" && status["detail"].as_str()?.contains("refused")).then_some(status)
    });
    assert!(status["hint"].as_str().unwrap().contains("meshlink-relay"), "{status}");
    let ids = ["one", "two", "three"].map(|text| a.post(text));
    for id in &ids {
        assert_eq!(a.status_of(id), "pending");
    }
    relay.run();
    let back = Instant::now();
    wait_for("all three", PATIENCE, || (b.texts().len() >= 3).then_some(()));
    let took = back.elapsed();
    assert!(took < Duration::from_secs(5), "took {took:?}");
    assert_eq!(b.texts(), ["one", "two", "three"]);
    for id in &ids {
        wait_for("synced", PATIENCE, || (a.status_of(id) == "synced").then_some(()));
    }
    assert_eq!(b.texts(), ["one", "two", "three"], "once each");
}

#[test]
fn many_nodes_on_one_relay_hold_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let relay = Relay::start();
    let nodes: Vec<_> =
        (0..4).map(|n| Daemon::start(dir.path(), &format!("n{n}"), &["--relay", &relay.url()])).collect();
    for (n, node) in nodes.iter().enumerate() {
        node.post(&format!("from {n}"));
    }
    for node in &nodes {
        let mut texts =
            wait_for("all posts", PATIENCE, || Some(node.texts()).filter(|texts| texts.len() >= 4));
        texts.sort();
        assert_eq!(texts, ["from 0", "from 1", "from 2", "from 3"]);
    }
}

#[test]
fn two_topics_of_one_relay_do_not_meet() {
    let dir = tempfile::tempdir().unwrap();
    let relay = Relay::start();
    let a = Daemon::start(dir.path(), "a", &["--relay", &format!("{}?topic=left", relay.url())]);
    let b = Daemon::start(dir.path(), "b", &["--relay", &format!("{}?topic=right", relay.url())]);
    let c = Daemon::start(dir.path(), "c", &["--relay", &format!("{}?topic=left", relay.url())]);
    a.post("left only");
    wait_for("the message", PATIENCE, || (c.texts() == ["left only"]).then_some(()));
    assert!(b.texts().is_empty());
    assert_eq!(b.relay()["detail"], "connected, no other node present");
}

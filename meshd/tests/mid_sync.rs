//! A daemon that is wiped or locked while it is in the middle of taking in what others hold.

mod daemon_process;

use std::collections::BTreeSet;

use daemon_process::relay::Relay;
use daemon_process::tap::Tap;
use daemon_process::{Daemon, PATIENCE, wait_for};
use serde_json::json;

const POSTS: usize = 60;
const POST_BYTES: usize = 4_000;
const PASSPHRASE: &str = "canary passphrase";

/// A node that has taken some of what its neighbour holds, with the rest on the way and held up.
fn half_synced(dir: &std::path::Path) -> (Daemon, Daemon, Relay, Tap) {
    let relay = Relay::start();
    let alice = Daemon::start(dir, "alice", &["--relay", &relay.url()]);
    for n in 0..POSTS {
        alice.post(&format!("canary {n:03} {}", "x".repeat(POST_BYTES)));
    }
    // Past the handshake and the first posts, far from the last.
    let tap = Tap::stopping_after(&relay, POSTS * POST_BYTES / 3);
    let bob = Daemon::start(dir, "bob", &["--relay", &tap.url()]);
    wait_for("the sync to be stopped", PATIENCE, || tap.is_stopped().then_some(()));
    wait_for("some of the posts", PATIENCE, || (!bob.texts().is_empty()).then_some(()));
    assert!(bob.texts().len() < POSTS);
    (alice, bob, relay, tap)
}

#[test]
fn k05_a_wipe_in_the_middle_of_a_sync_leaves_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let (alice, mut bob, _relay, tap) = half_synced(dir.path());
    let (status, _) =
        bob.request("POST", "/v1/wipe", &json!({ "confirm": "wipe" }).to_string()).expect("answers");
    assert_eq!(status, 202);
    // What was on the way comes while it ends.
    tap.open();
    bob.wait_until_it_ends();
    let left: Vec<String> = std::fs::read_dir(&bob.state)
        .expect("readable")
        .map(|entry| entry.expect("readable").file_name().into_string().expect("plain names"))
        .collect();
    assert_eq!(left, Vec::<String>::new());
    alice.post("the others go on");
}

#[test]
fn k05_a_node_locked_in_the_middle_of_a_sync_goes_on_carrying_and_shows_all_once_when_unlocked() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_alice, bob, _relay, tap) = half_synced(dir.path());
    let done = |method: &str, path: &str, body: serde_json::Value| {
        let (status, text) = bob.request(method, path, &body.to_string()).expect("the daemon answers");
        assert_eq!(status, 200, "{text}");
    };
    done("PUT", "/v1/passphrase", json!({ "new": PASSPHRASE }));
    done("POST", "/v1/lock", json!({}));
    tap.open();
    let carried = || bob.get("/v1/store")["bundles"].as_u64();
    wait_for("all to be carried", PATIENCE, || carried().filter(|bundles| *bundles >= POSTS as u64));
    assert_eq!(bob.request("GET", "/v1/messages", "").expect("answers").0, 423);
    done("POST", "/v1/unlock", json!({ "passphrase": PASSPHRASE }));
    wait_for("all to be shown", PATIENCE, || (bob.texts().len() >= POSTS).then_some(()));
    let texts = bob.texts();
    assert_eq!((texts.len(), texts.iter().collect::<BTreeSet<_>>().len()), (POSTS, POSTS));
}

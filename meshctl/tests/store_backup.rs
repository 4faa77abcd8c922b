//! A store that is backed up while it is written, and a node that goes on from the backup.

#[allow(dead_code, reason = "each test program uses a part of it")]
mod machine;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use machine::{Node, PATIENCE, Relay, free_port, wait_for};
use serde_json::{Value, json};

fn done(node: &Node, args: &[&str]) -> Value {
    let ran = node.run(args);
    assert!(ran.status.success(), "{args:?}: {}", String::from_utf8_lossy(&ran.stderr));
    serde_json::from_slice(&ran.stdout).unwrap_or(Value::Null)
}

fn backup(node: &Node, dir: &Path, name: &str) -> String {
    let file = dir.join(name).to_str().expect("a plain path").to_owned();
    let made = done(node, &["--json", "store", "backup", &file]);
    assert_eq!(
        made["bytes"].as_str().expect("a count"),
        fs::metadata(&file).expect("there").len().to_string()
    );
    file
}

/// What docs/operate.md says.
fn go_back(node: &mut Node, backup: &str) {
    assert_eq!(node.process.stop(), Some(0));
    fs::remove_file(node.state.join("meshd.db-wal")).expect("there");
    fs::copy(backup, node.state.join("meshd.db")).expect("copies");
    node.restart();
}

fn wait_for_text(node: &Node, text: &str) {
    wait_for(text, PATIENCE, || node.texts().iter().any(|other| other == text).then_some(()));
}

#[test]
fn k01_everything_acknowledged_before_a_backup_under_a_writing_client_is_there_after_going_back_to_it() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let mut node = Node::start(dir.path(), "a", &[]);
    let stop = AtomicBool::new(false);
    let (acknowledged, written, file) = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..3)
            .map(|writer| {
                let (node, stop) = (&node, &stop);
                scope.spawn(move || {
                    let mut texts = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        let text = format!("w{writer}n{}", texts.len());
                        node.post(&text);
                        texts.push(text);
                    }
                    texts
                })
            })
            .collect();
        wait_for("writes", PATIENCE, || (node.texts().len() > 20).then_some(()));
        // All of these were answered before.
        let acknowledged = node.texts();
        let file = backup(&node, dir.path(), "node.store");
        let more = node.texts().len();
        wait_for("writes after it", PATIENCE, || (node.texts().len() > more + 5).then_some(()));
        stop.store(true, Ordering::Relaxed);
        let written: usize = writers.into_iter().map(|writer| writer.join().expect("no panic").len()).sum();
        (acknowledged, written, file)
    });
    assert!(!node.state.join("meshd.db-copy").exists(), "nothing of it is left in the state directory");
    let status = node.get("/v1/status");
    let cursor = node.get("/v1/messages?limit=1")["items"][0]["cursor"].as_str().expect("one").to_owned();
    assert_eq!(done(&node, &["--json", "store", "verify"])["ok"], true);
    go_back(&mut node, &file);
    let there = node.texts();
    assert!(acknowledged.iter().all(|text| there.contains(text)));
    assert!(there.len() < written, "what came after it is not: it is a copy of one moment");
    assert_eq!(node.get("/v1/status")["node_id"], status["node_id"]);
    assert_eq!(done(&node, &["--json", "store", "verify"])["ok"], true);
    // Positions of the store that is gone may stand for other events now.
    let answer = node.request("GET", &format!("/v1/messages?since={cursor}"), &[], "").expect("an answer");
    assert_eq!((answer.status, &answer.json()["code"]), (422, &json!("invalid_cursor")));
    assert!(node.process.log().contains("the store is a backup"), "{}", node.process.log());
    node.post("goes on");
    assert_eq!(node.process.stop(), Some(0));
    let said = node.process.log().matches("the store is a backup").count();
    node.restart();
    assert_eq!(node.process.log().matches("the store is a backup").count(), said, "once");
}

#[test]
fn k04_a_node_that_goes_on_from_a_backup_of_its_store_is_written_to_with_its_new_keys() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let port = free_port();
    let _relay = Relay::start(dir.path(), port);
    let flags = ["--relay", &Relay::url(port)];
    let alice = Node::start(dir.path(), "alice", &flags);
    let mut bob = Node::start(dir.path(), "bob", &flags);
    let id = |node: &Node| node.get("/v1/status")["node_id"].as_str().expect("an id").to_owned();
    let (alice_id, bob_id) = (id(&alice), id(&bob));
    let tell = |from: &Node, to: &Node, to_id: &str, text: &str| {
        done(from, &["send", text, "--to", to_id]);
        wait_for_text(to, text);
    };
    tell(&alice, &bob, &bob_id, "before");
    tell(&bob, &alice, &alice_id, "answer");
    let file = backup(&bob, dir.path(), "bob.store");
    // Each gives the other keys that the backup knows nothing of.
    for n in 0..4 {
        tell(&alice, &bob, &bob_id, &format!("to bob {n}"));
        tell(&bob, &alice, &alice_id, &format!("to alice {n}"));
    }
    go_back(&mut bob, &file);
    assert_eq!(id(&bob), bob_id);
    assert!(bob.texts().contains(&"before".to_owned()) && !bob.texts().contains(&"to bob 3".to_owned()));
    let sent = done(&bob, &["--json", "send", "I am back", "--to", &alice_id, "--wait", "delivered"]);
    assert_eq!(sent["status"], "delivered");
    wait_for_text(&alice, "I am back");
    tell(&alice, &bob, &bob_id, "welcome");
}

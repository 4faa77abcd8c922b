//! A backup made of a real daemon and restored into another one.

mod daemon_process;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use daemon_process::relay::Relay;
use daemon_process::{Daemon, PATIENCE, wait_for};
use serde_json::{Value, json};

const PASSPHRASE: &str = "canary passphrase";

fn ask(daemon: &Daemon, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let (status, text) = daemon.request(method, path, &body.to_string()).expect("the daemon answers");
    (status, serde_json::from_str(&text).unwrap_or(Value::Null))
}

fn done(daemon: &Daemon, method: &str, path: &str, body: &Value) -> Value {
    let (status, answer) = ask(daemon, method, path, body);
    assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
    answer
}

fn node_id(daemon: &Daemon) -> String {
    daemon.get("/v1/status")["node_id"].as_str().expect("an id").to_owned()
}

fn send_to(daemon: &Daemon, to: &str, text: &str) -> String {
    let message = done(daemon, "POST", "/v1/messages", &json!({ "to": to, "text": text }));
    message["id"].as_str().expect("an id").to_owned()
}

fn wait_for_text(daemon: &Daemon, text: &str) {
    wait_for(text, PATIENCE, || daemon.texts().iter().any(|other| other == text).then_some(()));
}

fn wait_for_status(daemon: &Daemon, id: &str, status: &str) {
    wait_for(status, PATIENCE, || (daemon.status_of(id) == status).then_some(()));
}

fn backup(daemon: &Daemon) -> String {
    let made = done(daemon, "POST", "/v1/backup", &json!({ "passphrase": PASSPHRASE }));
    assert_eq!(made["node_id"], node_id(daemon).as_str());
    made["backup"].as_str().expect("base64").to_owned()
}

fn restore(daemon: &Daemon, backup: &str, passphrase: &str) -> (u16, Value) {
    ask(daemon, "POST", "/v1/restore", &json!({ "backup": backup, "passphrase": passphrase }))
}

fn contacts(daemon: &Daemon) -> Vec<(String, String)> {
    let items = daemon.get("/v1/contacts");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let items = items["items"].as_array().expect("a list");
    items.iter().map(|contact| (text(&contact["name"]), text(&contact["trust"]))).collect()
}

/// Two people over a relay, the second of whom verified the first, named itself and joined a channel.
fn acquainted(dir: &Path, relay: &Relay) -> (Daemon, Daemon) {
    let flags = ["--relay", &relay.url()];
    let (alice, bob) = (Daemon::start(dir, "alice", &flags), Daemon::start(dir, "bob", &flags));
    let (alice_id, bob_id) = (node_id(&alice), node_id(&bob));
    let first = send_to(&alice, &bob_id, "canary one");
    wait_for_text(&bob, "canary one");
    wait_for_status(&alice, &first, "delivered");
    done(&bob, "POST", "/v1/contacts", &json!({ "id": alice_id, "name": "Alice" }));
    let number = bob.get(&format!("/v1/contacts/{alice_id}"))["safety_number"].clone();
    done(&bob, "POST", &format!("/v1/contacts/{alice_id}/verify"), &json!({ "safety_number": number }));
    done(&bob, "PUT", "/v1/profile", &json!({ "name": "Bob" }));
    done(&bob, "POST", "/v1/channels", &json!({ "name": "#village" }));
    // Keys for one message each go both ways.
    let second = send_to(&bob, &alice_id, "canary two");
    wait_for_status(&bob, &second, "delivered");
    (alice, bob)
}

#[test]
fn k04_a_node_restored_on_a_new_disk_is_known_knows_its_contacts_and_gets_what_was_sent_meanwhile() {
    let dir = tempfile::tempdir().expect("a directory");
    let relay = Relay::start();
    let (alice, mut bob) = acquainted(dir.path(), &relay);
    let (bob_id, before) = (node_id(&bob), contacts(&bob));
    assert_eq!(before[0].0, "Alice");
    let kept = backup(&bob);
    bob.signal("KILL");
    let meanwhile = send_to(&alice, &bob_id, "canary meanwhile");

    let mut bob = Daemon::start(dir.path(), "bob-again", &["--relay", &relay.url()]);
    assert_ne!(node_id(&bob), bob_id);
    let (status, restored) = restore(&bob, &kept, PASSPHRASE);
    assert_eq!(status, 200, "{restored}");
    assert_eq!((&restored["node_id"], &restored["contacts"]), (&json!(bob_id), &json!(1)));
    assert_eq!(contacts(&bob), before);
    assert_eq!(bob.get("/v1/status")["name"], "Bob");
    assert!(bob.get("/v1/channels").to_string().contains("#village"));
    wait_for_text(&bob, "canary meanwhile");
    wait_for_status(&alice, &meanwhile, "delivered");
    let back = send_to(&bob, "Alice", "canary back");
    wait_for_text(&alice, "canary back");
    wait_for_status(&bob, &back, "delivered");

    bob.signal("KILL");
    bob.restart();
    assert_eq!((node_id(&bob), contacts(&bob)), (bob_id, before), "for good");
    assert!(!bob.state.join("identity.restored").exists());
}

/// Every file of a node's but those that change by themselves: the database and the address of the interface.
fn keys_and_config(daemon: &Daemon) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(&daemon.state).expect("readable").map(|entry| entry.expect("readable"));
    let named = entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()));
    named
        .filter(|(name, _)| !name.starts_with("meshd.db") && name != "meshd.sock")
        .map(|(name, path)| (name, std::fs::read(path).expect("readable")))
        .collect()
}

/// What its owner sees of it.
fn logical(daemon: &Daemon) -> [Value; 5] {
    let name = daemon.get("/v1/status")["name"].clone();
    let [contacts, channels, groups, messages] =
        ["contacts", "channels", "groups", "messages"].map(|what| daemon.get(&format!("/v1/{what}")));
    [name, contacts, channels, groups, messages]
}

#[test]
fn k03_a_backup_that_is_not_whole_and_a_node_that_was_used_stay_as_they_are() {
    let dir = tempfile::tempdir().expect("a directory");
    let (old, mut new) = (Daemon::start(dir.path(), "old", &[]), Daemon::start(dir.path(), "new", &[]));
    done(&new, "PUT", "/v1/profile", &json!({ "name": "Nora" }));
    let (kept, id) = (backup(&old), node_id(&new));
    let whole = data_encoding::BASE64.decode(kept.as_bytes()).expect("base64");
    let head = whole.iter().position(|byte| *byte == b'\n').expect("a first line") + 1;
    let changed = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    let bad = [
        b"no backup".to_vec(),
        b"PK\x03\x04../../../../etc/cron.d/job".to_vec(),
        whole[..head].to_vec(),
        whole[..200].to_vec(),
        whole[..whole.len() - 1].to_vec(),
        [&whole[..], &[0]].concat(),
        [b"meshlink-backup-2", &whole[17..]].concat(),
        changed(head),
        changed(whole.len() - 1),
    ];
    let bad = bad.iter().map(|bytes| (data_encoding::BASE64.encode(bytes), PASSPHRASE));
    let before = (keys_and_config(&new), logical(&new));
    for (bad, passphrase) in bad.chain([("!".to_owned(), PASSPHRASE), (kept.clone(), "another passphrase")]) {
        let (status, problem) = restore(&new, &bad, passphrase);
        assert_eq!((status, &problem["code"]), (422, &json!("invalid_backup")), "{problem}");
        assert_eq!((keys_and_config(&new), logical(&new)), before, "something of it was taken");
    }
    new.signal("KILL");
    new.restart();
    assert_eq!((node_id(&new), logical(&new)), (id.clone(), before.1), "after its next start");
    new.post("used");
    let (status, problem) = restore(&new, &kept, PASSPHRASE);
    assert_eq!((status, &problem["code"]), (409, &json!("node_in_use")));
    assert!(problem["hint"].as_str().expect("a hint").contains("wipe"));
    assert_eq!((node_id(&new), new.texts()), (id, vec!["used".to_owned()]));
}

#[test]
fn a_node_with_a_passphrase_is_restored_with_it_and_is_locked_afterwards_as_before() {
    let dir = tempfile::tempdir().expect("a directory");
    let (old, mut new) = (Daemon::start(dir.path(), "old", &[]), Daemon::start(dir.path(), "new", &[]));
    let (kept, id) = (backup(&old), node_id(&old));
    done(&new, "PUT", "/v1/passphrase", &json!({ "new": "the new node's own" }));
    assert_eq!(restore(&new, &kept, PASSPHRASE).1["code"], "wrong_passphrase");
    let body = json!({ "backup": kept, "passphrase": PASSPHRASE, "node_passphrase": "the new node's own" });
    done(&new, "POST", "/v1/restore", &body);
    assert_eq!(node_id(&new), id);
    new.signal("TERM");
    new.restart();
    assert_eq!(new.get("/v1/status")["at_rest"]["state"], "locked");
    done(&new, "POST", "/v1/unlock", &json!({ "passphrase": "the new node's own" }));
    assert_eq!(node_id(&new), id);
}

#[test]
fn k01_a_backup_made_while_messages_pour_in_is_whole() {
    let dir = tempfile::tempdir().expect("a directory");
    let old = Daemon::start(dir.path(), "old", &[]);
    let id = node_id(&old);
    let stop = AtomicBool::new(false);
    let kept = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                old.post("one of many");
            }
        });
        wait_for("writes", PATIENCE, || (old.texts().len() > 3).then_some(()));
        let kept = backup(&old);
        stop.store(true, Ordering::Relaxed);
        kept
    });
    let new = Daemon::start(dir.path(), "new", &[]);
    assert_eq!(restore(&new, &kept, PASSPHRASE).0, 200);
    assert_eq!(node_id(&new), id);
}

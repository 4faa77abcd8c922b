//! A real daemon, its keys and its disk: locked, unlocked, wiped.

#![allow(clippy::print_stdout, reason = "the part in a namespace says that it came to its end")]

mod daemon_process;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use daemon_process::relay::Relay;
use daemon_process::{Daemon, PATIENCE, wait_for};
use meshd::state_files;
use serde_json::{Value, json};

const PASSPHRASE: &str = "canary passphrase";

fn passphrase_file(dir: &Path) -> String {
    let path = dir.join("passphrase");
    std::fs::write(&path, format!("{PASSPHRASE}\n")).expect("a file");
    path.to_str().expect("a plain path").to_owned()
}

fn ask(daemon: &Daemon, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let (status, text) = daemon.request(method, path, &body.to_string()).expect("the daemon answers");
    (status, serde_json::from_str(&text).unwrap_or(Value::Null))
}

fn at_rest(daemon: &Daemon) -> String {
    daemon.get("/v1/status")["at_rest"]["state"].as_str().expect("a state").to_owned()
}

fn node_id(daemon: &Daemon) -> String {
    daemon.get("/v1/status")["node_id"].as_str().expect("an id").to_owned()
}

fn unlock(daemon: &Daemon, passphrase: &str) -> (u16, Value) {
    ask(daemon, "POST", "/v1/unlock", &json!({ "passphrase": passphrase }))
}

/// Names in a directory.
fn names(dir: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(dir).expect("readable");
    entries.map(|entry| entry.expect("readable").file_name().into_string().expect("plain names")).collect()
}

/// Starts it again without the passphrase.
fn restart_locked(daemon: Daemon, dir: &Path) -> Daemon {
    let mut daemon = daemon;
    daemon.signal("TERM");
    drop(daemon);
    Daemon::start(dir, "state", &[])
}

#[test]
fn a_daemon_without_the_passphrase_is_locked_says_so_and_comes_back_without_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let daemon = Daemon::start(dir.path(), "state", &["--passphrase-file", &passphrase_file(dir.path())]);
    let id = node_id(&daemon);
    daemon.post("written before");
    assert_eq!(at_rest(&daemon), "unlocked");
    let daemon = restart_locked(daemon, dir.path());

    let status = daemon.get("/v1/status");
    assert_eq!(status["at_rest"]["state"], "locked");
    assert!(status["at_rest"]["hint"].as_str().expect("a hint").contains("meshctl unlock"));
    assert_ne!(status["node_id"], id, "it carries as somebody else");
    for (method, path, body) in [
        ("GET", "/v1/messages", Value::Null),
        ("GET", "/v1/messages?q=written", Value::Null),
        ("POST", "/v1/messages", json!({ "text": "no" })),
        ("GET", "/v1/conversations", Value::Null),
        ("GET", "/v1/events", Value::Null),
        ("POST", "/v1/channels", json!({ "name": "#no" })),
        ("PUT", "/v1/profile", json!({ "name": "no" })),
    ] {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (status, text) = daemon.request(method, path, &body).expect("the daemon answers");
        let problem: Value = serde_json::from_str(&text).expect("a problem");
        assert_eq!((status, &problem["code"]), (423, &json!("locked")), "{method} {path}");
        assert!(problem["hint"].as_str().expect("a hint").contains("meshctl unlock"));
    }
    assert_eq!(unlock(&daemon, "another passphrase").0, 403);
    assert_eq!(at_rest(&daemon), "locked");

    let (status, answer) = unlock(&daemon, PASSPHRASE);
    assert_eq!((status, &answer["state"]), (200, &json!("unlocked")));
    assert_eq!(daemon.texts(), ["written before"]);
    assert_eq!(node_id(&daemon), id);
    daemon.post("written after");
    assert_eq!(daemon.get("/v1/messages?q=AFTER")["items"][0]["text"], "written after");

    assert_eq!(ask(&daemon, "POST", "/v1/lock", &json!({})).0, 200);
    assert_eq!(daemon.request("GET", "/v1/messages", "").expect("answers").0, 423);
    assert_ne!(node_id(&daemon), id);
    assert_eq!(unlock(&daemon, PASSPHRASE).0, 200);
    assert_eq!(daemon.texts(), ["written before", "written after"]);
}

fn send_to(daemon: &Daemon, to: &str, text: &str) -> String {
    let (status, message) = ask(daemon, "POST", "/v1/messages", &json!({ "to": to, "text": text }));
    assert_eq!(status, 201, "{message}");
    message["id"].as_str().expect("an id").to_owned()
}

fn wait_for_text(daemon: &Daemon, text: &str) {
    wait_for(text, PATIENCE, || daemon.texts().iter().any(|other| other == text).then_some(()));
}

fn wait_for_status(daemon: &Daemon, id: &str, status: &str) {
    wait_for(status, PATIENCE, || (daemon.status_of(id) == status).then_some(()));
}

/// What lies in a directory, all files together.
fn bytes_in(dir: &Path) -> Vec<u8> {
    let files = names(dir).into_iter().filter_map(|name| std::fs::read(dir.join(name)).ok());
    files.flatten().collect()
}

fn holds(haystack: &[u8], needle: &str) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle.as_bytes())
}

#[test]
fn private_mail_that_comes_over_a_relay_while_locked_is_shown_once_and_confirmed_after_the_unlocking() {
    let dir = tempfile::tempdir().expect("a directory");
    let relay = Relay::start();
    let flags = ["--relay", &relay.url()];
    let (alice, bob) = (Daemon::start(dir.path(), "alice", &flags), Daemon::start(dir.path(), "bob", &flags));
    assert_eq!(ask(&bob, "PUT", "/v1/passphrase", &json!({ "new": PASSPHRASE })).0, 200);
    let id = node_id(&bob);
    let first = send_to(&alice, &id, "canary one");
    wait_for_text(&bob, "canary one");
    wait_for_status(&alice, &first, "delivered");
    let (status, _) =
        ask(&bob, "POST", "/v1/contacts", &json!({ "id": node_id(&alice), "name": "canary-alice" }));
    assert_eq!(status, 201);

    assert_eq!(ask(&bob, "POST", "/v1/lock", &json!({})).0, 200);
    let second = send_to(&alice, &id, "canary two");
    wait_for_status(&alice, &second, "synced");
    let post = alice.post("public, while bob is locked");
    wait_for_status(&alice, &post, "synced");
    assert_eq!(bob.request("GET", "/v1/messages", "").expect("answers").0, 423);
    let disk = bytes_in(&bob.state);
    assert!(!holds(&disk, "canary"), "private words lie on the disk of a locked node");
    assert!(holds(&disk, "public, while"), "that is how posts travel, and that this search would find words");

    assert_eq!(unlock(&bob, PASSPHRASE).0, 200);
    let all = ["canary one", "public, while bob is locked", "canary two"];
    let sorted = |mut texts: Vec<String>| {
        texts.sort();
        texts
    };
    let all = sorted(all.map(str::to_owned).to_vec());
    assert_eq!(sorted(bob.texts()), all, "shown when the unlocking is answered");
    wait_for_status(&alice, &second, "delivered");
    assert_eq!(ask(&bob, "POST", "/v1/lock", &json!({})).0, 200);
    assert_eq!(unlock(&bob, PASSPHRASE).0, 200);
    assert_eq!(sorted(bob.texts()), all, "and once");
    let back = send_to(&bob, "canary-alice", "canary three");
    wait_for_text(&alice, "canary three");
    wait_for_status(&bob, &back, "delivered");
}

#[test]
fn wrong_passphrases_are_refused_and_then_slowed_down() {
    let dir = tempfile::tempdir().expect("a directory");
    let daemon = Daemon::start(dir.path(), "state", &["--passphrase-file", &passphrase_file(dir.path())]);
    for _ in 0..3 {
        let (status, problem) = unlock(&daemon, "not this one");
        assert_eq!((status, &problem["code"]), (403, &json!("wrong_passphrase")));
    }
    let asked = Instant::now();
    let (status, problem) = unlock(&daemon, "not this one");
    assert_eq!((status, &problem["code"]), (429, &json!("too_many_tries")));
    assert!(asked.elapsed() < Duration::from_millis(500), "it costs the machine nothing");
    wait_for("the right one", PATIENCE, || (unlock(&daemon, PASSPHRASE).0 == 200).then_some(()));
}

#[test]
fn a_systemd_credential_unlocks_at_the_start() {
    let dir = tempfile::tempdir().expect("a directory");
    let credentials = dir.path().join("credentials");
    std::fs::create_dir(&credentials).expect("a directory");
    std::fs::write(credentials.join("meshd.passphrase"), PASSPHRASE).expect("a file");
    let variable = [("CREDENTIALS_DIRECTORY", credentials.to_str().expect("a plain path"))];
    let mut daemon = Daemon::start_with(dir.path(), "state", &variable, &[]);
    let id = node_id(&daemon);
    assert_eq!(at_rest(&daemon), "unlocked", "new keys are sealed with it from the beginning");
    daemon.signal("TERM");
    daemon.restart();
    assert_eq!((at_rest(&daemon), node_id(&daemon)), ("unlocked".to_owned(), id));
    let daemon = restart_locked(daemon, dir.path());
    assert_eq!(at_rest(&daemon), "locked");
}

#[test]
fn a_passphrase_is_set_changed_and_removed_over_the_api() {
    let dir = tempfile::tempdir().expect("a directory");
    let daemon = Daemon::start(dir.path(), "state", &[]);
    let id = node_id(&daemon);
    assert_eq!(at_rest(&daemon), "open");
    let set = |daemon: &Daemon, current: Option<&str>, new: Option<&str>| {
        ask(daemon, "PUT", "/v1/passphrase", &json!({ "current": current, "new": new }))
    };
    assert_eq!(ask(&daemon, "POST", "/v1/lock", &json!({})).1["code"], "no_passphrase");
    assert_eq!(set(&daemon, None, Some("short")).1["code"], "invalid_passphrase");
    assert_eq!(set(&daemon, None, Some(PASSPHRASE)).1["state"], "unlocked");
    assert_eq!(set(&daemon, None, Some("yet another one")).1["code"], "wrong_passphrase");
    assert_eq!(set(&daemon, Some(PASSPHRASE), Some("yet another one")).0, 200);
    let daemon = restart_locked(daemon, dir.path());
    assert_eq!(unlock(&daemon, PASSPHRASE).0, 403);
    assert_eq!(unlock(&daemon, "yet another one").0, 200);
    assert_eq!(node_id(&daemon), id);
    assert_eq!(set(&daemon, Some("yet another one"), None).1["state"], "open");
    let daemon = restart_locked(daemon, dir.path());
    assert_eq!((at_rest(&daemon), node_id(&daemon)), ("open".to_owned(), id));
}

#[test]
fn k05_every_file_of_a_working_daemon_is_one_a_wipe_knows() {
    let dir = tempfile::tempdir().expect("a directory");
    let daemon = Daemon::start(dir.path(), "state", &["--listen", "127.0.0.1:0"]);
    for n in 0..20 {
        daemon.post(&format!("message {n}"));
    }
    ask(&daemon, "PUT", "/v1/passphrase", &json!({ "new": PASSPHRASE }));
    let unknown: Vec<String> =
        names(&daemon.state).into_iter().filter(|name| !state_files::is_known(name)).collect();
    assert!(unknown.is_empty(), "a wipe would leave {unknown:?}: name them in state_files.rs");
}

fn wipe(daemon: &Daemon) -> Duration {
    let asked = Instant::now();
    let (status, _) = ask(daemon, "POST", "/v1/wipe", &json!({ "confirm": "wipe" }));
    assert_eq!(status, 202);
    asked.elapsed()
}

/// Waits until the process has ended; its state directory is then as the wipe left it.
fn wait_until_gone(daemon: &Daemon) {
    let proc = PathBuf::from(format!("/proc/{}/stat", daemon.pid()));
    wait_for("the wiped daemon to end", PATIENCE, || {
        // A process that has ended and was not waited for is a zombie.
        let stat = std::fs::read_to_string(&proc).unwrap_or_default();
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    });
}

#[test]
fn k05_k06_a_wipe_in_mid_work_leaves_nothing_and_the_next_node_is_another() {
    let dir = tempfile::tempdir().expect("a directory");
    let daemon = Daemon::start(dir.path(), "state", &["--listen", "127.0.0.1:0", "--name", "canary-name"]);
    let id = node_id(&daemon);
    assert_eq!(ask(&daemon, "POST", "/v1/wipe", &json!({ "confirm": "yes" })).0, 422);
    let key_file = daemon.state.join("master-key");
    let witness = dir.path().join("witness");
    std::fs::hard_link(&key_file, &witness).expect("a second name for the key's blocks");
    let key = std::fs::read_to_string(&key_file).expect("a key");
    let key = key.split(' ').nth(2).expect("the key in hex").to_owned();

    // Others write all the time.
    let took = std::thread::scope(|scope| {
        let busy = scope.spawn(|| {
            let mut stored = 0;
            let body = json!({ "text": "canary-text" }).to_string();
            while daemon.request("POST", "/v1/messages", &body).is_ok_and(|(status, _)| status == 201) {
                stored += 1;
            }
            stored
        });
        wait_for("some messages", PATIENCE, || (daemon.texts().len() > 5).then_some(()));
        let took = wipe(&daemon);
        assert!(busy.join().expect("no panic") > 5);
        took
    });
    assert!(took < Duration::from_secs(1), "the keys took {took:?} to destroy");
    assert!(
        !std::fs::read_to_string(&witness).expect("readable").contains(&key[..16]),
        "the key is still there"
    );
    wait_until_gone(&daemon);
    assert_eq!(names(&daemon.state), BTreeSet::new());

    drop(daemon);
    let next = Daemon::start(dir.path(), "state", &[]);
    assert_ne!(node_id(&next), id);
    assert!(next.texts().is_empty());
    assert_eq!(next.get("/v1/status")["name"], Value::Null);
    assert!(next.get("/v1/peers")["items"].as_array().expect("a list").is_empty());
}

const FULL_DISK: &str = "MESHD_TEST_FULL_DISK";

fn mount(args: &[&str], at: &Path) {
    let done = std::process::Command::new("mount").args(args).arg(at).status().expect("mount runs");
    assert!(done.success(), "mount {args:?}");
}

/// Runs a part of this file in a mount namespace of its own; ordinary users get one with a user namespace.
fn in_mount_namespace(part: &str, dir: &Path) {
    let this = std::env::current_exe().expect("this binary");
    let is_root = rustix::process::geteuid().is_root();
    let mut child = std::process::Command::new("unshare");
    child.arg(if is_root { "-m" } else { "-Urm" }).arg(this).args(["--exact", part, "--nocapture"]);
    let output = child.env(FULL_DISK, dir).output().expect("unshare runs");
    let words = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && words.contains("all of it was tried"), "{words}");
}

/// The part in the namespace; does nothing in a run of the tests.
#[test]
fn the_disk_is_full_and_then_read_only() {
    let Some(dir) = std::env::var_os(FULL_DISK).map(PathBuf::from) else { return };
    mount(&["-t", "tmpfs", "-o", "size=3m", "tmpfs"], &dir);
    let mut daemon = Daemon::start(&dir, "state", &[]);
    daemon.post("canary-text");
    let mut filler = std::fs::File::create(dir.join("filler")).expect("room for a name");
    while std::io::Write::write_all(&mut filler, &[0; 512]).is_ok() {}
    let (status, _) = ask(&daemon, "POST", "/v1/messages", &json!({ "text": "x".repeat(16_000) }));
    assert_eq!(status, 507, "there is room yet");
    assert!(wipe(&daemon) < Duration::from_secs(1));
    wait_until_gone(&daemon);
    assert_eq!(names(&daemon.state), BTreeSet::new());

    drop(filler);
    std::fs::remove_file(dir.join("filler")).expect("own file");
    daemon.restart();
    daemon.signal("TERM");
    let before = std::fs::read(daemon.state.join("master-key")).expect("a new key");
    mount(&["-o", "remount,ro"], &dir);
    let state = daemon.state.to_str().expect("a plain path");
    let refused = daemon_process::run(&["--wipe", "--state-dir", state]);
    assert_eq!(refused.status.code(), Some(1), "nothing was destroyed, and it says so: {refused:?}");
    assert_eq!(std::fs::read(daemon.state.join("master-key")).expect("readable"), before);
    println!("all of it was tried");
}

#[test]
fn k05_a_full_disk_is_wiped_and_a_read_only_one_says_that_it_was_not() {
    let dir = tempfile::tempdir().expect("a directory");
    in_mount_namespace("the_disk_is_full_and_then_read_only", dir.path());
}

#[test]
fn k05_a_wipe_that_a_power_cut_interrupted_goes_on_at_the_next_start() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut daemon = Daemon::start(dir.path(), "state", &[]);
    daemon.post("canary-text");
    let id = node_id(&daemon);
    let token = std::fs::read(daemon.state.join("api-token")).expect("a token");
    daemon.signal("KILL");
    // What the first step of a wipe leaves, and nothing of the rest was done.
    let state = meshd::state_dir::StateDir::open(&daemon.state).expect("nobody has it");
    state_files::destroy_keys(&state).expect("writable");
    drop(state);
    daemon.restart();
    assert_ne!(node_id(&daemon), id);
    assert!(daemon.texts().is_empty());
    assert_ne!(std::fs::read(daemon.state.join("api-token")).expect("a token"), token);
    assert!(daemon.log().contains("a wipe was interrupted"), "{}", daemon.log());
}

#[test]
fn a_locked_node_is_wiped_without_its_passphrase() {
    let dir = tempfile::tempdir().expect("a directory");
    let daemon = Daemon::start(dir.path(), "state", &["--passphrase-file", &passphrase_file(dir.path())]);
    let daemon = restart_locked(daemon, dir.path());
    wipe(&daemon);
    wait_until_gone(&daemon);
    assert_eq!(names(&daemon.state), BTreeSet::new());
}

#[test]
fn a_state_directory_is_wiped_without_a_daemon_but_not_under_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut daemon = Daemon::start(dir.path(), "state", &[]);
    let state = daemon.state.to_str().expect("a plain path").to_owned();
    let refused = daemon_process::run(&["--wipe", "--state-dir", &state]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    daemon.post("still there");
    daemon.signal("TERM");
    std::fs::write(daemon.state.join("letters.txt"), "not meshd's").expect("writable");
    let wiped = daemon_process::run(&["--wipe", "--state-dir", &state]);
    assert!(wiped.status.success(), "{wiped:?}");
    assert!(String::from_utf8_lossy(&wiped.stdout).contains("letters.txt"));
    assert_eq!(names(&daemon.state), BTreeSet::from(["letters.txt".to_owned()]));
    let nothing = daemon_process::run(&["--wipe", "--state-dir", "/nowhere/at/all"]);
    assert_eq!(nothing.status.code(), Some(2), "{nothing:?}");
}

#[test]
fn c18_logs_at_trace_level_hold_no_text_no_passphrase_and_no_key() {
    let dir = tempfile::tempdir().expect("a directory");
    let flags = ["--log", "trace", "--passphrase-file", &passphrase_file(dir.path())];
    let daemon = Daemon::start(dir.path(), "state", &flags);
    daemon.post("canary-text");
    daemon.get("/v1/messages?q=canary");
    ask(&daemon, "PUT", "/v1/passphrase", &json!({ "current": PASSPHRASE, "new": "canary second one" }));
    ask(&daemon, "POST", "/v1/lock", &json!({}));
    unlock(&daemon, "canary wrong one");
    unlock(&daemon, "canary second one");
    // Without a passphrase the key's hex is known, so that it can be looked for.
    ask(&daemon, "PUT", "/v1/passphrase", &json!({ "current": "canary second one", "new": null }));
    let key_file = std::fs::read_to_string(daemon.state.join("master-key")).expect("a key");
    let log = daemon.log();
    assert!(log.contains("TRACE") || log.contains("DEBUG"), "the log is as talkative as it gets");
    assert!(!log.contains("canary"), "{log}");
    assert!(!log.contains(&key_file.split(' ').nth(2).expect("the key in hex")[..16]));
}

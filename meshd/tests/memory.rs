//! What the memory of a locked daemon holds: nothing that a passphrase protects.

mod daemon_process;
mod process_memory;

use daemon_process::{Daemon, PATIENCE, wait_for};
use process_memory::each_writable_part;
use serde_json::json;

const PASSPHRASE: &str = "Xanthic-passphrase-of-the-test";
const NEW_PASSPHRASE: &str = "Yttric-passphrase-of-the-test";
const WORDS: &str = "Zirconic words that only the owner may read";

/// How often each of some words lies in what a process can write to.
fn found_in_memory(pid: u32, needles: &[&str]) -> Vec<usize> {
    let mut found = vec![0; needles.len()];
    each_writable_part(&pid.to_string(), |bytes| {
        for (count, needle) in found.iter_mut().zip(needles) {
            *count += bytes.windows(needle.len()).filter(|window| *window == needle.as_bytes()).count();
        }
    });
    found
}

#[test]
fn k05_a_locked_daemon_s_memory_holds_no_passphrase_and_no_words() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut daemon = Daemon::start(dir.path(), "state", &[]);
    daemon.done("PUT", "/v1/passphrase", &json!({ "new": PASSPHRASE }));
    daemon.done("PUT", "/v1/passphrase", &json!({ "current": PASSPHRASE, "new": NEW_PASSPHRASE }));
    let words = |daemon: &Daemon, n: usize| {
        let own = daemon.done("POST", "/v1/messages", &json!({ "to": "me", "text": format!("{WORDS} {n}") }));
        assert_eq!(own["protection"], "sealed_verified");
    };
    for n in 0..40 {
        words(&daemon, n);
    }
    assert_eq!(daemon.texts().len(), 40);
    daemon.get("/v1/messages?q=zirconic");
    daemon.done("POST", "/v1/lock", &json!({}));
    daemon.done("POST", "/v1/unlock", &json!({ "passphrase": NEW_PASSPHRASE }));
    daemon.get("/v1/messages?q=zirconic");
    daemon.done("POST", "/v1/lock", &json!({}));
    let needles = [PASSPHRASE, NEW_PASSPHRASE, WORDS, "zirconic"];
    // A thread may still be on its way out of what it did last.
    wait_for("a memory without words", PATIENCE, || {
        (found_in_memory(daemon.pid(), &needles) == [0, 0, 0, 0]).then_some(())
    });
    // This search would find what is there: its own path was given to it.
    let path = daemon.state.to_str().expect("a plain path").to_owned();
    assert!(found_in_memory(daemon.pid(), &[&path])[0] > 0);
    daemon.signal("TERM");
}

//! What the memory of a locked daemon holds: nothing that a passphrase protects. Reads `/proc/PID/mem`, which a parent may
//! unless the system forbids it (Yama), and root always.

mod daemon_process;

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use daemon_process::{Daemon, PATIENCE, wait_for};
use serde_json::{Value, json};

const PASSPHRASE: &str = "Xanthic-passphrase-of-the-test";
const NEW_PASSPHRASE: &str = "Yttric-passphrase-of-the-test";
const WORDS: &str = "Zirconic words that only the owner may read";

fn done(daemon: &Daemon, method: &str, path: &str, body: &Value) -> Value {
    let (status, text) = daemon.request(method, path, &body.to_string()).expect("the daemon answers");
    assert!((200..300).contains(&status), "{method} {path}: {status} {text}");
    serde_json::from_str(&text).unwrap_or(Value::Null)
}

/// How often each of some words lies in what a process can write to.
fn found_in_memory(pid: u32, needles: &[&str]) -> Vec<usize> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("the daemon runs");
    let memory =
        File::open(format!("/proc/{pid}/mem")).expect("this test is allowed to read its child's memory");
    let mut found = vec![0; needles.len()];
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (from, to) = line.split(' ').next().and_then(|range| range.split_once('-')).expect("a range");
        let address = |hex| u64::from_str_radix(hex, 16).expect("hexadecimal");
        let (from, to) = (address(from), address(to));
        let mut bytes = vec![0; usize::try_from(to - from).expect("it is in memory")];
        // Some mappings can't be read, such as those of devices.
        let Ok(()) = memory.read_exact_at(&mut bytes, from) else { continue };
        for (count, needle) in found.iter_mut().zip(needles) {
            *count += bytes.windows(needle.len()).filter(|window| *window == needle.as_bytes()).count();
        }
    }
    found
}

#[test]
fn k05_a_locked_daemon_s_memory_holds_no_passphrase_and_no_words() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut daemon = Daemon::start(dir.path(), "state", &[]);
    done(&daemon, "PUT", "/v1/passphrase", &json!({ "new": PASSPHRASE }));
    done(&daemon, "PUT", "/v1/passphrase", &json!({ "current": PASSPHRASE, "new": NEW_PASSPHRASE }));
    let words = |daemon: &Daemon, n: usize| {
        let own =
            done(daemon, "POST", "/v1/messages", &json!({ "to": "me", "text": format!("{WORDS} {n}") }));
        assert_eq!(own["protection"], "sealed_verified");
    };
    for n in 0..40 {
        words(&daemon, n);
    }
    assert_eq!(daemon.texts().len(), 40);
    daemon.get("/v1/messages?q=zirconic");
    done(&daemon, "POST", "/v1/lock", &json!({}));
    done(&daemon, "POST", "/v1/unlock", &json!({ "passphrase": NEW_PASSPHRASE }));
    daemon.get("/v1/messages?q=zirconic");
    done(&daemon, "POST", "/v1/lock", &json!({}));
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

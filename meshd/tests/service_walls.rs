//! What a daemon does that runs into a limit systemd sets it. That the other walls hold is tried on a machine of its own
//! (`packaging/test/run sandbox`), that systemd starts it again too (`service.sh` in the test bed).

mod daemon_process;

use std::os::unix::net::UnixStream;

use daemon_process::{Daemon, PATIENCE, wait_for};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

fn pid_of(daemon: &Daemon) -> Pid {
    Pid::from_raw(daemon.pid().cast_signed()).expect("a process")
}

/// Sets what a daemon may use at most, as `LimitNOFILE=` and `MemoryMax=` do.
fn limit(daemon: &Daemon, what: Resource, most: u64) {
    let new = Rlimit { current: Some(most), maximum: getrlimit(what).maximum };
    prlimit(Some(pid_of(daemon)), what, new).expect("an own child");
}

#[test]
fn d03_a_daemon_out_of_descriptors_goes_on_when_there_are_some_again_and_has_lost_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut daemon = Daemon::start(dir.path(), "state", &[]);
    daemon.post("before");
    let open = std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).expect("it runs").count() as u64;
    limit(&daemon, Resource::Nofile, open + 4);
    let socket = daemon.state.join("meshd.sock");
    let crowd: Vec<UnixStream> =
        (0..64).map(|_| UnixStream::connect(&socket).expect("the queue has room")).collect();
    wait_for("the last descriptor", PATIENCE, || {
        let now = std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).expect("it runs").count() as u64;
        (now >= open + 3).then_some(())
    });
    drop(crowd);
    let after = wait_for("room", PATIENCE, || {
        daemon
            .request("POST", "/v1/messages", r#"{"text":"after"}"#)
            .ok()
            .filter(|(status, _)| *status == 201)
    });
    assert!(after.1.contains("after"));
    assert_eq!(daemon.texts(), ["before", "after"]);
    daemon.signal("TERM");
}

#[test]
fn d03_a_daemon_out_of_memory_has_every_message_it_acknowledged_after_its_next_start() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut daemon = Daemon::start(dir.path(), "state", &[]);
    daemon.post("before");
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("it runs");
    let data = status.lines().find_map(|line| line.strip_prefix("VmData:")).expect("Linux says it");
    let data_kib: u64 = data.trim().trim_end_matches(" kB").parse().expect("a number");
    limit(&daemon, Resource::Data, data_kib * 1024);
    let mut acknowledged = vec!["before".to_owned()];
    for n in 0..2000 {
        let text = format!("{n} {}", "x".repeat(16_000));
        let body = serde_json::json!({ "text": text }).to_string();
        match daemon.request("POST", "/v1/messages", &body) {
            Ok((201, _)) => acknowledged.push(text),
            Ok(_) | Err(_) => break,
        }
    }
    assert!(acknowledged.len() < 2000, "the limit was not reached");
    daemon.signal("KILL");
    daemon.restart();
    let texts = daemon.texts();
    assert!(
        acknowledged.iter().all(|text| texts.contains(text)),
        "{} of {}",
        texts.len(),
        acknowledged.len()
    );
    daemon.signal("TERM");
}

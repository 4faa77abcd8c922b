//! The walls that the units put around the services, and what a daemon does that runs into a limit of theirs.
//!
//! Here it is read that each wall is there. That it holds is tried on a machine of its own (`packaging/test/run sandbox`: a program
//! of an attacker in the place of the service), that systemd starts a daemon again too (`service.sh` in the test bed).

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

/// What an attacker in the service would do, and the lines of a unit each of which keeps it from that.
const WALLS: [(&str, &[&str]); 12] = [
    ("read what people have at home", &["ProtectHome=yes"]),
    ("write outside its state", &["ProtectSystem=strict", "PrivateTmp=yes", "UMask=0077"]),
    ("open a disk or another device", &["PrivateDevices=yes", "DevicePolicy=closed"]),
    ("open raw sockets", &["CapabilityBoundingSet=", "AmbientCapabilities=", "PrivateUsers=yes"]),
    ("trace or look at other processes", &["ProtectProc=invisible", "ProcSubset=pid"]),
    (
        "mount, trace, set the clock",
        &["SystemCallFilter=~@privileged @resources", "SystemCallFilter=@system-service"],
    ),
    ("call by another table of system calls", &["SystemCallArchitectures=native", "LockPersonality=yes"]),
    ("make a namespace where it is root", &["RestrictNamespaces=yes", "PrivateMounts=yes"]),
    ("load a module", &["ProtectKernelModules=yes", "ProtectKernelTunables=yes", "ProtectKernelLogs=yes"]),
    ("write memory and run it", &["MemoryDenyWriteExecute=yes"]),
    ("leave a program with more rights", &["NoNewPrivileges=yes", "RestrictSUIDSGID=yes"]),
    (
        "change the machine's limits and clock",
        &["ProtectControlGroups=yes", "ProtectClock=yes", "ProtectHostname=yes"],
    ),
];

/// The words of a setting that a unit has once.
fn words<'u>(unit: &'u str, setting: &str) -> Vec<&'u str> {
    let mut values = unit.lines().filter_map(|line| line.strip_prefix(setting));
    let value = values.next().unwrap_or_else(|| panic!("no {setting}"));
    assert_eq!(values.next(), None, "{setting} is there twice, and the first may not count");
    value.split(' ').collect()
}

#[test]
fn d01_each_unit_has_a_wall_against_all_that_code_in_the_service_could_do() {
    for (name, program, families) in [
        ("meshd", "/usr/bin/meshd", "AF_UNIX AF_INET AF_INET6 AF_NETLINK AF_BLUETOOTH"),
        ("meshlink-relay", "/usr/bin/meshlink-relay", "AF_INET AF_INET6"),
    ] {
        let path = format!("{}/../systemd/{name}.service", env!("CARGO_MANIFEST_DIR"));
        let unit = std::fs::read_to_string(path).expect("readable");
        for (attack, lines) in WALLS {
            for wall in lines {
                let setting = wall.split_once('=').expect("a setting").0;
                assert!(unit.lines().any(|line| line == *wall), "{name} could {attack}: no {wall}");
                // A later line could take it back.
                let count =
                    unit.lines().filter(|line| line.split_once('=').is_some_and(|(key, _)| key == setting));
                let of_filter = if setting == "SystemCallFilter" { 2 } else { 1 };
                assert_eq!(count.count(), of_filter, "{name}: {setting}");
            }
        }
        // Neither packets nor a shell: no other families, and nothing that runs but itself and libraries.
        assert_eq!(words(&unit, "RestrictAddressFamilies=").join(" "), families);
        let runs = words(&unit, "ExecPaths=");
        assert_eq!(runs[0], program);
        assert!(runs[1..].iter().all(|path| path.contains("/lib")), "{name} may run {runs:?}");
        let nowhere = words(&unit, "NoExecPaths=");
        assert!(
            ["/", "/run", "/tmp", "/var/tmp", "/dev/shm"].iter().all(|path| nowhere.contains(path)),
            "{name}"
        );
    }
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

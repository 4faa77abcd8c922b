//! The life of the process: first start, stop, kill, start again.

mod daemon_process;

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use daemon_process::{Daemon, PATIENCE, wait_for};

fn mode(path: &std::path::Path) -> u32 {
    path.metadata().unwrap_or_else(|e| panic!("{}: {e}", path.display())).permissions().mode() & 0o777
}

#[test]
fn a08_what_the_first_start_makes_is_the_users_alone() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), "state", &["--listen", "127.0.0.1:0"]);
    assert_eq!(mode(&daemon.state), 0o700);
    let mut seen = Vec::new();
    for entry in std::fs::read_dir(&daemon.state).unwrap() {
        let path = entry.unwrap().path();
        seen.push(path.file_name().unwrap().to_string_lossy().into_owned());
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    for name in ["identity", "api-token", "api.json", "meshd.db", "meshd.lock", "meshd.sock"] {
        assert!(seen.contains(&name.to_owned()), "{name} is missing: {seen:?}");
    }
    let address = daemon.address().unwrap();
    assert!(address["url"].as_str().unwrap().starts_with("http://127.0.0.1:"));
    assert!(!address["url"].as_str().unwrap().ends_with(":0"));
    assert_eq!(address["socket"], daemon.state.join("meshd.sock").to_str().unwrap());
    // It answers before it greets.
    for word in ["Node ", "meshctl --state-dir", "Bluetooth", "api-token"] {
        wait_for(word, PATIENCE, || daemon.log().contains(word).then_some(()));
    }
}

#[test]
fn e05_no_secret_is_in_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start(dir.path(), "state", &["--log", "trace", "--listen", "127.0.0.1:0"]);
    daemon.post("canary-text");
    let token = std::fs::read_to_string(daemon.state.join("api-token")).unwrap();
    let identity = std::fs::read_to_string(daemon.state.join("identity")).unwrap();
    assert_eq!(daemon.signal("TERM").0, Some(0));
    let log = daemon.log();
    for secret in [token.trim(), identity.split(' ').nth(1).unwrap(), "canary-text"] {
        assert!(!log.contains(secret), "{secret:.8}... is in the log");
    }
}

#[test]
fn it_stops_cleanly_on_both_signals_and_takes_its_addresses_along() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start(dir.path(), "state", &["--name", "Mill"]);
    let node = daemon.get("/v1/status")["node_id"].clone();
    daemon.post("kept");
    for signal in ["TERM", "INT"] {
        let (code, took) = daemon.signal(signal);
        assert_eq!(code, Some(0), "SIG{signal}");
        assert!(took < Duration::from_secs(2), "SIG{signal} took {took:?}");
        for name in ["api.json", "meshd.sock"] {
            assert!(!daemon.state.join(name).exists(), "{name} stayed after SIG{signal}");
        }
        let log = daemon.state.join("meshd.db-wal").metadata().map_or(0, |meta| meta.len());
        assert_eq!(log, 0, "the database's log was not folded in");
        daemon.restart();
        let status = daemon.get("/v1/status");
        assert_eq!((&status["node_id"], &status["name"]), (&node, &"Mill".into()));
        assert_eq!(daemon.texts(), ["kept"]);
    }
}

#[test]
fn an_open_event_stream_does_not_hold_up_a_stop() {
    use std::io::{Read, Write};
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start(dir.path(), "state", &[]);
    let mut stream = std::os::unix::net::UnixStream::connect(daemon.state.join("meshd.sock")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    let (code, took) = daemon.signal("TERM");
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(2), "took {took:?}");
}

#[test]
fn after_a_kill_it_starts_again_over_what_was_left() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start(dir.path(), "state", &[]);
    let id = daemon.post("survives");
    daemon.signal("KILL");
    assert!(daemon.state.join("meshd.sock").exists(), "the test shows nothing");
    assert!(daemon.state.join("api.json").exists(), "the test shows nothing");
    daemon.restart();
    assert_eq!(daemon.status_of(&id), "pending");
    assert_eq!(daemon.address().unwrap()["pid"], daemon.pid());
}

#[test]
fn a_name_is_kept_and_changed_by_the_flag_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start(dir.path(), "state", &[]);
    assert!(daemon.get("/v1/profile")["name"].is_null());
    let (status, body) = daemon.request("PUT", "/v1/profile", r#"{"name":"by API","about":"x"}"#).unwrap();
    assert_eq!(status, 200, "{body}");
    daemon.signal("TERM");
    daemon.restart();
    assert_eq!(daemon.get("/v1/profile")["name"], "by API");
    daemon.signal("TERM");
    drop(daemon);
    let daemon = Daemon::start(dir.path(), "state", &["--name", "by flag"]);
    let profile = daemon.get("/v1/profile");
    assert_eq!((&profile["name"], &profile["about"]), (&"by flag".into(), &"x".into()));
}

#[test]
fn a_hang_up_reads_the_configuration_again_and_says_what_needs_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("meshd.toml");
    std::fs::write(&file, "log = \"info\"\n[store]\npeers_kept = 500\n").unwrap();
    let mut daemon = Daemon::start(dir.path(), "state", &["--config", file.to_str().unwrap()]);
    std::fs::write(&file, "log = \"debug\"\nname = \"Mill\"\n[store]\npeers_kept = 600\n").unwrap();
    daemon.hang_up();
    wait_for("the new settings", PATIENCE, || {
        (daemon.get("/v1/log")["filter"] == "debug" && daemon.get("/v1/status")["name"] == "Mill")
            .then_some(())
    });
    wait_for("what needs a restart", PATIENCE, || {
        daemon.log().contains("needs_restart=[\"store.peers_kept\"]").then_some(())
    });
    std::fs::write(&file, "lgo = 1\n").unwrap();
    daemon.hang_up();
    wait_for("a word about the mistake", PATIENCE, || {
        daemon.log().contains("unknown setting `lgo`").then_some(())
    });
    assert_eq!(daemon.get("/v1/log")["filter"], "debug", "a mistake changes nothing");
    assert_eq!(daemon.signal("TERM").0, Some(0));
}

#[test]
fn transports_that_are_not_there_are_listed_as_off() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(dir.path(), "state", &[]);
    let status = daemon.get("/v1/status");
    let transports = status["transports"].as_array().unwrap();
    for kind in ["ble", "lan", "relay"] {
        let transport =
            transports.iter().find(|t| t["kind"] == kind).unwrap_or_else(|| panic!("{kind}: {transports:?}"));
        assert_eq!(transport["state"], "off", "{transport}");
        assert!(!transport["detail"].as_str().unwrap().is_empty());
    }
}

#[test]
fn r07_without_a_trusted_clock_messages_carry_no_date() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("meshd.toml");
    std::fs::write(&file, "clock = \"distrust\"\n").unwrap();
    let daemon = Daemon::start(dir.path(), "state", &["--config", file.to_str().unwrap()]);
    let id = daemon.post("when?");
    let message = daemon.get(&format!("/v1/messages/{id}"));
    assert!(message["created_at"].is_null(), "{message}");
    assert_eq!(daemon.get("/v1/status")["clock"]["trusted"], false);
}

#[test]
fn the_demonstration_answers_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let temp = dir.path().join("tmp");
    std::fs::create_dir(&temp).unwrap();
    let log = dir.path().join("log");
    let mut command = daemon_process::meshd(&["--demo", "--listen", "127.0.0.1:0"]);
    command.env("TMPDIR", &temp).env("HOME", dir.path()).stderr(std::fs::File::create(&log).unwrap());
    let mut child = command.spawn().unwrap();
    let said = || std::fs::read_to_string(&log).unwrap_or_default();
    let state = wait_for("the demonstration", PATIENCE, || {
        let dirs: Vec<_> = std::fs::read_dir(&temp).unwrap().map(|e| e.unwrap().path()).collect();
        dirs.into_iter().find(|dir| dir.join("api.json").exists())
    });
    let socket = state.join("meshd.sock");
    let ask = |method: &str, path: &str, body: &str| {
        use std::io::{Read, Write};
        let mut stream = std::os::unix::net::UnixStream::connect(&socket).ok()?;
        let head = "Host: localhost\r\nConnection: close\r\nContent-Type: application/json";
        write!(stream, "{method} {path} HTTP/1.1\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
            .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    };
    let heard = |text: &str| ask("GET", "/v1/messages", "").filter(|answer| answer.contains(text));
    wait_for("the greeting", PATIENCE, || heard("Hello! I am the second node"));
    assert!(ask("POST", "/v1/messages", r#"{"text":"is anybody there?"}"#).unwrap().contains("201"));
    wait_for("an answer", PATIENCE, || heard("I heard you over 1 hop: “is anybody there?”"));
    assert!(said().contains("Ctrl-C"), "{}", said());
    let killed = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let status = wait_for("the end", PATIENCE, || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0), "{}", said());
    assert_eq!(std::fs::read_dir(&temp).unwrap().count(), 0, "something stayed behind");
}

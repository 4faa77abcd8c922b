//! What a user gets wrong: each is one line that says what to do, and the exit code of the contract.

mod daemon_process;

use std::path::Path;

use daemon_process::{Daemon, meshd, run, run_command};

/// The one line it says before it ends with that code.
fn refusal(args: &[&str], code: i32) -> String {
    one_line(&run(args), code)
}

fn one_line(output: &std::process::Output, code: i32) -> String {
    let said = String::from_utf8(output.stderr.clone()).expect("text");
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with("meshd: "), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    assert!(output.stdout.is_empty());
    said
}

fn assert_has(said: &str, words: &[&str]) {
    for word in words {
        assert!(said.contains(word), "no {word:?} in: {said}");
    }
}

fn state(dir: &Path) -> String {
    dir.join("state").to_str().expect("plain path").to_owned()
}

#[test]
fn an_unknown_setting_names_file_and_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("meshd.toml");
    std::fs::write(&file, "log = \"info\"\n\nlisten = \"127.0.0.1:1\"\n").unwrap();
    let said = refusal(&["--config", file.to_str().unwrap()], 2);
    assert_has(&said, &[&format!("{}:3: ", file.display()), "unknown setting `listen`"]);
    let said = refusal(&["--config", "/nowhere/meshd.toml"], 2);
    assert_has(&said, &["/nowhere/meshd.toml"]);
}

#[test]
fn a_flag_that_makes_no_sense_is_a_usage_error() {
    for (args, word) in [
        (&["--listen", "localhost"][..], "127.0.0.1:6374"),
        (&["--relay", "http://x"], "ws://"),
        (&["--relay", "ws://x/?token=s3cret"], "token_file"),
        (&["--allow-origin", "*"], "http://localhost:5173"),
        (&["--no-such-flag"], "--no-such-flag"),
        (&["--listen", "127.0.0.1:0", "--no-tcp"], "--no-tcp"),
        (&["--log", "loud"], "debug"),
        (&["--lan", "--no-lan"], "--no-lan"),
        (&["--lan-peer", "mill"], "192.168.1.20:6375"),
    ] {
        let output = run(args);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(word), "{args:?}: {said}");
    }
}

#[test]
fn a_variable_that_makes_no_sense_is_a_usage_error() {
    let mut command = meshd(&[]);
    command.env("MESHD_LISTEN", "nonsense");
    assert_has(&one_line(&run_command(command), 2), &["MESHD_LISTEN", "127.0.0.1:6374"]);
}

#[test]
fn without_a_home_it_asks_for_a_place() {
    assert_has(&refusal(&["--no-tcp"], 2), &["--state-dir"]);
}

#[test]
fn a_port_in_use_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let said = refusal(&["--state-dir", &state(dir.path()), "--listen", &address], 1);
    assert_has(&said, &[&address, "another program listens", "--listen"]);
}

#[test]
fn an_address_of_another_machine_is_said() {
    let dir = tempfile::tempdir().unwrap();
    // TEST-NET-1 of RFC 5737 belongs to nobody.
    let said =
        refusal(&["--state-dir", &state(dir.path()), "--listen", "192.0.2.1:6374", "--log", "error"], 1);
    assert_has(&said, &["192.0.2.1:6374", "no such address"]);
}

#[test]
fn a_state_directory_that_cannot_be_written_is_said() {
    // Not even root makes directories there.
    let said = refusal(&["--state-dir", "/proc/meshd-test", "--no-tcp"], 1);
    assert_has(&said, &["/proc/meshd-test", "--state-dir"]);
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("state"), "a file").unwrap();
    assert_has(&refusal(&["--state-dir", &state(dir.path()), "--no-tcp"], 1), &["not a directory"]);
}

#[test]
fn c12_a_corrupt_key_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start(dir.path(), "state", &[]);
    assert_eq!(daemon.signal("TERM").0, Some(0));
    let key = daemon.state.join("identity");
    let good = std::fs::read(&key).unwrap();
    let mut bad = good.clone();
    bad[40] ^= 1;
    std::fs::write(&key, &bad).unwrap();
    let args = ["--state-dir", &state(dir.path()), "--no-tcp"];
    assert_has(&refusal(&args, 1), &["identity", "damaged", "backup"]);
    assert_eq!(std::fs::read(&key).unwrap(), bad);
    std::fs::remove_file(&key).unwrap();
    assert_has(&refusal(&args, 1), &["identity", "is gone", "backup"]);
    assert!(!key.exists());
    // Another node's key is no substitute.
    let mut other = Daemon::start(dir.path(), "other", &[]);
    assert_eq!(other.signal("TERM").0, Some(0));
    std::fs::copy(other.state.join("identity"), &key).unwrap();
    assert_has(&refusal(&args, 1), &["another master key"]);
    // Nor is its master key with it.
    let master = daemon.state.join("master-key");
    let good_master = std::fs::read(&master).unwrap();
    std::fs::copy(other.state.join("master-key"), &master).unwrap();
    assert_has(&refusal(&args, 1), &["different nodes"]);
    std::fs::write(&master, &good_master).unwrap();
    std::fs::write(&key, &good).unwrap();
    daemon.restart();
}

#[test]
fn a_database_of_a_newer_version_is_refused_untouched() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start(dir.path(), "state", &[]);
    assert_eq!(daemon.signal("TERM").0, Some(0));
    let path = daemon.state.join("meshd.db");
    let database = rusqlite::Connection::open(&path).unwrap();
    database.pragma_update(None, "user_version", 9999).unwrap();
    drop(database);
    let before = std::fs::read(&path).unwrap();
    let said = refusal(&["--state-dir", &state(dir.path()), "--no-tcp"], 1);
    assert_has(&said, &["meshd.db", "newer meshd"]);
    assert!(std::fs::read(&path).unwrap() == before, "the database was touched");
}

#[test]
fn the_second_daemon_on_one_state_directory_is_refused_with_the_pid_of_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let first = Daemon::start(dir.path(), "state", &[]);
    let socket = dir.path().join("other.sock");
    let args = ["--state-dir", &state(dir.path()), "--no-tcp", "--socket", socket.to_str().unwrap()];
    assert_has(&refusal(&args, 1), &[&format!("pid {}", first.pid()), "--state-dir"]);
    assert_eq!(first.request("GET", "/v1/health", "").unwrap().0, 200, "the first one goes on");
}

#[test]
fn a_second_daemon_does_not_take_the_socket_of_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let first = Daemon::start(dir.path(), "state", &[]);
    let socket = first.state.join("meshd.sock");
    let other = dir.path().join("other");
    let args = ["--state-dir", other.to_str().unwrap(), "--no-tcp", "--socket", socket.to_str().unwrap()];
    assert_has(&refusal(&args, 1), &["meshd.sock", "another program answers", "--socket"]);
    assert_eq!(first.request("GET", "/v1/health", "").unwrap().0, 200);
}

#[test]
fn settings_can_be_checked_without_starting() {
    let dir = tempfile::tempdir().unwrap();
    let state = state(dir.path());
    let output = run(&["--state-dir", &state, "--relay", "ws://h:1/?topic=t", "--check-config"]);
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8(output.stdout).unwrap();
    assert_has(
        &said,
        &[&state, "api.listen = \"127.0.0.1:6374\"  # default", "relay.url = \"ws://h:1 t\"  # flag"],
    );
    assert!(!Path::new(&state).exists(), "checking made something");
    assert_has(&refusal(&["--check-config", "--ui", "/nowhere"], 2), &["/nowhere"]);
    let mut command = meshd(&["--check-config"]);
    command.env("MESHD_RELAYS", "ws://h:1").env("MESHD_PASSPHRASE_FILE", "/run/words");
    let output = run_command(command);
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said, "meshd: warning: environment variable MESHD_RELAYS is no setting and changes nothing\n");
    assert_has(
        &String::from_utf8(output.stdout).unwrap(),
        &["passphrase_file = \"/run/words\"  # environment"],
    );
}

#[test]
fn the_printed_configuration_is_one() {
    let output = run(&["--print-config"]);
    assert_eq!(output.status.code(), Some(0));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("meshd.toml");
    std::fs::write(&file, output.stdout).unwrap();
    assert_eq!(run(&["--config", file.to_str().unwrap(), "--check-config"]).status.code(), Some(0));
}

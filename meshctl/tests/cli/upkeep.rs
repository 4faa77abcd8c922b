//! `doctor`, `config`, `log`, `store`.

use crate::fake::{Asked, Fake, Reply};
use crate::objects::{script, status};
use crate::run::{Home, Ran};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;

fn store() -> Value {
    json!({
        "path": "/var/lib/meshlink/meshd.db", "schema": 1, "bundles": 12, "bundle_bytes": 34_123,
        "bundle_bytes_max": 268_435_456_u64, "messages": 9, "events": 40, "database_bytes": 212_992,
        "free_bytes": 8_192, "log_bytes": 2_048, "disk_free_bytes": 50_000_000_000_u64, "checked": "whole",
        "log_was_missing": false,
    })
}

/// A daemon without Bluetooth, so that this machine's own does not matter.
fn quiet_status() -> Value {
    let mut status = status();
    status["transports"] = json!([
        {"kind": "ble", "name": "bluetooth", "state": "off", "detail": "switched off", "hint": null},
        {"kind": "relay", "name": "ws://relay.example:8080", "state": "up", "detail": "connected", "hint": null},
    ]);
    status["version"] = env!("CARGO_PKG_VERSION").into();
    status
}

fn answers(status: Value) -> Vec<(&'static str, Value)> {
    let setting = |key: &str, value: &str, origin: &str, reloads: bool| json!({"key": key, "value": value, "origin": origin, "reloads": reloads});
    vec![
        ("GET /v1/status", status),
        ("GET /v1/store", store()),
        ("POST /v1/store/verify", json!({"ok": true, "detail": null, "took_ms": 1_204})),
        ("POST /v1/store/compact", json!({"before_bytes": 212_992, "after_bytes": 204_800, "took_ms": 41})),
        ("GET /v1/log", json!({"filter": "info"})),
        ("PUT /v1/log", json!({"filter": "info,meshd::link=debug"})),
        (
            "POST /v1/config/reload",
            json!({"applied": ["log"], "needs_restart": ["api.listen", "store.bytes_max"]}),
        ),
        (
            "GET /v1/config",
            json!({"items": [
                setting("log", "\"debug\"", "/etc/meshlink/meshd.toml", true),
                setting("api.listen", "127.0.0.1:6374", "default", false),
            ]}),
        ),
    ]
}

#[test]
fn what_a_daemon_warns_of_at_a_join_is_said_beside_the_result_and_is_in_the_json() {
    let channel = json!({
        "name": "#ops", "protection": "channel", "check": "abcd-efgh", "joined_at": null, "messages": 2, "unread": 0,
        "members_heard": 1, "warning": "it may be guessed", "permanent": false,
    });
    let home = Home::new();
    let _fake = Fake::on_socket(&home.socket(), script(vec![("POST /v1/channels", channel)]));
    crate::run::write(&home.path("words"), "password\n");
    let words = home.path("words").display().to_string();
    let args = ["channel", "join", "ops", "--password-file", &words];
    let ran = home.finish(&mut home.meshctl(&args), b"");
    assert_eq!((ran.code, ran.err.as_str()), (0, "warning: it may be guessed\n"));
    assert!(ran.out.starts_with("#ops joined"), "{}", ran.out);
    let ran = home.finish(&mut home.meshctl(&[&["--json"], &args[..]].concat()), b"");
    let said: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, &said["warning"]), (0, &json!("it may be guessed")));
}

fn run(status: Value, args: &[&str]) -> Ran {
    let home = Home::new();
    let _fake = Fake::on_socket(&home.socket(), script(answers(status)));
    let mut command = home.meshctl(args);
    command.env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere/bus");
    home.finish(&mut command, b"")
}

#[test]
fn people_get_sentences() {
    let mut all = String::new();
    for args in [
        &["doctor"][..],
        &["config", "show"],
        &["config", "show", "--origin"],
        &["config", "reload"],
        &["log"],
        &["log", "info,meshd::link=debug"],
        &["store", "stats"],
        &["store", "verify"],
        &["store", "compact"],
    ] {
        let ran = run(quiet_status(), args);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{args:?}");
        all.push_str(&format!("$ meshctl {}\n{}\n", args.join(" "), ran.out));
    }
    insta::assert_snapshot!("upkeep", all);
}

fn copy(length: usize) -> impl Fn(&Asked) -> Reply + Send + Sync + 'static {
    move |_| {
        let head = "HTTP/1.1 200 X\r\ncontent-type: application/vnd.sqlite3\r\ncontent-length: 3000\r\n\r\n";
        Reply::Bytes([head.as_bytes(), &vec![7; length]].concat())
    }
}

#[test]
fn a_backup_of_the_store_is_a_private_file_that_was_not_there_before() {
    let home = Home::new();
    let fake = Fake::on_socket(&home.socket(), copy(3000));
    let file = home.path("store.backup");
    let args = ["store", "backup", file.to_str().unwrap()];
    let ran = home.run(&args);
    assert_eq!((ran.code, ran.out.as_str()), (0, "3.0 kB in ~/store.backup\n"), "{}", ran.err);
    assert_eq!(fake.lines(), ["POST /v1/store/backup"]);
    assert_eq!(std::fs::read(&file).unwrap(), vec![7; 3000]);
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::write(&file, "another one").unwrap();
    assert_eq!(home.run(&args).code, 2);
    assert_eq!(fake.lines().len(), 1, "the daemon was not even asked");
    assert_eq!(std::fs::read(&file).unwrap(), b"another one");
}

#[test]
fn half_a_backup_of_the_store_is_none() {
    let home = Home::new();
    let file = home.path("store.backup");
    let args = ["store", "backup", file.to_str().unwrap()];
    let fake = Fake::on_socket(&home.socket(), copy(2999));
    let ran = home.run(&args);
    assert_eq!(ran.code, 3, "{}", ran.err);
    drop(fake);
    assert!(!file.exists());
    std::fs::remove_file(home.socket()).ok();
    let _fake = Fake::on_socket(&home.socket(), |_| Reply::json(&json!({"ok": true})));
    assert_eq!(home.run(&args).code, 1);
    assert!(!file.exists());
}

#[test]
fn programs_get_json() {
    for args in [
        &["doctor"][..],
        &["config", "show"],
        &["config", "reload"],
        &["log"],
        &["store", "stats"],
        &["store", "verify"],
        &["store", "compact"],
    ] {
        let ran = run(quiet_status(), &[args, &["--json"]].concat());
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{args:?}");
        assert!(serde_json::from_str::<Value>(&ran.out).is_ok(), "{args:?}: {}", ran.out);
    }
}

#[test]
fn a_failed_check_is_an_exit_code_of_1_and_says_what_to_do() {
    let mut bad = quiet_status();
    bad["store"]["writable"] = false.into();
    bad["clock"]["trusted"] = false.into();
    let ran = run(bad.clone(), &["doctor"]);
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("fail  store: ") && ran.out.contains("-> free some space"), "{}", ran.out);
    assert!(ran.out.contains("warn  clock: ") && ran.out.contains("timedatectl"), "{}", ran.out);
    let ran = run(bad, &["doctor", "--json"]);
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, &report["state"]), (1, &"fail".into()));
    let mut warned = quiet_status();
    warned["clock"]["trusted"] = false.into();
    assert_eq!(run(warned, &["doctor"]).code, 0, "a warning breaks nothing");
}

#[test]
fn bluetooth_that_is_wanted_is_looked_at_and_its_absence_explained() {
    let ran = run(status(), &["doctor", "--json"]);
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    let checks = report["checks"].as_array().unwrap();
    let bus = checks.iter().find(|check| check["check"] == "dbus").expect("a look at the bus");
    assert_eq!(bus["state"], "fail");
    assert!(bus["detail"].as_str().unwrap().contains("/nowhere/bus"), "{bus}");
    assert!(bus["hint"].as_str().unwrap().contains("apt install dbus"), "{bus}");
    let radio = checks.iter().find(|check| check["check"] == "transport.bluetooth").unwrap();
    assert!(radio["hint"].as_str().unwrap().contains("rfkill unblock"), "the daemon's own words: {radio}");
}

#[test]
fn without_a_daemon_the_machine_is_looked_at_all_the_same() {
    let home = Home::new();
    let ran = home.run(&["doctor"]);
    assert_eq!(ran.code, 3, "{}", ran.err);
    assert!(ran.out.contains("fail  daemon: "), "{}", ran.out);
    assert!(ran.out.contains("dbus: ") && ran.out.contains("bluetooth.adapter: "), "{}", ran.out);
}

#[test]
fn a_damaged_store_is_a_failure() {
    let home = Home::new();
    let _fake = Fake::on_socket(&home.socket(), |_| {
        Reply::json(
            &json!({"ok": false, "detail": "row 7 missing from index message_by_status", "took_ms": 3}),
        )
    });
    let ran = home.run(&["store", "verify"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("row 7 missing") && ran.err.contains("backup"), "{}", ran.err);
}

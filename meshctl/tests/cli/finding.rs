//! Finding the daemon.

use crate::fake::{Fake, Reply};
use crate::objects::{script, status};
use crate::run::{Home, write};
use std::process::Command;

fn node() -> Vec<(&'static str, serde_json::Value)> {
    vec![("GET /v1/status", status())]
}

fn answers(home: &Home, command: &mut Command) -> bool {
    home.finish(command, b"").code == 0
}

#[test]
fn the_users_socket_is_found_in_the_runtime_directory() {
    let home = Home::new();
    write(&home.path("run/meshlink/x"), "");
    let fake = Fake::on_socket(&home.path("run/meshlink/meshd.sock"), script(node()));
    assert!(answers(&home, home.bare(&["status"]).env("XDG_RUNTIME_DIR", home.path("run"))));
    assert_eq!(fake.asked()[0].header("host"), Some("localhost"));
    assert_eq!(fake.asked()[0].header("authorization"), None);
}

#[test]
fn a_daemon_with_other_addresses_is_found_through_api_json() {
    let home = Home::new();
    let fake = Fake::on_socket(&home.path("elsewhere.sock"), script(node()));
    let api = format!(r#"{{"socket": "{}", "pid": 1}}"#, home.path("elsewhere.sock").display());
    write(&home.path(".local/state/meshlink/api.json"), &api);
    assert!(answers(&home, &mut home.bare(&["status"])));
    write(&home.path("other/meshlink/api.json"), &api);
    assert!(answers(&home, home.bare(&["status"]).env("XDG_STATE_HOME", home.path("other"))));
    assert!(answers(&home, home.bare(&["status"]).env("MESHLINK_STATE_DIR", home.path("other/meshlink"))));
    assert_eq!(fake.lines().len(), 3);
}

#[test]
fn over_tcp_the_state_directorys_token_is_shown() {
    let home = Home::new();
    let fake = Fake::on_port(script(node()));
    let state = home.path("state");
    let api = format!(r#"{{"url": "{}", "socket": "/nowhere/meshd.sock", "pid": 1}}"#, fake.url);
    write(&state.join("api.json"), &api);
    write(&state.join("api-token"), "s3cret\n");
    assert!(answers(&home, home.bare(&["status", "--state-dir"]).arg(&state)));
    let asked = &fake.asked()[0];
    assert_eq!(asked.header("authorization"), Some("Bearer s3cret"));
    assert_eq!(asked.header("host"), fake.url.strip_prefix("http://"));
}

#[test]
fn flags_come_before_the_environment() {
    let home = Home::new();
    let by_flag = Fake::on_port(script(node()));
    let by_socket = Fake::on_socket(&home.socket(), script(node()));
    let nowhere = "http://127.0.0.1:1";
    let env = |command: &mut Command| answers(&home, command.env("MESHLINK_URL", nowhere));
    assert!(!env(&mut home.bare(&["status"])));
    assert!(env(&mut home.bare(&["status", "--url", &by_flag.url])));
    assert!(env(home.bare(&["--socket"]).arg(home.socket()).arg("status")));
    assert_eq!((by_flag.lines().len(), by_socket.lines().len()), (1, 1));
}

#[test]
fn a_named_token_file_is_used_and_has_to_be_there() {
    let home = Home::new();
    let fake = Fake::on_port(script(node()));
    let args = ["status", "--url", &fake.url, "--token-file"];
    write(&home.path("my.token"), "mine");
    assert!(answers(&home, home.bare(&args).arg(home.path("my.token"))));
    assert_eq!(fake.asked()[0].header("authorization"), Some("Bearer mine"));
    let ran = home.finish(home.bare(&args).arg(home.path("no.token")), b"");
    assert_eq!(ran.code, 1);
    assert_eq!(ran.err, "error: can't read the token file ~/no.token: no such file\n");
}

#[test]
fn no_daemon_is_exit_3_with_every_place_and_what_to_do() {
    let home = Home::new();
    write(
        &home.path("state/api.json"),
        r#"{"url": "http://127.0.0.1:1", "socket": "/nowhere/meshd.sock", "pid": 1}"#,
    );
    let ran = home.finish(home.bare(&["send", "hi", "--state-dir"]).arg(home.path("state")), b"");
    assert_eq!((ran.code, ran.out.as_str()), (3, ""));
    insta::assert_snapshot!("no_daemon", ran.err);
}

#[test]
fn a_daemon_that_lets_nobody_in_is_exit_4() {
    let home = Home::new();
    let fake = Fake::on_port(|_| Reply::problem(401, "unauthorized", "a token is needed", None));
    let ran = home.finish(&mut home.bare(&["status", "--url", &fake.url]), b"");
    assert_eq!(ran.code, 4);
    insta::assert_snapshot!("no_token", ran.err);
}

#[test]
fn a_command_stays_with_the_daemon_it_began_with() {
    let home = Home::new();
    write(&home.path("run/meshlink/x"), "");
    // The user's daemon dies in the middle; another one has the place that is tried next.
    let other = Fake::on_port(script(node()));
    let api = format!(r#"{{"socket": "/nowhere", "url": "{}", "pid": 1}}"#, other.url);
    write(&home.path("other/api.json"), &api);
    let socket = home.path("run/meshlink/meshd.sock");
    let first = Fake::on_socket(&socket, |_| Reply::Nothing);
    let mut command = home.bare(&["send", "hi", "--timeout", "1s", "--socket"]);
    let ran = home.finish(command.arg(&socket).env("MESHLINK_STATE_DIR", home.path("other")), b"");
    assert_eq!(ran.code, 3, "{}", ran.err);
    assert!(first.lines().len() > 1, "it is tried again");
    assert_eq!(other.lines().len(), 0);
}

#[test]
fn e05_another_machine_gets_a_token_only_when_told_to_and_the_user_is_told_too() {
    let home = Home::new();
    let fake = Fake::on_port(script(node()));
    write(&home.path(".local/state/meshlink/api-token"), "s3cret");
    // Not a loopback address, though this machine takes it for its own.
    let url = fake.url.replace("127.0.0.1", "0.0.0.0");
    let ran = home.finish(&mut home.bare(&["status", "--url", &url]), b"");
    assert_eq!(
        (ran.code, ran.err),
        (0, format!("what goes to {url} can be read on the way, the token too\n"))
    );
    let mut named = home.bare(&["status", "-q", "--url", &url, "--token-file"]);
    assert_eq!(home.finish(named.arg(home.path(".local/state/meshlink/api-token")), b"").err, "");
    let shown: Vec<Option<String>> =
        fake.asked().iter().map(|asked| asked.header("authorization").map(str::to_owned)).collect();
    assert_eq!(shown, [None, Some("Bearer s3cret".to_owned())]);
}

#[test]
fn urls_that_can_not_work_are_usage_errors() {
    let home = Home::new();
    let ran = home.run(&["status", "--url", "https://mesh.example"]);
    assert_eq!(ran.code, 2);
    insta::assert_snapshot!("https", ran.err);
    assert_eq!(home.run(&["status", "--url", "http://x/v1"]).code, 2);
    assert_eq!(home.run(&["status", "--url", "http://x", "--socket", "/y"]).code, 2);
}

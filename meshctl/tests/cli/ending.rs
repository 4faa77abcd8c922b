//! How commands end: exit codes, words for what went wrong, pipes and signals.

use crate::fake::{Fake, Reply};
use crate::objects::*;
use crate::run::{Home, exit_code, interrupt};
use serde_json::json;
use std::process::Stdio;
use std::sync::mpsc;

#[test]
fn problems_become_exit_codes_and_words() {
    let cases = [
        (400, "bad_host", 1),
        (401, "unauthorized", 4),
        (403, "insufficient_scope", 4),
        (404, "not_found", 5),
        (409, "ambiguous_id", 1),
        (422, "invalid_id", 1),
        (422, "unknown_recipient", 5),
        (429, "too_many_failures", 4),
        (500, "store_failed", 1),
        (503, "stopping", 1),
        (507, "insufficient_storage", 1),
    ];
    let mut words = String::new();
    for (status, code, exit) in cases {
        let home = Home::new();
        let _fake = Fake::on_socket(&home.socket(), move |_| {
            Reply::problem(status, code, "the detail", Some("the hint"))
        });
        let ran = home.run(&["show", "abcd", "--json"]);
        assert_eq!((ran.code, ran.out.as_str()), (exit, ""), "{status}");
        words.push_str(&format!("{status}: {}", ran.err));
    }
    insta::assert_snapshot!("problems", words);
}

#[test]
fn more_is_said_with_v() {
    let home = Home::new();
    let _fake = Fake::on_socket(&home.socket(), |_| Reply::problem(409, "ambiguous_id", "which one?", None));
    let ran = home.run(&["show", "abcd", "-v"]);
    assert_eq!(ran.err, "error: which one?\nproblem: A problem (ambiguous_id, HTTP 409)\n");
}

#[test]
fn the_head_decides_not_the_body() {
    let home = Home::new();
    let body = json!({"type": "x", "title": "T", "status": 200, "detail": "fine", "code": "ok"}).to_string();
    let _fake = Fake::on_socket(&home.socket(), move |_| Reply::text(404, "application/problem+json", &body));
    assert_eq!(home.run(&["show", "abcd"]).code, 5);
}

#[test]
fn usage_errors_are_exit_2_and_ask_nobody() {
    let home = Home::new();
    let fake = Fake::on_socket(&home.socket(), |_| Reply::Nothing);
    for args in [
        &["frobnicate"][..],
        &["send", "a", "b"],
        &["send", ""],
        &["send", "x", "--ttl", "5s"],
        &["send", "x", "--priority", "high"],
        &["send", "x", "--wait", "eaten"],
        &["watch", "-n", "0"],
        &["watch", "--timeout", "soon"],
        &["watch", "--since", "a", "--cursor", "b"],
        &["list", "--limit", "0"],
        &["list", "--limit", "5", "--all"],
        &["status", "--json=2"],
        &["status", "-q", "-v"],
        &["search"],
        &["search", " "],
        &["forget"],
        &["token", "create", "x", "--scope", "root"],
    ] {
        let ran = home.run(args);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{args:?}");
        assert!(ran.err.starts_with("error: "), "{args:?}: {}", ran.err);
    }
    assert_eq!(fake.lines(), Vec::<String>::new());
}

#[test]
fn a_closed_pipe_is_success() {
    let home = Home::new();
    let (closed, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let _fake = Fake::on_socket(&home.socket(), move |_| {
        wait.lock().unwrap().recv().expect("the test closes the pipe first");
        Reply::json(&page(&vec![message("m1", "hi"); 50]))
    });
    for args in [&["list"][..], &["list", "--json"]] {
        let mut child = home.meshctl(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        closed.send(()).unwrap();
        let ran = home.end(child);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{args:?}");
    }
}

#[test]
fn a_full_disk_behind_standard_output_is_no_success() {
    let home = Home::new();
    let _fake = Fake::on_socket(&home.socket(), script(vec![("GET /v1/status", status())]));
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut child = home.meshctl(&["status"]).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    let err = child.stderr.take();
    assert_eq!(exit_code(&mut child), 1);
    let mut words = String::new();
    std::io::Read::read_to_string(&mut err.unwrap(), &mut words).unwrap();
    assert!(words.starts_with("error: can't write to standard output"), "{words}");
}

#[test]
fn ctrl_c_is_130_while_waiting() {
    let home = Home::new();
    let fake = Fake::on_socket(&home.socket(), |asked| match asked.target.as_str() {
        "/v1/status" => Reply::json(&status()),
        _ => Reply::Open(String::new()),
    });
    let mut child = home.meshctl(&["watch"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    fake.wait_for("GET /v1/events");
    interrupt(&child);
    assert_eq!(exit_code(&mut child), 130);
}

#[test]
fn a_daemon_that_hangs_up_is_exit_3() {
    let home = Home::new();
    let _fake = Fake::on_socket(&home.socket(), |_| Reply::Nothing);
    let ran = home.run(&["status"]);
    assert_eq!(ran.code, 3);
    assert_eq!(
        ran.err,
        "error: the connection to ~/meshd.sock was lost: it was closed before the answer was complete\n\
         hint: see whether it still runs: `meshctl status`\n"
    );
}

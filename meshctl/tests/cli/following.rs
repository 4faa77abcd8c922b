//! `watch`.

use crate::fake::{Asked, Fake, Reply};
use crate::objects::*;
use crate::run::{Home, Ran};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A daemon whose newest position is `c-now` and whose event streams are these, the last one again and again.
fn telling(home: &Home, streams: Vec<(bool, String)>) -> Fake {
    let count = AtomicUsize::new(0);
    Fake::on_socket(&home.socket(), move |asked| {
        if asked.target == "/v1/status" {
            return Reply::json(&status());
        }
        let (open, text) = &streams[count.fetch_add(1, Ordering::SeqCst).min(streams.len() - 1)];
        if *open { Reply::Open(text.clone()) } else { Reply::Cut(text.clone()) }
    })
}

fn texts(ran: &Ran) -> Vec<String> {
    let texts = ran.out.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON lines"));
    texts.map(|message| message["text"].as_str().expect("a text").to_owned()).collect()
}

#[test]
fn news_are_printed_a_line_each_and_counted() {
    let home = Home::new();
    let sos = with(message("m2", "two\nlines"), &[("/priority", "sos".into())]);
    let claim = with(
        message("m3", "hi"),
        &[("/from/authenticated", false.into()), ("/from/id", "relay:web-7".into())],
    );
    let news = [news(&message("m1", "hello")), "\n: keep-alive\n".into(), news(&sos), news(&claim)].concat();
    let fake = telling(&home, vec![(true, news)]);
    let ran = home.run(&["watch", "-n", "3"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    insta::assert_snapshot!("watch", format!("{}stderr: {}", ran.out, ran.err));
    assert_eq!(
        fake.lines(),
        ["GET /v1/status", "GET /v1/events?since=c-now"],
        "from the moment it was started"
    );
    assert_eq!(fake.asked()[1].header("accept"), Some("application/x-ndjson"));
}

#[test]
fn json_is_the_message_of_the_api_a_line_each() {
    let home = Home::new();
    let fake = telling(&home, vec![(true, news(&message("m1", "a\nb")) + &news(&message("m2", "c")))]);
    let ran = home.run(&["watch", "-n", "2", "--json", "--since", "c-old"]);
    let lines: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines, [message("m1", "a\nb"), message("m2", "c")]);
    assert_eq!(fake.lines(), ["GET /v1/events?since=c-old"]);
}

#[test]
fn filters_choose_and_own_messages_are_left_out() {
    let home = Home::new();
    let other = with(
        message("m2", "zoe"),
        &[
            ("/from/id", node_id("zoe3").into()),
            ("/from/name", "Zoe".into()),
            ("/conversation", "#medics".into()),
            ("/to", "#medics".into()),
        ],
    );
    let end = with(message("m4", "end"), &[("/from/id", "end".into()), ("/from/name", "End".into())]);
    let all = [message("m1", "ana"), other, own("m3", "mine", "pending"), end];
    let stream: String = all.iter().map(news).collect();
    let _fake = telling(&home, vec![(true, stream)]);
    let shown = |args: &[&str]| {
        let ran = home.run(&[&["watch", "--json", "--timeout", "400ms"], args].concat());
        assert_eq!(ran.code, 6, "{}", ran.err);
        texts(&ran)
    };
    assert_eq!(shown(&[]), ["ana", "zoe", "end"]);
    assert_eq!(shown(&["--own"]), ["ana", "zoe", "mine", "end"]);
    assert_eq!(shown(&["--from", "me"]), ["mine"]);
    assert_eq!(shown(&["--from", "ana7"]), ["ana"]);
    assert_eq!(shown(&["--from", "an"]), [""; 0], "too short a beginning");
    assert_eq!(shown(&["--from", "Zoe"]), ["zoe"]);
    assert_eq!(shown(&["--to", "#medics"]), ["zoe"]);
    assert_eq!(shown(&["--to", "#med"]), [""; 0], "a channel's name is whole");
}

#[test]
fn time_out_is_exit_6_and_says_how_many_came() {
    let home = Home::new();
    let _fake = telling(&home, vec![(true, news(&message("m1", "x")))]);
    let ran = home.run(&["watch", "-n", "2", "--timeout", "300ms", "-q"]);
    assert_eq!((ran.code, ran.err.as_str()), (6, "error: 1 of 2 messages came within 0.3 s\n"));
}

#[test]
fn a_restarted_daemon_is_followed_on_each_message_once() {
    let home = Home::new();
    let lines = [news(&message("m1", "one")), news(&message("m2", "two")), news(&message("m3", "three"))];
    let cut = &lines[2][..lines[2].len() / 2];
    let first = telling(&home, vec![(true, format!("{}{}{cut}", lines[0], lines[1]))]);
    let mut child = home
        .meshctl(&["watch", "-n", "4", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut text = || serde_json::from_str::<Value>(&out.next().unwrap().unwrap()).unwrap()["text"].clone();
    assert_eq!((text(), text()), ("one".into(), "two".into()));
    drop(first);
    let (sent, last) = std::sync::mpsc::channel();
    let lines = Mutex::new(lines);
    let second = Fake::on_socket(&home.socket(), move |asked: &Asked| {
        sent.send(asked.header("last-event-id").map(str::to_owned)).unwrap();
        let third = std::mem::take(&mut lines.lock().unwrap()[2]);
        Reply::Open(third + &news(&message("m4", "four")))
    });
    assert_eq!((text(), text()), ("three".into(), "four".into()));
    assert_eq!(last.recv().unwrap().as_deref(), Some("c-m2"), "after the last whole event");
    assert_eq!(second.lines(), ["GET /v1/events"]);
    let ran = home.end(child);
    assert_eq!(ran.code, 0);
    let said: Vec<&str> = ran.err.lines().collect();
    assert_eq!(said.len(), 3, "it says so once each: {}", ran.err);
    assert_eq!(said[0], "watching; Ctrl-C ends it");
    assert!(said[1].starts_with("the connection to ~/meshd.sock was lost: "), "{}", said[1]);
    assert_eq!(said[2], "connected again");
}

#[test]
fn a_restarted_daemon_is_found_at_its_new_port() {
    let home = Home::new();
    let state = home.path("state");
    let name = |fake: &Fake| {
        let api = format!(r#"{{"url": "{}", "socket": "/nowhere/meshd.sock", "pid": 1}}"#, fake.url);
        crate::run::write(&state.join("api.json"), &api);
    };
    let first = Fake::on_port(|_| Reply::Open(news(&message("m1", "one"))));
    name(&first);
    let mut command = home.bare(&["watch", "-n", "2", "--json", "--since", "c-0", "--state-dir"]);
    let mut child = command.arg(&state).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
    out.next().unwrap().unwrap();
    let second = Fake::on_port(|_| Reply::Open(news(&message("m2", "two"))));
    name(&second);
    drop(first);
    assert!(out.next().unwrap().unwrap().contains("two"));
    assert_eq!(home.end(child).code, 0);
}

#[test]
fn a_gap_is_told_and_the_rest_is_shown() {
    let home = Home::new();
    let stream = event("g", "gap", &json!({"oldest": "c-9"})) + &news(&message("m9", "after"));
    let _fake = telling(&home, vec![(true, stream)]);
    let ran = home.run(&["watch", "-n", "1", "--json", "--since", "c-1", "-q"]);
    assert_eq!(texts(&ran), ["after"]);
    assert!(ran.err.starts_with("warning: the daemon no longer keeps all events"), "{}", ran.err);
}

#[test]
fn events_this_version_does_not_know_are_passed_over_but_counted_as_seen() {
    let home = Home::new();
    let fake = telling(
        &home,
        vec![
            (false, event("c-7", "planet.rise", &json!({"any": "thing"}))),
            (true, news(&message("m1", "hi"))),
        ],
    );
    let ran = home.run(&["watch", "-n", "1"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(fake.asked()[2].header("last-event-id"), Some("c-7"));
}

#[test]
fn what_trying_again_does_not_mend_ends_it() {
    let home = Home::new();
    let count = AtomicUsize::new(0);
    let _fake = Fake::on_socket(&home.socket(), move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::Cut(news(&message("m1", "one"))),
        1 => Reply::problem(503, "stopping", "the daemon is stopping", None),
        _ => Reply::problem(401, "unauthorized", "the token was taken back", None),
    });
    let ran = home.run(&["watch", "--since", "c-0", "--json"]);
    assert_eq!((ran.code, texts(&ran)), (4, vec!["one".to_owned()]));
    assert!(ran.err.contains("error: the token was taken back"), "{}", ran.err);
}

#[test]
fn a_daemon_that_is_absent_from_the_start_is_exit_3_at_once() {
    let home = Home::new();
    assert_eq!(home.run(&["watch"]).code, 3);
    assert_eq!(home.run(&["watch", "--since", "c-1"]).code, 3);
}

#[test]
fn a_named_position_is_kept_after_each_message() {
    let home = Home::new();
    let kept = Mutex::new(None::<String>);
    let fake = Fake::on_socket(&home.socket(), move |asked| {
        let mut kept = kept.lock().unwrap();
        let answer =
            |cursor: &str| Reply::json(&json!({"name": "bot", "cursor": cursor, "updated_at": null}));
        match (asked.method.as_str(), asked.target.split('?').next().unwrap()) {
            ("GET", "/v1/status") => Reply::json(&status()),
            ("PUT", "/v1/cursors/bot") => {
                *kept = asked.json()["cursor"].as_str().map(str::to_owned);
                answer(kept.as_deref().unwrap())
            }
            ("GET", "/v1/cursors/bot") => match kept.as_deref() {
                Some(cursor) => answer(cursor),
                None => Reply::problem(404, "not_found", "no such position", None),
            },
            _ if asked.target.contains("since=c-m2") => Reply::Open(news(&message("m3", "three"))),
            _ => Reply::Open(news(&message("m1", "one")) + &news(&message("m2", "two"))),
        }
    });
    let first = home.run(&["watch", "-n", "2", "--json", "--cursor", "bot"]);
    let second = home.run(&["watch", "-n", "1", "--json", "--cursor", "bot"]);
    assert_eq!(texts(&first), ["one", "two"]);
    assert_eq!(texts(&second), ["three"]);
    let puts: Vec<Value> = fake
        .asked()
        .iter()
        .filter(|asked| asked.method == "PUT")
        .map(|asked| asked.json()["cursor"].clone())
        .collect();
    assert_eq!(puts, ["c-now", "c-m1", "c-m2", "c-m3"], "also where the first watch began");
}

#[test]
fn e04_a_command_gets_the_message_as_data_never_as_shell() {
    let home = Home::new();
    let text = "$(touch pwned) `touch pwned`; touch pwned \"'\n-n\0end";
    let hostile = with(message("m1", text), &[("/from/name", "'; touch pwned; '".into())]);
    let _fake = telling(&home, vec![(true, news(&hostile) + &news(&message("m2", "second")))]);
    std::fs::create_dir(home.path("work")).unwrap();
    let script = r#"printf '%s|' "$MESHLINK_ID" "$MESHLINK_FROM" "$MESHLINK_FROM_NAME" "$MESHLINK_AUTHENTICATED" \
        "$MESHLINK_TO" "$MESHLINK_CONVERSATION" "$MESHLINK_TEXT" "$MESHLINK_PROTECTION" "$MESHLINK_PRIORITY"; cat"#;
    let mut command = home.meshctl(&["watch", "-n", "2", "--exec", script]);
    let ran = home.finish(command.current_dir(home.path("work")), b"");
    assert_eq!((ran.code, ran.err.as_str()), (0, "watching; Ctrl-C ends it\n"));
    assert_eq!(std::fs::read_dir(home.path("work")).unwrap().count(), 0, "nothing was touched");
    let (first, json) = ran.out.split_once("normal|").unwrap();
    assert_eq!(
        first,
        format!(
            "{}|{}|'; touch pwned; '|true|#mesh|#mesh|{}|public|",
            message_id("m1"),
            node_id("ana7"),
            text.replace('\0', "\u{fffd}")
        )
    );
    assert_eq!(serde_json::from_str::<Value>(json.lines().next().unwrap()).unwrap(), hostile);
}

#[test]
fn a_failing_command_is_told_of_and_the_next_message_has_its_turn() {
    let home = Home::new();
    let _fake = telling(&home, vec![(true, news(&message("m1", "x")) + &news(&message("m2", "y")))]);
    let ran = home.run(&["watch", "-n", "2", "-q", "--exec", "echo \"$MESHLINK_TEXT\"; exit 7"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "x\ny\n"));
    assert!(ran.err.starts_with("warning: the command ended with exit status: 7 (message m1"), "{}", ran.err);
}

#[test]
fn a_command_talks_to_the_same_daemon() {
    let home = Home::new();
    let fake = Fake::on_port(|_| Reply::Open(news(&message("m1", "x"))));
    crate::run::write(&home.path("t"), "s3cret");
    let mut command =
        home.bare(&["watch", "-n", "1", "-q", "--since", "c-0", "--url", &fake.url, "--token-file"]);
    command.arg(home.path("t")).args(["--exec", "echo $MESHLINK_URL $MESHLINK_TOKEN_FILE; env"]);
    let ran = home.finish(&mut command, b"");
    assert!(ran.out.starts_with(&format!("{} ~/t\n", fake.url)), "{}", ran.out);
    assert!(!ran.out.contains("s3cret"), "no secret in the environment");
}

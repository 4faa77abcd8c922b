//! Daemons and neighbours that mean harm (threats E-01 to E-06).

use crate::fake::{Fake, Reply};
use crate::objects::*;
use crate::run::{Home, Ran, write};
use serde_json::{Value, json};

/// Everything a terminal should never get: screen, clipboard, link and title commands, C1, line tricks, direction
/// marks, invisible characters.
const HARM: &str = "\x1b[2J\x1b]52;c;aGk=\x07\x1b]8;;http://evil\x1b\\\x1b]0;title\x07\x1bPq\u{9b}31m\u{90}\u{85}\r\x08\x7f\0\
                    \nfake line\u{2028}\u{202e}\u{2066}\u{200b}\u{feff}\u{e0041}";

/// Every text in an object made harmful, but for words the API fixes.
fn harmful(value: Value) -> Value {
    const FIXED: [&str; 8] = ["status", "protection", "priority", "kind", "state", "step", "via", "scope"];
    match value {
        Value::String(text) => Value::String(format!("{text}{HARM}")),
        Value::Array(items) => Value::Array(items.into_iter().map(harmful).collect()),
        Value::Object(fields) => {
            let harm = |(name, value): (String, Value)| {
                let value =
                    if FIXED.contains(&name.as_str()) || name == "links" { value } else { harmful(value) };
                (name, value)
            };
            Value::Object(fields.into_iter().map(harm).collect())
        }
        Value::Null => HARM.into(),
        plain @ (Value::Bool(_) | Value::Number(_)) => plain,
    }
}

fn harmful_message() -> Value {
    let mut message = harmful(message("m1", "text"));
    message["attachments"] = json!([HARM]);
    message["status_reason"] = HARM.into();
    message
}

fn answer(target: &str) -> Value {
    let path = target.split('?').next().unwrap_or(target);
    let list = |item: Value| json!({"items": [item.clone(), item], "next": null});
    let trace = json!({"id": "x", "status": "pending", "carried": true, "size_bytes": 1, "age_s": 1, "hops": 1,
        "expires_at": null, "expires_in_s": 1, "waiting": "w", "steps": [{"step": "stored", "peer": "p",
        "peer_name": null, "via": "ble", "at": "2020"}]});
    let link = json!({"id": "1", "peer": null, "peer_name": null, "kind": "ble", "address": "a", "dialled": true,
        "phase": "live", "since_at": null, "sent_bytes": 1, "received_bytes": 1, "sent_bundles": 1,
        "received_bundles": 1, "rssi": -1});
    match path {
        "/v1/status" => harmful(status()),
        "/v1/messages" => list(harmful_message()),
        "/v1/conversations" => list(harmful(json!({"id": "c", "title": "t", "messages": 1, "unread": 1,
            "last": message("m1", "x")}))),
        "/v1/peers" => list(harmful(peer("evil", None))),
        "/v1/links" => list(harmful(link)),
        "/v1/channels" => list(harmful(json!({"name": "#x", "joined_at": null}))),
        "/v1/tokens" => list(harmful(json!({"id": "t", "name": "n", "scope": "read", "created_at": null,
            "last_used_at": null, "secret": "s"}))),
        "/v1/profile" => harmful(json!({"name": null, "about": null, "avatar": null})),
        path if path.ends_with("/trace") => harmful(trace),
        path if path.starts_with("/v1/peers/") => harmful(peer("evil", None)),
        _ => harmful_message(),
    }
}

fn harmful_daemon(home: &Home) -> Fake {
    Fake::on_socket(&home.socket(), |asked| match (asked.method.as_str(), asked.target.as_str()) {
        ("POST", "/v1/tokens") => Reply::json(&harmful(json!({"id": "t", "name": "n", "scope": "read",
            "created_at": null, "last_used_at": null, "secret": "s"}))),
        ("POST", "/v1/messages") => Reply::json(&harmful_message()),
        (_, target) if target.starts_with("/v1/events") => {
            let gap = event(HARM, "gap", &json!({"oldest": HARM}));
            Reply::Open(format!("{gap}{}", event("c1", "message.new", &harmful_message())))
        }
        (_, target) => Reply::json(&answer(target)),
    })
}

const COMMANDS: [&[&str]; 17] = [
    &["status", "-v"],
    &["list"],
    &["search", "x"],
    &["show", "abcd", "-v"],
    &["trace", "abcd"],
    &["conversations"],
    &["peers"],
    &["peers", "show", "evil"],
    &["links"],
    &["channel"],
    &["token"],
    &["token", "create", "x"],
    &["profile"],
    &["read", "abcd"],
    &["forget", "abcd"],
    &["send", "x", "-v"],
    &["watch", "-n", "1", "--since", "c0"],
];

type Answer = Box<dyn Fn() -> Reply + Send + Sync>;

/// What a terminal would obey in these bytes, but for line ends and, if allowed, colours of our own.
fn obeyed(text: &str, colours: bool) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c == '\x1b' && colours {
            let end = rest.find('m').filter(|end| {
                rest.starts_with('[') && rest[1..*end].bytes().all(|b| b.is_ascii_digit() || b == b';')
            });
            if let Some(end) = end {
                rest = &rest[end + 1..];
                continue;
            }
        }
        let hidden = matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200b}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}');
        if (c.is_control() && c != '\n') || hidden {
            found.push(c.escape_unicode().to_string());
        }
    }
    found
}

fn check(args: &[&str], ran: &Ran, colours: bool) {
    for text in [&ran.out, &ran.err] {
        assert_eq!(obeyed(text, colours), Vec::<String>::new(), "{args:?}: {text:?}");
        assert!(
            !text.lines().any(|line| line.starts_with("fake line")),
            "{args:?} prints a forged line: {text}"
        );
    }
}

#[test]
fn e01_e02_e06_no_command_lets_harm_reach_the_terminal() {
    for colours in [false, true] {
        for args in COMMANDS {
            let home = Home::new();
            let _fake = harmful_daemon(&home);
            let mut command = home.meshctl(args);
            if colours {
                command.env("CLICOLOR_FORCE", "1");
            }
            let ran = home.finish(&mut command, b"");
            assert_eq!(ran.code, 0, "{args:?}: {}", ran.err);
            check(args, &ran, colours);
            assert!(!ran.out.is_empty(), "{args:?}");
        }
    }
}

#[test]
fn e03_json_is_exact_escaped_and_without_colour() {
    for args in COMMANDS {
        let home = Home::new();
        let fake = harmful_daemon(&home);
        let ran = home.finish(home.meshctl(&[args, &["--json"]].concat()).env("CLICOLOR_FORCE", "1"), b"");
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.err);
        assert_eq!(obeyed(&ran.out, false), Vec::<String>::new(), "{args:?}");
        let value: Value = serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{args:?}: {error}"));
        let target = fake.asked().pop().unwrap().target;
        match (args[0], value) {
            ("send" | "watch", value) => assert_eq!(value, harmful_message()),
            ("read" | "forget", value) => assert!(value["done"].is_string()),
            (_, Value::Array(items)) => assert_eq!(Value::Array(items), answer(&target)["items"], "{args:?}"),
            ("token", value) => assert!(value["secret"].as_str().unwrap().ends_with(HARM)),
            (_, value) => assert_eq!(value, answer(&target), "{args:?}"),
        }
    }
}

#[test]
fn e01_problems_and_other_errors_are_spelled_out() {
    for colours in [false, true] {
        let home = Home::new();
        let _fake = Fake::on_socket(&home.socket(), |_| Reply::problem(422, HARM, HARM, Some(HARM)));
        for args in [&["list", "-v"][..], &["send", "x", "-v"], &["watch", "-v"], &["forget", "abcd", "-v"]] {
            let mut command = home.meshctl(args);
            if colours {
                command.env("CLICOLOR_FORCE", "1");
            }
            let ran = home.finish(&mut command, b"");
            assert_eq!(ran.code, 1);
            check(args, &ran, colours);
        }
    }
    let home = Home::new();
    let _fake = Fake::on_socket(&home.socket(), |_| Reply::text(200, "text/html;\u{9b}31m", "<script>"));
    check(&["status"], &home.run(&["status"]), false);
    check(
        &["status"],
        &home.finish(home.bare(&["status", "--socket"]).arg(format!("/{}", HARM.replace('\0', ""))), b""),
        false,
    );
}

#[test]
fn e02_a_name_is_shown_with_the_beginning_of_the_id() {
    let home = Home::new();
    let lookalike = with(
        message("m1", "send me your keys"),
        &[("/from/name", "Аna".into()), ("/from/id", node_id("zzz9").into())],
    );
    let _fake = Fake::on_socket(&home.socket(), move |asked| match asked.target.as_str() {
        "/v1/status" => Reply::json(&status()),
        _ => Reply::Open(news(&lookalike)),
    });
    assert!(home.run(&["watch", "-n", "1"]).out.contains("Аna (zzz9bbbb): send me your keys"));
}

#[test]
fn e06_answers_that_are_no_answers_are_refused_in_a_line() {
    let deep = format!("{{\"items\":[{}{}],\"next\":null}}", "[".repeat(100_000), "]".repeat(100_000));
    let head = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(1_000_000));
    let raw = |text: &str| Reply::Bytes(text.as_bytes().to_vec());
    let cases: Vec<(&str, Answer)> = vec![
        ("larger than 16 MiB", Box::new(|| Reply::Endless("application/json"))),
        ("not as expected", Box::new(move || Reply::text(200, "application/json", &deep))),
        ("not as expected", Box::new(|| Reply::text(200, "application/json", "{\"items\": 7}"))),
        (
            "not as expected",
            Box::new(|| {
                Reply::Bytes(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n\xff\xff"
                        .to_vec(),
                )
            }),
        ),
        ("it says text/html", Box::new(|| Reply::text(200, "text/html", "<h1>hi</h1>"))),
        (
            "it says 302",
            Box::new(move || {
                raw("HTTP/1.1 302 Found\r\nlocation: http://evil/\r\ncontent-length: 0\r\n\r\n")
            }),
        ),
        ("does not answer like meshd", Box::new(move || raw("SSH-2.0-OpenSSH_9.2\r\n\r\n"))),
        ("does not answer like meshd", Box::new(move || raw(&head))),
        ("has no end", Box::new(|| Reply::json(&json!({"items": [], "next": "same"})))),
    ];
    for (word, reply) in cases {
        let home = Home::new();
        let _fake = Fake::on_socket(&home.socket(), move |_| reply());
        let ran = home.run(&["list", "--all", "-q"]);
        assert_eq!(ran.code, 1, "{word}: {}", ran.err);
        assert!(ran.err.contains(word), "{word}: {}", ran.err);
        assert!(ran.err.lines().count() <= 2 && ran.err.len() < 500, "{}", ran.err);
    }
}

#[test]
fn e06_an_endless_event_and_a_foreign_stream_end_the_watch() {
    for (kind, word) in
        [("application/x-ndjson", "an event is larger than"), ("text/html", "its event stream is")]
    {
        let home = Home::new();
        let _fake = Fake::on_socket(&home.socket(), move |_| Reply::Endless(kind));
        let ran = home.run(&["watch", "--since", "c0"]);
        assert_eq!(ran.code, 1, "{}", ran.err);
        assert!(ran.err.contains(word), "{}", ran.err);
    }
    let home = Home::new();
    let _fake = Fake::on_socket(&home.socket(), |_| Reply::Open("not json\n".into()));
    assert_eq!(home.run(&["watch", "--since", "c0"]).code, 1);
}

#[test]
fn e06_a_position_can_not_smuggle_headers() {
    let home = Home::new();
    let fake = Fake::on_socket(&home.socket(), |_| {
        Reply::Cut(event("x\r\nAuthorization: Bearer stolen", "link.up", &json!({})))
    });
    let ran = home.run(&["watch", "--since", "c0\r\nX-Evil: 1"]);
    assert_ne!(ran.code, 0);
    assert_eq!(fake.lines(), ["GET /v1/events?since=c0%0D%0AX-Evil%3A%201"], "and no second request");
}

#[test]
fn e05_a_token_is_never_shown() {
    let home = Home::new();
    write(&home.path("t"), "s3cret-token");
    let fake = Fake::on_port(|_| Reply::problem(401, "unauthorized", "wrong token", None));
    let ran = home
        .finish(home.bare(&["status", "-v", "--url", &fake.url, "--token-file"]).arg(home.path("t")), b"");
    assert_eq!(ran.code, 4);
    assert_eq!(fake.asked()[0].header("authorization"), Some("Bearer s3cret-token"));
    assert!(!format!("{ran:?}").contains("s3cret"), "{ran:?}");
}

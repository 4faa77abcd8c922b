//! `send`.

use crate::fake::{Fake, Reply};
use crate::objects::*;
use crate::run::Home;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A daemon that stores whatever is sent, and whose events are `events`.
fn storing(home: &Home, events: &'static [(&'static str, &'static str)]) -> Fake {
    Fake::on_socket(&home.socket(), move |asked| match asked.line().as_str() {
        "POST /v1/messages" => Reply::json(&own("mine", "hi", "pending")),
        line if line.ends_with("/trace") => Reply::json(&json!({
            "id": message_id("mine"), "status": "pending", "carried": true, "size_bytes": 1, "age_s": 1, "hops": 0,
            "expires_at": null, "expires_in_s": 9, "waiting": "no neighbour is near", "steps": [],
        })),
        _ => {
            let lines = events.iter().map(|(id, status)| {
                let mut message = own(id, "hi", status);
                message["status_reason"] = if *status == "failed" { "too large".into() } else { Value::Null };
                event(&format!("e-{status}"), "message.status", &message)
            });
            Reply::Open(lines.collect())
        }
    })
}

fn texts(fake: &Fake) -> Vec<String> {
    fake.asked().iter().map(|asked| asked.json()["text"].as_str().expect("a text").to_owned()).collect()
}

#[test]
fn id_and_status_are_printed_and_everything_is_passed_on() {
    let home = Home::new();
    let fake = storing(&home, &[]);
    let ran = home.run(&["send", "hi"]);
    assert_eq!((ran.code, ran.out, ran.err.as_str()), (0, format!("{} pending\n", message_id("mine")), ""));
    assert_eq!(fake.asked()[0].json(), json!({"to": "#mesh", "text": "hi", "priority": "normal"}));
    let args = ["send", "hi", "--to", "#medics", "--priority", "sos", "--ttl", "1h", "--reply-to"];
    let ran = home.run(&[&args[..], &[&message_id("q"), "--json"]].concat());
    assert_eq!(serde_json::from_str::<Value>(&ran.out).unwrap(), own("mine", "hi", "pending"));
    assert_eq!(
        fake.asked()[1].json(),
        json!({"to": "#medics", "text": "hi", "priority": "sos", "ttl_s": 3600, "reply_to": message_id("q")})
    );
}

#[test]
fn e04_a_text_may_begin_with_a_dash_and_may_come_from_standard_input() {
    let home = Home::new();
    let fake = storing(&home, &[]);
    assert_eq!(home.run(&["send", "--", "-5 degrees"]).code, 0);
    assert_eq!(home.run(&["send", "--", "--help"]).code, 0);
    assert_eq!(home.finish(&mut home.meshctl(&["send", "-"]), b"from stdin\n").code, 0);
    assert_eq!(home.finish(&mut home.meshctl(&["send"]), "über\r\nzwei\r\n\r\n".as_bytes()).code, 0);
    assert_eq!(texts(&fake), ["-5 degrees", "--help", "from stdin", "über\r\nzwei\r\n"]);
    let ran = home.run(&["send", "-x"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("-- -x"), "it says how: {}", ran.err);
}

#[test]
fn sizes_are_checked_before_anything_is_sent() {
    let home = Home::new();
    let fake = storing(&home, &[]);
    let most = "ä".repeat(8_192);
    assert_eq!(home.run(&["send", &most]).code, 0);
    assert_eq!(home.finish(&mut home.meshctl(&["send", "-"]), format!("{most}\r\n").as_bytes()).code, 0);
    assert_eq!(texts(&fake), [most.clone(), most.clone()]);
    let long = format!("{most}x");
    let ran = home.run(&["send", &long]);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (2, "error: the message is longer than 16384 bytes\nhint: send it in parts\n")
    );
    for (input, word) in [
        (format!("{long}\n").into_bytes(), "longer"),
        (vec![b'x'; 1_000_000], "longer"),
        (b"\xff\xfe".to_vec(), "not UTF-8"),
        (b"\n".to_vec(), "empty"),
        (Vec::new(), "empty"),
    ] {
        let ran = home.finish(&mut home.meshctl(&["send", "-"]), &input);
        assert_eq!(ran.code, 2, "{}", ran.err);
        assert!(ran.err.contains(word), "{}", ran.err);
    }
    assert_eq!(fake.lines().len(), 2);
}

#[test]
fn a13_a_lost_answer_is_asked_for_again_with_the_same_key() {
    let home = Home::new();
    let count = AtomicUsize::new(0);
    let fake = Fake::on_socket(&home.socket(), move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::Nothing,
        1 => Reply::problem(503, "stopping", "the daemon is stopping", None),
        _ => Reply::json(&own("mine", "hi", "pending")),
    });
    let ran = home.run(&["send", "hi", "-v"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let asked = fake.asked();
    assert_eq!(asked.len(), 3);
    let key = asked[0].header("idempotency-key").expect("a key");
    assert_eq!(key.len(), 26, "128 bits in base32");
    assert!(
        asked.iter().all(|again| again.header("idempotency-key") == Some(key) && again.body == asked[0].body)
    );
    assert!(ran.err.contains("trying again with the same key"), "{}", ran.err);
    home.run(&["send", "hi"]);
    assert_ne!(fake.asked()[3].header("idempotency-key"), Some(key), "a new message has a new key");
}

#[test]
fn a_refused_message_is_not_sent_again() {
    let home = Home::new();
    let fake = Fake::on_socket(&home.socket(), |_| {
        Reply::problem(507, "insufficient_storage", "the disk is full", Some("make room"))
    });
    let ran = home.run(&["send", "hi"]);
    assert_eq!((ran.code, ran.err.as_str()), (1, "error: the disk is full\nhint: make room\n"));
    assert_eq!(fake.lines().len(), 1);
}

#[test]
fn a_daemon_that_does_not_confirm_in_time_is_exit_6() {
    let home = Home::new();
    let _fake = Fake::on_socket(&home.socket(), |_| Reply::Silence);
    let ran = home.run(&["send", "hi", "--timeout", "200ms"]);
    assert_eq!((ran.code, ran.out.as_str()), (6, ""));
    assert!(ran.err.contains("did not confirm the message within 0.2 s"), "{}", ran.err);
}

#[test]
fn waiting_ends_when_the_message_is_that_far() {
    let home = Home::new();
    let fake = storing(&home, &[("else", "read"), ("mine", "synced"), ("mine", "delivered")]);
    let ran = home.run(&["send", "hi", "--wait", "synced"]);
    assert_eq!((ran.code, ran.out), (0, format!("{} synced\n", message_id("mine"))));
    assert_eq!(ran.err, format!("stored as {}; waiting until it is synced\n", message_id("mine")));
    assert_eq!(
        fake.lines()[1],
        "GET /v1/events?types=message.status&since=c-mine",
        "from the answer's position"
    );
    let ran = home.run(&["send", "hi", "--wait", "delivered", "--json", "-q"]);
    assert_eq!(serde_json::from_str::<Value>(&ran.out).unwrap()["status"], "delivered");
    assert!(ran.err.starts_with("warning: a post to #mesh has no one recipient"), "{}", ran.err);
    assert_eq!(
        home.run(&["send", "hi", "--wait", "stored"]).out,
        format!("{} pending\n", message_id("mine"))
    );
}

#[test]
fn waiting_too_long_is_exit_6_with_status_and_reason() {
    let home = Home::new();
    let _fake = storing(&home, &[("else", "synced")]);
    let ran = home.run(&["send", "hi", "--wait", "synced", "--timeout", "300ms", "-q"]);
    assert_eq!((ran.code, ran.out), (6, format!("{} pending\n", message_id("mine"))));
    assert_eq!(
        ran.err,
        format!(
            "error: not synced within 0.3 s; it is pending: no neighbour is near\n\
             hint: it is still under way: `meshctl trace {}` shows how far it is\n",
            message_id("mine")
        )
    );
}

#[test]
fn a_message_that_can_not_arrive_is_exit_1() {
    let home = Home::new();
    let _fake = storing(&home, &[("mine", "failed")]);
    let ran = home.run(&["send", "hi", "--wait", "read", "--to", "someone", "-q"]);
    assert_eq!((ran.code, ran.out), (1, format!("{} failed\n", message_id("mine"))));
    assert!(ran.err.ends_with("error: the message is failed: too large\n"), "{}", ran.err);
}

#[test]
fn waiting_goes_on_over_a_restart_and_a_gap() {
    let home = Home::new();
    let count = AtomicUsize::new(0);
    let fake = Fake::on_socket(&home.socket(), move |asked| match asked.line().as_str() {
        "POST /v1/messages" => Reply::json(&own("mine", "hi", "pending")),
        line if line.starts_with("GET /v1/messages/") => Reply::json(&own("mine", "hi", "synced")),
        _ => match count.fetch_add(1, Ordering::SeqCst) {
            0 => Reply::Cut(event("e1", "message.status", &own("else", "x", "synced"))),
            _ => Reply::Open(event("e2", "gap", &json!({"oldest": "e1"}))),
        },
    });
    let ran = home.run(&["send", "hi", "--wait", "synced"]);
    assert_eq!((ran.code, ran.out), (0, format!("{} synced\n", message_id("mine"))));
    assert_eq!(fake.asked()[2].header("last-event-id"), Some("e1"));
}

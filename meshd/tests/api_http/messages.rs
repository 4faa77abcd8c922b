//! Sending, reading, searching, paging.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::server::{Options, Server};

fn texts(page: &Value) -> Vec<&str> {
    page["items"].as_array().expect("items").iter().map(|item| item["text"].as_str().expect("text")).collect()
}

#[test]
fn a_message_is_stored_and_found_again() {
    let server = Server::start();
    let client = server.client();
    let answer = client.post("/v1/messages", &json!({"text": "hello", "priority": "sos", "ttl_s": 3600}));
    let sent = answer.created();
    let id = sent["id"].as_str().unwrap();
    assert_eq!(answer.field("location"), format!("/v1/messages/{id}"));
    assert_eq!(sent["status"], "pending");
    assert_eq!(sent["protection"], "public");
    assert_eq!(sent["conversation"], "#mesh");
    assert_eq!(sent["from"]["me"], true);
    assert_eq!(client.get(answer.field("location")).ok(), sent);
    assert_eq!(client.get(&format!("/v1/messages/{}", &id[..8])).ok(), sent);
    assert_eq!(client.get(&format!("/v1/messages/{}", id[..8].to_uppercase())).ok(), sent);
    assert_eq!(client.get("/v1/messages").ok()["items"], json!([sent]));
}

#[test]
fn a_text_body_is_a_message() {
    let server = Server::start();
    let client = server.client();
    let send = |target: &str, body: &[u8]| client.send("POST", target, Some(("text/plain", body)));
    assert_eq!(send("/v1/messages?to=%23mesh", b"hi\n").created()["text"], "hi");
    assert_eq!(send("/v1/messages", b"two\nlines\r\n").created()["text"], "two\nlines");
    assert_eq!(send("/v1/messages?priority=bulk&ttl_s=60", b"later").created()["priority"], "bulk");
    assert_eq!(send("/v1/messages", b"\xff").problem(), "malformed_text");
    assert_eq!(send("/v1/messages", b"\n").problem(), "empty_text");
    assert_eq!(send("/v1/messages?priority=high", b"x").problem(), "invalid_query");
    assert_eq!(client.post("/v1/messages?to=%23mesh", &json!({"text": "x"})).problem(), "invalid_query");
}

#[test]
fn what_this_version_cannot_send_is_said_clearly() {
    let server = Server::start();
    let client = server.client();
    let send = |body: Value| {
        let answer = client.post("/v1/messages", &body);
        assert_eq!(answer.status, 422, "{body}");
        answer.problem()
    };
    for to in ["alice", "@alice", ""] {
        assert_eq!(send(json!({"text": "x", "to": to})), "unknown_recipient", "{to}");
    }
    assert_eq!(send(json!({"text": "x", "attachments": ["a"]})), "attachments_unsupported");
    assert_eq!(send(json!({"text": ""})), "empty_text");
    assert_eq!(send(json!({"text": "x".repeat(16_385)})), "text_too_long");
    assert_eq!(send(json!({"text": "x", "ttl_s": 59})), "invalid_lifetime");
    assert_eq!(send(json!({"text": "x", "ttl_s": 2_592_001})), "invalid_lifetime");
    assert_eq!(send(json!({"text": "x", "reply_to": "short"})), "invalid_id");
    assert_eq!(send(json!({"text": "x", "to": "#other"})), "channel_not_joined");
    assert_eq!(send(json!({"text": "x", "to": "#Not A Channel"})), "invalid_name");
    assert_eq!(send(json!({"text": "x\u{0}"})), "invalid_body");
    assert!(client.get("/v1/messages").ok()["items"].as_array().unwrap().is_empty());
}

#[test]
fn a_note_to_oneself_goes_to_me() {
    let server = Server::start();
    let client = server.client();
    let note = client.post("/v1/messages", &json!({"text": "buy salt", "to": "me"})).created();
    assert_eq!(note["to"], client.get("/v1/status").ok()["node_id"]);
    assert_eq!(note["status"], "read");
}

#[test]
fn a13_one_message_for_each_key_however_often_it_is_sent() {
    let server = Server::start();
    let client = server.client().field("idempotency-key", "one");
    let first = client.post("/v1/messages", &json!({"text": "once"}));
    let again = client.post("/v1/messages", &json!({"to": null, "text": "once"}));
    assert_eq!(first.created()["id"], again.created()["id"]);
    assert_eq!(first.field("idempotent-replayed"), "");
    assert_eq!(again.field("idempotent-replayed"), "true");
    assert_eq!(again.field("location"), first.field("location"));
    let other = client.post("/v1/messages", &json!({"text": "twice"}));
    assert_eq!((other.status, other.problem().as_str()), (422, "idempotency_conflict"));
    let another =
        server.client().field("idempotency-key", "two").post("/v1/messages", &json!({"text": "once"}));
    assert_ne!(another.created()["id"], first.created()["id"]);
    assert_eq!(server.client().get("/v1/messages").ok()["items"].as_array().unwrap().len(), 2);
}

#[test]
fn a13_keys_outlast_a_restart_and_belong_to_their_caller() {
    let server = Server::start();
    let client = server.client().field("idempotency-key", "k");
    let first = client.post("/v1/messages", &json!({"text": "x"})).created();
    let bot = server.client_with_scope("send").field("idempotency-key", "k");
    let others = bot.post("/v1/messages", &json!({"text": "y"})).created();
    assert_ne!(first["id"], others["id"]);
    // The owner is the same on the socket and on the port.
    let unix = server.unix_client().field("idempotency-key", "k");
    assert_eq!(unix.post("/v1/messages", &json!({"text": "x"})).created()["id"], first["id"]);
    let server = Server::with(Options { dir: Some(server.stop()), ..Options::default() });
    let client = server.client().field("idempotency-key", "k");
    assert_eq!(client.post("/v1/messages", &json!({"text": "x"})).created()["id"], first["id"]);
    assert_eq!(client.delete(&format!("/v1/messages/{}", first["id"].as_str().unwrap())).status, 204);
    assert_eq!(client.post("/v1/messages", &json!({"text": "x"})).problem(), "message_forgotten");
}

#[test]
fn a13_concurrent_repeats_make_one_message() {
    let server = Server::start();
    let client = server.client().field("idempotency-key", "race");
    let ids: Vec<Value> = std::thread::scope(|scope| {
        let sends: Vec<_> = (0..16)
            .map(|_| {
                scope.spawn(|| client.post("/v1/messages", &json!({"text": "once"})).created()["id"].clone())
            })
            .collect();
        sends.into_iter().map(|send| send.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]));
}

#[test]
fn keys_that_cannot_be_kept_are_refused() {
    let server = Server::start();
    for key in ["", "with space", &"k".repeat(129), "ä"] {
        let answer =
            server.client().field("idempotency-key", key).post("/v1/messages", &json!({"text": "x"}));
        assert_eq!(answer.problem(), "invalid_idempotency_key", "{key:?}");
    }
    let twice = server.client().also("idempotency-key", "a").also("idempotency-key", "a");
    assert_eq!(twice.post("/v1/messages", &json!({"text": "x"})).problem(), "invalid_idempotency_key");
}

#[test]
fn pages_join_without_gap_or_overlap() {
    let server = Server::start();
    let client = server.client();
    for n in 0..7 {
        client.post("/v1/messages", &json!({"text": format!("m{n}")})).created();
    }
    for (order, expected) in [
        ("desc", ["m6", "m5", "m4", "m3", "m2", "m1", "m0"]),
        ("asc", ["m0", "m1", "m2", "m3", "m4", "m5", "m6"]),
    ] {
        let mut seen = Vec::new();
        let mut target = format!("/v1/messages?limit=3&order={order}");
        loop {
            let page = client.get(&target).ok();
            seen.extend(texts(&page).into_iter().map(str::to_owned));
            let Some(next) = page["next"].as_str() else { break };
            target = format!("/v1/messages?limit=3&order={order}&cursor={next}");
        }
        assert_eq!(seen, expected);
    }
}

#[test]
fn since_gives_what_came_after() {
    let server = Server::start();
    let client = server.client();
    let start = client.get("/v1/status").ok()["cursor"].as_str().unwrap().to_owned();
    let first = client.post("/v1/messages", &json!({"text": "first"})).created();
    server.receive("second");
    let page = client.get(&format!("/v1/messages?since={start}&order=asc")).ok();
    assert_eq!(texts(&page), ["first", "second"]);
    let page = client.get(&format!("/v1/messages?since={}", first["cursor"].as_str().unwrap())).ok();
    assert_eq!(texts(&page), ["second"]);
    assert_eq!(client.get("/v1/messages?since=nonsense").problem(), "invalid_cursor");
    let foreign = client.get("/v1/messages?since=00000000-1");
    assert_eq!((foreign.status, foreign.problem().as_str()), (422, "invalid_cursor"));
}

#[test]
fn filters_narrow_and_unknown_ones_are_refused() {
    let server = Server::start();
    let client = server.client();
    client.post("/v1/channels", &json!({"name": "#camp"})).created();
    client.post("/v1/messages", &json!({"text": "the reddish fox", "to": "#camp"})).created();
    client.post("/v1/messages", &json!({"text": "a red kite"})).created();
    server.receive("the blue fox");
    let found = |query: &str| {
        let page = client.get(&format!("/v1/messages?{query}")).ok();
        texts(&page).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(found("conversation=%23camp"), ["the reddish fox"]);
    assert_eq!(found("status=pending"), ["a red kite", "the reddish fox"]);
    assert_eq!(found("q=red"), ["a red kite", "the reddish fox"]);
    assert_eq!(found("q=fox+redd"), ["the reddish fox"]);
    assert_eq!(found("q=%22%29+OR+%28"), Vec::<String>::new());
    assert_eq!(found("conversation=%23nowhere"), Vec::<String>::new());
    for wrong in ["sinec=1", "status=lost", "order=up", "limit=0", "limit=501", "limit=x", "limit=1&limit=2"]
    {
        assert_eq!(client.get(&format!("/v1/messages?{wrong}")).problem(), "invalid_query", "{wrong}");
    }
}

#[test]
fn received_messages_are_unread_until_marked() {
    let server = Server::start();
    let client = server.client();
    let id = server.receive("hello from afar");
    let message = client.get(&format!("/v1/messages/{id}")).ok();
    assert_eq!(
        message["from"],
        json!({"id": "relay:old-client", "name": "old-client", "me": false, "authenticated": false})
    );
    assert_eq!((&message["status"], &message["read"]), (&json!("synced"), &json!(false)));
    let conversation =
        |client: &crate::client::Client| client.get("/v1/conversations").ok()["items"][0].clone();
    assert_eq!(conversation(&client)["unread"], 1);
    assert_eq!(conversation(&client)["last"], message);
    let read = client.post_empty(&format!("/v1/messages/{id}/read")).ok();
    assert_eq!(read["read"], true);
    assert_eq!(client.get(&format!("/v1/messages/{id}")).ok(), read);
    assert_eq!(conversation(&client)["unread"], 0);
    assert_eq!(client.post_empty(&format!("/v1/messages/{id}/read")).ok(), read);
}

#[test]
fn a_forgotten_message_is_gone() {
    let server = Server::start();
    let client = server.client();
    let id =
        client.post("/v1/messages", &json!({"text": "oops"})).created()["id"].as_str().unwrap().to_owned();
    assert_eq!(client.delete(&format!("/v1/messages/{id}")).status, 204);
    for answer in [client.get(&format!("/v1/messages/{id}")), client.delete(&format!("/v1/messages/{id}"))] {
        assert_eq!((answer.status, answer.problem().as_str()), (404, "not_found"));
    }
}

#[test]
fn ids_are_found_by_their_beginning_if_only_one_starts_so() {
    let server = Server::start();
    let client = server.client();
    // Ids are hashes: enough of them, and two begin with the same four characters.
    let ids = server.receive_all((0..4_000).map(|n| format!("message {n}")));
    let mut prefixes = BTreeSet::new();
    let prefix =
        ids.iter().map(|id| &id[..4]).find(|prefix| !prefixes.insert(*prefix)).expect("4000 of 2^20");
    let answer = client.get(&format!("/v1/messages/{prefix}"));
    assert_eq!((answer.status, answer.problem().as_str()), (409, "ambiguous_id"));
    let unknown = (0..)
        .map(|n| format!("aaa{}", char::from(b'a' + n)))
        .find(|p| !ids.iter().any(|id| id.starts_with(p)))
        .unwrap();
    assert_eq!(client.get(&format!("/v1/messages/{unknown}")).problem(), "not_found");
    for wrong in ["abc", "ab1c", "%23mesh", &"a".repeat(53)] {
        let answer = client.get(&format!("/v1/messages/{wrong}"));
        assert_eq!((answer.status, answer.problem().as_str()), (404, "not_found"), "{wrong}");
    }
}

#[test]
fn the_way_that_an_own_sealed_message_makes_up_for_carriers_is_not_shown_to_its_author() {
    let server = Server::start();
    let client = server.client();
    client.post("/v1/groups", &json!({"name": "Camp"})).created();
    for n in 0..20 {
        let sent = client.post("/v1/messages", &json!({"to": "group:Camp", "text": n.to_string()})).created();
        let trace = client.get(&format!("/v1/messages/{}/trace", sent["id"].as_str().unwrap())).ok();
        assert_eq!((&trace["carried"], &trace["hops"]), (&json!(true), &json!(0)), "{n}");
        assert!(trace["age_s"].as_u64().unwrap() < 60, "{trace}");
    }
}

#[test]
fn a_trace_says_why_a_message_waits() {
    use meshlink_core::{LinkKind, TransportState, TransportStatus};
    let server = Server::start();
    let client = server.client();
    let id = client.post("/v1/messages", &json!({"text": "hello", "ttl_s": 600})).created()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let trace = client.get(&format!("/v1/messages/{id}/trace")).ok();
    assert_eq!(trace["waiting"], "no transport is switched on: give meshd a --relay, or Bluetooth");
    assert_eq!((&trace["carried"], &trace["hops"], &trace["steps"]), (&json!(true), &json!(0), &json!([])));
    assert!(trace["size_bytes"].as_u64().unwrap() > 100);
    assert!((590..=600).contains(&trace["expires_in_s"].as_u64().unwrap()));
    let down = TransportStatus {
        kind: LinkKind::Relay,
        name: "ws://relay.example".to_owned(),
        state: TransportState::Down,
        detail: "connection refused".to_owned(),
        hint: None,
    };
    server.write(move |node, now| node.report_transport(down, now));
    let trace = client.get(&format!("/v1/messages/{id}/trace")).ok();
    assert_eq!(trace["waiting"], "no transport works (ws://relay.example: connection refused)");
}

//! What each command prints, for people and for programs.

use crate::fake::{Fake, Reply};
use crate::objects::*;
use crate::run::{Home, Ran, write};
use serde_json::{Value, json};

/// A household of messages, peers and the rest, all at once.
fn answers() -> Vec<(&'static str, Value)> {
    let relayed = with(
        message("relay5", "from a browser"),
        &[
            ("/from/id", "relay:test-1".into()),
            ("/from/name", "Ana".into()),
            ("/from/authenticated", false.into()),
            ("/read", true.into()),
        ],
    );
    let sos = with(message("sos2", "Two injured\nat the bridge"), &[("/priority", "sos".into())]);
    let failed =
        with(own("old9", "gone", "expired"), &[("/created_at", Value::Null), ("/received_at", Value::Null)]);
    let items = [sos.clone(), own("mine", "日本語 is fine", "pending"), relayed, failed];
    let mut blocked = peer("evil", Some("Mallory"));
    blocked["blocked"] = true.into();
    let mut near = peer("ana7", Some("Ana"));
    near["up"] = true.into();
    near["links"] = json!(["ble", "relay"]);
    let links = [
        json!({"id": "3", "peer": node_id("ana7"), "peer_name": "Ana", "kind": "ble", "address": "AA:BB:CC:DD:EE:FF",
               "dialled": true, "phase": "live", "since_at": "2020-01-02T09:00:00Z", "sent_bytes": 1_500,
               "received_bytes": 20, "sent_bundles": 3, "received_bundles": 1, "rssi": -61}),
        json!({"id": "12", "peer": null, "peer_name": null, "kind": "relay", "address": "ws://relay.example:8080",
               "dialled": false, "phase": "handshake", "since_at": null, "sent_bytes": 0, "received_bytes": 0,
               "sent_bundles": 0, "received_bundles": 0, "rssi": null}),
    ];
    let trace = json!({
        "id": message_id("mine"), "status": "pending", "carried": true, "size_bytes": 312, "age_s": 75, "hops": 0,
        "expires_at": null, "expires_in_s": 604_725, "waiting": "no neighbour is near", "steps": [
            {"step": "offered", "peer": node_id("ana7"), "peer_name": "Ana", "via": "ble", "at": "2020-01-02T10:00:00Z"},
            {"step": "stored", "peer": node_id("zoe3"), "peer_name": null, "via": "relay", "at": null},
        ],
    });
    let confirmed = json!({
        "id": message_id("gone"), "status": "read", "carried": false, "size_bytes": null, "age_s": null, "hops": null,
        "expires_at": null, "expires_in_s": 604_725, "waiting": null, "steps": [
            {"step": "delivered", "peer": node_id("ana7"), "peer_name": "Ana", "via": null, "at": "2020-01-02T10:00:00Z"},
            {"step": "read", "peer": null, "peer_name": null, "via": null, "at": "2020-01-02T10:00:00Z"},
        ],
    });
    let conversation = |id: &str, title: &str, unread: u64, last: Value| json!({"id": id, "title": title, "messages": 7, "unread": unread, "last": last});
    vec![
        ("GET /v1/status", status()),
        ("GET /v1/messages?limit=20", page(&items)),
        ("GET /v1/messages?status=pending&conversation=%23mesh&order=asc&limit=2", page(&items[1..2])),
        ("GET /v1/messages?since=c-1&limit=20", page(&[])),
        ("GET /v1/messages?q=two%20injured&limit=20", page(&items[..1])),
        ("GET /v1/messages?q=nothing&limit=20", page(&[])),
        ("GET /v1/messages/sos2", sos),
        ("GET /v1/messages/mine/trace", trace),
        ("GET /v1/messages/gone/trace", confirmed),
        (
            "GET /v1/conversations?limit=100",
            page(&[
                conversation("#mesh", "#mesh", 2, message("m1", "hello")),
                conversation(&node_id("ana7"), "Ana", 0, Value::Null),
            ]),
        ),
        ("GET /v1/peers?limit=100", page(&[near.clone(), blocked, peer("zoe3", None)])),
        ("GET /v1/peers/ana7bbbbbbbbbbbbbbbbbbbbbbbbbbbb", near),
        ("GET /v1/links?limit=100", page(&links)),
        (
            "GET /v1/channels?limit=100",
            page(&[
                json!({"name": "#mesh", "joined_at": null}),
                json!({"name": "#medics", "joined_at": "2020-01-01T00:00:00Z"}),
            ]),
        ),
        (
            "GET /v1/tokens?limit=100",
            page(&[json!({
                "id": "k7", "name": "dashboard", "scope": "read", "created_at": "2020-01-01T00:00:00Z", "last_used_at": null,
            })]),
        ),
        ("GET /v1/profile", json!({"name": "Bo", "about": null, "avatar": null})),
    ]
}

fn run(args: &[&str]) -> Ran {
    let home = Home::new();
    let _fake = Fake::on_socket(&home.socket(), script(answers()));
    let ran = home.run(args);
    assert_eq!(ran.code, 0, "{args:?}: {}", ran.err);
    ran
}

fn json_of(args: &[&str]) -> Value {
    let ran = run(&[args, &["--json"]].concat());
    assert_eq!(ran.err, "");
    serde_json::from_str(&ran.out).expect("pure JSON")
}

const READING: [&[&str]; 13] = [
    &["status"],
    &["list"],
    &["list", "--status", "pending", "--to", "#mesh", "--oldest-first", "--limit", "2"],
    &["search", "two", "injured"],
    &["show", "sos2"],
    &["trace", "mine"],
    &["trace", "gone"],
    &["conversations"],
    &["peers"],
    &["peers", "show", "ana7"],
    &["links"],
    &["channel"],
    &["token", "list"],
];

#[test]
fn people_get_tables_and_facts() {
    let mut all = String::new();
    for args in READING.iter().chain([&["profile"][..], &["show", "sos2", "-v"]].iter()) {
        let ran = run(args);
        all.push_str(&format!("$ meshctl {}\n{}", args.join(" "), ran.out));
        all.push_str(&ran.err.lines().map(|line| format!("stderr: {line}\n")).collect::<String>());
        all.push('\n');
    }
    insta::assert_snapshot!("people", all);
}

#[test]
fn programs_get_what_the_daemon_said() {
    let whole = |line: &str| answers().into_iter().find(|(known, _)| *known == line).expect("scripted").1;
    assert_eq!(json_of(&["status"]), whole("GET /v1/status"));
    assert_eq!(json_of(&["show", "sos2"]), whole("GET /v1/messages/sos2"));
    assert_eq!(json_of(&["trace", "mine"]), whole("GET /v1/messages/mine/trace"));
    assert_eq!(json_of(&["list"]), whole("GET /v1/messages?limit=20")["items"]);
    assert_eq!(json_of(&["peers"]), whole("GET /v1/peers?limit=100")["items"]);
    assert_eq!(json_of(&["links"]), whole("GET /v1/links?limit=100")["items"]);
    assert_eq!(json_of(&["conversations"]), whole("GET /v1/conversations?limit=100")["items"]);
    assert_eq!(json_of(&["channel"]), whole("GET /v1/channels?limit=100")["items"]);
    assert_eq!(json_of(&["token"]), whole("GET /v1/tokens?limit=100")["items"]);
    assert_eq!(json_of(&["profile"]), whole("GET /v1/profile"));
}

#[test]
fn an_empty_list_is_an_empty_array_or_a_word_on_standard_error() {
    assert_eq!(run(&["list", "--since", "c-1", "--json=1"]).out, "[]\n");
    let ran = run(&["search", "nothing"]);
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("", "nothing found\n"));
    assert_eq!(run(&["search", "nothing", "-q"]).err, "");
}

#[test]
fn unknown_fields_and_numbers_pass_through_json_unchanged() {
    let home = Home::new();
    let said = r##"{"z": 1.10, "name": "Bo", "new_in_2030": {"a": 18446744073709551616}}"##;
    let _fake = Fake::on_socket(&home.socket(), |_| Reply::text(200, "application/json", said));
    assert_eq!(
        home.run(&["profile", "--json"]).code,
        1,
        "a field that a strict reader refuses is no silent loss"
    );
    let said = status().to_string().replace("\"links\":1", "\"links\":1,\"new\":1.10");
    let other = Home::new();
    let answer = said.clone();
    let _fake = Fake::on_socket(&other.socket(), move |_| Reply::text(200, "application/json", &answer));
    assert_eq!(other.run(&["status", "--json"]).out, said + "\n");
}

#[test]
fn a_long_list_is_fetched_page_by_page_up_to_the_limit() {
    let home = Home::new();
    let fake = Fake::on_socket(&home.socket(), |asked| {
        let start = if asked.target.contains("cursor=p2") { 100 } else { 0 };
        let limit: usize = asked
            .target
            .split("limit=")
            .nth(1)
            .and_then(|rest| rest.split('&').next()?.parse().ok())
            .unwrap();
        let items: Vec<Value> = (start..start + limit).map(|n| message(&format!("m{n}x"), "hi")).collect();
        Reply::json(&json!({"items": items, "next": if start == 0 { Some("p2") } else { None }}))
    });
    let ran = home.run(&["list", "--limit", "130", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&ran.out).unwrap().as_array().unwrap().len(), 130);
    assert_eq!(fake.lines(), ["GET /v1/messages?limit=100", "GET /v1/messages?limit=30&cursor=p2"]);
    assert_eq!(ran.out.lines().count(), 130, "an item a line");
    assert_eq!(home.run(&["list", "--all"]).out.lines().count(), 201);
}

#[test]
fn the_beginning_of_a_nodes_id_names_its_conversation() {
    let home = Home::new();
    let fake = Fake::on_socket(&home.socket(), |asked| match asked.target.starts_with("/v1/peers") {
        true => Reply::json(&page(&[peer("ana7", None), peer("anb2", None), peer("zoe3", None)])),
        false => Reply::json(&page(&[])),
    });
    assert_eq!(home.run(&["list", "--conversation", "ana7"]).code, 0);
    assert!(fake.lines()[1].contains(&format!("conversation={}", node_id("ana7"))), "{:?}", fake.lines());
}

#[test]
fn commands_that_change_something_say_what_they_did() {
    let home = Home::new();
    let fake =
        Fake::on_socket(&home.socket(), |asked| match (asked.method.as_str(), asked.target.as_str()) {
            ("DELETE", _) => Reply::Bytes(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()),
            ("GET", "/v1/peers?limit=100") => Reply::json(&page(&[peer("ana7", None)])),
            ("POST", "/v1/channels") => Reply::json(&json!({"name": "#medics", "joined_at": null})),
            (_, target) if target.starts_with("/v1/messages/") => {
                Reply::json(&message(target.split('/').nth(3).unwrap().trim_end_matches('a'), "hi"))
            }
            (_, _) => Reply::json(&json!({})),
        });
    let mut said = String::new();
    for args in [
        &["read", "abcd", "efgh"][..],
        &["forget", "abcd"],
        &["forget", "abcd", "--json"],
        &["peers", "block", "ana7"],
        &["peers", "unblock", "neverseen"],
        &["channel", "join", "medics"],
        &["channel", "leave", "#medics", "--json"],
        &["token", "revoke", "k7"],
    ] {
        let ran = home.run(args);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{args:?}");
        said.push_str(&format!("$ meshctl {}\n{}", args.join(" "), ran.out));
    }
    insta::assert_snapshot!("changes", format!("{said}\n{}", fake.lines().join("\n")));
    assert_eq!(
        fake.asked().iter().find(|asked| asked.target == "/v1/channels").unwrap().json(),
        json!({"name": "#medics"})
    );
}

#[test]
fn a_mistyped_id_among_several_changes_nothing() {
    let home = Home::new();
    let fake = Fake::on_socket(&home.socket(), |asked| match asked.target.contains("abcd") {
        true => Reply::json(&message("abcd", "hi")),
        false => Reply::problem(404, "not_found", "no message wxyz is kept here", None),
    });
    let ran = home.run(&["forget", "abcd", "wxyz"]);
    assert_eq!((ran.code, ran.err.as_str()), (5, "error: no message wxyz is kept here\n"));
    assert!(fake.lines().iter().all(|line| line.starts_with("GET ")), "{:?}", fake.lines());
}

#[test]
fn an_ambiguous_peer_is_refused_with_enough_to_choose() {
    let home = Home::new();
    let fake = Fake::on_socket(&home.socket(), |_| {
        Reply::json(&page(&[peer("ana7xx", None), peer("ana7yy", None)]))
    });
    let ran = home.run(&["peers", "block", "ana7"]);
    assert_eq!(ran.code, 1);
    assert_eq!(
        ran.err,
        "error: 2 nodes have ids that begin with ana7\nhint: give more of it, such as ana7x or ana7y\n"
    );
    assert_eq!(fake.lines().len(), 1);
}

#[test]
fn a_profile_is_changed_field_by_field() {
    let home = Home::new();
    let fake = Fake::on_socket(&home.socket(), |asked| match asked.method.as_str() {
        "GET" => Reply::json(&json!({"name": "Bo", "about": "old", "avatar": "data:image/png;base64,AA=="})),
        _ => Reply::json(&asked.json()),
    });
    write(&home.path("face.png"), "");
    std::fs::write(home.path("face.png"), b"\x89PNG\r\n\x1a\nrest").unwrap();
    let face = home.path("face.png").display().to_string();
    let ran = home.run(&["profile", "set", "--about", "", "--avatar", &face, "--json"]);
    let put = fake.asked().pop().unwrap().json();
    assert_eq!(put, json!({"name": "Bo", "about": null, "avatar": "data:image/png;base64,iVBORw0KGgpyZXN0"}));
    assert_eq!(serde_json::from_str::<Value>(&ran.out).unwrap(), put);
    assert!(home.run(&["profile", "set", "--avatar", "", "--json"]).out.contains("\"avatar\":null"));
    std::fs::write(home.path("face.png"), b"<svg/>").unwrap();
    assert_eq!(home.run(&["profile", "set", "--avatar", &face]).code, 2);
    assert_eq!(home.run(&["profile", "set"]).code, 2, "nothing to set");
}

#[test]
fn e05_a_new_tokens_secret_goes_to_standard_output_or_a_private_file_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::new();
    let fake = Fake::on_socket(&home.socket(), |asked| match asked.json()["name"].as_str() {
        Some("bad") => Reply::problem(422, "invalid_name", "no", None),
        _ => Reply::json(&json!({"id": "k7", "name": "bot", "scope": "send", "created_at": null,
                                 "last_used_at": null, "secret": "mesh-s3cret"})),
    });
    let ran = home.run(&["token", "create", "bot", "--scope", "send"]);
    assert_eq!(ran.out, "mesh-s3cret\n");
    assert!(!ran.err.contains("s3cret"), "{}", ran.err);
    assert_eq!(fake.asked()[0].json(), json!({"name": "bot", "scope": "send"}));
    let file = home.path("bot.token");
    let path = file.display().to_string();
    let ran = home.run(&["token", "create", "bot", "--out", &path, "-v"]);
    assert!(!format!("{ran:?}").contains("s3cret"), "{ran:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mesh-s3cret\n");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let ran = home.run(&["token", "create", "bot", "--out", &path]);
    assert_eq!((ran.code, ran.err.as_str()), (1, "error: can't make ~/bot.token: it exists already\n"));
    let ran = home.run(&["token", "create", "bad", "--out", &home.path("bad").display().to_string()]);
    assert_eq!(ran.code, 1);
    assert!(!home.path("bad").exists(), "no empty file is left");
}

/// A file of the time zone database (RFC 9636) that knows one zone without summer time, 5 h 30 min east.
fn zone_file() -> Vec<u8> {
    let counts: Vec<u8> = [0u32, 0, 0, 0, 1, 4].iter().flat_map(|n| n.to_be_bytes()).collect();
    let block = [b"TZif2", &[0; 15][..], &counts, &19_800i32.to_be_bytes(), &[0, 0], b"XST\0"].concat();
    [&block[..], &block, b"\nXST-5:30\n"].concat()
}

#[test]
fn times_are_of_the_zone_that_tz_names() {
    let home = Home::new();
    let at = with(message("m1", "hi"), &[("/created_at", "2020-01-02T10:00:00Z".into())]);
    let _fake = Fake::on_socket(&home.socket(), move |_| Reply::json(&at));
    let zones = home.path("zones");
    std::fs::create_dir_all(zones.join("Test")).unwrap();
    std::fs::write(zones.join("Test/East"), zone_file()).unwrap();
    let mut show = home.meshctl(&["show", "m111"]);
    let ran = home.finish(show.env("TZ", "Test/East").env("TZDIR", &zones), b"");
    assert!(ran.out.contains("created       2020-01-02 15:30:00 +05:30"), "{}\n{}", ran.out, ran.err);
}

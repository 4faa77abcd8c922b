//! Contacts over the API.

use serde_json::{Value, json};

use crate::server::Server;

const ALICE: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const BOB: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn added(server: &Server, id: &str, name: &str) -> Value {
    server.client().post("/v1/contacts", &json!({"id": id, "name": name})).created()
}

fn change(server: &Server, who: &str, body: &Value) -> Value {
    let body = body.to_string();
    let path = format!("/v1/contacts/{who}");
    server.client().send("PATCH", &path, Some(("application/json", body.as_bytes()))).ok()
}

#[test]
fn a_contact_is_added_found_changed_and_removed() {
    let server = Server::start();
    let contact = added(&server, ALICE, "Alice");
    assert_eq!(contact["id"], ALICE);
    assert_eq!((&contact["trust"], &contact["state"]), (&"unverified".into(), &"waiting_for_keys".into()));
    assert_eq!(contact["safety_number"], Value::Null);
    let client = server.client();
    for who in ["Alice", "alice", "%40ALICE", ALICE] {
        assert_eq!(client.get(&format!("/v1/contacts/{who}")).ok()["id"], ALICE, "{who}");
    }
    assert_eq!(client.get("/v1/contacts").ok()["items"].as_array().expect("items").len(), 1);
    let changed = change(&server, "alice", &json!({"name": "Alice at school", "receipts": "read"}));
    assert_eq!((&changed["name"], &changed["receipts"]), (&"Alice at school".into(), &"read".into()));
    assert_eq!(client.send("DELETE", &format!("/v1/contacts/{ALICE}"), None).status, 204);
    assert_eq!(client.get("/v1/contacts/alice").problem(), "not_found");
}

#[test]
fn a_message_to_a_contact_waits_for_keys_and_says_so() {
    let server = Server::start();
    added(&server, ALICE, "Alice");
    let client = server.client();
    let message = client.post("/v1/messages", &json!({"to": "@alice", "text": "hello"})).created();
    assert_eq!((&message["conversation"], &message["to"]), (&ALICE.into(), &ALICE.into()));
    assert_eq!((&message["status"], &message["protection"]), (&"pending".into(), &"sealed".into()));
    assert!(message["status_reason"].as_str().is_some_and(|reason| reason.contains("keys")), "{message}");
    let listed = client.get("/v1/messages?conversation=alice").ok();
    assert_eq!(listed["items"][0]["id"], message["id"]);
    let trace = client.get(&format!("/v1/messages/{}/trace", message["id"].as_str().expect("id"))).ok();
    assert!(trace["waiting"].as_str().is_some_and(|waiting| waiting.contains("keys")), "{trace}");
    // Whoever is written to by id is a contact from then on.
    client.post("/v1/messages", &json!({"to": BOB, "text": "hello"})).created();
    assert_eq!(client.get(&format!("/v1/contacts/{BOB}")).ok()["name"], Value::Null);
}

#[test]
fn a_note_to_oneself_is_read_and_stays() {
    let server = Server::start();
    let client = server.client();
    let me = client.get("/v1/identity").ok();
    let note = client.post("/v1/messages", &json!({"to": me["id"], "text": "buy candles"})).created();
    assert_eq!((&note["status"], &note["from"]["me"]), (&"read".into(), &true.into()));
}

#[test]
fn a_code_is_made_and_a_bad_one_refused() {
    let server = Server::start();
    let client = server.client();
    let code = client.post("/v1/identity/code", &json!({"in_person": true})).created();
    let text = code["code"].as_str().expect("a code").to_owned();
    assert!(text.starts_with("MESHLINK:") && text.len() < 400, "{text}");
    let refused = |body: &Value| client.post("/v1/contacts", body).problem();
    assert_eq!(refused(&json!({"code": text})), "invalid_id", "one's own");
    assert_eq!(refused(&json!({"code": &text[..text.len() - 1]})), "invalid_code");
    assert_eq!(refused(&json!({"code": "hello"})), "invalid_code");
    assert_eq!(refused(&json!({"id": "alice"})), "invalid_id");
    assert_eq!(refused(&json!({"name": "nobody"})), "invalid_body");
    // The id alone as a QR code.
    let shown = format!("MESHLINK:{}", ALICE.to_uppercase());
    assert_eq!(client.post("/v1/contacts", &json!({"code": shown})).created()["id"], ALICE);
}

#[test]
fn refusals_say_why() {
    let server = Server::start();
    added(&server, ALICE, "Alice");
    let client = server.client();
    let taken = client.post("/v1/contacts", &json!({"id": BOB, "name": "ALICE"}));
    assert_eq!((taken.status, taken.problem()), (409, "name_taken".into()));
    let bad = client.post("/v1/contacts", &json!({"id": BOB, "name": "#mesh"}));
    assert_eq!(bad.problem(), "invalid_name");
    let verify = client.post("/v1/contacts/alice/verify", &json!({"safety_number": "1"}));
    assert_eq!(verify.problem(), "keys_unknown");
    let introduce = client.post("/v1/contacts/alice/introduce", &json!({"to": "alice"}));
    assert_eq!(introduce.problem(), "not_verified");
    client.send("POST", &format!("/v1/peers/{ALICE}/block"), None).ok();
    let blocked = client.post("/v1/messages", &json!({"to": "alice", "text": "hello"}));
    assert_eq!(blocked.problem(), "recipient_blocked");
    assert_eq!(client.get("/v1/contacts/alice").ok()["state"], "blocked");
    let long = client.post("/v1/messages", &json!({"to": "alice", "text": "x", "ttl_s": 604_801}));
    assert_eq!(long.problem(), "invalid_lifetime");
}

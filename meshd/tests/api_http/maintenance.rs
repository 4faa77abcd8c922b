//! Settings, log and store, as an administrator sees them.

use serde_json::json;

use crate::server::{Options, Server};

#[test]
fn the_log_filter_is_shown_and_changed() {
    let server = Server::start();
    let client = server.client();
    assert_eq!(client.get("/v1/log").ok()["filter"], "info");
    let filter = json!({"filter": "warn,meshd::link=debug"});
    assert_eq!(client.put("/v1/log", &filter).ok(), filter);
    assert_eq!(client.get("/v1/log").ok(), filter);
    let items = client.get("/v1/config").ok()["items"].clone();
    let log = items.as_array().unwrap().iter().find(|item| item["key"] == "log").unwrap();
    assert_eq!((&log["origin"], &log["reloads"]), (&"api".into(), &true.into()));
    let refused = client.put("/v1/log", &json!({"filter": "loud"}));
    assert_eq!((refused.status, refused.problem().as_str()), (422, "invalid_log_filter"));
    assert_eq!(client.get("/v1/log").ok(), filter, "what makes no sense changes nothing");
}

#[test]
fn a_reader_sees_the_store_and_changes_nothing() {
    let server = Server::start();
    let reader = server.client_with_scope("read");
    assert!(reader.get("/v1/store").ok()["database_bytes"].as_u64().unwrap() > 0);
    for path in ["/v1/store/verify", "/v1/store/compact", "/v1/store/backup", "/v1/config/reload"] {
        assert_eq!(reader.post_empty(path).problem(), "insufficient_scope", "{path}");
    }
    assert_eq!(reader.get("/v1/config").problem(), "insufficient_scope");
    assert_eq!(reader.put("/v1/log", &json!({"filter": "trace"})).problem(), "insufficient_scope");
}

#[test]
fn a_store_is_sound_and_smaller_after_a_compaction_and_holds_the_same() {
    let server = Server::start();
    let client = server.client();
    let text = "x".repeat(16_000);
    let mut ids = Vec::new();
    for n in 0..40 {
        let message = client.post("/v1/messages", &json!({"text": format!("n{n} {text}")})).created();
        ids.push(message["id"].as_str().unwrap().to_owned());
    }
    for id in &ids[..35] {
        assert_eq!(client.delete(&format!("/v1/messages/{id}")).status, 204);
    }
    let before = client.get("/v1/store").ok();
    assert_eq!(client.post_empty("/v1/store/verify").ok()["ok"], true);
    let done = client.post_empty("/v1/store/compact").ok();
    assert_eq!(done["before_bytes"], before["database_bytes"]);
    assert!(done["after_bytes"].as_u64() < done["before_bytes"].as_u64(), "{done}");
    let after = client.get("/v1/store").ok();
    assert_eq!(after["free_bytes"], 0, "{after}");
    assert_eq!(after["log_bytes"], 0, "{after}");
    assert_eq!(after["messages"], 5);
    assert_eq!(client.post_empty("/v1/store/verify").ok()["ok"], true);
    // It takes messages again, finds words, and everything is there after a restart.
    client.post("/v1/messages", &json!({"text": "afterwards"})).created();
    assert_eq!(client.get("/v1/messages?q=n39").ok()["items"].as_array().unwrap().len(), 1);
    let server = Server::with(Options { dir: Some(server.stop()), ..Options::default() });
    assert_eq!(server.client().get("/v1/store").ok()["messages"], 6);
}

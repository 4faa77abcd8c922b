//! Named tokens: made, used, taken back.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::Client;
use crate::server::{Options, Server};

#[test]
fn a_secret_is_shown_once_and_kept_as_a_hash() {
    let server = Server::start();
    let client = server.client();
    let made = client.post("/v1/tokens", &json!({"name": "bot", "scope": "read"})).created();
    let secret = made["secret"].as_str().unwrap().to_owned();
    let listed = client.get("/v1/tokens").text().to_owned();
    assert!(listed.contains("bot") && !listed.contains(&secret));
    let dir = server.stop();
    for file in std::fs::read_dir(dir.path()).unwrap().map(|f| f.unwrap().path()).filter(|f| f.is_file()) {
        let bytes = std::fs::read(&file).unwrap();
        assert!(
            !bytes.windows(secret.len()).any(|w| w == secret.as_bytes()),
            "the secret is in {}",
            file.display()
        );
    }
    let server = Server::with(Options { dir: Some(dir), ..Options::default() });
    assert_eq!(Client::tcp(server.address).bearer(&secret).get("/v1/status").status, 200);
}

#[test]
fn a_token_taken_back_is_refused_at_once() {
    let server = Server::start();
    let client = server.client();
    let made = client.post("/v1/tokens", &json!({"name": "bot", "scope": "admin"})).created();
    let bot = Client::tcp(server.address).bearer(made["secret"].as_str().unwrap());
    assert_eq!(bot.get("/v1/status").status, 200);
    let path = format!("/v1/tokens/{}", made["id"].as_str().unwrap());
    assert_eq!(client.delete(&path).status, 204);
    assert_eq!(bot.get("/v1/status").problem(), "unauthorized");
    assert_eq!(client.delete(&path).problem(), "not_found");
    assert_eq!(client.get("/v1/tokens").ok(), json!({"items": [], "next": null}));
}

#[test]
fn the_last_use_is_recorded_to_the_minute_and_not_at_every_request() {
    let server = Server::start();
    let made = server.client().post("/v1/tokens", &json!({"name": "bot", "scope": "read"})).created();
    assert_eq!(made["last_used_at"], Value::Null);
    let bot = Client::tcp(server.address).bearer(made["secret"].as_str().unwrap());
    for _ in 0..20 {
        bot.get("/v1/status").ok();
    }
    let listed = server.client().get("/v1/tokens").ok()["items"][0]["last_used_at"].clone();
    let minute = |at: &Value| at.as_str().unwrap()[..16].to_owned();
    assert!(
        listed.as_str().unwrap().ends_with(":00.000Z") || minute(&listed) == minute(&made["created_at"]),
        "{listed}"
    );
    // It is written down behind the requests' back.
    let deadline = Instant::now() + Duration::from_secs(10);
    let id = made["id"].as_str().unwrap().to_owned();
    loop {
        let id = id.clone();
        let row = server.write(move |node, _| Ok(node.store().tokens()?.into_iter().find(|t| t.id == id)));
        if row.unwrap().last_used_unix_ms.is_some() {
            break;
        }
        assert!(Instant::now() < deadline, "the use was not recorded");
    }
}

#[test]
fn scopes_may_be_listed_and_the_highest_counts() {
    let server = Server::start();
    let client = server.client();
    let made = client.post("/v1/tokens", &json!({"name": "bot", "scopes": ["send", "read"]})).created();
    assert_eq!((&made["scope"], &made["scopes"]), (&json!("send"), &json!(["read", "send"])));
    let bot = Client::tcp(server.address).bearer(made["secret"].as_str().unwrap());
    assert_eq!(bot.post("/v1/messages", &json!({"text": "hi"})).status, 201);
    assert_eq!(
        bot.post("/v1/tokens", &json!({"name": "x", "scope": "read"})).problem(),
        "insufficient_scope"
    );
    let both =
        client.post("/v1/tokens", &json!({"name": "ops", "scope": "admin", "scopes": ["admin", "read"]}));
    assert_eq!(both.created()["scopes"], json!(["read", "send", "admin"]));
    for wrong in [
        json!({"name": "bot"}),
        json!({"name": "bot", "scopes": []}),
        json!({"name": "bot", "scope": "read", "scopes": ["admin"]}),
        json!({"name": "bot", "scopes": ["root"]}),
        json!({"name": "bot", "scopes": "read"}),
    ] {
        assert_eq!(client.post("/v1/tokens", &wrong).problem(), "invalid_body", "{wrong}");
    }
    assert_eq!(client.get("/v1/tokens").ok()["items"].as_array().map(Vec::len), Some(2));
}

#[test]
fn a_token_was_never_used_before_it_was_made() {
    let server = Server::start();
    let made = server.client().post("/v1/tokens", &json!({"name": "bot", "scope": "read"})).created();
    Client::tcp(server.address).bearer(made["secret"].as_str().unwrap()).get("/v1/status").ok();
    let listed = server.client().get("/v1/tokens").ok()["items"][0].clone();
    let (used, created) = (listed["last_used_at"].as_str().unwrap(), listed["created_at"].as_str().unwrap());
    assert!(used >= created, "{listed}");
}

#[test]
fn tokens_have_a_name_and_a_known_scope() {
    let server = Server::start();
    let client = server.client();
    for name in ["", &"n".repeat(65), "a\u{7}b"] {
        assert_eq!(
            client.post("/v1/tokens", &json!({"name": name, "scope": "read"})).problem(),
            "invalid_name"
        );
    }
    for body in [
        json!({"name": "x"}),
        json!({"name": "x", "scope": "root"}),
        json!({"name": "x", "scope": "read", "secret": "s"}),
    ] {
        assert_eq!(client.post("/v1/tokens", &body).problem(), "invalid_body", "{body}");
    }
}

#[test]
fn there_is_an_end_to_tokens() {
    let server = Server::start();
    let client = server.client();
    for n in 0..meshd::sqlite::TOKENS_MAX {
        client.post("/v1/tokens", &json!({"name": n.to_string(), "scope": "read"})).created();
    }
    let answer = client.post("/v1/tokens", &json!({"name": "one more", "scope": "read"}));
    assert_eq!((answer.status, answer.problem().as_str()), (409, "limit_reached"));
}

#[test]
fn wrong_tokens_in_a_row_are_slowed_down_and_the_right_one_is_not() {
    let server = Server::start();
    let wrong = server.client().bearer("wrong");
    let mut slowed = None;
    for _ in 0..60 {
        let answer = wrong.get("/v1/status");
        if answer.status == 429 {
            slowed = Some(answer);
            break;
        }
        assert_eq!(answer.problem(), "unauthorized");
    }
    let slowed = slowed.expect("60 wrong tokens in a row are too many");
    assert_eq!(slowed.problem(), "too_many_failures");
    assert_eq!(slowed.field("retry-after"), "1");
    assert_eq!(server.client().get("/v1/status").status, 200);
}

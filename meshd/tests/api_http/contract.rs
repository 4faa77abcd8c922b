//! The remaining routes, and the shape of every object: names and types that programs outside rely on.

use serde_json::{Value, json};

use crate::server::Server;

/// Names and JSON types of an object, sorted.
fn shape(value: &Value) -> Value {
    match value {
        Value::Null => json!("null"),
        Value::Bool(_) => json!("boolean"),
        Value::Number(_) => json!("number"),
        Value::String(_) => json!("string"),
        Value::Array(items) => json!(items.first().map(shape)),
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), shape(value))).collect(),
    }
}

#[test]
fn objects_have_the_names_of_the_contract() {
    let server = Server::start();
    let client = server.client();
    client.put("/v1/profile", &json!({"name": "Mill", "about": "by the river"})).ok();
    let sent = client.post("/v1/messages", &json!({"text": "hello"})).created();
    let id = sent["id"].as_str().unwrap();
    let peer = client.post_empty("/v1/peers/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/block").ok();
    let cursor = client.put("/v1/cursors/ui", &json!({"cursor": sent["cursor"]})).ok();
    let token = client.post("/v1/tokens", &json!({"name": "bot", "scope": "read"})).created();
    let shapes = json!({
        "channel": shape(&client.get("/v1/channels").ok()["items"][0]),
        "conversation": shape(&client.get("/v1/conversations").ok()),
        "cursor": shape(&cursor),
        "health": client.get("/v1/health").ok(),
        "message": shape(&sent),
        "peer": shape(&peer),
        "profile": client.get("/v1/profile").ok(),
        "status": shape(&client.get("/v1/status").ok()),
        "ticket": shape(&client.post_empty("/v1/events/ticket").created()),
        "token": shape(&token),
        "trace": shape(&client.get(&format!("/v1/messages/{id}/trace")).ok()),
    });
    insta::assert_json_snapshot!(shapes);
}

#[test]
fn problems_have_the_names_of_the_contract() {
    let server = Server::start();
    let answers = [
        server.client().get("/v1/nothing"),
        server.client().get("/v1/messages/zzzz"),
        server.client().without("authorization").get("/v1/status"),
        server.client().field("host", "evil.example").get("/v1/status"),
        server.client().post("/v1/messages", &json!({"text": "x", "to": "alice"})),
        server.client().send("POST", "/v1/messages", Some(("application/json", b"{"))),
    ];
    let problems: Vec<Value> = answers
        .iter()
        .map(|answer| {
            answer.problem();
            answer.json()
        })
        .collect();
    insta::assert_json_snapshot!(problems);
}

#[test]
fn health_is_open_and_says_ok() {
    let server = Server::start();
    assert_eq!(server.client().without("authorization").get("/v1/health").ok(), json!({"status": "ok"}));
}

#[test]
fn a_profile_is_replaced_as_a_whole() {
    let server = Server::start();
    let client = server.client();
    assert_eq!(client.get("/v1/profile").ok(), json!({"name": null, "about": null, "avatar": null}));
    client.put("/v1/profile", &json!({"name": "Mill", "about": "by the river"})).ok();
    assert_eq!(client.put("/v1/profile", &json!({"name": "Mill"})).ok()["about"], Value::Null);
    assert_eq!(client.get("/v1/status").ok()["name"], "Mill");
    assert_eq!(client.post("/v1/messages", &json!({"text": "x"})).created()["from"]["name"], "Mill");
    assert_eq!(client.put("/v1/profile", &json!({"name": "x".repeat(65)})).problem(), "invalid_profile");
    assert_eq!(
        client.put("/v1/profile", &json!({"avatar": "http://evil.example/x.png"})).problem(),
        "invalid_profile"
    );
    assert_eq!(client.put("/v1/profile", &json!({"nick": "x"})).problem(), "invalid_body");
    assert_eq!(client.get("/v1/profile").ok()["name"], "Mill");
}

#[test]
fn a_channel_with_a_password_is_joined_used_and_left() {
    let server = Server::start();
    let client = server.client();
    let join = |body: Value| client.post("/v1/channels", &body);
    let password = "four words taken at random";
    let joined = join(json!({"name": "#ops", "password": password})).created();
    assert_eq!((&joined["name"], &joined["protection"]), (&json!("#ops"), &json!("channel")));
    assert_eq!((joined["check"].as_str().map(str::len), &joined["warning"]), (Some(9), &Value::Null));
    assert_eq!(join(json!({"name": "#ops", "password": password})).ok()["check"], joined["check"]);
    let sent = client.post("/v1/messages", &json!({"to": "#ops", "text": "Boats to the mill"})).created();
    assert_eq!((&sent["protection"], &sent["conversation"]), (&json!("channel"), &json!("#ops")));
    assert_eq!(sent["from"]["me"], true);
    let found = client.get("/v1/messages?conversation=%23ops&q=boats").ok();
    assert_eq!(found["items"][0]["id"], sent["id"]);
    let trace = client.get(&format!("/v1/messages/{}/trace", sent["id"].as_str().unwrap())).ok();
    assert_eq!((&trace["carried"], &trace["status"]), (&json!(true), &json!("pending")));
    let listed = client.get("/v1/channels").ok();
    let ops = &listed["items"][1];
    assert_eq!((&ops["name"], &ops["messages"], &ops["unread"]), (&json!("#ops"), &json!(1), &json!(0)));
    assert_eq!(
        (&listed["items"][0]["protection"], &listed["items"][0]["check"]),
        (&json!("public"), &Value::Null)
    );

    let weak = join(json!({"name": "#weak", "password": "password"})).created();
    assert!(weak["warning"].as_str().unwrap().contains("guessed"));
    let refused = join(json!({"name": "#ops", "password": "another one altogether"}));
    assert_eq!((refused.status, refused.problem().as_str()), (409, "channel_conflict"));
    assert_eq!(join(json!({"name": "#ops"})).problem(), "channel_conflict");
    client.post("/v1/channels", &json!({"name": "#camp"})).created();
    assert_eq!(join(json!({"name": "#camp", "password": password})).problem(), "channel_conflict");
    assert_eq!(join(json!({"name": "#mesh", "password": password})).problem(), "permanent_channel");
    assert_eq!(join(json!({"name": "ops", "password": password})).ok()["name"], "#ops");
    assert_eq!(join(json!({"name": "o ps", "password": password})).problem(), "invalid_name");
    for odd in ["", "short", "with\na line end", &"x".repeat(1025)] {
        assert_eq!(join(json!({"name": "#odd", "password": odd})).problem(), "invalid_password", "{odd:?}");
    }
    let long = json!({"to": "#ops", "text": "x", "ttl_s": 604_801});
    assert_eq!(client.post("/v1/messages", &long).problem(), "invalid_lifetime");

    assert_eq!(client.delete("/v1/channels/ops").status, 204);
    assert_eq!(
        client.post("/v1/messages", &json!({"to": "#ops", "text": "x"})).problem(),
        "channel_not_joined"
    );
    assert_eq!(client.get("/v1/messages?conversation=%23ops").ok()["items"][0]["protection"], "channel");
    assert_eq!(join(json!({"name": "#ops"})).created()["protection"], "public");
}

#[test]
fn whoever_joins_a_channel_of_a_name_that_was_another_ones_is_told_so_once() {
    let server = Server::start();
    let client = server.client();
    let join = |body: Value| client.post("/v1/channels", &body);
    let one = json!({"name": "#ops", "password": "four words taken at random"});
    let other = json!({"name": "#ops", "password": "quite another row of words"});
    let public = json!({"name": "#ops"});
    // Without a message there is nothing to mistake.
    for body in [&one, &public, &other] {
        assert_eq!(join(body.clone()).created()["warning"], Value::Null, "{body}");
        assert_eq!(client.delete("/v1/channels/ops").status, 204);
    }
    let said = |body: &Value, what: &[&str]| {
        let joined = join(body.clone()).created();
        let warning = joined["warning"].as_str().unwrap_or_default();
        assert!(what.iter().all(|word| warning.contains(word)), "{body}: {warning}");
        assert_eq!(warning.is_empty(), what.is_empty(), "{body}: {warning}");
        assert_eq!(join(body.clone()).ok()["warning"], Value::Null, "joined already");
        client.post("/v1/messages", &json!({"to": "#ops", "text": "words"})).created();
        assert_eq!(client.delete("/v1/channels/ops").status, 204);
    };
    said(&one, &[]);
    said(&other, &["another password"]);
    said(&public, &["this channel is public", "a channel with a password"]);
    said(&public, &[]);
    said(&one, &["the public channel"]);
    let weak = join(json!({"name": "#ops", "password": "password"})).created();
    let warning = weak["warning"].as_str().unwrap();
    assert!(warning.contains("guessed") && warning.contains("; earlier messages"), "both: {warning}");
}

#[test]
fn channels_are_joined_and_left() {
    let server = Server::start();
    let client = server.client();
    let names = || -> Vec<String> {
        let page = client.get("/v1/channels").ok();
        page["items"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(), ["#mesh"]);
    assert_eq!(client.post("/v1/channels", &json!({"name": "#camp"})).created()["name"], "#camp");
    assert_eq!(client.post("/v1/channels", &json!({"name": "#camp"})).ok()["name"], "#camp");
    client.post("/v1/channels", &json!({"name": "#boat"})).created();
    assert_eq!(names(), ["#boat", "#camp", "#mesh"]);
    assert_eq!(client.get("/v1/channels?limit=2").ok()["next"], "camp");
    assert_eq!(client.get("/v1/channels?limit=2&cursor=camp").ok()["items"][0]["name"], "#mesh");
    assert_eq!(client.delete("/v1/channels/%23camp").status, 204);
    assert_eq!(client.delete("/v1/channels/boat").status, 204);
    assert_eq!(names(), ["#mesh"]);
    assert_eq!(client.delete("/v1/channels/boat").problem(), "not_found");
    assert_eq!(client.delete("/v1/channels/mesh").problem(), "permanent_channel");
    assert_eq!(client.post("/v1/channels", &json!({"name": "camp"})).created()["name"], "#camp");
    for name in ["#", "#Camp", "Camp", "#a b", ""] {
        assert_eq!(client.post("/v1/channels", &json!({"name": name})).problem(), "invalid_name", "{name:?}");
    }
}

#[test]
fn peers_are_blocked_and_unblocked() {
    let server = Server::start();
    let client = server.client();
    let id = "b".repeat(32);
    assert_eq!(client.get(&format!("/v1/peers/{id}")).problem(), "not_found");
    assert_eq!(client.post_empty(&format!("/v1/peers/{id}/block")).ok()["blocked"], true);
    assert_eq!(client.get(&format!("/v1/peers/{id}")).ok()["blocked"], true);
    assert_eq!(client.get("/v1/peers").ok()["items"][0]["id"], id.as_str());
    assert_eq!(client.post_empty(&format!("/v1/peers/{id}/unblock")).ok()["blocked"], false);
    let own = client.get("/v1/status").ok()["node_id"].as_str().unwrap().to_owned();
    assert_eq!(client.post_empty(&format!("/v1/peers/{own}/block")).problem(), "invalid_id");
    for wrong in ["alice", "B1", &"b".repeat(33)] {
        assert_eq!(client.get(&format!("/v1/peers/{wrong}")).problem(), "not_found", "{wrong}");
    }
    assert_eq!(client.get("/v1/links").ok(), json!({"items": [], "next": null}));
}

#[test]
fn positions_are_kept_by_name() {
    let server = Server::start();
    let client = server.client();
    let here = client.get("/v1/status").ok()["cursor"].clone();
    assert_eq!(client.get("/v1/cursors/ui").problem(), "not_found");
    assert_eq!(client.put("/v1/cursors/ui", &json!({"cursor": here})).ok()["cursor"], here);
    assert_eq!(client.get("/v1/cursors/ui").ok()["cursor"], here);
    for cursor in ["nonsense", "00000000-1", ""] {
        assert_eq!(client.put("/v1/cursors/ui", &json!({"cursor": cursor})).problem(), "invalid_cursor");
    }
    for name in ["%2e%2e%2fx", "a%20b", &"n".repeat(65), "%C3%A4"] {
        assert_eq!(
            client.put(&format!("/v1/cursors/{name}"), &json!({"cursor": here})).problem(),
            "invalid_name"
        );
    }
}

#[test]
fn metrics_are_prometheus_text() {
    let server = Server::start();
    let client = server.client();
    client.post("/v1/messages", &json!({"text": "hello"})).created();
    let taken_back = client.post("/v1/messages", &json!({"text": "oh"})).created();
    assert_eq!(client.delete(&format!("/v1/messages/{}", taken_back["id"].as_str().unwrap())).status, 204);
    client.get("/v1/nothing");
    for method in ["PATCH", "BREW"] {
        client.send(method, "/v1/messages/of-a-kind", None);
    }
    let answer = client.get("/metrics");
    assert_eq!(answer.field("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let text = answer.text();
    for line in [
        "meshlink_messages{status=\"pending\"} 1",
        "meshlink_store_bundles{class=\"own\"} 1",
        "meshlink_links{kind=\"relay\"} 0",
        "meshlink_store_writable 1",
        "meshlink_bundles_taken_total{kind=\"bundle\"} 0",
        "meshlink_reconcile_bytes_total{direction=\"sent\"} 0",
        "meshlink_bundles_dropped_total{reason=\"withdrawn\"} 1",
        "meshlink_bundles_dropped_total{reason=\"gave_way\"} 0",
        "meshlink_bundles_refused_total{reason=\"invalid\"} 0",
        "meshlink_http_requests_total{method=\"POST\",route=\"/v1/messages\",status=\"201\"} 2",
        "meshlink_http_requests_total{method=\"GET\",route=\"none\",status=\"404\"} 1",
        "meshlink_http_requests_total{method=\"PATCH\",route=\"/v1/messages/{id}\",status=\"405\"} 1",
        "meshlink_http_requests_total{method=\"other\",route=\"/v1/messages/{id}\",status=\"405\"} 1",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
    }
    // Every sample belongs to a family that was announced before it.
    let mut announced = std::collections::BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert!(announced.insert(rest.split(' ').next().unwrap()), "announced twice: {line}");
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap();
            let parts = ["_bucket", "_sum", "_count"].iter().filter_map(|part| name.strip_suffix(part));
            assert!(std::iter::once(name).chain(parts).any(|family| announced.contains(family)), "{line}");
            assert!(line.rsplit(' ').next().unwrap().parse::<f64>().is_ok(), "{line}");
        }
    }
}

#[test]
fn what_is_under_way_is_counted_as_tasks() {
    let server = Server::start();
    let client = server.client();
    let tasks = || -> usize {
        let answer = client.get("/metrics");
        let number = answer.text().lines().find_map(|line| line.strip_prefix("meshlink_tasks "));
        number.expect("it is there").parse().expect("a number")
    };
    let before = tasks();
    let kept: Vec<_> = (0..16)
        .map(|_| {
            let mut connection = client.open("GET", "/v1/health", None);
            assert_eq!(connection.answer().expect("an answer").status, 200);
            connection
        })
        .collect();
    let with_them = tasks();
    // Something of the start, or the question before, may have ended meanwhile.
    assert!(with_them >= before + 12, "{before}, and {with_them} with 16 connections");
    drop(kept);
}

/// Every name that begins like one of ours in a text.
fn metric_names(text: &str) -> std::collections::BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !is_part(c));
    words
        .filter(|word| word.starts_with("meshlink_") || word.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn what_the_dashboard_and_the_alerts_name_is_there() {
    let server = Server::start();
    let client = server.client();
    client.put("/v1/cursors/bot", &json!({"cursor": client.get("/v1/status").ok()["cursor"]}));
    client.post("/v1/messages", &json!({"text": "hello"})).created();
    let answer = client.get("/metrics");
    let text = answer.text();
    let known = metric_names(text);
    let mut named = 0;
    for file in ["grafana.json", "alerts.yml"] {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/monitoring").join(file);
        let text = std::fs::read_to_string(path).expect(file);
        for name in metric_names(&text) {
            assert!(known.contains(&name), "{file} names {name}, which /metrics does not have");
            named += 1;
        }
    }
    assert!(named > 20, "the files name {named} metrics: they were not read");
    assert!(text.lines().any(|line| line == "meshlink_cursor_lag_events{cursor=\"bot\"} 1"), "{text}");
    assert!(text.contains("meshlink_store_commit_seconds_bucket{le=\"+Inf\"}"), "{text}");
}

#[test]
fn routes_that_are_not_there_are_problems() {
    let server = Server::start();
    let client = server.client();
    for path in
        ["/v1", "/v1/", "/v1/nothing", "/v2/status", "/favicon.ico", "/metrics/x", "/v1/messages/a/b/c"]
    {
        let answer = client.get(path);
        assert_eq!((answer.status, answer.problem().as_str()), (404, "no_route"), "{path}");
    }
}

//! Every route under every attack of threats.md part A.
//!
//! The rows are the routes of the table the router is made from. A route without an example below fails the
//! test, so a new one can't be added without being attacked.

use meshd::http::{Access, ROUTES, Route, Takes};
use meshlink_api::Scope;
use serde_json::Value;

use crate::client::{Answer, Client};
use crate::server::{ALLOWED_ORIGIN, Server, TOKEN};

/// An example request for each route: the target and, where the route takes one, a JSON body.
fn example(route: &Route, message: &str) -> (String, Option<&'static str>) {
    let peer = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    let (target, body) = match (route.method.as_str(), route.path) {
        ("GET", "/v1/health") => ("/v1/health".to_owned(), None),
        ("GET", "/v1/status") => ("/v1/status".to_owned(), None),
        ("GET", "/v1/profile") => ("/v1/profile".to_owned(), None),
        ("PUT", "/v1/profile") => ("/v1/profile".to_owned(), Some(r#"{"name":"intruder"}"#)),
        ("POST", "/v1/unlock") => ("/v1/unlock".to_owned(), Some(r#"{"passphrase":"an intruder's"}"#)),
        ("POST", "/v1/lock") => ("/v1/lock".to_owned(), None),
        ("PUT", "/v1/passphrase") => ("/v1/passphrase".to_owned(), Some(r#"{"new":"an intruder's"}"#)),
        ("POST", "/v1/backup") => ("/v1/backup".to_owned(), Some(r#"{"passphrase":"an intruder's"}"#)),
        ("POST", "/v1/restore") => {
            ("/v1/restore".to_owned(), Some(r#"{"backup":"bm8=","passphrase":"an intruder's"}"#))
        }
        ("POST", "/v1/wipe") => ("/v1/wipe".to_owned(), Some(r#"{"confirm":"wipe"}"#)),
        ("GET", "/v1/messages") => ("/v1/messages?limit=1".to_owned(), None),
        ("POST", "/v1/messages") => ("/v1/messages".to_owned(), Some(r#"{"text":"intruder"}"#)),
        ("GET" | "DELETE", "/v1/messages/{id}") => (format!("/v1/messages/{message}"), None),
        ("GET", "/v1/messages/{id}/trace") => (format!("/v1/messages/{message}/trace"), None),
        ("POST", "/v1/messages/{id}/read") => (format!("/v1/messages/{message}/read"), None),
        ("GET", "/v1/conversations") => ("/v1/conversations".to_owned(), None),
        ("GET", "/v1/peers") => ("/v1/peers".to_owned(), None),
        ("GET", "/v1/peers/{id}") => (format!("/v1/peers/{peer}"), None),
        ("POST", "/v1/peers/{id}/block") => (format!("/v1/peers/{peer}/block"), None),
        ("POST", "/v1/peers/{id}/unblock") => (format!("/v1/peers/{peer}/unblock"), None),
        ("GET", "/v1/identity") => ("/v1/identity".to_owned(), None),
        ("POST", "/v1/identity/code") => ("/v1/identity/code".to_owned(), Some("{}")),
        ("GET", "/v1/contacts") => ("/v1/contacts".to_owned(), None),
        ("POST", "/v1/contacts") => (
            "/v1/contacts".to_owned(),
            Some(r#"{"id":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","name":"intruder"}"#),
        ),
        ("GET" | "DELETE", "/v1/contacts/{id}") => ("/v1/contacts/kept".to_owned(), None),
        ("PATCH", "/v1/contacts/{id}") => {
            ("/v1/contacts/kept".to_owned(), Some(r#"{"name":"intruder","receipts":"none"}"#))
        }
        ("POST", "/v1/contacts/{id}/verify") => {
            ("/v1/contacts/kept/verify".to_owned(), Some(r#"{"safety_number":"1"}"#))
        }
        ("POST", "/v1/contacts/{id}/introduce") => {
            ("/v1/contacts/kept/introduce".to_owned(), Some(r#"{"to":"kept"}"#))
        }
        ("GET", "/v1/groups") => ("/v1/groups".to_owned(), None),
        ("POST", "/v1/groups") => ("/v1/groups".to_owned(), Some(r#"{"name":"intruder"}"#)),
        ("GET", "/v1/groups/{id}") => ("/v1/groups/kept".to_owned(), None),
        ("PATCH", "/v1/groups/{id}") => ("/v1/groups/kept".to_owned(), Some(r#"{"name":"intruder"}"#)),
        ("POST", "/v1/groups/{id}/join") => ("/v1/groups/kept/join".to_owned(), None),
        ("POST", "/v1/groups/{id}/leave") => ("/v1/groups/kept/leave".to_owned(), None),
        ("POST", "/v1/groups/{id}/members") => {
            ("/v1/groups/kept/members".to_owned(), Some(r#"{"who":"kept"}"#))
        }
        ("DELETE", "/v1/groups/{id}/members/{who}") => ("/v1/groups/kept/members/kept".to_owned(), None),
        ("GET", "/v1/links") => ("/v1/links".to_owned(), None),
        ("GET", "/v1/channels") => ("/v1/channels".to_owned(), None),
        ("POST", "/v1/channels") => ("/v1/channels".to_owned(), Some(r##"{"name":"#intruder"}"##)),
        ("DELETE", "/v1/channels/{name}") => ("/v1/channels/%23kept".to_owned(), None),
        ("GET", "/v1/tokens") => ("/v1/tokens".to_owned(), None),
        ("POST", "/v1/tokens") => ("/v1/tokens".to_owned(), Some(r#"{"name":"intruder","scope":"admin"}"#)),
        ("DELETE", "/v1/tokens/{id}") => ("/v1/tokens/aaaaaaaa".to_owned(), None),
        ("GET", "/v1/cursors/{name}") => ("/v1/cursors/kept".to_owned(), None),
        ("PUT", "/v1/cursors/{name}") => ("/v1/cursors/kept".to_owned(), Some(r#"{"cursor":"00000000-0"}"#)),
        ("GET", "/v1/events") => ("/v1/events".to_owned(), None),
        ("POST", "/v1/events/ticket") => ("/v1/events/ticket".to_owned(), None),
        ("GET", "/v1/config") => ("/v1/config".to_owned(), None),
        ("POST", "/v1/config/reload") => ("/v1/config/reload".to_owned(), None),
        ("GET", "/v1/log") => ("/v1/log".to_owned(), None),
        ("PUT", "/v1/log") => ("/v1/log".to_owned(), Some(r#"{"filter":"trace"}"#)),
        ("GET", "/v1/store") => ("/v1/store".to_owned(), None),
        ("POST", "/v1/store/verify") => ("/v1/store/verify".to_owned(), None),
        ("POST", "/v1/store/compact") => ("/v1/store/compact".to_owned(), None),
        ("POST", "/v1/store/backup") => ("/v1/store/backup".to_owned(), None),
        ("GET", "/v1/openapi.json") => ("/v1/openapi.json".to_owned(), None),
        ("GET", "/metrics") => ("/metrics".to_owned(), None),
        (method, path) => panic!("{method} {path} has no row in the attack matrix: add an example request"),
    };
    assert_eq!(body.is_some(), route.takes != Takes::Nothing, "{} {}", route.method, route.path);
    (target, body)
}

/// A node with one message, one channel and one position, and what it holds before the attacks.
struct Target {
    server: Server,
    message: String,
}

/// One route with its example.
struct Row<'a> {
    route: &'static Route,
    target: String,
    body: Option<(&'static str, &'static [u8])>,
    server: &'a Server,
}

impl Target {
    fn new() -> Self {
        let server = Server::start();
        let message = server.client().post("/v1/messages", &serde_json::json!({"text": "kept"})).created();
        let message = message["id"].as_str().expect("an id").to_owned();
        server.client().post("/v1/channels", &serde_json::json!({"name": "#kept"})).created();
        let contact = serde_json::json!({"id": "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", "name": "kept"});
        server.client().post("/v1/contacts", &contact).created();
        server.client().post("/v1/groups", &serde_json::json!({"name": "kept"})).created();
        Self { server, message }
    }

    fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        ROUTES.iter().map(|route| {
            let (target, body) = example(route, &self.message);
            let body = body.map(|body| ("application/json", body.as_bytes()));
            Row { route, target, body, server: &self.server }
        })
    }

    /// What an intruder would have changed. The newest position tells of every message sent.
    fn state(&self) -> Vec<Value> {
        let client = self.server.client();
        let read = |path: &str| client.get(path).ok();
        let status = read("/v1/status");
        let shown = [
            status["cursor"].clone(),
            status["messages"].clone(),
            status["name"].clone(),
            status["at_rest"].clone(),
        ];
        let mut lists = [
            "/v1/messages",
            "/v1/channels",
            "/v1/tokens",
            "/v1/peers",
            "/v1/config",
            "/v1/log",
            "/v1/contacts",
            "/v1/groups",
        ]
        .map(read);
        // When a token was used is meant to change.
        for token in lists[2]["items"].as_array_mut().expect("items") {
            token["last_used_at"] = Value::Null;
        }
        let cursor = client.get("/v1/cursors/kept").status.into();
        shown.into_iter().chain(lists).chain([cursor]).collect()
    }

    /// Runs an attack on every route; nothing may have changed afterwards.
    fn attack(&self, what: &str, attack: impl Fn(&Row<'_>)) {
        let before = self.state();
        for row in self.rows() {
            attack(&row);
        }
        assert_eq!(self.state(), before, "{what} changed something");
    }
}

impl Row<'_> {
    fn client(&self) -> Client {
        Client::tcp(self.server.address)
    }

    /// A client whose token may do everything: an attack that fails with it fails with any.
    fn admin(&self) -> Client {
        self.server.client()
    }

    fn is_open(&self) -> bool {
        self.route.access == Access::Open
    }

    fn send(&self, client: &Client) -> Answer {
        client.send(self.route.method.as_str(), &self.target, self.body)
    }

    /// Sends, and expects one of these problems.
    fn refused(&self, client: &Client, codes: &[&str]) -> Answer {
        let answer = self.send(client);
        self.expect(&answer, codes);
        answer
    }

    fn expect(&self, answer: &Answer, codes: &[&str]) {
        let code = answer.problem();
        assert!(
            codes.contains(&code.as_str()),
            "{} {}: {} {code}, not {codes:?}",
            self.route.method,
            self.target,
            answer.status
        );
        assert!(answer.status < 500, "{} {}: {}", self.route.method, self.target, answer.status);
        for name in [
            "x-content-type-options",
            "cross-origin-resource-policy",
            "content-security-policy",
            "cache-control",
        ] {
            assert!(!answer.field(name).is_empty(), "{} {} has no {name}", self.route.method, self.target);
        }
    }
}

#[test]
fn a01_every_route_wants_a_token_in_the_header() {
    let target = Target::new();
    target.attack("a request without a right token", |row| {
        if row.is_open() {
            assert_eq!(row.send(&row.client()).status, 200);
            return;
        }
        let answer = row.refused(&row.client(), &["unauthorized"]);
        assert_eq!(answer.status, 401);
        assert!(answer.field("www-authenticate").starts_with("Bearer"));
        row.refused(&row.client().bearer("wrong"), &["unauthorized", "too_many_failures"]);
        row.refused(&row.client().field("authorization", TOKEN), &["unauthorized"]);
        row.refused(&row.client().field("cookie", &format!("token={TOKEN}")), &["unauthorized"]);
    });
    target.attack("a token in the address", |row| {
        let separator = if row.target.contains('?') { '&' } else { '?' };
        for name in ["token", "access_token", "api_key"] {
            let address = format!("{}{separator}{name}=secret", row.target);
            let answer = row.client().send(row.route.method.as_str(), &address, row.body);
            assert_eq!(answer.status, 401, "{address}");
            row.expect(&answer, &["token_in_query"]);
        }
    });
    target.attack("a ticket for something else", |row| {
        if row.is_open() || row.route.path == "/v1/events" {
            return;
        }
        let ticket = target.server.client().post_empty("/v1/events/ticket").created();
        let ticket = ticket["ticket"].as_str().expect("a ticket");
        let separator = if row.target.contains('?') { '&' } else { '?' };
        let address = format!("{}{separator}ticket={ticket}", row.target);
        row.expect(&row.client().send(row.route.method.as_str(), &address, row.body), &["unauthorized"]);
    });
}

#[test]
fn a01_a_scope_covers_its_own_routes_and_those_below() {
    let target = Target::new();
    let scopes = [("read", Scope::Read), ("send", Scope::Send)];
    let clients = scopes.map(|(name, scope)| (target.server.client_with_scope(name), scope));
    target.attack("a token without the scope", |row| {
        let Access::Scoped(needed) = row.route.access else { return };
        for (client, scope) in &clients {
            if *scope < needed {
                assert_eq!(row.refused(client, &["insufficient_scope"]).status, 403);
            } else if row.route.path != "/v1/events" && row.route.method == "GET" {
                assert!(matches!(row.send(client).status, 200 | 404), "{}", row.target);
            }
        }
    });
}

#[test]
fn a02_a03_every_route_wants_a_host_of_its_own() {
    let target = Target::new();
    let port = target.server.address.port();
    target.attack("a foreign host", |row| {
        let admin = row.admin();
        for host in [
            "evil.example",
            "127.0.0.1.evil",
            &format!("evil.example:{port}"),
            "localhost:1",
            "0.0.0.0",
            &format!("localhost.:{port}"),
        ] {
            row.refused(&admin.field("host", host), &["foreign_host"]);
        }
        for host in [
            "",
            "a b",
            "localhost/",
            "localhost?",
            "localhost#",
            "user@localhost",
            &format!("localhost:{port}:{port}"),
        ] {
            row.refused(&admin.field("host", host), &["bad_host"]);
        }
        row.refused(&admin.without("host"), &["bad_host"]);
        row.refused(&admin.also("host", &format!("localhost:{port}")), &["bad_host"]);
        // A rebound page: its own origin, its own host, and a browser that calls it the same site.
        let rebound = admin.field("host", &format!("evil.example:{port}"));
        let rebound = rebound
            .field("origin", &format!("http://evil.example:{port}"))
            .field("sec-fetch-site", "same-origin");
        assert_eq!(row.refused(&rebound, &["foreign_host"]).field("access-control-allow-origin"), "");
    });
    target.attack("an absolute target of another host", |row| {
        let address = format!("http://evil.example{}", row.target);
        row.expect(&row.admin().send(row.route.method.as_str(), &address, row.body), &["bad_host"]);
    });
}

#[test]
fn a04_every_route_refuses_what_a_form_can_send() {
    let target = Target::new();
    target.attack("a form", |row| {
        let admin = row.admin();
        for media_type in
            ["application/x-www-form-urlencoded", "multipart/form-data; boundary=b", "text/plain", ""]
        {
            let body = br#"{"text":"intruder","a":"="}"#;
            let text_is_taken = row.route.takes == Takes::JsonOrText && media_type == "text/plain";
            if row.route.method != "GET" && !text_is_taken {
                let answer = admin.send(row.route.method.as_str(), &row.target, Some((media_type, body)));
                row.expect(&answer, &["unsupported_media_type"]);
            }
            let page = admin.field("origin", "http://evil.example");
            let answer = page.send(row.route.method.as_str(), &row.target, Some((media_type, body)));
            row.expect(&answer, &["foreign_origin"]);
        }
    });
}

#[test]
fn a05_only_the_allowed_origin_gets_cors_headers() {
    let target = Target::new();
    target.attack("a preflight", |row| {
        let ask = |origin: &str| {
            let client = row.client().field("origin", origin);
            let client = client.field("access-control-request-method", row.route.method.as_str());
            let client = client.field("access-control-request-headers", "authorization,content-type");
            client.send("OPTIONS", &row.target, None)
        };
        let answer = ask(ALLOWED_ORIGIN);
        assert_eq!(answer.status, 204, "{}", row.target);
        assert_eq!(answer.field("access-control-allow-origin"), ALLOWED_ORIGIN);
        assert!(answer.field("access-control-allow-methods").contains(row.route.method.as_str()));
        assert!(answer.field("access-control-allow-headers").contains("authorization"));
        assert_eq!(answer.field("access-control-allow-credentials"), "");
        for origin in ["http://evil.example", "null", "http://localhost:5174", "https://localhost:5173", "*"]
        {
            let answer = ask(origin);
            row.expect(&answer, &["foreign_origin"]);
            assert!(
                !answer.fields.keys().any(|name| name.starts_with("access-control-")),
                "{origin}: {answer:?}"
            );
        }
        // The allowed page itself: refused without a token, but it may read why.
        let page = row.client().field("origin", ALLOWED_ORIGIN).field("sec-fetch-site", "cross-site");
        if !row.is_open() {
            let answer = row.refused(&page, &["unauthorized"]);
            assert_eq!(answer.field("access-control-allow-origin"), ALLOWED_ORIGIN);
            assert_eq!(answer.field("vary"), "origin");
        }
    });
}

#[test]
fn a06_every_route_refuses_other_sites() {
    let target = Target::new();
    target.attack("another site's page", |row| {
        for (site, dest) in [
            ("cross-site", "script"),
            ("cross-site", "image"),
            ("same-site", "empty"),
            ("cross-site", "document"),
        ] {
            let page = row.admin().field("sec-fetch-site", site).field("sec-fetch-dest", dest);
            row.refused(&page, &["cross_site"]);
        }
    });
}

#[test]
fn a07_hosts_that_mean_every_address_are_refused() {
    let target = Target::new();
    let port = target.server.address.port();
    target.attack("an unspecified host", |row| {
        for host in [
            format!("0.0.0.0:{port}"),
            format!("[::]:{port}"),
            format!("192.168.0.1:{port}"),
            format!("0:{port}"),
        ] {
            row.refused(&row.admin().field("host", &host), &["foreign_host", "bad_host"]);
        }
    });
}

#[test]
fn a08_the_socket_is_guarded_like_the_port_but_for_the_token() {
    let target = Target::new();
    let unix = target.server.unix_client();
    assert_eq!(unix.get("/v1/status").status, 200);
    target.attack("a page led to the socket", |row| {
        row.refused(&unix.field("host", "evil.example"), &["foreign_host"]);
        row.refused(&unix.field("origin", "http://evil.example"), &["foreign_origin"]);
        row.refused(&unix.field("sec-fetch-site", "cross-site"), &["cross_site"]);
        if !row.is_open() {
            row.refused(&unix.bearer("wrong"), &["unauthorized", "too_many_failures"]);
        }
    });
}

#[test]
fn a09_every_route_bounds_what_it_reads() {
    let target = Target::new();
    let deep = [b"[".repeat(50_000), b"]".repeat(50_000)].concat();
    target.attack("a body out of bounds", |row| {
        let admin = row.admin();
        let method = row.route.method.as_str();
        if method == "GET" {
            return;
        }
        let huge = vec![b' '; row.route.takes.bytes_max() + 1];
        let answer = |body: &[u8]| admin.send(method, &row.target, Some(("application/json", body)));
        row.expect(&answer(&huge), &["body_too_large"]);
        // A gigabyte is announced: the answer does not wait for it.
        let announced = format!(
            "{method} {} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\n\
             expect: 100-continue\r\ncontent-length: 1073741824\r\n\r\n",
            row.target, row.server.address
        );
        let mut connection = admin.raw(announced.as_bytes());
        row.expect(&connection.answer().expect("an answer"), &["body_too_large"]);
        assert!(connection.is_closed());
        let malformed = ["{", "{\"text\":1e999}", "{\"name\":\"a\",\"name\":\"b\"}", "nonsense", "\u{0}"];
        for body in malformed.iter().map(|body| body.as_bytes()).chain([deep.as_slice()]) {
            row.expect(&answer(body), &["malformed_json", "invalid_body"]);
        }
        row.expect(&answer(br#"{"unknown":[18446744073709551616]}"#), &["invalid_body"]);
    });
    target.attack("a query out of bounds", |row| {
        if row.is_open() {
            return;
        }
        let separator = if row.target.contains('?') { '&' } else { '?' };
        let long = format!("{}{separator}a={}", row.target, "a".repeat(9_000));
        row.expect(&row.admin().send(row.route.method.as_str(), &long, row.body), &["uri_too_long"]);
    });
}

#[test]
fn a11_paths_do_not_lead_out() {
    let target = Target::new();
    let admin = target.server.client();
    for path in [
        "/v1/../etc/passwd",
        "/v1/%2e%2e/metrics",
        "/v1/messages/%2e%2e%2fstatus",
        "/v1/messages/a%00b",
        "/v1/cursors/..%2f..",
        "/v1/channels/%ff",
        "/v1//status",
        "/v1/status/",
    ] {
        let answer = admin.get(path);
        assert!(matches!(answer.status, 404 | 405 | 422), "{path}: {}", answer.status);
        answer.problem();
    }
}

#[test]
fn a12_nothing_a_browser_would_run_is_answered() {
    let target = Target::new();
    let script = "<script>alert(1)</script><img src=x onerror=alert(1)>";
    target.server.client().post("/v1/messages", &serde_json::json!({"text": script})).created();
    for row in target.rows() {
        if row.route.path == "/v1/events" || row.route.method != "GET" {
            continue;
        }
        let answer = row.send(&row.admin());
        let media_type = answer.field("content-type");
        let plain =
            ["application/json", "application/problem+json", "text/plain; version=0.0.4; charset=utf-8"];
        assert!(plain.contains(&media_type), "{}: {media_type}", row.target);
        assert_eq!(answer.field("content-security-policy"), "default-src 'none'; frame-ancestors 'none'");
        assert_eq!(answer.field("x-content-type-options"), "nosniff");
        assert_eq!(answer.field("cross-origin-resource-policy"), "same-origin");
        assert_eq!(answer.field("cache-control"), "no-store");
    }
}

#[test]
fn a14_requests_that_two_could_read_differently_are_refused() {
    let target = Target::new();
    target.attack("a smuggled request", |row| {
        let head = |fields: &str| {
            format!(
                "{} {} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\n{fields}\r\n\r\n",
                row.route.method, row.target, row.server.address
            )
        };
        let smuggled = "0\r\n\r\nDELETE /v1/channels/kept HTTP/1.1\r\n\r\n";
        let framings = [
            "content-length: 5\r\ntransfer-encoding: chunked",
            "transfer-encoding: chunked\r\ncontent-length: 5",
            "content-length: 5\r\ncontent-length: 6",
            "content-length: +5",
            "content-length: 5, 5",
            "transfer-encoding: chunked, identity",
            "transfer-encoding: xchunked",
            "transfer-encoding : chunked",
            " folded: 1",
            "content-length: 1\u{b}",
            "bad\0name: 1",
        ];
        for framing in framings {
            let mut connection = row.admin().raw(format!("{}{smuggled}", head(framing)).as_bytes());
            let answer = connection.answer().unwrap_or_else(|| panic!("{framing:?} has no answer"));
            assert_eq!(answer.status, 400, "{framing:?}");
            row.expect(&answer, &["bad_request"]);
            assert!(connection.is_closed(), "{framing:?} left the connection open");
        }
        if row.route.method == "GET" {
            return;
        }
        for body in ["zz\r\n{}\r\n0\r\n\r\n", "-2\r\n{}\r\n0\r\n\r\n", "ffffffffffffffffff\r\n{}\r\n0\r\n\r\n", "2\r\n{}x\r\n0\r\n\r\n"] {
            let mut connection = row.admin().raw(format!("{}{body}", head("transfer-encoding: chunked")).as_bytes());
            row.expect(&connection.answer().expect("an answer"), &["bad_request"]);
            assert!(connection.is_closed(), "{body:?} left the connection open");
        }
    });
}

#[test]
fn every_route_says_which_methods_it_has() {
    let target = Target::new();
    for row in target.rows() {
        let methods: Vec<&str> = ROUTES
            .iter()
            .filter(|other| other.path == row.route.path)
            .map(|other| other.method.as_str())
            .collect();
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"] {
            if methods.contains(&method) {
                continue;
            }
            let answer = row.admin().send(method, &row.target, None);
            assert_eq!(
                (answer.status, answer.problem().as_str()),
                (405, "method_not_allowed"),
                "{method} {}",
                row.target
            );
            let head = methods.contains(&"GET").then_some("HEAD");
            let expected: Vec<&str> = methods.iter().copied().chain(head).collect();
            assert_eq!(answer.field("allow"), expected.join(","), "{method} {}", row.target);
        }
    }
}

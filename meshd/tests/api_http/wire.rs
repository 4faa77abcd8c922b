//! Connections that do not behave.

use std::time::{Duration, Instant};

use meshd::http::limits;
use serde_json::json;

use crate::client::{Client, Connection};
use crate::server::{Server, TOKEN};

#[test]
fn a09_a_slow_body_is_given_up() {
    let server = Server::start();
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\n\
         content-length: 100\r\n\r\n{{\"te",
        server.address
    );
    let started = Instant::now();
    let mut connection = server.client().raw(head.as_bytes());
    let answer = connection.answer().expect("an answer");
    assert_eq!((answer.status, answer.problem().as_str()), (408, "slow_request"));
    assert!(connection.is_closed());
    assert!(started.elapsed() < limits::BODY_READ + Duration::from_secs(5));
}

#[test]
fn a09_half_sent_heads_and_idle_connections_are_cut_and_others_are_served_meanwhile() {
    let server = Server::start();
    let client = server.client();
    let started = Instant::now();
    let mut half: Vec<Connection> =
        (0..100).map(|_| client.raw(b"GET /v1/status HTTP/1.1\r\nhost: localhost\r\nx-slow: ")).collect();
    half.extend((0..20).map(|_| client.connect()));
    let asked = Instant::now();
    assert_eq!(client.get("/v1/health").status, 200);
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    for connection in &mut half {
        assert!(connection.is_closed());
    }
    assert!(started.elapsed() < limits::HEAD_READ + Duration::from_secs(5), "{:?}", started.elapsed());
}

#[test]
fn a_full_house_on_tcp_does_not_lock_out_the_socket() {
    let server = Server::start();
    let crowd: Vec<Connection> =
        (0..limits::CONNECTIONS_MAX + 10).map(|_| server.client().connect()).collect();
    assert_eq!(server.unix_client().get("/v1/status").status, 200);
    for connection in crowd {
        connection.close();
    }
    assert_eq!(server.client().get("/v1/status").status, 200);
}

#[test]
fn y02_heads_out_of_bounds_are_problems() {
    let server = Server::start();
    let client = server.client();
    let large = client.field("x-large", &"a".repeat(limits::HEAD_BYTES_MAX));
    let answer = large.get("/v1/status");
    assert_eq!((answer.status, answer.problem().as_str()), (431, "head_too_large"));
    let mut many = client.clone();
    for n in 0..200 {
        many = many.also(&format!("x-{n}"), "a");
    }
    let answer = many.get("/v1/status");
    assert_eq!((answer.status, answer.problem().as_str()), (431, "head_too_large"));
    let mut endless = client.connect();
    let mut sent = 0;
    while sent < 20_000_000 && endless.try_write(&[b'a'; 65_536]) {
        sent += 65_536;
    }
    assert!(sent < 20_000_000, "a head of 20 MB was taken");
}

#[test]
fn what_is_not_http_is_a_problem_and_the_end() {
    let server = Server::start();
    for bytes in [
        &b"nonsense\r\n\r\n"[..],
        b"GET / HTTP/3.0\r\n\r\n",
        b"GET /\x01 HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
    ] {
        let mut connection = server.client().raw(bytes);
        let answer = connection.answer().unwrap_or_else(|| panic!("{bytes:?} has no answer"));
        assert_eq!((answer.status, answer.problem().as_str()), (400, "bad_request"), "{bytes:?}");
        assert_eq!(answer.field("x-content-type-options"), "nosniff");
        assert!(connection.is_closed());
    }
}

#[test]
fn a_bad_request_after_good_ones_is_a_problem_too() {
    let server = Server::start();
    let good = format!("GET /v1/health HTTP/1.1\r\nhost: {}\r\n\r\n", server.address);
    let mut connection = server.client().connect();
    for _ in 0..3 {
        connection.write(good.as_bytes());
        assert_eq!(connection.answer().unwrap().status, 200);
    }
    connection.write(b"nonsense\r\n\r\n");
    assert_eq!(connection.answer().unwrap().problem(), "bad_request");
    assert!(connection.is_closed());
}

#[test]
fn requests_sent_ahead_are_answered_in_order() {
    let server = Server::start();
    let send = |text: &str| {
        let body = json!({"text": text}).to_string();
        format!(
            "POST /v1/messages HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            server.address,
            body.len()
        )
    };
    let mut connection = server.client().raw([send("one"), send("two"), send("three")].concat().as_bytes());
    for text in ["one", "two", "three"] {
        assert_eq!(connection.answer().unwrap().created()["text"], text);
    }
}

#[test]
fn a_chunked_body_is_taken_and_ends_its_connection() {
    let server = Server::start();
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\n\
         transfer-encoding: chunked\r\n\r\n",
        server.address
    );
    let mut connection =
        server.client().raw(format!("{head}8\r\n{{\"text\":\r\n5\r\n\"hi\"}}\r\n0\r\n\r\n").as_bytes());
    let answer = connection.answer().unwrap();
    assert_eq!(answer.created()["text"], "hi");
    assert_eq!(answer.field("connection"), "close");
    assert!(connection.is_closed());
}

#[test]
fn a_body_a_little_too_large_is_heard_out_and_answered() {
    let server = Server::start();
    let body = vec![b'a'; limits::BODY_BYTES_MAX + 300_000];
    let answer = server.client().send("POST", "/v1/messages", Some(("text/plain", &body)));
    assert_eq!((answer.status, answer.problem().as_str()), (413, "body_too_large"));
}

#[test]
fn http_1_0_is_spoken_too() {
    let server = Server::start();
    let request = format!("GET /v1/health HTTP/1.0\r\nhost: {}\r\n\r\n", server.address);
    let mut connection = server.client().raw(request.as_bytes());
    assert_eq!(connection.answer().unwrap().status, 200);
    assert!(connection.is_closed());
    assert_eq!(
        Client::tcp(server.address).raw(b"GET /v1/health HTTP/1.0\r\n\r\n").answer().unwrap().problem(),
        "bad_host"
    );
}

#[test]
fn a_stop_finishes_what_is_under_way_and_ends_streams() {
    let server = Server::start();
    let client = server.client();
    let mut stream = client.open("GET", "/v1/events", None);
    assert_eq!(stream.head().unwrap().0, 200);
    let mut idle = client.connect();
    let started = Instant::now();
    let _dir = server.stop();
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    while stream.chunk().is_some() {}
    assert!(idle.is_closed());
}

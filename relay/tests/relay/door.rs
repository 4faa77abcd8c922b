//! HTTP before the WebSocket: routes, origins, tokens, caps.

use crate::client::{Client, ask, get, handshake, metric};
use crate::server::{Server, config};
use meshlink_relay::{Config, Tokens};

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or("none")
}

#[test]
fn the_routes_answer_as_the_contract_says() {
    let server = Server::start();
    let health = get(server.address, "/healthz");
    assert_eq!(status(&health), "200");
    assert!(health.ends_with("\r\n\r\n{\"status\":\"ok\"}"), "{health}");
    let metrics = get(server.address, "/metrics");
    assert!(metrics.contains("Content-Type: text/plain; version=0.0.4"), "{metrics}");
    assert!(metrics.contains("\nmeshlink_relay_clients 0\n"), "{metrics}");
    let plain = get(server.address, "/");
    assert_eq!(status(&plain), "426");
    assert!(plain.contains("Upgrade: websocket\r\n") && plain.contains("websocat"), "{plain}");
    for (request, expected) in [
        ("GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi", "405"),
        ("DELETE /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "405"),
        ("HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n", "200"),
        ("GET / HTTP/1.1\r\n\r\n", "400"),
        ("hello\r\n\r\n", "400"),
        ("GET /?topic=%00 HTTP/1.1\r\nHost: x\r\n\r\n", "400"),
    ] {
        let answer = ask(server.address, request.as_bytes());
        assert_eq!(status(&answer), expected, "{request}{answer}");
        if expected >= "400" {
            let body = answer.split("\r\n\r\n").nth(1).unwrap();
            let problem: meshlink_api::Problem = serde_json::from_str(body).unwrap();
            assert_eq!(problem.status.to_string(), expected);
            assert!(answer.contains("Content-Type: application/problem+json\r\n"), "{answer}");
        }
    }
}

#[test]
fn a_handshake_that_is_not_right_is_refused() {
    let server = Server::start();
    let good = handshake("/", "");
    for (from, to, expected) in [
        ("Version: 13", "Version: 8", "426"),
        ("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ=", "400"),
        ("Sec-WebSocket-Key", "X-Key", "400"),
        ("Upgrade: websocket\r\n", "", "426"),
    ] {
        let answer = ask(server.address, good.replacen(from, to, 1).as_bytes());
        assert_eq!(status(&answer), expected, "{from} -> {to}: {answer}");
    }
    assert!(Client::json(server.address).head.contains("Upgrade: websocket\r\nConnection: Upgrade\r\n"));
}

#[test]
fn y09_a_page_of_another_origin_is_refused_before_the_upgrade() {
    let allow_origins = vec!["https://mesh.example".parse().unwrap()];
    let server = Server::new(Config { allow_origins, ..config() });
    let join = |origin: &str| Client::try_join(server.address, "/", &format!("Origin: {origin}\r\n"));
    let port = server.address.port();
    for origin in ["http://evil.example", "null", "file://", "https://mesh.example.evil.example"] {
        assert_eq!(join(origin).status(), "403", "{origin}");
    }
    // A rebound name agrees with its own Host header; that does not help it.
    let rebound = handshake("/", &format!("Origin: http://evil.example:{port}\r\n"))
        .replace("Host: localhost", &format!("Host: evil.example:{port}"));
    assert_eq!(status(&ask(server.address, rebound.as_bytes())), "403");
    for origin in ["http://localhost:5173", "http://127.0.0.1:9", "http://[::1]", "https://mesh.example"] {
        assert_eq!(join(origin).status(), "101", "{origin}");
    }
    assert_eq!(Client::try_join(server.address, "/", "").status(), "101");
}

const TOKEN: &str = "3f8a0c7e-right-token";

fn with_token() -> Server {
    let mut tokens = Tokens::default();
    tokens.add("another-token-0123456789");
    tokens.add(TOKEN);
    Server::new(Config { tokens, ..config() })
}

#[test]
fn y07_without_a_right_token_there_is_no_upgrade() {
    let server = with_token();
    let join = |headers: &str| Client::try_join(server.address, "/", headers);
    assert_eq!(join("").status(), "401");
    assert!(join("").head.contains("WWW-Authenticate: Bearer\r\n"));
    assert_eq!(join("Authorization: Bearer wrong\r\n").status(), "401");
    assert_eq!(join(&format!("Authorization: Basic {TOKEN}\r\n")).status(), "401");
    assert_eq!(Client::try_join(server.address, &format!("/?token={TOKEN}"), "").status(), "401");
    assert_eq!(join(&format!("Authorization: Bearer {TOKEN}\r\n")).status(), "101");
    assert_eq!(status(&get(server.address, "/healthz")), "200");
    assert_eq!(status(&get(server.address, "/metrics")), "401");
    let bearer = format!("GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n");
    assert_eq!(status(&ask(server.address, bearer.as_bytes())), "200");
}

#[test]
fn y07_a_browser_hands_over_its_token_as_a_subprotocol_that_is_not_sent_back() {
    let server = with_token();
    let headers =
        format!("Origin: http://localhost\r\nSec-WebSocket-Protocol: meshlink.json, bearer.{TOKEN}\r\n");
    let client = Client::join(server.address, "/", &headers);
    assert!(client.head.contains("Sec-WebSocket-Protocol: meshlink.json\r\n"), "{}", client.head);
    assert!(!client.head.contains(TOKEN), "{}", client.head);
    let headers = "Sec-WebSocket-Protocol: meshlink.json, bearer.wrong\r\n";
    assert_eq!(Client::try_join(server.address, "/", headers).status(), "401");
}

#[test]
fn y07_guesses_wait_longer_and_longer_while_the_right_token_does_not() {
    let server = with_token();
    let guess = handshake("/", "Authorization: Bearer wrong\r\n");
    let start = std::time::Instant::now();
    for _ in 0..5 {
        assert_eq!(status(&ask(server.address, guess.as_bytes())), "401");
    }
    assert!(
        start.elapsed().as_millis() >= 750,
        "the fourth and fifth wait 250 and 500 ms: {:?}",
        start.elapsed()
    );
    let guessers: Vec<_> = (0..60)
        .map(|_| {
            let mut tcp = crate::client::connect(server.address);
            std::io::Write::write_all(&mut tcp, guess.as_bytes()).unwrap();
            tcp
        })
        .collect();
    let start = std::time::Instant::now();
    let _client = Client::join(server.address, "/", &format!("Authorization: Bearer {TOKEN}\r\n"));
    assert!(start.elapsed().as_millis() < 1_000, "{:?}", start.elapsed());
    assert_eq!(status(&ask(server.address, guess.as_bytes())), "429");
    drop(guessers);
}

#[test]
fn y06_an_address_has_its_share_of_connections_and_further_ones_get_503() {
    let server = Server::new(Config { max_per_address: Some(5), ..config() });
    let clients: Vec<_> = (0..5).map(|_| Client::json(server.address)).collect();
    let refused = Client::try_join(server.address, "/", "");
    assert_eq!(refused.status(), "503");
    assert!(refused.head.contains("Retry-After: "), "{}", refused.head);
    drop(clients);
    crate::server::until("a place is free again", || {
        Client::try_join(server.address, "/", "").status() == "101"
    });
}

#[test]
fn y06_a_full_relay_answers_503_and_is_still_healthy() {
    let server = Server::new(Config { max_clients: 3, ..config() });
    let clients: Vec<_> = (0..3).map(|_| Client::json(server.address)).collect();
    assert_eq!(Client::try_join(server.address, "/", "").status(), "503");
    assert_eq!(status(&get(server.address, "/healthz")), "200");
    assert_eq!(metric(server.address, "clients"), 3);
    drop(clients);
    crate::server::until("a place is free again", || {
        Client::try_join(server.address, "/", "").status() == "101"
    });
}

#[test]
fn y10_compression_is_not_agreed_to() {
    let server = Server::start();
    let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    let mut client = Client::join(server.address, "/", offer);
    assert!(!client.head.to_ascii_lowercase().contains("extensions"), "{}", client.head);
    client.send(0xc1, b"compressed");
    assert!(matches!(client.receive(), crate::client::Frame::Close(1002, _)));
}

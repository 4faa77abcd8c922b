//! What UI authors and `websocat` rely on.

use crate::client::{Client, Frame};
use crate::server::{Server, config};
use meshlink_relay::Config;
use tungstenite::Message;

const HELLO: &str = r#"{"type":"TEXT","payload":"Hello World","senderId":"test-1","timestamp":1234567890}"#;

#[test]
fn a_text_frame_reaches_every_other_client_byte_for_byte() {
    let server = Server::start();
    let (mut a, mut b, mut c) =
        (Client::json(server.address), Client::json(server.address), Client::json(server.address));
    let odd = " {\"payload\":\"\\u00e9 é \\ud83d\\ude00\",\r\n\"type\" : \"TEXT\", \"n\":1e3 }\t";
    for text in [HELLO, odd, HELLO] {
        a.send_text(text);
        assert_eq!(b.receive_text(), text);
        assert_eq!(c.receive_text(), text);
    }
    // The sender got none of it: the first it hears is what another says.
    b.send_text(odd);
    assert_eq!(a.receive_text(), odd);
}

#[test]
fn posts_of_many_at_once_arrive_whole_once_and_in_each_ones_order() {
    const CLIENTS: usize = 8;
    const POSTS: usize = 500;
    let server = Server::new(Config { max_rate: 0, ..config() });
    let clients: Vec<_> = (0..CLIENTS).map(|_| Client::json(server.address)).collect();
    let threads = clients.into_iter().enumerate().map(|(me, mut client)| {
        std::thread::spawn(move || {
            let mut tcp = client.tcp.try_clone().unwrap();
            let writer = std::thread::spawn(move || {
                for n in 0..POSTS {
                    let text =
                        format!(r#"{{"type":"T","from":{me},"n":{n},"pad":"{}"}}"#, "x".repeat(n * 7 % 200));
                    std::io::Write::write_all(&mut tcp, &crate::client::frame(0x81, text.as_bytes()))
                        .unwrap();
                }
            });
            let mut next = [0; CLIENTS];
            for _ in 0..(CLIENTS - 1) * POSTS {
                let post: serde_json::Value = serde_json::from_str(&client.receive_text()).unwrap();
                let from = usize::try_from(post["from"].as_u64().unwrap()).unwrap();
                assert_eq!(post["n"], next[from], "from {from} to {me}");
                next[from] += 1;
            }
            writer.join().unwrap();
            assert_eq!(next[me], 0, "nobody hears itself");
            client
        })
    });
    let threads: Vec<_> = threads.collect();
    let clients: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    drop(clients);
}

#[test]
fn topics_are_apart() {
    let server = Server::start();
    let mut default = Client::json(server.address);
    let mut named = Client::join(server.address, "/?topic=global-mesh", "");
    let mut other = Client::join(server.address, "/?topic=caf%C3%A9&deviceId=d", "");
    let mut same = Client::join(server.address, "/?x=1&topic=caf%c3%a9", "");
    default.send_text(HELLO);
    assert_eq!(named.receive_text(), HELLO);
    let here = r#"{"type":"TEXT","payload":"here"}"#;
    other.send_text(here);
    assert_eq!(same.receive_text(), here);
    let marker = r#"{"type":"TEXT","payload":"marker"}"#;
    same.send_text(marker);
    assert_eq!(other.receive_text(), marker);
    named.send_text(marker);
    assert_eq!(default.receive_text(), marker);
}

#[test]
fn what_is_no_post_is_answered_to_its_sender_only_and_the_connection_stays() {
    let server = Server::start();
    let (mut a, mut b) = (Client::json(server.address), Client::json(server.address));
    a.send_text("hello");
    assert_eq!(a.receive_error(), "invalid_json");
    a.send_text(r#"{"payload":"x"}"#);
    assert_eq!(a.receive_error(), "missing_type");
    a.send_binary(HELLO.as_bytes());
    assert_eq!(a.receive_error(), "invalid_frame");
    a.send_text(&format!(r#"{{"type":"TEXT","payload":"{}"}}"#, "x".repeat(64 * 1024)));
    assert_eq!(a.receive_error(), "too_large");
    a.send_text(HELLO);
    assert_eq!(b.receive_text(), HELLO);
}

#[test]
fn the_largest_message_passes() {
    let server = Server::start();
    let (mut a, mut b) = (Client::json(server.address), Client::json(server.address));
    let frame = r#"{"type":"TEXT","payload":""}"#;
    let text = frame.replace("\"\"", &format!("\"{}\"", "x".repeat(64 * 1024 - frame.len())));
    assert_eq!(text.len(), 64 * 1024);
    a.send_text(&text);
    assert_eq!(b.receive_text(), text);
}

#[test]
fn a_client_over_its_rate_is_told_and_the_rest_of_its_messages_dropped() {
    let server = Server::new(Config { max_rate: 20, ..config() });
    let (mut a, mut b) = (Client::json(server.address), Client::json(server.address));
    for n in 0..200 {
        a.send_text(&format!(r#"{{"type":"TEXT","n":{n}}}"#));
    }
    assert_eq!(a.receive_error(), "rate_limited");
    b.send_text(HELLO);
    loop {
        let text = a.receive_text();
        if text == HELLO {
            break;
        }
        assert!(text.contains("rate_limited"), "{text}");
    }
    a.send(0x88, &1000_u16.to_be_bytes());
    let mut passed = 0;
    a.receive();
    drop(a);
    Client::json(server.address).send_text(HELLO);
    while b.receive_text() != HELLO {
        passed += 1;
    }
    assert!((20..100).contains(&passed), "{passed} of 200 passed");
}

#[test]
fn a_device_id_is_made_up_for_who_has_none() {
    let server = Server::start();
    let ids: Vec<_> = (0..2)
        .map(|_| {
            let client = Client::json(server.address);
            let id =
                client.head.lines().find_map(|line| line.strip_prefix("X-Device-Id: ")).unwrap().to_owned();
            let groups: Vec<_> = id.split('-').map(str::len).collect();
            assert_eq!(groups, [8, 4, 4, 4, 12], "{id}");
            assert!(id[14..].starts_with('4') && "89ab".contains(&id[19..20]), "{id} is a UUID of version 4");
            id
        })
        .collect();
    assert_ne!(ids[0], ids[1]);
    for (target, headers) in [("/?deviceId=me", ""), ("/", "x-device-id: me\r\n")] {
        assert!(!Client::join(server.address, target, headers).head.contains("X-Device-Id"));
    }
}

#[test]
fn fragments_and_control_frames_between_them_are_taken() {
    let server = Server::start();
    let (mut a, mut b) = (Client::json(server.address), Client::json(server.address));
    a.send(0x01, &HELLO.as_bytes()[..10]);
    a.send(0x89, b"are you there");
    a.send(0x00, &HELLO.as_bytes()[10..20]);
    a.send(0x80, &HELLO.as_bytes()[20..]);
    assert_eq!(a.receive(), Frame::Pong(b"are you there".to_vec()));
    assert_eq!(b.receive_text(), HELLO);
}

#[test]
fn closing_is_answered_with_the_same_code() {
    let server = Server::start();
    let mut a = Client::json(server.address);
    a.send(0x88, &4321_u16.to_be_bytes());
    assert_eq!(a.receive(), Frame::Close(4321, String::new()));
    assert_eq!(a.receive(), Frame::End);
    let mut b = Client::json(server.address);
    b.send(0x88, &[]);
    assert_eq!(b.receive(), Frame::Close(1000, String::new()));
}

#[test]
fn another_implementation_of_websocket_agrees() {
    let server = Server::start();
    let url = format!("ws://{}/", server.address);
    let (mut a, _) = tungstenite::connect(&url).unwrap();
    let (mut b, _) = tungstenite::connect(&url).unwrap();
    for bytes in [1, 100, 125, 126, 1_000, 65_000] {
        let text = format!(r#"{{"type":"TEXT","payload":"{}"}}"#, "x".repeat(bytes));
        a.send(Message::text(text.clone())).unwrap();
        assert_eq!(b.read().unwrap(), Message::text(text));
    }
    a.send(Message::Ping(vec![1, 2, 3].into())).unwrap();
    assert_eq!(a.read().unwrap(), Message::Pong(vec![1, 2, 3].into()));
    a.close(None).unwrap();
    while a.read().is_ok() {}
    assert!(!a.can_write());
}

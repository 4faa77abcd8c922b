//! Clients that want to harm: the relay stays small, fast and fair.

use crate::client::{Client, Frame, ask, connect, frame, get, handshake, metric, read_some};
use crate::server::{Program, Server, config, until};
use meshlink_api::relay::MeshFrame;
use meshlink_relay::Config;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Lets this process have as many sockets as the tests below need.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}

#[test]
fn y01_1000_half_sent_heads_are_cut_within_15_s_and_others_do_not_notice() {
    raise_file_limit();
    let relay = Program::start(&[]);
    let (mut a, mut b) = (Client::json(relay.address), Client::json(relay.address));
    let mut half: Vec<TcpStream> = (0..1_000)
        .map(|_| {
            let mut tcp = connect(relay.address);
            tcp.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ").unwrap();
            tcp
        })
        .collect();
    let connected = Instant::now();
    let mut fastest = Duration::MAX;
    for n in 0..20 {
        let asked = Instant::now();
        assert!(get(relay.address, "/healthz").starts_with("HTTP/1.1 200"));
        fastest = fastest.min(asked.elapsed());
        let text = format!(r#"{{"type":"TEXT","n":{n}}}"#);
        a.send_text(&text);
        assert_eq!(b.receive_text(), text);
    }
    assert!(fastest < Duration::from_millis(100), "{fastest:?}");
    let (rss, _) = relay.memory_kib();
    assert!(rss < 20 * 1024, "{rss} KiB with 1,000 half-sent heads");
    for tcp in &mut half {
        // Dribbling on does not help.
        let _ = tcp.write_all(b"x");
        let cut = read_some(tcp, &mut [0; 10]);
        let is_cut = match &cut {
            Ok(read) => *read == 0,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        };
        assert!(is_cut, "{cut:?} after {:?}", connected.elapsed());
    }
    assert!(connected.elapsed() < Duration::from_secs(15), "{:?}", connected.elapsed());
    assert_eq!(metric(relay.address, "cuts_total{reason=\"head_timeout\"}"), 1_000);
}

#[test]
fn y02_20_mb_of_header_and_2000_headers_are_refused_and_not_kept() {
    let relay = Program::start(&[]);
    let mut tcp = connect(relay.address);
    tcp.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nX-Big: ").unwrap();
    let chunk = vec![b'a'; 1_000_000];
    for _ in 0..20 {
        if tcp.write_all(&chunk).is_err() {
            break;
        }
    }
    let mut answer = [0; 12];
    tcp.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 431");
    let many = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(2_000));
    assert!(ask(relay.address, many.as_bytes()).starts_with("HTTP/1.1 431"));
    let (_, most) = relay.memory_kib();
    assert!(most < 20 * 1024, "{most} KiB");
}

#[test]
fn y03_messages_in_endless_fragments_are_closed_with_1009_and_too_large_ones_cost_no_connection() {
    let server = Server::start();
    let mut endless = Client::json(server.address);
    endless.send(0x01, b"{");
    let fragments = frame(0x00, b"x").repeat(10_000);
    let start = Instant::now();
    let _ = (0..100).try_for_each(|_| endless.tcp.write_all(&fragments));
    assert!(matches!(endless.receive(), Frame::Close(1009, _)));
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    let mut over = Client::json(server.address);
    for bytes in [70_000, 900_000, 3_000_000] {
        over.send_text(&"x".repeat(bytes));
        assert_eq!(over.receive_error(), "too_large", "{bytes}");
    }
    let mut other = Client::json(server.address);
    over.send_text(r#"{"type":"TEXT"}"#);
    assert_eq!(other.receive_text(), r#"{"type":"TEXT"}"#);
}

#[test]
fn y04_500_clients_that_never_read_are_cut_and_cost_little_and_the_rest_get_everything() {
    raise_file_limit();
    let relay = Program::start(&["--max-rate", "0"]);
    let deaf: Vec<TcpStream> = (0..500)
        .map(|_| {
            let tcp = connect(relay.address);
            // A small window, so that the kernel's buffers are full early.
            socket2::SockRef::from(&tcp).set_recv_buffer_size(4_096).unwrap();
            (&tcp).write_all(handshake("/", "").as_bytes()).unwrap();
            tcp
        })
        .collect();
    let (mut sender, mut reader) = (Client::json(relay.address), Client::json(relay.address));
    until("all have joined", || metric(relay.address, "clients") == 502);
    let (before, _) = relay.memory_kib();
    let start = Instant::now();
    let pad = "x".repeat(20_000);
    let mut posts = 0;
    while metric(relay.address, "clients") > 2 {
        for _ in 0..10 {
            let text = format!(r#"{{"type":"TEXT","n":{posts},"pad":"{pad}"}}"#);
            sender.send_text(&text);
            assert_eq!(reader.receive_text(), text);
            posts += 1;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "still {}", metric(relay.address, "clients"));
    }
    assert_eq!(metric(relay.address, "cuts_total{reason=\"slow_reader\"}"), 500);
    assert_eq!(metric(relay.address, "queued_bytes"), 0);
    let (_, most) = relay.memory_kib();
    // Each may queue 1 MiB; what they have not read is the same for all, so it is kept once.
    assert!(most - before < 40 * 1024, "{before} KiB, then up to {most} KiB");
    drop(deaf);
}

#[test]
fn y05_a_flood_of_pings_or_pongs_is_ended() {
    let server = Server::start();
    for first in [0x89, 0x8a] {
        let mut client = Client::json(server.address);
        for _ in 0..20 {
            client.send(0x89, b"fair");
            assert_eq!(client.receive(), Frame::Pong(b"fair".to_vec()));
        }
        let flood = frame(first, b"flood").repeat(1_000);
        let _ = client.tcp.write_all(&flood);
        let mut end = client.receive();
        while let Frame::Pong(_) = end {
            end = client.receive();
        }
        assert!(matches!(end, Frame::Close(1008, _)), "{end:?}");
    }
}

#[test]
fn y05_a_node_that_follows_each_of_many_texts_with_a_ping_is_no_flood() {
    let relay = Program::start(&["--max-rate", "0"]);
    let mut node = Client::node(relay.address, "chatty");
    let text = br#"{"type":"TEXT","payload":"one of many","senderId":"x","timestamp":1}"#;
    for n in 0..300_u32 {
        node.send(0x81, text);
        node.send(0x89, &n.to_be_bytes());
        assert_eq!(node.receive(), Frame::Pong(n.to_be_bytes().to_vec()), "after {n} texts");
    }
}

#[test]
fn y05_connections_that_come_and_go_without_closing_leave_nothing_behind() {
    let relay = Program::start(&[]);
    let mut watcher = Client::node(relay.address, "watcher");
    let come_and_go = |watcher: &mut Client, times: usize| {
        for _ in 0..times {
            let node = Client::node(relay.address, "visitor");
            let arrived = watcher.receive_binary();
            assert!(matches!(MeshFrame::decode(&arrived), Ok(MeshFrame::Present { .. })));
            drop(node);
            let left = watcher.receive_binary();
            assert!(matches!(MeshFrame::decode(&left), Ok(MeshFrame::Gone { .. })));
        }
    };
    come_and_go(&mut watcher, 100);
    let (before, _) = relay.memory_kib();
    come_and_go(&mut watcher, 1_000);
    let (after, _) = relay.memory_kib();
    assert!(after - before < 256, "{before} KiB, then {after} KiB");
    assert_eq!(metric(relay.address, "clients"), 1);
}

#[test]
fn y06_out_of_file_descriptors_it_waits_without_spinning_and_then_goes_on() {
    let mut shell = std::process::Command::new("sh");
    let program = env!("CARGO_BIN_EXE_meshlink-relay");
    shell.args(["-c", "ulimit -n 40 && exec \"$0\" --listen 127.0.0.1:0 --max-rate 0", program]);
    let relay = Program::spawn(&mut shell);
    let (mut a, mut b) = (Client::json(relay.address), Client::json(relay.address));
    let crowd: Vec<_> = (0..100).map(|_| connect(relay.address)).collect();
    let start = Instant::now();
    let mut n = 0;
    while start.elapsed() < Duration::from_secs(1) {
        let text = format!(r#"{{"type":"TEXT","n":{n}}}"#);
        a.send_text(&text);
        assert_eq!(b.receive_text(), text);
        n += 1;
    }
    drop(crowd);
    until("it accepts again", || get(relay.address, "/healthz").starts_with("HTTP/1.1 200"));
    let tries = metric(relay.address, "accept_errors_total");
    let most = 2 + 4 * start.elapsed().as_secs() + 100;
    assert!((1..=most).contains(&tries), "{tries} tries to accept in {:?}", start.elapsed());
}

#[test]
fn y12_after_a_restart_clients_join_again_and_nothing_is_said_twice() {
    let mut server = Server::start();
    let address = server.address;
    let (mut a, mut b) = (Client::json(address), Client::node(address, "b"));
    let before = r#"{"type":"TEXT","payload":"before"}"#;
    a.send_text(before);
    assert_eq!(b.receive_text(), before);
    server.stop();
    for client in [&mut a, &mut b] {
        assert!(matches!(client.receive(), Frame::Close(1001, _)));
    }
    let _again = Server::new(Config { listen: address, ..config() });
    let (mut a, mut b) = (Client::json(address), Client::node(address, "b"));
    let after = r#"{"type":"TEXT","payload":"after"}"#;
    a.send_text(after);
    assert_eq!(b.receive_text(), after);
}

#[test]
fn stopping_waits_for_nobody_longer_than_a_second() {
    let mut server = Server::start();
    let _deaf: Vec<_> = (0..10).map(|_| Client::json(server.address)).collect();
    let _half = connect(server.address);
    let took = server.stop();
    assert!(took < Duration::from_secs(3), "{took:?}");
}

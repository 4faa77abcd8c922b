//! The deadlines of real sockets, with the clock turned forward instead of waiting.

use super::*;
use crate::limits::{
    CLOSE_MS_MAX, HEAD_MS_MAX, MESSAGE_MS_MAX, PENDING_MAX, PING_AFTER_MS, SILENCE_MS_MAX, STALL_MS_MAX,
};
use std::io::{Read, Write};
use std::net::TcpStream;

const HANDSHAKE: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

struct Bench {
    relay: Relay,
    events: Events,
}

impl Bench {
    fn new(config: Config) -> Self {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let relay = Relay::bind(Config { listen, ..config }).unwrap();
        Self { relay, events: Events::with_capacity(EVENTS_PER_TURN) }
    }

    fn connect(&mut self, first_words: &[u8]) -> TcpStream {
        let mut tcp = TcpStream::connect(self.relay.local_addr()).unwrap();
        tcp.set_nonblocking(true).unwrap();
        tcp.write_all(first_words).unwrap();
        tcp
    }

    /// A client that has joined.
    fn join(&mut self) -> TcpStream {
        let mut tcp = self.connect(HANDSHAKE);
        let mut head = Vec::new();
        self.until(|_| {
            let _ = tcp.read_to_end(&mut head);
            head.ends_with(b"\r\n\r\n")
        });
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        tcp
    }

    /// Lets the relay take turns until something holds.
    fn until(&mut self, mut holds: impl FnMut(&Relay) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !holds(&self.relay) {
            assert!(Instant::now() < deadline, "it never holds");
            self.relay.wait(&mut self.events, Some(Duration::from_millis(1))).unwrap();
            self.relay.turn(&self.events);
        }
    }

    fn forward_ms(&mut self, ms: u64) {
        self.relay.started -= Duration::from_millis(ms);
        let sweep_by = self.relay.swept_ms + ms;
        self.until(|relay| relay.swept_ms >= sweep_by);
    }

    fn cuts(&self) -> Vec<(Cut, u64)> {
        Cut::ALL
            .into_iter()
            .map(|cut| (cut, self.relay.hub.counters.cuts(cut)))
            .filter(|(_, n)| *n > 0)
            .collect()
    }
}

fn received(tcp: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = tcp.read_to_end(&mut bytes);
    bytes
}

#[test]
fn y01_a_head_that_is_not_whole_in_10_s_is_cut() {
    let mut bench = Bench::new(Config::default());
    let _half = bench.connect(&HANDSHAKE[..40]);
    let _silent = bench.connect(b"");
    bench.until(|relay| relay.conns.len() == 2);
    bench.forward_ms(HEAD_MS_MAX - 1_500);
    assert_eq!(bench.relay.conns.len(), 2);
    bench.forward_ms(1_500);
    assert_eq!((bench.relay.conns.len(), bench.relay.pending_count), (0, 0));
    assert_eq!(bench.cuts(), [(Cut::HeadTimeout, 2)]);
}

#[test]
fn y01_the_oldest_of_too_many_half_sent_heads_makes_room() {
    let mut bench = Bench::new(Config::default());
    let mut client = bench.join();
    let mut oldest = bench.connect(&HANDSHAKE[..40]);
    bench.until(|relay| relay.conns.len() == 2);
    let half: Vec<_> = (0..PENDING_MAX)
        .map(|_| {
            let half = bench.connect(&HANDSHAKE[..40]);
            bench.until(|relay| relay.hub.counters.connections == relay.last_serial && !relay.is_accepting);
            half
        })
        .collect();
    bench.until(|relay| relay.last_serial == PENDING_MAX as u64 + 2);
    assert_eq!(bench.cuts(), [(Cut::Displaced, 1)]);
    assert!(oldest.read(&mut [0; 10]).is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
    assert_eq!(bench.relay.pending_count, half.len());
    bench.join();
    assert_eq!(client.read(&mut [0; 10]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_silent_client_is_pinged_and_then_cut_and_one_that_answers_is_not() {
    let mut bench = Bench::new(Config::default());
    let (mut gone, mut alive) = (bench.join(), bench.join());
    bench.forward_ms(PING_AFTER_MS + 100);
    // Once is enough.
    bench.forward_ms(1_000);
    assert_eq!(received(&mut gone), [0x89, 0]);
    assert_eq!(received(&mut alive), [0x89, 0]);
    alive.write_all(&[0x8a, 0x80, 1, 2, 3, 4]).unwrap();
    let mut turns = 0;
    bench.until(|_| {
        turns += 1;
        turns > 5
    });
    bench.forward_ms(SILENCE_MS_MAX - PING_AFTER_MS + 100);
    assert_eq!(bench.cuts(), [(Cut::Silent, 1)]);
    assert_eq!(bench.relay.hub.clients(), 1);
    assert_eq!(received(&mut alive), [0x89, 0]);
}

#[test]
fn a_message_has_to_be_finished_in_30_s() {
    let mut bench = Bench::new(Config::default());
    let mut slow = bench.join();
    slow.write_all(&[0x81, 0xfe, 1, 0, 0, 0, 0, 0, b'x']).unwrap();
    bench.until(|relay| relay.partial_bytes > 0);
    bench.forward_ms(PING_AFTER_MS);
    slow.write_all(b"y").unwrap();
    bench.forward_ms(MESSAGE_MS_MAX - PING_AFTER_MS + 100);
    assert_eq!(bench.cuts(), [(Cut::MessageTimeout, 1)]);
    assert_eq!((bench.relay.hub.clients(), bench.relay.partial_bytes), (0, 0));
}

#[test]
fn y04_a_client_that_does_not_read_is_cut_after_20_s_though_its_queue_is_short() {
    let mut bench = Bench::new(Config { max_rate: 0, ..Config::default() });
    let (mut sender, _deaf) = (bench.join(), bench.join());
    let text = format!(r#"{{"type":"TEXT","payload":"{}"}}"#, "x".repeat(60_000));
    let mut frame = vec![0x81, 0xfe];
    frame.extend_from_slice(&u16::try_from(text.len()).unwrap().to_be_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(text.as_bytes());
    while bench.relay.hub.queued_bytes() == 0 {
        sender.set_nonblocking(false).unwrap();
        sender.write_all(&frame).unwrap();
        let posts = bench.relay.hub.counters.posts_in;
        bench.until(|relay| relay.hub.counters.posts_in > posts && !relay.hub.is_behind());
    }
    sender.write_all(&[0x8a, 0x80, 0, 0, 0, 0]).unwrap();
    bench.forward_ms(STALL_MS_MAX + 1_100);
    assert_eq!(bench.cuts(), [(Cut::SlowReader, 1)]);
    assert_eq!((bench.relay.hub.clients(), bench.relay.hub.queued_bytes()), (1, 0));
}

#[test]
fn y05_who_does_not_close_its_side_is_dropped_after_3_s() {
    let mut bench = Bench::new(Config::default());
    let mut rude = bench.join();
    rude.write_all(&[0xff; 100]).unwrap();
    bench.until(|relay| relay.hub.clients() == 0);
    assert_eq!(received(&mut rude)[..4], [0x88, received_len(), 0x03, 0xea]);
    let _curious = bench.connect(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    bench.until(|relay| relay.conns.len() == 2 && relay.pending_count == 0);
    bench.forward_ms(CLOSE_MS_MAX + 100);
    assert_eq!(bench.relay.conns.len(), 0);
}

/// Length of the close frame that says a reserved bit was set.
fn received_len() -> u8 {
    2 + u8::try_from("reserved bit set; no extension was agreed on".len()).unwrap()
}

#[test]
fn y07_the_fourth_wrong_token_is_answered_late_and_a_right_one_is_not() {
    let mut tokens = crate::Tokens::default();
    tokens.add("right-token-0123456789");
    let mut bench = Bench::new(Config { tokens, ..Config::default() });
    let ask = |token: &str| {
        format!("GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n").into_bytes()
    };
    for _ in 0..3 {
        let mut asker = bench.connect(&ask("wrong"));
        let mut answer = Vec::new();
        bench.until(|_| asker.read_to_end(&mut answer).is_ok() && !answer.is_empty());
        assert!(answer.starts_with(b"HTTP/1.1 401"));
    }
    let mut late = bench.connect(&ask("wrong"));
    bench.until(|relay| relay.held_count == 1);
    let mut right = bench.connect(&ask("right-token-0123456789"));
    let mut answer = Vec::new();
    bench.until(|_| right.read_to_end(&mut answer).is_ok() && !answer.is_empty());
    assert!(answer.starts_with(b"HTTP/1.1 200"));
    let mut answer = Vec::new();
    bench.until(|_| late.read_to_end(&mut answer).is_ok() && !answer.is_empty());
    assert!(answer.starts_with(b"HTTP/1.1 401") && bench.relay.held_count == 0);
    assert!(bench.relay.now_ms >= 250);
}

#[test]
fn last_words_and_the_end_may_come_together() {
    let mut bench = Bench::new(Config::default());
    let (mut leaver, mut other) = (bench.join(), bench.join());
    leaver.write_all(b"\x81\x8f\0\0\0\0{\"type\":\"TEXT\"}").unwrap();
    leaver.shutdown(std::net::Shutdown::Write).unwrap();
    let mut said = Vec::new();
    bench.until(|relay| {
        let _ = other.read_to_end(&mut said);
        relay.hub.clients() == 1 && said.len() == 17
    });
    assert_eq!(said[2..], *b"{\"type\":\"TEXT\"}");
}

#[test]
fn a_slow_client_has_30_s_for_each_message_not_for_all() {
    let mut bench = Bench::new(Config::default());
    let mut slow = bench.join();
    let message = b"\x81\x8f\0\0\0\0{\"type\":\"TEXT\"}";
    slow.write_all(&message[..10]).unwrap();
    for posts in 1..5 {
        bench.until(|relay| relay.partial_bytes > 0);
        bench.forward_ms(MESSAGE_MS_MAX - 10_000);
        slow.write_all(&[&message[10..], &message[..10]].concat()).unwrap();
        bench.until(|relay| relay.hub.counters.posts_in == posts);
    }
    assert_eq!((bench.cuts(), bench.relay.hub.clients()), (vec![], 1));
}

//! The event stream: resumed, filtered, bounded.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Client, Connection};
use crate::server::{Options, Server, from_elsewhere};

/// An event as it came over the wire.
#[derive(Debug, Clone, PartialEq)]
struct Event {
    id: String,
    kind: String,
    data: Value,
}

/// Reads a stream event by event.
struct Stream {
    connection: Connection,
    text: String,
    lines: bool,
}

impl Stream {
    fn open(client: &Client, query: &str) -> Self {
        Self::over(client.open("GET", &format!("/v1/events{query}"), None), false)
    }

    fn lines(client: &Client, query: &str) -> Self {
        let client = client.field("accept", "application/x-ndjson");
        Self::over(client.open("GET", &format!("/v1/events{query}"), None), true)
    }

    fn over(mut connection: Connection, lines: bool) -> Self {
        let (status, fields) = connection.head().expect("a head");
        assert_eq!(status, 200, "{fields:?}");
        let expected = if lines { "application/x-ndjson" } else { "text/event-stream" };
        assert_eq!(fields["content-type"], expected);
        Self { connection, text: String::new(), lines }
    }

    /// The next event; `None` when the stream ends.
    fn next(&mut self) -> Option<Event> {
        let end = if self.lines { "\n" } else { "\n\n" };
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            assert!(Instant::now() < deadline, "no event came");
            if let Some((block, rest)) = self.text.split_once(end) {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                if let Some(event) = if self.lines { read_line(&block) } else { read_block(&block) } {
                    return Some(event);
                }
                continue;
            }
            self.text.push_str(std::str::from_utf8(&self.connection.chunk()?).expect("UTF-8"));
        }
    }

    fn take(&mut self, count: usize) -> Vec<Event> {
        (0..count).map(|_| self.next().expect("another event")).collect()
    }
}

fn read_block(block: &str) -> Option<Event> {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    let data = serde_json::from_str(&field("data: ")?).expect("JSON");
    Some(Event { id: field("id: ")?, kind: field("event: ")?, data })
}

fn read_line(line: &str) -> Option<Event> {
    let event: meshlink_api::Event = serde_json::from_str(line).ok()?;
    Some(Event { id: event.id, kind: event.kind.as_str().to_owned(), data: event.data })
}

fn send(client: &Client, text: &str) -> Value {
    client.post("/v1/messages", &json!({"text": text})).created()
}

fn cursor(client: &Client) -> String {
    client.get("/v1/status").ok()["cursor"].as_str().expect("a cursor").to_owned()
}

/// Kinds and texts of events.
fn summary(events: &[Event]) -> Vec<(&str, &str)> {
    events.iter().map(|e| (e.kind.as_str(), e.data["text"].as_str().unwrap_or_default())).collect()
}

#[test]
fn a_fresh_stream_begins_with_the_state_and_misses_nothing_after_it() {
    let server = Server::start();
    let client = server.client();
    send(&client, "before");
    let mut stream = Stream::open(&client, "");
    let status = stream.next().unwrap();
    assert_eq!(status.kind, "status");
    assert_eq!(status.data["messages"]["pending"], 1);
    assert_eq!(status.data["cursor"], status.id.as_str());
    let sent = send(&client, "after");
    let event = stream.next().unwrap();
    assert_eq!(event.kind, "message.new");
    assert_eq!(event.data, sent);
    assert_eq!(event.id, sent["cursor"]);
}

#[test]
fn both_formats_say_the_same() {
    let server = Server::start();
    let client = server.client();
    let start = cursor(&client);
    send(&client, "one\nline\u{2028}break");
    server.receive("two");
    let blocks = Stream::open(&client, &format!("?since={start}")).take(2);
    let lines = Stream::lines(&client, &format!("?since={start}")).take(2);
    assert_eq!(blocks, lines);
    assert_eq!(summary(&blocks), [("message.new", "one\nline\u{2028}break"), ("message.new", "two")]);
}

#[test]
fn a_stream_resumes_after_any_event_without_loss_or_repetition() {
    let server = Server::start();
    let client = server.client();
    let start = cursor(&client);
    server.receive_all((0..100).map(|n| format!("m{n}")));
    let all = Stream::open(&client, &format!("?since={start}")).take(100);
    for at in [0, 1, 31, 32, 63, 98] {
        let id = &all[at].id;
        let rest = 99 - at;
        assert_eq!(Stream::open(&client, &format!("?since={id}")).take(rest), all[at + 1..], "since {at}");
        let header = client.field("last-event-id", id);
        assert_eq!(
            Stream::open(&header, &format!("?since={start}")).take(rest),
            all[at + 1..],
            "header {at}"
        );
    }
}

#[test]
fn a_stream_resumes_after_a_restart() {
    let server = Server::start();
    let client = server.client();
    let mut stream = Stream::open(&client, "");
    stream.next().unwrap();
    send(&client, "one");
    let last = stream.next().unwrap();
    send(&client, "two");
    let server = Server::with(Options { dir: Some(server.stop()), ..Options::default() });
    // The server ended the stream in good order; what it had still sent may be read.
    while let Some(event) = stream.next() {
        assert_eq!(event.data["text"], "two");
    }
    let client = server.client();
    send(&client, "three");
    let events = Stream::open(&client, &format!("?since={}", last.id)).take(2);
    assert_eq!(summary(&events), [("message.new", "two"), ("message.new", "three")]);
}

#[test]
fn a_replay_shows_each_status_as_it_was() {
    use meshlink_core::{MessageStatus, Store};
    let server = Server::start();
    let client = server.client();
    let start = cursor(&client);
    let sent = send(&client, "hello");
    let id = sent["id"].as_str().unwrap().parse().unwrap();
    server.write(move |node, now| {
        use meshlink_core::Event;
        let store = node.store_mut();
        for status in [MessageStatus::Synced, MessageStatus::Expired] {
            let reason = (status == MessageStatus::Expired).then(|| "too late".to_owned());
            store.set_status(&id, status, reason.as_deref())?;
            store.append_event(&Event::MessageStatus { id, status, reason }, now.unix_ms)?;
        }
        Ok(())
    });
    let events = Stream::open(&client, &format!("?since={start}")).take(3);
    let statuses: Vec<&str> = events.iter().map(|e| e.data["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["pending", "synced", "expired"]);
    assert_eq!(events[2].data["status_reason"], "too late");
    assert_eq!(events[0].data, sent);
}

#[test]
fn a_forgotten_message_is_left_out_of_a_replay() {
    let server = Server::start();
    let client = server.client();
    let start = cursor(&client);
    let first = send(&client, "first");
    send(&client, "second");
    client.delete(&format!("/v1/messages/{}", first["id"].as_str().unwrap()));
    let event = Stream::open(&client, &format!("?since={start}&types=message.new")).next().unwrap();
    assert_eq!(event.data["text"], "second");
}

#[test]
fn types_are_filtered_for() {
    let server = Server::start();
    let client = server.client();
    let start = cursor(&client);
    let mut stream = Stream::open(&client, &format!("?since={start}&types=transport.state,message.status"));
    send(&client, "not shown");
    let up = meshlink_core::TransportStatus {
        kind: meshlink_core::LinkKind::Relay,
        name: "ws://relay.example".to_owned(),
        state: meshlink_core::TransportState::Up,
        detail: "connected".to_owned(),
        hint: None,
    };
    server.write(move |node, now| node.report_transport(up, now));
    let event = stream.next().unwrap();
    assert_eq!(event.kind, "transport.state");
    assert_eq!(event.data["detail"], "connected");
    assert_eq!(event.data["kind"], "relay");
    assert_eq!(client.get("/v1/events?types=messages").problem(), "invalid_query");
    assert_eq!(client.get("/v1/events?since=nonsense").problem(), "invalid_cursor");
    assert_eq!(client.get("/v1/events?sinec=x").problem(), "invalid_query");
}

#[test]
fn a_position_that_is_no_longer_kept_is_answered_with_a_gap() {
    use meshlink_core::Store;
    let server = Server::start();
    let client = server.client();
    let start = cursor(&client);
    server.receive_all((0..20).map(|n| format!("m{n}")));
    server.write(|node, _| node.store_mut().trim_events(5));
    for query in [format!("?since={start}"), "?since=00000000-3".to_owned()] {
        let mut stream = Stream::open(&client, &query);
        let gap = stream.next().unwrap();
        assert_eq!(gap.kind, "gap", "{query}");
        let rest = stream.take(5);
        assert_eq!(gap.data, json!({"oldest": rest[0].id}));
        assert_eq!(rest[0].data["text"], "m15");
        // Whoever stops at the gap resumes behind it.
        assert_eq!(Stream::open(&client, &format!("?since={}", gap.id)).take(5), rest);
    }
    // A browser repeats whatever id it has seen, also one of another program on this port.
    let strange = client.field("last-event-id", "42");
    assert_eq!(Stream::open(&strange, "").next().unwrap().kind, "gap");
    // A gap is shown whatever is filtered for.
    assert_eq!(Stream::open(&client, &format!("?since={start}&types=link.up")).next().unwrap().kind, "gap");
    // A position from the future: this database was restored from a backup.
    let (store, newest) =
        cursor(&client).split_once('-').map(|(s, n)| (s.to_owned(), n.parse::<u64>().unwrap())).unwrap();
    assert_eq!(Stream::open(&client, &format!("?since={store}-{}", newest + 1)).next().unwrap().kind, "gap");
}

#[test]
fn a_reader_that_falls_behind_the_log_gets_a_gap_and_goes_on() {
    use meshlink_core::Store;
    let server = Server::start();
    let client = server.client();
    let start = cursor(&client);
    let mut stream = Stream::open(&client, &format!("?since={start}"));
    server.receive("first");
    assert_eq!(stream.next().unwrap().data["text"], "first");
    // In one transaction, so that the stream can't read what is dropped again.
    server.write(|node, now| {
        for n in 0..10 {
            node.submit_bridged(from_elsewhere(&format!("m{n}")), now).expect("acceptable");
        }
        node.store_mut().trim_events(1)
    });
    assert_eq!(stream.next().unwrap().kind, "gap");
    assert_eq!(stream.next().unwrap().data["text"], "m9");
}

#[test]
fn a_named_position_is_where_a_stream_begins() {
    let server = Server::start();
    let client = server.client();
    assert_eq!(Stream::open(&client, "?cursor_name=ui").next().unwrap().kind, "status");
    let first = send(&client, "first");
    send(&client, "second");
    client.put("/v1/cursors/ui", &json!({"cursor": first["cursor"]})).ok();
    let event = Stream::open(&client, "?cursor_name=ui").next().unwrap();
    assert_eq!((event.kind.as_str(), &event.data["text"]), ("message.new", &json!("second")));
    assert_eq!(client.get("/v1/events?cursor_name=..%2f").problem(), "invalid_name");
}

#[test]
fn a01_a_ticket_opens_one_stream() {
    let server = Server::start();
    let ticket = server.client_with_scope("read").post_empty("/v1/events/ticket").created();
    assert_eq!(ticket["expires_in_s"], 30);
    let query = format!("?ticket={}", ticket["ticket"].as_str().unwrap());
    let stranger = Client::tcp(server.address);
    assert_eq!(Stream::open(&stranger, &query).next().unwrap().kind, "status");
    let again = stranger.get(&format!("/v1/events{query}"));
    assert_eq!((again.status, again.problem().as_str()), (401, "bad_ticket"));
}

#[test]
fn a_stream_ends_when_its_token_is_taken_back() {
    let server = Server::start();
    let client = server.client();
    let made = client.post("/v1/tokens", &json!({"name": "bot", "scope": "read"})).created();
    let bot = Client::tcp(server.address).bearer(made["secret"].as_str().unwrap());
    let mut stream = Stream::open(&bot, "");
    assert_eq!(stream.next().unwrap().kind, "status");
    client.delete(&format!("/v1/tokens/{}", made["id"].as_str().unwrap()));
    send(&client, "secret plans");
    assert_eq!(stream.next(), None);
}

#[test]
fn a_quiet_stream_says_that_it_lives() {
    let server = Server::start();
    let client = server.client();
    let start = cursor(&client);
    let mut blocks = client.open("GET", &format!("/v1/events?since={start}"), None);
    let mut lines = client.field("accept", "application/x-ndjson").open(
        "GET",
        &format!("/v1/events?since={start}"),
        None,
    );
    assert_eq!((blocks.head().unwrap().0, lines.head().unwrap().0), (200, 200));
    assert_eq!(blocks.chunk().unwrap(), b"retry: 1000\n\n");
    assert_eq!(blocks.chunk().unwrap(), b": keep-alive\n\n");
    assert_eq!(lines.chunk().unwrap(), b"\n");
}

#[test]
fn a10_streams_that_nobody_reads_cost_little_and_have_an_end() {
    if !is_alone("streams::a10_streams_that_nobody_reads_cost_little_and_have_an_end") {
        return;
    }
    let server = Server::start();
    let client = server.client();
    let start = cursor(&client);
    let mut open: Vec<Connection> = Vec::new();
    let mut refused = 0;
    for _ in 0..100 {
        let mut connection = client.open("GET", &format!("/v1/events?since={start}"), None);
        let (status, fields) = connection.head().unwrap();
        match status {
            200 => open.push(connection),
            503 => {
                assert_eq!(fields["retry-after"], "5");
                refused += 1;
            }
            status => panic!("{status}"),
        }
    }
    assert_eq!(
        (open.len(), refused),
        (meshd::http::limits::STREAMS_MAX, 100 - meshd::http::limits::STREAMS_MAX)
    );
    // Far more than all socket buffers hold, and nobody reads: others are served all the same.
    let before = resident_bytes();
    server.receive_all((0..400).map(|n| format!("{n} {}", "x".repeat(16_000))));
    assert_eq!(client.get("/v1/status").status, 200);
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 64 * 1024 * 1024, "{grown} bytes for {} streams", open.len());
    // One that reads after all has missed nothing.
    let mut late = Stream { connection: open.pop().unwrap(), text: String::new(), lines: false };
    assert_eq!(late.take(400).len(), 400);
    // A place that becomes free is given away again.
    open.pop().unwrap().close();
    let deadline = Instant::now() + Duration::from_secs(10);
    while client.open("GET", "/v1/events", None).head().unwrap().0 != 200 {
        assert!(Instant::now() < deadline, "the place stayed taken");
    }
}

/// Whether that test has this process to itself. If not, it is run in one of its own: what others in this one need for
/// a moment, such as the 64 MiB of a passphrase, would count.
fn is_alone(test: &str) -> bool {
    if std::env::var_os("ALONE").is_some_and(|alone| alone == test) {
        return true;
    }
    let mut command = std::process::Command::new(std::env::current_exe().expect("this binary"));
    let output = command.args([test, "--exact"]).env("ALONE", test).output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    false
}

fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    text.split(' ').nth(1).expect("a second number").parse::<u64>().expect("a number") * 4096
}

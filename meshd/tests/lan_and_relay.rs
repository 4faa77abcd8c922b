//! Two daemons with two ways to each other, a local network and a relay: one way does the work, the other takes
//! over when it dies, and nothing is lost or doubled on the way.

mod daemon_process;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use daemon_process::relay::Relay;
use daemon_process::{Daemon, PATIENCE, wait_for};
use serde_json::Value;

/// The local network between two daemons: a port that passes everything on to another, until it is cut.
struct Cable {
    port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    is_cut: bool,
    streams: Vec<TcpStream>,
}

impl Cable {
    fn to(target: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)) else { continue };
                let mut state = shared.lock().expect("no thread panics with it");
                if state.is_cut {
                    continue;
                }
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (from, to) = (from.try_clone().expect("a handle"), to.try_clone().expect("a handle"));
                    state.streams.push(from.try_clone().expect("a handle"));
                    std::thread::spawn(move || pass_on(from, to));
                }
            }
        });
        Self { port, state }
    }

    fn cut(&self) {
        let mut state = self.state.lock().expect("no thread panics with it");
        state.is_cut = true;
        for stream in state.streams.drain(..) {
            // It may be closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn mend(&self) {
        self.state.lock().expect("no thread panics with it").is_cut = false;
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(bytes @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..bytes]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

/// The kinds of links with a known neighbour, and whether each does the work.
fn links(daemon: &Daemon) -> Vec<(String, bool)> {
    let known = |link: &Value| !link["peer"].is_null();
    let kind = |link: &Value| link["kind"].as_str().expect("a kind").to_owned();
    let mut links: Vec<_> = daemon
        .links()
        .iter()
        .filter(|link| known(link))
        .map(|link| (kind(link), link["phase"] != "standby"))
        .collect();
    links.sort();
    links
}

fn wait_for_links(daemon: &Daemon, expected: &[(&str, bool)]) {
    let expected: Vec<_> = expected.iter().map(|(kind, works)| ((*kind).to_owned(), *works)).collect();
    wait_for(&format!("{expected:?}"), PATIENCE, || (links(daemon) == expected).then_some(()));
}

fn wait_for_text(daemon: &Daemon, text: &str) {
    wait_for(text, PATIENCE, || daemon.texts().iter().any(|other| other == text).then_some(()));
}

fn free_port() -> u16 {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    TcpListener::bind(address).and_then(|listener| listener.local_addr()).expect("a port").port()
}

#[test]
fn s07_the_local_network_works_and_the_relay_takes_over_and_nothing_is_lost_or_doubled() {
    let dir = tempfile::tempdir().unwrap();
    let relay = Relay::start();
    let port = free_port();
    let cable = Cable::to(port);
    let config = dir.path().join("config.toml");
    std::fs::write(&config, "[lan]\ninterfaces = [\"none\"]\n").unwrap();
    let common = ["--config", config.to_str().unwrap(), "--relay", &relay.url()];
    let start = |name: &str, flags: &[&str]| Daemon::start(dir.path(), name, &[&common, flags].concat());
    let a = start("a", &["--lan-port", &port.to_string()]);
    let b = start("b", &["--lan-peer", &format!("127.0.0.1:{}", cable.port)]);
    let mut written = 0;
    for round in 0..5 {
        for node in [&a, &b] {
            wait_for_links(node, &[("lan", true), ("relay", false)]);
        }
        for (from, to) in [(&a, &b), (&b, &a)] {
            let text = format!("over the cable {round} {}", from.pid());
            from.post(&text);
            wait_for_text(to, &text);
            written += 1;
        }
        cable.cut();
        // In the middle of it: whoever writes does not know yet.
        for (from, to) in [(&a, &b), (&b, &a)] {
            let text = format!("over the relay {round} {}", from.pid());
            from.post(&text);
            wait_for_text(to, &text);
            written += 1;
        }
        for node in [&a, &b] {
            wait_for_links(node, &[("relay", true)]);
        }
        cable.mend();
    }
    for node in [&a, &b] {
        let mut texts = node.texts();
        assert_eq!(texts.len(), written);
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), written, "once each");
    }
}

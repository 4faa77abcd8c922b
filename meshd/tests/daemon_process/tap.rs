//! A TCP proxy in front of a relay: it records, and holds up what the relay says when it is told to.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

use super::relay::Relay;

/// What the relay says is kept; what clients say is masked by WebSocket's rules, and comes out again unmasked at whomever the
/// relay hands it to.
pub struct Tap {
    address: SocketAddr,
    valve: Arc<Valve>,
}

struct Valve {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    heard: Vec<u8>,
    /// How much passes before the rest waits.
    passes: usize,
}

impl Tap {
    /// Lets everything through.
    pub fn before(relay: &Relay) -> Self {
        Self::stopping_after(relay, usize::MAX)
    }

    /// Holds up what comes after so many bytes, until it is opened.
    pub fn stopping_after(relay: &Relay, passes: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let address = listener.local_addr().expect("bound");
        let state = Mutex::new(State { heard: Vec::new(), passes });
        let valve = Arc::new(Valve { state, changed: Condvar::new() });
        let (kept, relay) = (Arc::clone(&valve), relay.url().trim_start_matches("ws://").to_owned());
        // It ends with the test's process.
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(&relay)) else { return };
                let there = (client.try_clone().expect("a socket"), server.try_clone().expect("a socket"));
                std::thread::spawn(move || pass_on(there.0, there.1, None));
                let kept = Arc::clone(&kept);
                std::thread::spawn(move || pass_on(server, client, Some(&kept)));
            }
        });
        Self { address, valve }
    }

    pub fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// All that the relay said.
    pub fn heard(&self) -> Vec<u8> {
        self.valve.state.lock().expect("nobody panics with it").heard.clone()
    }

    /// Whether something is held up.
    pub fn is_stopped(&self) -> bool {
        let state = self.valve.state.lock().expect("nobody panics with it");
        state.heard.len() > state.passes
    }

    /// Lets everything through from now on.
    pub fn open(&self) {
        self.valve.state.lock().expect("nobody panics with it").passes = usize::MAX;
        self.valve.changed.notify_all();
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, valve: Option<&Valve>) {
    let mut buffer = [0; 4 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if let Some(valve) = valve {
            let mut state = valve.state.lock().expect("nobody panics with it");
            state.heard.extend_from_slice(&buffer[..read]);
            let is_shut = |state: &mut State| state.heard.len() > state.passes;
            drop(valve.changed.wait_while(state, is_shut).expect("nobody panics with it"));
        }
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

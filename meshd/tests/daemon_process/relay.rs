//! A relay for tests of daemons.

use std::net::SocketAddr;

/// A relay in this process, on a port that stays its own.
pub struct Relay {
    address: SocketAddr,
    running: Option<(meshlink_relay::Stopper, std::thread::JoinHandle<()>)>,
}

impl Relay {
    pub fn start() -> Self {
        let mut relay = Self { address: SocketAddr::from(([127, 0, 0, 1], 0)), running: None };
        relay.run();
        relay
    }

    pub fn run(&mut self) {
        let config = meshlink_relay::Config { listen: self.address, ..meshlink_relay::Config::default() };
        let relay = meshlink_relay::Relay::bind(config).expect("the port is its own");
        self.address = relay.local_addr();
        let stopper = relay.stopper();
        let thread = std::thread::spawn(move || relay.run().expect("the relay runs"));
        self.running = Some((stopper, thread));
    }

    pub fn stop(&mut self) {
        if let Some((stopper, thread)) = self.running.take() {
            stopper.stop();
            thread.join().expect("the relay does not panic");
        }
    }

    pub fn url(&self) -> String {
        format!("ws://{}", self.address)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop();
    }
}

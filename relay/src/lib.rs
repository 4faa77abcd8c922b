//! MeshLink's relay: a WebSocket hub for UI authors on a laptop, and for nodes that can't hear each other.
//!
//! One port, two dialects. A client without a subprotocol speaks JSON text frames: whatever it says goes to
//! everyone else in its topic, byte for byte. A client of the subprotocol `meshlink.v1` is a node: besides, it
//! gets one link to every other node of the topic ([`meshlink_api::relay::MeshFrame`]), which the relay does
//! not look into. Nothing is kept: a relay that restarts has forgotten everything, and no message depends on it.
//!
//! The state that decides (`hub`) is apart from the sockets and the clock (`server`). The relay knows nothing
//! of bundles, keys or stores: it imports `meshlink-api` and no other crate of MeshLink.
//!
//! ```no_run
//! let relay = meshlink_relay::Relay::bind(meshlink_relay::Config::default())?;
//! let stopper = relay.stopper();
//! println!("ws://{}", relay.local_addr());
//! let thread = std::thread::spawn(move || relay.run());
//! stopper.stop();
//! thread.join().expect("the relay does not panic")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod address_book;
mod answer;
mod config;
mod door;
pub mod frame;
mod hub;
mod limits;
mod metrics;
mod post;
pub mod request;
mod server;

pub use config::{Config, ConfigError, TlsIdentity};
pub use door::{NoOrigin, Origin, Tokens};
pub use server::{Relay, RunError, StartError, Stopper};

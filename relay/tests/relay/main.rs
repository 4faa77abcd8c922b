//! The relay from outside: real sockets, and where it matters the real program.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod client;
mod door;
mod hostile;
mod json_dialect;
mod node_dialect;
mod program;
mod server;
mod tls;

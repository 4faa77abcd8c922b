//! The HTTP API over real sockets, with a real driver and a real store.

mod attack_matrix;
mod client;
mod contacts;
mod contract;
mod document;
mod guide;
mod maintenance;
mod messages;
mod pages;
mod server;
mod streams;
mod tokens;
mod wire;

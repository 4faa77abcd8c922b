//! `meshctl` against a scripted daemon: what it asks, what it prints, how it ends.
//!
//! The daemon is [`fake::Fake`], a small HTTP server in this process that answers what a test tells it to, also
//! what no real daemon would. `tests/end_to_end.rs` has the real ones.

mod at_rest;
mod ending;
mod fake;
mod finding;
mod following;
mod hostile;
mod manuals;
mod objects;
mod run;
mod sending;
mod showing;
mod upkeep;

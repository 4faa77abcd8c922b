//! MeshLink's simulator: the real node of `meshlink-core` under a virtual clock.
//!
//! A [`World`] holds any number of nodes, each with its own store, clocks and seed, and moves them through
//! encounters, cuts, crashes and restarts. An [`Oracle`] watches from outside and knows what may never
//! happen: an acknowledged message lost, one shown twice, a status that goes backwards or claims what is not
//! so. One seed gives one run, byte for byte; its `trace_hash` proves that.
//!
//! Nothing here knows sockets or real time, so a failing seed found anywhere fails everywhere.

pub mod dice;
pub mod flood;
pub mod liars;
pub mod oracle;
pub mod reconcile;
pub mod report;
pub mod scenario;
pub mod trace;
mod treason;
pub mod wire;
pub mod world;

pub use oracle::Oracle;
pub use report::Report;
pub use scenario::Scenario;
pub use world::World;

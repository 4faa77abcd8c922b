//! MeshLink's mesh engine as a pure state machine.
//!
//! No sockets, no files, no clock, no thread RNG: time, randomness and bytes are arguments, so that one
//! process can hold thousands of nodes and a seed replays any run. `meshd` drives it on a real machine, the
//! simulator on a virtual one.

pub mod clock;
pub mod event;
pub mod id;
pub mod limits;
pub mod store;

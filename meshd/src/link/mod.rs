//! Transports: what carries links, one file or folder each.
//!
//! A transport connects, chunks and reassembles, keeps its other end alive, and says in words how it stands.
//! It hands whole frames to the node and takes whole frames from it through a
//! [`crate::driver::LinkEnd`]; it never looks into one.

pub mod ble;
pub mod lan;
pub mod network;
pub mod pipe;
pub mod relay;
mod status;

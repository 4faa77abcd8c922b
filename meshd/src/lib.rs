//! The MeshLink daemon as a library: everything but `main`, so that tests and tools can use its parts.
//!
//! [`daemon`] is the life of the process; [`driver`] owns the node on its thread; [`link`] carries frames to
//! other nodes, [`http`] answers programs and people, [`sqlite`] keeps it all, [`vault`] has the keys to what is
//! private of it.

#[cfg_attr(not(unix), path = "activation/none.rs")]
pub mod activation;
pub mod args;
mod banner;
pub mod channel_password;
pub mod clock;
pub mod config;
pub mod control;
pub mod daemon;
pub mod demo;
pub mod driver;
pub mod http;
pub mod identity_file;
pub mod link;
pub mod listen;
pub mod locking;
pub mod log;
pub mod places;
mod positioned;
mod retention;
#[cfg_attr(not(unix), path = "service_manager/none.rs")]
mod service_manager;
mod signals;
pub mod sqlite;
pub mod state_dir;
pub mod state_files;
pub mod stop;
pub mod vault;

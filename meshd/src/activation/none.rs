//! Where no service manager opens sockets for this process (Windows).

use tokio::net::TcpListener;

/// What was handed over: nothing.
#[derive(Debug, Default)]
pub struct Activated {
    /// TCP sockets.
    pub tcp: Vec<std::net::TcpListener>,
}

impl Activated {
    /// Takes what is there.
    ///
    /// # Errors
    /// None here.
    pub fn take() -> anyhow::Result<Self> {
        Ok(Self::default())
    }
}

/// For the runtime that this is called in.
///
/// # Errors
/// The runtime can't watch it.
pub fn tcp_listener(listener: std::net::TcpListener) -> std::io::Result<TcpListener> {
    TcpListener::from_std(listener)
}

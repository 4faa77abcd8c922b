//! How this process is asked to end, or to read its configuration again.

use std::io::IsTerminal;

use anyhow::Context;

/// The signal to read the configuration again.
pub(crate) const HANG_UP: &str = "SIGHUP";

/// SIGTERM, SIGINT and SIGHUP.
#[cfg(unix)]
pub(crate) struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
    /// Somebody watches on a terminal: when that closes, the daemon ends.
    pub(crate) interactive: bool,
}

#[cfg(unix)]
impl Signals {
    pub(crate) fn listen() -> anyhow::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| signal(kind).context("can't listen for signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hang_up: listen(SignalKind::hangup())?,
            interactive: std::io::stderr().is_terminal(),
        })
    }

    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.hang_up.recv() => HANG_UP,
        }
    }
}

/// Ctrl+C, and the end of the console, the session or the machine. Nothing asks to read the configuration again.
#[cfg(windows)]
pub(crate) struct Signals {
    interrupt: tokio::signal::windows::CtrlC,
    close: tokio::signal::windows::CtrlClose,
    log_off: tokio::signal::windows::CtrlLogoff,
    shut_down: tokio::signal::windows::CtrlShutdown,
    /// Somebody watches on a terminal.
    pub(crate) interactive: bool,
}

#[cfg(windows)]
impl Signals {
    pub(crate) fn listen() -> anyhow::Result<Self> {
        use tokio::signal::windows::{ctrl_c, ctrl_close, ctrl_logoff, ctrl_shutdown};
        let why = "can't listen for the console's signals";
        Ok(Self {
            interrupt: ctrl_c().context(why)?,
            close: ctrl_close().context(why)?,
            log_off: ctrl_logoff().context(why)?,
            shut_down: ctrl_shutdown().context(why)?,
            interactive: std::io::stderr().is_terminal(),
        })
    }

    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "Ctrl+C",
            _ = self.close.recv() => "the console closes",
            _ = self.log_off.recv() => "the user logs off",
            _ = self.shut_down.recv() => "the system shuts down",
        }
    }
}

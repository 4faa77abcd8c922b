//! Sockets that systemd opened before it started this process (`meshd.socket`, sd_listen_fds(3)).
//!
//! They take the place of those that meshd would make itself: connections wait in them while the daemon starts
//! or restarts, and who may connect is what the administrator wrote into the socket unit.
//!
//! **Whom a handed-over Unix socket trusts.** The kernel lets a process connect to a socket file only if it may
//! write to it. So if the file's mode shuts out everybody but owner and group, whoever gets through was let in
//! by the administrator (`SocketMode=0660`, `SocketGroup=meshlink`), and is trusted as this daemon's own user
//! is. If the mode lets everybody in, it says nothing about who is there: then the usual rule holds, own user
//! and root, and others need a token. A socket without a file has no mode and gets the usual rule, too.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use listenfd::ListenFd;
use tokio::net::{TcpListener, UnixListener};

/// Everybody else's permissions in a file's mode.
const OTHERS: u32 = 0o007;

/// What was handed over.
#[derive(Debug, Default)]
pub struct Activated {
    /// Unix sockets.
    pub unix: Vec<ActivatedUnix>,
    /// TCP sockets.
    pub tcp: Vec<std::net::TcpListener>,
}

/// A Unix socket that was handed over.
#[derive(Debug)]
pub struct ActivatedUnix {
    listener: std::os::unix::net::UnixListener,
    path: Option<PathBuf>,
    admits: bool,
}

impl Activated {
    /// Takes what is there. To be called once, before the process has a second thread: it takes the words
    /// about the sockets out of the environment, so that they are not taken for somebody else's.
    ///
    /// # Errors
    /// Something was handed over that is no listening TCP or Unix socket.
    pub fn take() -> anyhow::Result<Self> {
        let mut handed = ListenFd::from_env();
        let mut activated = Self::default();
        for index in 0..handed.len() {
            if let Ok(Some(listener)) = handed.take_unix_listener(index) {
                activated.unix.push(ActivatedUnix::new(listener)?);
            } else if let Ok(Some(listener)) = handed.take_tcp_listener(index) {
                listener.set_nonblocking(true)?;
                activated.tcp.push(listener);
            } else {
                anyhow::bail!(
                    "the socket unit hands over something that is no stream socket; use ListenStream= alone"
                );
            }
        }
        Ok(activated)
    }

    /// Whether nothing was handed over.
    pub fn is_empty(&self) -> bool {
        self.unix.is_empty() && self.tcp.is_empty()
    }
}

impl ActivatedUnix {
    fn new(listener: std::os::unix::net::UnixListener) -> anyhow::Result<Self> {
        listener.set_nonblocking(true)?;
        let path = listener.local_addr()?.as_pathname().map(Path::to_owned);
        let admits = path.as_deref().is_some_and(keeps_others_out);
        Ok(Self { listener, path, admits })
    }

    /// Where it is; `None` for one without a file.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Whether everybody who can connect is trusted as this daemon's own user is; see the module's text.
    pub fn admits(&self) -> bool {
        self.admits
    }

    /// For the runtime that this is called in.
    ///
    /// # Errors
    /// The runtime can't watch it.
    pub fn into_listener(self) -> std::io::Result<UnixListener> {
        UnixListener::from_std(self.listener)
    }
}

/// As [`ActivatedUnix::into_listener`].
///
/// # Errors
/// The runtime can't watch it.
pub fn tcp_listener(listener: std::net::TcpListener) -> std::io::Result<TcpListener> {
    TcpListener::from_std(listener)
}

fn keeps_others_out(path: &Path) -> bool {
    path.symlink_metadata()
        .is_ok_and(|meta| meta.file_type().is_socket() && meta.permissions().mode() & OTHERS == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a08_a_socket_admits_whom_its_mode_lets_in_unless_that_is_everybody() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("s");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        for (mode, admits) in [(0o600, true), (0o660, true), (0o666, false), (0o662, false), (0o777, false)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let socket = ActivatedUnix::new(listener.try_clone().unwrap()).unwrap();
            assert_eq!(socket.admits(), admits, "{mode:o}");
            assert_eq!(socket.path(), Some(path.as_path()));
        }
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "a file in its place").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(!ActivatedUnix::new(listener).unwrap().admits(), "what is there is not the socket");
    }

    #[test]
    fn a_socket_without_a_file_admits_nobody() {
        use std::os::linux::net::SocketAddrExt;
        let name = format!("meshd-test-{}", std::process::id());
        let address = std::os::unix::net::SocketAddr::from_abstract_name(name).unwrap();
        let listener = std::os::unix::net::UnixListener::bind_addr(&address).unwrap();
        let socket = ActivatedUnix::new(listener).unwrap();
        assert!(!socket.admits());
        assert_eq!(socket.path(), None);
    }
}

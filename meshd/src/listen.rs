//! Where the API listens, and how programs find it: sockets, `api.json`, the token file.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use meshlink_api::ApiAddress;
use tokio::net::TcpListener;
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};
use zeroize::Zeroizing;

use crate::http::SecretHash;
use crate::identity_file::Entropy;
use crate::state_dir::{PrivateFileError, StateDir};

/// Its name in the state directory.
pub const TOKEN_FILE: &str = "api-token";
/// Its name in the state directory.
pub const ADDRESS_FILE: &str = "api.json";

/// Random bytes of a token.
const TOKEN_BYTES: usize = 32;
/// Longest token file that is read.
const TOKEN_FILE_BYTES_MAX: u64 = 1024;
/// Fewest characters of a token that an administrator puts there.
const TOKEN_CHARS_MIN: usize = 32;
/// Longest path of a Unix socket on Linux (`sun_path` of unix(7), without the final zero).
#[cfg(unix)]
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Why the API can't be offered.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The TCP address is not free or not of this machine.
    #[error("can't listen on {address}: {}", tcp_in_words(why))]
    Tcp {
        /// Which address.
        address: SocketAddr,
        /// Why.
        why: std::io::Error,
    },
    /// The Unix socket can't be made.
    #[error("can't listen on the socket {}: {problem}", path.display())]
    Unix {
        /// Which path.
        path: PathBuf,
        /// Why, and what to do.
        problem: String,
    },
    /// The token file can't be used.
    #[error(transparent)]
    Token(#[from] PrivateFileError),
    /// The token is no token.
    #[error(
        "{} does not hold a token of at least {TOKEN_CHARS_MIN} letters, digits and -._~; remove the file to get a fresh one",
        path.display()
    )]
    BadToken {
        /// Which file.
        path: PathBuf,
    },
    /// The system gives no randomness for a token.
    #[error("the system gave no random bytes to make a token of ({detail})")]
    NoEntropy {
        /// In words.
        detail: String,
    },
}

#[allow(clippy::wildcard_enum_match_arm, reason = "the list is the standard library's, and grows")]
fn tcp_in_words(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::AddrInUse => {
            "another program listens there; stop it, or choose another address with --listen (port 0 takes a free one)"
                .to_owned()
        }
        ErrorKind::AddrNotAvailable => "this machine has no such address; choose another with --listen".to_owned(),
        ErrorKind::PermissionDenied => "not allowed; ports below 1024 are root's, choose another with --listen".to_owned(),
        _ => error.to_string(),
    }
}

/// Takes a TCP address.
///
/// # Errors
/// [`ListenError::Tcp`].
pub async fn bind_tcp(address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).await.map_err(|why| ListenError::Tcp { address, why })
}

/// A Unix socket that goes with its owner.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

impl SocketFile {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody else may have removed it; then there is nothing left to do.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Makes a Unix socket for this user alone. A stale one is replaced, if nobody answers there.
///
/// # Errors
/// [`ListenError::Unix`].
#[cfg(unix)]
pub async fn bind_unix(path: &Path) -> Result<(UnixListener, SocketFile), ListenError> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    let failed = |problem: String| ListenError::Unix { path: path.to_owned(), problem };
    let length = path.as_os_str().len();
    if length > SOCKET_PATH_BYTES_MAX {
        return Err(failed(format!(
            "the path has {length} bytes, a socket's has at most {SOCKET_PATH_BYTES_MAX}; choose a shorter one with --socket"
        )));
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(parent);
        made.map_err(|e| failed(format!("{}: {e}; choose another place with --socket", parent.display())))?;
    }
    remove_stale(path).await?;
    let listener =
        UnixListener::bind(path).map_err(|e| failed(format!("{e}; choose another place with --socket")))?;
    // The umask has kept others out since it was made.
    let private = std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600));
    private.map_err(|e| failed(e.to_string()))?;
    Ok((listener, SocketFile(path.to_owned())))
}

#[cfg(unix)]
async fn remove_stale(path: &Path) -> Result<(), ListenError> {
    use std::os::unix::fs::FileTypeExt;
    let failed = |problem: &str| ListenError::Unix { path: path.to_owned(), problem: problem.to_owned() };
    let Ok(meta) = path.symlink_metadata() else { return Ok(()) };
    if !meta.file_type().is_socket() {
        return Err(failed(
            "something that is no socket is there; move it away, or choose another place with --socket",
        ));
    }
    match UnixStream::connect(path).await {
        Ok(_) => {
            let problem = "another program answers there, probably another meshd; stop it, or choose another place with --socket and --state-dir";
            Err(failed(problem))
        }
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(|e| failed(&format!("a stale socket can't be removed: {e}")))
        }
        Err(error) => Err(failed(&format!(
            "what is there does not answer ({error}); choose another place with --socket"
        ))),
    }
}

/// Writes down where the API answers.
///
/// # Errors
/// The file can't be written.
pub fn write_address(
    state: &StateDir,
    tcp: Option<SocketAddr>,
    socket: Option<&Path>,
) -> Result<(), PrivateFileError> {
    let address = ApiAddress {
        url: tcp.map(|address| format!("http://{}", within_reach(address))),
        socket: socket.map(|socket| socket.display().to_string()),
        pid: std::process::id(),
    };
    let mut text = serde_json::to_vec_pretty(&address).expect("two texts and a number");
    text.push(b'\n');
    state.write_passing(ADDRESS_FILE, &text)
}

/// The address that a program of this machine uses: one that listens on every address is asked at the loopback,
/// the only one of them whose name the API takes without being told.
fn within_reach(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The hash of the token in the state directory; a fresh token if there is none.
///
/// # Errors
/// [`ListenError`]: the file can't be used, or the system gives no randomness.
pub fn token(state: &StateDir, entropy: Entropy<'_>) -> Result<SecretHash, ListenError> {
    if let Some(bytes) = state.read_private(TOKEN_FILE, TOKEN_FILE_BYTES_MAX)?.map(Zeroizing::new) {
        let text = std::str::from_utf8(&bytes).unwrap_or("").trim();
        let good = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
        if text.len() < TOKEN_CHARS_MIN || !text.chars().all(good) {
            return Err(ListenError::BadToken { path: state.path().join(TOKEN_FILE) });
        }
        return Ok(SecretHash::of(text));
    }
    let mut bytes = Zeroizing::new([0; TOKEN_BYTES]);
    entropy(&mut *bytes).map_err(|detail| ListenError::NoEntropy { detail })?;
    let mut text = Zeroizing::new(data_encoding::BASE32_NOPAD.encode(&*bytes).to_ascii_lowercase());
    let hash = SecretHash::of(&text);
    text.push('\n');
    state.write_private(TOKEN_FILE, text.as_bytes())?;
    Ok(hash)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::identity_file::system_entropy;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a08_the_token_is_made_once_and_private() {
        let temp = tempfile::tempdir().unwrap();
        let state = StateDir::open(temp.path()).unwrap();
        let first = token(&state, &system_entropy).unwrap();
        assert!(token(&state, &system_entropy).unwrap() == first);
        let text = std::fs::read_to_string(temp.path().join(TOKEN_FILE)).unwrap();
        assert!(SecretHash::of(text.trim()) == first);
        assert!(text.trim().len() >= 50, "256 bits: {}", text.len());
        assert_eq!(temp.path().join(TOKEN_FILE).metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_short_or_odd_token_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let state = StateDir::open(temp.path()).unwrap();
        for bad in ["", "short", &"a b".repeat(20), &"ü".repeat(40)] {
            state.write_private(TOKEN_FILE, bad.as_bytes()).unwrap();
            assert!(token(&state, &system_entropy).is_err(), "{bad}");
        }
    }

    #[test]
    fn c20_without_entropy_there_is_no_token() {
        let temp = tempfile::tempdir().unwrap();
        let state = StateDir::open(temp.path()).unwrap();
        assert!(token(&state, &|_: &mut [u8]| Err("injected".to_owned())).is_err());
        assert!(!state.has(TOKEN_FILE));
    }

    #[test]
    fn the_url_is_one_that_programs_of_this_machine_can_ask() {
        let temp = tempfile::tempdir().unwrap();
        let state = StateDir::open(temp.path()).unwrap();
        for (listening, url) in [
            ("127.0.0.1:6374", "http://127.0.0.1:6374"),
            ("0.0.0.0:80", "http://127.0.0.1:80"),
            ("[::]:80", "http://[::1]:80"),
            ("192.0.2.7:80", "http://192.0.2.7:80"),
        ] {
            write_address(&state, Some(listening.parse().unwrap()), None).unwrap();
            let written: ApiAddress =
                serde_json::from_slice(&std::fs::read(temp.path().join(ADDRESS_FILE)).unwrap()).unwrap();
            assert_eq!(written.url.as_deref(), Some(url));
        }
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("run/s");
        let (listener, file) = bind_unix(&path).await.unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let error = bind_unix(&path).await.expect_err("in use").to_string();
        assert!(error.contains("another program answers"), "{error}");
        drop(listener);
        std::mem::forget(file);
        let (_listener, file) = bind_unix(&path).await.unwrap();
        drop(file);
        assert!(!path.exists());
        std::fs::write(&path, "a file").unwrap();
        assert!(bind_unix(&path).await.is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a file");
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_place_is_said() {
        let long = Path::new("/tmp").join("x".repeat(120));
        let error = bind_unix(&long).await.expect_err("too long").to_string();
        assert!(error.contains("at most 107"), "{error}");
        let taken = bind_tcp("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let error = bind_tcp(taken.local_addr().unwrap()).await.expect_err("in use").to_string();
        assert!(error.contains("--listen") && !error.contains('\n'), "{error}");
    }
}

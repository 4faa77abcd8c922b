//! What an operator can set, and the files it names.

use crate::door::{Origin, Tokens};
use crate::limits::{TOKEN_BYTES_GOOD, TOKEN_BYTES_MAX};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Settings of one relay.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Who may come in; everyone if there are none.
    pub tokens: Tokens,
    /// Speaks TLS if there is one.
    pub tls: Option<TlsIdentity>,
    /// Clients in all, at least 1.
    pub max_clients: usize,
    /// Posts per second of one client; 0 for no limit.
    pub max_rate: u32,
    /// Connections of one IPv4 address or IPv6 /64, loopback included. Without it a quarter of `max_clients`
    /// but at least 16, and loopback, where a reverse proxy may stand for many, is not counted.
    pub max_per_address: Option<usize>,
    /// Browser pages that may connect besides those of a loopback host and of the relay's own.
    pub allow_origins: Vec<Origin>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            tokens: Tokens::default(),
            tls: None,
            max_clients: 4_096,
            max_rate: 200,
            max_per_address: None,
            allow_origins: Vec::new(),
        }
    }
}

/// A setting that can't be used. Every text says which and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file can't be read.
    #[error("can't read {}: {why}; check the path and its permissions", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        why: std::io::Error,
    },
    /// A token file without a token.
    #[error("{} holds no token: put one on a line of its own", path.display())]
    NoToken {
        /// The file.
        path: PathBuf,
    },
    /// A token that can't be sent in a header.
    #[error(
        "{} line {line}: a token is 1 to 512 letters, digits or -._~+/= characters; make one with `openssl rand -hex 32`",
        path.display()
    )]
    BadToken {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// A certificate or key file that is not one.
    #[error("{} holds no {what} in PEM form", path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
        /// Certificate or private key.
        what: &'static str,
    },
    /// Certificate and key that can't be used together.
    #[error("the TLS certificate and key can't be used: {why}")]
    BadIdentity {
        /// What rustls says.
        why: rustls::Error,
    },
}

impl Tokens {
    /// Adds the tokens of a file: one a line; empty lines and lines that begin with `#` don't count. Returns
    /// what is worth a warning.
    ///
    /// # Errors
    /// [`ConfigError`] if the file can't be read, or holds no token or something else.
    pub fn add_file(&mut self, path: &Path) -> Result<Vec<String>, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|why| ConfigError::Unreadable { path: path.to_owned(), why })?;
        let mut warnings = others_can_read(path).into_iter().collect::<Vec<_>>();
        let mut is_empty = true;
        for (i, line) in text.lines().enumerate() {
            let token = line.trim();
            if token.is_empty() || token.starts_with('#') {
                continue;
            }
            let is_good = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
            if token.len() > TOKEN_BYTES_MAX || !token.chars().all(is_good) {
                return Err(ConfigError::BadToken { path: path.to_owned(), line: i + 1 });
            }
            if token.len() < TOKEN_BYTES_GOOD {
                warnings.push(format!(
                    "{} line {}: a token of less than {TOKEN_BYTES_GOOD} characters can be guessed; make one with `openssl rand -hex 32`",
                    path.display(),
                    i + 1
                ));
            }
            self.add(token);
            is_empty = false;
        }
        if is_empty {
            return Err(ConfigError::NoToken { path: path.to_owned() });
        }
        Ok(warnings)
    }
}

/// A warning if every user of this machine can read a file that holds a secret.
#[cfg(unix)]
fn others_can_read(path: &Path) -> Option<String> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    let warning =
        || format!("every user of this machine can read {}; run `chmod o-rwx` on it", path.display());
    (mode & 0o004 != 0).then(warning)
}

#[cfg(not(unix))]
fn others_can_read(_path: &Path) -> Option<String> {
    None
}

/// The certificate chain and private key of a relay.
#[derive(Clone)]
pub struct TlsIdentity(pub(crate) Arc<rustls::ServerConfig>);

impl std::fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsIdentity(redacted)")
    }
}

impl TlsIdentity {
    /// Reads PEM files: the certificate first, then the chain it hangs on; and its private key. Returns what is
    /// worth a warning too.
    ///
    /// # Errors
    /// [`ConfigError`] if a file can't be read or does not hold that, or the two don't belong together.
    pub fn from_files(certificate: &Path, key: &Path) -> Result<(Self, Vec<String>), ConfigError> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|why| ConfigError::Unreadable { path: path.to_owned(), why })
        };
        let not_pem = |path: &Path, what| ConfigError::NotPem { path: path.to_owned(), what };
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&read(certificate)?)
            .collect::<Result<_, _>>()
            .map_err(|_| not_pem(certificate, "certificate"))?;
        if chain.is_empty() {
            return Err(not_pem(certificate, "certificate"));
        }
        let secret = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|_| not_pem(key, "private key"))?;
        let config =
            rustls::ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
                .with_safe_default_protocol_versions()
                .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, secret))
                .map_err(|why| ConfigError::BadIdentity { why })?;
        Ok((Self(Arc::new(config)), others_can_read(key).into_iter().collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Result<(Tokens, Vec<String>), ConfigError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let mut tokens = Tokens::default();
        let warnings = tokens.add_file(file.path())?;
        Ok((tokens, warnings))
    }

    #[test]
    fn a_token_file_has_one_token_a_line() {
        let (tokens, warnings) =
            tokens("# phones\n0123456789abcdef0123\n\n  fedcba9876543210fedc\r\n").unwrap();
        assert_eq!(format!("{tokens:?}"), "Tokens(2 redacted)");
        assert!(warnings.is_empty(), "{warnings:?}");
    }

    #[test]
    fn a_token_file_without_a_usable_token_is_refused_by_line() {
        assert!(matches!(tokens("# none\n"), Err(ConfigError::NoToken { .. })));
        assert!(matches!(
            tokens("good-token-0123456789\ntwo words\n"),
            Err(ConfigError::BadToken { line: 2, .. })
        ));
        let error = tokens("p\u{e4}ss\n").unwrap_err().to_string();
        assert!(error.contains("line 1") && !error.contains("ss\u{e4}"), "{error}");
    }

    #[test]
    fn a_short_token_gets_a_warning_that_does_not_repeat_it() {
        let (_, warnings) = tokens("hunter2\n").unwrap();
        assert!(warnings.len() == 1 && !warnings[0].contains("hunter2"), "{warnings:?}");
    }
}

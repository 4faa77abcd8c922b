//! The way to a relay: name, TCP, TLS, WebSocket; and in words what went wrong on it.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use meshlink_api::relay::{MESSAGE_BYTES_MAX, SUBPROTOCOL};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::{Error as WsError, ProtocolError, SubProtocolError};
use tokio_tungstenite::tungstenite::http::{HeaderValue, Request, StatusCode};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::{RelaySettings, RelayUrl};

/// For each address of the relay, to accept the connection.
const TCP_TIME_MAX: Duration = Duration::from_secs(5);
/// Addresses tried of one name.
const ADDRESSES_MAX: usize = 6;
/// For TLS and WebSocket handshakes together.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
/// Longest token in a file, in bytes.
const TOKEN_BYTES_MAX: usize = 512;
/// Read buffer of a connection: one message of the largest kind in four reads, and little when idle.
const READ_BUFFER_BYTES: usize = 16 * 1024;

/// A connection to a relay.
pub(super) struct Connection {
    pub(super) socket: WebSocketStream<Wire>,
    /// Whether the relay carries links between nodes; if not, only text.
    pub(super) carries_links: bool,
}

/// Why there is no connection. `Display` fits into a status: it shows no token.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("the name {0} can't be resolved")]
    Name(String),
    #[error("{}", in_words(.0))]
    Tcp(io::Error),
    #[error("no answer within {} s", .0.as_secs())]
    Silent(Duration),
    #[error("TLS failed: {0}")]
    Tls(String),
    #[error("the relay answered {0}")]
    Refused(StatusCode),
    #[error("what answers there is no relay: {0}")]
    NoRelay(String),
    #[error("{0}")]
    File(String),
}

impl ConnectError {
    /// What the user can do about it.
    pub(super) fn hint(&self, url: &RelayUrl) -> Option<String> {
        Some(match self {
            Self::Name(_) => "check the name and this machine's network".to_owned(),
            Self::Tcp(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
                format!("is meshlink-relay running on {} and listening on port {}?", url.host(), url.port())
            }
            Self::Tcp(_) | Self::Silent(_) => {
                "check this machine's network, and firewalls on the way".to_owned()
            }
            Self::Tls(_) if url.tls() => {
                "check the certificate; a relay with its own authority needs ca_file in the configuration"
                    .to_owned()
            }
            Self::Refused(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                "the relay wants a token: put it into a file and name it as token_file in the configuration"
                    .to_owned()
            }
            Self::Refused(StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) => {
                "the relay has as many clients as it takes; it is tried again".to_owned()
            }
            Self::Refused(_) | Self::NoRelay(_) | Self::Tls(_) => "check the URL".to_owned(),
            Self::File(_) => return None,
        })
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "the list is the standard library's, and grows")]
fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::NetworkUnreachable => "no network".to_owned(),
        io::ErrorKind::HostUnreachable => "the host can't be reached".to_owned(),
        io::ErrorKind::ConnectionReset => "the connection was reset".to_owned(),
        io::ErrorKind::UnexpectedEof => "the connection was cut".to_owned(),
        _ => error.to_string(),
    }
}

/// Connects. A relay that does not know links is asked again for text alone.
///
/// # Errors
/// [`ConnectError`], for the status.
pub(super) async fn connect(relay: &RelaySettings, device_id: &str) -> Result<Connection, ConnectError> {
    match handshake(relay, device_id, true).await {
        Ok(socket) => Ok(Connection { socket, carries_links: true }),
        Err(Handshake::NoSubprotocol) => match handshake(relay, device_id, false).await {
            Ok(socket) => Ok(Connection { socket, carries_links: false }),
            Err(Handshake::NoSubprotocol) => {
                Err(ConnectError::NoRelay("it mixes up subprotocols".to_owned()))
            }
            Err(Handshake::Failed(error)) => Err(error),
        },
        Err(Handshake::Failed(error)) => Err(error),
    }
}

enum Handshake {
    /// It is a WebSocket server, but knows no links.
    NoSubprotocol,
    Failed(ConnectError),
}

impl From<ConnectError> for Handshake {
    fn from(error: ConnectError) -> Self {
        Self::Failed(error)
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "the list is another crate's, and grows")]
async fn handshake(
    relay: &RelaySettings,
    device_id: &str,
    links: bool,
) -> Result<WebSocketStream<Wire>, Handshake> {
    let request = request(relay, device_id, links)?;
    let stream = tcp(&relay.url).await?;
    let shake = async {
        let wire = secure(relay, stream).await?;
        let limits = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(READ_BUFFER_BYTES)
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let shaken = tokio_tungstenite::client_async_with_config(request, wire, Some(limits)).await;
        let (socket, _) = shaken.map_err(|error| match error {
            WsError::Protocol(ProtocolError::SecWebSocketSubProtocolError(
                SubProtocolError::NoSubProtocol,
            )) => Handshake::NoSubprotocol,
            WsError::Http(answer) => ConnectError::Refused(answer.status()).into(),
            WsError::Io(error) => ConnectError::Tcp(error).into(),
            other => ConnectError::NoRelay(other.to_string()).into(),
        })?;
        Ok(socket)
    };
    timeout(HANDSHAKE_TIME_MAX, shake).await.map_err(|_| ConnectError::Silent(HANDSHAKE_TIME_MAX))?
}

async fn tcp(url: &RelayUrl) -> Result<TcpStream, ConnectError> {
    let unknown = || ConnectError::Name(url.host().to_owned());
    let addresses = tokio::net::lookup_host((url.host(), url.port())).await.map_err(|_| unknown())?;
    let mut last = unknown();
    for address in addresses.take(ADDRESSES_MAX) {
        match timeout(TCP_TIME_MAX, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Frames are written in batches already; waiting for more would only add delay.
                stream.set_nodelay(true).map_err(ConnectError::Tcp)?;
                return Ok(stream);
            }
            Ok(Err(error)) => last = ConnectError::Tcp(error),
            Err(_) => last = ConnectError::Silent(TCP_TIME_MAX),
        }
    }
    Err(last)
}

async fn secure(relay: &RelaySettings, stream: TcpStream) -> Result<Wire, ConnectError> {
    if !relay.url.tls() {
        return Ok(Wire::Plain(stream));
    }
    let tls = |e: &dyn std::fmt::Display| ConnectError::Tls(e.to_string());
    let name = ServerName::try_from(relay.url.host().to_owned()).map_err(|e| tls(&e))?;
    let ca_file = relay.ca_file.clone();
    // A hundred files of certificates take a Raspberry Pi a while.
    let roots =
        tokio::task::spawn_blocking(move || roots(ca_file.as_deref())).await.map_err(|e| tls(&e))??;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| tls(&e))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|e| tls(&e))?;
    Ok(Wire::Tls(Box::new(stream)))
}

/// Who may vouch for a relay. Read anew for each connection: the files change while a daemon runs.
fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, ConnectError> {
    let mut roots = RootCertStore::empty();
    let Some(path) = ca_file else {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let why =
                "this system has no certificates; install ca-certificates, or set ca_file for the relay";
            return Err(ConnectError::File(why.to_owned()));
        }
        return Ok(roots);
    };
    let bad =
        |e: &dyn std::fmt::Display| ConnectError::File(format!("can't use ca_file {}: {e}", path.display()));
    for certificate in CertificateDer::pem_file_iter(path).map_err(|e| bad(&e))? {
        let certificate = certificate.map_err(|e| bad(&e))?;
        roots.add(certificate).map_err(|e| bad(&e))?;
    }
    if roots.is_empty() {
        return Err(bad(&"it holds no certificate"));
    }
    Ok(roots)
}

fn request(relay: &RelaySettings, device_id: &str, links: bool) -> Result<Request<()>, ConnectError> {
    let url = &relay.url;
    let scheme = if url.tls() { "wss" } else { "ws" };
    let uri = format!("{scheme}://{}{}", url.authority(), url.request_target());
    let mut request = uri.into_client_request().map_err(|e| ConnectError::NoRelay(e.to_string()))?;
    let headers = request.headers_mut();
    let device_id = HeaderValue::from_str(device_id).expect("a device id is letters, digits and a dash");
    headers.insert("X-Device-Id", device_id);
    if links {
        headers.insert("Sec-WebSocket-Protocol", HeaderValue::from_static(SUBPROTOCOL));
    }
    if let Some(path) = &relay.token_file {
        let mut token = HeaderValue::from_str(&format!("Bearer {}", read_token(path)?))
            .map_err(|_| ConnectError::File(format!("the token in {} is not plain text", path.display())))?;
        token.set_sensitive(true);
        headers.insert("Authorization", token);
    }
    Ok(request)
}

/// The first line that is not a comment, as in the relay's own token files. Read for each connection, so that
/// a changed token needs no restart.
fn read_token(path: &Path) -> Result<String, ConnectError> {
    let bad = |why: &dyn std::fmt::Display| {
        ConnectError::File(format!("can't use token_file {}: {why}", path.display()))
    };
    let text = std::fs::read_to_string(path).map_err(|e| bad(&e))?;
    let token = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    let token = token.ok_or_else(|| bad(&"it holds no token"))?;
    if token.len() > TOKEN_BYTES_MAX {
        return Err(bad(&"what it holds is too long for a token"));
    }
    Ok(token.to_owned())
}

/// TCP, plain or under TLS.
pub(super) enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

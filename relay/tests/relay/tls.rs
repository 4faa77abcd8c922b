//! The same over TLS.

use crate::client::read_some;
use crate::server::{Server, config};
use meshlink_relay::{Config, ConfigError, TlsIdentity};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;
use tungstenite::{Message, WebSocket};

struct Files {
    _directory: tempfile::TempDir,
    certificate: std::path::PathBuf,
    key: std::path::PathBuf,
    roots: RootCertStore,
}

fn files() -> Files {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (certificate, key) = (directory.path().join("cert.pem"), directory.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    Files { _directory: directory, certificate, key, roots }
}

fn server(files: &Files) -> Server {
    let (identity, _) = TlsIdentity::from_files(&files.certificate, &files.key).unwrap();
    Server::new(Config { tls: Some(identity), max_rate: 0, ..config() })
}

type TlsStream = StreamOwned<ClientConnection, Patient>;

/// Reads on when it is interrupted.
struct Patient(TcpStream);

impl Read for Patient {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        read_some(&mut self.0, bytes)
    }
}

impl Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn connect(server: &Server, files: &Files) -> TlsStream {
    let config = ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(files.roots.clone())
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let tcp = TcpStream::connect(server.address).unwrap();
    tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), Patient(tcp))
}

fn join(server: &Server, files: &Files) -> WebSocket<TlsStream> {
    tungstenite::client("wss://localhost/", connect(server, files)).unwrap().0
}

#[test]
fn messages_of_all_sizes_arrive_over_tls() {
    let files = files();
    let server = server(&files);
    let (mut a, mut b) = (join(&server, &files), join(&server, &files));
    for bytes in [1, 1_000, 17_000, 65_000] {
        let text = format!(r#"{{"type":"TEXT","payload":"{}"}}"#, "x".repeat(bytes));
        a.send(Message::text(text.clone())).unwrap();
        assert_eq!(b.read().unwrap(), Message::text(text));
    }
    // More than the sockets and rustls take ahead, so that the relay has to queue; and less than it queues for somebody who
    // does not read.
    let text = format!(r#"{{"type":"TEXT","payload":"{}"}}"#, "y".repeat(60_000));
    for _ in 0..8 {
        for _ in 0..14 {
            a.send(Message::text(text.clone())).unwrap();
        }
        for n in 0..14 {
            assert_eq!(b.read().unwrap(), Message::text(text.clone()), "{n}");
        }
    }
    a.close(None).unwrap();
    while a.read().is_ok() {}
}

#[test]
fn health_is_told_over_tls_and_ends_cleanly() {
    let files = files();
    let server = server(&files);
    let mut stream = connect(&server, &files);
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = String::new();
    // Fails if the relay closes without a close_notify.
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("{\"status\":\"ok\"}"), "{answer}");
}

#[test]
fn who_speaks_no_tls_is_dropped_and_the_others_go_on() {
    let files = files();
    let server = server(&files);
    let (mut a, mut b) = (join(&server, &files), join(&server, &files));
    for garbage in [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &[0x16, 3, 1, 0xff, 0xff, 1], &[0; 1_000]] {
        let mut tcp = TcpStream::connect(server.address).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        tcp.write_all(garbage).unwrap();
        let mut answer = Vec::new();
        let _ = tcp.shutdown(std::net::Shutdown::Write);
        let _ = tcp.read_to_end(&mut answer);
        assert!(!answer.starts_with(b"HTTP"));
    }
    a.send(Message::text(r#"{"type":"TEXT"}"#)).unwrap();
    assert_eq!(b.read().unwrap(), Message::text(r#"{"type":"TEXT"}"#));
}

#[test]
fn a_certificate_and_a_key_that_do_not_belong_together_are_refused() {
    let (one, other) = (files(), files());
    let error = TlsIdentity::from_files(&one.certificate, &other.key).unwrap_err();
    assert!(matches!(error, ConfigError::BadIdentity { .. }), "{error}");
    let error = TlsIdentity::from_files(&one.key, &one.certificate).unwrap_err();
    assert!(error.to_string().contains("holds no certificate"), "{error}");
    let error = TlsIdentity::from_files(&one.certificate, &one.certificate).unwrap_err();
    assert!(error.to_string().contains("holds no private key"), "{error}");
}

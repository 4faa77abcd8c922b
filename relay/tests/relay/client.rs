//! A WebSocket client that does what it is told, also what no honest one does.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// No answer takes longer on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(u16, String),
    /// The connection ended, with or without a reset.
    End,
}

pub(crate) struct Client {
    pub(crate) tcp: TcpStream,
    /// The answer to the handshake.
    pub(crate) head: String,
    buffer: Vec<u8>,
}

/// Sends `bytes` to a relay and reads to the end.
pub(crate) fn ask(address: SocketAddr, bytes: &[u8]) -> String {
    let mut tcp = connect(address);
    tcp.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    let _ = tcp.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

/// `GET` of a path.
pub(crate) fn get(address: SocketAddr, path: &str) -> String {
    ask(address, format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes())
}

/// The value of one line of `/metrics`.
pub(crate) fn metric(address: SocketAddr, series: &str) -> u64 {
    let page = get(address, "/metrics");
    let line = page.lines().find_map(|line| line.strip_prefix(&format!("meshlink_relay_{series} ")));
    line.unwrap_or_else(|| panic!("{series} in {page}")).parse().unwrap()
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let tcp = TcpStream::connect(address).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    tcp.set_write_timeout(Some(PATIENCE)).unwrap();
    tcp.set_nodelay(true).unwrap();
    tcp
}

/// Reads what there is. A read with a time limit is interrupted when the machine is stopped and goes on.
pub(crate) fn read_some(tcp: &mut TcpStream, bytes: &mut [u8]) -> std::io::Result<usize> {
    loop {
        match tcp.read(bytes) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// The request for a WebSocket.
pub(crate) fn handshake(target: &str, headers: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
}

impl Client {
    /// Asks for a WebSocket; `head` has the answer, whatever it is.
    pub(crate) fn try_join(address: SocketAddr, target: &str, headers: &str) -> Self {
        let mut client = Self { tcp: connect(address), head: String::new(), buffer: Vec::new() };
        client.tcp.write_all(handshake(target, headers).as_bytes()).unwrap();
        let end = loop {
            if let Some(end) = client.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            assert!(client.read() > 0, "the relay ended the connection without an answer");
        };
        client.head = String::from_utf8(client.buffer.drain(..end).collect()).unwrap();
        client
    }

    /// Joins.
    pub(crate) fn join(address: SocketAddr, target: &str, headers: &str) -> Self {
        let client = Self::try_join(address, target, headers);
        assert!(client.head.starts_with("HTTP/1.1 101 "), "{}", client.head);
        assert!(
            client.head.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
            "{}",
            client.head
        );
        client
    }

    pub(crate) fn json(address: SocketAddr) -> Self {
        Self::join(address, "/", "")
    }

    pub(crate) fn node(address: SocketAddr, device_id: &str) -> Self {
        let client = Self::join(
            address,
            "/",
            &format!("Sec-WebSocket-Protocol: chat, meshlink.v1\r\nX-Device-Id: {device_id}\r\n"),
        );
        assert!(client.head.contains("Sec-WebSocket-Protocol: meshlink.v1\r\n"), "{}", client.head);
        client
    }

    pub(crate) fn status(&self) -> &str {
        &self.head[9..12]
    }

    fn read(&mut self) -> usize {
        let mut bytes = [0; 16 * 1024];
        let count = match read_some(&mut self.tcp, &mut bytes) {
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => 0,
            Err(error) => panic!("nothing comes: {error}"),
        };
        self.buffer.extend_from_slice(&bytes[..count]);
        count
    }

    pub(crate) fn send(&mut self, first: u8, payload: &[u8]) {
        self.tcp.write_all(&frame(first, payload)).unwrap();
    }

    pub(crate) fn send_text(&mut self, text: &str) {
        self.send(0x81, text.as_bytes());
    }

    pub(crate) fn send_binary(&mut self, bytes: &[u8]) {
        self.send(0x82, bytes);
    }

    /// The next frame, which has to be whole, unmasked and unfragmented.
    pub(crate) fn receive(&mut self) -> Frame {
        loop {
            if let Some((first, payload)) = self.take_frame() {
                return match first {
                    0x81 => Frame::Text(String::from_utf8(payload).unwrap()),
                    0x82 => Frame::Binary(payload),
                    0x88 => {
                        let code = payload.first_chunk().map_or(0, |code| u16::from_be_bytes(*code));
                        Frame::Close(
                            code,
                            String::from_utf8_lossy(payload.get(2..).unwrap_or_default()).into_owned(),
                        )
                    }
                    0x89 => Frame::Ping(payload),
                    0x8a => Frame::Pong(payload),
                    other => panic!("frame of kind {other:#x}"),
                };
            }
            if self.read() == 0 {
                return Frame::End;
            }
        }
    }

    fn take_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let (first, second) = (*self.buffer.first()?, *self.buffer.get(1)?);
        let (length, header) = match second {
            126 => (usize::from(u16::from_be_bytes(*self.buffer.get(2..)?.first_chunk()?)), 4),
            127 => (usize::try_from(u64::from_be_bytes(*self.buffer.get(2..)?.first_chunk()?)).unwrap(), 10),
            length => (usize::from(length), 2),
        };
        if self.buffer.len() < header + length {
            return None;
        }
        let frame = self.buffer.drain(..header + length).skip(header).collect();
        Some((first, frame))
    }

    pub(crate) fn receive_text(&mut self) -> String {
        let frame = self.receive();
        let Frame::Text(text) = frame else { panic!("{frame:?} instead of text") };
        text
    }

    pub(crate) fn receive_binary(&mut self) -> Vec<u8> {
        let frame = self.receive();
        let Frame::Binary(bytes) = frame else { panic!("{frame:?} instead of binary") };
        bytes
    }

    /// The `code` of an ERROR frame.
    pub(crate) fn receive_error(&mut self) -> String {
        let text = self.receive_text();
        let error: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(error["type"], "ERROR", "{text}");
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{text}");
        error["code"].as_str().unwrap().to_owned()
    }
}

/// A client's frame, masked.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..=125 => bytes.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

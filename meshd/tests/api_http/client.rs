//! An HTTP client that sends exactly the bytes it is told to.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

/// Longest wait for the next bytes of an answer.
const PATIENCE: Duration = Duration::from_secs(40);

#[derive(Clone)]
enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// Makes requests, each on a connection of its own.
#[derive(Clone)]
pub(crate) struct Client {
    place: Place,
    fields: Vec<(String, String)>,
}

/// An open connection.
pub(crate) struct Connection {
    reader: BufReader<Box<dyn Read>>,
    writer: Box<dyn Write>,
    shutdown: Box<dyn Fn()>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Client {
    pub(crate) fn tcp(address: SocketAddr) -> Self {
        let host = ("host".to_owned(), address.to_string());
        Self { place: Place::Tcp(address), fields: vec![host] }
    }

    pub(crate) fn unix(path: &Path) -> Self {
        Self {
            place: Place::Unix(path.to_owned()),
            fields: vec![("host".to_owned(), "localhost".to_owned())],
        }
    }

    /// The same client with a header field in place of any other of that name.
    pub(crate) fn field(&self, name: &str, value: &str) -> Self {
        let mut client = self.without(name);
        client.fields.push((name.to_owned(), value.to_owned()));
        client
    }

    /// The same client with one more header field.
    pub(crate) fn also(&self, name: &str, value: &str) -> Self {
        let mut client = self.clone();
        client.fields.push((name.to_owned(), value.to_owned()));
        client
    }

    pub(crate) fn without(&self, name: &str) -> Self {
        let mut client = self.clone();
        client.fields.retain(|(field, _)| field != name);
        client
    }

    pub(crate) fn bearer(&self, token: &str) -> Self {
        self.field("authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn get(&self, target: &str) -> Answer {
        self.send("GET", target, None)
    }

    pub(crate) fn delete(&self, target: &str) -> Answer {
        self.send("DELETE", target, None)
    }

    pub(crate) fn post(&self, target: &str, body: &Value) -> Answer {
        self.send("POST", target, Some(("application/json", body.to_string().as_bytes())))
    }

    pub(crate) fn put(&self, target: &str, body: &Value) -> Answer {
        self.send("PUT", target, Some(("application/json", body.to_string().as_bytes())))
    }

    pub(crate) fn post_empty(&self, target: &str) -> Answer {
        self.send("POST", target, None)
    }

    pub(crate) fn send(&self, method: &str, target: &str, body: Option<(&str, &[u8])>) -> Answer {
        self.open(method, target, body).answer().expect("an answer")
    }

    /// Sends a request and leaves the connection open.
    pub(crate) fn open(&self, method: &str, target: &str, body: Option<(&str, &[u8])>) -> Connection {
        let mut head = format!("{method} {target} HTTP/1.1\r\n");
        for (name, value) in &self.fields {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some((media_type, body)) = body {
            if !media_type.is_empty() {
                head.push_str(&format!("content-type: {media_type}\r\n"));
            }
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let mut connection = self.connect();
        connection.write(head.as_bytes());
        connection.write(body.map_or(&[], |(_, body)| body));
        connection
    }

    /// Sends these very bytes.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Connection {
        let mut connection = self.connect();
        connection.write(bytes);
        connection
    }

    pub(crate) fn connect(&self) -> Connection {
        match &self.place {
            Place::Tcp(address) => {
                let stream = TcpStream::connect(address).expect("the server listens");
                stream.set_read_timeout(Some(PATIENCE)).expect("a duration");
                let (read, write) =
                    (stream.try_clone().expect("a socket"), stream.try_clone().expect("a socket"));
                let shutdown = Box::new(move || _ = stream.shutdown(Shutdown::Both));
                Connection { reader: BufReader::new(Box::new(read)), writer: Box::new(write), shutdown }
            }
            Place::Unix(path) => {
                let stream = UnixStream::connect(path).expect("the server listens");
                stream.set_read_timeout(Some(PATIENCE)).expect("a duration");
                let (read, write) =
                    (stream.try_clone().expect("a socket"), stream.try_clone().expect("a socket"));
                let shutdown = Box::new(move || _ = stream.shutdown(Shutdown::Both));
                Connection { reader: BufReader::new(Box::new(read)), writer: Box::new(write), shutdown }
            }
        }
    }
}

impl Connection {
    /// Writes what the server takes; it may have hung up already.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let _ = self.writer.write_all(bytes);
    }

    /// Writes, and says whether the server still took it.
    pub(crate) fn try_write(&mut self, bytes: &[u8]) -> bool {
        self.writer.write_all(bytes).is_ok()
    }

    pub(crate) fn close(self) {
        (self.shutdown)();
    }

    /// Reads one whole answer; `None` if the connection ends first.
    pub(crate) fn answer(&mut self) -> Option<Answer> {
        let (status, fields) = self.head()?;
        let mut body = Vec::new();
        if status != 204 && status != 304 {
            if let Some(length) = fields.get("content-length") {
                body = vec![0; length.parse().expect("a number")];
                self.reader.read_exact(&mut body).ok()?;
            } else if fields.get("transfer-encoding").is_some_and(|v| v == "chunked") {
                while let Some(chunk) = self.chunk() {
                    body.extend(chunk);
                }
            } else {
                self.reader.read_to_end(&mut body).ok()?;
            }
        }
        Some(Answer { status, fields, body })
    }

    /// Reads the head of an answer.
    pub(crate) fn head(&mut self) -> Option<(u16, BTreeMap<String, String>)> {
        let line = self.line()?;
        let status = line.split(' ').nth(1)?.parse().ok()?;
        let mut fields = BTreeMap::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':')?;
            fields.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        // 100 Continue comes before the answer.
        if status == 100 { self.head() } else { Some((status, fields)) }
    }

    /// Reads one chunk of a chunked body; `None` at its end.
    pub(crate) fn chunk(&mut self) -> Option<Vec<u8>> {
        let length = usize::from_str_radix(&self.line()?, 16).ok()?;
        let mut chunk = vec![0; length + 2];
        self.reader.read_exact(&mut chunk).ok()?;
        chunk.truncate(length);
        (length > 0).then_some(chunk)
    }

    /// Whether the server ended the connection, now or within the patience of a read.
    pub(crate) fn is_closed(&mut self) -> bool {
        // Unlike `read`, this one goes on when it is interrupted.
        match self.reader.read_exact(&mut [0]) {
            Ok(()) => false,
            Err(error) => matches!(
                error.kind(),
                std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::ConnectionReset
            ),
        }
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        self.reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
        Some(line.trim_end_matches(['\r', '\n']).to_owned())
    }
}

impl Answer {
    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e} in {:?}", String::from_utf8_lossy(&self.body)))
    }

    /// The body of a 200.
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        self.json()
    }

    /// The body of a 201.
    pub(crate) fn created(&self) -> Value {
        assert_eq!(self.status, 201, "{}", String::from_utf8_lossy(&self.body));
        self.json()
    }

    /// The code of a problem, after a look at whether it is one as it should be.
    pub(crate) fn problem(&self) -> String {
        let problem: meshlink_api::Problem = serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e} in {} {:?}", self.status, String::from_utf8_lossy(&self.body)));
        assert_eq!(self.field("content-type"), "application/problem+json");
        assert_eq!(problem.status, self.status);
        assert_eq!(problem.kind, format!("urn:meshlink:problem:{}", problem.code));
        assert!(!problem.title.is_empty() && !problem.detail.is_empty(), "{problem:?}");
        problem.code
    }
}

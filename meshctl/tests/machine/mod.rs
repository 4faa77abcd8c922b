//! Real processes on this machine for the end-to-end tests: daemons and relays on free loopback ports, each
//! daemon with a state directory of its own, all ended with the test.
//!
//! The binaries are the ones Cargo built beside `meshctl`, so `cargo test --workspace` is enough.

#![allow(clippy::print_stderr, reason = "a test that fails shows what its processes logged")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longest a test waits for anything, generous because machines are noisy; the rules under test name their
/// own, shorter times.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Where Cargo put a binary of this workspace.
pub(crate) fn binary(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_meshctl")).with_file_name(name);
    assert!(path.exists(), "{} is missing: run the tests with `cargo test --workspace`", path.display());
    path
}

/// Asks `found` again until it has an answer.
pub(crate) fn wait_for<T>(what: &str, patience: Duration, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(answer) = found() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {patience:?} for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A port nobody listens on right now.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("loopback has free ports").local_addr().expect("bound").port()
}

/// A process that ends with its owner.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    fn start(mut command: Command, log: &Path) -> Self {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(log).expect("log file");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        let child = command.spawn().expect("binary starts");
        Self { child, log: log.to_owned() }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, and waits for the end.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("process of this test");
        self.child.wait().expect("process of this test");
    }

    /// SIGTERM; its exit code.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        let pid = self.pid().to_string();
        let status = Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs");
        assert!(status.success());
        wait_for("the process to stop", PATIENCE, || self.child.try_wait().expect("process of this test"))
            .code()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- {}\n{}", self.log.display(), self.log());
        }
    }
}

/// A relay on a port that stays its own over restarts.
pub(crate) struct Relay {
    pub(crate) process: Process,
    pub(crate) port: u16,
}

impl Relay {
    pub(crate) fn start(dir: &Path, port: u16) -> Self {
        let mut command = Command::new(binary("meshlink-relay"));
        command.args(["--listen", &format!("127.0.0.1:{port}")]);
        let process = Process::start(command, &dir.join("relay.log"));
        wait_for("the relay to listen", PATIENCE, || TcpStream::connect(("127.0.0.1", port)).ok());
        Self { process, port }
    }

    pub(crate) fn url(port: u16) -> String {
        format!("ws://127.0.0.1:{port}")
    }
}

/// A daemon with its own state.
pub(crate) struct Node {
    pub(crate) process: Process,
    pub(crate) state: PathBuf,
    flags: Vec<String>,
}

impl Node {
    pub(crate) fn start(dir: &Path, name: &str, flags: &[&str]) -> Self {
        let state = dir.join(name);
        let flags: Vec<String> = flags.iter().map(|&f| f.to_owned()).collect();
        let process = Self::spawn(&state, name, &flags);
        let node = Self { process, state, flags };
        node.wait_until_it_answers();
        node
    }

    fn spawn(state: &Path, name: &str, flags: &[String]) -> Process {
        let mut command = Command::new(binary("meshd"));
        // A socket path has at most 108 bytes, so it does not live in a deep test directory's runtime path.
        command.arg("--state-dir").arg(state).args([
            "--listen",
            "127.0.0.1:0",
            "--no-ble",
            "--no-lan",
            "--name",
            name,
        ]);
        command.arg("--socket").arg(state.join("s")).args(flags);
        Process::start(command, &state.with_extension("log"))
    }

    fn wait_until_it_answers(&self) {
        wait_for("the daemon to answer", PATIENCE, || {
            let address = self.api()?;
            (address.pid == self.process.pid()).then_some(())?;
            http(&address.url, None, "GET", "/v1/health", &[], b"").ok().filter(|a| a.status == 200)
        });
    }

    fn api(&self) -> Option<Address> {
        let text = std::fs::read_to_string(self.state.join("api.json")).ok()?;
        let value: Value = serde_json::from_str(&text).ok()?;
        let url = value["url"].as_str()?.strip_prefix("http://")?.to_owned();
        Some(Address { url, pid: u32::try_from(value["pid"].as_u64()?).ok()? })
    }

    /// `host:port` of its API.
    pub(crate) fn address(&self) -> String {
        self.api().expect("api.json of a running daemon").url
    }

    pub(crate) fn token(&self) -> String {
        std::fs::read_to_string(self.state.join("api-token")).expect("token file").trim().to_owned()
    }

    /// Starts it again on the same state, after a kill or a stop.
    pub(crate) fn restart(&mut self) -> Duration {
        let started = Instant::now();
        let name = self.state.file_name().expect("named").to_str().expect("plain name").to_owned();
        self.process = Self::spawn(&self.state, &name, &self.flags);
        self.wait_until_it_answers();
        started.elapsed()
    }

    /// A request with the file token.
    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> std::io::Result<Answer> {
        http(&self.address(), Some(&self.token()), method, path, headers, body.as_bytes())
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        let answer = self.request("GET", path, &[], "").expect("the daemon answers");
        assert_eq!(answer.status, 200, "GET {path}: {}", answer.body);
        answer.json()
    }

    /// Sends a text to `#mesh` over the API; the message.
    pub(crate) fn post(&self, text: &str) -> Value {
        let body = serde_json::json!({ "text": text }).to_string();
        let answer = self
            .request("POST", "/v1/messages", &[("Content-Type", "application/json")], &body)
            .expect("the daemon answers");
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer.json()
    }

    /// Texts of all messages, oldest first, however many pages they fill.
    pub(crate) fn texts(&self) -> Vec<String> {
        let mut texts = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self.get(&format!("/v1/messages?order=asc&limit=500{cursor}"));
            let items = page["items"].as_array().expect("a list");
            texts.extend(items.iter().map(|message| message["text"].as_str().expect("text").to_owned()));
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return texts,
            }
        }
    }

    /// `meshctl` aimed at this node.
    pub(crate) fn meshctl(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_meshctl"));
        command.args(["--state-dir", self.state.to_str().expect("plain path")]).args(args);
        command.env_remove("MESHLINK_URL").stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.meshctl(args).output().expect("meshctl runs")
    }
}

struct Address {
    url: String,
    pid: u32,
}

/// An answer, read to its end.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }
}

fn write_head(
    stream: &mut TcpStream,
    address: &str,
    token: Option<&str>,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    length: usize,
) -> std::io::Result<()> {
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n"
    );
    if let Some(token) = token {
        head += &format!("Authorization: Bearer {token}\r\n");
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all((head + "\r\n").as_bytes())
}

/// One request on a connection of its own.
pub(crate) fn http(
    address: &str,
    token: Option<&str>,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write_head(&mut stream, address, token, method, path, headers, body.len())?;
    stream.write_all(body)?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let broken = || std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "answer cut short");
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(broken)?;
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or_else(broken)?;
    let body = if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        dechunk(body)
    } else {
        body.to_owned()
    };
    Ok(Answer { status, head: head.to_owned(), body })
}

fn dechunk(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).expect("chunk size");
        if size == 0 {
            break;
        }
        whole.push_str(&rest[..size]);
        body = &rest[size + 2..];
    }
    whole
}

/// An open `GET /v1/events` as NDJSON, line by line.
pub(crate) struct Events {
    reader: BufReader<TcpStream>,
}

impl Events {
    /// Opens the stream; `after` is sent as `Last-Event-ID`.
    pub(crate) fn open(node: &Node, after: Option<&str>) -> Self {
        let mut stream = TcpStream::connect(node.address()).expect("the daemon listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let mut headers = vec![("Accept", "application/x-ndjson")];
        headers.extend(after.map(|id| ("Last-Event-ID", id)));
        write_head(&mut stream, &node.address(), Some(&node.token()), "GET", "/v1/events", &headers, 0)
            .expect("sent");
        Self { reader: BufReader::new(stream) }
    }

    /// The next event; `None` when the daemon went away.
    pub(crate) fn next(&mut self) -> Option<Value> {
        loop {
            let mut line = String::new();
            match self.reader.read_line(&mut line) {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
            // Head lines, chunk sizes and keep-alives are not events.
            if let Some(start) = line.find('{')
                && let Ok(value) = serde_json::from_str(line[start..].trim())
            {
                return Some(value);
            }
        }
    }
}

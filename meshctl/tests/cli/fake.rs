//! A daemon that says what a test tells it to.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A request as it came in.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }

    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }
}

/// What to answer.
pub(crate) enum Reply {
    /// Head and body, complete.
    Bytes(Vec<u8>),
    /// An event stream that stays open until the daemon ends.
    Open(String),
    /// An event stream that ends.
    Cut(String),
    /// Nothing: the connection is closed.
    Nothing,
    /// Nothing, ever: the connection stays.
    Silence,
    /// A body of this type that has no end.
    Endless(&'static str),
}

impl Reply {
    pub(crate) fn json(value: &Value) -> Self {
        Self::text(200, "application/json", &value.to_string())
    }

    pub(crate) fn text(status: u16, kind: &str, body: &str) -> Self {
        let length = body.len();
        let head = format!("HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n");
        Self::Bytes([head.as_bytes(), body.as_bytes()].concat())
    }

    pub(crate) fn problem(status: u16, code: &str, detail: &str, hint: Option<&str>) -> Self {
        let mut problem = json!({
            "type": format!("urn:meshlink:problem:{code}"), "title": "A problem", "status": status,
            "detail": detail, "code": code,
        });
        if let Some(hint) = hint {
            problem["hint"] = hint.into();
        }
        Self::text(status, "application/problem+json", &problem.to_string())
    }
}

/// Where a fake listens.
enum Door {
    Unix(UnixListener, PathBuf),
    Tcp(TcpListener),
}

trait Wire: Read + Write + Send {}
impl<T: Read + Write + Send> Wire for T {}

/// Closes a connection, for whoever else has a handle of it too.
type Close = Arc<dyn Fn() + Send + Sync>;
type Script = dyn Fn(&Asked) -> Reply + Send + Sync;

#[derive(Default)]
struct Shared {
    asked: Mutex<Vec<Asked>>,
    news: Condvar,
    over: AtomicBool,
    open: Mutex<Vec<Close>>,
}

/// A running fake. It ends, and all its connections with it, when it is dropped.
pub(crate) struct Fake {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    knock: Box<dyn Fn() + Send>,
    /// Its URL, if it listens on TCP.
    pub(crate) url: String,
}

impl Fake {
    /// On a Unix socket.
    pub(crate) fn on_socket(path: &Path, script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = UnixListener::bind(path).expect("a free path");
        let knock = path.to_owned();
        let knock = Box::new(move || drop(UnixStream::connect(&knock)));
        Self::start(Door::Unix(listener, path.to_owned()), knock, String::new(), Arc::new(script))
    }

    /// On a free loopback port.
    pub(crate) fn on_port(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let knock = Box::new(move || drop(TcpStream::connect(address)));
        Self::start(Door::Tcp(listener), knock, format!("http://{address}"), Arc::new(script))
    }

    fn start(door: Door, knock: Box<dyn Fn() + Send>, url: String, script: Arc<Script>) -> Self {
        let shared = Arc::new(Shared::default());
        let serving = Arc::clone(&shared);
        let thread = std::thread::spawn(move || accept(&door, &serving, &script));
        Self { shared, thread: Some(thread), knock, url }
    }

    /// All requests so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().expect("no panic under the lock").clone()
    }

    /// Method and target of all requests so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.asked().iter().map(Asked::line).collect()
    }

    /// Waits until a request that begins with `line` came in.
    pub(crate) fn wait_for(&self, line: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut asked = self.shared.asked.lock().expect("no panic under the lock");
        while !asked.iter().any(|asked| asked.line().starts_with(line)) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "nobody asked {line}");
            asked = self.shared.news.wait_timeout(asked, left).expect("no panic under the lock").0;
        }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        (self.knock)();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the fake's script does not panic");
        }
    }
}

fn accept(door: &Door, shared: &Arc<Shared>, script: &Arc<Script>) {
    let mut threads = Vec::new();
    loop {
        let (wire, close): (Box<dyn Wire>, Close) = match door {
            Door::Unix(listener, _) => {
                let stream = listener.accept().expect("a connection").0;
                let other = stream.try_clone().expect("a second handle");
                (Box::new(stream), Arc::new(move || drop(other.shutdown(Shutdown::Both))))
            }
            Door::Tcp(listener) => {
                let stream = listener.accept().expect("a connection").0;
                let other = stream.try_clone().expect("a second handle");
                (Box::new(stream), Arc::new(move || drop(other.shutdown(Shutdown::Both))))
            }
        };
        if shared.over.load(Ordering::SeqCst) {
            break;
        }
        shared.open.lock().expect("no panic under the lock").push(Arc::clone(&close));
        let (shared, script) = (Arc::clone(shared), Arc::clone(script));
        threads.push(std::thread::spawn(move || {
            answer(wire, &shared, script.as_ref());
            close();
        }));
    }
    if let Door::Unix(_, path) = door {
        std::fs::remove_file(path).expect("the socket's path");
    }
    for close in shared.open.lock().expect("no panic under the lock").iter() {
        close();
    }
    for thread in threads {
        thread.join().expect("a connection's thread does not panic");
    }
}

fn answer(wire: Box<dyn Wire>, shared: &Shared, script: &Script) {
    let mut wire = BufReader::new(wire);
    let Some(asked) = read(&mut wire) else { return };
    // The script answers first: who waits for the request may count on what the script noted.
    let reply = script(&asked);
    shared.asked.lock().expect("no panic under the lock").push(asked);
    shared.news.notify_all();
    let stream_head =
        "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let out = wire.get_mut();
    // A client that went away is no error: tests look at what it printed.
    let mut say = |bytes: &[u8]| drop(out.write_all(bytes));
    let hold = match reply {
        Reply::Nothing => false,
        Reply::Silence => true,
        Reply::Bytes(bytes) => {
            say(&bytes);
            false
        }
        Reply::Cut(text) => {
            say(format!("{stream_head}{}", chunk(&text)).as_bytes());
            false
        }
        Reply::Open(text) => {
            let first = if text.is_empty() { String::new() } else { chunk(&text) };
            say(format!("{stream_head}{first}").as_bytes());
            true
        }
        Reply::Endless(kind) => {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\n[\"");
            let mut more = out.write_all(head.as_bytes()).is_ok();
            while more {
                more = out.write_all(&[b'x'; 65_536]).is_ok();
            }
            false
        }
    };
    if hold {
        drop(wire.read(&mut [0; 1]));
    }
}

fn read(wire: &mut BufReader<Box<dyn Wire>>) -> Option<Asked> {
    let mut line = String::new();
    wire.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        wire.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let mut asked = Asked { method, target, headers, body: Vec::new() };
    let length = asked.header("content-length").map_or(0, |length| length.parse().expect("a number"));
    asked.body = vec![0; length];
    wire.read_exact(&mut asked.body).ok()?;
    Some(asked)
}

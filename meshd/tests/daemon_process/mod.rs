//! A real `meshd` for a test: started on a state directory of its own, ended with it.

#![allow(clippy::print_stderr, reason = "the log of a process whose test failed")]
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

#[cfg(target_os = "linux")]
pub mod fake_bluez;
pub mod relay;
pub mod tap;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longest a test waits for anything, generous because machines are noisy; the rules under test name their own
/// times.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again until there is an answer.
pub fn wait_for<T>(what: &str, patience: Duration, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(answer) = found() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {patience:?} for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// `meshd` with nothing of the tester's own environment.
pub fn meshd(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meshd"));
    command.args(args).env_clear().stdin(Stdio::null());
    command
}

/// Runs it to its end, which must come by itself.
pub fn run(args: &[&str]) -> Output {
    run_command(meshd(args))
}

/// As [`run`], for a command with more to it.
pub fn run_command(mut command: Command) -> Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("meshd starts");
    let ended = Instant::now() + PATIENCE;
    while child.try_wait().expect("own child").is_none() {
        if Instant::now() > ended {
            child.kill().expect("own child");
            let output = child.wait_with_output().expect("own child");
            panic!("{command:?} did not end: {}", String::from_utf8_lossy(&output.stderr));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().expect("own child")
}

/// A daemon that listens on its socket alone.
pub struct Daemon {
    child: Child,
    pub state: PathBuf,
    log: PathBuf,
    flags: Vec<String>,
    /// The network namespace it lives in, if not the tester's.
    namespace: Option<String>,
    variables: Vec<(String, String)>,
}

impl Daemon {
    /// Without links over the local network, unless a flag asks for them: tests are to meet nobody else.
    pub fn start(dir: &Path, name: &str, flags: &[&str]) -> Self {
        Self::start_anywhere(dir, name, None, &[], flags)
    }

    /// With variables in its environment.
    pub fn start_with(dir: &Path, name: &str, variables: &[(&str, &str)], flags: &[&str]) -> Self {
        Self::start_anywhere(dir, name, None, variables, flags)
    }

    /// In a network namespace, with nothing said about links.
    pub fn start_in(dir: &Path, name: &str, namespace: &str, flags: &[&str]) -> Self {
        Self::start_anywhere(dir, name, Some(namespace.to_owned()), &[], flags)
    }

    fn start_anywhere(
        dir: &Path,
        name: &str,
        namespace: Option<String>,
        variables: &[(&str, &str)],
        flags: &[&str],
    ) -> Self {
        let state = dir.join(name);
        let log = dir.join(format!("{name}.log"));
        let flags: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
        let variables: Vec<(String, String)> =
            variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let child = Self::spawn(&state, &log, namespace.as_deref(), &variables, &flags);
        let mut daemon = Self { child, state, log, flags, namespace, variables };
        daemon.wait_until_it_answers();
        daemon
    }

    fn spawn(
        state: &Path,
        log: &Path,
        namespace: Option<&str>,
        variables: &[(String, String)],
        flags: &[String],
    ) -> Child {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log).expect("log file");
        let args = ["--state-dir", state.to_str().expect("plain path")];
        let mut command = match namespace {
            None => meshd(&args),
            // `ip` becomes the program, so the process id is the daemon's.
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace, env!("CARGO_BIN_EXE_meshd")]).args(args);
                command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null());
                command
            }
        };
        if namespace.is_none() {
            command.env("MESHD_NO_LAN", "1");
        }
        if !flags.iter().any(|flag| flag == "--listen") {
            command.arg("--no-tcp");
        }
        // The machine's own Bluetooth is no test's; with `--adapter` a test brings a bus of its own.
        if !flags.iter().any(|flag| flag == "--adapter") {
            command.arg("--no-ble");
        }
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        command.args(flags).stdout(Stdio::null()).stderr(log).spawn().expect("meshd starts")
    }

    fn wait_until_it_answers(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.answers() {
            let ended = self.child.try_wait().expect("own child");
            assert!(ended.is_none() && Instant::now() < deadline, "{ended:?}: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn answers(&self) -> bool {
        let pid = self.address().and_then(|address| address["pid"].as_u64());
        pid == Some(self.child.id().into())
            && self.request("GET", "/v1/health", "").is_ok_and(|(status, _)| status == 200)
    }

    /// What api.json says.
    pub fn address(&self) -> Option<Value> {
        serde_json::from_str(&std::fs::read_to_string(self.state.join("api.json")).ok()?).ok()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Asks it to read its configuration again.
    pub fn hang_up(&self) {
        let killed = Command::new("kill").args(["-HUP", &self.pid().to_string()]).status();
        assert!(killed.expect("kill runs").success());
    }

    /// Sends a signal and waits for the end: its exit code, and how long that took.
    pub fn signal(&mut self, name: &str) -> (Option<i32>, Duration) {
        let sent = Instant::now();
        let killed = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status();
        assert!(killed.expect("kill runs").success());
        let status = wait_for("the daemon to end", PATIENCE, || self.child.try_wait().expect("own child"));
        (status.code(), sent.elapsed())
    }

    /// Waits until it has ended by itself.
    pub fn wait_until_it_ends(&mut self) {
        wait_for("the daemon to end", PATIENCE, || self.child.try_wait().expect("own child"));
    }

    /// Starts again on the same state.
    pub fn restart(&mut self) {
        self.child =
            Self::spawn(&self.state, &self.log, self.namespace.as_deref(), &self.variables, &self.flags);
        self.wait_until_it_answers();
    }

    /// One request that has to succeed; its answer, if that is JSON.
    pub fn done(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, text) = self.request(method, path, &body.to_string()).expect("the daemon answers");
        assert!((200..300).contains(&status), "{method} {path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    /// One request over the Unix socket.
    pub fn request(&self, method: &str, path: &str, body: &str) -> std::io::Result<(u16, String)> {
        let mut stream = UnixStream::connect(self.state.join("meshd.sock"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let cut = || std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "answer cut short");
        let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(cut)?;
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(cut)?;
        Ok((status, body.to_owned()))
    }

    pub fn get(&self, path: &str) -> Value {
        let (status, body) = self.request("GET", path, "").expect("the daemon answers");
        assert_eq!(status, 200, "GET {path}: {body}");
        serde_json::from_str(&body).unwrap_or_else(|e| panic!("{e}: {body}"))
    }

    /// Posts to `#mesh`; the id.
    pub fn post(&self, text: &str) -> String {
        let body = serde_json::json!({ "text": text }).to_string();
        let (status, body) = self.request("POST", "/v1/messages", &body).expect("the daemon answers");
        assert_eq!(status, 201, "{body}");
        let message: Value = serde_json::from_str(&body).expect("JSON");
        message["id"].as_str().expect("an id").to_owned()
    }

    /// Texts of all messages, oldest first, however many pages they fill.
    pub fn texts(&self) -> Vec<String> {
        let mut texts = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self.get(&format!("/v1/messages?order=asc&limit=500{cursor}"));
            let items = page["items"].as_array().expect("a list");
            texts.extend(items.iter().map(|message| message["text"].as_str().expect("a text").to_owned()));
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return texts,
            }
        }
    }

    pub fn status_of(&self, id: &str) -> String {
        self.get(&format!("/v1/messages/{id}"))["status"].as_str().expect("a status").to_owned()
    }

    /// The relay's line in the status.
    pub fn relay(&self) -> Value {
        self.transport("relay").expect("always listed")
    }

    /// The first line about this kind of link in the status.
    pub fn transport(&self, kind: &str) -> Option<Value> {
        let status = self.get("/v1/status");
        let transports = status["transports"].as_array().expect("a list");
        transports.iter().find(|transport| transport["kind"] == kind).cloned()
    }

    /// The links there are, each with its kind.
    pub fn links(&self) -> Vec<Value> {
        self.get("/v1/links")["items"].as_array().expect("a list").clone()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- {}\n{}", self.log.display(), self.log());
        }
    }
}

//! What measuring programs share: processes, HTTP to them, and what they use.

#![allow(dead_code, reason = "each program uses a part of it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

/// A process that ends with its owner.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a program without a word from it.
pub(crate) fn start(command: &mut Command) -> anyhow::Result<Running> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(Running(command.spawn().with_context(|| format!("can't start {command:?}"))?))
}

/// A keep-alive HTTP connection.
pub(crate) struct Connection {
    pub(crate) reader: BufReader<TcpStream>,
    host: String,
    token: Option<String>,
}

impl Connection {
    pub(crate) fn open(host: &str, token: Option<&str>) -> anyhow::Result<Self> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            match TcpStream::connect(host) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
                    let token = token.map(str::to_owned);
                    return Ok(Self { reader: BufReader::new(stream), host: host.to_owned(), token });
                }
                Err(error) if Instant::now() > deadline => bail!("{host}: {error}"),
                Err(_) => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    }

    pub(crate) fn send(&mut self, method: &str, path: &str, body: &[u8]) -> anyhow::Result<()> {
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n", self.host, body.len());
        if let Some(token) = &self.token {
            head += &format!("Authorization: Bearer {token}\r\nAccept: application/x-ndjson\r\n");
        }
        head += "Content-Type: text/plain\r\n\r\n";
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        self.reader.get_mut().write_all(&bytes)?;
        Ok(())
    }

    pub(crate) fn call(&mut self, method: &str, path: &str, body: &[u8]) -> anyhow::Result<(u16, Vec<u8>)> {
        self.send(method, path, body)?;
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|s| s.parse().ok()).context("no status line")?;
        let mut length = 0;
        loop {
            line.clear();
            self.reader.read_line(&mut line)?;
            if line.trim().is_empty() {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
        }
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body)?;
        Ok((status, body))
    }
}

/// What a process has used so far.
pub(crate) struct Vitals {
    pub(crate) cpu_s: f64,
    pub(crate) rss_kib: u64,
    /// Times it went to sleep by itself.
    pub(crate) switches: u64,
    /// Handed to the disk.
    pub(crate) written_bytes: u64,
}

pub(crate) fn vitals(pid: u32) -> anyhow::Result<Vitals> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let number = |text: &str, key: &str| {
        let line = text.lines().find(|l| l.starts_with(key));
        line.and_then(|l| l.split_whitespace().nth(1)?.parse::<u64>().ok()).unwrap_or(0)
    };
    let mut switches = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        switches += number(&std::fs::read_to_string(task?.path().join("status"))?, "voluntary_ctxt_switches");
    }
    let io = std::fs::read_to_string(format!("/proc/{pid}/io"))?;
    Ok(Vitals {
        cpu_s: (ticks(11) + ticks(12)) / 100.0,
        rss_kib: number(&status, "VmRSS"),
        switches,
        written_bytes: number(&io, "write_bytes"),
    })
}

/// Starts a node on a state directory; where its API is, its token, and how long until it answered.
pub(crate) fn start_node(
    bin: &Path,
    state: &Path,
    arguments: &[&str],
) -> anyhow::Result<(Running, (String, String), Duration)> {
    let file = state.join("api.json");
    // Left by a node that was killed.
    let _ = std::fs::remove_file(&file);
    let mut command = Command::new(bin.join("meshd"));
    command.arg("--state-dir").arg(state).args(["--listen", "127.0.0.1:0", "--no-ble", "--socket"]);
    command.arg(state.join("s")).args(arguments);
    let begun = Instant::now();
    let running = start(&mut command)?;
    while !file.exists() {
        ensure!(begun.elapsed() < Duration::from_secs(60), "no node on {}", state.display());
        std::thread::sleep(Duration::from_millis(1));
    }
    let took = begun.elapsed();
    let address: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&file)?)?;
    let host = address["url"].as_str().context("no url")?.trim_start_matches("http://").to_owned();
    Ok((running, (host, std::fs::read_to_string(state.join("api-token"))?.trim().to_owned()), took))
}

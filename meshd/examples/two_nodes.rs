#![allow(clippy::print_stdout, missing_docs, reason = "a measuring program")]
//! Measures two nodes on one machine, HTTP in on the one and HTTP out on the other: latency of one message at
//! a time, sustained rate, CPU, memory and wake-ups. With `--dtn7 DIR` the same client does the same work with
//! dtn7's `dtnd` from that directory, so that both numbers come from one run.
//!
//! ```sh
//! cargo build --release --workspace
//! cargo run --release --example two_nodes -- --bin target/release [--dtn7 ~/.cargo/bin] [--messages 4000]
//! ```
//!
//! Ours store durably (`synchronous=FULL`), sign, verify and encrypt the link, over `meshlink-relay`; dtn7
//! keeps its bundles in memory and sends them in the clear over its direct TCP convergence layer.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::Parser;

const TEXT_BYTES: usize = 200;

/// Measures two nodes on one machine.
#[derive(Parser)]
struct Args {
    /// Where `meshd` and `meshlink-relay` are.
    #[arg(long)]
    bin: PathBuf,
    /// Where `dtnd` is; without it only MeshLink is measured.
    #[arg(long)]
    dtn7: Option<PathBuf>,
    /// Messages of the sustained part.
    #[arg(long, default_value_t = 4000)]
    messages: usize,
    /// Connections that send at the same time in the sustained part.
    #[arg(long, default_value_t = 8)]
    senders: usize,
    /// Seconds the idle nodes are watched.
    #[arg(long, default_value_t = 10)]
    idle_s: u64,
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(command: &mut Command) -> anyhow::Result<Running> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(Running(command.spawn().with_context(|| format!("can't start {command:?}"))?))
}

/// A keep-alive HTTP connection.
struct Connection {
    reader: BufReader<TcpStream>,
    host: String,
    token: Option<String>,
}

impl Connection {
    fn open(host: &str, token: Option<&str>) -> anyhow::Result<Self> {
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

    fn send(&mut self, method: &str, path: &str, body: &[u8]) -> anyhow::Result<()> {
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

    fn call(&mut self, method: &str, path: &str, body: &[u8]) -> anyhow::Result<(u16, Vec<u8>)> {
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

/// CPU seconds, resident KiB and voluntary context switches of a process.
fn vitals(pid: u32) -> anyhow::Result<(f64, u64, u64)> {
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
    Ok(((ticks(11) + ticks(12)) / 100.0, number(&status, "VmRSS"), switches))
}

/// Sends one text.
type Sender = Box<dyn FnMut(&[u8]) -> anyhow::Result<()> + Send>;
/// Returns when so many more messages have come.
type Receiver = Box<dyn FnMut(usize) -> anyhow::Result<()> + Send>;

/// What both systems can do, seen from outside.
trait Pair {
    fn name(&self) -> &'static str;
    fn pids(&self) -> Vec<u32>;
    /// A connection that sends, and how.
    fn sender(&self) -> anyhow::Result<Sender>;
    /// A receiver that returns when `count` more messages have come.
    fn receiver(&self) -> anyhow::Result<Receiver>;
}

struct MeshLink {
    nodes: [Running; 2],
    relay: Running,
    addresses: [(String, String); 2],
    _dir: tempfile::TempDir,
}

impl MeshLink {
    fn start(bin: &Path) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let relay = start(Command::new(bin.join("meshlink-relay")).args([
            "--listen",
            &format!("127.0.0.1:{port}"),
            "--max-rate",
            "0",
        ]))?;
        drop(Connection::open(&format!("127.0.0.1:{port}"), None)?);
        let node = |name: &str| -> anyhow::Result<(Running, (String, String))> {
            let state = dir.path().join(name);
            let mut command = Command::new(bin.join("meshd"));
            command.arg("--state-dir").arg(&state).args([
                "--listen",
                "127.0.0.1:0",
                "--no-ble",
                "--no-lan",
                "--socket",
            ]);
            command.arg(state.join("s")).args(["--relay", &format!("ws://127.0.0.1:{port}")]);
            let begun = Instant::now();
            let running = start(&mut command)?;
            let file = state.join("api.json");
            while !file.exists() {
                ensure!(begun.elapsed() < Duration::from_secs(20), "{name} does not start");
                std::thread::sleep(Duration::from_millis(1));
            }
            println!("MeshLink {name}: answers after {} ms", begun.elapsed().as_millis());
            let address: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&file)?)?;
            let host = address["url"].as_str().context("no url")?.trim_start_matches("http://").to_owned();
            Ok((running, (host, std::fs::read_to_string(state.join("api-token"))?.trim().to_owned())))
        };
        let (a, address_a) = node("a")?;
        let (b, address_b) = node("b")?;
        Ok(Self { nodes: [a, b], relay, addresses: [address_a, address_b], _dir: dir })
    }
}

impl Pair for MeshLink {
    fn name(&self) -> &'static str {
        "MeshLink"
    }

    fn pids(&self) -> Vec<u32> {
        vec![self.nodes[0].0.id(), self.nodes[1].0.id(), self.relay.0.id()]
    }

    fn sender(&self) -> anyhow::Result<Sender> {
        let (host, token) = &self.addresses[0];
        let mut connection = Connection::open(host, Some(token))?;
        Ok(Box::new(move |text| {
            let (status, body) = connection.call("POST", "/v1/messages?to=%23mesh", text)?;
            ensure!(status == 201, "{status} {}", String::from_utf8_lossy(&body));
            Ok(())
        }))
    }

    fn receiver(&self) -> anyhow::Result<Receiver> {
        let (host, token) = &self.addresses[1];
        let mut connection = Connection::open(host, Some(token))?;
        connection.send("GET", "/v1/events?types=message.new,status", b"")?;
        // The current state comes first; from there on nothing is missed.
        let mut line = String::new();
        while !line.contains("\"type\":\"status\"") {
            line.clear();
            ensure!(connection.reader.read_line(&mut line)? > 0, "the event stream ended");
        }
        Ok(Box::new(move |count| {
            let mut got = 0;
            while got < count {
                line.clear();
                ensure!(connection.reader.read_line(&mut line)? > 0, "the event stream ended");
                got += usize::from(line.contains("\"type\":\"message.new\""));
            }
            Ok(())
        }))
    }
}

struct Dtn7 {
    nodes: [Running; 2],
    _dir: tempfile::TempDir,
}

impl Dtn7 {
    fn start(bin: &Path) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let node = |name: &str, web: &str, extra: &[&str]| {
            let mut command = Command::new(bin.join("dtnd"));
            command
                .current_dir(dir.path())
                .args(["-n", name, "-w", web, "-e", "in", "-r", "epidemic", "-W", name]);
            start(command.args(["-j", "2s", "--disable_nd", "-i", "0"]).args(extra))
        };
        let b = node("node2", "13002", &["-C", "mtcp:port=16202:bind=127.0.0.1"])?;
        let peer = ["-C", "mtcp:port=16201:bind=127.0.0.1", "-s", "mtcp://127.0.0.1:16202/node2"];
        let a = node("node1", "13001", &peer)?;
        Ok(Self { nodes: [a, b], _dir: dir })
    }
}

impl Pair for Dtn7 {
    fn name(&self) -> &'static str {
        "dtn7"
    }

    fn pids(&self) -> Vec<u32> {
        self.nodes.iter().map(|n| n.0.id()).collect()
    }

    fn sender(&self) -> anyhow::Result<Sender> {
        let mut connection = Connection::open("127.0.0.1:13001", None)?;
        Ok(Box::new(move |text| {
            let (status, _) = connection.call("POST", "/send?dst=dtn://node2/in&lifetime=3600000", text)?;
            ensure!(status == 200, "dtnd answered {status}");
            Ok(())
        }))
    }

    fn receiver(&self) -> anyhow::Result<Receiver> {
        let mut connection = Connection::open("127.0.0.1:13002", None)?;
        Ok(Box::new(move |count| {
            let mut got = 0;
            let deadline = Instant::now() + Duration::from_secs(120);
            while got < count {
                ensure!(Instant::now() < deadline, "{got} of {count} came");
                let (_, body) = connection.call("GET", "/endpoint?in", b"")?;
                got += usize::from(body.windows(4).any(|w| w == b"xxxx"));
            }
            Ok(())
        }))
    }
}

fn text(n: usize) -> Vec<u8> {
    let mut text = format!("{n:08}").into_bytes();
    text.resize(TEXT_BYTES, b'x');
    text
}

fn idle(pair: &dyn Pair, seconds: u64) -> anyhow::Result<()> {
    let before: Vec<_> = pair.pids().into_iter().map(vitals).collect::<Result<_, _>>()?;
    // The quiet itself is what is measured.
    std::thread::sleep(Duration::from_secs(seconds));
    for (pid, (cpu, rss, switches)) in pair.pids().into_iter().zip(before) {
        let (cpu_after, rss_after, switches_after) = vitals(pid)?;
        println!(
            "{} idle: pid {pid} rss {} KiB (was {rss}), {:.1} wake-ups/s, {:.2} % CPU",
            pair.name(),
            rss_after,
            (switches_after - switches) as f64 / seconds as f64,
            (cpu_after - cpu) / seconds as f64 * 100.0
        );
    }
    Ok(())
}

fn one_at_a_time(pair: &dyn Pair) -> anyhow::Result<()> {
    let mut send = pair.sender()?;
    let mut receive = pair.receiver()?;
    let mut times = Vec::new();
    for n in 0..220 {
        let begun = Instant::now();
        send(&text(n))?;
        receive(1)?;
        // The first few find the way.
        if n >= 20 {
            times.push(begun.elapsed());
        }
    }
    times.sort();
    let at = |q: f64| times[((times.len() - 1) as f64 * q) as usize].as_secs_f64() * 1e3;
    println!(
        "{} one at a time: p50 {:.2} ms, p90 {:.2} ms, max {:.2} ms",
        pair.name(),
        at(0.5),
        at(0.9),
        at(1.0)
    );
    Ok(())
}

fn sustained(pair: &dyn Pair, messages: usize, senders: usize) -> anyhow::Result<()> {
    let mut receive = pair.receiver()?;
    let before: Vec<_> = pair.pids().into_iter().map(vitals).collect::<Result<_, _>>()?;
    let next = Arc::new(AtomicUsize::new(0));
    let begun = Instant::now();
    let mut threads = Vec::new();
    for _ in 0..senders {
        let mut send = pair.sender()?;
        let next = next.clone();
        threads.push(std::thread::spawn(move || -> anyhow::Result<()> {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= messages {
                    return Ok(());
                }
                send(&text(10_000 + n))?;
            }
        }));
    }
    receive(messages)?;
    let seconds = begun.elapsed().as_secs_f64();
    for thread in threads {
        thread.join().expect("a sender does not panic")?;
    }
    let mut line =
        format!("{} sustained, {senders} senders: {:.0} messages/s;", pair.name(), messages as f64 / seconds);
    for (pid, (cpu, _, _)) in pair.pids().into_iter().zip(before) {
        let (cpu_after, rss, _) = vitals(pid)?;
        line += &format!(
            " pid {pid} {:.0} us CPU/message, {rss} KiB;",
            (cpu_after - cpu) * 1e6 / messages as f64
        );
    }
    println!("{line}");
    Ok(())
}

fn measure(pair: &dyn Pair, args: &Args) -> anyhow::Result<()> {
    // Both nodes find each other before anything is measured.
    let mut receive = pair.receiver()?;
    pair.sender()?(&text(0))?;
    receive(1)?;
    drop(receive);
    idle(pair, args.idle_s)?;
    one_at_a_time(pair)?;
    sustained(pair, args.messages, 1)?;
    sustained(pair, args.messages, args.senders)
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if let Some(bin) = &args.dtn7 {
        measure(&Dtn7::start(bin)?, &args)?;
    }
    measure(&MeshLink::start(&args.bin)?, &args)?;
    if let Some(bin) = &args.dtn7 {
        measure(&Dtn7::start(bin)?, &args)?;
    }
    Ok(())
}

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
//! Ours store durably (`synchronous=FULL`), sign, verify and encrypt the link, over `meshlink-relay` or, with
//! `--lan`, over TCP; dtn7 keeps its bundles in memory and sends them in the clear over its direct TCP convergence layer.

use std::io::BufRead as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::Parser;

mod machine;

use machine::{Connection, Running, start, start_node, vitals};

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
    /// MeshLink's nodes meet over TCP directly, as dtn7's do, not through a relay.
    #[arg(long)]
    lan: bool,
    /// Where MeshLink's nodes keep their state, for another disk than that of temporary files.
    #[arg(long)]
    state: Option<PathBuf>,
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
    relay: Option<Running>,
    addresses: [(String, String); 2],
    _dir: tempfile::TempDir,
}

fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

impl MeshLink {
    fn start(args: &Args) -> anyhow::Result<Self> {
        let dir = match &args.state {
            Some(state) => tempfile::tempdir_in(state)?,
            None => tempfile::tempdir()?,
        };
        let port = free_port()?;
        let (relay, of_a, of_b) = if args.lan {
            let peer = format!("127.0.0.1:{port}");
            let of_a = vec!["--lan".to_owned(), "--lan-peer".to_owned(), peer];
            (None, of_a, vec!["--lan".to_owned(), "--lan-port".to_owned(), port.to_string()])
        } else {
            let address = format!("127.0.0.1:{port}");
            let mut relay = Command::new(args.bin.join("meshlink-relay"));
            let relay = start(relay.args(["--listen", &address, "--max-rate", "0"]))?;
            drop(Connection::open(&address, None)?);
            let both = vec!["--no-lan".to_owned(), "--relay".to_owned(), format!("ws://{address}")];
            (Some(relay), both.clone(), both)
        };
        let node = |name: &str, arguments: &[String]| -> anyhow::Result<(Running, (String, String))> {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let (running, address, took) = start_node(&args.bin, &dir.path().join(name), &arguments)?;
            println!("MeshLink {name}: answers after {} ms", took.as_millis());
            Ok((running, address))
        };
        let (b, address_b) = node("b", &of_b)?;
        let (a, address_a) = node("a", &of_a)?;
        Ok(Self { nodes: [a, b], relay, addresses: [address_a, address_b], _dir: dir })
    }
}

impl Pair for MeshLink {
    fn name(&self) -> &'static str {
        "MeshLink"
    }

    fn pids(&self) -> Vec<u32> {
        self.nodes.iter().chain(&self.relay).map(|running| running.0.id()).collect()
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
    for (pid, before) in pair.pids().into_iter().zip(before) {
        let after = vitals(pid)?;
        println!(
            "{} idle: pid {pid} rss {} KiB (was {}), {:.1} wake-ups/s, {:.2} % CPU",
            pair.name(),
            after.rss_kib,
            before.rss_kib,
            (after.switches - before.switches) as f64 / seconds as f64,
            (after.cpu_s - before.cpu_s) / seconds as f64 * 100.0
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
    for (pid, before) in pair.pids().into_iter().zip(before) {
        let after = vitals(pid)?;
        line += &format!(
            " pid {pid} {:.0} us CPU/message, {} B written/message, {} KiB;",
            (after.cpu_s - before.cpu_s) * 1e6 / messages as f64,
            (after.written_bytes - before.written_bytes) / messages as u64,
            after.rss_kib
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
    if args.idle_s > 0 {
        idle(pair, args.idle_s)?;
    }
    one_at_a_time(pair)?;
    sustained(pair, args.messages, 1)?;
    sustained(pair, args.messages, args.senders)
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if let Some(bin) = &args.dtn7 {
        measure(&Dtn7::start(bin)?, &args)?;
    }
    measure(&MeshLink::start(&args)?, &args)?;
    if let Some(bin) = &args.dtn7 {
        measure(&Dtn7::start(bin)?, &args)?;
    }
    Ok(())
}

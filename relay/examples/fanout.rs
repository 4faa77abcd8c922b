//! Measures how relays hand one publisher's messages to many subscribers, several relays in turn.
//!
//! Starts each relay itself (`{port}` in its command is replaced), so that it can read the relay's processor time
//! and memory from `/proc`: Linux only. Everything runs in one thread over mio with the least framing that works,
//! so that the client costs little beside the relay: all messages of a run have the same size, so a subscriber's
//! frames are found by counting bytes.
//!
//! With `--window` at most so many messages are under way at a time (a closed loop: how fast can it go, and at what
//! cost?); with `--rate` so many are published per second, evenly spaced (an open loop: how long do they take?).
//!
//! ```sh
//! fanout --subscribers 10,100 --window 64 "ours=meshlink-relay --listen 127.0.0.1:{port} --max-rate 0"
//! ```

use anyhow::{Context, Result, ensure};
use clap::Parser;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Measures relays that fan out one publisher's messages.
#[derive(Debug, Parser)]
struct Args {
    /// Relays as NAME=COMMAND; {port} in the command is replaced
    #[arg(required = true)]
    relays: Vec<String>,
    /// Numbers of subscribers to measure with
    #[arg(long, value_delimiter = ',', default_value = "100")]
    subscribers: Vec<usize>,
    /// Messages under way at most
    #[arg(long, default_value_t = 64)]
    window: usize,
    /// Publish so many messages per second instead
    #[arg(long)]
    rate: Option<f64>,
    /// Length of a message in bytes
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(64..))]
    bytes: u16,
    /// Length of one run
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Runs of each relay, in turn; the median counts
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let mut out = std::io::stdout().lock();
    let mode = match args.rate {
        Some(rate) => format!("{rate} messages/s"),
        None => format!("window {}", args.window),
    };
    writeln!(
        out,
        "| {mode}, {} B | relay | M deliveries/s | relay CPU us/delivery (min) | p50 us | p99 us (min) | RSS MB (peak) |\n\
         |---|---|---|---|---|---|---|",
        args.bytes
    )?;
    for subscribers in &args.subscribers {
        let mut runs: Vec<Vec<Figures>> = vec![Vec::new(); args.relays.len()];
        for _ in 0..args.rounds {
            for (relay, runs) in args.relays.iter().zip(&mut runs) {
                runs.push(run(relay, *subscribers, &args).with_context(|| format!("measuring {relay}"))?);
            }
        }
        for (relay, runs) in args.relays.iter().zip(&runs) {
            let name = relay.split('=').next().unwrap_or_default();
            let of = |figure: fn(&Figures) -> f64| Spread::of(runs.iter().map(figure).collect());
            writeln!(
                out,
                "| {subscribers} subscribers | {name} | {:.2} | {:.3} ({:.3}) | {:.0} | {:.0} ({:.0}) | {:.1} ({:.1}) |",
                of(|f| f.deliveries_per_s / 1e6).median,
                of(|f| f.cpu_us_per_delivery).median,
                of(|f| f.cpu_us_per_delivery).least,
                of(|f| f.p50_us).median,
                of(|f| f.p99_us).median,
                of(|f| f.p99_us).least,
                of(|f| f.rss_mb).median,
                of(|f| f.peak_mb).median,
            )?;
        }
    }
    Ok(())
}

/// What one run showed.
#[derive(Debug, Clone, Copy)]
struct Figures {
    deliveries_per_s: f64,
    cpu_us_per_delivery: f64,
    p50_us: f64,
    p99_us: f64,
    rss_mb: f64,
    peak_mb: f64,
}

struct Spread {
    median: f64,
    least: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self { median: values[values.len() / 2], least: values[0] }
    }
}

/// A relay in a process of its own; killed when dropped.
struct Relay {
    child: Child,
    address: SocketAddr,
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Relay {
    fn start(relay: &str) -> Result<Self> {
        let (_, command) = relay.split_once('=').context("a relay is NAME=COMMAND")?;
        let free = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let command = command.replace("{port}", &free.port().to_string());
        let mut words = command.split_whitespace();
        let program = words.next().context("the command is empty")?;
        let child = Command::new(program)
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("can't start {program}"))?;
        let relay = Self { child, address: free };
        let deadline = Instant::now() + Duration::from_secs(10);
        while std::net::TcpStream::connect(free).is_err() {
            ensure!(Instant::now() < deadline, "it does not listen on {free}");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(relay)
    }

    /// Processor time used so far, in seconds.
    fn cpu_s(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |i: usize| fields.get(i).and_then(|field| field.parse::<f64>().ok()).context("no ticks");
        // utime and stime, in the 100ths of a second that /proc speaks on every architecture of Linux.
        Ok((ticks(11)? + ticks(12)?) / 100.0)
    }

    /// Resident memory in MB, of the moment (`VmRSS`) or the most so far (`VmHWM`).
    fn memory_mb(&self, field: &str) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field)).context("no memory line")?;
        let kib: f64 = line.trim_start_matches(':').trim().trim_end_matches(" kB").parse()?;
        Ok(kib * 1_024.0 / 1e6)
    }
}

/// One subscriber: how many bytes of frames it has received.
struct Subscriber {
    tcp: TcpStream,
    bytes: usize,
}

fn run(relay: &str, subscribers: usize, args: &Args) -> Result<Figures> {
    let relay = Relay::start(relay)?;
    let mut load = Load::connect(relay.address, subscribers, args)?;
    let cpu_before = relay.cpu_s()?;
    let start = Instant::now();
    let limit = Duration::from_secs_f64(args.seconds);
    let mut events = Events::with_capacity(1_024);
    while start.elapsed() < limit {
        load.publish(start)?;
        load.receive(&mut events, start)?;
    }
    let delivered = load.deliveries();
    let elapsed = start.elapsed().as_secs_f64();
    while load.deliveries() < load.sent.len() * subscribers {
        ensure!(start.elapsed() < limit + Duration::from_secs(20), "messages were lost");
        load.receive(&mut events, start)?;
    }
    let cpu = relay.cpu_s()? - cpu_before;
    load.latencies_ns.sort_unstable();
    let quantile = |q: f64| {
        let at = ((load.latencies_ns.len() - 1) as f64 * q) as usize;
        load.latencies_ns[at] as f64 / 1e3
    };
    Ok(Figures {
        deliveries_per_s: delivered as f64 / elapsed,
        cpu_us_per_delivery: cpu * 1e6 / load.deliveries() as f64,
        p50_us: quantile(0.5),
        p99_us: quantile(0.99),
        rss_mb: relay.memory_mb("VmRSS")?,
        peak_mb: relay.memory_mb("VmHWM")?,
    })
}

/// The publisher and its subscribers.
struct Load {
    poll: Poll,
    publisher: TcpStream,
    subscribers: Vec<Subscriber>,
    window: usize,
    rate: Option<f64>,
    /// When each message was published, in nanoseconds from the start.
    sent: Vec<u64>,
    /// Encoded and not yet written.
    outgoing: Vec<u8>,
    frame: Vec<u8>,
    /// Bytes of a frame as a subscriber gets it.
    frame_bytes: usize,
    received_bytes: usize,
    latencies_ns: Vec<u64>,
    scratch: Vec<u8>,
}

impl Load {
    fn connect(address: SocketAddr, subscribers: usize, args: &Args) -> Result<Self> {
        let poll = Poll::new()?;
        let mut joined = Vec::with_capacity(subscribers);
        for i in 0..subscribers {
            let mut tcp = join(address)?;
            poll.registry().register(&mut tcp, Token(i), Interest::READABLE)?;
            joined.push(Subscriber { tcp, bytes: 0 });
        }
        let (frame, frame_bytes) = frame(usize::from(args.bytes));
        Ok(Self {
            poll,
            publisher: join(address)?,
            subscribers: joined,
            window: args.window,
            rate: args.rate,
            sent: Vec::new(),
            outgoing: Vec::new(),
            frame,
            frame_bytes,
            received_bytes: 0,
            latencies_ns: Vec::new(),
            scratch: vec![0; 64 * 1024],
        })
    }

    fn deliveries(&self) -> usize {
        self.received_bytes / self.frame_bytes
    }

    /// Publishes what is due.
    fn publish(&mut self, start: Instant) -> Result<()> {
        let now = start.elapsed();
        let due = match self.rate {
            Some(rate) => (now.as_secs_f64() * rate) as usize,
            None => self.deliveries() / self.subscribers.len() + self.window,
        };
        for _ in self.sent.len()..due {
            self.sent.push(now.as_nanos() as u64);
            self.outgoing.extend_from_slice(&self.frame);
        }
        while !self.outgoing.is_empty() {
            match self.publisher.write(&self.outgoing) {
                Ok(bytes) => drop(self.outgoing.drain(..bytes)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("publishing"),
            }
        }
        Ok(())
    }

    fn receive(&mut self, events: &mut Events, start: Instant) -> Result<()> {
        // An open loop has to be punctual, a closed one has news as soon as anything arrives.
        let wait = if self.rate.is_some() { Duration::from_micros(200) } else { Duration::from_millis(20) };
        match self.poll.poll(events, Some(wait)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        for event in events.iter() {
            let subscriber = &mut self.subscribers[event.token().0];
            loop {
                let bytes = match subscriber.tcp.read(&mut self.scratch) {
                    Ok(0) => anyhow::bail!("the relay ended a connection"),
                    Ok(bytes) => bytes,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error).context("receiving"),
                };
                let before = subscriber.bytes / self.frame_bytes;
                let to_header = (self.frame_bytes - subscriber.bytes % self.frame_bytes) % self.frame_bytes;
                ensure!(
                    to_header >= bytes || self.scratch[to_header] == 0x81,
                    "a subscriber got something that is not the next message"
                );
                subscriber.bytes += bytes;
                self.received_bytes += bytes;
                let after = subscriber.bytes / self.frame_bytes;
                let now = start.elapsed().as_nanos() as u64;
                // In a closed loop one of each read is enough, and cheaper.
                let first = if self.rate.is_some() { before } else { before.max(after.saturating_sub(1)) };
                self.latencies_ns.extend(self.sent[first..after].iter().map(|sent| now - sent));
                if bytes < self.scratch.len() {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// A WebSocket that has joined.
fn join(address: SocketAddr) -> Result<TcpStream> {
    let mut tcp = std::net::TcpStream::connect(address)?;
    tcp.set_nodelay(true)?;
    tcp.set_read_timeout(Some(Duration::from_secs(10)))?;
    tcp.write_all(
        format!(
            "GET / HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: bWVzaGxpbmsgZmFub3V0IQ==\r\n\r\n"
        )
        .as_bytes(),
    )?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        tcp.read_exact(&mut byte).context("the relay does not answer")?;
        head.extend_from_slice(&byte);
    }
    ensure!(head.starts_with(b"HTTP/1.1 101"), "the relay answers {}", String::from_utf8_lossy(&head));
    tcp.set_nonblocking(true)?;
    Ok(TcpStream::from_std(tcp))
}

/// A masked frame with a message of so many bytes, and the size of the frame without its mask.
fn frame(bytes: usize) -> (Vec<u8>, usize) {
    let around = r#"{"type":"TEXT","payload":"","senderId":"bench","timestamp":1234567890}"#;
    let pad = "x".repeat(bytes.saturating_sub(around.len()));
    let text = around.replacen("\"\"", &format!("\"{pad}\""), 1);
    let mut frame = vec![0x81];
    match text.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
    }
    let unmasked = frame.len() + text.len();
    let mask = [0x5a, 0x13, 0xc7, 0x88];
    frame.extend_from_slice(&mask);
    frame.extend(text.bytes().zip(mask.into_iter().cycle()).map(|(byte, mask)| byte ^ mask));
    (frame, unmasked)
}

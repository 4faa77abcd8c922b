#![allow(clippy::print_stdout, missing_docs, reason = "a measuring program")]
//! Measures how fast a node that begins with nothing catches up with a neighbour that has kept many messages.
//!
//! ```sh
//! cargo build --release --workspace
//! cargo run --release --example catch_up -- --bin target/release [--messages 4000] [--bytes 200] [--relay]
//! ```
//!
//! Counted from the second node's first answer until its event stream has shown all messages.

use std::io::BufRead as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::ensure;
use clap::Parser;

mod machine;

use machine::{Connection, Running, start, start_node, vitals};

/// Connections that fill the first node.
const WRITERS: usize = 8;

/// Measures catching up.
#[derive(Parser)]
struct Args {
    /// Where `meshd` and `meshlink-relay` are.
    #[arg(long)]
    bin: PathBuf,
    /// Messages that the first node has.
    #[arg(long, default_value_t = 4000)]
    messages: usize,
    /// Bytes of each.
    #[arg(long, default_value_t = 200)]
    bytes: usize,
    /// They meet through a relay, not over TCP directly.
    #[arg(long)]
    relay: bool,
}

fn free_address() -> anyhow::Result<std::net::SocketAddr> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// A relay, if one is wanted, and what both nodes are started with.
fn between(args: &Args) -> anyhow::Result<(Option<Running>, [Vec<String>; 2])> {
    let address = free_address()?.to_string();
    if !args.relay {
        let port = address.rsplit(':').next().unwrap_or_default().to_owned();
        let first = vec!["--lan".to_owned(), "--lan-port".to_owned(), port];
        return Ok((None, [first, vec!["--lan".to_owned(), "--lan-peer".to_owned(), address]]));
    }
    let relay =
        start(Command::new(args.bin.join("meshlink-relay")).args(["--listen", &address, "--max-rate", "0"]))?;
    drop(Connection::open(&address, None)?);
    let both = vec!["--no-lan".to_owned(), "--relay".to_owned(), format!("ws://{address}")];
    Ok((Some(relay), [both.clone(), both]))
}

fn fill((host, token): &(String, String), args: &Args) -> anyhow::Result<()> {
    let write = |writer: usize| -> anyhow::Result<()> {
        let mut connection = Connection::open(host, Some(token))?;
        for n in (writer..args.messages).step_by(WRITERS) {
            let mut text = format!("{n:08} ").into_bytes();
            text.resize(args.bytes.max(text.len()), b'x');
            let (status, body) = connection.call("POST", "/v1/messages?to=%23mesh", &text)?;
            ensure!(status == 201, "{status} {}", String::from_utf8_lossy(&body));
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(move || write(writer))).collect();
        writers.into_iter().try_for_each(|writer| writer.join().expect("a writer does not panic"))
    })
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let dir = tempfile::tempdir()?;
    let (_relay, [of_a, of_b]) = between(&args)?;
    let node = |name: &str, of: &[String]| {
        let arguments: Vec<&str> = of.iter().map(String::as_str).collect();
        start_node(&args.bin, &dir.path().join(name), &arguments)
    };
    let (a, address_of_a, _) = node("a", &of_a)?;
    fill(&address_of_a, &args)?;
    let before = vitals(a.0.id())?;
    let (b, (host, token), _) = node("b", &of_b)?;
    let begun = Instant::now();
    let mut events = Connection::open(&host, Some(&token))?;
    // From the first event there can be.
    events.send("GET", "/v1/events?types=message.new&since=00000000-0", b"")?;
    let (mut got, mut line) = (0, String::new());
    while got < args.messages {
        line.clear();
        ensure!(events.reader.read_line(&mut line)? > 0, "the event stream ended");
        got += usize::from(line.contains("\"type\":\"message.new\""));
    }
    let seconds = begun.elapsed().as_secs_f64();
    let (sender, receiver) = (vitals(a.0.id())?, vitals(b.0.id())?);
    let each = |cpu_s: f64| cpu_s * 1e6 / args.messages as f64;
    println!(
        "{} messages of {} bytes: {seconds:.2} s, {:.0} messages/s, {:.2} MB/s; {:.0} and {:.0} us CPU a message, {} B written a message",
        args.messages,
        args.bytes,
        args.messages as f64 / seconds,
        (args.messages * args.bytes) as f64 / seconds / 1e6,
        each(sender.cpu_s - before.cpu_s),
        each(receiver.cpu_s),
        receiver.written_bytes / args.messages as u64
    );
    Ok(())
}

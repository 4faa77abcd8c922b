#![allow(clippy::print_stdout, missing_docs, reason = "a measuring program")]
//! Measures a node whose store holds much beside one whose store holds little: start, sending, the first page of
//! a list, a search, memory, and sending while a backup of the store is made.
//!
//! ```sh
//! cargo build --release
//! cargo run --release --example store_scale -- --bin target/release [--bundles 1000000] [--dir /var/tmp]
//! ```
//!
//! The stores are filled directly, through the same `Store` that the node uses: strangers' posts of 200 bytes, half
//! of them shown as messages. Then the real daemon is started on them and asked over HTTP.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Parser;
use meshd::sqlite::SqliteStore;
use meshd::state_dir::StateDir;
use meshd::state_files::DATABASE;
use meshd::vault::Keyring;
use meshlink_core::store::{Class, Protection, StoredBundle};
use meshlink_core::{BundleId, MessageRecord, MessageStatus, NodeId, Priority, Seq, Store as _};

mod machine;

use machine::{Connection, start_node, vitals};

/// Measures a node whose store holds much.
#[derive(Parser)]
struct Args {
    /// Where `meshd` is.
    #[arg(long)]
    bin: PathBuf,
    /// Bundles of the large store.
    #[arg(long, default_value_t = 1_000_000)]
    bundles: u64,
    /// Bundles of the small store.
    #[arg(long, default_value_t = 1_000)]
    few: u64,
    /// Where to keep the stores; the large one takes about a kilobyte for each bundle.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Requests of each kind.
    #[arg(long, default_value_t = 300)]
    requests: usize,
}

/// Rows written in one transaction.
const BATCH: u64 = 2_000;
const WORDS: [&str; 16] = [
    "water",
    "bridge",
    "road",
    "open",
    "closed",
    "mill",
    "doctor",
    "bread",
    "north",
    "south",
    "generator",
    "fuel",
    "blankets",
    "radio",
    "meeting",
    "tonight",
];

fn spread(n: u64) -> u64 {
    n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

fn text(n: u64) -> String {
    let mut text = format!("n{n}");
    let mut dice = spread(n);
    while text.len() < 200 {
        text.push(' ');
        text.push_str(WORDS[(dice % 16) as usize]);
        dice = spread(dice ^ n);
    }
    text
}

fn node(n: u64) -> NodeId {
    let mut id = [0x55; NodeId::BYTES];
    id[..8].copy_from_slice(&spread(n).to_be_bytes());
    NodeId(id)
}

fn fill(store: &mut SqliteStore, bundles: u64) -> anyhow::Result<()> {
    for n in 0..bundles {
        let mut id = [0; BundleId::BYTES];
        for (k, part) in id.chunks_mut(8).enumerate() {
            part.copy_from_slice(&spread(n * 4 + k as u64).to_be_bytes());
        }
        let (id, text) = (BundleId(id), text(n));
        let month_ms = 30 * 24 * 3600 * 1000;
        let bundle = StoredBundle {
            id,
            kind: 1,
            priority: Priority::Normal,
            class: Class::Stranger,
            origin: Some(node(n % 5_000)),
            header: vec![1; 110],
            payload: text.as_bytes().to_vec(),
            auth: vec![3; 64],
            age_ms: 0,
            received_tl_ms: n,
            expires_tl_ms: month_ms + n,
            hops: 1,
            copies: 8,
            ingress: Some(node(1_000_000 + n % 20)),
            unshown_in: (n % 2 == 1).then(|| "#elsewhere".to_owned()),
            commitment: None,
        };
        store.insert_bundle(&bundle)?;
        if n % 2 == 0 {
            store.insert_message(&mut MessageRecord {
                seq: Seq(0),
                id,
                conversation: "#mesh".to_owned(),
                from: bundle.origin,
                from_alias: None,
                own: false,
                text,
                created_unix_ms: Some(1_780_000_000_000 + n),
                received_unix_ms: Some(1_780_000_000_000 + n),
                status: MessageStatus::Synced,
                status_reason: None,
                priority: Priority::Normal,
                expires_tl_ms: bundle.expires_tl_ms,
                reply_to: None,
                read: n % 3 == 0,
                protection: Protection::Public,
            })?;
        }
        if n % BATCH == BATCH - 1 {
            store.trim_events(100_000)?;
            store.commit()?;
        }
    }
    store.commit()?;
    Ok(())
}

/// What was measured, in milliseconds and KiB.
struct Measured {
    start_ms: f64,
    send_ms: f64,
    page_ms: f64,
    search_ms: f64,
    idle_kib: u64,
    used_kib: u64,
    backup: DuringBackup,
}

/// What sending was like while a backup was made and fetched.
struct DuringBackup {
    took: Duration,
    bytes: usize,
    sends: usize,
    send_ms: f64,
    slowest_ms: f64,
}

fn p50(times: &mut [Duration]) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e3
}

/// Sends one message after the other until the backup is there.
fn back_up(host: &str, token: &str) -> anyhow::Result<DuringBackup> {
    let mut sender = Connection::open(host, Some(token))?;
    let mut fetcher = Connection::open(host, Some(token))?;
    fetcher.reader.get_ref().set_read_timeout(None)?;
    let begun = Instant::now();
    let copying = std::thread::spawn(move || {
        let (status, copy) = fetcher.call("POST", "/v1/store/backup", b"")?;
        ensure!(status == 200, "backup: {status} {}", String::from_utf8_lossy(&copy));
        Ok((begun.elapsed(), copy.len()))
    });
    let mut times = Vec::new();
    while times.is_empty() || !copying.is_finished() {
        let begun = Instant::now();
        let (status, _) = sender.call("POST", "/v1/messages?to=%23mesh", text(7).as_bytes())?;
        ensure!(status == 201, "a send during a backup: {status}");
        times.push(begun.elapsed());
    }
    let (took, bytes) = copying.join().map_err(|_| anyhow::anyhow!("the fetching thread panicked"))??;
    let slowest = times.iter().max().copied().unwrap_or_default();
    let slowest_ms = slowest.as_secs_f64() * 1e3;
    Ok(DuringBackup { took, bytes, sends: times.len(), send_ms: p50(&mut times), slowest_ms })
}

fn measure(args: &Args, state: &Path, bundles: u64) -> anyhow::Result<Measured> {
    // The daemon makes its state, so that it is as it makes it.
    drop(start_node(&args.bin, state, &["--no-lan"])?);
    let begun = Instant::now();
    let place = Arc::new(StateDir::open(state)?);
    let (_, unlocked) = Keyring::open(Arc::clone(&place), DATABASE, None)?;
    let keys = unlocked.context("it has no passphrase")?.keys;
    let mut store = SqliteStore::open(&state.join(DATABASE), Some(keys))?;
    fill(&mut store, bundles)?;
    store.close()?;
    drop(place);
    let bytes = std::fs::metadata(state.join("meshd.db"))?.len();
    println!("{bundles} bundles: filled in {:.1} s, {bytes} bytes", begun.elapsed().as_secs_f64());
    let mut starts = Vec::new();
    for _ in 0..5 {
        let (_node, _, took) = start_node(&args.bin, state, &["--no-lan"])?;
        starts.push(took);
    }
    let (process, (host, token), _) = start_node(&args.bin, state, &["--no-lan"])?;
    let idle_kib = vitals(process.0.id())?.rss_kib;
    let mut connection = Connection::open(&host, Some(&token))?;
    let mut time = |method: &str, path: &str, body: &[u8], expected: u16| -> anyhow::Result<f64> {
        let mut times = Vec::new();
        for _ in 0..args.requests {
            let begun = Instant::now();
            let (status, answer) = connection.call(method, path, body)?;
            ensure!(status == expected, "{method} {path}: {status} {}", String::from_utf8_lossy(&answer));
            times.push(begun.elapsed());
        }
        Ok(p50(&mut times))
    };
    Ok(Measured {
        start_ms: p50(&mut starts),
        send_ms: time("POST", "/v1/messages?to=%23mesh", text(7).as_bytes(), 201)?,
        page_ms: time("GET", "/v1/messages?limit=50", b"", 200)?,
        search_ms: time("GET", "/v1/messages?limit=50&q=bridge%20mill", b"", 200)?,
        idle_kib,
        used_kib: vitals(process.0.id())?.rss_kib,
        backup: back_up(&host, &token)?,
    })
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let dir = match &args.dir {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir()?,
    };
    let few = measure(&args, &dir.path().join("few"), args.few)?;
    let many = measure(&args, &dir.path().join("many"), args.bundles)?;
    let line =
        |what: &str, few: f64, many: f64| println!("{what}: {few:.2} and {many:.2}, {:.2}x", many / few);
    line("start to first answer, ms", few.start_ms, many.start_ms);
    line("send, p50 ms", few.send_ms, many.send_ms);
    line("first page of 50, p50 ms", few.page_ms, many.page_ms);
    line("search for two words, p50 ms", few.search_ms, many.search_ms);
    line("memory after start, KiB", few.idle_kib as f64, many.idle_kib as f64);
    line("memory after the requests, KiB", few.used_kib as f64, many.used_kib as f64);
    for DuringBackup { took, bytes, sends, send_ms, slowest_ms } in [few.backup, many.backup] {
        println!(
            "backup of {bytes} bytes in {:.2} s; {sends} sends meanwhile, p50 {send_ms:.2} ms, slowest {slowest_ms:.1} ms",
            took.as_secs_f64()
        );
    }
    Ok(())
}

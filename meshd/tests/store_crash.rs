//! A process that is killed at any moment loses nothing it said was stored, and starts again at once.
//!
//! The child, this test binary again, stores messages and says so on its standard output after each commit. It is
//! killed with SIGKILL somewhere in the middle, over and over on the same store. `MESHD_CRASH_ROUNDS` sets how
//! often.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use meshd::sqlite::SqliteStore;
use meshd::vault::{MasterKey, RecordKeys};
use meshlink_core::contract::{bundle, message, peer};
use meshlink_core::event::MessageStatus;
use meshlink_core::id::BundleId;
use meshlink_core::store::{HandOver, HandOverStep, Store, StoreError};

/// The keys of the tests' stores.
fn keys() -> RecordKeys {
    MasterKey::from_bytes([1; 32]).record_keys()
}

const STORE: &str = "MESHD_TEST_CRASH_STORE";

fn id(n: u64) -> BundleId {
    let mut id = [0x77; BundleId::BYTES];
    id[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    id[24..].copy_from_slice(&n.to_be_bytes());
    BundleId(id)
}

/// The child's part; does nothing in a run of the tests.
#[test]
fn the_child_writes_until_it_is_killed() {
    let Some(path) = std::env::var_os(STORE) else { return };
    let mut store = SqliteStore::open(Path::new(&path), Some(keys())).expect("it opens after a kill");
    let mut out = std::io::stdout().lock();
    for n in store.counts().received + 1.. {
        step(&mut store, n).expect("the disk works");
        // The name of the test is on the line until the first of these.
        writeln!(out, "{}ack {n}", if n % 2 == 0 { "" } else { "\n" })
            .and_then(|()| out.flush())
            .expect("the parent reads");
    }
}

fn step(store: &mut SqliteStore, n: u64) -> Result<(), StoreError> {
    let mut new = bundle((n % 251) as u8);
    new.id = id(n);
    new.payload = vec![7; 1 + (n * 37 % 3000) as usize];
    store.insert_bundle(&new)?;
    let mut shown = message((n % 251) as u8);
    shown.id = id(n);
    store.insert_message(&mut shown)?;
    store.put_peer(&peer((n % 40) as u8, n))?;
    if n > 30 {
        store.drop_bundle(&id(n - 30), n)?;
        store.set_status(&id(n - 30), MessageStatus::Expired, Some("too old"))?;
        store.mark_read(&id(n - 10))?;
        let peer = Some(peer(3, 0).id);
        let step = HandOverStep::Offered;
        let via = Some(meshlink_core::event::LinkKind::Lan);
        store.record_hand_over(&HandOver { bundle: id(n - 1), step, peer, via, at_unix_ms: None })?;
    }
    store.trim_events(100)?;
    store.commit()
}

#[test]
fn p01_a_killed_process_loses_nothing_it_acknowledged() {
    let rounds: u64 =
        std::env::var("MESHD_CRASH_ROUNDS").map_or(50, |rounds| rounds.parse().expect("a number"));
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("store.db");
    let mut slowest = Duration::ZERO;
    let mut acknowledged = 0;
    for round in 0..rounds {
        acknowledged = killed_after(&path, acknowledged, round * 7 % 53);
        // Every third kill leaves its files to the next child as they are.
        if round % 3 == 1 {
            continue;
        }
        let start = Instant::now();
        let store = SqliteStore::open(&path, Some(keys())).expect("it opens after a kill");
        slowest = slowest.max(start.elapsed());
        assert!(!store.opened().log_missing);
        store.check().expect("everything is in order");
        let kept = store.counts().received;
        assert!(kept >= acknowledged, "round {round}: {acknowledged} acknowledged, {kept} there");
        assert!(kept <= acknowledged + 1, "round {round}: more than the one under way: {kept}");
        for n in [1, acknowledged / 2, acknowledged].into_iter().filter(|n| (1..=acknowledged).contains(n)) {
            let message = store.message(&id(n)).expect("readable");
            let message =
                message.unwrap_or_else(|| panic!("round {round}: message {n} was acknowledged and is gone"));
            let bounds = store.event_bounds().expect("readable").expect("there are events");
            assert!(message.seq <= bounds.1);
        }
        acknowledged = kept;
    }
    assert!(acknowledged > rounds, "only {acknowledged} messages in all");
    assert!(slowest < Duration::from_secs(1), "it took {slowest:?} to open");
}

/// Kills a writer after it acknowledged so many messages; says the newest one, `before` if none.
fn killed_after(path: &Path, before: u64, acknowledgements: u64) -> u64 {
    let mut child = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", "the_child_writes_until_it_is_killed", "--nocapture"])
        .env(STORE, path)
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut newest = before;
    let mut seen = 0;
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    for line in lines.map_while(Result::ok) {
        if let Some(n) = line.strip_prefix("ack ").and_then(|n| n.parse().ok()) {
            assert!(n > newest, "message {n} is written again, {newest} was acknowledged");
            newest = n;
            seen += 1;
        }
        if seen == acknowledgements {
            // It goes on writing meanwhile; what it says before it dies is read too.
            child.kill().expect("it runs");
        }
    }
    child.wait().expect("it ran");
    newest
}

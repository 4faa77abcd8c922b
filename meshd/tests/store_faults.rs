//! Bad disks: writes, cuts and syncs that fail one by one, power that goes at any moment, space that runs out.
//!
//! A child process, this test binary again, works on a store and says on its standard output what it was told:
//! `ack N` after the commit of message N, `refused N` after a commit that failed. Between it and the disk stands
//! `store_faults/disk_shim.c`. Afterwards everything acknowledged must be there, and nothing that was refused.

#![allow(clippy::print_stdout, reason = "the child tells its parent what it did")]
#![cfg(target_os = "linux")]

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};
use std::sync::LazyLock;

use meshd::sqlite::{FileUse, SqliteStore};
use meshd::vault::{MasterKey, RecordKeys};
use meshlink_core::contract::{bundle, message, peer};
use meshlink_core::store::{Store, StoreError};

/// The keys of the tests' stores.
fn keys() -> RecordKeys {
    MasterKey::from_bytes([1; 32]).record_keys()
}

const MESSAGES: u8 = 24;
const STORE: &str = "MESHD_TEST_STORE";
const FULL_STORE: &str = "MESHD_TEST_FULL_STORE";

/// The child's part; does nothing in a run of the tests.
#[test]
fn the_child_works() {
    let Some(path) = std::env::var_os(STORE) else { return };
    match SqliteStore::open(Path::new(&path), Some(keys())) {
        Ok(store) => work(store),
        Err(error) => println!("\nnot opened: {error}"),
    }
}

fn work(mut store: SqliteStore) {
    for n in 0..MESSAGES {
        for attempt in 0.. {
            assert_eq!(
                store.message(&message(n).id).map(|kept| kept.is_some()),
                Ok(false),
                "a refused commit"
            );
            match step(&mut store, n) {
                Ok(()) => {
                    println!("\nack {n}");
                    break;
                }
                Err(error) => {
                    println!("\nrefused {n}: {error}");
                    store.rollback();
                    // As the core does: nothing is tried before a probe succeeds.
                    if attempt == 8 || !(0..8).any(|_| store.probe().is_ok()) {
                        return;
                    }
                }
            }
        }
    }
    store.check().expect("everything is in order");
    println!("\ndone");
}

/// A transaction of every kind of row, of a few pages or, now and then, of more than the page cache holds.
fn step(store: &mut SqliteStore, n: u8) -> Result<(), StoreError> {
    let mut carried = bundle(n);
    carried.payload = vec![n; if n == 11 { 1_500_000 } else { 900 }];
    store.insert_bundle(&carried)?;
    store.insert_message(&mut message(n))?;
    store.put_peer(&peer(n % 5, n.into()))?;
    if n >= 4 {
        store.drop_bundle(&bundle(n - 4).id, 1_000)?;
        store.mark_read(&message(n - 4).id)?;
    }
    store.trim_events(10)?;
    store.commit()
}

/// The child's part on a disk with little room; does nothing in a run of the tests.
#[test]
fn the_child_fills_the_disk() {
    let Some(path) = std::env::var_os(FULL_STORE) else { return };
    let room = std::env::var_os("DISK_ROOM").expect("the parent names it");
    let mut store = SqliteStore::open(Path::new(&path), Some(keys())).expect("there is room to open it");
    let mut kept = 0;
    for more_kib in [300, 500, 900] {
        std::fs::write(&room, (more_kib * 1024).to_string()).expect("another disk");
        if kept > 0 {
            store.probe().expect("there is room again");
        }
        while let Ok(()) = big_step(&mut store, kept + 1) {
            kept += 1;
            println!("\nack {kept}");
        }
        assert!(!store.is_dirty(), "a commit that failed rolled back");
        assert_eq!(store.probe(), Err(StoreError::Full), "a probe tells the truth");
        assert_eq!(big_step(&mut store, kept + 1), Err(StoreError::Full));
        assert_eq!(store.counts().received, u64::from(kept), "reading works");
        assert!(store.message(&message(kept).id).expect("readable").is_some());
        assert_eq!(store.message(&message(kept + 1).id), Ok(None));
        store.check().expect("everything is in order");
    }
    // What is dropped makes room, with none to spare on the disk once the log is moved.
    std::fs::write(&room, (10_000 * 1024).to_string()).expect("another disk");
    for n in 1..=kept {
        store.drop_bundle(&bundle(n).id, 1_000).and_then(|_| store.commit()).expect("there is room again");
    }
    store.probe().expect("there is room");
    let FileUse { database_bytes, log_bytes, .. } = store.file_use().expect("readable");
    std::fs::write(&room, (database_bytes + log_bytes).to_string()).expect("another disk");
    for n in kept + 1..kept + 10 {
        big_step(&mut store, n).expect("what was dropped made room");
        println!("\nack {n}");
    }
    println!("\ndone");
}

fn big_step(store: &mut SqliteStore, n: u8) -> Result<(), StoreError> {
    let mut carried = bundle(n);
    carried.payload = vec![n; 15_000];
    let wrote = store.insert_bundle(&carried).and_then(|_| store.insert_message(&mut message(n)));
    let committed = store.commit();
    assert!(wrote.is_ok() || committed.is_err(), "a commit after a failed write");
    wrote.map(|_| ()).and(committed)
}

struct Run {
    acknowledged: Vec<u8>,
    refused: Vec<u8>,
    is_done: bool,
    words: String,
    status: ExitStatus,
}

fn run(store: &Path, disk: &[(&str, &str)]) -> Run {
    run_child("the_child_works", STORE, store, disk)
}

fn run_child(part: &str, variable: &str, store: &Path, disk: &[(&str, &str)]) -> Run {
    let mut child = Command::new(std::env::current_exe().expect("this binary"));
    child.args(["--exact", part, "--nocapture"]).env(variable, store);
    child.env("LD_PRELOAD", &*SHIM).env("DISK_FILES", "store.db").envs(disk.iter().copied());
    let Output { status, stdout, stderr } = child.output().expect("it runs");
    let words = String::from_utf8_lossy(&stdout).into_owned();
    let numbers = |word: &str| {
        let lines = words.lines().filter_map(|line| line.strip_prefix(word));
        lines.filter_map(|rest| rest.trim_start().split(':').next()?.parse().ok()).collect()
    };
    let is_done = words.lines().any(|line| line == "done");
    let (acknowledged, refused) = (numbers("ack"), numbers("refused"));
    Run { acknowledged, refused, is_done, words: words + &String::from_utf8_lossy(&stderr), status }
}

static SHIM: LazyLock<PathBuf> = LazyLock::new(|| {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/store_faults/disk_shim.c");
    let shim = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("disk_shim_{}.so", std::process::id()));
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(&shim).arg(source).arg("-ldl");
    assert!(compiler.status().expect("a C compiler").success());
    shim
});

fn a_store(dir: &tempfile::TempDir) -> PathBuf {
    let path = dir.path().join("store.db");
    SqliteStore::open(&path, Some(keys())).expect("a new store").close().expect("closes");
    path
}

/// What must hold on a good disk, whatever the bad one did.
fn verify(path: &Path, run: &Run, what: &str) {
    verify_but(path, run, what, 0);
}

/// The same, but so many of the refused ones may be there.
fn verify_but(path: &Path, run: &Run, what: &str, in_doubt: usize) {
    let store = SqliteStore::open(path, Some(keys()))
        .unwrap_or_else(|error| panic!("{what}: {error}\n{}", run.words));
    store.check().unwrap_or_else(|error| panic!("{what}: {error}\n{}", run.words));
    for n in &run.acknowledged {
        let kept = store.message(&message(*n).id).expect("readable");
        assert!(kept.is_some(), "{what}: message {n} was acknowledged and is gone\n{}", run.words);
    }
    let refused = run.refused.iter().filter(|n| !run.acknowledged.contains(n));
    let there = refused.filter(|n| store.message(&message(**n).id).expect("readable").is_some());
    let there: Vec<_> = there.collect();
    assert!(there.len() <= in_doubt, "{what}: {there:?} were refused and are there\n{}", run.words);
}

/// Runs the child with the fault at operation 1, 2, 3 ..., later in steps of a `thinning`th, until it is past the
/// child's last.
fn at_every_operation(disk: &[(&str, &str)], thinning: usize, check: impl Fn(&Path, &Run, &str)) {
    let mut faults = 0;
    let mut at = 0;
    loop {
        at += 1 + at / thinning;
        // What is not synced is the shim's business, so the disk under it may be memory.
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let dir = dir.expect("a directory");
        let path = a_store(&dir);
        let (at_text, seed) = (at.to_string(), (at * 7 + 1).to_string());
        let run = run(&path, &[disk, &[("DISK_AT", &at_text), ("DISK_SEED", &seed)]].concat());
        check(&path, &run, &format!("{disk:?} at operation {at}"));
        if run.is_done && run.refused.is_empty() && run.status.success() && at > 20 {
            break;
        }
        faults +=
            usize::from(!run.refused.is_empty() || !run.status.success() || run.acknowledged.is_empty());
    }
    assert!(faults > 20, "only {faults} faults were seen");
}

#[test]
fn p03_a_write_or_sync_that_fails_once_is_told_and_costs_nothing_else() {
    at_every_operation(&[("DISK_ERRNO", "5")], 10, |path, run, what| {
        assert!(run.status.success(), "{what}: the process died\n{}", run.words);
        let is_open = !run.words.contains("not opened");
        assert!(!is_open || run.is_done, "{what}: it did not go on\n{}", run.words);
        verify(path, run, what);
    });
}

#[test]
fn p03_a_sync_that_fails_once_is_told_and_costs_nothing_else() {
    at_every_operation(&[("DISK_ERRNO", "5"), ("DISK_ONLY", "sync")], 1_000, |path, run, what| {
        assert!(run.status.success(), "{what}: the process died\n{}", run.words);
        verify(path, run, what);
    });
}

#[test]
fn p03_syncs_that_fail_for_good_leave_nothing_of_what_was_refused() {
    let disk = [("DISK_ERRNO", "5"), ("DISK_ONLY", "sync"), ("DISK_TIMES", "1000000")];
    at_every_operation(&disk, 1_000, |path, run, what| {
        assert!(run.status.success(), "{what}: the process died\n{}", run.words);
        verify(path, run, what);
    });
}

#[test]
fn p03_a_disk_that_fails_for_good_is_no_reason_to_die_or_to_lie() {
    at_every_operation(&[("DISK_ERRNO", "5"), ("DISK_TIMES", "1000000")], 8, |path, run, what| {
        assert!(run.status.success(), "{what}: the process died\n{}", run.words);
        // A commit whose sync failed can't be taken back on a disk that takes nothing more.
        verify_but(path, run, what, 1);
    });
}

#[test]
fn p04_a_disk_that_is_full_for_a_while_says_so_and_nothing_is_lost() {
    at_every_operation(&[("DISK_ERRNO", "28"), ("DISK_TIMES", "3")], 10, |path, run, what| {
        assert!(run.status.success(), "{what}: the process died\n{}", run.words);
        verify(path, run, what);
    });
}

#[test]
fn p04_a_full_disk_is_told_reads_work_and_it_goes_on_when_there_is_room() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = a_store(&dir);
    let room = dir.path().join("room");
    std::fs::write(&room, "10000000").expect("writable");
    let run = run_child(
        "the_child_fills_the_disk",
        FULL_STORE,
        &path,
        &[("DISK_ROOM", room.to_str().expect("plain"))],
    );
    assert!(run.is_done && run.status.success(), "{}", run.words);
    verify(&path, &run, "a full disk");
    assert!(run.acknowledged.len() > 10, "{:?}", run.acknowledged);
}

#[test]
fn p02_power_that_goes_at_any_operation_costs_nothing_acknowledged() {
    at_every_operation(&[("DISK_MODE", "cut")], 20, |path, run, what| {
        assert!(run.status.code() == Some(9) || run.is_done, "{what}: {:?}\n{}", run.status, run.words);
        verify(path, run, what);
    });
}

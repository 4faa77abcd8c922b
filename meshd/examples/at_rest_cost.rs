//! What sealing messages costs, and what looking for words in them does, with and without an index in memory.
//!
//! `cargo run --release -p meshd --example at_rest_cost [MESSAGES]`: 100,000 unless said otherwise.

#![allow(clippy::print_stdout, reason = "its output is its purpose")]

use std::time::{Duration, Instant};

use meshd::sqlite::{MessageFilter, SqliteStore};
use meshd::vault::{MasterKey, Place};
use meshlink_core::contract::message;
use meshlink_core::id::BundleId;
use meshlink_core::store::Store;

/// Words of the texts: 2,000 of them, 12 in each text.
fn text(n: u64) -> String {
    let mut dice = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut words = Vec::new();
    for _ in 0..12 {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        words.push(format!("w{}ord", dice % 2000));
    }
    if n == 3 {
        words.push("needle".to_owned());
    }
    words.join(" ")
}

fn main() -> anyhow::Result<()> {
    let count: u64 = std::env::args().nth(1).map_or(Ok(100_000), |count| count.parse())?;
    let dir = tempfile::tempdir()?;
    let keys = MasterKey::from_bytes([1; 32]).record_keys();
    let path = dir.path().join("db");
    let mut store = SqliteStore::open(&path, Some(keys.clone()))?;
    let filling = Instant::now();
    for n in 0..count {
        let mut new = message(1);
        new.id.0[..8].copy_from_slice(&n.to_be_bytes());
        new.text = text(n);
        store.insert_message(&mut new)?;
        if n % 1000 == 999 {
            store.commit()?;
        }
    }
    store.commit()?;
    println!("stored {count} messages of {} bytes: {:?}", text(9).len(), filling.elapsed());
    println!("database: {} bytes; resident: {} KiB", std::fs::metadata(&path)?.len(), resident_kib());

    seal_cost(&keys, &text(9))?;
    for words in ["needle", "w7ord", "\"w7ord w8ord\"", "nowhere to be found"] {
        let (found, pages, longest, total) = search(&store, words)?;
        println!("search {words:?}: {found} found, {total:?} in {pages} pages, the longest {longest:?}");
    }
    println!("resident after searching: {} KiB", resident_kib());

    index_in_memory(&store, count)
}

fn seal_cost(keys: &meshd::vault::RecordKeys, text: &str) -> anyhow::Result<()> {
    let place = Place { column: "message.words", row: &[7; BundleId::BYTES] };
    let start = Instant::now();
    let mut sealed = Vec::new();
    for _ in 0..10_000 {
        sealed = keys.seal(place, text.as_bytes())?;
    }
    let seal = start.elapsed() / 10_000;
    let start = Instant::now();
    for _ in 0..10_000 {
        keys.open(place, &sealed)?;
    }
    println!("seal one: {seal:?}, open one: {:?}", start.elapsed() / 10_000);
    Ok(())
}

fn search(store: &SqliteStore, words: &str) -> anyhow::Result<(usize, usize, Duration, Duration)> {
    let mut filter = MessageFilter { query: Some(words.to_owned()), limit: 500, ..MessageFilter::default() };
    let (mut found, mut pages, mut longest) = (0, 0, Duration::ZERO);
    let start = Instant::now();
    loop {
        let page_start = Instant::now();
        let page = store.messages(&filter)?;
        longest = longest.max(page_start.elapsed());
        found += page.items.len();
        pages += 1;
        match page.next {
            Some(next) => filter.before = Some(next),
            None => return Ok((found, pages, longest, start.elapsed())),
        }
    }
}

/// The alternative: SQLite's full-text index in memory, built after each start.
fn index_in_memory(store: &SqliteStore, count: u64) -> anyhow::Result<()> {
    let before = resident_kib();
    let start = Instant::now();
    let sql = rusqlite::Connection::open_in_memory()?;
    sql.execute_batch(
        "CREATE VIRTUAL TABLE words USING fts5 (text, content = '', contentless_delete = 1,
            tokenize = 'unicode61 remove_diacritics 2'); BEGIN;",
    )?;
    let mut insert = sql.prepare("INSERT INTO words (rowid, text) VALUES (?1, ?2)")?;
    let mut after = meshlink_core::Seq(0);
    loop {
        let page = store.messages_after(after, 1000)?;
        let Some(last) = page.last() else { break };
        after = last.seq;
        for message in &page {
            insert.execute((i64::try_from(message.seq.0)?, &message.text))?;
        }
    }
    sql.execute_batch("COMMIT")?;
    println!(
        "index in memory of {count}: built in {:?}, {} KiB more",
        start.elapsed(),
        resident_kib() - before
    );
    for words in ["needle", "w7ord"] {
        let start = Instant::now();
        let found: i64 =
            sql.query_row("SELECT count(*) FROM words WHERE words MATCH ?1", [words], |r| r.get(0))?;
        println!("  {words:?}: {found} found in {:?}", start.elapsed());
    }
    Ok(())
}

fn resident_kib() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0)
}

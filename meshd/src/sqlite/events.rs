//! The log of what became true: each event as the CBOR the core writes, by its place.
//!
//! Places are given out without gaps and never again; the oldest events are dropped, so what is kept is one
//! unbroken piece up to the newest.

use meshlink_core::event::{Event, LoggedEvent};
use meshlink_core::id::Seq;
use meshlink_core::store::StoreError;

use super::column::{get, get_some, int, some_int};
use super::connection::Connection;
use super::{SqliteStore, rows_max};

pub(super) fn append(
    store: &mut SqliteStore,
    event: &Event,
    at_unix_ms: Option<u64>,
) -> Result<Seq, StoreError> {
    let body = minicbor::to_vec(event).expect("writing to memory does not fail");
    let seq = store.totals.last_event + 1;
    store.db.write(
        "INSERT INTO event (seq, at_unix_ms, body) VALUES (?1, ?2, ?3)",
        (int(seq), some_int(at_unix_ms), body),
    )?;
    store.totals.last_event = seq;
    Ok(Seq(seq))
}

pub(super) fn after(db: &Connection, after: Seq, limit: usize) -> Result<Vec<LoggedEvent>, StoreError> {
    let query = "SELECT seq, at_unix_ms, body FROM event WHERE seq > ?1 ORDER BY seq LIMIT ?2";
    let rows = db.all(query, [int(after.0), rows_max(limit)], |row| {
        Ok((Seq(get(row, 0)?), get_some(row, 1)?, row.get::<_, Vec<u8>>(2)?))
    })?;
    let decode = |(seq, at_unix_ms, body): (Seq, Option<u64>, Vec<u8>)| match minicbor::decode(&body) {
        Ok(event) => Ok(LoggedEvent { seq, at_unix_ms, event }),
        Err(error) => Err(StoreError::Corrupt { detail: format!("event {}: {error}", seq.0) }),
    };
    rows.into_iter().map(decode).collect()
}

pub(super) fn bounds(store: &SqliteStore) -> Result<Option<(Seq, Seq)>, StoreError> {
    let newest = store.totals.last_event;
    if newest == 0 {
        return Ok(None);
    }
    Ok(Some((oldest(store)?, Seq(newest))))
}

pub(super) fn trim(store: &mut SqliteStore, keep: u64) -> Result<u64, StoreError> {
    let oldest = oldest(store)?.0;
    let keep_from = (store.totals.last_event + 1).saturating_sub(keep);
    if oldest >= keep_from {
        return Ok(0);
    }
    let trimmed = store.db.write("DELETE FROM event WHERE seq < ?1", [int(keep_from)])?;
    Ok(trimmed as u64)
}

/// The oldest place kept; the one after the newest if none is.
fn oldest(store: &SqliteStore) -> Result<Seq, StoreError> {
    let oldest = store.db.one("SELECT seq FROM event ORDER BY seq LIMIT 1", [], |row| get(row, 0))?;
    Ok(Seq(oldest.unwrap_or(store.totals.last_event + 1)))
}

//! The core's shelves of small records.
//!
//! Some hold secret keys, so what is taken off a shelf is overwritten before its row goes: SQLite would
//! otherwise leave it in a page that is used again some time.

use meshlink_core::store::{Record, Shelf, StoreError};

use super::connection::Connection;
use super::rows_max;

pub(super) fn one(db: &Connection, shelf: Shelf, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
    let query = "SELECT value FROM record WHERE shelf = ?1 AND key = ?2";
    db.one(query, (shelf.number(), key), |row| row.get(0))
}

pub(super) fn put(db: &mut Connection, shelf: Shelf, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
    let query = "INSERT INTO record (shelf, key, value) VALUES (?1, ?2, ?3)
                 ON CONFLICT (shelf, key) DO UPDATE SET value = excluded.value";
    db.write(query, (shelf.number(), key, value))?;
    Ok(())
}

pub(super) fn remove(db: &mut Connection, shelf: Shelf, key: &[u8]) -> Result<bool, StoreError> {
    let overwrite = "UPDATE record SET value = zeroblob(length(value)) WHERE shelf = ?1 AND key = ?2";
    if db.write(overwrite, (shelf.number(), key))? == 0 {
        return Ok(false);
    }
    db.write("DELETE FROM record WHERE shelf = ?1 AND key = ?2", (shelf.number(), key))?;
    Ok(true)
}

pub(super) fn from(
    db: &Connection,
    shelf: Shelf,
    from: &[u8],
    limit: usize,
) -> Result<Vec<Record>, StoreError> {
    let query = "SELECT key, value FROM record WHERE shelf = ?1 AND key >= ?2 ORDER BY key LIMIT ?3";
    db.all(query, (shelf.number(), from, rows_max(limit)), |row| Ok((row.get(0)?, row.get(1)?)))
}

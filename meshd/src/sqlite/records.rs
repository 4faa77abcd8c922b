//! The core's shelves of small records, sealed.
//!
//! A record lies under its key or, on a shelf that hides its keys, under a tag of it, with the key inside. What
//! is taken off a shelf or replaced is to be gone, since some of it is secret keys. So the pages it lay in are
//! overwritten, not only marked as free, and with the commit the log, which still has them as they were, is moved
//! into the database and emptied. What the disk itself keeps of overwritten blocks is another matter
//! (docs/security.md).

use meshlink_core::id::NodeId;
use meshlink_core::store::{Record, Shelf, StoreError};
use zeroize::Zeroizing;

use super::connection::Connection;
use super::{SqliteStore, rows_max};
use crate::vault::{Place, RecordKeys, SealError};

/// Longest key that is hidden.
const HIDDEN_KEY_BYTES_MAX: usize = 255;
/// What values are sealed for.
const COLUMN: &str = "record.value";

impl SqliteStore {
    /// The keys to what is private, if the store is unlocked.
    pub(super) fn keys(&self) -> Result<&RecordKeys, StoreError> {
        self.keys.as_ref().ok_or(StoreError::Locked)
    }

    /// Takes the keys: what is private can be read and written from here on.
    pub fn unlock(&mut self, keys: RecordKeys) {
        self.keys = Some(keys);
    }

    /// Forgets the keys.
    pub fn lock(&mut self) {
        self.keys = None;
    }

    /// A number that stands for a node, and says nothing without the keys; `None` while locked.
    pub fn owner_tag(&self, id: &NodeId) -> Option<i64> {
        let tag = self.keys.as_ref()?.tag("owner", &id.0);
        Some(i64::from_be_bytes(tag[..8].try_into().expect("a tag has 16 bytes")))
    }
}

/// What an unreadable record, or a system without entropy, means for the store.
pub(super) fn seal_failure(error: SealError) -> StoreError {
    match error {
        SealError::NoEntropy(_) => StoreError::Io { detail: error.to_string() },
        SealError::Unreadable(_) => StoreError::Corrupt { detail: error.to_string() },
    }
}

pub(super) fn one(store: &SqliteStore, shelf: Shelf, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
    let keys = store.keys()?;
    let label = label(keys, shelf, key);
    let query = "SELECT value FROM record WHERE shelf = ?1 AND key = ?2";
    let sealed = store.db.one(query, (shelf.number(), &label), |row| row.get::<_, Vec<u8>>(0))?;
    sealed.map(|sealed| Ok(open(keys, shelf, &label, &sealed)?.1)).transpose()
}

pub(super) fn put(store: &mut SqliteStore, shelf: Shelf, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
    let (label, sealed) = seal(store.keys()?, shelf, key, value).map_err(seal_failure)?;
    let query = "INSERT INTO record (shelf, key, value) VALUES (?1, ?2, ?3)
                 ON CONFLICT (shelf, key) DO UPDATE SET value = excluded.value";
    erasing(&mut store.db, |db| db.write(query, (shelf.number(), label, sealed)))?;
    Ok(())
}

pub(super) fn remove(store: &mut SqliteStore, shelf: Shelf, key: &[u8]) -> Result<bool, StoreError> {
    let label = label(store.keys()?, shelf, key);
    let query = "DELETE FROM record WHERE shelf = ?1 AND key = ?2";
    let removed = erasing(&mut store.db, |db| db.write(query, (shelf.number(), label)))? > 0;
    if removed {
        store.db.empty_log_after_commit();
    }
    Ok(removed)
}

pub(super) fn from(
    store: &SqliteStore,
    shelf: Shelf,
    from: &[u8],
    limit: usize,
) -> Result<Vec<Record>, StoreError> {
    let keys = store.keys()?;
    let query = "SELECT key, value FROM record WHERE shelf = ?1 AND key >= ?2 ORDER BY key LIMIT ?3";
    let (first, most) = if shelf.hides_keys() { (&[][..], usize::MAX) } else { (from, limit) };
    let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?));
    let rows = store.db.all(query, (shelf.number(), first, rows_max(most)), read)?;
    let mut records = Vec::with_capacity(rows.len());
    for (label, sealed) in rows {
        records.push(open(keys, shelf, &label, &sealed)?);
    }
    if shelf.hides_keys() {
        records.retain(|(key, _)| key.as_slice() >= from);
        records.sort();
        records.truncate(limit);
    }
    Ok(records)
}

/// Writes with freed pages overwritten. For carried bundles that would double what an eviction writes.
fn erasing<T>(
    db: &mut Connection,
    write: impl FnOnce(&mut Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    db.set_secure_delete("ON")?;
    let written = write(db);
    db.set_secure_delete("FAST")?;
    written
}

/// What a record lies under.
fn label(keys: &RecordKeys, shelf: Shelf, key: &[u8]) -> Vec<u8> {
    if !shelf.hides_keys() {
        return key.to_vec();
    }
    let mut name = vec![shelf.number()];
    name.extend_from_slice(key);
    keys.tag(COLUMN, &name).to_vec()
}

/// A record as it lies there: label and sealed value.
pub(super) fn seal(
    keys: &RecordKeys,
    shelf: Shelf,
    key: &[u8],
    value: &[u8],
) -> Result<(Vec<u8>, Vec<u8>), SealError> {
    let label = label(keys, shelf, key);
    let mut plain = Zeroizing::new(Vec::with_capacity(1 + HIDDEN_KEY_BYTES_MAX + value.len()));
    if shelf.hides_keys() {
        assert!(key.len() <= HIDDEN_KEY_BYTES_MAX, "the key of a private record is short");
        plain.push(key.len() as u8);
        plain.extend_from_slice(key);
    }
    plain.extend_from_slice(value);
    let sealed = keys.seal(Place { column: COLUMN, row: &row(shelf, &label) }, &plain)?;
    Ok((label, sealed))
}

fn open(keys: &RecordKeys, shelf: Shelf, label: &[u8], sealed: &[u8]) -> Result<Record, StoreError> {
    let place = Place { column: COLUMN, row: &row(shelf, label) };
    let plain = keys.open(place, sealed).map_err(seal_failure)?;
    if !shelf.hides_keys() {
        return Ok((label.to_vec(), plain.to_vec()));
    }
    let split = plain.split_first().and_then(|(length, rest)| rest.split_at_checked(usize::from(*length)));
    let (key, value) =
        split.ok_or_else(|| StoreError::Corrupt { detail: format!("{COLUMN} is cut short") })?;
    Ok((key.to_vec(), value.to_vec()))
}

fn row(shelf: Shelf, label: &[u8]) -> Vec<u8> {
    [&[shelf.number()][..], label].concat()
}

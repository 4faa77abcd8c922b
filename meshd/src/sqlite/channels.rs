//! The channels shown here.

use meshlink_core::store::StoreError;

use super::SqliteStore;
use super::column::{get_some, some_int};
use super::connection::Connection;

/// A channel shown here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelRow {
    /// Its name, with the `#`.
    pub name: String,
    /// Shown since, in milliseconds since 1970.
    pub joined_unix_ms: Option<u64>,
}

impl SqliteStore {
    /// The channels shown here, by name.
    ///
    /// # Errors
    /// The disk failed.
    pub fn channels(&self) -> Result<Vec<ChannelRow>, StoreError> {
        self.db.all("SELECT name, joined_unix_ms FROM channel ORDER BY name", [], |row| {
            Ok(ChannelRow { name: row.get(0)?, joined_unix_ms: get_some(row, 1)? })
        })
    }
}

pub(super) fn is_joined(db: &Connection, channel: &str) -> Result<bool, StoreError> {
    Ok(db.one("SELECT 1 FROM channel WHERE name = ?1", [channel], |_| Ok(()))?.is_some())
}

pub(super) fn join(db: &mut Connection, channel: &str, at_unix_ms: Option<u64>) -> Result<bool, StoreError> {
    if is_joined(db, channel)? {
        return Ok(false);
    }
    db.write("INSERT INTO channel (name, joined_unix_ms) VALUES (?1, ?2)", (channel, some_int(at_unix_ms)))?;
    Ok(true)
}

pub(super) fn leave(db: &mut Connection, channel: &str) -> Result<bool, StoreError> {
    if !is_joined(db, channel)? {
        return Ok(false);
    }
    db.write("DELETE FROM channel WHERE name = ?1", [channel])?;
    Ok(true)
}

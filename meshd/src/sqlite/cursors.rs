//! Named read positions, each front end its own, and small positions of the daemon's own.

use meshlink_core::store::StoreError;
use rusqlite::Row;

use super::column::{get, get_some, some_int};
use super::tokens::Inserted;
use super::{SqliteStore, rows_max};

/// Most named cursors.
pub const CURSORS_MAX: u64 = 1024;

/// A named cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CursorRow {
    /// What its front end calls it.
    pub name: String,
    /// Where it stands, as text.
    pub position: String,
    /// When it was set, in milliseconds since 1970.
    pub set_unix_ms: Option<u64>,
}

fn read_cursor(row: &Row<'_>) -> rusqlite::Result<CursorRow> {
    Ok(CursorRow { name: row.get(0)?, position: row.get(1)?, set_unix_ms: get_some(row, 2)? })
}

#[allow(clippy::missing_errors_doc, reason = "each fails only if the disk does")]
impl SqliteStore {
    /// A named cursor.
    pub fn cursor(&self, name: &str) -> Result<Option<CursorRow>, StoreError> {
        self.db.one("SELECT name, position, set_unix_ms FROM cursor WHERE name = ?1", [name], read_cursor)
    }

    /// Up to `limit` named cursors after `after`, by name.
    pub fn cursors(&self, after: Option<&str>, limit: usize) -> Result<Vec<CursorRow>, StoreError> {
        let query = "SELECT name, position, set_unix_ms FROM cursor WHERE name > ?1 ORDER BY name LIMIT ?2";
        self.db.all(query, (after.unwrap_or(""), rows_max(limit)), read_cursor)
    }

    /// Sets a named cursor, a new one or one that is there.
    pub fn set_cursor(
        &mut self,
        name: &str,
        position: &str,
        unix_ms: Option<u64>,
    ) -> Result<Inserted, StoreError> {
        if self.cursor(name)?.is_none() {
            let count = self.db.one("SELECT count(*) FROM cursor", [], |row| get::<u64>(row, 0))?;
            if count >= Some(CURSORS_MAX) {
                return Ok(Inserted::TooMany { max: CURSORS_MAX });
            }
        }
        let set = "INSERT OR REPLACE INTO cursor (name, position, set_unix_ms) VALUES (?1, ?2, ?3)";
        self.db.write(set, (name, position, some_int(unix_ms)))?;
        Ok(Inserted::Done)
    }

    /// Removes a named cursor; says whether it was there.
    pub fn delete_cursor(&mut self, name: &str) -> Result<bool, StoreError> {
        Ok(self.db.write("DELETE FROM cursor WHERE name = ?1", [name])? > 0)
    }

    /// A position of the daemon's own.
    pub fn mark(&self, name: &str) -> Result<Option<i64>, StoreError> {
        self.db.one("SELECT value FROM mark WHERE name = ?1", [name], |row| row.get(0))
    }

    /// Sets a position of the daemon's own.
    pub fn set_mark(&mut self, name: &str, value: i64) -> Result<(), StoreError> {
        self.db.write("INSERT OR REPLACE INTO mark (name, value) VALUES (?1, ?2)", (name, value))?;
        Ok(())
    }
}

//! Whether what is in the file can be trusted.
//!
//! | when | what |
//! |---|---|
//! | each open | header, owner, version and length of the file; then SQLite's `quick_check` of one table after the other, what can't be had again first, for at most [`BUDGET`] |
//! | the log was taken away | the same of all tables, however long it takes |
//! | on demand ([`SqliteStore::check`]) | SQLite's `integrity_check` of everything (all indexes and words beside their tables), and all counts anew |
//! | each read | structure of the pages read, types and lengths of the columns |
//!
//! A bundle's bytes need no check here: its id is their hash, and whoever gets it checks that.

use std::time::{Duration, Instant};

use meshlink_core::store::StoreError;
use rusqlite::ErrorCode;

use super::SqliteStore;
use super::connection::Connection;
use super::recount;
use super::tables::TABLES;

/// How long the check of an open may take. It is enough for some 100 MB; see docs/benchmarks.md.
const BUDGET: Duration = Duration::from_millis(200);
/// The clock is looked at after so many steps: some tens of microseconds.
const STEPS: i32 = 1000;

/// How much was checked when a store was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    /// Every table.
    Whole,
    /// As much as the time allowed.
    Partly,
}

impl SqliteStore {
    /// Checks everything: pages, indexes, words, totals. Takes seconds at a million bundles.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] says what is wrong; others, that it can't be read.
    pub fn check(&self) -> Result<(), StoreError> {
        let sql = self.db.sql()?;
        let found = sql.query_row("PRAGMA integrity_check(1)", [], |row| row.get::<_, String>(0));
        match found.map_err(|error| self.db.error(&error))?.as_str() {
            "ok" => {}
            detail => return Err(StoreError::Corrupt { detail: detail.replace('\n', " ") }),
        }
        recount::verify(&self.db, &self.totals)
    }
}

/// What is checked when a store is opened.
pub(super) fn on_open(db: &Connection, is_suspect: bool) -> Result<Checked, StoreError> {
    let sql = db.sql()?;
    let deadline = Instant::now() + BUDGET;
    // Fails only on a connection that is not ours.
    let _ = sql.progress_handler(STEPS, Some(move || !is_suspect && Instant::now() >= deadline));
    let checked = tables(sql);
    let _ = sql.progress_handler(0, None::<fn() -> bool>);
    match checked {
        Ok(None) => Ok(Checked::Whole),
        Ok(Some(detail)) => Err(StoreError::Corrupt { detail }),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
            Ok(Checked::Partly)
        }
        Err(error) => Err(db.error(&error)),
    }
}

fn tables(sql: &rusqlite::Connection) -> rusqlite::Result<Option<String>> {
    for (table, _) in TABLES {
        let found: String = sql.query_row(&format!("PRAGMA quick_check({table})"), [], |row| row.get(0))?;
        if found != "ok" {
            return Ok(Some(found.replace('\n', " ")));
        }
    }
    Ok(None)
}

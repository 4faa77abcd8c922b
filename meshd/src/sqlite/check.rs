//! Whether what is in the file can be trusted.
//!
//! | when | what |
//! |---|---|
//! | each open | header, owner, version, length of the file; the totals' row |
//! | each open, up to [`WHOLE_BYTES`] | SQLite's `integrity_check`: all pages, all indexes, the words |
//! | each open, larger | `quick_check` of one table after the other, what can't be had again first, for [`BUDGET`] |
//! | the log was taken away | `integrity_check` of everything, however long it takes |
//! | on demand ([`SqliteStore::check`]) | `integrity_check` of everything, and all totals counted anew |
//! | each read | structure of the pages read, types and lengths of the columns |
//!
//! A bundle's bytes need no check here: its id is their hash, and whoever gets it checks that.

use std::time::{Duration, Instant};

use meshlink_core::store::StoreError;
use rusqlite::ErrorCode;

use super::SqliteStore;
use super::connection::Connection;
use super::recount;

/// Up to this size the whole file is checked on each open, in bytes. Measured: see docs/benchmarks.md.
const WHOLE_BYTES: u64 = 16 * 1024 * 1024;
/// How long the check of a larger file may take.
const BUDGET: Duration = Duration::from_millis(250);
/// The clock is looked at after so many steps: some tens of microseconds.
const STEPS: i32 = 1000;

/// The tables, what nobody else has first.
const TABLES: [&str; 18] = [
    "meta",
    "slot",
    "channel",
    "token",
    "cursor",
    "mark",
    "idempotent",
    "conversation",
    "peer",
    "message",
    "hand_over",
    "profile",
    "node",
    "event",
    "probe",
    "bundle",
    "dropped",
    "body",
];

/// How much was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    /// Every page.
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
        whole(&self.db)?;
        recount::verify(&self.db, &self.totals)
    }
}

/// What is checked when a store is opened.
pub(super) fn on_open(db: &Connection, file_bytes: u64, is_suspect: bool) -> Result<Checked, StoreError> {
    if file_bytes <= WHOLE_BYTES || is_suspect {
        return whole(db).map(|()| Checked::Whole);
    }
    let deadline = Instant::now() + BUDGET;
    let sql = db.sql()?;
    // Fails only on a connection that is not ours.
    let _ = sql.progress_handler(STEPS, Some(move || Instant::now() >= deadline));
    let checked = tables(sql);
    let _ = sql.progress_handler(0, None::<fn() -> bool>);
    match checked {
        Ok(None) => Ok(Checked::Partly),
        Ok(Some(detail)) => Err(StoreError::Corrupt { detail }),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
            Ok(Checked::Partly)
        }
        Err(error) => Err(db.error(&error)),
    }
}

fn tables(sql: &rusqlite::Connection) -> rusqlite::Result<Option<String>> {
    for table in TABLES {
        let found: String = sql.query_row(&format!("PRAGMA quick_check({table})"), [], |row| row.get(0))?;
        if found != "ok" {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn whole(db: &Connection) -> Result<(), StoreError> {
    let found = db.sql()?.query_row("PRAGMA integrity_check(1)", [], |row| row.get::<_, String>(0));
    match found.map_err(|error| db.error(&error))?.as_str() {
        "ok" => Ok(()),
        detail => Err(StoreError::Corrupt { detail: detail.replace('\n', " ") }),
    }
}

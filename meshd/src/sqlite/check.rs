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

/// A database up to this size is checked in one go, in bytes; a larger one table by table, so that the node gets
/// its turn in between.
const WHOLE_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// The parts of a check, in order; see [`SqliteStore::check_part`].
#[derive(Debug, Clone)]
pub struct CheckParts {
    whole: bool,
    next: usize,
}

/// One part of a check.
#[derive(Debug, Clone, Copy)]
pub struct CheckPart(Part);

#[derive(Debug, Clone, Copy)]
enum Part {
    Whole,
    Table(&'static str),
    Totals,
}

impl Iterator for CheckParts {
    type Item = CheckPart;

    fn next(&mut self) -> Option<CheckPart> {
        let at = self.next;
        self.next += 1;
        let part = match (self.whole, TABLES.get(at)) {
            (true, _) if at == 0 => Part::Whole,
            (false, Some((table, _))) => Part::Table(table),
            (false, None) if at == TABLES.len() => Part::Totals,
            (_, _) => return None,
        };
        Some(CheckPart(part))
    }
}

impl SqliteStore {
    /// What to check, in parts that each take as long as the largest table at most.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn check_parts(&self) -> Result<CheckParts, StoreError> {
        Ok(CheckParts { whole: self.file_use()?.database_bytes <= WHOLE_BYTES_MAX, next: 0 })
    }

    /// One part of it.
    ///
    /// # Errors
    /// As [`SqliteStore::check`].
    pub fn check_part(&self, part: CheckPart) -> Result<(), StoreError> {
        let table = match part.0 {
            Part::Whole => return self.check(),
            Part::Totals => return recount::verify(&self.db, &self.totals),
            Part::Table(table) => table,
        };
        let pragma = format!("PRAGMA integrity_check({table})");
        let found = self.db.sql()?.query_row(&pragma, [], |row| row.get::<_, String>(0));
        match found.map_err(|error| self.db.error(&error))?.as_str() {
            "ok" => Ok(()),
            detail => Err(StoreError::Corrupt { detail: detail.replace('\n', " ") }),
        }
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

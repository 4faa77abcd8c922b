//! The one connection to the database: how transactions begin and end, and what is done when the disk fails.
//!
//! Settings, and why:
//! - **WAL with `synchronous=FULL`**: a commit appends to the log and syncs it; the database itself is written
//!   later, by a checkpoint. What a commit returned for survives a power cut; on macOS that takes `fullfsync`, where a
//!   plain sync ends in the drive's cache.
//! - **`locking_mode=EXCLUSIVE`**: one process, one connection. The index of the log then lives in this
//!   process's memory; in shared memory, a file, a full disk would end the process with SIGBUS.
//! - **The log stays**: it is emptied when the store closes, not removed. A database without its log was
//!   therefore copied or cleaned up while in use, and that is said when it is opened (threat P-05).
//! - **Checkpoints are run here**, after the commit that makes the log long, not by SQLite inside it: their
//!   failure is then no failure of the commit, and is noticed.
//!
//! A commit that failed leaves its pages at the end of the log, perhaps whole. A process that then opened the
//! database would take the transaction for a committed one, though its caller was told otherwise. So the log is
//! cut back to what was committed and the connection opened again from the files (threat P-03; on what a failed
//! sync leaves behind: Rebello et al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020). Until
//! that has worked the connection stays closed. Only a process that ends on a disk that takes nothing at all
//! leaves its last transaction in doubt: refused, and perhaps there.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use meshlink_core::store::StoreError;
use rusqlite::config::DbConfig;
use rusqlite::{ErrorCode, OpenFlags, OptionalExtension, Params, Row, ffi};

use super::copy::Copying;

/// A log that has grown to this is moved into the database, in bytes.
const LOG_BYTES: u64 = 2 * 1024 * 1024;
/// A log this long takes no new transaction before it was moved into the database, in bytes.
const LOG_BYTES_MAX: u64 = 4 * LOG_BYTES;
/// Bytes written to find out whether the disk has room.
const PROBE_BYTES: u64 = 64 * 1024;
/// Page cache, in KiB. What is read often fits; the rest is in the operating system's cache.
const CACHE_KIB: u32 = 1024;
/// Prepared statements kept: more than there are.
const STATEMENTS: usize = 160;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Connection {
    path: PathBuf,
    /// `None` after a failure, until the files can be opened again.
    sql: Option<rusqlite::Connection>,
    transaction: Transaction,
    /// Bytes at the start of the log that hold committed transactions which the database does not have yet.
    log_kept_bytes: u64,
    /// Something was destroyed in the open transaction, or in one whose pages the log still has as they were.
    empties_log: bool,
    page_bytes: u64,
    /// After `sql`, so that it is closed later.
    copying: Copying,
}

#[derive(Debug)]
enum Transaction {
    None,
    Open,
    /// A write failed: nothing more is written until a rollback.
    Failed(StoreError),
}

impl Connection {
    /// Opens a database that is there.
    pub(super) fn open(path: &Path) -> rusqlite::Result<Self> {
        let sql = open_sql(path)?;
        let page_bytes = sql.pragma_query_value(None, "page_size", |row| row.get::<_, u32>(0))?.into();
        let mut connection = Self {
            path: path.to_owned(),
            sql: None,
            transaction: Transaction::None,
            log_kept_bytes: 0,
            empties_log: false,
            page_bytes,
            copying: Copying::default(),
        };
        connection.log_kept_bytes = connection.log_bytes(log_frames(&sql)?);
        connection.sql = Some(sql);
        Ok(connection)
    }

    /// The connection itself, for what has no method here.
    pub(super) fn sql(&self) -> Result<&rusqlite::Connection, StoreError> {
        let closed = || StoreError::Io { detail: "the database could not be opened again yet".to_owned() };
        self.sql.as_ref().ok_or_else(closed)
    }

    /// The same, to change it: for the steps of opening.
    pub(super) fn sql_mut(&mut self) -> Option<&mut rusqlite::Connection> {
        self.sql.as_mut()
    }

    /// The row a query finds, if any.
    pub(super) fn one<T>(
        &self,
        query: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        let found =
            self.sql()?.prepare_cached(query).and_then(|mut query| query.query_row(params, read).optional());
        found.map_err(|error| self.error(&error))
    }

    /// All rows a query finds. The query limits them.
    pub(super) fn all<T>(
        &self,
        query: &str,
        params: impl Params,
        mut read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let mut found = Vec::new();
        self.each(query, params, |row| {
            found.push(read(row)?);
            Ok(true)
        })?;
        Ok(found)
    }

    /// The rows a query finds, one after the other, while `visit` returns true.
    pub(super) fn each(
        &self,
        query: &str,
        params: impl Params,
        mut visit: impl FnMut(&Row<'_>) -> rusqlite::Result<bool>,
    ) -> Result<(), StoreError> {
        let sql = self.sql()?;
        let walk = || -> rusqlite::Result<()> {
            let mut query = sql.prepare_cached(query)?;
            let mut rows = query.query(params)?;
            while let Some(row) = rows.next()? {
                if !visit(row)? {
                    break;
                }
            }
            Ok(())
        };
        walk().map_err(|error| self.error(&error))
    }

    /// Changes rows; says how many.
    pub(super) fn write(&mut self, change: &str, params: impl Params) -> Result<usize, StoreError> {
        self.begin()?;
        let done = self.sql()?.prepare_cached(change).and_then(|mut change| change.execute(params));
        done.map_err(|error| self.fail(&error))
    }

    /// Changes one row and reads what it returns; `None` if there was none to change.
    pub(super) fn write_returning<T>(
        &mut self,
        change: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        self.begin()?;
        let done = self
            .sql()?
            .prepare_cached(change)
            .and_then(|mut change| change.query_row(params, read).optional());
        done.map_err(|error| self.fail(&error))
    }

    /// Whether something was written since the last commit or rollback.
    pub(super) fn is_dirty(&self) -> bool {
        !matches!(self.transaction, Transaction::None)
    }

    /// Makes the transaction durable. On an error nothing of it happened, and the connection may be a new one.
    pub(super) fn commit(&mut self) -> Result<(), StoreError> {
        match &self.transaction {
            Transaction::None => return Ok(()),
            Transaction::Failed(error) => {
                let error = error.clone();
                self.rollback();
                return Err(error);
            }
            Transaction::Open => {}
        }
        let copy = self.copying.take_wanted();
        if let Err(error) = self.run("COMMIT") {
            self.reopen();
            return Err(error);
        }
        self.transaction = Transaction::None;
        self.note_log();
        self.tend_log();
        if let Some(request) = copy {
            self.begin_copy(&request);
        }
        Ok(())
    }

    /// Moves the log into the database if it is time. The commit before holds whatever comes of this: a log that
    /// can't be moved is tried again, and stops new transactions when it gets too long.
    fn tend_log(&mut self) {
        let is_due = self.empties_log || self.log_kept_bytes >= LOG_BYTES;
        if !is_due || !self.copying.lets_checkpoint(self.log_kept_bytes) {
            return;
        }
        if self.empties_log && self.checkpoint_whole().is_ok() {
            self.empties_log = false;
        } else {
            let _ = self.checkpoint();
        }
    }

    /// Has the log emptied by the commit to come, so that it holds no older form of what is destroyed in it. If
    /// the disk does not let it, the next commit tries again.
    pub(super) fn empty_log_after_commit(&mut self) {
        self.empties_log = true;
    }

    /// How thoroughly the statements to come overwrite what they delete: `ON`, or `FAST`, which leaves whole
    /// pages that become free as they are.
    pub(super) fn set_secure_delete(&mut self, how: &str) -> Result<(), StoreError> {
        let set = self.sql()?.pragma_update_and_check(None, "secure_delete", how, |_| Ok(()));
        set.map_err(|error| self.error(&error))
    }

    /// Drops the transaction, if one is open.
    pub(super) fn rollback(&mut self) {
        self.copying.take_wanted();
        match std::mem::replace(&mut self.transaction, Transaction::None) {
            Transaction::None => {}
            // The files did something unforeseen: what this connection remembers of them may be wrong.
            Transaction::Failed(StoreError::Io { .. } | StoreError::Corrupt { .. }) => self.reopen(),
            Transaction::Open | Transaction::Failed(StoreError::Full | StoreError::Locked) => {
                // SQLite may have rolled back by itself after a failure.
                let is_open = self.sql.as_ref().is_some_and(|sql| !sql.is_autocommit());
                if is_open && self.run("ROLLBACK").is_err() {
                    self.reopen();
                }
            }
        }
    }

    /// Tries whether writing works again: in the log, and in the database behind it.
    pub(super) fn probe(&mut self) -> Result<(), StoreError> {
        match &self.transaction {
            Transaction::Failed(error) => return Err(error.clone()),
            // Its own commit will tell.
            Transaction::Open => return Ok(()),
            Transaction::None => {}
        }
        let filler = i64::try_from(PROBE_BYTES).expect("a small number");
        let may_move = self.copying.lets_checkpoint(self.log_kept_bytes);
        self.write("INSERT OR REPLACE INTO probe (n, filler) VALUES (1, zeroblob(?1))", [filler])
            .and_then(|_| self.commit())
            .and_then(|()| if may_move { self.checkpoint() } else { Ok(()) })
            .and_then(|()| self.write("DELETE FROM probe", []))
            .and_then(|_| self.commit())
            .inspect_err(|_| self.rollback())
    }

    /// Moves the log into the database.
    pub(super) fn checkpoint(&mut self) -> Result<(), StoreError> {
        let moved =
            self.sql()?.prepare_cached("PRAGMA wal_checkpoint(PASSIVE)").and_then(|mut checkpoint| {
                checkpoint.query_row([], |row| Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)))
            });
        match moved {
            // From here on the log's old content counts for nothing: its next writer starts at its beginning.
            Ok((in_log, moved)) if in_log == moved => self.log_kept_bytes = 0,
            Ok(_) => self.note_log(),
            Err(error) => {
                let error = self.error(&error);
                self.reopen();
                return Err(error);
            }
        }
        Ok(())
    }

    /// Moves the log into the database and empties it, so that the database file alone is everything.
    pub(super) fn checkpoint_whole(&mut self) -> Result<(), StoreError> {
        let sql = self.sql()?;
        let left = sql.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
        match left.map_err(|error| self.error(&error))? {
            0 => {
                self.log_kept_bytes = 0;
                Ok(())
            }
            _ => Err(StoreError::Io { detail: "another program reads the database".to_owned() }),
        }
    }

    /// Drops what is not committed and empties the log; a copy that is being read is given up.
    pub(super) fn close(&mut self) -> Result<(), StoreError> {
        self.rollback();
        self.copying.give_up();
        self.checkpoint_whole()
    }

    /// Copies of the file that are made or asked for.
    pub(super) fn copying_mut(&mut self) -> &mut Copying {
        &mut self.copying
    }

    /// Where the database is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the database anew without its free pages. Takes as much room again while it runs; on an error
    /// the database is as it was.
    pub(super) fn compact(&mut self) -> Result<(), StoreError> {
        if self.copying.is_read() {
            return Err(StoreError::Io { detail: "a backup of it is being made".to_owned() });
        }
        self.ready_to_begin()?;
        self.checkpoint_whole()?;
        // The copy would otherwise be built in memory.
        let sql = self.sql()?;
        let written = sql.execute_batch("PRAGMA temp_store = FILE; VACUUM;");
        let written = written.map_err(|error| self.error(&error));
        let restored = sql.execute_batch("PRAGMA temp_store = MEMORY").map_err(|error| self.error(&error));
        if let Err(error) = written.and(restored) {
            self.reopen();
            return Err(error);
        }
        self.note_log();
        self.checkpoint_whole()
    }

    /// Bytes of the file, bytes of it that are free, bytes of the log.
    pub(super) fn file_use(&self) -> Result<(u64, u64, u64), StoreError> {
        let pages = |name| {
            let pages = self.sql()?.pragma_query_value(None, name, |row| row.get::<_, u32>(0));
            pages.map(u64::from).map_err(|error| self.error(&error))
        };
        let log = std::fs::metadata(log_path(&self.path)).map_or(0, |log| log.len());
        Ok((pages("page_count")? * self.page_bytes, pages("freelist_count")? * self.page_bytes, log))
    }

    fn begin(&mut self) -> Result<(), StoreError> {
        match &self.transaction {
            Transaction::Open => return Ok(()),
            Transaction::Failed(error) => return Err(error.clone()),
            Transaction::None => {}
        }
        let begun = self.ready_to_begin().and_then(|()| self.run("BEGIN IMMEDIATE"));
        self.transaction = match &begun {
            Ok(()) => Transaction::Open,
            Err(error) => Transaction::Failed(error.clone()),
        };
        begun
    }

    fn ready_to_begin(&mut self) -> Result<(), StoreError> {
        if self.sql.is_none() {
            self.restore()?;
        }
        let is_long = self.log_kept_bytes >= LOG_BYTES_MAX;
        if is_long && self.copying.lets_checkpoint(self.log_kept_bytes) { self.checkpoint() } else { Ok(()) }
    }

    fn run(&self, statement: &str) -> Result<(), StoreError> {
        let done = self.sql()?.prepare_cached(statement).and_then(|mut statement| statement.execute([]));
        done.map(|_| ()).map_err(|error| self.error(&error))
    }

    fn fail(&mut self, error: &rusqlite::Error) -> StoreError {
        let error = self.error(error);
        self.transaction = Transaction::Failed(error.clone());
        error
    }

    /// Notes how much of the log is committed.
    fn note_log(&mut self) {
        match self.sql.as_ref().map(log_frames) {
            Some(Ok(frames)) => self.log_kept_bytes = self.log_bytes(frames),
            // Opening again reads it from the file.
            Some(Err(_)) | None => self.reopen(),
        }
    }

    fn log_bytes(&self, frames: u64) -> u64 {
        if frames == 0 { 0 } else { LOG_HEADER_BYTES + frames * (FRAME_HEADER_BYTES + self.page_bytes) }
    }

    /// Drops the connection with whatever it has open, and opens the files as they were at the last commit.
    fn reopen(&mut self) {
        self.transaction = Transaction::None;
        self.sql = None;
        // If that fails, the next write or probe tries again.
        let _ = self.restore();
    }

    fn restore(&mut self) -> Result<(), StoreError> {
        let failed = |error: std::io::Error| match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StoreError::Full,
            _ => StoreError::Io { detail: format!("the log could not be cut: {error}") },
        };
        cut_log(&log_path(&self.path), self.log_kept_bytes).map_err(failed)?;
        self.sql = Some(open_sql(&self.path).map_err(|error| self.error(&error))?);
        Ok(())
    }

    pub(super) fn error(&self, error: &rusqlite::Error) -> StoreError {
        store_error(error, &self.path)
    }
}

/// Offsets of SQLite's file format, section 4.1 "WAL File Format".
const LOG_HEADER_BYTES: u64 = 32;
const FRAME_HEADER_BYTES: u64 = 24;

/// The log's name beside a database's.
pub(super) fn log_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// What a failure of SQLite means.
pub(super) fn store_error(error: &rusqlite::Error, path: &Path) -> StoreError {
    let detail = || error.to_string();
    match error {
        rusqlite::Error::SqliteFailure(failure, _) => match failure.code {
            ErrorCode::DiskFull => StoreError::Full,
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => StoreError::Corrupt { detail: detail() },
            ErrorCode::SystemIoFailure | ErrorCode::CannotOpen if is_full(path) => StoreError::Full,
            // SQLite tells "no space" from other failures of a write only for the write itself.
            _ => StoreError::Io { detail: format!("{} (SQLite code {})", detail(), failure.extended_code) },
        },
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::Utf8Error(..) => StoreError::Corrupt { detail: detail() },
        _ => StoreError::Io { detail: detail() },
    }
}

/// Whether a small file beside the database can't be written for want of room: a full disk or quota shows in
/// a sync or the making of a file too, where SQLite only knows that it failed.
fn is_full(path: &Path) -> bool {
    let mut name = path.as_os_str().to_owned();
    name.push("-room");
    let written = File::create(&name).and_then(|mut file| {
        file.write_all(&vec![0; PROBE_BYTES as usize])?;
        file.sync_all()
    });
    let _ = std::fs::remove_file(&name);
    written.is_err_and(|error| matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded))
}

fn cut_log(log: &Path, kept_bytes: u64) -> std::io::Result<()> {
    let file = match OpenOptions::new().write(true).open(log) {
        Err(error) if error.kind() == ErrorKind::NotFound && kept_bytes == 0 => return Ok(()),
        opened => opened?,
    };
    if file.metadata()?.len() > kept_bytes {
        file.set_len(kept_bytes)?;
        file.sync_all()?;
    }
    Ok(())
}

/// Frames of committed transactions in the log.
fn log_frames(sql: &rusqlite::Connection) -> rusqlite::Result<u64> {
    let frames: i64 = sql.prepare_cached("PRAGMA wal_checkpoint(NOOP)")?.query_row([], |row| row.get(1))?;
    Ok(u64::try_from(frames).unwrap_or(0))
}

fn open_sql(path: &Path) -> rusqlite::Result<rusqlite::Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let sql = rusqlite::Connection::open_with_flags(path, flags)?;
    sql.busy_timeout(Duration::ZERO)?;
    // Closing changes no file: what is in the log stays there.
    sql.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    sql.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    // A plan never depends on the values bound to it: otherwise every statement with a bound LIMIT would be
    // prepared anew each time it is bound.
    sql.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    sql.set_prepared_statement_cache_capacity(STATEMENTS);
    sql.execute_batch(&format!(
        "PRAGMA locking_mode = EXCLUSIVE;
         PRAGMA trusted_schema = OFF;
         PRAGMA cell_size_check = ON;
         PRAGMA cache_size = -{CACHE_KIB};
         PRAGMA mmap_size = 0;
         PRAGMA temp_store = MEMORY;
         PRAGMA foreign_keys = ON;
         PRAGMA secure_delete = FAST;
         PRAGMA synchronous = FULL;
         PRAGMA fullfsync = ON;
         PRAGMA checkpoint_fullfsync = ON;
         PRAGMA wal_autocheckpoint = 0;
         PRAGMA journal_size_limit = {LOG_BYTES};"
    ))?;
    let mode: String = sql.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        let no_log = Some("the file system allows no write-ahead log".to_owned());
        return Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_CANTOPEN), no_log));
    }
    Ok(sql)
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use crate::sqlite::SqliteStore;

    #[test]
    fn a_statement_is_prepared_once_whatever_is_bound_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&dir.path().join("db"), None).unwrap();
        let sql = store.db.sql().unwrap();
        let mut query = sql.prepare("SELECT id FROM bundle WHERE class = ?1 ORDER BY row LIMIT ?2").unwrap();
        for n in 1..4 {
            let ids: Vec<Vec<u8>> =
                query.query_map([n, n], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
            assert!(ids.is_empty());
        }
        assert_eq!(query.get_status(StatementStatus::RePrepare), 0);
    }
}

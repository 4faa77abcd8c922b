//! How a store's file is found, made, upgraded or refused.
//!
//! A store is one database and its log beside it (`NAME-wal`). What is refused is left as it is, byte for byte:
//! the file's first 100 bytes are read before SQLite touches anything, and if only the log knows of a newer
//! version, the connection is closed again without a checkpoint.
//!
//! A new store is made under another name and renamed when it is complete, so a file without content is
//! never ours: it is damage, not a fresh start that would hide a loss.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::Instant;

use meshlink_core::limits::{BUNDLE_COST_BYTES_MIN, MESSAGE_COST_BYTES};
use meshlink_core::store::StoreError;
use rusqlite::{ErrorCode, OpenFlags};

use super::check::{self, Checked};
use super::column::int;
use super::connection::{self, Connection, log_path};
use super::schema::{APPLICATION_ID, VERSION, migrations};
use super::totals::{self, Totals};
use super::{SqliteStore, copy, recount};
use crate::vault::RecordKeys;

/// Why a store is not opened. Each says in one line what to do; none changed a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// A newer program wrote it.
    #[error(
        "the store {} was written by a newer meshd (schema {found}; this one knows up to {known}): \
         run that version, or choose another --state-dir. Nothing was changed", path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema's version.
        found: u32,
        /// The newest this program knows.
        known: u32,
    },
    /// It belongs to something else.
    #[error(
        "{} is another program's database: move it away, or choose another --state-dir. Nothing was changed",
        path.display()
    )]
    Foreign {
        /// The database.
        path: PathBuf,
    },
    /// Its content can't be trusted.
    #[error(
        "the store {p} is damaged ({detail}); nothing was changed. Restore a backup, or move {p} and {p}-wal away \
         to start empty; `sqlite3 {p} .recover | sqlite3 NEWFILE` salvages what can still be read",
        p = path.display()
    )]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// Somebody else has it open.
    #[error("the store {} is in use by another process: stop that one, or choose another --state-dir", path.display())]
    Locked {
        /// The database.
        path: PathBuf,
    },
    /// It can't be written.
    #[error(
        "the store {} can't be written ({detail}): see that its directory exists, belongs to this user and is \
         not on a read-only file system", path.display()
    )]
    Unwritable {
        /// The database.
        path: PathBuf,
        /// What went wrong.
        detail: String,
    },
    /// There is no room to make or upgrade it.
    #[error("the disk has no room for the store {}: free some space and start again", path.display())]
    Full {
        /// The database.
        path: PathBuf,
    },
    /// The disk failed.
    #[error("the store {} can't be read ({detail}): see the system's log about the disk", path.display())]
    Failed {
        /// The database.
        path: PathBuf,
        /// What went wrong.
        detail: String,
    },
}

/// What opening a store found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// It was made just now.
    pub created: bool,
    /// It was upgraded from this version of the schema.
    pub upgraded_from: Option<u32>,
    /// It was not closed cleanly and its log has been taken away: what was last stored is missing.
    pub log_missing: bool,
    /// How much of it was checked.
    pub checked: Checked,
    /// Milliseconds it took.
    pub took_ms: u64,
}

impl SqliteStore {
    /// Opens the store at `path`, makes it if it is not there, upgrades it if it is older. Without `keys` it is
    /// locked.
    ///
    /// Only one store of a process may be opened at a path at a time: to close a second file of the same
    /// database drops the locks that keep other processes out (a rule of POSIX).
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(path: &Path, keys: Option<RecordKeys>) -> Result<Self, OpenError> {
        let start = Instant::now();
        // Of a process that ended while it made a backup.
        copy::remove_copy(&beside(path, "-copy"));
        let created = make_if_missing(path)?;
        let log_missing = look(path)?;
        let mut db = Connection::open(path).map_err(|error| refusal(path, &error))?;
        let upgraded_from = upgrade(path, &mut db, keys.as_ref())?;
        let checked = check::on_open(&db, log_missing).map_err(|error| failed(path, error))?;
        let (store_id, totals) = load(path, &mut db)?;
        let took_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let opened = Opened { created, upgraded_from, log_missing, checked, took_ms };
        Ok(Self::new(db, keys, store_id, totals, opened))
    }
}

fn load(path: &Path, db: &mut Connection) -> Result<([u8; 4], Totals), OpenError> {
    let mut load = || {
        copy::take_name(db)?;
        let store_id = totals::store_id(db)?;
        let mut totals = Totals::load(db)?;
        if !recount::is_by_our_rules(db)? {
            totals = recount::recount(db, &totals)?;
        }
        Ok((store_id, totals))
    };
    load().map_err(|error| failed(path, error))
}

/// Makes a store if there is none; says whether it did.
fn make_if_missing(path: &Path) -> Result<bool, OpenError> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => return Ok(false),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(unwritable(path, &error)),
    }
    let log = log_path(path);
    if std::fs::metadata(&log).is_ok_and(|log| log.len() > 0) {
        let detail = format!("it is gone, but its log {} is there", log.display());
        return Err(OpenError::Damaged { path: path.to_owned(), detail });
    }
    let new = beside(path, "-new");
    for left_over in [new.clone(), beside(&new, "-journal"), log_path(&new)] {
        match std::fs::remove_file(&left_over) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(unwritable(path, &error)),
            Ok(()) | Err(_) => {}
        }
    }
    private_file(&new).map_err(|error| unwritable(path, &error))?;
    fill(&new).map_err(|error| refusal(path, &error))?;
    let placed = private_file(&log).and_then(|_| std::fs::rename(&new, path)).and_then(|()| sync_dir(path));
    placed.map_err(|error| unwritable(path, &error))?;
    Ok(true)
}

/// Writes an empty store into a file.
fn fill(new: &Path) -> rusqlite::Result<()> {
    let mut sql = rusqlite::Connection::open_with_flags(new, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    sql.execute_batch(&format!(
        "PRAGMA page_size = 2048; PRAGMA application_id = {APPLICATION_ID}; PRAGMA synchronous = FULL;"
    ))?;
    migrations(None).to_latest(&mut sql).map_err(migration_error)?;
    sql.execute(
        "INSERT INTO meta (one, store_id, bundle_cost_min, message_cost) VALUES (1, randomblob(4), ?1, ?2)",
        [int(BUNDLE_COST_BYTES_MIN), int(MESSAGE_COST_BYTES)],
    )?;
    sql.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    sql.close().map_err(|(_, error)| error)
}

/// Reads the header before SQLite does; says whether the log is missing.
fn look(path: &Path) -> Result<bool, OpenError> {
    let damaged = |detail: String| OpenError::Damaged { path: path.to_owned(), detail };
    // Open for writing, so that a file that can't be written is known now.
    let mut file =
        OpenOptions::new().read(true).write(true).open(path).map_err(|error| unwritable(path, &error))?;
    let metadata = file.metadata().map_err(|error| unwritable(path, &error))?;
    make_private(&file, &metadata).map_err(|error| unwritable(path, &error))?;
    let mut header = [0; Header::BYTES];
    match file.read_exact(&mut header) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
            return Err(damaged(format!("it has only {} bytes", metadata.len())));
        }
        Err(error) => return Err(OpenError::Failed { path: path.to_owned(), detail: error.to_string() }),
    }
    let Some(header) = Header::parse(&header) else {
        return Err(damaged("it does not start like a database".to_owned()));
    };
    if header.application_id != APPLICATION_ID {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    if header.user_version > VERSION {
        return Err(OpenError::Newer { path: path.to_owned(), found: header.user_version, known: VERSION });
    }
    let log = std::fs::metadata(log_path(path));
    // SQLite would write another database's log into this one.
    if !header.is_wal && log.as_ref().is_ok_and(|log| log.len() > 0) {
        let log = log_path(path);
        return Err(damaged(format!(
            "it never had a log, but there is one: if it is a backup just put here, remove {}",
            log.display()
        )));
    }
    // With a log, pages that are not in the file may be in the log.
    if log.as_ref().map_or(0, std::fs::Metadata::len) == 0 && metadata.len() < header.bytes {
        return Err(damaged(format!("it was cut short: {} of {} bytes", metadata.len(), header.bytes)));
    }
    Ok(header.is_wal && log.is_err())
}

/// The part of the file's first 100 bytes that matters before it is opened (SQLite's file format, section 1.3).
struct Header {
    is_wal: bool,
    /// Bytes the database should have; 0 if the header does not say.
    bytes: u64,
    user_version: u32,
    application_id: u32,
}

impl Header {
    const BYTES: usize = 100;

    fn parse(bytes: &[u8; Self::BYTES]) -> Option<Self> {
        if !bytes.starts_with(b"SQLite format 3\0") {
            return None;
        }
        let word = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let page_bytes = match u16::from_be_bytes([bytes[16], bytes[17]]) {
            1 => 65536,
            bytes => u64::from(bytes),
        };
        let is_size_valid = word(24) == word(92);
        Some(Self {
            is_wal: bytes[18] == 2,
            bytes: if is_size_valid { u64::from(word(28)) * page_bytes } else { 0 },
            user_version: word(60),
            application_id: word(68),
        })
    }
}

/// Brings an older schema to this program's; says from which version.
fn upgrade(path: &Path, db: &mut Connection, keys: Option<&RecordKeys>) -> Result<Option<u32>, OpenError> {
    let Some(sql) = db.sql_mut() else { return Ok(None) };
    let found = sql.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0));
    let found = found.map_err(|error| refusal(path, &error))?;
    if found > VERSION {
        return Err(OpenError::Newer { path: path.to_owned(), found, known: VERSION });
    }
    if found == VERSION {
        return Ok(None);
    }
    // What is sealed by it is not to stay in pages that become free.
    let erasing = sql.pragma_update_and_check(None, "secure_delete", "ON", |_| Ok(()));
    erasing.map_err(|error| refusal(path, &error))?;
    migrations(keys).to_latest(sql).map_err(|error| refusal(path, &migration_error(error)))?;
    db.set_secure_delete("FAST").map_err(|error| failed(path, error))?;
    // The header of the database itself is to say so: that is what the next program looks at.
    db.checkpoint_whole().map_err(|error| failed(path, error))?;
    Ok(Some(found))
}

fn migration_error(error: rusqlite_migration::Error) -> rusqlite::Error {
    match error {
        rusqlite_migration::Error::RusqliteError { err, .. } => err,
        other => rusqlite::Error::ToSqlConversionFailure(Box::new(other)),
    }
}

fn refusal(path: &Path, error: &rusqlite::Error) -> OpenError {
    let path_buf = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OpenError::Locked { path: path_buf },
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            OpenError::Unwritable { path: path_buf, detail: error.to_string() }
        }
        Some(ErrorCode::CannotOpen) => match connection::store_error(error, path) {
            StoreError::Full => OpenError::Full { path: path_buf },
            _ => OpenError::Unwritable { path: path_buf, detail: error.to_string() },
        },
        _ => failed(path, connection::store_error(error, path)),
    }
}

fn failed(path: &Path, error: StoreError) -> OpenError {
    let path = path.to_owned();
    match error {
        StoreError::Full => OpenError::Full { path },
        StoreError::Io { detail } => OpenError::Failed { path, detail },
        StoreError::Corrupt { detail } => OpenError::Damaged { path, detail },
        StoreError::Locked => OpenError::Failed { path, detail: error.to_string() },
    }
}

fn unwritable(path: &Path, error: &std::io::Error) -> OpenError {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => OpenError::Full { path: path.to_owned() },
        _ => OpenError::Unwritable { path: path.to_owned(), detail: error.to_string() },
    }
}

pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Lets nobody else read a file; on Windows its directory does that.
fn make_private(file: &File, is: &Metadata) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        if is.permissions().mode() & 0o077 != 0 {
            return file.set_permissions(std::fs::Permissions::from_mode(0o600));
        }
    }
    #[cfg(windows)]
    let _ = (file, is);
    Ok(())
}

/// Makes an empty file that only this user can read.
pub(super) fn private_file(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    file.sync_all()?;
    Ok(file)
}

/// On Windows no program can; the file system's journal keeps the order.
#[cfg(windows)]
fn sync_dir(_: &Path) -> std::io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn sync_dir(path: &Path) -> std::io::Result<()> {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => File::open(dir)?.sync_all(),
        Some(_) | None => File::open(".")?.sync_all(),
    }
}

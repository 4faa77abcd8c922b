//! A copy of the database while it is in use.
//!
//! Commits append to the log; the database's own file is written by checkpoints alone. So a copy begins with a
//! checkpoint that moves all of the log, right after a commit, and until the file is read no other one is run. It
//! stands still meanwhile and is one moment of the store, which another thread reads at its own pace, without a
//! lock, while the node goes on. If the log grows beyond [`LOG_BYTES_HELD_MAX`] by then, the copy is given up:
//! messages come first.
//!
//! ```text
//!  node's thread:  commit ─ checkpoint ─┬─ commit ─ commit ─ commit ─ commit ─┬─ checkpoint
//!  another thread:                      └── reads the file ──┘ then works on the copy alone
//! ```
//!
//! The copy is then made fit to lie around (threats K-02, K-04): the secret halves of prekeys and codes shown go from
//! it, since they are deleted on schedule in the store; a mark says that it is a copy; everything in it is checked.
//! Whoever opens it sees the mark: positions in its event log are given out again from there, so it takes another
//! name for them, and keys that were given out since are not in it, so the node begins anew ([`crate::locking`]).

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use meshlink_core::store::{Shelf, StoreError};

use super::connection::{Connection, log_path};
use super::totals::Totals;
use super::{SqliteStore, open, recount};
use crate::positioned::{read_exact_at, write_all_at};

/// A log that has grown to this while a copy is read ends the copy, in bytes.
pub(super) const LOG_BYTES_HELD_MAX: u64 = 256 * 1024 * 1024;
/// Read at a time, in bytes.
const PIECE_BYTES: usize = 1024 * 1024;

/// Where the daemon notes that a store began as a copy.
const COPY_MARK: &str = "copy";
/// It is one, and was not opened since.
const FRESH: i64 = 1;
/// It was opened, and its node has not begun anew.
const OPENED: i64 = 2;
/// Nothing is left to do.
const SETTLED: i64 = 0;

/// Why there is no copy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CopyError {
    /// Another one is being read.
    #[error("another copy is being made")]
    Busy,
    /// Messages came in faster than the file was read.
    #[error("the store was written faster than it could be copied; try again at a quieter time")]
    Overtaken,
    /// The copy can't be written.
    #[error("the copy can't be written to {}: {detail}", path.display())]
    Unwritable {
        /// Where to.
        path: PathBuf,
        /// What went wrong.
        detail: String,
    },
    /// The store can't be read, or what was copied is damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A copy that was asked for: made with the next commit, or at once if there is nothing to commit.
#[derive(Debug, Clone, Default)]
pub struct CopyRequest(Arc<Mutex<Option<Result<CopySource, CopyError>>>>);

impl CopyRequest {
    /// What to copy, once the commit is done.
    ///
    /// # Errors
    /// [`CopyError`].
    pub fn take(&self) -> Result<CopySource, CopyError> {
        let lost = || Err(StoreError::Io { detail: "the commit before the copy failed".to_owned() }.into());
        self.slot().take().unwrap_or_else(lost)
    }

    fn answer(&self, with: Result<CopySource, CopyError>) {
        *self.slot() = Some(with);
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Result<CopySource, CopyError>>> {
        self.0.lock().expect("nothing panics while it holds this lock")
    }
}

/// The database's file, as it stands still until this is dropped.
#[derive(Debug)]
pub struct CopySource {
    file: Arc<File>,
    bytes: u64,
    hold: Arc<Hold>,
}

/// Shared by a connection and who reads its file.
#[derive(Debug, Default)]
struct Hold {
    is_broken: AtomicBool,
}

/// A connection's side of it.
#[derive(Debug, Default)]
pub(super) struct Copying {
    wanted: Option<CopyRequest>,
    hold: Weak<Hold>,
    /// For reading. Kept as long as the connection: to close it would drop the connection's locks (a rule of POSIX).
    file: Option<Arc<File>>,
}

impl Copying {
    /// Whether the file may be written now, with a log of so many bytes.
    pub(super) fn lets_checkpoint(&mut self, log_bytes: u64) -> bool {
        if self.hold.strong_count() == 0 {
            return true;
        }
        if log_bytes < LOG_BYTES_HELD_MAX {
            return false;
        }
        self.give_up();
        true
    }

    /// Ends a copy that is being read: its reader finds out before it has anything to show.
    pub(super) fn give_up(&mut self) {
        if let Some(hold) = std::mem::take(&mut self.hold).upgrade() {
            hold.is_broken.store(true, Ordering::SeqCst);
        }
    }

    /// Whether one is being read.
    pub(super) fn is_read(&self) -> bool {
        self.hold.strong_count() > 0
    }

    /// The one that was asked for, which is not any more.
    pub(super) fn take_wanted(&mut self) -> Option<CopyRequest> {
        self.wanted.take()
    }
}

impl Connection {
    /// Has the file copied as it is after the next commit.
    pub(super) fn request_copy(&mut self) -> CopyRequest {
        let request = CopyRequest::default();
        if self.is_dirty() {
            self.copying_mut().wanted = Some(request.clone());
        } else {
            self.begin_copy(&request);
        }
        request
    }

    /// Lets the file stand still and gives it to who asked. To be called between two transactions.
    pub(super) fn begin_copy(&mut self, request: &CopyRequest) {
        let source = self.source();
        request.answer(source);
    }

    fn source(&mut self) -> Result<CopySource, CopyError> {
        if self.copying_mut().is_read() {
            return Err(CopyError::Busy);
        }
        self.checkpoint_whole()?;
        let (bytes, _, _) = self.file_use()?;
        let failed = |error: std::io::Error| StoreError::Io { detail: error.to_string() };
        let file = match &self.copying_mut().file {
            Some(file) => Arc::clone(file),
            None => Arc::new(File::open(self.path()).map_err(failed)?),
        };
        let hold = Arc::new(Hold::default());
        let copying = self.copying_mut();
        copying.file = Some(Arc::clone(&file));
        copying.hold = Arc::downgrade(&hold);
        Ok(CopySource { file, bytes, hold })
    }
}

impl CopySource {
    /// Its length, in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Copies it to `path`, for this user alone, and makes the copy fit to lie around. Takes as long as the disk
    /// does; whatever was there is replaced, and on an error nothing is.
    ///
    /// # Errors
    /// [`CopyError`].
    pub fn write_to(self, path: &Path) -> Result<(), CopyError> {
        let made = self.read_into(path).and_then(|()| settle(path));
        if made.is_err() {
            remove_copy(path);
        }
        made
    }

    /// Reads the file and lets go of it.
    fn read_into(self, path: &Path) -> Result<(), CopyError> {
        let unwritable = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => StoreError::Full.into(),
            _ => CopyError::Unwritable { path: path.to_owned(), detail: error.to_string() },
        };
        remove_copy(path);
        let copy = open::private_file(path).map_err(unwritable)?;
        let mut piece = vec![0; PIECE_BYTES];
        let mut at = 0;
        while at < self.bytes && !self.is_overtaken() {
            let left = usize::try_from(self.bytes - at).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
            read_exact_at(&self.file, &mut piece[..left], at)
                .map_err(|error| StoreError::Io { detail: error.to_string() })?;
            write_all_at(&copy, &piece[..left], at).map_err(unwritable)?;
            at += left as u64;
        }
        // Asked after the last byte: a checkpoint that began before it has said so by then.
        if self.is_overtaken() { Err(CopyError::Overtaken) } else { Ok(()) }
    }

    fn is_overtaken(&self) -> bool {
        self.hold.is_broken.load(Ordering::SeqCst)
    }
}

/// Makes a copy fit to lie around: without what is deleted on schedule, marked, checked, in one file.
fn settle(path: &Path) -> Result<(), CopyError> {
    let mut db = Connection::open(path).map_err(|error| super::connection::store_error(&error, path))?;
    db.set_secure_delete("ON")?;
    for shelf in [Shelf::Prekey, Shelf::Invite] {
        db.write("DELETE FROM record WHERE shelf = ?1", [shelf.number()])?;
    }
    set_mark(&mut db, FRESH)?;
    db.commit()?;
    let found = db.one("PRAGMA integrity_check(1)", [], |row| row.get::<_, String>(0))?;
    if let Some(detail) = found.filter(|found| found != "ok") {
        return Err(StoreError::Corrupt { detail: detail.replace('\n', " ") }.into());
    }
    recount::verify(&db, &Totals::load(&db)?)?;
    // One file: what is restored must not meet the log of another database.
    let left = db.sql()?.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()));
    left.map_err(|error| db.error(&error))?;
    Ok(())
}

fn set_mark(db: &mut Connection, value: i64) -> Result<(), StoreError> {
    db.write("INSERT OR REPLACE INTO mark (name, value) VALUES (?1, ?2)", (COPY_MARK, value))?;
    Ok(())
}

/// Removes a copy with what belongs to it.
pub fn remove_copy(path: &Path) {
    for left_over in [path.to_owned(), log_path(path), open::beside(path, "-journal")] {
        // What is not there is gone.
        let _ = std::fs::remove_file(left_over);
    }
}

/// Gives a copy that is opened for the first time a name of its own. Positions in its event log are given out
/// again from here, and are others than those that the store it was made of has given out since.
pub(super) fn take_name(db: &mut Connection) -> Result<(), StoreError> {
    let mark = db.one("SELECT value FROM mark WHERE name = ?1", [COPY_MARK], |row| row.get::<_, i64>(0))?;
    if mark != Some(FRESH) {
        return Ok(());
    }
    db.write("UPDATE meta SET store_id = randomblob(4)", [])?;
    set_mark(db, OPENED)?;
    db.commit()
}

impl SqliteStore {
    /// Has the database copied as it is after the commit to come.
    pub fn request_copy(&mut self) -> CopyRequest {
        self.db.request_copy()
    }

    /// Whether the store began as a copy and its node has not begun anew since.
    ///
    /// # Errors
    /// The disk failed.
    pub fn is_unsettled_copy(&self) -> Result<bool, StoreError> {
        Ok(self.mark(COPY_MARK)?.is_some_and(|mark| mark != SETTLED))
    }

    /// Notes that the node has begun anew.
    ///
    /// # Errors
    /// The disk failed.
    pub fn settle_copy(&mut self) -> Result<(), StoreError> {
        self.set_mark(COPY_MARK, SETTLED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_gives_way_when_the_log_gets_too_long_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let (path, copy) = (dir.path().join("db"), dir.path().join("copy"));
        let mut store = SqliteStore::open(&path, None).unwrap();
        let source = store.request_copy().take().unwrap();
        let copying = store.db.copying_mut();
        assert!(!copying.lets_checkpoint(LOG_BYTES_HELD_MAX - 1));
        assert!(copying.lets_checkpoint(LOG_BYTES_HELD_MAX));
        assert!(copying.lets_checkpoint(0), "from then on");
        assert_eq!(source.write_to(&copy), Err(CopyError::Overtaken));
        assert!(!copy.exists());
    }
}

//! The state directory: one daemon's, and nobody else's business.
//!
//! It is locked for the life of the process (`meshd.lock`, `flock`), so two daemons never share a store. Small
//! private files in it (identity, token) are opened relative to the open directory, never through a symbolic
//! link, and only believed if this user owns them and nobody else can read them (threats A-08, C-12). New
//! content appears by renaming a complete, synced file, so a power cut leaves the old or the new one.
//!
//! Which directory it is, is decided in [`crate::places`]; what the files mean, by their owners.

use std::fs::{DirBuilder, File, TryLockError};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FallocateFlags, Mode, OFlags};
use rustix::io::Errno;

/// The lock's name in the directory.
pub const LOCK_FILE: &str = "meshd.lock";
/// Only the owner reads and writes.
const PRIVATE: Mode = Mode::from_raw_mode(0o600);
/// What is discarded of a small file: a block of any size.
const DISCARD_BYTES: u64 = 64 * 1024;
/// Longest pid in the lock file.
const PID_BYTES_MAX: u64 = 20;

/// Why a state directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    /// It is not there and can't be made, or can't be written to.
    #[error("can't use the state directory {}: {why}; choose another with --state-dir, or make it this user's own", path.display())]
    Unusable {
        /// Which one.
        path: PathBuf,
        /// Why.
        why: std::io::Error,
    },
    /// Others could swap the files in it.
    #[error(
        "the state directory {} {problem}: others could replace its files; chown it to this user and chmod 700 it, or choose another with --state-dir",
        path.display()
    )]
    NotPrivate {
        /// Which one.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Another daemon has it.
    #[error(
        "another meshd{} uses the state directory {}; stop that one first, or start this one with its own --state-dir and --listen",
        pid.map_or(String::new(), |pid| format!(" (pid {pid})")),
        path.display()
    )]
    InUse {
        /// Which one.
        path: PathBuf,
        /// Whose it is.
        pid: Option<u32>,
    },
}

/// Why a private file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum PrivateFileError {
    /// The system said no.
    #[error("can't {action} {}: {why}", path.display())]
    Io {
        /// `read`, `write`, `remove` ...
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        why: std::io::Error,
    },
    /// Its content can't be believed.
    #[error("{} {problem}; {remedy}", path.display())]
    NotPrivate {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
        /// What to do.
        remedy: &'static str,
    },
}

/// An open, locked state directory.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    dir: OwnedFd,
    /// Held, never read: closing it gives the lock back.
    _lock: File,
}

impl StateDir {
    /// Opens the directory, makes it if it is not there (mode 0700), and locks it.
    ///
    /// # Errors
    /// [`StateDirError`], in words for the user.
    pub fn open(path: &Path) -> Result<Self, StateDirError> {
        let unusable = |why: std::io::Error| StateDirError::Unusable { path: path.to_owned(), why };
        if !path.exists() {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
            made.map_err(unusable)?;
        }
        check_owner(path)?;
        let path = path.canonicalize().map_err(unusable)?;
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(&path, flags, Mode::empty()).map_err(|e| unusable(e.into()))?;
        let lock = lock(&path, &dir)?;
        Ok(Self { path, dir, _lock: lock })
    }

    /// Its path, without symbolic links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is a file of that name.
    pub fn has(&self, name: &str) -> bool {
        rustix::fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Reads a private file of at most `bytes_max` bytes; `None` if there is none.
    ///
    /// # Errors
    /// [`PrivateFileError`] when it can't be read, or when others could have written or read it.
    pub fn read_private(&self, name: &str, bytes_max: u64) -> Result<Option<Vec<u8>>, PrivateFileError> {
        let failed = |e: std::io::Error| self.io("read", name, e);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut file = match rustix::fs::openat(&self.dir, name, flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => {
                return Err(self.not_private(name, "is a symbolic link", "put the file itself there"));
            }
            Err(e) => return Err(failed(e.into())),
        };
        let meta = file.metadata().map_err(failed)?;
        if !meta.is_file() {
            return Err(self.not_private(name, "is not a regular file", "move it away"));
        }
        if meta.uid() != rustix::process::geteuid().as_raw() {
            return Err(self.not_private(
                name,
                "belongs to another user",
                "chown it to the user meshd runs as",
            ));
        }
        if meta.mode() & 0o077 != 0 {
            let remedy = "if nobody else has seen it, chmod 600 it";
            return Err(self.not_private(name, "can be read or written by others", remedy));
        }
        let mut bytes = Vec::new();
        (&mut file).take(bytes_max + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > bytes_max {
            return Err(self.not_private(name, "is larger than such a file can be", "move it away"));
        }
        Ok(Some(bytes))
    }

    /// Puts a file of mode 0600 in place, complete and synced, over an older one of that name.
    ///
    /// # Errors
    /// [`PrivateFileError::Io`]; an older file is then untouched.
    pub fn write_private(&self, name: &str, bytes: &[u8]) -> Result<(), PrivateFileError> {
        self.replace(name, bytes, true).map_err(|e| self.io("write", name, e))
    }

    /// The same, and then overwrites what the older file held, where the file system writes in place.
    ///
    /// # Errors
    /// [`PrivateFileError::Io`]; the file is then the older or the new one.
    pub fn replace_secret(&self, name: &str, bytes: &[u8]) -> Result<(), PrivateFileError> {
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let older = match rustix::fs::openat(&self.dir, name, flags, Mode::empty()) {
            Ok(fd) => Some(File::from(fd)),
            Err(Errno::NOENT | Errno::LOOP) => None,
            Err(e) => return Err(self.io("write", name, e.into())),
        };
        self.write_private(name, bytes)?;
        older.map_or(Ok(()), |older| overwrite(&older, &[])).map_err(|e| self.io("write", name, e))
    }

    /// Overwrites a file where it lies, with `bytes` and then zeros, and syncs it. Needs no room on the disk.
    ///
    /// # Errors
    /// [`PrivateFileError::Io`].
    pub fn overwrite(&self, name: &str, bytes: &[u8]) -> Result<(), PrivateFileError> {
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(&self.dir, name, flags, Mode::empty());
        let file = opened.map_err(|e| self.io("overwrite", name, e.into()))?;
        overwrite(&File::from(file), bytes).map_err(|e| self.io("overwrite", name, e))
    }

    /// Tells the file system, and through it the disk, that a file's blocks are not needed, where they can be told.
    pub fn discard(&self, name: &str) {
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Ok(file) = rustix::fs::openat(&self.dir, name, flags, Mode::empty()) else { return };
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        if let Err(error) = rustix::fs::fallocate(&file, punch, 0, DISCARD_BYTES) {
            tracing::debug!(%error, "the file system can't discard blocks");
        }
    }

    /// Makes what was removed stay removed over a power cut.
    ///
    /// # Errors
    /// [`PrivateFileError::Io`].
    pub fn sync(&self) -> Result<(), PrivateFileError> {
        rustix::fs::fsync(&self.dir).map_err(|e| self.io("sync", ".", e.into()))
    }

    /// Renames a file, over another one if there is one, for good.
    ///
    /// # Errors
    /// [`PrivateFileError::Io`].
    pub fn rename(&self, from: &str, to: &str) -> Result<(), PrivateFileError> {
        rustix::fs::renameat(&self.dir, from, &self.dir, to)
            .map_err(|e| self.io("rename", from, e.into()))?;
        self.sync()
    }

    /// Puts a file in place that is written anew at each start: whole at all times, but not synced, since
    /// nothing is lost with it.
    ///
    /// # Errors
    /// [`PrivateFileError::Io`].
    pub fn write_passing(&self, name: &str, bytes: &[u8]) -> Result<(), PrivateFileError> {
        self.replace(name, bytes, false).map_err(|e| self.io("write", name, e))
    }

    /// Removes a file, if it is there.
    ///
    /// # Errors
    /// [`PrivateFileError::Io`].
    pub fn remove(&self, name: &str) -> Result<(), PrivateFileError> {
        match rustix::fs::unlinkat(&self.dir, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(self.io("remove", name, e.into())),
        }
    }

    fn replace(&self, name: &str, bytes: &[u8], sync: bool) -> std::io::Result<()> {
        let fresh = format!("{name}.new");
        // Left behind by a crash; the lock says that nobody is writing it now.
        match rustix::fs::unlinkat(&self.dir, &fresh, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(e) => return Err(e.into()),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::openat(&self.dir, &fresh, flags, PRIVATE)?);
        file.write_all(bytes)?;
        if sync {
            file.sync_all()?;
        }
        rustix::fs::renameat(&self.dir, &fresh, &self.dir, name)?;
        if sync {
            rustix::fs::fsync(&self.dir)?;
        }
        Ok(())
    }

    fn io(&self, action: &'static str, name: &str, why: std::io::Error) -> PrivateFileError {
        PrivateFileError::Io { action, path: self.path.join(name), why }
    }

    fn not_private(&self, name: &str, problem: &'static str, remedy: &'static str) -> PrivateFileError {
        PrivateFileError::NotPrivate { path: self.path.join(name), problem, remedy }
    }
}

/// Writes `bytes` over a file's content, then zeros to its end, and syncs.
fn overwrite(mut file: &File, bytes: &[u8]) -> std::io::Result<()> {
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    file.write_all(bytes)?;
    file.write_all(&vec![0; length.saturating_sub(bytes.len())])?;
    file.sync_all()
}

/// A directory that others may write to, or a link that others may turn, is no place for keys. systemd's
/// `DynamicUser=` makes a link owned by root, which is fine.
fn check_owner(path: &Path) -> Result<(), StateDirError> {
    let unusable = |why: std::io::Error| StateDirError::Unusable { path: path.to_owned(), why };
    let not_private = |problem| StateDirError::NotPrivate { path: path.to_owned(), problem };
    let me = rustix::process::geteuid().as_raw();
    let link = path.symlink_metadata().map_err(unusable)?;
    if link.is_symlink() && link.uid() != me && link.uid() != 0 {
        return Err(not_private("is another user's symbolic link"));
    }
    let dir = path.metadata().map_err(unusable)?;
    if !dir.is_dir() {
        return Err(unusable(std::io::Error::new(
            std::io::ErrorKind::NotADirectory,
            "it is not a directory",
        )));
    }
    if dir.uid() != me {
        return Err(not_private("belongs to another user"));
    }
    if dir.mode() & 0o022 != 0 {
        return Err(not_private("can be written by others"));
    }
    Ok(())
}

fn lock(path: &Path, dir: &OwnedFd) -> Result<File, StateDirError> {
    let unusable = |why: std::io::Error| StateDirError::Unusable { path: path.to_owned(), why };
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file =
        File::from(rustix::fs::openat(dir, LOCK_FILE, flags, PRIVATE).map_err(|e| unusable(e.into()))?);
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            // Who holds it is only a hint; the refusal stands without it.
            let _ = (&mut file).take(PID_BYTES_MAX).read_to_string(&mut text);
            return Err(StateDirError::InUse { path: path.to_owned(), pid: text.trim().parse().ok() });
        }
        Err(TryLockError::Error(e)) => return Err(unusable(e)),
    }
    // On a full disk the pid can't be noted; that is no reason not to start, since reading must still work.
    let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn open(path: &Path) -> StateDir {
        StateDir::open(path).expect("a directory of this user")
    }

    #[test]
    fn a08_a_new_directory_and_its_files_are_the_owners_alone() {
        let temp = tempfile::tempdir().unwrap();
        let state = open(&temp.path().join("a/b"));
        assert_eq!(state.path().metadata().unwrap().mode() & 0o777, 0o700);
        state.write_private("secret", b"x").unwrap();
        assert_eq!(state.path().join("secret").metadata().unwrap().mode() & 0o777, 0o600);
        assert_eq!(state.read_private("secret", 10).unwrap(), Some(b"x".to_vec()));
        assert_eq!(state.read_private("other", 10).unwrap(), None);
    }

    #[test]
    fn a_second_opening_is_refused_and_names_the_pid() {
        let temp = tempfile::tempdir().unwrap();
        let first = open(temp.path());
        let error = StateDir::open(temp.path()).expect_err("locked").to_string();
        assert!(error.contains(&format!("pid {}", std::process::id())), "{error}");
        drop(first);
        open(temp.path());
    }

    #[test]
    fn a08_a_directory_that_others_write_to_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("shared");
        std::fs::create_dir(&path).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o770)).unwrap();
        let error = StateDir::open(&path).expect_err("shared").to_string();
        assert!(error.contains("can be written by others") && error.contains("chmod 700"), "{error}");
    }

    #[test]
    fn a08_links_and_shared_files_are_not_read() {
        let temp = tempfile::tempdir().unwrap();
        let state = open(temp.path());
        std::fs::write(temp.path().join("elsewhere"), "planted").unwrap();
        symlink(temp.path().join("elsewhere"), temp.path().join("link")).unwrap();
        let error = state.read_private("link", 10).expect_err("a link").to_string();
        assert!(error.contains("symbolic link"), "{error}");
        state.write_private("mine", b"1").unwrap();
        std::fs::set_permissions(temp.path().join("mine"), PermissionsExt::from_mode(0o640)).unwrap();
        let error = state.read_private("mine", 10).expect_err("shared").to_string();
        assert!(error.contains("read or written by others"), "{error}");
        std::fs::create_dir(temp.path().join("dir")).unwrap();
        assert!(state.read_private("dir", 10).is_err());
    }

    #[test]
    fn a08_writing_replaces_a_planted_link_and_not_what_it_points_to() {
        let temp = tempfile::tempdir().unwrap();
        let state = open(temp.path());
        let victim = temp.path().join("victim");
        std::fs::write(&victim, "kept").unwrap();
        for name in ["token", "token.new"] {
            symlink(&victim, temp.path().join(name)).unwrap();
        }
        state.write_private("token", b"fresh").unwrap();
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "kept");
        assert_eq!(state.read_private("token", 10).unwrap(), Some(b"fresh".to_vec()));
    }

    #[test]
    fn an_oversized_file_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let state = open(temp.path());
        state.write_private("big", &[0; 11]).unwrap();
        assert!(state.read_private("big", 10).is_err());
        assert!(state.read_private("big", 11).is_ok());
    }
}

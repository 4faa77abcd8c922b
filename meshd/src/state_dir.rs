//! The state directory: one daemon's, and nobody else's business.
//!
//! It is locked for the life of the process (`meshd.lock`, `flock`), so two daemons never share a store. Small
//! private files in it (identity, token) are opened relative to the open directory, never through a symbolic
//! link, and only believed if this user owns them and nobody else can read them (threats A-08, C-12). New
//! content appears by renaming a complete, synced file, so a power cut leaves the old or the new one.
//!
//! Which directory it is, is decided in [`crate::places`]; what the files mean, by their owners.

#[cfg(unix)]
#[path = "state_dir/unix.rs"]
mod system;
#[cfg(windows)]
#[path = "state_dir/windows.rs"]
mod system;

use std::fs::{File, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use system::Dir;

/// The lock's name in the directory.
pub const LOCK_FILE: &str = "meshd.lock";
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
        "the state directory {} {problem}: others could replace its files; {}",
        path.display(),
        if cfg!(unix) {
            "chown it to this user and chmod 700 it, or choose another with --state-dir"
        } else {
            "choose another with --state-dir"
        }
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
    dir: Dir,
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
            Dir::make(path).map_err(unusable)?;
        }
        check_owner(path)?;
        let path = path.canonicalize().map_err(unusable)?;
        let dir = Dir::open(&path).map_err(unusable)?;
        let lock = lock(&path, &dir)?;
        Ok(Self { path, dir, _lock: lock })
    }

    /// Its path, without symbolic links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is a file of that name.
    pub fn has(&self, name: &str) -> bool {
        self.dir.has(name)
    }

    /// Reads a private file of at most `bytes_max` bytes; `None` if there is none.
    ///
    /// # Errors
    /// [`PrivateFileError`] when it can't be read, or when others could have written or read it.
    pub fn read_private(&self, name: &str, bytes_max: u64) -> Result<Option<Vec<u8>>, PrivateFileError> {
        let failed = |e: std::io::Error| self.io("read", name, e);
        let mut file = match self.dir.to_read(name).map_err(failed)? {
            Found::File(file) => file,
            Found::Nothing => return Ok(None),
            Found::Link => {
                return Err(self.not_private(name, "is a symbolic link", "put the file itself there"));
            }
        };
        let meta = file.metadata().map_err(failed)?;
        if !meta.is_file() {
            return Err(self.not_private(name, "is not a regular file", "move it away"));
        }
        if let Some((problem, remedy)) = system::problem_of_file(&meta) {
            return Err(self.not_private(name, problem, remedy));
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
        let older = match self.dir.to_write(name).map_err(|e| self.io("write", name, e))? {
            Found::File(file) => Some(file),
            Found::Nothing | Found::Link => None,
        };
        self.write_private(name, bytes)?;
        older.map_or(Ok(()), |older| overwrite(&older, &[])).map_err(|e| self.io("write", name, e))
    }

    /// Overwrites a file where it lies, with `bytes` and then zeros, and syncs it. Needs no room on the disk.
    ///
    /// # Errors
    /// [`PrivateFileError::Io`].
    pub fn overwrite(&self, name: &str, bytes: &[u8]) -> Result<(), PrivateFileError> {
        let failed = |e: std::io::Error| self.io("overwrite", name, e);
        match self.dir.to_write(name).map_err(failed)? {
            Found::File(file) => overwrite(&file, bytes).map_err(failed),
            Found::Nothing => Err(failed(std::io::ErrorKind::NotFound.into())),
            Found::Link => Err(failed(std::io::Error::other("it is a symbolic link"))),
        }
    }

    /// Tells the file system, and through it the disk, that a file's blocks are not needed, where they can be told.
    pub fn discard(&self, name: &str) {
        let Ok(Found::File(file)) = self.dir.to_write(name) else { return };
        if let Err(error) = system::discard(&file) {
            tracing::debug!(%error, "the file system can't discard blocks");
        }
    }

    /// Makes what was removed stay removed over a power cut.
    ///
    /// # Errors
    /// [`PrivateFileError::Io`].
    pub fn sync(&self) -> Result<(), PrivateFileError> {
        self.dir.sync().map_err(|e| self.io("sync", ".", e))
    }

    /// Renames a file, over another one if there is one, for good.
    ///
    /// # Errors
    /// [`PrivateFileError::Io`].
    pub fn rename(&self, from: &str, to: &str) -> Result<(), PrivateFileError> {
        self.dir.rename(from, to).map_err(|e| self.io("rename", from, e))?;
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
        self.dir.remove(name).map_err(|e| self.io("remove", name, e))
    }

    fn replace(&self, name: &str, bytes: &[u8], sync: bool) -> std::io::Result<()> {
        let fresh = format!("{name}.new");
        // Left behind by a crash; the lock says that nobody is writing it now.
        self.dir.remove(&fresh)?;
        let mut file = self.dir.create(&fresh)?;
        file.write_all(bytes)?;
        if sync {
            file.sync_all()?;
        }
        self.dir.rename(&fresh, name)?;
        if sync {
            self.dir.sync()?;
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

/// What there is of a name.
enum Found {
    File(File),
    Nothing,
    /// It is a symbolic link, which is not followed.
    Link,
}

/// What is wrong with a file, and what to do.
type Problem = (&'static str, &'static str);

/// Writes `bytes` over a file's content, then zeros to its end, and syncs.
fn overwrite(mut file: &File, bytes: &[u8]) -> std::io::Result<()> {
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    file.write_all(bytes)?;
    file.write_all(&vec![0; length.saturating_sub(bytes.len())])?;
    file.sync_all()
}

fn check_owner(path: &Path) -> Result<(), StateDirError> {
    let unusable = |why: std::io::Error| StateDirError::Unusable { path: path.to_owned(), why };
    if !path.metadata().map_err(unusable)?.is_dir() {
        return Err(unusable(std::io::Error::new(
            std::io::ErrorKind::NotADirectory,
            "it is not a directory",
        )));
    }
    match system::problem_of_dir(path).map_err(unusable)? {
        Some(problem) => Err(StateDirError::NotPrivate { path: path.to_owned(), problem }),
        None => Ok(()),
    }
}

fn lock(path: &Path, dir: &Dir) -> Result<File, StateDirError> {
    let unusable = |why: std::io::Error| StateDirError::Unusable { path: path.to_owned(), why };
    let mut file = dir.open_or_create(LOCK_FILE).map_err(unusable)?;
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

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

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

//! A directory of Windows.
//!
//! Who may read a file there is in lists that can't be read without unsafe code of ours. What is below a user's profile
//! is by Windows' own rule that user's, the administrators' and the system's, so nothing else is accepted. Files are
//! opened by path: whoever could turn a part of it could as well turn the profile.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{Found, Problem};

/// Opens a link itself and not what it points to (`FILE_FLAG_OPEN_REPARSE_POINT`).
const NO_FOLLOW: u32 = 0x0020_0000;

/// See the module's text.
#[derive(Debug)]
pub(super) struct Dir(PathBuf);

impl Dir {
    /// Makes a directory, and those above it. It has its parent's rights.
    pub(super) fn make(path: &Path) -> io::Result<()> {
        std::fs::create_dir_all(path)
    }

    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(path.to_owned()))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.join(name).symlink_metadata().is_ok()
    }

    pub(super) fn to_read(&self, name: &str) -> io::Result<Found> {
        self.find(name, OpenOptions::new().read(true))
    }

    pub(super) fn to_write(&self, name: &str) -> io::Result<Found> {
        self.find(name, OpenOptions::new().write(true))
    }

    fn find(&self, name: &str, options: &mut OpenOptions) -> io::Result<Found> {
        match options.custom_flags(NO_FOLLOW).open(self.0.join(name)) {
            Ok(file) if file.metadata()?.is_symlink() => Ok(Found::Link),
            Ok(file) => Ok(Found::File(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Nothing),
            Err(error) => Err(error),
        }
    }

    /// Makes a file that is not there.
    pub(super) fn create(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).custom_flags(NO_FOLLOW).open(self.0.join(name))
    }

    /// Opens a file to read and write; makes it if it is not there.
    pub(super) fn open_or_create(&self, name: &str) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).custom_flags(NO_FOLLOW);
        let file = options.open(self.0.join(name))?;
        if file.metadata()?.is_symlink() {
            return Err(io::Error::other("it is a symbolic link"));
        }
        Ok(file)
    }

    /// Renames a file, over another one if there is one, and writes the new name down.
    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.0.join(from), self.0.join(to))?;
        OpenOptions::new().write(true).open(self.0.join(to))?.sync_all()
    }

    /// Removes a file, if it is there.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        match std::fs::remove_file(self.0.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Windows lets no program sync a directory; [`Dir::rename`] syncs what it renames, and the file system's journal keeps
    /// the order of all else.
    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// What is wrong with a file: nothing that its directory does not say.
pub(super) fn problem_of_file(_: &Metadata) -> Option<Problem> {
    None
}

/// See the module's text.
pub(super) fn problem_of_dir(path: &Path) -> io::Result<Option<&'static str>> {
    let profile = std::env::var_os("USERPROFILE").map(PathBuf::from).filter(|profile| profile.is_absolute());
    let Some(profile) = profile else { return Ok(Some("is of nobody's profile: USERPROFILE is not set")) };
    let is_below = path.canonicalize()?.starts_with(profile.canonicalize()?);
    Ok((!is_below).then_some("is not below this user's profile, where Windows keeps others out"))
}

/// Tells the file system that a file's blocks are not needed: it can't be told.
pub(super) fn discard(_: &File) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

//! An open directory of a Unix: files in it are opened relative to it, never through a symbolic link.

use std::fs::{DirBuilder, File, Metadata};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::{Found, Problem};

/// Only the owner reads and writes.
const PRIVATE: Mode = Mode::from_raw_mode(0o600);

/// See the module's text.
#[derive(Debug)]
pub(super) struct Dir(OwnedFd);

impl Dir {
    /// Makes a directory that only this user enters, and those above it.
    pub(super) fn make(path: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)
    }

    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::open(path, flags, Mode::empty())?))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    pub(super) fn to_read(&self, name: &str) -> io::Result<Found> {
        self.find(name, OFlags::RDONLY)
    }

    pub(super) fn to_write(&self, name: &str) -> io::Result<Found> {
        self.find(name, OFlags::WRONLY)
    }

    fn find(&self, name: &str, access: OFlags) -> io::Result<Found> {
        let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.0, name, flags, Mode::empty()) {
            Ok(fd) => Ok(Found::File(fd.into())),
            Err(Errno::NOENT) => Ok(Found::Nothing),
            Err(Errno::LOOP) => Ok(Found::Link),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a private file that is not there.
    pub(super) fn create(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.0, name, flags, PRIVATE)?.into())
    }

    /// Opens a private file to read and write; makes it if it is not there.
    pub(super) fn open_or_create(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&self.0, name, flags, PRIVATE)?.into())
    }

    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.0, from, &self.0, to)?)
    }

    /// Removes a file, if it is there.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.0, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes what was renamed or removed stay so over a power cut.
    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.0)?)
    }
}

/// What is wrong with a file that nobody else may have written or read.
pub(super) fn problem_of_file(file: &Metadata) -> Option<Problem> {
    if file.uid() != rustix::process::geteuid().as_raw() {
        return Some(("belongs to another user", "chown it to the user meshd runs as"));
    }
    let is_open = file.mode() & 0o077 != 0;
    is_open.then_some(("can be read or written by others", "if nobody else has seen it, chmod 600 it"))
}

/// A directory that others may write to, or a link that others may turn, is no place for keys. systemd's
/// `DynamicUser=` makes a link owned by root, which is fine.
pub(super) fn problem_of_dir(path: &Path) -> io::Result<Option<&'static str>> {
    let me = rustix::process::geteuid().as_raw();
    let link = path.symlink_metadata()?;
    if link.is_symlink() && link.uid() != me && link.uid() != 0 {
        return Ok(Some("is another user's symbolic link"));
    }
    let dir = path.metadata()?;
    Ok(if dir.uid() != me {
        Some("belongs to another user")
    } else if dir.mode() & 0o022 != 0 {
        Some("can be written by others")
    } else {
        None
    })
}

/// Tells the file system that a small file's blocks are not needed.
#[cfg(target_os = "linux")]
pub(super) fn discard(file: &File) -> io::Result<()> {
    use rustix::fs::FallocateFlags;
    /// A block of any size.
    const BYTES: u64 = 64 * 1024;
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    Ok(rustix::fs::fallocate(file, flags, 0, BYTES)?)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn discard(_: &File) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

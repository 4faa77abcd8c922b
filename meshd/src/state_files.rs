//! Every file this program makes in its state directory, and how all of them go in a wipe.
//!
//! A wipe destroys the keys first: `master-key` is overwritten where it lies, which needs no room and makes
//! everything sealed with it unreadable, and what is written there says that a wipe has begun. Then the rest goes, and
//! that file last of all. So a wipe that was interrupted, by a power cut too, goes on at the next start, whatever
//! was left (threat K-05). A test holds the list complete: it runs a daemon and compares.

use std::path::Path;

use crate::identity_file::{IDENTITY_FILE, RESTORED_IDENTITY_FILE};
use crate::listen::{ADDRESS_FILE, TOKEN_FILE};
use crate::places::SOCKET_FILE;
use crate::state_dir::{LOCK_FILE, PrivateFileError, StateDir};
use crate::vault::MASTER_KEY_FILE;

/// The database's name in the state directory.
pub const DATABASE: &str = "meshd.db";
/// What a backup of it is called there while it is made.
pub const COPY: &str = "meshd.db-copy";

/// What stands in the master key's place once a wipe has begun. Shorter than any key file.
const WIPED: &[u8] = b"meshlink-wiped-1\n";
/// More than a file of the master key has.
const HEAD_BYTES_MAX: u64 = 4096;

/// A file of the state directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateFile {
    /// Its name, or how its name begins.
    pub name: &'static str,
    /// What is in it.
    pub holds: &'static str,
}

/// The files, in the order in which a wipe removes them. Each may also be there as `NAME.new`, half written. The
/// master key's comes last, and is not in the list.
pub const STATE_FILES: &[StateFile] = &[
    StateFile { name: IDENTITY_FILE, holds: "the node's keys, sealed" },
    StateFile {
        name: RESTORED_IDENTITY_FILE,
        holds: "keys from a backup, sealed, before they are the node's",
    },
    StateFile { name: TOKEN_FILE, holds: "the API's token" },
    StateFile { name: ADDRESS_FILE, holds: "where the API answers" },
    StateFile { name: DATABASE, holds: "what the node keeps" },
    StateFile { name: "meshd.db-wal", holds: "what the node keeps: the newest of it" },
    StateFile { name: "meshd.db-journal", holds: "what the node keeps, while a new database is made" },
    StateFile { name: "meshd.db-new", holds: "a database that is being made" },
    StateFile { name: "meshd.db-new-wal", holds: "its log" },
    StateFile { name: "meshd.db-new-journal", holds: "its journal" },
    StateFile { name: COPY, holds: "a backup of the database that is being made" },
    StateFile { name: "meshd.db-copy-wal", holds: "its log" },
    StateFile { name: "meshd.db-copy-journal", holds: "its journal" },
    StateFile { name: "meshd.db-room", holds: "zeros, to see whether the disk has room" },
    StateFile { name: SOCKET_FILE, holds: "nothing: the API's socket, where there is no runtime directory" },
    StateFile { name: LOCK_FILE, holds: "the process id of the daemon" },
];

/// Whether a file of the state directory is one of this program's.
pub fn is_known(name: &str) -> bool {
    let name = name.strip_suffix(".new").unwrap_or(name);
    name == MASTER_KEY_FILE || STATE_FILES.iter().any(|file| file.name == name)
}

/// Overwrites the keys, the one that opens everything first, and leaves the mark of a wipe in its place.
///
/// # Errors
/// The file can't be written.
pub fn destroy_keys(state: &StateDir) -> Result<(), PrivateFileError> {
    if state.has(MASTER_KEY_FILE) {
        state.overwrite(MASTER_KEY_FILE, WIPED)?;
    } else {
        state.write_private(MASTER_KEY_FILE, WIPED)?;
    }
    for name in [IDENTITY_FILE, RESTORED_IDENTITY_FILE] {
        // Sealed with what is gone.
        let overwritten = if state.has(name) { state.overwrite(name, b"") } else { Ok(()) };
        if let Err(error) = overwritten {
            tracing::warn!(%error, "a sealed key file was not overwritten; without the master key it opens no more");
        }
    }
    Ok(())
}

/// Whether a wipe has begun here.
///
/// # Errors
/// The file can't be read.
pub fn is_wiped(state: &StateDir) -> Result<bool, PrivateFileError> {
    Ok(state.read_private(MASTER_KEY_FILE, HEAD_BYTES_MAX)?.is_some_and(|text| text.starts_with(WIPED)))
}

/// Removes what a wipe has left, and its mark last. The lock stays as long as somebody holds it.
///
/// # Errors
/// A file can't be removed; what is left can't be read, and the next start goes on.
pub fn finish_wipe(state: &StateDir) -> Result<(), PrivateFileError> {
    for name in STATE_FILES.iter().map(|file| file.name).filter(|name| *name != LOCK_FILE) {
        state.remove(name)?;
        state.remove(&format!("{name}.new"))?;
    }
    state.sync()?;
    state.discard(MASTER_KEY_FILE);
    state.remove(MASTER_KEY_FILE)?;
    state.remove(&format!("{MASTER_KEY_FILE}.new"))?;
    state.sync()
}

/// Files of the directory that are not this program's: a wipe leaves them, and says so.
pub fn strangers(path: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| !is_known(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> (tempfile::TempDir, StateDir) {
        let temp = tempfile::tempdir().unwrap();
        let state = StateDir::open(temp.path()).unwrap();
        (temp, state)
    }

    fn fill(state: &StateDir) {
        state.write_private(MASTER_KEY_FILE, &[b'k'; 200]).unwrap();
        for file in STATE_FILES.iter().filter(|file| file.name != LOCK_FILE) {
            state.write_private(file.name, b"canary").unwrap();
            state.write_private(&format!("{}.new", file.name), b"canary").unwrap();
        }
    }

    fn names(temp: &tempfile::TempDir) -> Vec<String> {
        let entries = std::fs::read_dir(temp.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn k05_a_wipe_begins_with_the_key_and_leaves_nothing_but_strangers_files() {
        let (temp, state) = state();
        fill(&state);
        std::fs::write(temp.path().join("letters.txt"), "not ours").unwrap();
        destroy_keys(&state).unwrap();
        assert!(is_wiped(&state).unwrap());
        assert_eq!(std::fs::read(temp.path().join(MASTER_KEY_FILE)).unwrap()[17..], [0; 183]);
        finish_wipe(&state).unwrap();
        let mut left = names(&temp);
        left.sort();
        assert_eq!(left, ["letters.txt", LOCK_FILE]);
        assert_eq!(strangers(temp.path()), ["letters.txt"]);
    }

    #[test]
    fn k05_a_wipe_interrupted_after_any_file_goes_on() {
        for removed in 0..STATE_FILES.len() {
            let (temp, state) = state();
            fill(&state);
            destroy_keys(&state).unwrap();
            for file in &STATE_FILES[..removed] {
                if file.name != LOCK_FILE {
                    state.remove(file.name).unwrap();
                }
            }
            drop(state);
            let state = StateDir::open(temp.path()).unwrap();
            assert!(is_wiped(&state).unwrap());
            finish_wipe(&state).unwrap();
            assert!(!is_wiped(&state).unwrap());
            assert_eq!(names(&temp), [LOCK_FILE]);
        }
    }

    #[test]
    fn a_directory_with_a_key_is_not_taken_for_wiped() {
        let (_temp, state) = state();
        assert!(!is_wiped(&state).unwrap());
        fill(&state);
        assert!(!is_wiped(&state).unwrap());
    }
}

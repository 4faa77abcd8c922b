//! The keys of one state directory: opened, locked, given another passphrase, destroyed.
//!
//! It never keeps the master key. Whoever changes the passphrase shows the old one, so that a daemon which is
//! unlocked and in somebody else's hands is not also theirs tomorrow.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use meshlink_core::Identity;

use super::master_key::{self, MASTER_KEY_FILE, MasterKey, MasterKeyError, MasterKeyFile};
use super::passphrase::{Passphrase, PassphraseError};
use super::record_keys::RecordKeys;
use super::tries::Tries;
use crate::identity_file::{self, IdentityError, system_entropy};
use crate::state_dir::{PrivateFileError, StateDir};
use crate::state_files;

/// What the keys open: who the node is, and what is private in its store.
#[derive(Debug)]
pub struct Unlocked {
    /// The node's own keys.
    pub identity: Identity,
    /// The keys of the store.
    pub keys: RecordKeys,
    /// Keys from a backup: they are the node's if the store says so.
    pub restored: Option<Identity>,
}

/// Why something can't be done with the keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The master key can't be had.
    #[error(transparent)]
    Master(#[from] MasterKeyError),
    /// The identity can't be had.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A file can't be read or written.
    #[error(transparent)]
    File(#[from] PrivateFileError),
    /// The passphrase can't be used.
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
    /// It is not the passphrase.
    #[error("that is not the passphrase")]
    Wrong,
    /// There were too many wrong ones.
    #[error("too many wrong passphrases: the next one can be tried in {wait_s} s")]
    TooSoon {
        /// How long to wait, in seconds.
        wait_s: u64,
    },
    /// There is one, and it was not given.
    #[error("the node has a passphrase; give it as the current one")]
    CurrentNeeded,
    /// There is none.
    #[error("the node has no passphrase")]
    None,
    /// Everything was wiped.
    #[error("the keys were destroyed")]
    Wiped,
}

/// See the module's text.
#[derive(Debug)]
pub struct Keyring {
    state: Arc<StateDir>,
    database: &'static str,
    has_passphrase: AtomicBool,
    is_wiped: AtomicBool,
    /// One at a time: each try of a passphrase takes 64 MiB.
    turn: Mutex<Tries>,
    /// Held for the moment in which the master key's file is written: whoever destroys the keys waits for nothing
    /// longer, and nobody puts them back afterwards.
    writing: Mutex<()>,
}

impl Keyring {
    /// Opens the keys of a state directory, or makes them if it is a new one; with `given`, new keys have that
    /// passphrase from the beginning. `None` beside it: they are locked.
    ///
    /// # Errors
    /// [`KeyringError`]. A passphrase that is wrong is no error: it is logged, and the keys are locked.
    pub fn open(
        state: Arc<StateDir>,
        database: &'static str,
        given: Option<&Passphrase>,
    ) -> Result<(Self, Option<Unlocked>), KeyringError> {
        let is_sealed = identity_file::is_sealed(&state)?;
        // Keys in the clear, of an older version, are to be sealed as they are.
        let born = given.filter(|_| !identity_file::is_there(&state));
        let file = master_key::load_or_make(&state, is_sealed, born, &system_entropy)?;
        let keyring = Self {
            state,
            database,
            has_passphrase: AtomicBool::new(matches!(file, MasterKeyFile::Wrapped(_))),
            is_wiped: AtomicBool::new(false),
            turn: Mutex::default(),
            writing: Mutex::default(),
        };
        let master = match (file, given) {
            (MasterKeyFile::Open(master), None) => Some(master),
            (MasterKeyFile::Open(master), Some(_)) => {
                tracing::warn!(
                    "a passphrase was given, but the node has none: set it with `meshctl passphrase set`"
                );
                Some(master)
            }
            (MasterKeyFile::Wrapped(_), None) => None,
            (MasterKeyFile::Wrapped(wrapped), Some(passphrase)) => {
                let master = wrapped.open(passphrase)?;
                if master.is_none() {
                    tracing::error!("the passphrase that was given is not the node's: it stays locked");
                }
                master
            }
        };
        let unlocked = master.map(|master| keyring.with(&master)).transpose()?;
        Ok((keyring, unlocked))
    }

    /// Whether a passphrase is needed to open them.
    pub fn has_passphrase(&self) -> bool {
        self.has_passphrase.load(Ordering::Relaxed)
    }

    /// Opens the keys. Takes as long as the passphrase costs: some hundred milliseconds and 64 MiB.
    ///
    /// # Errors
    /// [`KeyringError::Wrong`], [`KeyringError::None`] and others.
    pub fn unlock(&self, passphrase: &Passphrase) -> Result<Unlocked, KeyringError> {
        let mut tries = self.turn()?;
        if !self.has_passphrase() {
            return Err(KeyringError::None);
        }
        let master = self.master(Some(passphrase), &mut tries)?;
        self.with(&master)
    }

    /// Replaces the passphrase: with `None` for `new` there is none from then on.
    ///
    /// # Errors
    /// [`KeyringError::Wrong`], [`KeyringError::CurrentNeeded`] and others; the old one then holds.
    pub fn change(&self, current: Option<&Passphrase>, new: Option<&Passphrase>) -> Result<(), KeyringError> {
        let mut tries = self.turn()?;
        let master = self.master(current, &mut tries)?;
        let line = match new {
            Some(new) => master_key::wrapped_line(&master, new, &system_entropy)?,
            None => master_key::open_line(&master),
        };
        let _writing = self.writing();
        if self.is_wiped.load(Ordering::Relaxed) {
            return Err(KeyringError::Wiped);
        }
        self.state.replace_secret(MASTER_KEY_FILE, line.as_bytes())?;
        self.has_passphrase.store(new.is_some(), Ordering::Relaxed);
        Ok(())
    }

    /// Puts keys from a backup beside the node's own, sealed like those.
    ///
    /// # Errors
    /// As for [`Keyring::change`].
    pub fn put_restored(
        &self,
        identity: &Identity,
        current: Option<&Passphrase>,
    ) -> Result<(), KeyringError> {
        let mut tries = self.turn()?;
        let master = self.master(current, &mut tries)?;
        Ok(identity_file::put_restored(&self.state, identity, &master)?)
    }

    /// Makes the keys from a backup the node's own, or removes them.
    ///
    /// # Errors
    /// [`KeyringError::File`]; the next start settles it.
    pub fn settle_restored(&self, are_adopted: bool) -> Result<(), KeyringError> {
        Ok(identity_file::settle_restored(&self.state, are_adopted)?)
    }

    /// Destroys the keys: nothing that was sealed with them opens ever again. Needs no room on the disk, waits for no
    /// passphrase that is being tried, and leaves a mark that lets the next start do the rest.
    ///
    /// # Errors
    /// The file can't be written; the keys are then still there.
    pub fn destroy(&self) -> Result<(), KeyringError> {
        let _writing = self.writing();
        state_files::destroy_keys(&self.state)?;
        self.is_wiped.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn turn(&self) -> Result<MutexGuard<'_, Tries>, KeyringError> {
        let turn = self.turn.lock().expect("nothing panics while it holds this lock");
        if self.is_wiped.load(Ordering::Relaxed) { Err(KeyringError::Wiped) } else { Ok(turn) }
    }

    fn writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().expect("nothing panics while it holds this lock")
    }

    fn master(&self, passphrase: Option<&Passphrase>, tries: &mut Tries) -> Result<MasterKey, KeyringError> {
        match (master_key::load(&self.state)?.ok_or(KeyringError::Wiped)?, passphrase) {
            (MasterKeyFile::Open(master), _) => Ok(master),
            (MasterKeyFile::Wrapped(_), None) => Err(KeyringError::CurrentNeeded),
            (MasterKeyFile::Wrapped(wrapped), Some(passphrase)) => {
                let wait = tries.wait(Instant::now());
                if !wait.is_zero() {
                    return Err(KeyringError::TooSoon { wait_s: wait.as_secs() + 1 });
                }
                let master = wrapped.open(passphrase)?;
                tries.note(master.is_some(), Instant::now());
                master.ok_or(KeyringError::Wrong)
            }
        }
    }

    fn with(&self, master: &MasterKey) -> Result<Unlocked, KeyringError> {
        let identity = identity_file::load_or_make(&self.state, self.database, master, &system_entropy)?;
        let restored = identity_file::restored(&self.state, master)?;
        Ok(Unlocked { identity, keys: master.record_keys(), restored })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> (tempfile::TempDir, Arc<StateDir>) {
        let temp = tempfile::tempdir().unwrap();
        let state = StateDir::open(temp.path()).unwrap();
        (temp, Arc::new(state))
    }

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::parse(text).unwrap()
    }

    #[test]
    fn a_passphrase_is_set_changed_and_removed_and_the_keys_stay() {
        let (_temp, state) = state();
        let (keyring, unlocked) = Keyring::open(state, "db", None).unwrap();
        let id = unlocked.expect("a new one is open").identity.node_id();
        assert!(matches!(keyring.unlock(&passphrase("first one")), Err(KeyringError::None)));
        keyring.change(None, Some(&passphrase("first one"))).unwrap();
        assert!(keyring.has_passphrase());
        assert_eq!(keyring.unlock(&passphrase("first one")).unwrap().identity.node_id(), id);
        assert!(matches!(keyring.unlock(&passphrase("other one")), Err(KeyringError::Wrong)));
        let second = passphrase("second one");
        assert!(matches!(keyring.change(None, Some(&second)), Err(KeyringError::CurrentNeeded)));
        assert!(matches!(keyring.change(Some(&second), Some(&second)), Err(KeyringError::Wrong)));
        keyring.change(Some(&passphrase("first one")), Some(&second)).unwrap();
        assert!(matches!(keyring.unlock(&passphrase("first one")), Err(KeyringError::Wrong)));
        assert_eq!(keyring.unlock(&second).unwrap().identity.node_id(), id);
        keyring.change(Some(&second), None).unwrap();
        assert!(!keyring.has_passphrase());
    }

    #[test]
    fn keys_are_locked_at_the_next_start_unless_the_passphrase_is_given() {
        let (_temp, state) = state();
        let word = passphrase("born with it");
        let (_, unlocked) = Keyring::open(Arc::clone(&state), "db", Some(&word)).unwrap();
        let id = unlocked.expect("opened with what it was made with").identity.node_id();
        let (keyring, locked) = Keyring::open(Arc::clone(&state), "db", None).unwrap();
        assert!(locked.is_none() && keyring.has_passphrase());
        let (_, wrong) = Keyring::open(Arc::clone(&state), "db", Some(&passphrase("other word"))).unwrap();
        assert!(wrong.is_none());
        let (_, right) = Keyring::open(state, "db", Some(&word)).unwrap();
        assert_eq!(right.expect("opened").identity.node_id(), id);
    }

    #[test]
    fn k05_destroyed_keys_are_gone_from_the_file_and_for_good() {
        let (temp, state) = state();
        let (keyring, _) = Keyring::open(Arc::clone(&state), "db", None).unwrap();
        let before = std::fs::read(temp.path().join(MASTER_KEY_FILE)).unwrap();
        let witness = temp.path().join("witness");
        std::fs::hard_link(temp.path().join(MASTER_KEY_FILE), &witness).unwrap();
        keyring.destroy().unwrap();
        let after = std::fs::read(&witness).unwrap();
        assert_eq!(after.len(), before.len(), "in place, so that no block is left behind");
        assert!(!after.windows(16).any(|part| before.windows(16).any(|was| was == part && part != [0; 16])));
        assert!(matches!(keyring.unlock(&passphrase("whatever it is")), Err(KeyringError::Wiped)));
        assert!(matches!(keyring.change(None, None), Err(KeyringError::Wiped)));
    }

    #[test]
    fn k05_a_passphrase_that_is_being_set_does_not_bring_destroyed_keys_back() {
        let (temp, state) = state();
        let (keyring, _) = Keyring::open(state, "db", None).unwrap();
        std::thread::scope(|scope| {
            let slow = scope.spawn(|| keyring.change(None, Some(&passphrase("takes a while"))));
            // Whichever comes first: the file is the mark of a wipe in the end.
            keyring.destroy().unwrap();
            let _ = slow.join().unwrap();
        });
        let left = std::fs::read(temp.path().join(MASTER_KEY_FILE)).unwrap();
        assert!(left.starts_with(b"meshlink-wiped"), "{:?}", String::from_utf8_lossy(&left));
    }

    #[test]
    fn wrong_passphrases_in_a_row_make_the_next_one_wait_and_it_is_not_even_tried() {
        let (_temp, state) = state();
        let word = passphrase("the right one");
        let (keyring, _) = Keyring::open(state, "db", Some(&word)).unwrap();
        for _ in 0..3 {
            assert!(matches!(keyring.unlock(&passphrase("a wrong one")), Err(KeyringError::Wrong)));
        }
        assert!(matches!(keyring.unlock(&word), Err(KeyringError::TooSoon { wait_s: 1..=2 })));
        assert!(matches!(keyring.change(Some(&word), None), Err(KeyringError::TooSoon { .. })));
    }
}

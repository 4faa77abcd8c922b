//! The key all others come from, and the file it lies in.
//!
//! ```text
//! meshlink-master-key-1 open <32 bytes, hex> <first 8 bytes of the BLAKE3 hash of what is before, hex>
//! ```
//!
//! A file of its own, smaller than a sector: what has to be destroyed to destroy everything is in one place. It is
//! made once, before the first key or record is sealed with it, and never again: one that is gone or damaged stops
//! the daemon (threat C-12), since with a new one nothing sealed before would open.

use std::fmt;
use std::path::PathBuf;

use chacha20poly1305::{Key, KeyInit, XChaCha20Poly1305};
use data_encoding::HEXLOWER;
use zeroize::Zeroizing;

use super::record_keys::{self, RecordKeys, SealError};
use crate::identity_file::Entropy;
use crate::state_dir::{PrivateFileError, StateDir};

/// Its name in the state directory.
pub const MASTER_KEY_FILE: &str = "master-key";

const LABEL: &str = "meshlink-master-key-1";
const CHECK_BYTES: usize = 8;
/// Longest file of any form.
const FILE_BYTES_MAX: u64 = 512;

const IDENTITY_CONTEXT: &str = "MeshLink v1 at rest: identity";
const RECORD_CONTEXT: &str = "MeshLink v1 at rest: records";
const TAG_CONTEXT: &str = "MeshLink v1 at rest: tags";

/// Why there is no master key.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    /// The file can't be read or written, or others can.
    #[error(transparent)]
    File(#[from] PrivateFileError),
    /// Its content is not what was written there.
    #[error(
        "the key file {} is damaged ({problem}); restore it from a copy. It is never made anew, since nothing that was sealed with it would open; to start over as another node, move the whole state directory away",
        path.display()
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        problem: &'static str,
    },
    /// There is something sealed with it, and no key.
    #[error(
        "the key file {} is gone but what is sealed with it is there; restore the file from a copy. It is never made anew, since nothing sealed with it would open; to start over as another node, move the whole state directory away",
        path.display()
    )]
    Gone {
        /// Where it should be.
        path: PathBuf,
    },
    /// The system gives no randomness.
    #[error("the system gave no random bytes to make keys of ({detail}); nothing was made")]
    NoEntropy {
        /// In words.
        detail: String,
    },
}

/// The key all others come from. Wiped from memory when dropped.
pub struct MasterKey(Zeroizing<[u8; 32]>);

impl MasterKey {
    /// A key of these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// A new key.
    ///
    /// # Errors
    /// The system gives no randomness (threat C-20).
    pub fn generate(entropy: Entropy<'_>) -> Result<Self, MasterKeyError> {
        let mut bytes = Zeroizing::new([0; 32]);
        entropy(&mut *bytes).map_err(|detail| MasterKeyError::NoEntropy { detail })?;
        if *bytes == [0; 32] {
            return Err(MasterKeyError::NoEntropy { detail: "only zeros".to_owned() });
        }
        Ok(Self(bytes))
    }

    /// The keys of the store's private columns.
    pub fn record_keys(&self) -> RecordKeys {
        RecordKeys::new(&self.derive(RECORD_CONTEXT), &self.derive(TAG_CONTEXT))
    }

    /// Seals the node's identity.
    pub(crate) fn seal_identity(&self, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        record_keys::seal(&self.identity_cipher(), IDENTITY_CONTEXT.as_bytes(), plain)
    }

    /// Opens a sealed identity; `None` if it was sealed with another key or changed since.
    pub(crate) fn open_identity(&self, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        record_keys::open(&self.identity_cipher(), IDENTITY_CONTEXT.as_bytes(), sealed)
    }

    fn identity_cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(Key::from_slice(&*self.derive(IDENTITY_CONTEXT)))
    }

    fn derive(&self, context: &str) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(blake3::derive_key(context, &*self.0))
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(..)")
    }
}

/// The master key of a state directory. It is made if there is none, and nothing that would be sealed with it:
/// `sealed` says whether there is.
///
/// # Errors
/// [`MasterKeyError`], in words for the user.
pub fn load_or_make(
    state: &StateDir,
    sealed: bool,
    entropy: Entropy<'_>,
) -> Result<MasterKey, MasterKeyError> {
    let path = state.path().join(MASTER_KEY_FILE);
    if let Some(text) = state.read_private(MASTER_KEY_FILE, FILE_BYTES_MAX)?.map(Zeroizing::new) {
        return parse(&text).map_err(|problem| MasterKeyError::Damaged { path, problem });
    }
    if sealed {
        return Err(MasterKeyError::Gone { path });
    }
    let key = MasterKey::generate(entropy)?;
    state.write_private(MASTER_KEY_FILE, render(&key).as_bytes())?;
    Ok(key)
}

fn render(key: &MasterKey) -> Zeroizing<String> {
    let hex = Zeroizing::new(HEXLOWER.encode(&*key.0));
    let text = Zeroizing::new(format!("{LABEL} open {}", *hex));
    Zeroizing::new(format!("{} {}\n", *text, check(&text)))
}

fn parse(text: &[u8]) -> Result<MasterKey, &'static str> {
    let text = std::str::from_utf8(text).map_err(|_| "it is not text")?;
    let line = text.strip_suffix('\n').ok_or("its end is missing")?;
    let (text, right) = line.rsplit_once(' ').ok_or("it is too short")?;
    if check(text) != right {
        return Err("its checksum is wrong");
    }
    let mut words = text.split(' ');
    if words.next() != Some(LABEL) {
        return Err("it does not begin with meshlink-master-key-1");
    }
    match (words.next(), words.next(), words.next()) {
        (Some("open"), Some(hex), None) => {
            let bytes = HEXLOWER.decode(hex.as_bytes()).map_err(|_| "its key is not hex")?;
            let bytes = Zeroizing::new(bytes);
            let key: [u8; 32] = bytes.as_slice().try_into().map_err(|_| "its key is not 32 bytes")?;
            Ok(MasterKey::from_bytes(key))
        }
        _ => Err("it has a form that this version does not know"),
    }
}

fn check(text: &str) -> String {
    HEXLOWER.encode(&blake3::hash(text.as_bytes()).as_bytes()[..CHECK_BYTES])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity_file::system_entropy;

    fn state() -> (tempfile::TempDir, StateDir) {
        let temp = tempfile::tempdir().unwrap();
        let state = StateDir::open(temp.path()).unwrap();
        (temp, state)
    }

    #[test]
    fn it_is_made_once_and_read_from_then_on() {
        let (_temp, state) = state();
        let made = load_or_make(&state, false, &system_entropy).unwrap();
        let read = load_or_make(&state, true, &system_entropy).unwrap();
        assert_eq!(*made.0, *read.0);
    }

    #[test]
    fn c12_a_file_changed_anywhere_is_refused_and_stays_as_it_is() {
        let (temp, state) = state();
        load_or_make(&state, false, &system_entropy).unwrap();
        let path = temp.path().join(MASTER_KEY_FILE);
        let good = std::fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&path, &bad).unwrap();
            let error = load_or_make(&state, false, &system_entropy).expect_err("refused").to_string();
            assert!(error.contains("damaged"), "{error}");
            assert_eq!(std::fs::read(&path).unwrap(), bad, "the file was touched");
        }
        for end in 0..good.len() {
            std::fs::write(&path, &good[..end]).unwrap();
            assert!(load_or_make(&state, false, &system_entropy).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn c12_a_key_that_is_gone_is_not_made_anew() {
        let (temp, state) = state();
        let error = load_or_make(&state, true, &system_entropy).expect_err("refused").to_string();
        assert!(error.contains("is gone"), "{error}");
        assert!(!temp.path().join(MASTER_KEY_FILE).exists());
    }

    #[test]
    fn c20_without_entropy_nothing_is_made() {
        let (temp, state) = state();
        for broken in [&(|_: &mut [u8]| Err("injected".to_owned())) as Entropy<'_>, &|_: &mut [u8]| Ok(())] {
            let error = load_or_make(&state, false, broken).expect_err("refused");
            assert!(matches!(error, MasterKeyError::NoEntropy { .. }), "{error}");
            assert!(!temp.path().join(MASTER_KEY_FILE).exists());
        }
    }

    #[test]
    fn each_use_has_a_key_of_its_own() {
        let key = MasterKey::from_bytes([7; 32]);
        let derived = [IDENTITY_CONTEXT, RECORD_CONTEXT, TAG_CONTEXT].map(|context| *key.derive(context));
        let mut distinct = derived.to_vec();
        distinct.push(*key.0);
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), 4);
    }
}

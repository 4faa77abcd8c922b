//! The key all others come from, and the file it lies in.
//!
//! ```text
//! meshlink-master-key-1 open <32 bytes, hex> <check>
//! meshlink-master-key-1 passphrase <KiB> <passes> <lanes> <16 bytes of salt, hex> <32 bytes, sealed, hex> <check>
//! ```
//!
//! The check is the first 8 bytes of the BLAKE3 hash of what is before, in hex. In the second form the key is sealed
//! (XChaCha20-Poly1305) with what Argon2id makes of a passphrase, and bound to the words before it.
//!
//! A file of its own, smaller than a sector: what has to be destroyed to destroy everything is in one place. It is
//! made once, before the first key or record is sealed with it, and never again: one that is gone or damaged stops
//! the daemon (threat C-12), since with a new one nothing sealed before would open.

use std::fmt;
use std::path::PathBuf;

use chacha20poly1305::{Key, KeyInit, XChaCha20Poly1305};
use data_encoding::HEXLOWER;
use zeroize::Zeroizing;

use super::passphrase::{Cost, Passphrase, PassphraseError};
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
    /// The passphrase can't be used.
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
}

/// The key all others come from. Wiped from memory when dropped, and on the heap, so that it is never moved.
pub struct MasterKey(Box<Zeroizing<[u8; 32]>>);

impl MasterKey {
    /// A key of these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Box::new(Zeroizing::new(bytes)))
    }

    /// A key of these bytes, if they are 32.
    fn from_slice(bytes: &[u8]) -> Option<Self> {
        let mut key = Self::from_bytes([0; 32]);
        if bytes.len() != key.0.len() {
            return None;
        }
        key.0.copy_from_slice(bytes);
        Some(key)
    }

    /// A new key.
    ///
    /// # Errors
    /// The system gives no randomness (threat C-20).
    pub fn generate(entropy: Entropy<'_>) -> Result<Self, MasterKeyError> {
        let mut key = Self::from_bytes([0; 32]);
        entropy(&mut key.0[..]).map_err(|detail| MasterKeyError::NoEntropy { detail })?;
        if *key.bytes() == [0; 32] {
            return Err(MasterKeyError::NoEntropy { detail: "only zeros".to_owned() });
        }
        Ok(key)
    }

    fn bytes(&self) -> &[u8; 32] {
        &self.0
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
        Zeroizing::new(blake3::derive_key(context, self.bytes()))
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(..)")
    }
}

/// The file as it lies there.
#[derive(Debug)]
pub(super) enum MasterKeyFile {
    /// Whoever reads the file has the key.
    Open(MasterKey),
    /// Whoever reads the file and knows the passphrase has it.
    Wrapped(WrappedKey),
}

/// A master key sealed with a passphrase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WrappedKey {
    cost: Cost,
    salt: [u8; 16],
    sealed: Vec<u8>,
}

impl WrappedKey {
    /// Seals a key with a passphrase.
    ///
    /// # Errors
    /// No entropy, or no memory for Argon2.
    pub(super) fn new(
        key: &MasterKey,
        passphrase: &Passphrase,
        cost: Cost,
        entropy: Entropy<'_>,
    ) -> Result<Self, MasterKeyError> {
        let mut salt = [0; 16];
        entropy(&mut salt).map_err(|detail| MasterKeyError::NoEntropy { detail })?;
        let mut wrapped = Self { cost, salt, sealed: Vec::new() };
        let cipher = wrapped.cipher(passphrase)?;
        wrapped.sealed = record_keys::seal(&cipher, wrapped.head().as_bytes(), key.bytes())
            .map_err(|error| MasterKeyError::NoEntropy { detail: error.to_string() })?;
        Ok(wrapped)
    }

    /// The key; `None` if the passphrase is another one.
    ///
    /// # Errors
    /// No memory for Argon2.
    pub(super) fn open(&self, passphrase: &Passphrase) -> Result<Option<MasterKey>, PassphraseError> {
        let cipher = self.cipher(passphrase)?;
        let plain = record_keys::open(&cipher, self.head().as_bytes(), &self.sealed);
        Ok(plain.and_then(|plain| MasterKey::from_slice(&plain)))
    }

    fn cipher(&self, passphrase: &Passphrase) -> Result<XChaCha20Poly1305, PassphraseError> {
        let key = self.cost.key(passphrase, &self.salt)?;
        Ok(XChaCha20Poly1305::new(Key::from_slice(&*key)))
    }

    fn head(&self) -> String {
        let Cost { memory_kib, passes, lanes } = self.cost;
        format!("{LABEL} passphrase {memory_kib} {passes} {lanes} {}", HEXLOWER.encode(&self.salt))
    }
}

/// The master key of a state directory. It is made if there is none, and nothing that would be sealed with it:
/// `sealed` says whether there is. With `born` it is wrapped from the beginning, and its bytes never reach the disk.
///
/// # Errors
/// [`MasterKeyError`], in words for the user.
pub(super) fn load_or_make(
    state: &StateDir,
    sealed: bool,
    born: Option<&Passphrase>,
    entropy: Entropy<'_>,
) -> Result<MasterKeyFile, MasterKeyError> {
    if let Some(found) = load(state)? {
        return Ok(found);
    }
    if sealed {
        return Err(MasterKeyError::Gone { path: state.path().join(MASTER_KEY_FILE) });
    }
    let key = MasterKey::generate(entropy)?;
    let line = match born {
        None => open_line(&key),
        Some(passphrase) => wrapped_line(&key, passphrase, entropy)?,
    };
    state.write_private(MASTER_KEY_FILE, line.as_bytes())?;
    load(state)?.ok_or_else(|| MasterKeyError::Gone { path: state.path().join(MASTER_KEY_FILE) })
}

/// The master key file of a state directory, if there is one.
///
/// # Errors
/// [`MasterKeyError`], in words for the user.
pub(super) fn load(state: &StateDir) -> Result<Option<MasterKeyFile>, MasterKeyError> {
    let path = state.path().join(MASTER_KEY_FILE);
    let Some(text) = state.read_private(MASTER_KEY_FILE, FILE_BYTES_MAX)?.map(Zeroizing::new) else {
        return Ok(None);
    };
    parse(&text).map(Some).map_err(|problem| MasterKeyError::Damaged { path, problem })
}

/// The file's text for a key without a passphrase.
pub(super) fn open_line(key: &MasterKey) -> Zeroizing<String> {
    let text = Zeroizing::new(format!("{LABEL} open {}", *Zeroizing::new(HEXLOWER.encode(key.bytes()))));
    Zeroizing::new(format!("{} {}\n", *text, check(&text)))
}

/// The file's text for a key under a passphrase. Takes as long as the passphrase costs, twice.
///
/// # Errors
/// No entropy, no memory.
pub(super) fn wrapped_line(
    key: &MasterKey,
    passphrase: &Passphrase,
    entropy: Entropy<'_>,
) -> Result<Zeroizing<String>, MasterKeyError> {
    let wrapped = WrappedKey::new(key, passphrase, Cost::calibrated()?, entropy)?;
    let text = format!("{} {}", wrapped.head(), HEXLOWER.encode(&wrapped.sealed));
    Ok(Zeroizing::new(format!("{text} {}\n", check(&text))))
}

fn parse(text: &[u8]) -> Result<MasterKeyFile, &'static str> {
    let text = std::str::from_utf8(text).map_err(|_| "it is not text")?;
    let line = text.strip_suffix('\n').ok_or("its end is missing")?;
    let (text, right) = line.rsplit_once(' ').ok_or("it is too short")?;
    if check(text) != right {
        return Err("its checksum is wrong");
    }
    let words: Vec<&str> = text.split(' ').collect();
    match words.as_slice() {
        [LABEL, "open", hex] => {
            let bytes = Zeroizing::new(HEXLOWER.decode(hex.as_bytes()).map_err(|_| "its key is not hex")?);
            let key = MasterKey::from_slice(&bytes).ok_or("its key is not 32 bytes")?;
            Ok(MasterKeyFile::Open(key))
        }
        [LABEL, "passphrase", memory, passes, lanes, salt, sealed] => {
            let number = |word: &str| word.parse::<u32>().map_err(|_| "a number in it is none");
            let cost = Cost::read(number(memory)?, number(passes)?, number(lanes)?)
                .ok_or("it asks for more than a passphrase may cost")?;
            let salt = HEXLOWER.decode(salt.as_bytes()).ok().and_then(|salt| salt.try_into().ok());
            let salt = salt.ok_or("its salt is not 16 bytes")?;
            let sealed = HEXLOWER.decode(sealed.as_bytes()).map_err(|_| "its sealed key is not hex")?;
            Ok(MasterKeyFile::Wrapped(WrappedKey { cost, salt, sealed }))
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

    fn opened(file: MasterKeyFile) -> MasterKey {
        match file {
            MasterKeyFile::Open(key) => key,
            MasterKeyFile::Wrapped(_) => panic!("it has a passphrase"),
        }
    }

    fn wrapped(state: &StateDir) -> WrappedKey {
        match load(state).unwrap().expect("a file") {
            MasterKeyFile::Wrapped(wrapped) => wrapped,
            MasterKeyFile::Open(_) => panic!("it has no passphrase"),
        }
    }

    #[test]
    fn k02_under_a_passphrase_the_file_holds_no_key_and_opens_with_that_one_only() {
        let (temp, state) = state();
        let key = opened(load_or_make(&state, false, None, &system_entropy).unwrap());
        let witness = temp.path().join("witness");
        std::fs::hard_link(temp.path().join(MASTER_KEY_FILE), &witness).unwrap();
        let passphrase = Passphrase::parse("correct horse").unwrap();
        let line = wrapped_line(&key, &passphrase, &system_entropy).unwrap();
        state.replace_secret(MASTER_KEY_FILE, line.as_bytes()).unwrap();
        let text = std::fs::read_to_string(temp.path().join(MASTER_KEY_FILE)).unwrap();
        assert!(!text.contains(&HEXLOWER.encode(key.bytes())[..16]));
        assert!(
            std::fs::read(&witness).unwrap().iter().all(|byte| *byte == 0),
            "the open key is still there"
        );
        let wrapped = wrapped(&state);
        assert_eq!(wrapped.open(&passphrase).unwrap().expect("the right one").bytes(), key.bytes());
        let wrong = Passphrase::parse("correct horsf").unwrap();
        assert!(wrapped.open(&wrong).unwrap().is_none());
        // Cheaper parameters are another head, and the seal is bound to it.
        let cheaper = WrappedKey { cost: Cost { passes: 1, ..wrapped.cost }, ..wrapped.clone() };
        assert!(cheaper.open(&passphrase).unwrap().is_none());
        for at in 0..text.len() {
            let mut bad = text.clone().into_bytes();
            bad[at] ^= 1;
            assert!(parse(&bad).is_err(), "a flip at {at} went unseen");
        }
    }

    #[test]
    fn a_key_that_is_born_under_a_passphrase_never_lay_open() {
        let (_temp, state) = state();
        let passphrase = Passphrase::parse("correct horse").unwrap();
        let file = load_or_make(&state, false, Some(&passphrase), &system_entropy).unwrap();
        assert!(matches!(file, MasterKeyFile::Wrapped(_)));
        assert!(wrapped(&state).open(&passphrase).unwrap().is_some());
    }

    #[test]
    fn it_is_made_once_and_read_from_then_on() {
        let (_temp, state) = state();
        let made = opened(load_or_make(&state, false, None, &system_entropy).unwrap());
        let read = opened(load_or_make(&state, true, None, &system_entropy).unwrap());
        assert_eq!(made.bytes(), read.bytes());
    }

    #[test]
    fn c12_a_file_changed_anywhere_is_refused_and_stays_as_it_is() {
        let (temp, state) = state();
        load_or_make(&state, false, None, &system_entropy).unwrap();
        let path = temp.path().join(MASTER_KEY_FILE);
        let good = std::fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&path, &bad).unwrap();
            let error = load_or_make(&state, false, None, &system_entropy).expect_err("refused").to_string();
            assert!(error.contains("damaged"), "{error}");
            assert_eq!(std::fs::read(&path).unwrap(), bad, "the file was touched");
        }
        for end in 0..good.len() {
            std::fs::write(&path, &good[..end]).unwrap();
            assert!(load_or_make(&state, false, None, &system_entropy).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn c12_a_key_that_is_gone_is_not_made_anew() {
        let (temp, state) = state();
        let error = load_or_make(&state, true, None, &system_entropy).expect_err("refused").to_string();
        assert!(error.contains("is gone"), "{error}");
        assert!(!temp.path().join(MASTER_KEY_FILE).exists());
    }

    #[test]
    fn c20_without_entropy_nothing_is_made() {
        let (temp, state) = state();
        for broken in [&(|_: &mut [u8]| Err("injected".to_owned())) as Entropy<'_>, &|_: &mut [u8]| Ok(())] {
            let error = load_or_make(&state, false, None, broken).expect_err("refused");
            assert!(matches!(error, MasterKeyError::NoEntropy { .. }), "{error}");
            assert!(!temp.path().join(MASTER_KEY_FILE).exists());
        }
    }

    #[test]
    fn each_use_has_a_key_of_its_own() {
        let key = MasterKey::from_bytes([7; 32]);
        let derived = [IDENTITY_CONTEXT, RECORD_CONTEXT, TAG_CONTEXT].map(|context| *key.derive(context));
        let mut distinct = derived.to_vec();
        distinct.push(*key.bytes());
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), 4);
    }
}

//! The file that holds the node's secret keys, sealed with the master key.
//!
//! ```text
//! meshlink-identity-2 <64 secret bytes, sealed, hex> <first 8 bytes of the BLAKE3 hash of those, hex>
//! meshlink-identity-1 <64 secret bytes, hex> <the same of them>          before there was a master key
//! ```
//!
//! Made once, on the first start, and never again: a node that comes up with new keys is another node, and the
//! mail of the old one would be lost without a word (threat C-12). So a file that is damaged, shared or gone
//! while the database is there stops the daemon with an explanation. No entropy, no keys (threat C-20). A file of
//! the older form is replaced by the sealed one when it is read.

use meshlink_core::identity::Identity;
use zeroize::Zeroizing;

use crate::state_dir::{PrivateFileError, StateDir};
use crate::vault::{MasterKey, SealError};

/// Its name in the state directory.
pub const IDENTITY_FILE: &str = "identity";
/// Keys from a backup lie under this name until the store is theirs.
pub const RESTORED_IDENTITY_FILE: &str = "identity.restored";

const LABEL: &str = "meshlink-identity-2";
const LABEL_CLEAR: &str = "meshlink-identity-1";
const CHECK_BYTES: usize = 8;
/// The line has 245 bytes.
const FILE_BYTES_MAX: u64 = 256;

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file can't be read or written, or others can.
    #[error(transparent)]
    File(#[from] PrivateFileError),
    /// Its content is not what was written there.
    #[error(
        "the key file {} is damaged ({problem}); restore it from a backup. It is never made anew, since that would be another node; to start over as one, move the whole state directory away",
        path.display()
    )]
    Damaged {
        /// Which file.
        path: std::path::PathBuf,
        /// What is wrong.
        problem: &'static str,
    },
    /// There is a database and no key.
    #[error(
        "the key file {} is gone but the node's database is there; restore the file from a backup. It is never made anew, since that would be another node; to start over as one, move the whole state directory away",
        path.display()
    )]
    Gone {
        /// Where it should be.
        path: std::path::PathBuf,
    },
    /// The system gives no randomness.
    #[error("the system gave no random bytes to make keys of ({detail}); nothing was made")]
    NoEntropy {
        /// In words.
        detail: String,
    },
}

/// Where fresh random bytes come from.
pub type Entropy<'a> = &'a dyn Fn(&mut [u8]) -> Result<(), String>;

/// Fills `bytes` with the operating system's randomness.
///
/// # Errors
/// In words, when the system has none; there is no second choice.
pub fn system_entropy(bytes: &mut [u8]) -> Result<(), String> {
    getrandom::fill(bytes).map_err(|e| e.to_string())
}

/// The node's identity. On the first start (neither key file nor database) it is made.
///
/// # Errors
/// [`IdentityError`], in words for the user.
pub fn load_or_make(
    state: &StateDir,
    database: &str,
    master: &MasterKey,
    entropy: Entropy<'_>,
) -> Result<Identity, IdentityError> {
    let path = state.path().join(IDENTITY_FILE);
    if let Some(text) = state.read_private(IDENTITY_FILE, FILE_BYTES_MAX)?.map(Zeroizing::new) {
        let (identity, form) =
            parse(&text, master).map_err(|problem| IdentityError::Damaged { path, problem })?;
        if form == Form::Clear {
            state.replace_secret(IDENTITY_FILE, render(&identity, master)?.as_bytes())?;
        }
        return Ok(identity);
    }
    if state.has(database) {
        return Err(IdentityError::Gone { path });
    }
    let identity = generate(entropy)?;
    state.write_private(IDENTITY_FILE, render(&identity, master)?.as_bytes())?;
    Ok(identity)
}

/// Puts keys from a backup beside the node's own, until its store is theirs.
///
/// # Errors
/// [`IdentityError`], in words for the user.
pub fn put_restored(state: &StateDir, identity: &Identity, master: &MasterKey) -> Result<(), IdentityError> {
    Ok(state.write_private(RESTORED_IDENTITY_FILE, render(identity, master)?.as_bytes())?)
}

/// The keys from a backup, if some lie there.
///
/// # Errors
/// [`IdentityError`], in words for the user.
pub fn restored(state: &StateDir, master: &MasterKey) -> Result<Option<Identity>, IdentityError> {
    let path = state.path().join(RESTORED_IDENTITY_FILE);
    let text = state.read_private(RESTORED_IDENTITY_FILE, FILE_BYTES_MAX)?.map(Zeroizing::new);
    let parse = |text: Zeroizing<Vec<u8>>| parse(&text, master).map(|(identity, _)| identity);
    text.map(parse).transpose().map_err(|problem| IdentityError::Damaged { path, problem })
}

/// Makes the keys from a backup the node's own, or removes them.
///
/// # Errors
/// [`PrivateFileError::Io`].
pub fn settle_restored(state: &StateDir, are_adopted: bool) -> Result<(), PrivateFileError> {
    if are_adopted {
        return state.rename(RESTORED_IDENTITY_FILE, IDENTITY_FILE);
    }
    state.overwrite(RESTORED_IDENTITY_FILE, b"")?;
    state.remove(RESTORED_IDENTITY_FILE)
}

/// New keys, not written anywhere.
///
/// # Errors
/// [`IdentityError::NoEntropy`].
pub fn generate(entropy: Entropy<'_>) -> Result<Identity, IdentityError> {
    let mut seed = Zeroizing::new([0; Identity::BYTES]);
    entropy(&mut *seed).map_err(|detail| IdentityError::NoEntropy { detail })?;
    if *seed == [0; Identity::BYTES] {
        return Err(IdentityError::NoEntropy { detail: "only zeros".to_owned() });
    }
    Ok(Identity::generate(&seed))
}

/// Whether there is a key file.
pub fn is_there(state: &StateDir) -> bool {
    state.has(IDENTITY_FILE)
}

/// Whether the key file is there and sealed: then there is a master key, or there was one.
///
/// # Errors
/// It can't be read.
pub fn is_sealed(state: &StateDir) -> Result<bool, PrivateFileError> {
    let text = state.read_private(IDENTITY_FILE, FILE_BYTES_MAX)?.map(Zeroizing::new);
    Ok(text.is_some_and(|text| !text.starts_with(LABEL_CLEAR.as_bytes())))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Sealed,
    Clear,
}

fn render(identity: &Identity, master: &MasterKey) -> Result<String, IdentityError> {
    let no_entropy = |error: SealError| IdentityError::NoEntropy { detail: error.to_string() };
    let sealed = master.seal_identity(&*identity.secret_bytes()).map_err(no_entropy)?;
    Ok(format!("{LABEL} {} {}\n", data_encoding::HEXLOWER.encode(&sealed), check(&sealed)))
}

fn check(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&blake3::hash(bytes).as_bytes()[..CHECK_BYTES])
}

fn parse(text: &[u8], master: &MasterKey) -> Result<(Identity, Form), &'static str> {
    let text = std::str::from_utf8(text).map_err(|_| "it is not text")?;
    let mut words = text.strip_suffix('\n').ok_or("its end is missing")?.split(' ');
    let form = match words.next() {
        Some(LABEL) => Form::Sealed,
        Some(LABEL_CLEAR) => Form::Clear,
        _ => return Err("it does not begin with meshlink-identity-2"),
    };
    let (Some(hex), Some(right), None) = (words.next(), words.next(), words.next()) else {
        return Err("it does not have three words");
    };
    let bytes =
        Zeroizing::new(data_encoding::HEXLOWER.decode(hex.as_bytes()).map_err(|_| "its key is not hex")?);
    if check(&bytes) != right {
        return Err("its checksum is wrong");
    }
    let secret = match form {
        Form::Clear => bytes,
        Form::Sealed => {
            master.open_identity(&bytes).ok_or("it was sealed with another master key than the one there")?
        }
    };
    let secret: &[u8; Identity::BYTES] =
        secret.as_slice().try_into().map_err(|_| "its key is not 64 bytes")?;
    Ok((Identity::from_bytes(secret), form))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> (tempfile::TempDir, StateDir) {
        let temp = tempfile::tempdir().unwrap();
        let state = StateDir::open(temp.path()).unwrap();
        (temp, state)
    }

    fn load(state: &StateDir) -> Result<Identity, IdentityError> {
        load_or_make(state, "meshd.db", &master(), &system_entropy)
    }

    fn master() -> MasterKey {
        MasterKey::from_bytes([3; 32])
    }

    /// The form of the first release.
    fn write_clear(temp: &tempfile::TempDir, state: &StateDir) -> Identity {
        let identity = generate(&system_entropy).unwrap();
        let secret = identity.secret_bytes();
        let hex = data_encoding::HEXLOWER.encode(&*secret);
        let text = format!("{LABEL_CLEAR} {hex} {}\n", check(&*secret));
        state.write_private(IDENTITY_FILE, text.as_bytes()).unwrap();
        assert!(temp.path().join(IDENTITY_FILE).exists());
        identity
    }

    #[test]
    fn the_older_form_is_sealed_when_it_is_read_and_its_bytes_are_overwritten() {
        let (temp, state) = state();
        let before = write_clear(&temp, &state);
        // A second name for the same file: what its blocks hold afterwards.
        let witness = temp.path().join("witness");
        std::fs::hard_link(temp.path().join(IDENTITY_FILE), &witness).unwrap();
        assert!(!is_sealed(&state).unwrap());
        assert_eq!(load(&state).unwrap().node_id(), before.node_id());
        assert!(is_sealed(&state).unwrap());
        assert_eq!(load(&state).unwrap().node_id(), before.node_id());
        let secret = data_encoding::HEXLOWER.encode(&*before.secret_bytes());
        let now = std::fs::read_to_string(temp.path().join(IDENTITY_FILE)).unwrap();
        assert!(!now.contains(&secret[..16]));
        assert!(std::fs::read(&witness).unwrap().iter().all(|byte| *byte == 0), "the old bytes are there");
    }

    #[test]
    fn k02_the_file_holds_no_secret_and_opens_with_its_master_key_only() {
        let (temp, state) = state();
        let secret = load(&state).unwrap().secret_bytes();
        let file = std::fs::read_to_string(temp.path().join(IDENTITY_FILE)).unwrap();
        for part in secret.chunks(8) {
            assert!(!file.contains(&data_encoding::HEXLOWER.encode(part)));
        }
        let other = MasterKey::from_bytes([4; 32]);
        let error = load_or_make(&state, "meshd.db", &other, &system_entropy).expect_err("refused");
        assert!(error.to_string().contains("another master key"), "{error}");
    }

    #[test]
    fn it_is_made_once_and_read_from_then_on() {
        let (temp, state) = state();
        let made = load(&state).unwrap().node_id();
        std::fs::write(temp.path().join("meshd.db"), "").unwrap();
        assert_eq!(load(&state).unwrap().node_id(), made);
    }

    #[test]
    fn c12_a_file_changed_anywhere_is_refused_and_stays_as_it_is() {
        let (temp, state) = state();
        load(&state).unwrap();
        let path = temp.path().join(IDENTITY_FILE);
        let good = std::fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&path, &bad).unwrap();
            let error =
                load(&state).err().unwrap_or_else(|| panic!("a flip at {at} went unseen")).to_string();
            assert!(error.contains("damaged") && error.contains("backup"), "{error}");
            assert_eq!(std::fs::read(&path).unwrap(), bad, "the file was touched");
        }
        for end in 0..good.len() {
            std::fs::write(&path, &good[..end]).unwrap();
            assert!(load(&state).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn c12_a_key_that_is_gone_is_not_made_anew() {
        let (temp, state) = state();
        std::fs::write(temp.path().join("meshd.db"), "").unwrap();
        let error = load(&state).expect_err("refused").to_string();
        assert!(error.contains("is gone"), "{error}");
        assert!(!temp.path().join(IDENTITY_FILE).exists());
    }

    #[test]
    fn c20_without_entropy_nothing_is_made() {
        let (temp, state) = state();
        for broken in [&(|_: &mut [u8]| Err("injected".to_owned())) as Entropy<'_>, &|_: &mut [u8]| Ok(())] {
            let error = load_or_make(&state, "meshd.db", &master(), broken).expect_err("refused");
            assert!(matches!(error, IdentityError::NoEntropy { .. }), "{error}");
            assert!(!temp.path().join(IDENTITY_FILE).exists());
        }
    }

    #[test]
    fn a_refusal_shows_no_secret() {
        let (temp, state) = state();
        let identity = write_clear(&temp, &state);
        let secret = data_encoding::HEXLOWER.encode(&*identity.secret_bytes());
        let path = temp.path().join(IDENTITY_FILE);
        let text = std::fs::read_to_string(&path).unwrap().replace(LABEL_CLEAR, "meshlink-identity-9");
        std::fs::write(&path, text).unwrap();
        let error = load(&state).expect_err("refused");
        assert!(!format!("{error} {error:?}").contains(&secret[..16]));
    }
}

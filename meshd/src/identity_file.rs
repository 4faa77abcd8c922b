//! The file that holds the node's secret keys.
//!
//! ```text
//! meshlink-identity-1 <64 secret bytes, hex> <first 8 bytes of their BLAKE3 hash, hex>
//! ```
//!
//! Made once, on the first start, and never again: a node that comes up with new keys is another node, and the
//! mail of the old one would be lost without a word (threat C-12). So a file that is damaged, shared or gone
//! while the database is there stops the daemon with an explanation. No entropy, no keys (threat C-20).

use meshlink_core::identity::Identity;
use zeroize::Zeroizing;

use crate::state_dir::{PrivateFileError, StateDir};

/// Its name in the state directory.
pub const IDENTITY_FILE: &str = "identity";

const LABEL: &str = "meshlink-identity-1";
const CHECK_BYTES: usize = 8;
/// The line has 165 bytes.
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
    entropy: Entropy<'_>,
) -> Result<Identity, IdentityError> {
    let path = state.path().join(IDENTITY_FILE);
    if let Some(text) = state.read_private(IDENTITY_FILE, FILE_BYTES_MAX)?.map(Zeroizing::new) {
        return parse(&text).map_err(|problem| IdentityError::Damaged { path, problem });
    }
    if state.has(database) {
        return Err(IdentityError::Gone { path });
    }
    let mut seed = Zeroizing::new([0; Identity::BYTES]);
    entropy(&mut *seed).map_err(|detail| IdentityError::NoEntropy { detail })?;
    if *seed == [0; Identity::BYTES] {
        return Err(IdentityError::NoEntropy { detail: "only zeros".to_owned() });
    }
    let identity = Identity::generate(&seed);
    state.write_private(IDENTITY_FILE, render(&identity).as_bytes())?;
    Ok(identity)
}

fn render(identity: &Identity) -> Zeroizing<String> {
    let secret = identity.secret_bytes();
    let hex = Zeroizing::new(data_encoding::HEXLOWER.encode(&*secret));
    let check = data_encoding::HEXLOWER.encode(&blake3::hash(&*secret).as_bytes()[..CHECK_BYTES]);
    Zeroizing::new(format!("{LABEL} {} {check}\n", *hex))
}

fn parse(text: &[u8]) -> Result<Identity, &'static str> {
    let text = std::str::from_utf8(text).map_err(|_| "it is not text")?;
    let mut words = text.strip_suffix('\n').ok_or("its end is missing")?.split(' ');
    if words.next() != Some(LABEL) {
        return Err("it does not begin with meshlink-identity-1");
    }
    let (Some(secret), Some(check), None) = (words.next(), words.next(), words.next()) else {
        return Err("it does not have three words");
    };
    let secret =
        Zeroizing::new(data_encoding::HEXLOWER.decode(secret.as_bytes()).map_err(|_| "its key is not hex")?);
    let secret: &[u8; Identity::BYTES] =
        secret.as_slice().try_into().map_err(|_| "its key is not 64 bytes")?;
    let right = data_encoding::HEXLOWER.encode(&blake3::hash(secret).as_bytes()[..CHECK_BYTES]);
    if check != right {
        return Err("its checksum is wrong");
    }
    Ok(Identity::from_bytes(secret))
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
        load_or_make(state, "meshd.db", &system_entropy)
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
            let error = load_or_make(&state, "meshd.db", broken).expect_err("refused");
            assert!(matches!(error, IdentityError::NoEntropy { .. }), "{error}");
            assert!(!temp.path().join(IDENTITY_FILE).exists());
        }
    }

    #[test]
    fn a_refusal_shows_no_secret() {
        let (temp, state) = state();
        let identity = load(&state).unwrap();
        let secret = data_encoding::HEXLOWER.encode(&*identity.secret_bytes());
        let path = temp.path().join(IDENTITY_FILE);
        let text = std::fs::read_to_string(&path).unwrap().replace(LABEL, "meshlink-identity-2");
        std::fs::write(&path, text).unwrap();
        let error = load(&state).expect_err("refused");
        assert!(!format!("{error} {error:?}").contains(&secret[..16]));
    }
}

//! From a passphrase to a key: Argon2id (RFC 9106).
//!
//! What an attacker with the disk has to pay for each guess is memory and time. Memory is fixed at what a small
//! machine can spare; time is measured where the passphrase is set, so that a fast machine does more.

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use unicode_normalization::UnicodeNormalization;
use zeroize::{Zeroize, Zeroizing};

/// Shortest passphrase, in characters. Argon2id makes guesses dear, not few.
const PASSPHRASE_CHARS_MIN: usize = 8;
/// Longest passphrase, in bytes.
const PASSPHRASE_BYTES_MAX: usize = 1024;

/// Memory of one guess in KiB: 64 MiB, RFC 9106's second recommendation.
const MEMORY_KIB: u32 = 64 * 1024;
/// Passes over it, at least: the same recommendation.
const PASSES_MIN: u32 = 3;
/// Passes that calibration chooses at most.
const PASSES_MAX: u32 = 24;
/// How long a guess is to take where the passphrase is set.
const TIME_WANTED: Duration = Duration::from_millis(600);

/// What a file may ask for: it may be anybody's (threat K-03).
const MEMORY_KIB_MAX: u32 = 1024 * 1024;
const PASSES_READ_MAX: u32 = 64;
const LANES_MAX: u32 = 4;

/// A passphrase. Wiped from memory when dropped.
pub struct Passphrase(Zeroizing<String>);

/// Why a passphrase can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PassphraseError {
    /// It is easy to guess.
    #[error("a passphrase has at least {PASSPHRASE_CHARS_MIN} characters; four random words are a good one")]
    TooShort,
    /// It is no line somebody typed.
    #[error("a passphrase has at most {PASSPHRASE_BYTES_MAX} bytes and no control characters")]
    Unusable,
    /// There is not enough memory to use it.
    #[error("there is no memory to use the passphrase: it takes {0} KiB")]
    NoMemory(u32),
    /// The file with it can't be read.
    #[error("the passphrase file {path} can't be read: {why}")]
    File {
        /// Which.
        path: String,
        /// Why.
        why: String,
    },
}

impl Passphrase {
    /// A passphrase as somebody typed it. The same letters are the same passphrase, however they were composed.
    ///
    /// # Errors
    /// [`PassphraseError`].
    pub fn parse(typed: &str) -> Result<Self, PassphraseError> {
        // With room for all of it: what grows leaves copies behind.
        let mut text = Zeroizing::new(String::with_capacity(4 * typed.len()));
        text.extend(typed.nfc());
        if text.len() > PASSPHRASE_BYTES_MAX || text.contains(char::is_control) {
            return Err(PassphraseError::Unusable);
        }
        if text.chars().count() < PASSPHRASE_CHARS_MIN {
            return Err(PassphraseError::TooShort);
        }
        Ok(Self(text))
    }

    /// The passphrase in a file: its first line.
    ///
    /// # Errors
    /// [`PassphraseError`].
    pub fn read(path: &Path) -> Result<Self, PassphraseError> {
        use std::io::Read as _;
        let failed = |why: String| PassphraseError::File { path: path.display().to_string(), why };
        let mut text = Zeroizing::new(String::new());
        std::fs::File::open(path)
            .and_then(|file| file.take(2 * PASSPHRASE_BYTES_MAX as u64).read_to_string(&mut text))
            .map_err(|error| failed(error.to_string()))?;
        Self::parse(text.lines().next().unwrap_or_default())
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

/// How dear a guess is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes that could be computed side by side.
    pub lanes: u32,
}

impl Cost {
    /// The least that is ever used.
    pub const LEAST: Self = Self { memory_kib: MEMORY_KIB, passes: PASSES_MIN, lanes: 1 };

    /// What takes this machine some 0.6 s, and at least [`Cost::LEAST`].
    ///
    /// # Errors
    /// [`PassphraseError::NoMemory`].
    pub fn calibrated() -> Result<Self, PassphraseError> {
        let start = Instant::now();
        Self::LEAST.key(&Passphrase(Zeroizing::new("calibration".to_owned())), &[0; 16])?;
        let pass = (start.elapsed() / PASSES_MIN).max(Duration::from_millis(1));
        let passes = u32::try_from(TIME_WANTED.as_millis() / pass.as_millis().max(1)).unwrap_or(PASSES_MAX);
        Ok(Self { passes: passes.clamp(PASSES_MIN, PASSES_MAX), ..Self::LEAST })
    }

    /// What a file says, if it is within reason.
    pub fn read(memory_kib: u32, passes: u32, lanes: u32) -> Option<Self> {
        let is_sane = (8 * LANES_MAX..=MEMORY_KIB_MAX).contains(&memory_kib)
            && (1..=PASSES_READ_MAX).contains(&passes)
            && (1..=LANES_MAX).contains(&lanes);
        is_sane.then_some(Self { memory_kib, passes, lanes })
    }

    /// The key that a passphrase and a salt make.
    ///
    /// # Errors
    /// [`PassphraseError::NoMemory`].
    pub fn key(
        &self,
        passphrase: &Passphrase,
        salt: &[u8; 16],
    ) -> Result<Zeroizing<[u8; 32]>, PassphraseError> {
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(32))
            .expect("costs are made within Argon2's bounds");
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
        let mut memory: Vec<Block> = Vec::new();
        memory
            .try_reserve_exact(params.block_count())
            .map_err(|_| PassphraseError::NoMemory(self.memory_kib))?;
        memory.resize(params.block_count(), Block::new());
        let mut key = Zeroizing::new([0; 32]);
        argon
            .hash_password_into_with_memory(passphrase.0.as_bytes(), salt, &mut *key, &mut memory)
            .expect("salt, key and memory have the lengths Argon2 asks for");
        memory.iter_mut().for_each(Zeroize::zeroize);
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::parse(text).unwrap()
    }

    #[test]
    fn every_part_changes_the_key() {
        let cost = Cost { memory_kib: 64, passes: 1, lanes: 1 };
        let key = |cost: Cost, text: &str, salt: u8| *cost.key(&passphrase(text), &[salt; 16]).unwrap();
        let one = key(cost, "correct horse", 1);
        assert_eq!(one, key(cost, "correct horse", 1));
        assert_ne!(one, key(cost, "correct horsf", 1));
        assert_ne!(one, key(cost, "correct horse", 2));
        assert_ne!(one, key(Cost { passes: 2, ..cost }, "correct horse", 1));
        assert_ne!(one, key(Cost { memory_kib: 65, ..cost }, "correct horse", 1));
    }

    #[test]
    fn the_same_letters_are_the_same_passphrase() {
        assert_eq!(*passphrase("caf\u{e9} au lait").0, *passphrase("cafe\u{301} au lait").0);
    }

    #[test]
    fn weak_and_odd_ones_are_refused() {
        assert_eq!(Passphrase::parse("1234567").unwrap_err(), PassphraseError::TooShort);
        assert_eq!(Passphrase::parse("ééééééé").unwrap_err(), PassphraseError::TooShort);
        for odd in ["with\na line end", "tab\tbed text", &"x".repeat(1025)] {
            assert_eq!(Passphrase::parse(odd).unwrap_err(), PassphraseError::Unusable);
        }
        assert!(Passphrase::parse("12345678").is_ok());
    }

    #[test]
    fn k03_a_file_can_not_ask_for_any_memory() {
        assert_eq!(Cost::read(MEMORY_KIB, 3, 1), Some(Cost::LEAST));
        for (memory, passes, lanes) in [
            (0, 3, 1),
            (u32::MAX, 3, 1),
            (MEMORY_KIB, 0, 1),
            (MEMORY_KIB, 65, 1),
            (MEMORY_KIB, 3, 0),
            (MEMORY_KIB, 3, 5),
        ] {
            assert_eq!(Cost::read(memory, passes, lanes), None);
        }
    }

    #[test]
    fn calibration_never_goes_below_the_least() {
        let cost = Cost::calibrated().unwrap();
        assert_eq!((cost.memory_kib, cost.lanes), (64 * 1024, 1));
        assert!((PASSES_MIN..=PASSES_MAX).contains(&cost.passes));
    }

    #[test]
    fn c18_debug_shows_no_passphrase() {
        assert_eq!(format!("{:?}", passphrase("correct horse")), "Passphrase(..)");
    }
}

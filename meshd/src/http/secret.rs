//! Secrets that let a program in: made from the system's randomness, shown once, kept as a hash.

use data_encoding::BASE32_NOPAD;
use subtle::{Choice, ConstantTimeEq};

use super::problem::{Code, Failure};

/// The hash of a token: all that is kept of it. BLAKE3 without salt or stretching is enough, since a token has
/// 256 random bits and can't be guessed from a list.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// The hash of a token as its user writes it.
    pub fn of(secret: &str) -> Self {
        Self(blake3::derive_key("meshlink 2026 api token", secret.as_bytes()))
    }

    pub(super) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(super) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether two are the same, in a time that does not tell how far they agree.
    pub(super) fn matches(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

impl std::fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretHash([redacted])")
    }
}

/// Fresh random bytes as lower-case base32.
pub(super) fn random_text<const BYTES: usize>() -> Result<String, Failure> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(|e| Code::NoEntropy.because(e.to_string()))?;
    let mut text = BASE32_NOPAD.encode(&bytes);
    text.make_ascii_lowercase();
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_of_the_whole_secret_and_is_not_printed() {
        let hash = SecretHash::of("secret");
        assert!(bool::from(hash.matches(&SecretHash::of("secret"))));
        assert!(!bool::from(hash.matches(&SecretHash::of("secret "))));
        assert_eq!(format!("{hash:?}"), "SecretHash([redacted])");
    }
}

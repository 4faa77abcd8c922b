//! The keys of the store's private columns.

use std::fmt;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::identity_file::system_entropy;

/// Length of a nonce.
const NONCE_BYTES: usize = 24;

/// Why something can't be sealed or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The system gives no randomness for a nonce.
    #[error("the system gave no random bytes ({0})")]
    NoEntropy(String),
    /// It was sealed with another key, for another place, or changed since.
    #[error("what is sealed in {0} does not open: it was changed, or belongs elsewhere")]
    Unreadable(&'static str),
}

/// Where a sealed value lies. It opens nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// Table and column, such as `message.words`. Never changed once values are sealed for it.
    pub column: &'static str,
    /// What identifies the row and never changes in it.
    pub row: &'a [u8],
}

impl Place<'_> {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(1 + self.column.len() + self.row.len());
        bytes.push(u8::try_from(self.column.len()).expect("a column's name is short"));
        bytes.extend_from_slice(self.column.as_bytes());
        bytes.extend_from_slice(self.row);
        bytes
    }
}

/// Seals and opens private columns, and names private records. On the heap: who is given them is given a pointer, and no
/// copy of a key stays where they were.
#[derive(Clone)]
pub struct RecordKeys(Box<Keys>);

#[derive(Clone)]
struct Keys {
    seal: XChaCha20Poly1305,
    tag: TagKey,
}

#[derive(Clone, Zeroize, ZeroizeOnDrop)]
struct TagKey([u8; 32]);

impl RecordKeys {
    /// Length of a [`RecordKeys::tag`].
    pub const TAG_BYTES: usize = 16;

    pub(super) fn new(seal: &[u8; 32], tag: &[u8; 32]) -> Self {
        Self(Box::new(Keys { seal: XChaCha20Poly1305::new(Key::from_slice(seal)), tag: TagKey(*tag) }))
    }

    /// Seals `plain` for a place; adds [`SEAL_BYTES`](super::SEAL_BYTES).
    ///
    /// # Errors
    /// [`SealError::NoEntropy`].
    pub fn seal(&self, place: Place<'_>, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        seal(&self.0.seal, &place.bytes(), plain)
    }

    /// Opens what was sealed for that place.
    ///
    /// # Errors
    /// [`SealError::Unreadable`], whatever is wrong with it.
    pub fn open(&self, place: Place<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        open(&self.0.seal, &place.bytes(), sealed).ok_or(SealError::Unreadable(place.column))
    }

    /// A name for something private: the same for the same `what` and `bytes`, and without the key unrelated to
    /// both. A column of tags can be looked up and indexed.
    pub fn tag(&self, what: &'static str, bytes: &[u8]) -> [u8; Self::TAG_BYTES] {
        let mut hasher = blake3::Hasher::new_keyed(&self.0.tag.0);
        hasher.update(&[u8::try_from(what.len()).expect("a kind's name is short")]);
        hasher.update(what.as_bytes()).update(bytes);
        let mut tag = [0; Self::TAG_BYTES];
        tag.copy_from_slice(&hasher.finalize().as_bytes()[..Self::TAG_BYTES]);
        tag
    }
}

impl fmt::Debug for RecordKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecordKeys(..)")
    }
}

pub(super) fn seal(cipher: &XChaCha20Poly1305, aad: &[u8], plain: &[u8]) -> Result<Vec<u8>, SealError> {
    let mut nonce = [0; NONCE_BYTES];
    system_entropy(&mut nonce).map_err(SealError::NoEntropy)?;
    let sealed = cipher
        .encrypt(XNonce::from_slice(&nonce), Payload { msg: plain, aad })
        .expect("no record is as long as the cipher's limit of 256 GiB");
    Ok([&nonce[..], &sealed].concat())
}

pub(super) fn open(cipher: &XChaCha20Poly1305, aad: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, msg) = sealed.split_at_checked(NONCE_BYTES)?;
    cipher.decrypt(XNonce::from_slice(nonce), Payload { msg, aad }).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::super::{MasterKey, SEAL_BYTES};
    use super::*;

    fn keys(n: u8) -> RecordKeys {
        MasterKey::from_bytes([n; 32]).record_keys()
    }

    const HERE: Place<'_> = Place { column: "table.column", row: b"row" };

    #[test]
    fn what_is_sealed_opens_where_it_was_sealed_and_nowhere_else() {
        let sealed = keys(1).seal(HERE, b"hello").unwrap();
        assert_eq!(sealed.len(), 5 + SEAL_BYTES);
        assert_eq!(keys(1).open(HERE, &sealed).unwrap().as_slice(), b"hello");
        for elsewhere in [
            Place { column: "table.column", row: b"row2" },
            Place { column: "table.column", row: b"" },
            Place { column: "table.columnr", row: b"ow" },
            Place { column: "table.colum", row: b"nrow" },
        ] {
            assert!(keys(1).open(elsewhere, &sealed).is_err(), "{elsewhere:?}");
        }
        assert!(keys(2).open(HERE, &sealed).is_err(), "another key");
    }

    #[test]
    fn a_change_of_any_bit_or_length_is_noticed() {
        let sealed = keys(1).seal(HERE, b"hello").unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(keys(1).open(HERE, &changed), Err(SealError::Unreadable("table.column")), "bit {bit}");
        }
        for end in 0..sealed.len() {
            assert!(keys(1).open(HERE, &sealed[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn the_same_text_is_never_sealed_to_the_same_bytes() {
        let keys = keys(1);
        let all: std::collections::BTreeSet<Vec<u8>> =
            (0..1000).map(|_| keys.seal(HERE, b"hello").unwrap()).collect();
        assert_eq!(all.len(), 1000);
    }

    #[test]
    fn tags_depend_on_the_key_the_kind_and_the_name() {
        let tag = keys(1).tag("contact", b"alice");
        assert_eq!(tag, keys(1).tag("contact", b"alice"));
        for other in [
            keys(2).tag("contact", b"alice"),
            keys(1).tag("channel", b"alice"),
            keys(1).tag("contacta", b"lice"),
            keys(1).tag("contact", b"bob"),
        ] {
            assert_ne!(tag, other);
        }
    }

    #[test]
    fn c18_debug_shows_no_key() {
        assert_eq!(format!("{:?}", keys(1)), "RecordKeys(..)");
    }
}

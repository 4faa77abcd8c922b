//! The payload of a prekey bundle: the short-lived key that messages for a node are sealed to.
//!
//! A message sealed to a key that never changes could be read by whoever gets hold of that key years later. So
//! each node publishes a key of its own for a few days, signed with its identity, and deletes the secret
//! half when the last message sealed to it must have come or expired: that is the forward secrecy. Two
//! bundles of one node are ordered by their revision; the higher counts.
//!
//! A node that was restored from a backup has lost the secret halves of what it gave out before. It says so by another
//! **lineage**, a random name of the store its keys are made in.
//!
//! Only one key is published. One-time keys without a server that hands them out would be taken by two
//! senders at once, and the message of the second, a week under way, would find its key deleted; they travel
//! inside sealed messages instead, each to one contact.

use crate::canonical::{Extensions, Malformed, Reader, Writer};
use crate::private::contact::Lineage;
use crate::profile::REVISION_MAX;

/// The extension with the lineage: a byte string of eight.
const LINEAGE_KEY: u64 = 16;

const ID_CONTEXT: &str = "MeshLink v1 prekey id";

/// One revision of a node's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prekeys {
    /// Grows with every change. Up to 2^53 - 1.
    pub revision: u64,
    /// X25519: what messages are sealed to.
    pub key: [u8; 32],
    /// What a later version added.
    pub extensions: Extensions,
}

/// Names a prekey inside of sealed bundles, where only its owner can read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PrekeyId(pub [u8; PrekeyId::BYTES]);

impl PrekeyId {
    /// Length in bytes: a node has dozens of them, not millions.
    pub const BYTES: usize = 4;

    /// The id of a public prekey.
    pub fn of(key: &[u8; 32]) -> Self {
        let mut id = [0; Self::BYTES];
        id.copy_from_slice(&blake3::derive_key(ID_CONTEXT, key)[..Self::BYTES]);
        Self(id)
    }
}

impl Prekeys {
    /// Reads prekeys.
    ///
    /// # Errors
    /// The bytes are not the one right encoding of prekeys.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let (mut revision, mut key) = (None, None);
        let mut map = reader.map()?;
        while let Some(field) = map.key()? {
            match field {
                0 => revision = Some(map.reader.uint()?),
                1 => key = Some(map.reader.byte_array()?),
                _ => return Err(Malformed("a field of prekeys of a later version")),
            }
        }
        let extensions = map.extensions();
        reader.end()?;
        let (Some(revision), Some(key)) = (revision, key) else {
            return Err(Malformed("prekeys without revision or key"));
        };
        if revision > REVISION_MAX {
            return Err(Malformed("a revision of prekeys beyond 2^53"));
        }
        Ok(Self { revision, key, extensions })
    }

    /// Prekeys of a lineage.
    pub(crate) fn new(revision: u64, key: [u8; 32], lineage: Lineage) -> Self {
        Self { revision, key, extensions: Extensions::of_bytes(LINEAGE_KEY, &lineage.0) }
    }

    /// The lineage they name, if any.
    pub(crate) fn lineage(&self) -> Option<Lineage> {
        self.extensions.bytes_of(LINEAGE_KEY)?.try_into().ok().map(Lineage)
    }

    /// Writes the prekeys.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(48);
        writer.map(2 + self.extensions.count());
        writer.uint(0).uint(self.revision);
        writer.uint(1).bytes(&self.key);
        writer.extensions(&self.extensions);
        writer.finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prekeys() -> Prekeys {
        Prekeys { revision: 1_767_225_600, key: [9; 32], extensions: Extensions::default() }
    }

    #[test]
    fn w03_prekeys_cut_at_any_byte_are_refused() {
        let bytes = prekeys().encode();
        for length in 0..bytes.len() {
            assert!(Prekeys::decode(&bytes[..length]).is_err(), "{length}");
        }
        assert_eq!(Prekeys::decode(&bytes), Ok(prekeys()));
        let last = Prekeys { revision: REVISION_MAX, ..prekeys() };
        assert_eq!(Prekeys::decode(&last.encode()), Ok(last));
        let beyond = Prekeys { revision: REVISION_MAX + 1, ..prekeys() };
        assert!(Prekeys::decode(&beyond.encode()).is_err());
    }

    #[test]
    fn a_lineage_is_an_extension_that_older_versions_pass_over() {
        assert_eq!(prekeys().lineage(), None);
        let made = Prekeys::new(7, [9; 32], Lineage([3; 8]));
        let read = Prekeys::decode(&made.encode()).unwrap();
        assert_eq!((read.lineage(), read.extensions.count()), (Some(Lineage([3; 8])), 1));
        let odd = Prekeys { extensions: Extensions::of_bytes(LINEAGE_KEY, &[3; 7]), ..prekeys() };
        assert_eq!(odd.lineage(), None);
        let other = Prekeys { extensions: Extensions::of_bytes(17, &[3; 8]), ..prekeys() };
        assert_eq!(other.lineage(), None);
    }

    proptest! {
        #[test]
        fn w07_prekeys_have_one_encoding(at: prop::sample::Index, to: u8) {
            let mut bytes = prekeys().encode();
            let at = at.index(bytes.len());
            bytes[at] = to;
            if let Ok(decoded) = Prekeys::decode(&bytes) {
                prop_assert_eq!(decoded.encode(), bytes);
            }
        }
    }
}

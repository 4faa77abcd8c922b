//! Names of nodes, bundles and links.
//!
//! Ids are written as lower-case base32 without padding (RFC 4648 section 6): 32 characters for a node,
//! 52 for a bundle. Both are hashes, so neither needs a registry.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE32_NOPAD, DecodeError};
use minicbor::{CborLen, Decode, Encode};

/// A node: the first 20 bytes of the BLAKE3 hash of its public keys.
///
/// 160 bits: finding another key pair for somebody's id is out of reach, and 32 characters can be read out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, CborLen)]
#[cbor(transparent)]
pub struct NodeId(#[cbor(with = "minicbor::bytes")] pub [u8; NodeId::BYTES]);

/// A bundle, and the message it carries: the BLAKE3 hash of its immutable part.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, CborLen)]
#[cbor(transparent)]
pub struct BundleId(#[cbor(with = "minicbor::bytes")] pub [u8; BundleId::BYTES]);

/// The first bytes of a [`BundleId`]: what an id exchange sends.
///
/// 96 bits keep a second bundle with a given prefix out of reach (2^96 tries); two bundles of an attacker's
/// own that share one (2^48 tries) only hide each other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, CborLen)]
#[cbor(transparent)]
pub struct IdPrefix(#[cbor(with = "minicbor::bytes")] pub [u8; IdPrefix::BYTES]);

/// The first 8 bytes of a [`BundleId`]: what two nodes find their difference with.
///
/// A second bundle with the short id of a given one takes 2^64 tries, with that of any of a million 2^44. Such a
/// pair is found by a check over the whole ids, and then told apart by [`IdPrefix`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShortId(pub [u8; ShortId::BYTES]);

/// A link of this process, never used again while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// A position in the event log, and the order in which messages came to be known here. Starts at 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Seq(pub u64);

/// A text that is no id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id has {expected} characters of a-z and 2-7")]
pub struct BadId {
    /// Characters a right one has.
    pub expected: usize,
}

impl NodeId {
    /// Length in bytes.
    pub const BYTES: usize = 20;
    /// Length as text, in characters.
    pub const CHARS: usize = 32;
}

impl BundleId {
    /// Length in bytes.
    pub const BYTES: usize = 32;
    /// Length as text, in characters.
    pub const CHARS: usize = 52;

    /// What an id exchange sends for it.
    pub fn prefix(&self) -> IdPrefix {
        let mut prefix = [0; IdPrefix::BYTES];
        prefix.copy_from_slice(&self.0[..IdPrefix::BYTES]);
        IdPrefix(prefix)
    }

    /// What two nodes find their difference with.
    pub fn short(&self) -> ShortId {
        self.prefix().short()
    }
}

impl IdPrefix {
    /// Length in bytes.
    pub const BYTES: usize = 12;

    /// The beginning of it.
    pub fn short(&self) -> ShortId {
        let mut short = [0; ShortId::BYTES];
        short.copy_from_slice(&self.0[..ShortId::BYTES]);
        ShortId(short)
    }
}

impl ShortId {
    /// Length in bytes.
    pub const BYTES: usize = 8;

    /// As a number, most significant byte first.
    pub(crate) fn number(self) -> u64 {
        u64::from_be_bytes(self.0)
    }

    pub(crate) fn from_number(number: u64) -> Self {
        Self(number.to_be_bytes())
    }
}

fn base32(bytes: &[u8]) -> String {
    let mut text = BASE32_NOPAD.encode(bytes);
    text.make_ascii_lowercase();
    text
}

fn from_base32<const N: usize>(text: &str, expected: usize) -> Result<[u8; N], BadId> {
    let bad = BadId { expected };
    if text.len() != expected || text.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(bad);
    }
    let bytes = BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes()).map_err(|_: DecodeError| bad)?;
    bytes.try_into().map_err(|_| bad)
}

macro_rules! id_text {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&base32(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), &base32(&self.0)[..8])
            }
        }
    };
}

id_text!(NodeId);
id_text!(BundleId);
id_text!(IdPrefix);

impl FromStr for NodeId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        from_base32(text, Self::CHARS).map(Self)
    }
}

impl FromStr for BundleId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        from_base32(text, Self::CHARS).map(Self)
    }
}

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_the_round_trip_through_text() {
        let node = NodeId([0xa5; 20]);
        assert_eq!(node.to_string().len(), NodeId::CHARS);
        assert_eq!(node.to_string().parse(), Ok(node));
        let bundle = BundleId([7; 32]);
        assert_eq!(bundle.to_string().len(), BundleId::CHARS);
        assert_eq!(bundle.to_string().parse(), Ok(bundle));
    }

    #[test]
    fn w07_an_id_has_one_spelling() {
        let text = NodeId([0xa5; 20]).to_string();
        assert!(text.to_uppercase().parse::<NodeId>().is_err());
        assert!(text[1..].parse::<NodeId>().is_err());
        // 52 characters hold 260 bits: the 4 spare ones must be zero.
        let mut loose = BundleId([0; 32]).to_string();
        loose.replace_range(51.., "b");
        assert!(loose.parse::<BundleId>().is_err());
    }
}

//! One entry of a group's roster: what somebody did to the group, signed by them.
//!
//! An entry names all entries its author had seen that nobody else had named yet, by their hashes: so it covers
//! everything the author knew, and nobody can claim afterwards to have written it earlier. The first entry names
//! none; its hash is the group's id.

use std::fmt;
use std::str::FromStr;

use minicbor::{CborLen, Decode, Encode};

use crate::canonical::{Malformed, Reader, Writer};
use crate::id::{BadId, BundleId, NodeId};
use crate::identity::{Identity, PublicKeys};
use crate::limits::{GROUP_ENTRY_BYTES_MAX, GROUP_PARENTS_MAX};
use crate::profile::check_name;

const CONTEXT: &str = "MeshLink v1 group entry";
const SIGNATURE_LABEL: &[u8] = b"MeshLink v1 group entry signature";
const SIGNATURE_BYTES: usize = 64;

/// The hash of an entry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, CborLen)]
#[cbor(transparent)]
pub struct EntryHash(#[cbor(with = "minicbor::bytes")] pub [u8; EntryHash::BYTES]);

/// A group: the hash of its first entry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, CborLen)]
#[cbor(transparent)]
pub struct GroupId(#[cbor(with = "minicbor::bytes")] pub [u8; GroupId::BYTES]);

/// What somebody did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Founded the group, and is its first member and administrator.
    Create {
        /// Its name.
        name: String,
        /// Whether new members get what was sent before.
        history: bool,
        /// Makes two groups of one name two.
        salt: [u8; 16],
    },
    /// Invited somebody, or made a member an administrator.
    Add {
        /// Whom.
        who: PublicKeys,
        /// Whether as an administrator.
        is_admin: bool,
    },
    /// Accepted the invitation.
    Join,
    /// Left, or declined.
    Leave,
    /// Removed somebody.
    Remove {
        /// Whom.
        who: NodeId,
    },
    /// Gave the group another name.
    Rename {
        /// Which.
        name: String,
    },
    /// Chose whether new members get what was sent before.
    Policy {
        /// Whether they do.
        history: bool,
    },
}

/// See the module's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The entries before it, in order; none for the first.
    pub parents: Vec<EntryHash>,
    /// Whose it is.
    pub author: PublicKeys,
    /// What they did.
    pub act: Act,
}

/// An entry with the bytes that were signed, and the signature.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedEntry {
    /// What it says.
    pub entry: Entry,
    /// Its name.
    pub hash: EntryHash,
    /// The entry's bytes, then the signature.
    pub bytes: Vec<u8>,
}

impl EntryHash {
    /// Length in bytes.
    pub const BYTES: usize = 32;
}

impl GroupId {
    /// Length in bytes.
    pub const BYTES: usize = 32;
}

impl Act {
    fn number(&self) -> u64 {
        match self {
            Self::Create { .. } => 0,
            Self::Add { .. } => 1,
            Self::Join => 2,
            Self::Leave => 3,
            Self::Remove { .. } => 4,
            Self::Rename { .. } => 5,
            Self::Policy { .. } => 6,
        }
    }
}

impl Entry {
    /// Signs the entry. Its author is the signer.
    pub fn sign(mut self, identity: &Identity) -> SignedEntry {
        self.author = identity.public();
        self.parents.sort();
        let mut bytes = self.encode();
        let hash = hash(&bytes);
        bytes.extend_from_slice(&identity.sign_words(&signed_words(&hash)));
        SignedEntry { entry: self, hash, bytes }
    }

    fn encode(&self) -> Vec<u8> {
        let (mut who, mut name, mut flag, mut salt) = (None, None, None, None);
        match &self.act {
            Act::Create { name: given, history, salt: drawn } => {
                (name, flag, salt) = (Some(given), Some(*history), Some(drawn));
            }
            Act::Add { who: keys, is_admin } => {
                (who, flag) = (Some(keys.to_bytes().to_vec()), Some(*is_admin))
            }
            Act::Remove { who: id } => who = Some(id.0.to_vec()),
            Act::Rename { name: given } => name = Some(given),
            Act::Policy { history } => flag = Some(*history),
            Act::Join | Act::Leave => {}
        }
        let optional = [who.is_some(), name.is_some(), flag.is_some(), salt.is_some()];
        let mut writer = Writer::with_capacity(GROUP_ENTRY_BYTES_MAX);
        writer.map(3 + optional.iter().filter(|there| **there).count() as u64);
        writer.uint(0).array(self.parents.len() as u64);
        for parent in &self.parents {
            writer.bytes(&parent.0);
        }
        writer.uint(1).bytes(&self.author.to_bytes());
        writer.uint(2).uint(self.act.number());
        if let Some(who) = &who {
            writer.uint(3).bytes(who);
        }
        if let Some(name) = name {
            writer.uint(4).text(name);
        }
        if let Some(flag) = flag {
            writer.uint(5).uint(u64::from(flag));
        }
        if let Some(salt) = salt {
            writer.uint(6).bytes(salt);
        }
        writer.finish()
    }
}

impl SignedEntry {
    /// Reads an entry and checks its signature.
    ///
    /// # Errors
    /// The bytes are not the one right encoding of an entry that its author signed.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > GROUP_ENTRY_BYTES_MAX {
            return Err(Malformed("an entry that is too long"));
        }
        let signed = Self::decode_kept(bytes)?;
        let signature = bytes.last_chunk().expect("it was cut off just now");
        if !signed.entry.author.has_signed(&signed_words(&signed.hash), signature) {
            return Err(Malformed("an entry that its author did not sign"));
        }
        Ok(signed)
    }

    /// Reads an entry whose signature was checked before it was kept.
    pub(crate) fn decode_kept(bytes: &[u8]) -> Result<Self, Malformed> {
        let Some((body, _)) = bytes.split_last_chunk::<SIGNATURE_BYTES>() else {
            return Err(Malformed("an entry without a signature"));
        };
        Ok(Self { entry: decode_body(body)?, hash: hash(body), bytes: bytes.to_vec() })
    }

    /// The node that made it.
    pub fn author(&self) -> NodeId {
        self.entry.author.node_id()
    }

    /// The group it founds, if it does.
    pub fn founds(&self) -> Option<GroupId> {
        matches!(self.entry.act, Act::Create { .. }).then_some(GroupId(self.hash.0))
    }
}

fn signed_words(hash: &EntryHash) -> Vec<u8> {
    [SIGNATURE_LABEL, &hash.0].concat()
}

fn hash(body: &[u8]) -> EntryHash {
    let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
    hasher.update(body);
    EntryHash(*hasher.finalize().as_bytes())
}

/// The fields met so far.
#[derive(Default)]
struct Found<'b> {
    parents: Option<Vec<EntryHash>>,
    author: Option<PublicKeys>,
    act: Option<u64>,
    who: Option<&'b [u8]>,
    name: Option<&'b str>,
    flag: Option<bool>,
    salt: Option<[u8; 16]>,
}

fn decode_body(body: &[u8]) -> Result<Entry, Malformed> {
    let mut reader = Reader::new(body);
    let mut found = Found::default();
    let mut map = reader.map()?;
    while let Some(key) = map.key()? {
        let reader = &mut *map.reader;
        match key {
            0 => found.parents = Some(read_parents(reader)?),
            1 => found.author = Some(PublicKeys::from_bytes(&reader.byte_array()?)),
            2 => found.act = Some(reader.uint()?),
            3 => found.who = Some(reader.bytes()?),
            4 => found.name = Some(reader.text()?),
            5 => found.flag = Some(read_flag(reader)?),
            6 => found.salt = Some(reader.byte_array()?),
            _ => return Err(Malformed("an entry's field of a later version")),
        }
    }
    if map.extensions().count() > 0 {
        return Err(Malformed("an entry's field of a later version"));
    }
    reader.end()?;
    found.into_entry()
}

fn read_parents(reader: &mut Reader<'_>) -> Result<Vec<EntryHash>, Malformed> {
    let count = reader.array()?;
    if count > GROUP_PARENTS_MAX as u64 {
        return Err(Malformed("an entry with too many before it"));
    }
    let mut parents: Vec<EntryHash> = Vec::new();
    for _ in 0..count {
        let parent = EntryHash(reader.byte_array()?);
        if parents.last().is_some_and(|last| *last >= parent) {
            return Err(Malformed("entries out of order"));
        }
        parents.push(parent);
    }
    Ok(parents)
}

pub(super) fn read_flag(reader: &mut Reader<'_>) -> Result<bool, Malformed> {
    match reader.uint()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Malformed("a flag that is neither")),
    }
}

impl Found<'_> {
    fn into_entry(self) -> Result<Entry, Malformed> {
        let missing = Malformed("an entry's field is missing, or one too many is there");
        let (Some(parents), Some(author)) = (self.parents, self.author) else { return Err(missing) };
        let act = match (self.act, self.who, self.name, self.flag, self.salt) {
            (Some(0), None, Some(name), Some(history), Some(salt)) => {
                Act::Create { name: name.to_owned(), history, salt }
            }
            (Some(1), Some(who), None, Some(is_admin), None) => {
                let keys = who.try_into().map_err(|_| Malformed("a member without keys"))?;
                Act::Add { who: PublicKeys::from_bytes(keys), is_admin }
            }
            (Some(2), None, None, None, None) => Act::Join,
            (Some(3), None, None, None, None) => Act::Leave,
            (Some(4), Some(who), None, None, None) => {
                Act::Remove { who: NodeId(who.try_into().map_err(|_| Malformed("a member without an id"))?) }
            }
            (Some(5), None, Some(name), None, None) => Act::Rename { name: name.to_owned() },
            (Some(6), None, None, Some(history), None) => Act::Policy { history },
            _ => return Err(missing),
        };
        if let Act::Create { name, .. } | Act::Rename { name } = &act {
            check_name(name).map_err(Malformed)?;
        }
        if parents.is_empty() != matches!(act, Act::Create { .. }) {
            return Err(Malformed("a first entry that is none, or another that has none before it"));
        }
        Ok(Entry { parents, author, act })
    }
}

fn short(bytes: &[u8; 32]) -> String {
    BundleId(*bytes).to_string()[..8].to_owned()
}

impl fmt::Debug for EntryHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EntryHash({})", short(&self.0))
    }
}

impl fmt::Debug for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GroupId({})", short(&self.0))
    }
}

impl fmt::Debug for SignedEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedEntry").field("hash", &self.hash).field("entry", &self.entry).finish()
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", BundleId(self.0))
    }
}

impl FromStr for GroupId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        text.parse().map(|BundleId(bytes)| Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(n: u8) -> Identity {
        Identity::from_bytes(&[n; 64])
    }

    fn acts() -> Vec<Act> {
        let keys = identity(9).public();
        vec![
            Act::Create { name: "Hikers".to_owned(), history: true, salt: [1; 16] },
            Act::Add { who: keys, is_admin: false },
            Act::Join,
            Act::Leave,
            Act::Remove { who: keys.node_id() },
            Act::Rename { name: "Climbers".to_owned() },
            Act::Policy { history: false },
        ]
    }

    fn signed(act: Act) -> SignedEntry {
        let is_first = matches!(act, Act::Create { .. });
        let parents = if is_first { Vec::new() } else { vec![EntryHash([7; 32]), EntryHash([3; 32])] };
        let identity = identity(1);
        Entry { parents, author: identity.public(), act }.sign(&identity)
    }

    #[test]
    fn every_entry_survives_the_round_trip() {
        for act in acts() {
            let entry = signed(act);
            assert!(entry.bytes.len() <= GROUP_ENTRY_BYTES_MAX);
            assert_eq!(SignedEntry::decode(&entry.bytes), Ok(entry));
        }
    }

    #[test]
    fn c14_w03_w07_an_entry_changed_or_cut_at_any_byte_is_refused() {
        for act in acts() {
            let good = signed(act).bytes;
            for at in 0..good.len() {
                assert!(SignedEntry::decode(&good[..at]).is_err(), "cut at {at}");
                for flip in [1, 0x80] {
                    let mut bytes = good.clone();
                    bytes[at] ^= flip;
                    assert!(SignedEntry::decode(&bytes).is_err(), "changed at {at}");
                }
            }
        }
    }

    #[test]
    fn c14_an_entry_in_anothers_name_is_refused() {
        let (mallory, alice) = (identity(2), identity(1));
        let mut forged = Entry { parents: vec![EntryHash([1; 32])], author: alice.public(), act: Act::Join };
        let mut body = forged.encode();
        let signature = mallory.sign_words(&signed_words(&hash(&body)));
        body.extend_from_slice(&signature);
        assert!(SignedEntry::decode(&body).is_err());
        // The same signature does for nothing else of hers either.
        forged.author = mallory.public();
        let mut body = forged.encode();
        let as_bundle = mallory.sign(&hash(&body).0);
        body.extend_from_slice(&as_bundle);
        assert!(SignedEntry::decode(&body).is_err());
    }

    #[test]
    fn only_the_first_entry_has_none_before_it() {
        let identity = identity(1);
        let rootless = Entry { parents: Vec::new(), author: identity.public(), act: Act::Leave };
        assert!(SignedEntry::decode(&rootless.sign(&identity).bytes).is_err());
        let create = Act::Create { name: "x".to_owned(), history: false, salt: [0; 16] };
        let rooted = Entry { parents: vec![EntryHash([1; 32])], author: identity.public(), act: create };
        assert!(SignedEntry::decode(&rooted.sign(&identity).bytes).is_err());
    }

    #[test]
    fn c01_an_entrys_signature_is_one_on_its_domain_and_its_hash() {
        for act in acts() {
            let entry = signed(act);
            let words = [&b"MeshLink v1 group entry signature"[..], &entry.hash.0].concat();
            assert!(entry.entry.author.has_signed(&words, entry.bytes.last_chunk().unwrap()));
        }
    }

    #[test]
    fn w10_lengths_and_parents_have_their_ends() {
        let too_long = Err(Malformed("an entry that is too long"));
        assert_eq!(SignedEntry::decode(&[0; GROUP_ENTRY_BYTES_MAX + 1]), too_long);
        assert_eq!(SignedEntry::decode(&[0; 2 * GROUP_ENTRY_BYTES_MAX]), too_long);
        assert_ne!(SignedEntry::decode(&[0; GROUP_ENTRY_BYTES_MAX]), too_long);
        let identity = identity(1);
        let after = |count: usize| {
            let parents = (0..count).map(|n| EntryHash([n as u8 + 1; 32])).collect();
            SignedEntry::decode(
                &Entry { parents, author: identity.public(), act: Act::Leave }.sign(&identity).bytes,
            )
        };
        assert_eq!(after(GROUP_PARENTS_MAX).unwrap().entry.parents.len(), GROUP_PARENTS_MAX);
        assert_eq!(after(GROUP_PARENTS_MAX + 1), Err(Malformed("an entry with too many before it")));
        assert_eq!(after(GROUP_PARENTS_MAX + 2), Err(Malformed("an entry with too many before it")));
    }

    #[test]
    fn w06_a_field_of_a_later_version_is_refused_in_an_entry() {
        let (good, identity) = (signed(Act::Leave), identity(1));
        let (body, _) = good.bytes.split_last_chunk::<SIGNATURE_BYTES>().unwrap();
        let mut writer = Writer::default();
        writer.uint(16).bytes(&[1]);
        let mut body = [body, &writer.finish()].concat();
        // One entry more in the map.
        body[0] += 1;
        let signature = identity.sign_words(&signed_words(&hash(&body)));
        let later = [&body[..], &signature].concat();
        assert_eq!(SignedEntry::decode(&later), Err(Malformed("an entry's field of a later version")));
    }

    #[test]
    fn a_groups_id_survives_the_round_trip_through_its_text() {
        let id = signed(acts().swap_remove(0)).founds().unwrap();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(signed(Act::Leave).founds(), None);
    }

    #[test]
    fn w11_a_groups_name_follows_the_rules_for_names() {
        for name in ["", "a\u{202e}b", &"x".repeat(65)] {
            assert!(SignedEntry::decode(&signed(Act::Rename { name: name.to_owned() }).bytes).is_err());
        }
    }
}

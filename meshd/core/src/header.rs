//! The header of a bundle: the part of it that every carrier reads.
//!
//! A map with integer keys, written in `docs/bundle.cddl`. All of it is covered by the bundle's id; what
//! changes on the way (age, hops, copies) travels beside it, and how long the payload is, the payload says itself: the id
//! binds it.

use crate::canonical::{Extensions, Malformed, Reader, Writer};
use crate::identity::PublicKeys;
use crate::limits::{CREATED_UNIX_MS_MAX, HEADER_BYTES_MAX};
use crate::receipt::Commitment;
use crate::store::Priority;

/// The version of the bundle format.
pub const BUNDLE_VERSION: u64 = 1;

const GROUP: u16 = 9;

/// What a bundle carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A signed public post to a channel.
    Post,
    /// What a node says about itself, signed; the newest counts.
    Profile,
    /// A post of a client that knows nothing of MeshLink, signed by nobody.
    Bridged,
    /// A message for one recipient that has the sender as a contact: nobody else can read it, or tell for whom
    /// or from whom it is.
    Sealed,
    /// The same for a recipient that may not know the sender yet: whoever has it tries to open it.
    Intro,
    /// Proof that a sealed bundle arrived or was read.
    Receipt,
    /// Keys to seal messages for a node with, signed; the newest counts.
    Prekeys,
    /// A post to a password channel: only its members can read it, or tell which channel it is of.
    SecretPost,
    /// A message to a group: nobody outside can read it, or tell which group's or whose it is.
    Group,
    /// Something a later version knows: carried, not read.
    Other(u16),
}

/// See the module's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// What it carries.
    pub kind: Kind,
    /// What its author's clock said, in milliseconds since 1970; `None` if that was not to be trusted.
    pub created_unix_ms: Option<u64>,
    /// How long it may be under way, in seconds, at least 1. Carriers may grant less.
    pub lifetime_s: u32,
    /// How urgent it is.
    pub priority: Priority,
    /// Its author, for kinds that are signed.
    pub origin: Option<PublicKeys>,
    /// Makes two posts of the same words two bundles (threat R-03).
    pub salt: Option<[u8; 8]>,
    /// What a receipt for it has to open, for kinds that ask for one.
    pub commitment: Option<Commitment>,
    /// What a later version added.
    pub extensions: Extensions,
}

impl Kind {
    /// As in the header.
    pub fn number(self) -> u16 {
        match self {
            Self::Post => 1,
            Self::Profile => 2,
            Self::Bridged => 3,
            Self::Sealed => 4,
            Self::Intro => 5,
            Self::Receipt => 6,
            Self::Prekeys => 7,
            Self::SecretPost => 8,
            Self::Group => GROUP,
            Self::Other(number) => number,
        }
    }

    /// The other way round.
    pub fn from_number(number: u16) -> Self {
        match number {
            1 => Self::Post,
            2 => Self::Profile,
            3 => Self::Bridged,
            4 => Self::Sealed,
            5 => Self::Intro,
            6 => Self::Receipt,
            7 => Self::Prekeys,
            8 => Self::SecretPost,
            GROUP => Self::Group,
            other => Self::Other(other),
        }
    }

    /// Whether a bundle of this kind must name its author, or must not. Nobody knows for later kinds.
    pub(crate) fn is_signed(self) -> Option<bool> {
        match self {
            Self::Post | Self::Profile | Self::Prekeys => Some(true),
            Self::Bridged | Self::Sealed | Self::Intro | Self::Receipt | Self::SecretPost | Self::Group => {
                Some(false)
            }
            Self::Other(_) => None,
        }
    }
}

impl Header {
    /// A header that says nothing that tells its bundle apart (threat C-15): for what carriers may not know more of.
    pub(crate) fn bare(kind: Kind, lifetime_s: u32, priority: Priority) -> Self {
        Self {
            kind,
            created_unix_ms: None,
            lifetime_s,
            priority,
            origin: None,
            salt: None,
            commitment: None,
            extensions: Extensions::default(),
        }
    }

    /// Whether it says nothing that tells its bundle apart; that it asks for a receipt is the kind's matter.
    pub(crate) fn is_bare(&self) -> bool {
        self.created_unix_ms.is_none() && self.salt.is_none() && self.extensions.count() == 0
    }

    /// Reads a header.
    ///
    /// # Errors
    /// The bytes are not the one right encoding of a header of this version.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > HEADER_BYTES_MAX {
            return Err(Malformed("a header that is too long"));
        }
        let mut reader = Reader::new(bytes);
        let mut found = Found::default();
        let mut map = reader.map()?;
        while let Some(key) = map.key()? {
            found.read(key, map.reader)?;
        }
        let extensions = map.extensions();
        reader.end()?;
        found.into_header(extensions)
    }

    /// Writes the header.
    pub fn encode(&self) -> Vec<u8> {
        let optional = [
            self.created_unix_ms.is_some(),
            self.origin.is_some(),
            self.salt.is_some(),
            self.commitment.is_some(),
        ];
        let entries = 4 + optional.iter().filter(|there| **there).count() as u64 + self.extensions.count();
        let mut writer = Writer::with_capacity(128);
        writer.map(entries);
        writer.uint(0).uint(BUNDLE_VERSION);
        writer.uint(1).uint(u64::from(self.kind.number()));
        if let Some(created) = self.created_unix_ms {
            writer.uint(2).uint(created);
        }
        writer.uint(3).uint(u64::from(self.lifetime_s));
        writer.uint(4).uint(priority_number(self.priority));
        if let Some(origin) = &self.origin {
            writer.uint(5).bytes(&origin.to_bytes());
        }
        if let Some(salt) = &self.salt {
            writer.uint(6).bytes(salt);
        }
        if let Some(commitment) = &self.commitment {
            writer.uint(7).bytes(&commitment.0);
        }
        writer.extensions(&self.extensions);
        writer.finish()
    }

    /// Its lifetime, in milliseconds.
    pub fn lifetime_ms(&self) -> u64 {
        u64::from(self.lifetime_s) * 1000
    }
}

fn priority_number(priority: Priority) -> u64 {
    match priority {
        Priority::Sos => 0,
        Priority::Normal => 1,
        Priority::Bulk => 2,
    }
}

pub(crate) fn priority_from_number(number: u64) -> Result<Priority, Malformed> {
    match number {
        0 => Ok(Priority::Sos),
        1 => Ok(Priority::Normal),
        2 => Ok(Priority::Bulk),
        _ => Err(Malformed("a priority that is none")),
    }
}

/// The fields met so far.
#[derive(Default)]
struct Found {
    version: Option<u64>,
    kind: Option<u16>,
    created_unix_ms: Option<u64>,
    lifetime_s: Option<u32>,
    priority: Option<Priority>,
    origin: Option<PublicKeys>,
    salt: Option<[u8; 8]>,
    commitment: Option<Commitment>,
}

impl Found {
    fn read(&mut self, key: u64, reader: &mut Reader<'_>) -> Result<(), Malformed> {
        match key {
            0 => {
                let version = reader.uint()?;
                if version != BUNDLE_VERSION {
                    return Err(Malformed("a bundle of another version"));
                }
                self.version = Some(version);
            }
            1 => self.kind = Some(small(reader.uint()?, "a kind beyond 65535")?),
            2 => {
                let created = reader.uint()?;
                if created > CREATED_UNIX_MS_MAX {
                    return Err(Malformed("a creation time beyond the year 9999"));
                }
                self.created_unix_ms = Some(created);
            }
            3 => self.lifetime_s = Some(small(reader.uint()?, "a lifetime beyond 2^32 seconds")?),
            4 => self.priority = Some(priority_from_number(reader.uint()?)?),
            5 => self.origin = Some(PublicKeys::from_bytes(&reader.byte_array()?)),
            6 => self.salt = Some(reader.byte_array()?),
            7 => self.commitment = Some(Commitment(reader.byte_array()?)),
            _ => return Err(Malformed("a header field of a later version")),
        }
        Ok(())
    }

    fn into_header(self, extensions: Extensions) -> Result<Header, Malformed> {
        let missing = Malformed("a header field is missing");
        self.version.ok_or(missing)?;
        let header = Header {
            kind: Kind::from_number(self.kind.ok_or(missing)?),
            created_unix_ms: self.created_unix_ms,
            lifetime_s: self.lifetime_s.ok_or(missing)?,
            priority: self.priority.ok_or(missing)?,
            origin: self.origin,
            salt: self.salt,
            commitment: self.commitment,
            extensions,
        };
        if header.lifetime_s == 0 {
            return Err(Malformed("a lifetime of nothing"));
        }
        Ok(header)
    }
}

fn small<T: TryFrom<u64>>(value: u64, otherwise: &'static str) -> Result<T, Malformed> {
    T::try_from(value).map_err(|_| Malformed(otherwise))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header() -> Header {
        Header {
            kind: Kind::Post,
            created_unix_ms: Some(1_760_000_000_000),
            lifetime_s: 604_800,
            priority: Priority::Normal,
            origin: Some(PublicKeys { ed: [1; 32], x: [2; 32] }),
            salt: Some([3; 8]),
            commitment: None,
            extensions: Extensions::default(),
        }
    }

    #[test]
    fn w03_a_header_cut_at_any_byte_is_refused() {
        let bytes = header().encode();
        assert!(bytes.len() <= 113, "{}", bytes.len());
        for length in 0..bytes.len() {
            assert!(Header::decode(&bytes[..length]).is_err(), "{length}");
        }
        assert_eq!(Header::decode(&bytes), Ok(header()));
    }

    #[test]
    fn w07_bytes_after_a_header_are_refused() {
        for extensions in [Extensions::default(), Extensions::of_bytes(16, &[7; 3])] {
            let mut bytes = Header { extensions, ..header() }.encode();
            bytes.push(0);
            assert!(Header::decode(&bytes).is_err());
        }
    }

    #[test]
    fn w06_another_version_is_refused_not_guessed_at() {
        let bytes = header().encode();
        assert_eq!(bytes[1..3], [0, 1]);
        for version in [0, 2, 23] {
            let mut other = bytes.clone();
            other[2] = version;
            assert_eq!(Header::decode(&other), Err(Malformed("a bundle of another version")));
        }
    }

    #[test]
    fn w06_a_reserved_field_is_refused_and_an_extension_kept() {
        for (key, kept) in [(8, false), (9, false), (15, false), (16, true), (23, true)] {
            let mut bytes = header().encode();
            assert_eq!(bytes[0], 0xa7);
            bytes[0] = 0xa8;
            bytes.extend_from_slice(&[key, 0x41, 0xee]);
            let decoded = Header::decode(&bytes);
            assert_eq!(decoded.is_ok(), kept, "key {key}");
            if let Ok(decoded) = decoded {
                assert_eq!(decoded.encode(), bytes);
            }
        }
    }

    #[test]
    fn l04_senseless_values_are_refused() {
        let bad = [
            Header { lifetime_s: 0, ..header() },
            Header { created_unix_ms: Some(CREATED_UNIX_MS_MAX + 1), ..header() },
        ];
        for header in bad {
            assert!(Header::decode(&header.encode()).is_err(), "{header:?}");
        }
    }

    #[test]
    fn w01_a_value_at_its_limit_is_taken_and_one_beyond_it_is_not() {
        let latest = Header { created_unix_ms: Some(CREATED_UNIX_MS_MAX), ..header() };
        assert_eq!(Header::decode(&latest.encode()), Ok(latest));
        let with = |bytes: usize| {
            let extensions = Extensions::of_bytes(16, &vec![7; bytes]);
            Header { extensions, ..header() }.encode()
        };
        let around = with(100).len() - 100;
        let longest = with(HEADER_BYTES_MAX - around);
        assert_eq!(longest.len(), HEADER_BYTES_MAX);
        assert_eq!(Header::decode(&longest).map(|header| header.encode()), Ok(longest));
        assert!(Header::decode(&with(HEADER_BYTES_MAX - around + 1)).is_err());
    }

    prop_compose! {
        fn any_header()(
            kind: u16,
            created_unix_ms in proptest::option::of(0..=CREATED_UNIX_MS_MAX),
            lifetime_s in 1..=u32::MAX,
            priority in prop_oneof![Just(Priority::Sos), Just(Priority::Normal), Just(Priority::Bulk)],
            origin in proptest::option::of(any::<([u8; 32], [u8; 32])>()),
            salt: Option<[u8; 8]>,
            commitment: Option<[u8; 16]>,
        ) -> Header {
            Header {
                kind: Kind::from_number(kind),
                created_unix_ms,
                lifetime_s,
                priority,
                origin: origin.map(|(ed, x)| PublicKeys { ed, x }),
                salt,
                commitment: commitment.map(Commitment),
                extensions: Extensions::default(),
            }
        }
    }

    proptest! {
        #[test]
        fn a_header_survives_the_round_trip(header in any_header()) {
            prop_assert_eq!(Header::decode(&header.encode()), Ok(header));
        }

        #[test]
        fn w07_what_decodes_encodes_to_the_same_bytes(header in any_header(), at: prop::sample::Index, to: u8) {
            let mut bytes = header.encode();
            let at = at.index(bytes.len());
            bytes[at] = to;
            if let Ok(decoded) = Header::decode(&bytes) {
                prop_assert_eq!(decoded.encode(), bytes);
            }
        }

        #[test]
        fn w03_no_bytes_make_the_decoder_panic(bytes: Vec<u8>) {
            if let Ok(decoded) = Header::decode(&bytes) {
                prop_assert_eq!(decoded.encode(), bytes);
            }
        }
    }
}

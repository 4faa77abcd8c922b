//! The file that a node's identity and contacts are kept in, for another machine or another day.
//!
//! ```text
//! meshlink-backup-1 <KiB> <passes> <lanes> <16 bytes of salt, hex> <bytes of the rest>\n
//! <24 bytes of nonce> <CBOR, sealed>
//! ```
//!
//! It is sealed (XChaCha20-Poly1305) with what Argon2id makes of a passphrase of its own, and bound to its first line.
//! So it opens as a whole or not at all, nothing in it is read before that, and who finds it learns its length (threats
//! K-02, K-03). What is in it and what never is, says `meshlink_core`'s `Export`.

use chacha20poly1305::{Key, KeyInit, XChaCha20Poly1305};
use data_encoding::HEXLOWER;
use meshlink_core::{Export, Identity};
use minicbor::{CborLen, Decode, Encode};
use zeroize::Zeroizing;

use super::passphrase::{Cost, Passphrase, PassphraseError};
use super::record_keys;
use crate::identity_file::Entropy;

const LABEL: &str = "meshlink-backup-";
const VERSION: &str = "1";
/// Longest backup, in bytes: a thousand contacts take a quarter of it.
pub const BACKUP_BYTES_MAX: usize = 1024 * 1024;
/// Longest first line.
const HEAD_BYTES_MAX: usize = 128;

/// What a backup holds.
#[derive(Debug)]
pub struct Backup {
    /// The node's keys.
    pub identity: Identity,
    /// Its contacts and what else is its.
    pub export: Export,
    /// When it was made, in milliseconds since 1970.
    pub made_unix_ms: Option<u64>,
}

/// The CBOR of it.
#[derive(Encode, Decode, CborLen)]
struct Body {
    #[cbor(n(0), with = "minicbor::bytes")]
    identity: Vec<u8>,
    #[cbor(n(1), with = "minicbor::bytes")]
    export: Vec<u8>,
    #[n(2)]
    made_unix_ms: Option<u64>,
}

/// Why a backup is not made or not read. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// It is something else.
    #[error("that is no backup of a MeshLink node")]
    Foreign,
    /// Another version made it.
    #[error("the backup has the form {0}, which this version does not know; a newer meshd reads it")]
    OtherVersion(String),
    /// A part is missing, or there is more.
    #[error(
        "the backup was cut short or added to: it has {found} bytes after its first line, not {expected}"
    )]
    Length {
        /// What its first line says.
        expected: usize,
        /// What there is.
        found: usize,
    },
    /// The passphrase is another one, or a byte is.
    #[error("the backup does not open: the passphrase is another one, or the file was changed")]
    Sealed,
    /// It opens, and what is in it can't be.
    #[error("the backup opens, but can't be used: {0}")]
    Content(&'static str),
    /// The passphrase can't be used.
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
    /// The system gives no randomness.
    #[error("the system gave no random bytes ({0}); nothing was made")]
    NoEntropy(String),
}

impl Backup {
    /// Writes it. Takes as long as the passphrase costs, twice.
    ///
    /// # Errors
    /// [`BackupError::Passphrase`] and [`BackupError::NoEntropy`].
    pub fn seal(&self, passphrase: &Passphrase, entropy: Entropy<'_>) -> Result<Vec<u8>, BackupError> {
        let mut salt = [0; 16];
        entropy(&mut salt).map_err(BackupError::NoEntropy)?;
        let mut body = Body {
            identity: self.identity.secret_bytes().to_vec(),
            export: self.export.to_bytes(),
            made_unix_ms: self.made_unix_ms,
        };
        let plain = Zeroizing::new(minicbor::to_vec(&body).expect("a Vec takes every byte"));
        zeroize::Zeroize::zeroize(&mut body.identity);
        let head = Head { cost: Cost::calibrated()?, salt, bytes: plain.len() + super::SEAL_BYTES };
        let line = head.line();
        let sealed = record_keys::seal(&head.cipher(passphrase)?, line.as_bytes(), &plain)
            .map_err(|error| BackupError::NoEntropy(error.to_string()))?;
        Ok([line.as_bytes(), &sealed].concat())
    }

    /// Reads it. Takes as long as its passphrase costs.
    ///
    /// # Errors
    /// [`BackupError`].
    pub fn open(bytes: &[u8], passphrase: &Passphrase) -> Result<Self, BackupError> {
        let (head, sealed) = Head::parse(bytes)?;
        if sealed.len() != head.bytes {
            return Err(BackupError::Length { expected: head.bytes, found: sealed.len() });
        }
        let plain = record_keys::open(&head.cipher(passphrase)?, head.line().as_bytes(), sealed)
            .ok_or(BackupError::Sealed)?;
        let body: Body =
            minicbor::decode(&plain).map_err(|_| BackupError::Content("its parts are others"))?;
        let identity = Zeroizing::new(body.identity);
        let secret: &[u8; Identity::BYTES] =
            identity.as_slice().try_into().map_err(|_| BackupError::Content("its key has another length"))?;
        let export = Export::from_bytes(&body.export).map_err(BackupError::Content)?;
        Ok(Self { identity: Identity::from_bytes(secret), export, made_unix_ms: body.made_unix_ms })
    }
}

/// The first line.
struct Head {
    cost: Cost,
    salt: [u8; 16],
    bytes: usize,
}

impl Head {
    fn line(&self) -> String {
        let Cost { memory_kib, passes, lanes } = self.cost;
        let salt = HEXLOWER.encode(&self.salt);
        format!("{LABEL}{VERSION} {memory_kib} {passes} {lanes} {salt} {}\n", self.bytes)
    }

    /// Reads it, with what follows. Only the one way of writing it is read.
    fn parse(bytes: &[u8]) -> Result<(Self, &[u8]), BackupError> {
        let end = bytes.iter().take(HEAD_BYTES_MAX).position(|byte| *byte == b'\n');
        let (line, rest) = bytes.split_at(end.ok_or(BackupError::Foreign)? + 1);
        let line = std::str::from_utf8(line).map_err(|_| BackupError::Foreign)?;
        let words: Vec<&str> = line.trim_end().split(' ').collect();
        let version = words.first().and_then(|word| word.strip_prefix(LABEL)).ok_or(BackupError::Foreign)?;
        if version != VERSION {
            return Err(BackupError::OtherVersion(version.to_owned()));
        }
        let [_, memory, passes, lanes, salt, length] = words.as_slice() else {
            return Err(BackupError::Foreign);
        };
        let number = |word: &str| word.parse::<u32>().map_err(|_| BackupError::Foreign);
        let cost = Cost::read(number(memory)?, number(passes)?, number(lanes)?)
            .ok_or(BackupError::Content("it asks for more work than a passphrase may cost"))?;
        let salt = HEXLOWER.decode(salt.as_bytes()).ok().and_then(|salt| salt.try_into().ok());
        let head = Self { cost, salt: salt.ok_or(BackupError::Foreign)?, bytes: number(length)? as usize };
        if head.line() != line {
            return Err(BackupError::Foreign);
        }
        Ok((head, rest))
    }

    fn cipher(&self, passphrase: &Passphrase) -> Result<XChaCha20Poly1305, BackupError> {
        let key = self.cost.key(passphrase, &self.salt)?;
        Ok(XChaCha20Poly1305::new(Key::from_slice(&*key)))
    }
}

#[cfg(test)]
mod tests {
    use meshlink_core::mem::MemStore;
    use meshlink_core::{Limits, Node, Now};

    use super::*;
    use crate::identity_file::system_entropy;

    fn backup() -> Backup {
        let now = Now { mono_ms: 0, unix_ms: Some(1_767_225_600_000) };
        let identity = || Identity::from_bytes(&[7; 64]);
        let mut node = Node::open(MemStore::new(), identity(), [1; 32], Limits::default(), now).unwrap();
        let contact = meshlink_core::node::ContactDraft {
            id: Some(Identity::from_bytes(&[8; 64]).node_id()),
            name: Some("canary-alice".to_owned()),
            ..Default::default()
        };
        node.add_contact(contact, now).unwrap();
        Backup { identity: identity(), export: node.export().unwrap(), made_unix_ms: now.unix_ms }
    }

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::parse(text).unwrap()
    }

    #[test]
    fn k02_a_backup_opens_with_its_passphrase_alone_and_shows_nothing_without() {
        let word = passphrase("correct horse");
        let sealed = backup().seal(&word, &system_entropy).unwrap();
        let read = Backup::open(&sealed, &word).unwrap();
        assert_eq!(read.identity.node_id(), Identity::from_bytes(&[7; 64]).node_id());
        assert_eq!((read.export.contacts(), read.made_unix_ms), (1, Some(1_767_225_600_000)));
        assert_eq!(Backup::open(&sealed, &passphrase("correct horsf")).unwrap_err(), BackupError::Sealed);
        for secret in [&b"canary-alice"[..], &[7; 16], &Identity::from_bytes(&[8; 64]).node_id().0] {
            assert!(!sealed.windows(secret.len()).any(|window| window == secret));
        }
        assert_ne!(sealed, backup().seal(&word, &system_entropy).unwrap(), "never the same bytes twice");
        assert!(backup().seal(&word, &|_| Err("injected".to_owned())).is_err());
    }

    #[test]
    fn k03_a_backup_that_was_cut_changed_or_made_by_another_version_is_refused_as_a_whole() {
        let word = passphrase("correct horse");
        let cheap = |bytes: &[u8]| Backup::open(bytes, &word).unwrap_err();
        let sealed = backup().seal(&word, &system_entropy).unwrap();
        let head = sealed.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        // Without the work of a passphrase: its first line says enough.
        for end in (0..sealed.len()).step_by(7).chain([sealed.len() - 1]) {
            let refused = cheap(&sealed[..end]);
            let is_right = if end < head {
                refused == BackupError::Foreign
            } else {
                matches!(refused, BackupError::Length { .. })
            };
            assert!(is_right, "cut at {end}: {refused}");
        }
        assert!(matches!(cheap(&[&sealed[..], b"x"].concat()), BackupError::Length { .. }));
        let newer = [b"meshlink-backup-2", &sealed[17..]].concat();
        assert_eq!(cheap(&newer), BackupError::OtherVersion("2".to_owned()));
        for foreign in
            [&b"PK\x03\x04 ../../etc/passwd\n"[..], b"", b"\n", b"meshlink-identity-2 00 00\n", &[0; 4096]]
        {
            assert_eq!(cheap(foreign), BackupError::Foreign);
        }
        let text = String::from_utf8_lossy(&sealed[..head]).into_owned();
        let greedy = text.replacen(" 65536 ", " 4000000 ", 1);
        assert!(matches!(cheap(&[greedy.as_bytes(), &sealed[head..]].concat()), BackupError::Content(_)));
        let odd = text.replacen(" 65536 ", " 065536 ", 1);
        assert_eq!(cheap(&[odd.as_bytes(), &sealed[head..]].concat()), BackupError::Foreign);
        // With it.
        for at in [head, head + 30, sealed.len() - 1] {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(cheap(&changed), BackupError::Sealed, "{at}");
        }
        let lighter = text.replacen(" 65536 ", " 65535 ", 1);
        assert_eq!(cheap(&[lighter.as_bytes(), &sealed[head..]].concat()), BackupError::Sealed);
    }
}

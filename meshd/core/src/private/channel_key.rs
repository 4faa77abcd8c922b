//! The key of a password channel: what it is made of, and what it seals and opens.
//!
//! ```text
//!  name ──▶ salt ─┐
//!  password ──────┴─Argon2id─▶ secret (32) ─derive_key─┬─▶ encryption key
//!                  (outside of the core: it takes      ├─▶ hint key: marks posts for members
//!                   64 MiB and half a second)          ├─▶ id: what signatures are bound to
//!                                                      └─▶ check: members compare it
//! ```
//!
//! Another password is another channel: nothing tells a wrong one from one that nobody uses. Whoever has the key reads
//! everything that was ever posted, so there is no forward secrecy; but nobody speaks in another's name. Each post is
//! signed by its author, over the channel's id, the nonce and the header: a member can't pass another's words off as
//! its own, put them into another channel, or make a second bundle of them.
//!
//! Whatever is wrong with a bundle, the answer is the same: it is not of this channel (threat C-17).
//!
//! Sources: RFC 9106 (Argon2), draft-irtf-cfrg-xchacha-03, RFC 8032 (Ed25519).

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{Key as CipherKey, KeyInit, XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use super::contact::Key;
use crate::bundle::{Bundle, NewBundle};
use crate::header::{Header, Kind};
use crate::identity::{Identity, PublicKeys};
use crate::sealed::size_class;
use crate::secret_post::{HINT_BYTES, NONCE_BYTES, SecretPost, SecretWords};

const SALT_CONTEXT: &str = "MeshLink v1 channel salt";
const ENCRYPTION_CONTEXT: &str = "MeshLink v1 channel encryption";
const HINT_CONTEXT: &str = "MeshLink v1 channel hint";
const ID_CONTEXT: &str = "MeshLink v1 channel id";
const CHECK_CONTEXT: &str = "MeshLink v1 channel check";
const NONCE_CONTEXT: &str = "MeshLink v1 secret post nonce";
const SIGNATURE_LABEL: &[u8] = b"MeshLink v1 secret post signature";

/// Memory of Argon2id, in KiB.
pub const ARGON2_MEMORY_KIB: u32 = 64 * 1024;
/// Its passes over that.
pub const ARGON2_PASSES: u32 = 3;
/// Its lanes.
pub const ARGON2_LANES: u32 = 1;

/// Bytes of a payload around what is said: hint, nonce, authenticator, author, signature.
const AROUND_BYTES: usize = HINT_BYTES + NONCE_BYTES + 16 + PublicKeys::BYTES + SIGNATURE_BYTES;
const SIGNATURE_BYTES: usize = 64;

/// The salt for the password of the channel with that name.
pub fn channel_salt(name: &str) -> [u8; 16] {
    let mut salt = [0; 16];
    salt.copy_from_slice(&blake3::derive_key(SALT_CONTEXT, name.as_bytes())[..16]);
    salt
}

/// What Argon2id makes of a channel's password, with [`channel_salt`], [`ARGON2_MEMORY_KIB`], [`ARGON2_PASSES`] and
/// [`ARGON2_LANES`]. Wiped from memory when dropped.
#[derive(Clone)]
pub struct ChannelSecret(Zeroizing<[u8; 32]>);

impl ChannelSecret {
    /// A secret of these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    pub(crate) fn to_record(&self) -> Key {
        Key(*self.0)
    }
}

/// Shows that there is one (threat C-18).
impl std::fmt::Debug for ChannelSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ChannelSecret(..)")
    }
}

/// The keys of a password channel.
#[derive(Clone)]
pub(crate) struct ChannelKeys {
    cipher: XChaCha20Poly1305,
    hint: Zeroizing<[u8; 32]>,
    id: Zeroizing<[u8; 32]>,
    check: String,
}

/// Who said what in a post that opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OpenedPost {
    pub(crate) author: PublicKeys,
    pub(crate) words: SecretWords,
}

impl ChannelKeys {
    pub(crate) fn new(secret: &ChannelSecret) -> Self {
        let derive = |context| Zeroizing::new(blake3::derive_key(context, &secret.0[..]));
        let check = data_encoding::BASE32_NOPAD.encode(&derive(CHECK_CONTEXT)[..5]).to_ascii_lowercase();
        Self {
            cipher: XChaCha20Poly1305::new(CipherKey::from_slice(&derive(ENCRYPTION_CONTEXT)[..])),
            hint: derive(HINT_CONTEXT),
            id: derive(ID_CONTEXT),
            check: format!("{}-{}", &check[..4], &check[4..]),
        }
    }

    /// Eight characters that are the same for everybody with the same password, to be compared.
    pub(crate) fn check(&self) -> &str {
        &self.check
    }

    /// Whether both are of one channel.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.id == other.id
    }

    /// Whether a post is marked as one of this channel.
    pub(crate) fn recognises(&self, post: &SecretPost) -> bool {
        self.hint(&post.nonce) == post.hint
    }

    /// Signs and seals what is said, padded to a size class. `header` has everything but the kind. `seed` is fresh
    /// randomness. `None` if it is too long for any bundle.
    pub(crate) fn seal(
        &self,
        author: &Identity,
        mut header: Header,
        words: &SecretWords,
        seed: [u8; 32],
    ) -> Option<NewBundle> {
        let content = Zeroizing::new(words.encode());
        let class = size_class(AROUND_BYTES + content.len())?;
        header.kind = Kind::SecretPost;
        let header_bytes = header.encode();
        let nonce = self.nonce(&seed, &author.public(), &header_bytes, &content);
        let signed = self.signed(&nonce, &author.public(), &header_bytes, &content);
        let mut plain = Zeroizing::new(Vec::with_capacity(class));
        plain.extend_from_slice(&author.public().to_bytes());
        plain.extend_from_slice(&author.sign_words(&signed));
        plain.extend_from_slice(&content);
        plain.resize(class - HINT_BYTES - NONCE_BYTES - 16, 0);
        let sealed = self
            .cipher
            .encrypt(XNonce::from_slice(&nonce), Payload { msg: &plain, aad: &header_bytes })
            .expect("no bundle is as long as the cipher's limit of 256 GiB");
        let payload = [&self.hint(&nonce)[..], &nonce, &sealed].concat();
        debug_assert_eq!(payload.len(), class);
        Some(NewBundle::unsigned(header, payload))
    }

    /// Opens a post of this channel; `None` if it is none, whatever the reason.
    pub(crate) fn open(&self, bundle: &Bundle<'_>, post: &SecretPost) -> Option<OpenedPost> {
        if !self.recognises(post) {
            return None;
        }
        let header = bundle.bytes.header;
        let payload = Payload { msg: &post.sealed, aad: header };
        let plain = Zeroizing::new(self.cipher.decrypt(XNonce::from_slice(&post.nonce), payload).ok()?);
        let (author, rest) = plain.split_first_chunk::<{ PublicKeys::BYTES }>()?;
        let (signature, padded) = rest.split_first_chunk::<SIGNATURE_BYTES>()?;
        let author = PublicKeys::from_bytes(author);
        let (words, length) = SecretWords::decode(padded).ok()?;
        // One bundle for each post: a member who pads it otherwise has made another one.
        if size_class(AROUND_BYTES + length) != Some(bundle.bytes.payload.len()) {
            return None;
        }
        let signed = self.signed(&post.nonce, &author, header, &padded[..length]);
        author.has_signed(&signed, signature).then_some(OpenedPost { author, words })
    }

    fn hint(&self, nonce: &[u8; NONCE_BYTES]) -> [u8; HINT_BYTES] {
        let mut hint = [0; HINT_BYTES];
        hint.copy_from_slice(&blake3::keyed_hash(&self.hint, nonce).as_bytes()[..HINT_BYTES]);
        hint
    }

    /// What an author signs. Everything before the content's hash has a fixed length.
    fn signed(
        &self,
        nonce: &[u8; NONCE_BYTES],
        author: &PublicKeys,
        header: &[u8],
        content: &[u8],
    ) -> Vec<u8> {
        [
            SIGNATURE_LABEL,
            &self.id[..],
            nonce,
            &author.to_bytes(),
            blake3::hash(header).as_bytes(),
            blake3::hash(content).as_bytes(),
        ]
        .concat()
    }

    /// New randomness, hashed with all that is sealed: if a machine is set back and draws the same again, other words
    /// still get another nonce (threat C-08).
    fn nonce(
        &self,
        seed: &[u8; 32],
        author: &PublicKeys,
        header: &[u8],
        content: &[u8],
    ) -> [u8; NONCE_BYTES] {
        let mut hasher = blake3::Hasher::new_derive_key(NONCE_CONTEXT);
        for part in [&seed[..], &self.id[..], &author.to_bytes(), blake3::hash(header).as_bytes(), content] {
            hasher.update(part);
        }
        let mut nonce = [0; NONCE_BYTES];
        nonce.copy_from_slice(&hasher.finalize().as_bytes()[..NONCE_BYTES]);
        nonce
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::bundle::Content;
    use crate::canonical::Extensions;
    use crate::id::BundleId;
    use crate::limits::{PAYLOAD_BYTES_MAX, TEXT_BYTES_MAX};
    use crate::store::Priority;

    fn keys(n: u8) -> ChannelKeys {
        ChannelKeys::new(&ChannelSecret::from_bytes([n; 32]))
    }

    fn ana() -> Identity {
        Identity::from_bytes(&[1; 64])
    }

    fn header() -> Header {
        Header::bare(Kind::SecretPost, 604_800, Priority::Normal)
    }

    fn words(text: &str) -> SecretWords {
        SecretWords {
            text: text.to_owned(),
            reply_to: None,
            created_unix_ms: None,
            extensions: Extensions::default(),
        }
    }

    fn sealed(text: &str) -> NewBundle {
        keys(1).seal(&ana(), header(), &words(text), [7; 32]).unwrap()
    }

    fn open(keys: &ChannelKeys, bundle: &NewBundle) -> Option<OpenedPost> {
        open_parts(keys, &bundle.header_bytes, &bundle.payload)
    }

    fn open_parts(keys: &ChannelKeys, header: &[u8], payload: &[u8]) -> Option<OpenedPost> {
        let bytes = crate::bundle::BundleBytes { header, payload, auth: &[] };
        let bundle = bytes.parse().ok()?;
        let Ok(Content::SecretPost(post)) = bundle.prove() else { return None };
        keys.open(&bundle, &post)
    }

    /// Seals a plain text of a member's own making, with the real key.
    fn forged(keys: &ChannelKeys, nonce: &[u8; NONCE_BYTES], class: usize, parts: &[&[u8]]) -> NewBundle {
        let header = header();
        let mut plain = parts.concat();
        plain.resize(class - HINT_BYTES - NONCE_BYTES - 16, 0);
        let payload = Payload { msg: &plain, aad: &header.encode() };
        let sealed = keys.cipher.encrypt(XNonce::from_slice(nonce), payload).unwrap();
        NewBundle::unsigned(header, [&keys.hint(nonce)[..], nonce, &sealed].concat())
    }

    fn nonce_of(bundle: &NewBundle) -> [u8; NONCE_BYTES] {
        *bundle.payload[HINT_BYTES..].first_chunk().unwrap()
    }

    #[test]
    fn who_has_the_key_reads_who_said_what_and_nobody_else_does() {
        let bundle = sealed("hello");
        let opened = open(&keys(1), &bundle).unwrap();
        assert_eq!((opened.author, opened.words), (ana().public(), words("hello")));
        assert_eq!(open(&keys(2), &bundle), None);
        assert_eq!(bundle.header.origin, None);
        let seen = [&bundle.header_bytes[..], &bundle.payload].concat();
        for secret in [&b"hello"[..], &ana().public().ed, &ana().node_id().0] {
            assert!(!seen.windows(secret.len()).any(|window| window == secret));
        }
    }

    #[test]
    fn w04_every_bit_of_a_secret_post_bears_load() {
        let bundle = sealed("hello");
        for bit in 0..bundle.payload.len() * 8 {
            let mut payload = bundle.payload.clone();
            payload[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open_parts(&keys(1), &bundle.header_bytes, &payload), None, "payload, bit {bit}");
        }
        for bit in 0..bundle.header_bytes.len() * 8 {
            let mut header = bundle.header_bytes.clone();
            header[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open_parts(&keys(1), &header, &bundle.payload), None, "header, bit {bit}");
        }
    }

    #[test]
    fn c01_a_member_can_not_speak_in_another_name() {
        let (keys, bob) = (keys(1), Identity::from_bytes(&[2; 64]));
        let content = words("I, Ana, resign").encode();
        let nonce = [5; NONCE_BYTES];
        let header = header().encode();
        let by_bob = bob.sign_words(&keys.signed(&nonce, &bob.public(), &header, &content));
        let as_ana = bob.sign_words(&keys.signed(&nonce, &ana().public(), &header, &content));
        let open_as = |author: &PublicKeys, signature: &[u8; 64]| {
            open(&keys, &forged(&keys, &nonce, 256, &[&author.to_bytes(), signature, &content]))
        };
        assert!(open_as(&bob.public(), &by_bob).is_some(), "the forger's tools work");
        assert_eq!(open_as(&ana().public(), &by_bob), None);
        assert_eq!(open_as(&ana().public(), &as_ana), None);
        assert_eq!(open_as(&ana().public(), &[0; 64]), None);
        // Ana's signing key with another's agreement key would be a node that Ana is not.
        let mixed = PublicKeys { ed: bob.public().ed, x: ana().public().x };
        assert_eq!(open_as(&mixed, &by_bob), None);
    }

    #[test]
    fn c01_words_can_not_be_moved_to_another_channel_or_posted_again() {
        let (here, there) = (keys(1), keys(3));
        let bundle = sealed("yes");
        let nonce = nonce_of(&bundle);
        let content = words("yes").encode();
        let header = bundle.header_bytes.clone();
        let signature = ana().sign_words(&here.signed(&nonce, &ana().public(), &header, &content));
        let parts = [&ana().public().to_bytes()[..], &signature, &content];
        assert_eq!(forged(&here, &nonce, 256, &parts).id, bundle.id, "the same again is the same bundle");
        assert_eq!(open(&there, &forged(&there, &nonce, 256, &parts)), None, "another channel");
        assert_eq!(open(&here, &forged(&here, &[9; NONCE_BYTES], 256, &parts)), None, "another nonce");
        // Signature, nonce and header are right: it is not the smallest class.
        assert_eq!(open(&here, &forged(&here, &nonce, 512, &parts)), None, "another size");
        // The same words and nonce, but more urgent than their author said.
        let urgent = Header { priority: Priority::Sos, ..self::header() };
        let mut plain = parts.concat();
        plain.resize(256 - HINT_BYTES - NONCE_BYTES - 16, 0);
        let plain = Payload { msg: &plain, aad: &urgent.encode() };
        let sealed = here.cipher.encrypt(XNonce::from_slice(&nonce), plain).unwrap();
        let payload = [&here.hint(&nonce)[..], &nonce, &sealed].concat();
        assert_eq!(open(&here, &NewBundle::unsigned(urgent, payload)), None, "another header");
    }

    #[test]
    fn c08_nonces_differ_even_if_randomness_repeats() {
        let seal = |text: &str, n: u8, seed: u8| {
            let author = Identity::from_bytes(&[n; 64]);
            nonce_of(&keys(1).seal(&author, header(), &words(text), [seed; 32]).unwrap())
        };
        let nonces = [seal("a", 1, 7), seal("b", 1, 7), seal("a", 2, 7), seal("a", 1, 8)];
        assert_eq!(nonces.iter().collect::<BTreeSet<_>>().len(), 4);
        let urgent = Header { priority: Priority::Sos, ..header() };
        assert_ne!(nonce_of(&keys(1).seal(&ana(), urgent, &words("a"), [7; 32]).unwrap()), nonces[0]);
    }

    #[test]
    fn c15_no_four_bytes_of_two_posts_of_a_channel_are_alike() {
        let posts: Vec<NewBundle> = (0..40)
            .map(|n| keys(1).seal(&ana(), header(), &words("the same words"), [n; 32]).unwrap())
            .collect();
        let mut seen = BTreeSet::new();
        for post in &posts {
            let windows: BTreeSet<&[u8]> = post.payload.windows(4).collect();
            assert!(windows.iter().all(|window| !seen.contains(window)), "two posts share four bytes");
            seen.extend(windows);
        }
        let by_others = posts.iter().filter(|post| {
            let Ok(Content::SecretPost(post)) = post.bytes().parse().unwrap().prove() else { return false };
            keys(2).recognises(&post)
        });
        assert_eq!(by_others.count(), 0);
    }

    #[test]
    fn c16_posts_have_sizes_of_classes_only() {
        for bytes in [1, 50, 70, 80, 90, 300, 1_000, 5_000, 16_000, TEXT_BYTES_MAX] {
            let bundle = sealed(&"x".repeat(bytes));
            let is_class = |n: usize| n == PAYLOAD_BYTES_MAX || (n.is_power_of_two() && n >= 256);
            assert!(is_class(bundle.payload.len()), "{bytes}");
            assert!(open(&keys(1), &bundle).is_some(), "{bytes}");
        }
        let longest = SecretWords {
            reply_to: Some(BundleId([1; 32])),
            created_unix_ms: Some(crate::limits::CREATED_UNIX_MS_MAX),
            ..words(&"x".repeat(TEXT_BYTES_MAX))
        };
        assert!(keys(1).seal(&ana(), header(), &longest, [0; 32]).is_some());
    }

    #[test]
    fn the_check_names_the_password_and_the_salt_the_channel() {
        assert_eq!(keys(1).check(), keys(1).check());
        assert_ne!(keys(1).check(), keys(2).check());
        assert_eq!(keys(1).check().len(), 9);
        assert_ne!(channel_salt("#a"), channel_salt("#b"));
    }

    #[test]
    fn c18_debug_shows_no_secret() {
        assert_eq!(format!("{:?}", ChannelSecret::from_bytes([1; 32])), "ChannelSecret(..)");
    }
}

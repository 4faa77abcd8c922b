//! A post to a password channel, as carriers see it, and what is said inside.
//!
//! Public are its kind, lifetime, priority and size class, and bytes that look random: no channel, no author, no
//! time. The payload is
//!
//! ```text
//!   hint (4) ‖ nonce (24) ‖ XChaCha20-Poly1305 of ( author (64) ‖ signature (64) ‖ content ‖ zeros )
//! ```
//!
//! The hint is a MAC over the nonce, which is new in each post: members recognise posts of their channel by it, and
//! nobody else can link two of them (threat C-15). What opens it is `private::channel_key`.

use crate::canonical::{Extensions, Malformed, Reader, Writer};
use crate::header::Header;
use crate::id::BundleId;
use crate::limits::{CREATED_UNIX_MS_MAX, LIFETIME_S_STRANGER_MAX, TEXT_BYTES_MAX};
use crate::sealed::is_size_class;

/// Bytes of a hint.
pub(crate) const HINT_BYTES: usize = 4;
/// Bytes of a nonce.
pub(crate) const NONCE_BYTES: usize = 24;

/// A payload that is as its kind demands. Whether anybody here can open it is another matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretPost {
    /// What members recognise it by.
    pub hint: [u8; HINT_BYTES],
    /// New in each post.
    pub nonce: [u8; NONCE_BYTES],
    /// What is encrypted, with its authenticator.
    pub sealed: Vec<u8>,
}

/// What is said in a post to a password channel.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretWords {
    /// The text: 1 to [`TEXT_BYTES_MAX`] bytes, no NUL.
    pub text: String,
    /// The post it answers.
    pub reply_to: Option<BundleId>,
    /// What its author's clock said, in milliseconds since 1970; `None` if that was not to be trusted.
    pub created_unix_ms: Option<u64>,
    /// What a later version added.
    pub extensions: Extensions,
}

impl SecretPost {
    /// Reads what carriers can check.
    ///
    /// # Errors
    /// The header has what would tell posts apart, or the payload is of no size class.
    pub(crate) fn decode(header: &Header, payload: &[u8]) -> Result<Self, Malformed> {
        if !header.is_bare() || header.commitment.is_some() {
            return Err(Malformed("a secret post whose header says more than it has to"));
        }
        if u64::from(header.lifetime_s) > LIFETIME_S_STRANGER_MAX {
            return Err(Malformed("a secret post with a lifetime that tells it apart"));
        }
        if !is_size_class(payload.len()) {
            return Err(Malformed("a secret post of no size class"));
        }
        let (hint, rest) = payload.split_first_chunk().expect("the smallest class is larger");
        let (nonce, sealed) = rest.split_first_chunk().expect("the smallest class is larger");
        Ok(Self { hint: *hint, nonce: *nonce, sealed: sealed.to_vec() })
    }
}

impl SecretWords {
    /// Reads what is said, and the zeros after it; also how many bytes it was without them, which are what is signed.
    ///
    /// # Errors
    /// The bytes are not the one right encoding of such words.
    pub fn decode(padded: &[u8]) -> Result<(Self, usize), Malformed> {
        let mut reader = Reader::new(padded);
        let (mut text, mut reply_to, mut created_unix_ms) = (None, None, None);
        let mut map = reader.map()?;
        while let Some(key) = map.key()? {
            match key {
                0 => text = Some(map.reader.text()?),
                1 => reply_to = Some(BundleId(map.reader.byte_array()?)),
                2 => created_unix_ms = Some(map.reader.uint()?),
                _ => return Err(Malformed("a secret post's field of a later version")),
            }
        }
        let extensions = map.extensions();
        if !reader.rest().iter().all(|byte| *byte == 0) {
            return Err(Malformed("padding that is not zero"));
        }
        let text = text.ok_or(Malformed("a secret post without text"))?;
        if text.is_empty() || text.len() > TEXT_BYTES_MAX || text.contains('\0') {
            return Err(Malformed("a text that is empty, too long or holds a NUL"));
        }
        if created_unix_ms.is_some_and(|created| created > CREATED_UNIX_MS_MAX) {
            return Err(Malformed("a creation time beyond the year 9999"));
        }
        let length = padded.len() - reader.rest().len();
        Ok((Self { text: text.to_owned(), reply_to, created_unix_ms, extensions }, length))
    }

    /// Writes what is said, without padding.
    pub fn encode(&self) -> Vec<u8> {
        let optional = u64::from(self.reply_to.is_some()) + u64::from(self.created_unix_ms.is_some());
        let mut writer = Writer::with_capacity(self.text.len() + 64);
        writer.map(1 + optional + self.extensions.count());
        writer.uint(0).text(&self.text);
        if let Some(reply_to) = &self.reply_to {
            writer.uint(1).bytes(&reply_to.0);
        }
        if let Some(created) = self.created_unix_ms {
            writer.uint(2).uint(created);
        }
        writer.extensions(&self.extensions);
        writer.finish()
    }
}

/// Shows that something was said, never what (threat C-18).
impl std::fmt::Debug for SecretWords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretWords").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bundle::{BadBundle, Content, NewBundle};
    use crate::header::Kind;
    use crate::limits::PAYLOAD_BYTES_MAX;
    use crate::receipt::Commitment;
    use crate::store::Priority;

    fn words(text: &str) -> SecretWords {
        SecretWords {
            text: text.to_owned(),
            reply_to: Some(BundleId([9; 32])),
            created_unix_ms: Some(1_767_225_600_000),
            extensions: Extensions::default(),
        }
    }

    fn header() -> Header {
        Header::bare(Kind::SecretPost, 604_800, Priority::Normal)
    }

    fn prove(header: Header, payload_bytes: usize) -> Result<Content, BadBundle> {
        NewBundle::unsigned(header, vec![0xa5; payload_bytes]).bytes().parse().unwrap().prove()
    }

    #[test]
    fn w03_words_cut_at_any_byte_are_refused() {
        let bytes = words("hello").encode();
        for length in 0..bytes.len() {
            assert!(SecretWords::decode(&bytes[..length]).is_err(), "{length}");
        }
        assert_eq!(SecretWords::decode(&bytes), Ok((words("hello"), bytes.len())));
    }

    #[test]
    fn words_end_where_the_zeros_begin_and_nothing_else_may_follow() {
        let mut bytes = words("hello").encode();
        let length = bytes.len();
        bytes.resize(length + 100, 0);
        assert_eq!(SecretWords::decode(&bytes), Ok((words("hello"), length)));
        for at in length..bytes.len() {
            let mut telling = bytes.clone();
            telling[at] = 1;
            assert!(SecretWords::decode(&telling).is_err(), "{at}");
        }
    }

    #[test]
    fn w11_words_that_break_the_rules_are_refused() {
        for text in ["", "a\0b", &"x".repeat(TEXT_BYTES_MAX + 1)] {
            assert!(SecretWords::decode(&words(text).encode()).is_err());
        }
        let late = SecretWords { created_unix_ms: Some(CREATED_UNIX_MS_MAX + 1), ..words("hi") };
        assert!(SecretWords::decode(&late.encode()).is_err());
        assert!(SecretWords::decode(&words(&"x".repeat(TEXT_BYTES_MAX)).encode()).is_ok());
    }

    #[test]
    fn c16_only_size_classes_are_taken() {
        let mut class = 256;
        let mut taken = vec![PAYLOAD_BYTES_MAX];
        while class <= 16_384 {
            taken.push(class);
            class *= 2;
        }
        for bytes in 0..=PAYLOAD_BYTES_MAX {
            assert_eq!(prove(header(), bytes).is_ok(), taken.contains(&bytes), "{bytes}");
        }
    }

    #[test]
    fn a_secret_post_says_nothing_it_need_not() {
        let Ok(Content::SecretPost(post)) = prove(header(), 256) else { panic!("well-formed") };
        assert_eq!(post.sealed.len(), 256 - HINT_BYTES - NONCE_BYTES);
        for telling in [
            Header { created_unix_ms: Some(1_767_225_600_000), ..header() },
            Header { salt: Some([1; 8]), ..header() },
            Header { commitment: Some(Commitment([1; 16])), ..header() },
            Header { lifetime_s: 604_801, ..header() },
        ] {
            assert!(prove(telling.clone(), 256).is_err(), "{telling:?}");
        }
    }

    #[test]
    fn c18_debug_shows_nothing_of_it() {
        assert_eq!(format!("{:?}", words("hello")), "SecretWords { .. }");
    }

    proptest! {
        #[test]
        fn w07_words_have_one_encoding(text in "[^\0]{1,200}", at: prop::sample::Index, to: u8) {
            let mut bytes = words(&text).encode();
            prop_assert_eq!(SecretWords::decode(&bytes), Ok((words(&text), bytes.len())));
            let at = at.index(bytes.len());
            bytes[at] = to;
            if let Ok((decoded, length)) = SecretWords::decode(&bytes) {
                prop_assert_eq!(&decoded.encode(), &bytes[..length]);
            }
        }
    }
}

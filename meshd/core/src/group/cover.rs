//! A group's message, as carriers see it.
//!
//! A Megolm message shows its index and has a signature that everybody with the session's public key can check, so
//! whoever left a group could follow it. Around it goes a cover, with a key that travels with the session's:
//!
//! ```text
//!   nonce (16) ‖ hint (4) ‖ ChaCha20-Poly1305( length ‖ Megolm message ‖ zeros )
//!   hint, key = BLAKE3 keyed with the cover's key over the nonce; the bundle's header is bound in
//! ```
//!
//! Members recognise it by the hint; nobody else can link two bundles to one group or one sender (threat C-15). The
//! key is used for one nonce only, so the cipher's own nonce is zero.

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{ChaCha20Poly1305, KeyInit, Nonce};
use zeroize::Zeroizing;

use crate::bundle::NewBundle;
use crate::canonical::{Malformed, Reader, Writer};
use crate::header::{Header, Kind};
use crate::limits::GROUP_LIFETIME_S_MAX;
use crate::sealed::{is_size_class, size_class};

const MARK_LABEL: &[u8] = b"MeshLink v1 group cover";
const BOUND_LABEL: &[u8] = b"MeshLink v1 group bundle";
const NONCE_BYTES: usize = 16;
const HINT_BYTES: usize = 4;
const TAG_BYTES: usize = 16;

/// A payload that is as its kind demands. Whether anybody can open it is another matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Covered {
    nonce: [u8; NONCE_BYTES],
    hint: [u8; HINT_BYTES],
    body: Vec<u8>,
}

/// The key of a cover.
pub(crate) struct CoverKey<'k>(pub(crate) &'k [u8; 32]);

impl Covered {
    /// Reads what carriers can check.
    ///
    /// # Errors
    /// The header has what would tell bundles apart, or the payload is of no size class.
    pub(crate) fn decode(header: &Header, payload: &[u8]) -> Result<Self, Malformed> {
        if !header.is_bare() || header.commitment.is_some() {
            return Err(Malformed("a group's bundle whose header says more than it has to"));
        }
        if u64::from(header.lifetime_s) > GROUP_LIFETIME_S_MAX {
            return Err(Malformed("a group's bundle that outlives its key"));
        }
        if !is_size_class(payload.len()) {
            return Err(Malformed("a group's bundle of no size class"));
        }
        let (nonce, rest) = payload.split_first_chunk().expect("the smallest class has more bytes");
        let (hint, body) = rest.split_first_chunk().expect("the smallest class has more bytes");
        Ok(Self { nonce: *nonce, hint: *hint, body: body.to_vec() })
    }
}

impl CoverKey<'_> {
    /// Covers a Megolm message, padded to a size class. `header` has everything but the kind. `None` if it is too
    /// long for any bundle.
    pub(crate) fn cover(
        &self,
        mut header: Header,
        message: &[u8],
        nonce: [u8; NONCE_BYTES],
    ) -> Option<NewBundle> {
        let mut writer = Writer::with_capacity(message.len() + 4);
        writer.bytes(message);
        let mut padded = writer.finish();
        let around = NONCE_BYTES + HINT_BYTES + TAG_BYTES;
        let class = size_class(around + padded.len())?;
        padded.resize(class - around, 0);
        header.kind = Kind::Group;
        let (hint, key) = self.mark(&nonce);
        let body = cipher(&key)
            .encrypt(&Nonce::default(), Payload { msg: &padded, aad: &bound(&header) })
            .expect("a bundle is no longer than the cipher can take");
        let payload = [&nonce[..], &hint, &body].concat();
        Some(NewBundle::unsigned(header, payload))
    }

    /// The Megolm message in a bundle, if it is of this key.
    pub(crate) fn uncover(&self, header: &Header, covered: &Covered) -> Option<Vec<u8>> {
        let (hint, key) = self.mark(&covered.nonce);
        if hint != covered.hint {
            return None;
        }
        let aad = bound(header);
        let plain =
            cipher(&key).decrypt(&Nonce::default(), Payload { msg: &covered.body, aad: &aad }).ok()?;
        let mut reader = Reader::new(&plain);
        let message = reader.bytes().ok()?.to_vec();
        reader.rest().iter().all(|byte| *byte == 0).then_some(message)
    }

    fn mark(&self, nonce: &[u8; NONCE_BYTES]) -> ([u8; HINT_BYTES], Zeroizing<[u8; 32]>) {
        let mut hasher = blake3::Hasher::new_keyed(self.0);
        hasher.update(MARK_LABEL);
        hasher.update(nonce);
        let mut output = hasher.finalize_xof();
        let (mut hint, mut key) = ([0; HINT_BYTES], Zeroizing::new([0; 32]));
        output.fill(&mut hint);
        output.fill(&mut key[..]);
        (hint, key)
    }
}

fn cipher(key: &[u8; 32]) -> ChaCha20Poly1305 {
    ChaCha20Poly1305::new(key.into())
}

fn bound(header: &Header) -> Vec<u8> {
    [BOUND_LABEL, &header.encode()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::Content;
    use crate::receipt::Commitment;
    use crate::store::Priority;

    fn header() -> Header {
        Header::bare(Kind::Group, 3_600, Priority::Normal)
    }

    fn covered(bundle: &NewBundle) -> Covered {
        match bundle.bytes().parse().expect("well-formed").prove() {
            Ok(Content::Group(covered)) => covered,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_message_of_any_length_is_found_again_in_a_size_class() {
        let key = CoverKey(&[7; 32]);
        for bytes in [0, 1, 200, 219, 220, 5_000, 20_440] {
            let message = vec![9; bytes];
            let bundle = key.cover(header(), &message, [1; 16]).expect("fits");
            assert!(is_size_class(bundle.payload.len()), "c16");
            assert_eq!(key.uncover(&bundle.header, &covered(&bundle)), Some(message));
        }
        assert!(key.cover(header(), &[0; 20_480], [1; 16]).is_none());
    }

    #[test]
    fn c07_c15_it_opens_under_its_own_key_and_header_only_and_looks_random() {
        let (one, other) = (CoverKey(&[7; 32]), CoverKey(&[8; 32]));
        let bundle = one.cover(header(), b"hello", [1; 16]).expect("fits");
        let inside = covered(&bundle);
        assert!(other.uncover(&bundle.header, &inside).is_none());
        for header in [
            Header { priority: Priority::Sos, ..bundle.header.clone() },
            Header { lifetime_s: 3_601, ..bundle.header.clone() },
        ] {
            assert!(one.uncover(&header, &inside).is_none());
        }
        for at in 0..inside.body.len() {
            let mut changed = inside.clone();
            changed.body[at] ^= 1;
            assert!(one.uncover(&bundle.header, &changed).is_none());
        }
        let again = covered(&one.cover(header(), b"hello", [2; 16]).expect("fits"));
        assert_ne!(inside.hint, again.hint);
        assert_ne!(inside.body, again.body);
    }

    #[test]
    fn a_groups_bundle_says_nothing_it_need_not() {
        let prove = |header: Header, bytes: usize| {
            NewBundle::unsigned(header, vec![0; bytes]).bytes().parse().and_then(|bundle| bundle.prove())
        };
        assert!(prove(header(), 256).is_ok());
        assert!(prove(Header { lifetime_s: GROUP_LIFETIME_S_MAX as u32, ..header() }, 256).is_ok());
        assert!(prove(header(), 257).is_err(), "c16");
        for header in [
            Header { created_unix_ms: Some(1_767_225_600_000), ..header() },
            Header { salt: Some([1; 8]), ..header() },
            Header { commitment: Some(Commitment([1; 16])), ..header() },
            Header { lifetime_s: GROUP_LIFETIME_S_MAX as u32 + 1, ..header() },
        ] {
            assert!(prove(header, 256).is_err());
        }
    }
}

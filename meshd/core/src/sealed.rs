//! A message for one recipient, as carriers see it.
//!
//! Public are its kind, lifetime, priority and size class, a commitment for receipts, and bytes that look random:
//! no author, no recipient, no time. The payload is
//!
//! ```text
//!   sealed, to a contact:  hint (4) ‖ selector (4) ‖ Noise message
//!   sealed, by a code:     hint (1)                ‖ Noise message
//!   intro:                                           Noise message
//! ```
//!
//! The Noise message begins with an ephemeral key. Hint and selector are a MAC over that key under a secret that
//! only the two of them have: the recipient recognises its mail by it, and nobody can link two bundles to one
//! recipient (threat C-15). Which of the two a sealed bundle is only they know, so a recipient looks at both places. An
//! intro has no hint, because its recipient may not know the sender.

use crate::canonical::Malformed;
use crate::header::{Header, Kind};
use crate::limits::{LIFETIME_S_STRANGER_MAX, PAYLOAD_BYTES_MAX, SEALED_BYTES_MIN};

/// Bytes of a contact's hint with its selector.
pub(crate) const TAG_BYTES: usize = 8;
/// Bytes of a code's hint. One keeps what is around a message within 128 bytes, and one in 256 foreign bundles is tried in vain.
pub(crate) const CODE_TAG_BYTES: usize = 1;

/// A payload that is as its kind demands. Whether anybody can open it is another matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Whether it begins with a hint; an intro does not.
    pub is_marked: bool,
    /// Hint, if there is one, and Noise message.
    pub payload: Vec<u8>,
}

impl Sealed {
    /// Reads what carriers can check.
    ///
    /// # Errors
    /// The header has what would tell bundles apart, or the payload is of no size class.
    pub(crate) fn decode(header: &Header, payload: &[u8]) -> Result<Self, Malformed> {
        if !header.is_bare() || header.commitment.is_none() {
            return Err(Malformed("a sealed bundle whose header says more than it has to, or less"));
        }
        if u64::from(header.lifetime_s) > LIFETIME_S_STRANGER_MAX {
            return Err(Malformed("a sealed bundle that outlives its key"));
        }
        if !is_size_class(payload.len()) {
            return Err(Malformed("a sealed bundle of no size class"));
        }
        Ok(Self { is_marked: header.kind == Kind::Sealed, payload: payload.to_vec() })
    }

    /// Tag and Noise message, if the tag has `N` bytes.
    pub(crate) fn split<const N: usize>(&self) -> (&[u8; N], &[u8]) {
        self.payload.split_first_chunk().expect("the smallest class is longer than any tag")
    }
}

/// The payload of a sealed bundle has 256·2^k bytes, or the most a bundle can have (threat C-16).
pub(crate) fn is_size_class(bytes: usize) -> bool {
    size_class(bytes) == Some(bytes)
}

/// The smallest class that holds so many bytes.
pub(crate) fn size_class(bytes: usize) -> Option<usize> {
    let class = bytes.max(SEALED_BYTES_MIN).next_power_of_two().min(PAYLOAD_BYTES_MAX);
    (bytes <= class).then_some(class)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::{BadBundle, Content, NewBundle};
    use crate::receipt::Commitment;
    use crate::store::Priority;

    fn header(kind: Kind) -> Header {
        let commitment = Some(Commitment([1; 16]));
        Header { commitment, ..Header::bare(kind, 3_600, Priority::Normal) }
    }

    fn prove(header: Header, payload_bytes: usize) -> Result<Content, BadBundle> {
        NewBundle::unsigned(header, vec![0; payload_bytes]).bytes().parse()?.prove()
    }

    #[test]
    fn c16_only_size_classes_are_carried() {
        let classes: Vec<usize> = (0..=PAYLOAD_BYTES_MAX).filter(|bytes| is_size_class(*bytes)).collect();
        assert_eq!(classes, [256, 512, 1024, 2048, 4096, 8192, 16_384, 20_480]);
        for bytes in [255, 257, 20_479] {
            assert!(prove(header(Kind::Sealed), bytes).is_err(), "{bytes}");
            assert!(prove(header(Kind::Intro), bytes).is_err(), "{bytes}");
        }
        assert_eq!(size_class(PAYLOAD_BYTES_MAX + 1), None);
    }

    #[test]
    fn a_sealed_bundle_says_nothing_it_need_not() {
        for kind in [Kind::Sealed, Kind::Intro] {
            for lifetime_s in [3_600, 604_800] {
                let header = Header { lifetime_s, ..header(kind) };
                assert!(matches!(prove(header, 512), Ok(Content::Sealed(_))));
            }
            let telling = [
                Header { created_unix_ms: Some(1_767_225_600_000), ..header(kind) },
                Header { salt: Some([1; 8]), ..header(kind) },
                Header { commitment: None, ..header(kind) },
                Header { lifetime_s: 604_801, ..header(kind) },
            ];
            for header in telling {
                assert!(prove(header.clone(), 512).is_err(), "{header:?}");
            }
        }
    }

    #[test]
    fn only_what_is_for_somebody_has_a_hint() {
        let Ok(Content::Sealed(sealed)) = prove(header(Kind::Sealed), 256) else { panic!("well-formed") };
        assert!(sealed.is_marked);
        let (tag, noise) = sealed.split::<TAG_BYTES>();
        assert_eq!((tag, noise.len()), (&[0; 8], 248));
        let Ok(Content::Sealed(intro)) = prove(header(Kind::Intro), 256) else { panic!("well-formed") };
        assert_eq!((intro.is_marked, intro.payload.len()), (false, 256));
    }
}

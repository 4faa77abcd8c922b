//! A bundle: the immutable unit that is stored and carried.
//!
//! Three byte strings: **header**, **payload**, **auth**. The id is a hash over the header as it is and the
//! payload's hash, so it names exactly these bytes; no hash travels. The auth is a signature over the id and
//! stands outside of it: a copy with a bad one is only the fault of the link it came over, and can't keep the
//! good one out.
//!
//! Bundles are hashed and checked as the bytes that were received, never as a re-encoding.

use crate::bridged::Bridged;
use crate::canonical::Malformed;
use crate::group::cover::Covered;
use crate::header::{Header, Kind};
use crate::id::BundleId;
use crate::identity::Identity;
use crate::limits::{AUTH_BYTES_MAX, BUNDLE_COST_BYTES_MIN, HEADER_BYTES_MAX, PAYLOAD_BYTES_MAX};
use crate::post::Post;
use crate::prekeys::Prekeys;
use crate::profile::Profile;
use crate::receipt::Receipt;
use crate::sealed::Sealed;
use crate::secret_post::SecretPost;

/// Domain of a bundle's id.
const BUNDLE_ID_CONTEXT: &str = "MeshLink v1 bundle id";

/// A bundle's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BundleBytes<'b> {
    /// The header.
    pub header: &'b [u8],
    /// The payload.
    pub payload: &'b [u8],
    /// The signature; empty for kinds that have none.
    pub auth: &'b [u8],
}

/// Bytes of which only the id is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamedBundle<'b> {
    /// The bytes.
    pub bytes: BundleBytes<'b>,
    /// Their id.
    pub id: BundleId,
}

/// A bundle whose header was read. Nothing is proven yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle<'b> {
    /// Its bytes.
    pub bytes: BundleBytes<'b>,
    /// Its id.
    pub id: BundleId,
    /// Its header.
    pub header: Header,
}

/// A bundle made here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBundle {
    /// Its id.
    pub id: BundleId,
    /// Its header.
    pub header: Header,
    /// The header's bytes.
    pub header_bytes: Vec<u8>,
    /// The payload.
    pub payload: Vec<u8>,
    /// The signature; empty for kinds that have none.
    pub auth: Vec<u8>,
}

/// What a bundle that was proven says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A post.
    Post(Post),
    /// A profile.
    Profile(Profile),
    /// A bridged post.
    Bridged(Bridged),
    /// A message for somebody, still sealed.
    Sealed(Sealed),
    /// Proof that a sealed bundle arrived or was read.
    Receipt(Receipt),
    /// Keys to seal messages for a node with.
    Prekeys(Prekeys),
    /// A post to a password channel, still sealed.
    SecretPost(SecretPost),
    /// A message to a group, still covered.
    Group(Covered),
    /// Something of a later version.
    Unread,
}

/// Why a bundle is no good. It is the fault of the neighbour that sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadBundle {
    /// A part is longer than any bundle's.
    #[error("it is too long")]
    TooLong,
    /// The signature is not its author's.
    #[error("its signature is wrong")]
    BadSignature,
    /// A kind that is signed has no author, or one that is not has one.
    #[error("it has an author or a signature that its kind does not have, or lacks one")]
    BadAuthor,
    /// The header or the payload is not well-formed.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl<'b> BundleBytes<'b> {
    /// Compares the lengths with what a bundle may have, and takes the id.
    ///
    /// # Errors
    /// A part is too long.
    pub fn name(self) -> Result<NamedBundle<'b>, BadBundle> {
        let fits = self.header.len() <= HEADER_BYTES_MAX
            && self.payload.len() <= PAYLOAD_BYTES_MAX
            && self.auth.len() <= AUTH_BYTES_MAX;
        if fits {
            Ok(NamedBundle { bytes: self, id: bundle_id(self.header, self.payload) })
        } else {
            Err(BadBundle::TooLong)
        }
    }

    /// Takes the id and reads the header.
    ///
    /// # Errors
    /// See [`BadBundle`].
    pub fn parse(self) -> Result<Bundle<'b>, BadBundle> {
        self.name()?.parse()
    }

    /// Bytes of all parts.
    pub fn size_bytes(&self) -> u64 {
        (self.header.len() + self.payload.len() + self.auth.len()) as u64
    }

    /// Bytes counted against a store's cap: its size, at least [`BUNDLE_COST_BYTES_MIN`] (threat L-05).
    pub fn cost_bytes(&self) -> u64 {
        self.size_bytes().max(BUNDLE_COST_BYTES_MIN)
    }
}

impl<'b> NamedBundle<'b> {
    /// Reads the header.
    ///
    /// # Errors
    /// See [`BadBundle`].
    pub fn parse(self) -> Result<Bundle<'b>, BadBundle> {
        let header = Header::decode(self.bytes.header)?;
        Ok(Bundle { bytes: self.bytes, id: self.id, header })
    }
}

impl Bundle<'_> {
    /// Checks the signature and reads the payload.
    ///
    /// # Errors
    /// See [`BadBundle`].
    pub fn prove(&self) -> Result<Content, BadBundle> {
        self.check_author()?;
        let is_for_all = matches!(self.header.kind, Kind::Post | Kind::Profile | Kind::Prekeys);
        if is_for_all && self.header.commitment.is_some() {
            return Err(BadBundle::Malformed(Malformed("a commitment on what nobody confirms")));
        }
        self.read()
    }

    /// Reads the payload of a bundle that was proven before.
    ///
    /// # Errors
    /// See [`BadBundle`].
    pub fn read(&self) -> Result<Content, BadBundle> {
        let payload = self.bytes.payload;
        Ok(match self.header.kind {
            Kind::Post => Content::Post(Post::decode(payload)?),
            Kind::Profile => Content::Profile(Profile::decode(payload)?),
            Kind::Bridged => {
                let bridged = Bridged::decode(payload)?;
                if self.header != bridged.header() {
                    return Err(BadBundle::Malformed(Malformed("a bridged post with a header of its own")));
                }
                Content::Bridged(bridged)
            }
            Kind::Sealed | Kind::Intro => Content::Sealed(Sealed::decode(&self.header, payload)?),
            Kind::Receipt => {
                let receipt = Receipt::decode(payload)?;
                if self.header != Receipt::header() {
                    return Err(BadBundle::Malformed(Malformed("a receipt with a header of its own")));
                }
                Content::Receipt(receipt)
            }
            Kind::Prekeys => Content::Prekeys(Prekeys::decode(payload)?),
            Kind::SecretPost => Content::SecretPost(SecretPost::decode(&self.header, payload)?),
            Kind::Group => Content::Group(Covered::decode(&self.header, payload)?),
            Kind::Other(_) => Content::Unread,
        })
    }

    /// Whoever names an author has signed; whoever names none has not.
    fn check_author(&self) -> Result<(), BadBundle> {
        let is_signed = self.header.kind.is_signed().unwrap_or(self.header.origin.is_some());
        match &self.header.origin {
            Some(origin) if is_signed => {
                let auth = self.bytes.auth.try_into().map_err(|_| BadBundle::BadSignature)?;
                if origin.verifies(&self.id.0, auth) { Ok(()) } else { Err(BadBundle::BadSignature) }
            }
            None if !is_signed && self.bytes.auth.is_empty() => Ok(()),
            Some(_) | None => Err(BadBundle::BadAuthor),
        }
    }
}

impl NewBundle {
    /// Signs a bundle. The header's origin is set here.
    pub fn sign(mut header: Header, payload: Vec<u8>, identity: &Identity) -> Self {
        header.origin = Some(identity.public());
        let header_bytes = header.encode();
        let id = bundle_id(&header_bytes, &payload);
        let auth = identity.sign(&id.0).to_vec();
        Self { id, header, header_bytes, payload, auth }
    }

    /// Makes the bundle that every node makes of a bridged post.
    pub fn bridge(bridged: &Bridged) -> Self {
        Self::unsigned(bridged.header(), bridged.encode())
    }

    /// Makes the bundle that every node makes of a receipt.
    pub fn receipt(receipt: &Receipt) -> Self {
        Self::unsigned(Receipt::header(), receipt.encode())
    }

    /// Makes a bundle that nobody signs.
    pub(crate) fn unsigned(header: Header, payload: Vec<u8>) -> Self {
        let header_bytes = header.encode();
        let id = bundle_id(&header_bytes, &payload);
        Self { id, header, header_bytes, payload, auth: Vec::new() }
    }

    /// Its bytes.
    pub fn bytes(&self) -> BundleBytes<'_> {
        BundleBytes { header: &self.header_bytes, payload: &self.payload, auth: &self.auth }
    }
}

fn bundle_id(header: &[u8], payload: &[u8]) -> BundleId {
    let mut hasher = blake3::Hasher::new_derive_key(BUNDLE_ID_CONTEXT);
    hasher.update(header);
    hasher.update(blake3::hash(payload).as_bytes());
    BundleId(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canonical::Extensions;
    use crate::store::Priority;

    fn identity() -> Identity {
        let mut seed = [7; 64];
        seed[40] = 1;
        Identity::from_bytes(&seed)
    }

    fn header(kind: Kind) -> Header {
        Header { salt: Some([1; 8]), ..Header::bare(kind, 3_600, Priority::Normal) }
    }

    fn post() -> NewBundle {
        let post = Post {
            channel: "#mesh".to_owned(),
            text: "hello".to_owned(),
            reply_to: None,
            extensions: Extensions::default(),
        };
        NewBundle::sign(header(Kind::Post), post.encode(), &identity())
    }

    fn profile() -> NewBundle {
        let payload = Profile { revision: 1, ..Profile::default() }.encode();
        NewBundle::sign(header(Kind::Profile), payload, &identity())
    }

    fn prekeys() -> NewBundle {
        let prekeys = Prekeys { revision: 1, key: [1; 32], extensions: Extensions::default() };
        NewBundle::sign(header(Kind::Prekeys), prekeys.encode(), &identity())
    }

    fn bridged() -> NewBundle {
        NewBundle::bridge(&Bridged {
            channel: "#mesh".to_owned(),
            text: "hi".to_owned(),
            sender: "web".to_owned(),
            timestamp_ms: 5,
        })
    }

    fn check(bytes: BundleBytes<'_>) -> Result<Content, BadBundle> {
        bytes.parse()?.prove()
    }

    #[test]
    fn what_is_made_here_is_proven_there() {
        assert!(matches!(check(post().bytes()), Ok(Content::Post(_))));
        assert!(matches!(check(profile().bytes()), Ok(Content::Profile(_))));
        assert!(matches!(check(bridged().bytes()), Ok(Content::Bridged(_))));
        let later = NewBundle::sign(header(Kind::Other(900)), vec![0xff; 3], &identity());
        assert_eq!(check(later.bytes()), Ok(Content::Unread));
        assert_eq!(post().bytes().parse().unwrap().id, post().id);
        let parts = BundleBytes { header: &[1; 5], payload: &[2; 300], auth: &[3; 64] };
        assert_eq!(parts.size_bytes(), 369);
    }

    #[test]
    fn c19_a_receipt_has_one_header_and_another_is_refused() {
        let receipt = Receipt::of(&[7; 16], crate::receipt::Stage::Delivered);
        let made = NewBundle::receipt(&receipt);
        assert_eq!(check(made.bytes()), Ok(Content::Receipt(receipt)));
        for header in [
            Header { lifetime_s: made.header.lifetime_s - 1, ..made.header.clone() },
            Header { priority: Priority::Sos, ..made.header.clone() },
            Header { salt: Some([1; 8]), ..made.header.clone() },
        ] {
            let other = NewBundle::unsigned(header, receipt.encode());
            assert!(check(other.bytes()).is_err(), "{:?}", other.header);
        }
    }

    #[test]
    fn w04_every_bit_flip_of_a_signed_bundle_is_found() {
        for bundle in [post(), profile(), NewBundle::sign(header(Kind::Other(9)), vec![1, 2], &identity())] {
            let parts = [&bundle.header_bytes, &bundle.payload, &bundle.auth];
            for (part, bytes) in parts.iter().enumerate() {
                for bit in 0..bytes.len() * 8 {
                    let mut altered = bundle.clone();
                    let target = [&mut altered.header_bytes, &mut altered.payload, &mut altered.auth];
                    target.into_iter().nth(part).unwrap()[bit / 8] ^= 1 << (bit % 8);
                    assert!(check(altered.bytes()).is_err(), "part {part}, bit {bit}");
                }
            }
        }
    }

    #[test]
    fn c01_somebody_elses_signature_is_refused_on_every_signed_kind() {
        let other = Identity::from_bytes(&[8; 64]);
        for mut bundle in [post(), profile(), prekeys()] {
            bundle.auth = other.sign(&bundle.id.0).to_vec();
            assert_eq!(check(bundle.bytes()), Err(BadBundle::BadSignature));
            bundle.auth.clear();
            assert_eq!(check(bundle.bytes()), Err(BadBundle::BadSignature));
            bundle.auth = vec![0; 64];
            assert_eq!(check(bundle.bytes()), Err(BadBundle::BadSignature));
        }
    }

    #[test]
    fn c01_a_signed_kind_without_author_is_refused() {
        for kind in [Kind::Post, Kind::Profile, Kind::Prekeys] {
            let mut unsigned = post();
            unsigned.header = header(kind);
            unsigned.header_bytes = unsigned.header.encode();
            unsigned.auth.clear();
            assert_eq!(check(unsigned.bytes()), Err(BadBundle::BadAuthor));
        }
    }

    #[test]
    fn c19_what_is_for_everybody_can_not_be_purged() {
        let commitment = Some(crate::receipt::Commitment([1; 16]));
        for bundle in [post(), profile(), prekeys()] {
            let header = Header { commitment, ..bundle.header };
            let recallable = NewBundle::sign(header, bundle.payload, &identity());
            assert!(matches!(check(recallable.bytes()), Err(BadBundle::Malformed(_))));
        }
    }

    #[test]
    fn a_kind_that_is_not_signed_has_no_signature() {
        let mut bundle = bridged();
        bundle.auth = vec![0; 64];
        assert_eq!(check(bundle.bytes()), Err(BadBundle::BadAuthor));
        let signed = NewBundle::sign(header(Kind::Bridged), bridged().payload, &identity());
        assert_eq!(check(signed.bytes()), Err(BadBundle::BadAuthor));
    }

    #[test]
    fn a_bridged_post_is_the_same_bundle_whoever_makes_it() {
        assert_eq!(bridged().id, bridged().id);
        let mut urgent = bridged();
        urgent.header.priority = Priority::Sos;
        urgent.header_bytes = urgent.header.encode();
        assert!(matches!(check(urgent.bytes()), Err(BadBundle::Malformed(_))));
    }

    #[test]
    fn s02_the_payload_is_bound_by_the_id() {
        let mut other = post();
        other.payload = bridged().payload;
        assert_ne!(other.bytes().name().unwrap().id, post().id);
        assert_eq!(check(other.bytes()), Err(BadBundle::BadSignature));
    }

    #[test]
    fn r03_the_same_words_twice_are_two_bundles() {
        let again =
            NewBundle::sign(Header { salt: Some([2; 8]), ..post().header }, post().payload, &identity());
        assert_ne!(again.id, post().id);
    }

    #[test]
    fn w01_parts_beyond_their_limits_are_refused_before_anything_else() {
        let long = vec![0; PAYLOAD_BYTES_MAX + 1];
        let bundle = post();
        let bytes = BundleBytes { payload: &long, ..bundle.bytes() };
        assert_eq!(check(bytes), Err(BadBundle::TooLong));
        let bytes = BundleBytes { auth: &long[..65], ..bundle.bytes() };
        assert_eq!(check(bytes), Err(BadBundle::TooLong));
        let bytes = BundleBytes { header: &long[..257], ..bundle.bytes() };
        assert_eq!(check(bytes), Err(BadBundle::TooLong));
    }
}

//! Who a node is: its secret keys, and the public ones its id is a hash of.
//!
//! Two key pairs, because signing and agreeing on keys are different jobs: Ed25519 signs bundles (RFC 8032),
//! X25519 is the static key of the link handshake (RFC 7748, Noise). The node id is a hash over both, so a
//! handshake that proves the X25519 key proves the id, and nobody can pair a stranger's signing key with an
//! agreement key of their own.
//!
//! Where the secrets are kept is not decided here.

use std::fmt;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::id::NodeId;

/// Domain of a node id.
const NODE_ID_CONTEXT: &str = "MeshLink v1 node id";
/// Domain of what a bundle's signature covers.
const BUNDLE_SIGNATURE_LABEL: &[u8; 28] = b"MeshLink v1 bundle signature";

/// A node's secret keys.
///
/// Wiped from memory when dropped; its `Debug` shows the public id only.
pub struct Identity {
    signing: SigningKey,
    agreement: StaticSecret,
    public: PublicKeys,
    node_id: NodeId,
}

/// A node's public keys.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKeys {
    /// Ed25519: checks its bundles' signatures.
    pub ed: [u8; 32],
    /// X25519: its static key in link handshakes.
    pub x: [u8; 32],
}

impl Identity {
    /// Length of the secret form in bytes: an Ed25519 seed, then an X25519 scalar.
    pub const BYTES: usize = 64;

    /// Makes an identity of fresh randomness from the operating system, which the caller brings.
    pub fn generate(seed: &[u8; 64]) -> Self {
        Self::from_bytes(seed)
    }

    /// Restores an identity from [`Identity::secret_bytes`]. Every value is one.
    pub fn from_bytes(bytes: &[u8; 64]) -> Self {
        let (ed, x) = bytes.split_at(32);
        let signing = SigningKey::from_bytes(ed.try_into().expect("half of 64 bytes is 32"));
        let x: [u8; 32] = x.try_into().expect("half of 64 bytes is 32");
        let agreement = StaticSecret::from(x);
        let public =
            PublicKeys { ed: signing.verifying_key().to_bytes(), x: PublicKey::from(&agreement).to_bytes() };
        Self { signing, agreement, public, node_id: public.node_id() }
    }

    /// The secret form, to be kept where only the owner reads.
    pub fn secret_bytes(&self) -> Zeroizing<[u8; 64]> {
        let mut bytes = Zeroizing::new([0; 64]);
        bytes[..32].copy_from_slice(self.signing.as_bytes());
        bytes[32..].copy_from_slice(self.agreement.as_bytes());
        bytes
    }

    /// The public keys.
    pub fn public(&self) -> PublicKeys {
        self.public
    }

    /// The id.
    pub fn node_id(&self) -> NodeId {
        self.node_id
    }

    /// Signs a bundle's id.
    pub(crate) fn sign(&self, id: &[u8; 32]) -> [u8; 64] {
        self.sign_words(&signed_bytes(id))
    }

    /// Signs words that begin with a domain string of their own.
    pub(crate) fn sign_words(&self, words: &[u8]) -> [u8; 64] {
        self.signing.sign(words).to_bytes()
    }

    /// The X25519 secret, for the handshake.
    pub(crate) fn agreement_secret(&self) -> &[u8; 32] {
        self.agreement.as_bytes()
    }
}

impl PublicKeys {
    /// Length in bytes: Ed25519, then X25519.
    pub const BYTES: usize = 64;

    /// The id these keys belong to.
    pub fn node_id(&self) -> NodeId {
        let mut hasher = blake3::Hasher::new_derive_key(NODE_ID_CONTEXT);
        hasher.update(&self.ed);
        hasher.update(&self.x);
        let mut id = [0; NodeId::BYTES];
        id.copy_from_slice(&hasher.finalize().as_bytes()[..NodeId::BYTES]);
        NodeId(id)
    }

    /// Ed25519, then X25519.
    pub fn to_bytes(&self) -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&self.ed);
        bytes[32..].copy_from_slice(&self.x);
        bytes
    }

    /// The other way round. Nothing is checked: a key that is no point verifies no signature.
    pub fn from_bytes(bytes: &[u8; 64]) -> Self {
        let (mut ed, mut x) = ([0; 32], [0; 32]);
        ed.copy_from_slice(&bytes[..32]);
        x.copy_from_slice(&bytes[32..]);
        Self { ed, x }
    }

    /// Whether `signature` is this node's on a bundle's id.
    ///
    /// Strict (threat W-12): a key or a nonce point of small order, an encoding of a point or scalar that is
    /// not the canonical one, and the cofactored equation's extra signatures are all refused, so every
    /// implementation agrees on every signature.
    pub(crate) fn verifies(&self, id: &[u8; 32], signature: &[u8; 64]) -> bool {
        self.has_signed(&signed_bytes(id), signature)
    }

    /// Whether `signature` is this node's on words that begin with a domain string of their own. As strict.
    pub(crate) fn has_signed(&self, words: &[u8], signature: &[u8; 64]) -> bool {
        if !is_reduced(&self.ed) {
            return false;
        }
        let Ok(key) = VerifyingKey::from_bytes(&self.ed) else { return false };
        key.verify_strict(words, &Signature::from_bytes(signature)).is_ok()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("node_id", &self.node_id).finish_non_exhaustive()
    }
}

impl fmt::Debug for PublicKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKeys({})", self.node_id())
    }
}

/// Whether the y-coordinate of an encoded point is below the field's prime, 2^255 - 19. The library takes
/// the others too, as a second spelling of the same key.
fn is_reduced(point: &[u8; 32]) -> bool {
    point[31] & 0x7f != 0x7f || point[1..31].iter().any(|b| *b != 0xff) || point[0] < 0xed
}

fn signed_bytes(id: &[u8; 32]) -> [u8; 60] {
    let mut bytes = [0; 60];
    bytes[..28].copy_from_slice(BUNDLE_SIGNATURE_LABEL);
    bytes[28..].copy_from_slice(id);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        let mut seed = [0; 64];
        for (n, byte) in seed.iter_mut().enumerate() {
            *byte = n as u8;
        }
        Identity::from_bytes(&seed)
    }

    #[test]
    fn an_identity_survives_the_round_trip_through_its_secret_form() {
        let one = identity();
        let same = Identity::from_bytes(&one.secret_bytes());
        assert_eq!(one.public(), same.public());
        assert_eq!(one.node_id(), same.node_id());
        assert_eq!(PublicKeys::from_bytes(&one.public().to_bytes()), one.public());
        assert_eq!(x25519_dalek::x25519(*one.agreement_secret(), X25519_BASE), one.public().x);
    }

    const X25519_BASE: [u8; 32] = x25519_dalek::X25519_BASEPOINT_BYTES;

    #[test]
    fn c01_a_bundles_signature_is_one_on_its_domain_and_its_id() {
        let (one, id) = (identity(), [5; 32]);
        let words = [&b"MeshLink v1 bundle signature"[..], &id].concat();
        assert_eq!(one.sign(&id), one.sign_words(&words));
        assert!(one.public().has_signed(&words, &one.sign(&id)));
        assert!(!one.public().verifies(&id, &one.sign_words(&id)), "without the domain it is none");
    }

    #[test]
    fn c18_debug_shows_no_secret() {
        let shown = format!("{:?}", identity());
        assert_eq!(shown, format!("Identity {{ node_id: {:?}, .. }}", identity().node_id()));
    }

    #[test]
    fn the_id_covers_both_keys() {
        let keys = identity().public();
        assert_ne!(PublicKeys { ed: [9; 32], ..keys }.node_id(), keys.node_id());
        assert_ne!(PublicKeys { x: [9; 32], ..keys }.node_id(), keys.node_id());
    }

    #[test]
    fn w12_keys_of_small_order_and_unreduced_ones_verify_nothing() {
        let id = [5; 32];
        let signature = identity().sign(&id);
        assert!(identity().public().verifies(&id, &signature));
        // The identity point as key and as R, with s = 0, satisfies the plain equation for every message.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let mut forged = [0; 64];
        forged[..32].copy_from_slice(&neutral);
        assert!(!PublicKeys { ed: neutral, x: [0; 32] }.verifies(&id, &forged));
        // The same point written with y = p + 1.
        let mut unreduced = [0xff; 32];
        unreduced[0] = 0xee;
        unreduced[31] = 0x7f;
        assert!(!is_reduced(&unreduced));
        assert!(!PublicKeys { ed: unreduced, x: [0; 32] }.verifies(&id, &forged));
        assert!(is_reduced(&identity().public().ed));
        assert!(is_reduced(&{
            let mut largest = unreduced;
            largest[0] = 0xec;
            largest
        }));
        // The prime itself; the same with the sign of x; and what differs from it in one place.
        let spelled = |first: u8, middle: u8, last: u8| {
            let mut point = [middle; 32];
            (point[0], point[31]) = (first, last);
            is_reduced(&point)
        };
        assert!(!spelled(0xed, 0xff, 0x7f) && !spelled(0xed, 0xff, 0xff) && !spelled(0xff, 0xff, 0xff));
        assert!(spelled(0xec, 0xff, 0xff) && spelled(0xff, 0xfe, 0xff) && spelled(0xff, 0xff, 0x7e));
        assert!(spelled(0xff, 0xff, 0x00) && spelled(0xff, 0xff, 0x80));
    }

    #[test]
    fn w12_a_second_spelling_of_a_signature_is_refused() {
        let id = [5; 32];
        let good = identity().sign(&id);
        // s + l, with l the group order: the same scalar, spelled differently.
        let order = [
            0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
        ];
        let mut other = good;
        let mut carry = 0u16;
        for (byte, add) in other[32..].iter_mut().zip(order) {
            let sum = u16::from(*byte) + add + carry;
            *byte = sum as u8;
            carry = sum >> 8;
        }
        assert_eq!(carry, 0);
        assert!(identity().public().verifies(&id, &good));
        assert!(!identity().public().verifies(&id, &other));
    }
}

//! The primitives of the link handshake: Noise's X25519 from `x25519-dalek`, and randomness from the node.
//!
//! snow brings the state machine, ChaCha20-Poly1305 and BLAKE2s. Its own X25519 accepts points of small order
//! and its randomness comes from the operating system behind the core's back, so both are replaced here.
//! Source: The Noise Protocol Framework, revision 34, sections 4.1 and 12.1; RFC 7748 section 6.1.

use snow::Error;
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::{Cipher, Dh, Hash, Random};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::entropy::Entropy;

/// Chooses the primitives of one handshake.
pub(crate) struct Primitives {
    seed: Zeroizing<[u8; 32]>,
}

impl Primitives {
    /// The handshake's ephemeral key comes from `seed`.
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self { seed: Zeroizing::new(seed) }
    }
}

impl CryptoResolver for Primitives {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(NodeRandom(Entropy::new(&self.seed))))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        (*choice == DHChoice::Curve25519).then(|| Box::new(X25519::default()) as Box<dyn Dh>)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        DefaultResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        DefaultResolver.resolve_cipher(choice)
    }
}

struct NodeRandom(Entropy);

impl Random for NodeRandom {
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), Error> {
        self.0.fill(dest);
        Ok(())
    }
}

struct X25519 {
    secret: StaticSecret,
    public: [u8; 32],
}

impl Default for X25519 {
    /// No key yet; `set` or `generate` comes before any use.
    fn default() -> Self {
        Self { secret: StaticSecret::from([0; 32]), public: [0; 32] }
    }
}

impl X25519 {
    fn replace(&mut self, secret: [u8; 32]) {
        self.secret = StaticSecret::from(secret);
        self.public = PublicKey::from(&self.secret).to_bytes();
    }
}

impl Dh for X25519 {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        32
    }

    fn priv_len(&self) -> usize {
        32
    }

    fn set(&mut self, privkey: &[u8]) {
        self.replace(privkey.try_into().expect("the builder was given a key of 32 bytes"));
    }

    fn generate(&mut self, rng: &mut dyn Random) -> Result<(), Error> {
        let mut secret = Zeroizing::new([0; 32]);
        rng.try_fill_bytes(&mut secret[..])?;
        self.replace(*secret);
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        &self.public
    }

    fn privkey(&self) -> &[u8] {
        self.secret.as_bytes()
    }

    /// Fails for points of small order (threat W-12): they would make the result known to everybody.
    fn dh(&self, pubkey: &[u8], out: &mut [u8]) -> Result<(), Error> {
        let theirs: [u8; 32] = pubkey.get(..32).and_then(|key| key.try_into().ok()).ok_or(Error::Dh)?;
        let shared = self.secret.diffie_hellman(&PublicKey::from(theirs));
        if !shared.was_contributory() {
            return Err(Error::Dh);
        }
        out[..32].copy_from_slice(shared.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_7748_section_6_1_is_met() {
        let hex = |text: &str| data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap();
        let mut alice = X25519::default();
        let alice_secret = hex("77076d0a7318a57d3c16c17251b26645df4c2f92ebc099a4a3f8b3a3ba51db2a");
        alice.set(&alice_secret);
        let mut bob = X25519::default();
        bob.set(&hex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"));
        assert_eq!(bob.pubkey(), hex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"));
        let (mut one, mut other) = ([0; 32], [0; 32]);
        alice.dh(bob.pubkey(), &mut one).unwrap();
        bob.dh(alice.pubkey(), &mut other).unwrap();
        assert_eq!(one, other);
    }

    #[test]
    fn what_is_said_of_the_function_is_so_and_no_other_is_to_be_had() {
        let primitives = Primitives::new([7; 32]);
        let mut key = primitives.resolve_dh(&DHChoice::Curve25519).expect("the protocol's own");
        let mut random = primitives.resolve_rng().expect("the node's own");
        key.generate(&mut *random).unwrap();
        // Noise section 12.1: DHLEN is 32, and this is the function's part of a protocol's name.
        assert_eq!((key.name(), key.pub_len(), key.priv_len()), ("25519", 32, 32));
        assert_eq!((key.pubkey().len(), key.privkey().len()), (key.pub_len(), key.priv_len()));
        let again = key.privkey().to_vec();
        assert_ne!(again, [0; 32], "it was drawn");
        key.set(&again);
        assert_eq!(
            (key.privkey(), key.pubkey()),
            (&again[..], &PublicKey::from(&secret_of(&again)).to_bytes()[..])
        );
        assert!(primitives.resolve_dh(&DHChoice::Curve448).is_none());
    }

    fn secret_of(bytes: &[u8]) -> StaticSecret {
        StaticSecret::from(<[u8; 32]>::try_from(bytes).unwrap())
    }

    #[test]
    fn w12_points_of_small_order_are_refused() {
        let mut key = X25519::default();
        key.set(&[7; 32]);
        let mut out = [0; 32];
        let mut one = [0; 32];
        one[0] = 1;
        // 0, 1, and p - 1: of order 2, 1 and 2 in RFC 7748's Montgomery form and its twist.
        let mut minus_one = [0xff; 32];
        minus_one[0] = 0xec;
        minus_one[31] = 0x7f;
        for point in [[0; 32], one, minus_one] {
            assert_eq!(key.dh(&point, &mut out), Err(Error::Dh), "{point:x?}");
        }
        assert_eq!(key.dh(&[0; 31], &mut out), Err(Error::Dh));
        let mut base = [0; 32];
        base[0] = 9;
        assert!(key.dh(&base, &mut out).is_ok());
    }
}

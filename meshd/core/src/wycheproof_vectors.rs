//! Project Wycheproof's vectors, through the seams that this program uses the primitives by: what is made to look valid and is
//! not has to be refused there, whatever the libraries take.
//!
//! HKDF is not among them: its two users are inside snow and vodozemac, and neither shows it.

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{ChaCha20Poly1305, KeyInit, Nonce, XChaCha20Poly1305, XNonce};
use snow::params::{CipherChoice, DHChoice};
use snow::resolvers::CryptoResolver as _;
use wycheproof::{TestResult, aead, eddsa, xdh};

use crate::identity::PublicKeys;
use crate::noise::Primitives;

#[test]
fn w12_ed25519_takes_what_is_valid_and_nothing_else() {
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
    let (mut taken, mut refused) = (0, 0);
    for group in &set.test_groups {
        let ed: [u8; 32] = group.key.pk[..].try_into().unwrap();
        let keys = PublicKeys { ed, x: [0; 32] };
        for test in &group.tests {
            let signature: Result<&[u8; 64], _> = test.sig[..].try_into();
            let is_taken = signature.is_ok_and(|signature| keys.has_signed(&test.msg, signature));
            assert_eq!(is_taken, test.result == TestResult::Valid, "{}: {}", test.tc_id, test.comment);
            if is_taken { taken += 1 } else { refused += 1 }
        }
    }
    assert!(taken > 50 && refused > 50, "{taken} taken, {refused} refused");
}

#[test]
fn w12_x25519_comes_to_the_same_and_refuses_what_everybody_would_know() {
    let set = xdh::TestSet::load(xdh::TestName::X25519).unwrap();
    let primitives = Primitives::new([0; 32]);
    let (mut met, mut refused) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let mut own = primitives.resolve_dh(&DHChoice::Curve25519).unwrap();
        own.set(&test.private_key);
        let mut shared = [0; 32];
        let is_known_to_all = test.shared_secret.iter().all(|byte| *byte == 0);
        match own.dh(&test.public_key, &mut shared) {
            Ok(()) => {
                assert!(!is_known_to_all, "{}: {}", test.tc_id, test.comment);
                assert_eq!(shared, test.shared_secret[..], "{}: {}", test.tc_id, test.comment);
                met += 1;
            }
            Err(_) => {
                assert!(is_known_to_all, "{}: {}", test.tc_id, test.comment);
                refused += 1;
            }
        }
    }
    assert!(met > 400 && refused > 20, "{met} met, {refused} refused");
}

/// Goes through a set with a cipher: what it seals and what it opens.
fn check_cipher(
    name: aead::TestName,
    nonce_bytes: usize,
    seal: impl Fn(&[u8; 32], &[u8], Payload<'_, '_>) -> Option<Vec<u8>>,
    open: impl Fn(&[u8; 32], &[u8], Payload<'_, '_>) -> Option<Vec<u8>>,
) {
    let set = aead::TestSet::load(name).unwrap();
    let (mut opened, mut refused) = (0, 0);
    // Nonces of other lengths can't be written down here.
    for group in set.test_groups.iter().filter(|group| group.nonce_size == 8 * nonce_bytes) {
        for test in &group.tests {
            let key: &[u8; 32] = test.key[..].try_into().unwrap();
            let sealed = [&test.ct[..], &test.tag[..]].concat();
            let plain = open(key, &test.nonce, Payload { msg: &sealed, aad: &test.aad });
            if test.result.must_fail() {
                assert_eq!(plain, None, "{}: {}", test.tc_id, test.comment);
                refused += 1;
            } else {
                assert_eq!(plain.as_deref(), Some(&test.pt[..]), "{}: {}", test.tc_id, test.comment);
                let again = seal(key, &test.nonce, Payload { msg: &test.pt, aad: &test.aad });
                assert_eq!(again, Some(sealed), "{}: {}", test.tc_id, test.comment);
                opened += 1;
            }
        }
    }
    assert!(opened > 100 && refused > 20, "{opened} opened, {refused} refused");
}

#[test]
fn w04_the_ciphers_of_groups_channels_and_stores_open_what_is_valid_and_nothing_else() {
    check_cipher(
        aead::TestName::ChaCha20Poly1305,
        12,
        |key, nonce, what| ChaCha20Poly1305::new(key.into()).encrypt(Nonce::from_slice(nonce), what).ok(),
        |key, nonce, what| ChaCha20Poly1305::new(key.into()).decrypt(Nonce::from_slice(nonce), what).ok(),
    );
    check_cipher(
        aead::TestName::XChaCha20Poly1305,
        24,
        |key, nonce, what| XChaCha20Poly1305::new(key.into()).encrypt(XNonce::from_slice(nonce), what).ok(),
        |key, nonce, what| XChaCha20Poly1305::new(key.into()).decrypt(XNonce::from_slice(nonce), what).ok(),
    );
}

/// Noise counts its nonces: of the vectors those whose first four bytes are zeros are the ones it can write.
#[test]
fn w04_the_cipher_of_links_and_seals_opens_what_is_valid_and_nothing_else() {
    let set = aead::TestSet::load(aead::TestName::ChaCha20Poly1305).unwrap();
    let primitives = Primitives::new([0; 32]);
    let mut met = 0;
    for test in set.test_groups.iter().filter(|group| group.nonce_size == 96).flat_map(|group| &group.tests) {
        let ([0, 0, 0, 0], Ok(count)) = (&test.nonce[..4], test.nonce[4..].try_into()) else { continue };
        let mut cipher = primitives.resolve_cipher(&CipherChoice::ChaChaPoly).unwrap();
        cipher.set(test.key[..].try_into().unwrap());
        let sealed = [&test.ct[..], &test.tag[..]].concat();
        let mut plain = vec![0; sealed.len()];
        let opened = cipher.decrypt(u64::from_le_bytes(count), &test.aad, &sealed, &mut plain);
        let opened = opened.ok().map(|length| &plain[..length]);
        let expected = (!test.result.must_fail()).then_some(&test.pt[..]);
        assert_eq!(opened, expected, "{}: {}", test.tc_id, test.comment);
        met += 1;
    }
    assert!(met > 0, "some of them can be written");
}

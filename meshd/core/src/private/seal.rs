//! The seal: one Noise message to a short-lived key of the recipient.
//!
//! Noise with the recipient's prekey as the responder's static key, so each message has keys of its own and needs no
//! other message to be opened: loss and reordering cost nothing. That the sender's static key is the sender's is proven by the
//! Diffie-Hellman result of it and the prekey, so whoever steals only the recipient's identity can't forge others to it
//! (threat C-11), and nobody can prove to a third who wrote it.
//!
//! ```text
//!  to a contact   Kpsk0   the hint says whose it is, so the sender's key does not travel     48 bytes around, 8 of hint
//!  by a code      Xpsk0   the sender's key travels encrypted                                 96 bytes around, 1 of hint
//!  intro          Xpsk0   likewise, and nothing says whose it is                             96 bytes around
//! ```
//!
//! The prologue has the header and the recipient's keys: a bundle can't be given another header or
//! address (threat C-07). Whatever is wrong with a bundle, the answer is the same: it is not for us (threat
//! C-17).
//!
//! Source: The Noise Protocol Framework, revision 34, sections 7.4 (K, X) and 9 (PSK).

use snow::{Builder, HandshakeState};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::bundle::NewBundle;
use crate::header::{Header, Kind};
use crate::identity::{Identity, PublicKeys};
use crate::noise::Primitives;
use crate::prekeys::PrekeyId;
use crate::sealed::{CODE_TAG_BYTES, Sealed, TAG_BYTES, size_class};

/// With a sender that the recipient knows.
const PATTERN_KNOWN: &str = "Noise_Kpsk0_25519_ChaChaPoly_BLAKE2s";
/// With a sender whose key travels.
const PATTERN_NAMED: &str = "Noise_Xpsk0_25519_ChaChaPoly_BLAKE2s";
const PROLOGUE_LABEL: &[u8] = b"MeshLink v1 sealed";
const PAIR_CONTEXT: &str = "MeshLink v1 pair";
const CODE_CONTEXT: &str = "MeshLink v1 code pair";
const EPHEMERAL_CONTEXT: &str = "MeshLink v1 seal entropy";

/// Bytes of a Noise message around its payload: ephemeral key and tag.
const KNOWN_BYTES: usize = 32 + 16;
/// With the sender's key: encrypted, with a tag of its own.
const NAMED_BYTES: usize = KNOWN_BYTES + 32 + 16;

/// A pre-shared key; zeros if the two have none.
pub(crate) type Psk = [u8; 32];

/// The secret half of a prekey.
#[derive(Clone)]
pub(crate) struct PrekeySecret {
    secret: StaticSecret,
    /// The half that others have.
    pub(crate) public: [u8; 32],
}

/// Marks the bundles of one direction between two nodes, for them alone.
#[derive(Clone)]
pub(crate) struct PairKey(Zeroizing<[u8; 32]>);

/// Marks the bundles to the owner of a code from whoever has it.
#[derive(Clone)]
pub(crate) struct CodeKey(Zeroizing<[u8; 32]>);

/// What the recipient recognises a message by.
#[derive(Clone, Copy)]
pub(crate) enum Hint<'a> {
    /// The key of the two, which says who the sender is.
    Pair(&'a PairKey),
    /// A code's, which whoever has the code may have used.
    Code(&'a CodeKey),
    /// Nothing: an intro.
    None,
}

/// For whom a message is, and with what.
#[derive(Clone, Copy)]
pub(crate) struct Address<'a> {
    pub(crate) recipient: &'a PublicKeys,
    pub(crate) prekey: &'a [u8; 32],
    pub(crate) psk: &'a Psk,
    pub(crate) hint: Hint<'a>,
}

impl Address<'_> {
    /// The name of the Noise protocol.
    pub(crate) fn pattern(&self) -> &'static str {
        match self.hint {
            Hint::Pair(_) => PATTERN_KNOWN,
            Hint::Code(_) | Hint::None => PATTERN_NAMED,
        }
    }

    /// Bytes before the Noise message.
    fn tag_bytes(&self) -> usize {
        match self.hint {
            Hint::Pair(_) => TAG_BYTES,
            Hint::Code(_) => CODE_TAG_BYTES,
            Hint::None => 0,
        }
    }

    /// Bytes of the payload that are not what is sealed.
    pub(crate) fn bytes_around(&self) -> usize {
        self.tag_bytes()
            + match self.hint {
                Hint::Pair(_) => KNOWN_BYTES,
                Hint::Code(_) | Hint::None => NAMED_BYTES,
            }
    }

    /// Writes what is before a Noise message that begins with that ephemeral key.
    fn write_tag(&self, tag: &mut [u8], ephemeral: &[u8; 32]) {
        match self.hint {
            Hint::Pair(pair) => tag.copy_from_slice(&pair.tag(ephemeral, PrekeyId::of(self.prekey))),
            Hint::Code(code) => tag.copy_from_slice(&code.tag(ephemeral)),
            Hint::None => {}
        }
    }
}

/// What came out of a sealed bundle.
pub(crate) struct Opened {
    /// The sender's X25519 identity.
    pub(crate) sender: [u8; 32],
    pub(crate) plain: Zeroizing<Vec<u8>>,
}

impl PrekeySecret {
    pub(crate) fn from_bytes(secret: &[u8; 32]) -> Self {
        let secret = StaticSecret::from(*secret);
        let public = PublicKey::from(&secret).to_bytes();
        Self { secret, public }
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        self.secret.as_bytes()
    }

    pub(crate) fn id(&self) -> PrekeyId {
        PrekeyId::of(&self.public)
    }
}

impl PairKey {
    /// The key for bundles from one node to another; `None` if the other's key is no key.
    pub(crate) fn new(own: &Identity, other: &PublicKeys, psk: &Psk, is_from_own: bool) -> Option<Self> {
        let shared = StaticSecret::from(*own.agreement_secret()).diffie_hellman(&PublicKey::from(other.x));
        if !shared.was_contributory() {
            return None;
        }
        let (from, to) = if is_from_own { (own.public(), *other) } else { (*other, own.public()) };
        let mut hasher = blake3::Hasher::new_derive_key(PAIR_CONTEXT);
        hasher.update(shared.as_bytes());
        hasher.update(psk);
        hasher.update(&from.to_bytes());
        hasher.update(&to.to_bytes());
        Some(Self(Zeroizing::new(*hasher.finalize().as_bytes())))
    }

    /// The hint, and what hides the selector, for a message with that ephemeral key.
    fn mask(&self, ephemeral: &[u8; 32]) -> [u8; TAG_BYTES] {
        marks(&self.0, ephemeral)
    }

    fn tag(&self, ephemeral: &[u8; 32], prekey: PrekeyId) -> [u8; TAG_BYTES] {
        let mut tag = self.mask(ephemeral);
        for (byte, of_id) in tag[4..].iter_mut().zip(prekey.0) {
            *byte ^= of_id;
        }
        tag
    }

    /// Which prekey a marked bundle was sealed to, if it is of this pair.
    pub(crate) fn recognises(&self, sealed: &Sealed) -> Option<PrekeyId> {
        let (tag, noise) = sealed.split::<TAG_BYTES>();
        let mask = self.mask(noise.first_chunk()?);
        if tag[..4] != mask[..4] {
            return None;
        }
        let mut id = [0; PrekeyId::BYTES];
        for (n, byte) in id.iter_mut().enumerate() {
            *byte = tag[4 + n] ^ mask[4 + n];
        }
        Some(PrekeyId(id))
    }
}

impl CodeKey {
    pub(crate) fn new(psk: &Psk, owner: &PublicKeys) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(CODE_CONTEXT);
        hasher.update(psk);
        hasher.update(&owner.to_bytes());
        Self(Zeroizing::new(*hasher.finalize().as_bytes()))
    }

    fn tag(&self, ephemeral: &[u8; 32]) -> [u8; CODE_TAG_BYTES] {
        marks(&self.0, ephemeral)
    }

    /// Whether a marked bundle may have come by this code: one in 256 others looks so too.
    pub(crate) fn may_be_of(&self, sealed: &Sealed) -> bool {
        let (tag, noise) = sealed.split::<CODE_TAG_BYTES>();
        noise.first_chunk().is_some_and(|ephemeral| self.tag(ephemeral) == *tag)
    }
}

/// The first bytes of the MAC over an ephemeral key.
fn marks<const N: usize>(key: &[u8; 32], ephemeral: &[u8; 32]) -> [u8; N] {
    *blake3::keyed_hash(key, ephemeral).as_bytes().first_chunk().expect("no mark is longer than a hash")
}

/// Seals `plain`, padded to a size class. `header` has everything but the kind. `None` if it is too long for
/// any bundle, or a key of the recipient's is none.
pub(crate) fn seal(
    sender: &Identity,
    address: &Address<'_>,
    mut header: Header,
    plain: &[u8],
    seed: [u8; 32],
) -> Option<NewBundle> {
    let tag_bytes = address.tag_bytes();
    let class = size_class(address.bytes_around() + plain.len())?;
    header.kind = if tag_bytes > 0 { Kind::Sealed } else { Kind::Intro };
    let mut padded = Zeroizing::new(plain.to_vec());
    padded.resize(class - address.bytes_around(), 0);

    let seed = hedged(seed, sender, address, &padded);
    let prologue = prologue(&header, address.recipient, address.prekey);
    let mut noise = builder(address.pattern(), &prologue, address.psk, seed)
        .local_private_key(sender.agreement_secret())
        .and_then(|builder| builder.remote_public_key(address.prekey))
        .and_then(Builder::build_initiator)
        .ok()?;
    let mut payload = vec![0; class];
    let length = noise.write_message(&padded, &mut payload[tag_bytes..]).ok()?;
    debug_assert_eq!(tag_bytes + length, class);
    let (tag, message) = payload.split_at_mut(tag_bytes);
    address.write_tag(tag, message.first_chunk().expect("a Noise message begins with a key"));
    Some(NewBundle::unsigned(header, payload))
}

/// Opens a bundle sealed to that prekey; `None` if it was not. `sender` is the X25519 identity of whom it is marked by, if
/// that says who it is.
pub(crate) fn open(
    recipient: &PublicKeys,
    prekey: &PrekeySecret,
    psk: &Psk,
    sender: Option<&[u8; 32]>,
    header: &Header,
    noise_message: &[u8],
) -> Option<Opened> {
    let prologue = prologue(header, recipient, &prekey.public);
    let pattern = if sender.is_some() { PATTERN_KNOWN } else { PATTERN_NAMED };
    let mut builder = builder(pattern, &prologue, psk, [0; 32]).local_private_key(prekey.bytes()).ok()?;
    if let Some(sender) = sender {
        builder = builder.remote_public_key(sender).ok()?;
    }
    let mut noise: HandshakeState = builder.build_responder().ok()?;
    let mut plain = Zeroizing::new(vec![0; noise_message.len()]);
    let length = noise.read_message(noise_message, &mut plain).ok()?;
    plain.truncate(length);
    let sender = noise.get_remote_static()?.try_into().ok()?;
    Some(Opened { sender, plain })
}

/// The header as it is in the bundle, then for whom.
fn prologue(header: &Header, recipient: &PublicKeys, prekey: &[u8; 32]) -> Vec<u8> {
    [PROLOGUE_LABEL, &header.encode(), &recipient.to_bytes(), prekey].concat()
}

fn builder<'b>(pattern: &str, prologue: &'b [u8], psk: &'b Psk, seed: [u8; 32]) -> Builder<'b> {
    let params = pattern.parse().expect("the pattern is one that snow knows");
    Builder::with_resolver(params, Box::new(Primitives::new(seed)))
        .prologue(prologue)
        .and_then(|builder| builder.psk(0, psk))
        .expect("each is set once, and the pattern has one")
}

/// The ephemeral key's seed. It depends on what is sealed and on the sender's secret too: a machine that is set
/// back to an earlier state and draws the same again does not seal two things with one key (threat C-08).
pub(crate) fn hedged(seed: [u8; 32], sender: &Identity, address: &Address<'_>, padded: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(EPHEMERAL_CONTEXT);
    hasher.update(&seed);
    hasher.update(sender.agreement_secret());
    hasher.update(address.prekey);
    hasher.update(padded);
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::LIFETIME_S_STRANGER_MAX;
    use crate::receipt::Commitment;
    use crate::store::Priority;

    fn alice() -> Identity {
        Identity::from_bytes(&[1; 64])
    }

    fn bob() -> Identity {
        Identity::from_bytes(&[2; 64])
    }

    fn prekey() -> PrekeySecret {
        PrekeySecret::from_bytes(&[3; 32])
    }

    fn header() -> Header {
        let commitment = Some(Commitment([5; 16]));
        Header { commitment, ..Header::bare(Kind::Sealed, 3_600, Priority::Normal) }
    }

    fn pair(psk: &Psk) -> PairKey {
        PairKey::new(&alice(), &bob().public(), psk, true).unwrap()
    }

    fn sealed_with(plain: &[u8], seed: u8, has_hint: bool, psk: &Psk) -> NewBundle {
        let pair = pair(psk);
        let address = Address {
            recipient: &bob().public(),
            prekey: &prekey().public,
            psk,
            hint: if has_hint { Hint::Pair(&pair) } else { Hint::None },
        };
        seal(&alice(), &address, header(), plain, [seed; 32]).unwrap()
    }

    fn sealed(plain: &[u8], seed: u8) -> NewBundle {
        sealed_with(plain, seed, true, &[0; 32])
    }

    fn opened(bundle: &NewBundle, psk: &Psk) -> Option<Opened> {
        opened_by(&bob(), bundle, psk)
    }

    fn opened_by(recipient: &Identity, bundle: &NewBundle, psk: &Psk) -> Option<Opened> {
        let parts = Sealed::decode(&bundle.header, &bundle.payload).unwrap();
        let alice = alice().public().x;
        let (sender, noise) = if parts.is_marked {
            (Some(&alice), parts.split::<TAG_BYTES>().1)
        } else {
            (None, &parts.payload[..])
        };
        open(&recipient.public(), &prekey(), psk, sender, &bundle.header, noise)
    }

    #[test]
    fn what_is_sealed_is_opened_by_the_recipient_and_names_its_sender() {
        for has_hint in [true, false] {
            let bundle = sealed_with(b"hello", 9, has_hint, &[0; 32]);
            let opened = opened(&bundle, &[0; 32]).unwrap();
            assert_eq!(opened.sender, alice().public().x);
            assert_eq!(&opened.plain[..5], b"hello");
            assert!(opened.plain[5..].iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn no_message_has_more_than_128_bytes_around_it_before_padding() {
        let psk = [8; 32];
        let (pair, code) = (pair(&psk), CodeKey::new(&psk, &bob().public()));
        // No header of a sealed bundle is longer than this one's.
        let longest = Header { lifetime_s: LIFETIME_S_STRANGER_MAX as u32, ..header() };
        for (hint, around, in_all) in
            [(Hint::Pair(&pair), 56, 87), (Hint::Code(&code), 97, 128), (Hint::None, 96, 127)]
        {
            let address = Address { recipient: &bob().public(), prekey: &prekey().public, psk: &psk, hint };
            let sealed =
                |bytes: usize| seal(&alice(), &address, longest.clone(), &vec![1; bytes], [9; 32]).unwrap();
            assert_eq!((sealed(256 - around).payload.len(), sealed(257 - around).payload.len()), (256, 512));
            assert_eq!(sealed(256 - around).header_bytes.len() + around, in_all);
        }
    }

    #[test]
    fn what_comes_by_a_code_names_its_sender_and_opens_with_the_code_only() {
        let psk = [8; 32];
        let of_code = CodeKey::new(&psk, &bob().public());
        let hint = Hint::Code(&of_code);
        let address = Address { recipient: &bob().public(), prekey: &prekey().public, psk: &psk, hint };
        let bundle = seal(&alice(), &address, header(), b"hello", [9; 32]).unwrap();
        let parts = Sealed::decode(&bundle.header, &bundle.payload).unwrap();
        assert!(of_code.may_be_of(&parts));
        let of_another = CodeKey::new(&[9; 32], &bob().public());
        let of_anothers_owner = CodeKey::new(&psk, &alice().public());
        assert!(!of_another.may_be_of(&parts) && !of_anothers_owner.may_be_of(&parts));
        let noise = parts.split::<CODE_TAG_BYTES>().1;
        let opened = |sender| open(&bob().public(), &prekey(), &psk, sender, &bundle.header, noise);
        assert_eq!(opened(None).unwrap().sender, alice().public().x);
        assert!(opened(Some(&alice().public().x)).is_none(), "the patterns are told apart");
    }

    #[test]
    fn c07_a_bundle_for_one_is_not_opened_by_another() {
        let carol = Identity::from_bytes(&[7; 64]);
        let bundle = sealed(b"hello", 9);
        // Carol even has the secret of the prekey.
        assert!(opened_by(&carol, &bundle, &[0; 32]).is_none());
    }

    #[test]
    fn c07_a_bundle_with_another_header_is_not_opened() {
        let bundle = sealed(b"hello", 9);
        for header in [
            Header { priority: Priority::Sos, ..bundle.header.clone() },
            Header { lifetime_s: 3_601, ..bundle.header.clone() },
            Header { commitment: Some(Commitment([6; 16])), ..bundle.header.clone() },
            Header { kind: Kind::Intro, ..bundle.header.clone() },
        ] {
            let altered = NewBundle { header, ..bundle.clone() };
            assert!(opened(&altered, &[0; 32]).is_none(), "{:?}", altered.header);
        }
    }

    #[test]
    fn w04_every_bit_flip_of_a_sealed_payload_is_found() {
        let bundle = sealed(b"hello", 9);
        for bit in TAG_BYTES * 8..bundle.payload.len() * 8 {
            let mut altered = bundle.clone();
            altered.payload[bit / 8] ^= 1 << (bit % 8);
            assert!(opened(&altered, &[0; 32]).is_none(), "bit {bit}");
        }
    }

    #[test]
    fn another_pre_shared_key_opens_nothing() {
        assert!(opened(&sealed_with(b"hello", 9, true, &[8; 32]), &[0; 32]).is_none());
        assert!(opened(&sealed_with(b"hello", 9, true, &[8; 32]), &[8; 32]).is_some());
    }

    #[test]
    fn c08_the_same_draw_twice_does_not_make_the_same_key_twice() {
        let ephemeral = |bundle: &NewBundle| bundle.payload[TAG_BYTES..TAG_BYTES + 32].to_vec();
        assert_ne!(ephemeral(&sealed(b"hello", 9)), ephemeral(&sealed(b"jello", 9)));
        assert_ne!(ephemeral(&sealed(b"hello", 9)), ephemeral(&sealed(b"hello", 10)));
    }

    #[test]
    fn c11_a_stolen_identity_of_the_recipient_forges_nobody_to_it() {
        // Mallory has all of Bob's identity, and Alice's public keys. To seal as Alice he needs the shared
        // secret of Alice's identity and the prekey; what he can compute is that of Bob's identity and Alice's.
        let mallory = Identity::from_bytes(&[66; 64]);
        let address = Address {
            recipient: &bob().public(),
            prekey: &prekey().public,
            psk: &[0; 32],
            hint: Hint::Pair(&pair(&[0; 32])),
        };
        for who in [&mallory, &bob()] {
            let forged = seal(who, &address, header(), b"from alice", [9; 32]).unwrap();
            assert!(opened(&forged, &[0; 32]).is_none(), "marked as hers, and not hers");
            let intro = seal(who, &Address { hint: Hint::None, ..address }, header(), b"from alice", [9; 32])
                .unwrap();
            assert_ne!(opened(&intro, &[0; 32]).unwrap().sender, alice().public().x);
        }
    }

    #[test]
    fn c15_hints_of_one_pair_have_nothing_in_common_and_only_the_pair_makes_them() {
        let (one, other) = (sealed(b"hello", 1), sealed(b"hello", 2));
        assert_ne!(one.payload[..4], other.payload[..4]);
        assert_ne!(one.payload[4..8], other.payload[4..8]);
        let parts = Sealed::decode(&one.header, &one.payload).unwrap();
        let bobs = PairKey::new(&bob(), &alice().public(), &[0; 32], false).unwrap();
        assert_eq!(bobs.recognises(&parts), Some(prekey().id()));
        // The other direction, another pre-shared key, somebody else: no match.
        for stranger in [
            PairKey::new(&bob(), &alice().public(), &[0; 32], true).unwrap(),
            PairKey::new(&bob(), &alice().public(), &[1; 32], false).unwrap(),
            PairKey::new(&Identity::from_bytes(&[7; 64]), &alice().public(), &[0; 32], false).unwrap(),
        ] {
            assert_eq!(stranger.recognises(&parts), None);
        }
        // Nothing that can be computed from public keys alone is the hint.
        let ephemeral = parts.split::<TAG_BYTES>().1.first_chunk::<32>().unwrap();
        for key in [alice().public().x, alice().public().ed, bob().public().x, bob().public().ed] {
            assert_ne!(blake3::keyed_hash(&key, ephemeral).as_bytes()[..4], one.payload[..4]);
        }
    }

    #[test]
    fn w12_a_prekey_of_small_order_seals_nothing() {
        let psk = [0; 32];
        let address = Address { recipient: &bob().public(), prekey: &[0; 32], psk: &psk, hint: Hint::None };
        assert!(seal(&alice(), &address, header(), b"hello", [9; 32]).is_none());
        let nobody = PublicKeys { ed: [1; 32], x: [0; 32] };
        assert!(PairKey::new(&alice(), &nobody, &psk, true).is_none());
    }

    #[test]
    fn w05_a_message_shorter_than_its_overhead_is_not_opened() {
        let (alice, header) = (alice().public().x, sealed(b"x", 1).header);
        for (sender, around) in [(None, NAMED_BYTES), (Some(&alice), KNOWN_BYTES)] {
            for message in (0..around).map(|length| vec![0; length]) {
                assert!(open(&bob().public(), &prekey(), &[0; 32], sender, &header, &message).is_none());
            }
        }
    }
}

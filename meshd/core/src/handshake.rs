//! The first three frames of a link: who is there, and the keys for the rest.
//!
//! ```text
//!  dialled                                        answered
//!     │ 1: versions, ephemeral key                   │     prologue: label, versions
//!     │ ───────────────────────────────────────────▶ │
//!     │ 2: ephemeral key, {static key}, {hello}      │
//!     │ ◀─────────────────────────────────────────── │
//!     │ 3: {static key}, {hello}                     │     {..}: encrypted
//!     │ ───────────────────────────────────────────▶ │
//! ```
//!
//! `Noise_XX_25519_ChaChaPoly_BLAKE2s`. The static key is the node's own X25519 key and travels encrypted: a
//! sniffer sees ephemeral keys only. The hello adds the Ed25519 key; the node id is a hash of both, so the
//! handshake proves it. The version list of frame 1 is part of the prologue: whoever strips a version from it
//! breaks the handshake (threat S-10).
//!
//! Who dialled learns first who is there and may hang up before saying who it is itself.

use snow::{Builder, HandshakeState, TransportState};

use crate::canonical::{Malformed, Reader, Writer};
use crate::identity::{Identity, PublicKeys};
use crate::limits::{FRAME_BYTES_MAX, FRAME_BYTES_MIN, REKEY_FRAMES};
use crate::node::CloseReason;
use crate::noise::Primitives;

/// The versions of the link protocol that this node speaks, best last.
pub(crate) const LINK_VERSIONS: &[u8] = &[1];

const PATTERN: &str = "Noise_XX_25519_ChaChaPoly_BLAKE2s";
const PROLOGUE_LABEL: &[u8] = b"MeshLink v1 link handshake";
/// More versions than this in frame 1 are nonsense.
const VERSIONS_MAX: usize = 8;
/// What authenticated encryption adds to a message.
pub(crate) const TAG_BYTES: usize = 16;

/// A handshake under way.
pub(crate) struct Handshake {
    dialled: bool,
    stage: Stage,
}

enum Stage {
    /// The answering side waits for frame 1.
    AwaitFirst { seed: [u8; 32] },
    /// The dialling side waits for frame 2, the answering side for frame 3.
    Await { noise: Box<HandshakeState>, version: Option<u8> },
    /// The other side is known.
    Met { noise: Box<HandshakeState>, version: u8, frame_bytes_max: usize },
    /// Something failed.
    Broken,
}

/// What a frame of the handshake leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Send this.
    Reply(Vec<u8>),
    /// The other side has these keys. Go on with [`Handshake::finish`], or hang up.
    Met(PublicKeys),
}

/// What encrypts a link's frames once the handshake is done.
pub(crate) struct Tunnel {
    transport: TransportState,
    sent_frames: u64,
    received_frames: u64,
    /// The same on both sides, and of no other link.
    pub(crate) hash: [u8; 32],
    /// Longest frame that both sides take, in bytes.
    pub(crate) frame_bytes_max: usize,
}

impl Handshake {
    /// Begins a handshake as the side that dialled; with the first frame.
    pub(crate) fn dial(identity: &Identity, seed: [u8; 32]) -> (Self, Vec<u8>) {
        let mut frame = vec![LINK_VERSIONS.len() as u8];
        frame.extend_from_slice(LINK_VERSIONS);
        let mut noise = build(identity, seed, &frame, true);
        let message = write(&mut noise, &[]).expect("the first message needs no key of the other side");
        frame.extend_from_slice(&message);
        (Self { dialled: true, stage: Stage::Await { noise: Box::new(noise), version: None } }, frame)
    }

    /// Waits for a handshake as the side that was dialled.
    pub(crate) fn answer(seed: [u8; 32]) -> Self {
        Self { dialled: false, stage: Stage::AwaitFirst { seed } }
    }

    /// Takes in the next frame.
    pub(crate) fn read(&mut self, frame: &[u8], identity: &Identity) -> Result<Step, CloseReason> {
        match std::mem::replace(&mut self.stage, Stage::Broken) {
            Stage::AwaitFirst { seed } => self.read_first(frame, seed, identity),
            Stage::Await { noise, version } => self.read_hello(frame, noise, version),
            Stage::Met { .. } | Stage::Broken => Err(CloseReason::HandshakeFailed("a frame too many")),
        }
    }

    /// Ends the handshake: the frame to send, if one is, and the way to encrypt all others.
    pub(crate) fn finish(self, identity: &Identity) -> Result<(Option<Vec<u8>>, Tunnel), CloseReason> {
        let Stage::Met { mut noise, version, frame_bytes_max, .. } = self.stage else {
            return Err(CloseReason::HandshakeFailed("it is not that far"));
        };
        let last = if self.dialled { Some(write(&mut noise, &hello(identity, version))?) } else { None };
        let mut hash = [0; 32];
        hash.copy_from_slice(noise.get_handshake_hash());
        let transport = noise.into_transport_mode().map_err(failed)?;
        Ok((last, Tunnel { transport, sent_frames: 0, received_frames: 0, hash, frame_bytes_max }))
    }

    /// What both sides have said so far, hashed: the same on both once the second frame was read.
    pub(crate) fn hash(&self) -> Option<[u8; 32]> {
        match &self.stage {
            Stage::Await { noise, .. } | Stage::Met { noise, .. } => {
                noise.get_handshake_hash().try_into().ok()
            }
            Stage::AwaitFirst { .. } | Stage::Broken => None,
        }
    }

    fn read_first(&mut self, frame: &[u8], seed: [u8; 32], identity: &Identity) -> Result<Step, CloseReason> {
        let malformed = CloseReason::HandshakeFailed("the first frame is malformed");
        let count = usize::from(*frame.first().ok_or(malformed)?);
        if count == 0 || count > VERSIONS_MAX {
            return Err(malformed);
        }
        let (head, message) = frame.split_at_checked(1 + count).ok_or(malformed)?;
        let offered = &head[1..];
        if !offered.is_sorted_by(|a, b| a < b) || message.len() != 32 {
            return Err(malformed);
        }
        let common = offered.iter().rev().find(|version| LINK_VERSIONS.contains(version));
        let version = *common.ok_or(CloseReason::NoCommonVersion)?;
        let mut noise = build(identity, seed, head, false);
        read(&mut noise, message)?;
        let reply = write(&mut noise, &hello(identity, version))?;
        self.stage = Stage::Await { noise: Box::new(noise), version: Some(version) };
        Ok(Step::Reply(reply))
    }

    fn read_hello(
        &mut self,
        frame: &[u8],
        mut noise: Box<HandshakeState>,
        chosen: Option<u8>,
    ) -> Result<Step, CloseReason> {
        let hello = read(&mut noise, frame)?;
        let hello = Hello::decode(&hello).map_err(|Malformed(what)| CloseReason::HandshakeFailed(what))?;
        let is_agreed = chosen.map_or(LINK_VERSIONS.contains(&hello.version), |ours| ours == hello.version);
        if !is_agreed {
            return Err(CloseReason::NoCommonVersion);
        }
        let x = noise.get_remote_static().and_then(|key| key.try_into().ok());
        let x = x.ok_or(CloseReason::HandshakeFailed("it has no static key"))?;
        let keys = PublicKeys { ed: hello.ed, x };
        let frame_bytes_max = hello.frame_bytes_max.min(FRAME_BYTES_MAX);
        self.stage = Stage::Met { noise, version: hello.version, frame_bytes_max };
        Ok(Step::Met(keys))
    }
}

impl Tunnel {
    /// Encrypts a frame.
    pub(crate) fn seal(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; plain.len() + TAG_BYTES];
        let length = self.transport.write_message(plain, &mut frame);
        let length = length.expect("a frame is below Noise's limit, and 2^64 frames are never sent");
        debug_assert_eq!(length, frame.len());
        self.sent_frames += 1;
        if self.sent_frames.is_multiple_of(REKEY_FRAMES) {
            self.transport.rekey_outgoing();
        }
        frame
    }

    /// Decrypts a frame into `plain`. A link keeps order and loses nothing, so one that fails ends it.
    pub(crate) fn open(&mut self, frame: &[u8], plain: &mut Vec<u8>) -> Result<(), CloseReason> {
        plain.resize(frame.len(), 0);
        let length = self.transport.read_message(frame, plain);
        let length = length.map_err(|_| CloseReason::Protocol("a frame that is not authentic"))?;
        plain.truncate(length);
        self.received_frames += 1;
        if self.received_frames.is_multiple_of(REKEY_FRAMES) {
            self.transport.rekey_incoming();
        }
        Ok(())
    }
}

/// What each side says about itself, encrypted.
struct Hello {
    version: u8,
    ed: [u8; 32],
    frame_bytes_max: usize,
}

fn hello(identity: &Identity, version: u8) -> Vec<u8> {
    let mut writer = Writer::with_capacity(48);
    writer.map(4);
    writer.uint(0).uint(u64::from(version));
    writer.uint(1).bytes(&identity.public().ed);
    // Features: none yet. Whoever does not know one ignores it.
    writer.uint(2).uint(0);
    writer.uint(3).uint(FRAME_BYTES_MAX as u64);
    writer.finish()
}

impl Hello {
    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let (mut version, mut ed, mut features, mut frame_bytes_max) = (None, None, None, None);
        let mut map = reader.map()?;
        while let Some(key) = map.key()? {
            match key {
                0 => version = u8::try_from(map.reader.uint()?).ok(),
                1 => ed = Some(map.reader.byte_array()?),
                2 => features = Some(map.reader.uint()?),
                3 => frame_bytes_max = usize::try_from(map.reader.uint()?).ok(),
                _ => return Err(Malformed("a hello's field of a later version")),
            }
        }
        reader.end()?;
        let (Some(version), Some(ed), Some(_), Some(frame_bytes_max)) =
            (version, ed, features, frame_bytes_max)
        else {
            return Err(Malformed("a hello without all its fields"));
        };
        if frame_bytes_max < FRAME_BYTES_MIN {
            return Err(Malformed("a hello that takes no frame a bundle fits in"));
        }
        Ok(Self { version, ed, frame_bytes_max })
    }
}

fn build(identity: &Identity, seed: [u8; 32], versions: &[u8], dialled: bool) -> HandshakeState {
    let prologue = [PROLOGUE_LABEL, versions].concat();
    let params = PATTERN.parse().expect("the pattern is one that snow knows");
    let builder = Builder::with_resolver(params, Box::new(Primitives::new(seed)))
        .local_private_key(identity.agreement_secret())
        .and_then(|builder| builder.prologue(&prologue))
        .expect("each is set once");
    let built = if dialled { builder.build_initiator() } else { builder.build_responder() };
    built.expect("the resolver has every primitive of the pattern")
}

fn write(noise: &mut HandshakeState, payload: &[u8]) -> Result<Vec<u8>, CloseReason> {
    // An ephemeral key, a static key with its tag, the payload with its tag.
    let mut message = vec![0; 32 + 32 + TAG_BYTES + payload.len() + TAG_BYTES];
    let length = noise.write_message(payload, &mut message).map_err(failed)?;
    message.truncate(length);
    Ok(message)
}

fn read(noise: &mut HandshakeState, message: &[u8]) -> Result<Vec<u8>, CloseReason> {
    let mut payload = vec![0; message.len()];
    let length = noise.read_message(message, &mut payload).map_err(failed)?;
    payload.truncate(length);
    Ok(payload)
}

/// One reason for all: what exactly failed helps only an attacker.
fn failed(_: snow::Error) -> CloseReason {
    CloseReason::HandshakeFailed("a frame is not what the other side's key makes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alice() -> Identity {
        Identity::from_bytes(&[1; 64])
    }

    fn bob() -> Identity {
        Identity::from_bytes(&[2; 64])
    }

    /// Runs a handshake, with `alter` changing frame `n` on its way.
    fn run(mut alter: impl FnMut(usize, &mut Vec<u8>)) -> Result<(Tunnel, Tunnel), CloseReason> {
        let (mut dialled, mut frame) = Handshake::dial(&alice(), [3; 32]);
        let mut answered = Handshake::answer([4; 32]);
        alter(1, &mut frame);
        let Step::Reply(mut frame) = answered.read(&frame, &bob())? else { panic!("frame 2 comes first") };
        alter(2, &mut frame);
        assert_eq!(dialled.read(&frame, &alice())?, Step::Met(bob().public()));
        let (frame, one) = dialled.finish(&alice())?;
        let mut frame = frame.unwrap();
        alter(3, &mut frame);
        assert_eq!(answered.read(&frame, &bob())?, Step::Met(alice().public()));
        let (nothing, other) = answered.finish(&bob())?;
        assert_eq!(nothing, None);
        Ok((one, other))
    }

    #[test]
    fn both_sides_learn_who_is_there_and_share_keys() {
        let (mut one, mut other) = run(|_, _| {}).unwrap();
        assert_eq!(one.hash, other.hash);
        let mut plain = Vec::new();
        for n in 0..3_000u32 {
            let text = n.to_be_bytes();
            other.open(&one.seal(&text), &mut plain).unwrap();
            assert_eq!(plain, text);
            one.open(&other.seal(&text), &mut plain).unwrap();
            assert_eq!(plain, text);
        }
    }

    #[test]
    fn no_key_that_stays_the_same_is_visible() {
        let mut seen = Vec::new();
        run(|_, frame| seen.extend_from_slice(frame)).unwrap();
        for identity in [alice(), bob()] {
            for key in [identity.public().ed, identity.public().x] {
                assert!(!seen.windows(8).any(|window| key.windows(8).any(|part| part == window)));
            }
        }
    }

    #[test]
    fn w03_w04_a_frame_cut_or_altered_anywhere_fails() {
        let mut lengths = Vec::new();
        run(|_, frame| lengths.push(frame.len())).unwrap();
        for (n, frame_bytes) in (1..).zip(lengths) {
            for bit in 0..frame_bytes * 8 {
                let flipped = run(|at, frame| {
                    if at == n {
                        frame[bit / 8] ^= 1 << (bit % 8);
                    }
                });
                // The top bit of an X25519 key is ignored (RFC 7748 section 5), but not by the transcript.
                assert!(flipped.is_err(), "frame {n}, bit {bit}");
            }
            for length in 0..frame_bytes {
                let cut = run(|at, frame| {
                    if at == n {
                        frame.truncate(length);
                    }
                });
                assert!(cut.is_err(), "frame {n}, {length} bytes");
            }
            let longer = run(|at, frame| {
                if at == n {
                    frame.push(0);
                }
            });
            assert!(longer.is_err(), "frame {n} with a byte more");
        }
    }

    #[test]
    fn s10_versions_are_bound_and_none_in_common_is_said() {
        let stripped = run(|n, frame| {
            if n == 1 {
                // The dialling side offered 1 only; somebody makes 1 and 9 of it.
                frame[0] = 2;
                frame.insert(2, 9);
            }
        });
        assert!(matches!(stripped, Err(CloseReason::HandshakeFailed(_))));
        let unknown = run(|n, frame| {
            if n == 1 {
                frame[1] = 9;
            }
        });
        assert!(matches!(unknown, Err(CloseReason::NoCommonVersion)));
    }

    #[test]
    fn s10_versions_are_one_to_eight_in_ascending_order() {
        let key = &Handshake::dial(&alice(), [3; 32]).1[2..];
        let answer = |versions: &[u8]| {
            let frame = [&[versions.len() as u8], versions, key].concat();
            Handshake::answer([4; 32]).read(&frame, &bob())
        };
        for good in [&[1][..], &[1, 2], &[0, 1, 9], &[1, 2, 3, 4, 5, 6, 7, 8]] {
            assert!(matches!(answer(good), Ok(Step::Reply(_))), "{good:?}");
        }
        for bad in [&[][..], &[2, 1], &[1, 1], &[1, 3, 2], &[1, 2, 3, 4, 5, 6, 7, 8, 9]] {
            let refused = answer(bad);
            assert_eq!(refused, Err(CloseReason::HandshakeFailed("the first frame is malformed")), "{bad:?}");
        }
    }

    #[test]
    fn who_takes_no_frame_that_a_bundle_fits_in_is_refused() {
        let hello = |frame_bytes_max: usize| {
            let mut writer = Writer::with_capacity(48);
            writer.map(4).uint(0).uint(1).uint(1).bytes(&[7; 32]).uint(2).uint(0);
            writer.uint(3).uint(frame_bytes_max as u64);
            Hello::decode(&writer.finish()).map(|hello| hello.frame_bytes_max)
        };
        assert_eq!(hello(FRAME_BYTES_MIN), Ok(FRAME_BYTES_MIN));
        assert_eq!(hello(FRAME_BYTES_MAX + 1), Ok(FRAME_BYTES_MAX + 1));
        assert!(hello(FRAME_BYTES_MIN - 1).is_err());
    }

    #[test]
    fn both_sides_have_one_hash_before_either_has_finished_and_another_run_has_another() {
        let meet = |seed: u8| {
            let (mut dialled, first) = Handshake::dial(&alice(), [seed; 32]);
            let mut answered = Handshake::answer([4; 32]);
            assert_eq!(answered.hash(), None);
            let Ok(Step::Reply(second)) = answered.read(&first, &bob()) else {
                panic!("frame 2 comes first")
            };
            dialled.read(&second, &alice()).unwrap();
            assert_eq!(dialled.hash(), answered.hash());
            dialled.hash().expect("it has begun")
        };
        assert_ne!(meet(3), meet(5));
    }

    #[test]
    fn w12_an_ephemeral_key_of_small_order_is_refused() {
        for n in [1, 2] {
            let zero = run(|at, frame| {
                if at == n {
                    let start = if n == 1 { 2 } else { 0 };
                    frame[start..start + 32].fill(0);
                }
            });
            assert!(matches!(zero, Err(CloseReason::HandshakeFailed(_))));
        }
    }

    #[test]
    fn w04_every_bit_flip_of_a_transport_frame_is_found() {
        let frame = run(|_, _| {}).unwrap().0.seal(b"hello");
        for bit in 0..frame.len() * 8 {
            let (_, mut other) = run(|_, _| {}).unwrap();
            let mut altered = frame.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert!(other.open(&altered, &mut Vec::new()).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn w05_a_frame_shorter_than_its_tag_is_refused() {
        for length in 0..=TAG_BYTES {
            let (_, mut other) = run(|_, _| {}).unwrap();
            assert!(other.open(&vec![0; length], &mut Vec::new()).is_err(), "{length}");
        }
    }

    #[test]
    fn b07_a_recorded_handshake_opens_no_other_link() {
        let mut recorded = Vec::new();
        run(|_, frame| recorded.push(frame.clone())).unwrap();
        // To the node that answered, as if by the one that dialled.
        let mut answered = Handshake::answer([5; 32]);
        assert!(matches!(answered.read(&recorded[0], &bob()), Ok(Step::Reply(_))));
        assert!(answered.read(&recorded[2], &bob()).is_err());
        // To the node that dialled, as if by the one that answered.
        let (mut dialled, _) = Handshake::dial(&alice(), [6; 32]);
        assert!(dialled.read(&recorded[1], &alice()).is_err());
    }

    #[test]
    fn r01_a_frame_played_back_is_refused() {
        let (mut one, mut other) = run(|_, _| {}).unwrap();
        let frame = one.seal(b"hello");
        assert!(other.open(&frame, &mut Vec::new()).is_ok());
        assert!(other.open(&frame, &mut Vec::new()).is_err());
    }
}

//! A link, and the messages of a session on it.

use super::Value::{Hex, Number, Text};
use super::{File, alice, bob, bundles};
use crate::entropy::Entropy;
use crate::handshake::{Handshake, Step, Tunnel};
use crate::limits::REKEY_FRAMES;
use crate::wire::{Carried, Message, Prefixes, Refusal, Run, ShortIds, join};

/// A handshake between alice, who dialled, and bob.
fn handshake() -> ([Vec<u8>; 3], Tunnel, Tunnel) {
    let (mut dialled, first) = Handshake::dial(&alice(), [0xa1; 32]);
    let mut answered = Handshake::answer([0xb0; 32]);
    let Ok(Step::Reply(second)) = answered.read(&first, &bob()) else { panic!("frame 2") };
    assert_eq!(dialled.read(&second, &alice()), Ok(Step::Met(bob().public())));
    let (third, one) = dialled.finish(&alice()).unwrap();
    let third = third.unwrap();
    assert_eq!(answered.read(&third, &bob()), Ok(Step::Met(alice().public())));
    let (_, other) = answered.finish(&bob()).unwrap();
    ([first, second, third], one, other)
}

#[test]
fn a_link() {
    let mut file = File::new(
        "A link between alice, who dials, and bob: the handshake's frames, then frames of the session. Frames \
         not listed seal the message Again.",
    );
    let ([first, second, third], mut alices, mut bobs) = handshake();
    file.case(&[
        ("name", Text("handshake")),
        ("alice_ephemeral_secret", Hex(&Entropy::new(&[0xa1; 32]).draw::<32>())),
        ("bob_ephemeral_secret", Hex(&Entropy::new(&[0xb0; 32]).draw::<32>())),
        ("frame_1_alice", Hex(&first)),
        ("frame_2_bob", Hex(&second)),
        ("frame_3_alice", Hex(&third)),
        ("handshake_hash", Hex(&alices.hash)),
    ]);
    let mut again = Vec::new();
    Message::Again.write(&mut again);
    for number in 0..=REKEY_FRAMES {
        for (from, tunnel) in [("alice", &mut alices), ("bob", &mut bobs)] {
            let frame = tunnel.seal(&again);
            if number == 0 || number >= REKEY_FRAMES - 1 {
                file.case(&[
                    ("name", Text("session frame")),
                    ("from", Text(from)),
                    ("number", Number(number)),
                    ("plain", Hex(&again)),
                    ("frame", Hex(&frame)),
                ]);
            }
        }
    }
    file.check("link.json");
}

#[test]
fn messages() {
    let mut file = File::new("Messages of a session, each as the plain text of a frame.");
    let (hello, answer) = (bundles().remove(0).1, bundles().remove(1).1);
    let bytes = join(&[hello.id.prefix(), answer.id.prefix()]);
    let prefixes = Prefixes::new(&bytes).unwrap();
    let bytes = join(&[hello.id.short(), answer.id.short()]);
    let short_ids = ShortIds::new(&bytes).unwrap();
    let run = Run::new(5, 2).unwrap();
    let carried = Carried { age_ms: 86_400_000, hops: 2, bytes: hello.bytes() };
    for (name, message) in [
        ("reconcile, with a body of four bytes", Message::Reconcile(&[1, 2, 3, 4])),
        ("bundle", Message::Bundle(carried)),
        ("news", Message::News(prefixes)),
        ("get", Message::Get(short_ids)),
        ("stored: the sixth and seventh that came on the link", Message::Stored(run)),
        ("refused: unwanted", Message::Refused(Refusal::Unwanted, run)),
        ("refused: full", Message::Refused(Refusal::Full, run)),
        ("refused: busy", Message::Refused(Refusal::Busy, run)),
        ("refused: bad", Message::Refused(Refusal::Bad, run)),
        ("gone", Message::Gone(short_ids)),
        ("again", Message::Again),
        ("takeover", Message::Takeover),
    ] {
        let mut plain = Vec::new();
        message.write(&mut plain);
        assert_eq!(Message::read_all(&plain), Ok(vec![message]));
        file.case(&[("name", Text(name)), ("plain", Hex(&plain))]);
    }
    file.check("messages.json");
}

//! Private messages, codes and safety numbers.

use zeroize::Zeroizing;

use super::Value::{Hex, Text};
use super::{File, alice, bob, header};
use crate::entropy::Entropy;
use crate::header::{Header, Kind};
use crate::private::code::Code;
use crate::private::envelope::Envelope;
use crate::private::safety::safety_number;
use crate::private::seal::{Address, CodeKey, Hint, PairKey, PrekeySecret, hedged, seal};
use crate::receipt::Commitment;

/// A message from alice to bob, with what somebody else needs to make it again.
#[test]
fn private_messages() {
    let mut file = File::new(
        "Private messages from alice to bob, whose prekey has the secret 0x03 thirty-two times. The ephemeral \
         secret follows from this implementation's own randomness; everything else from the specification.",
    );
    let (alice, bob) = (alice(), bob());
    let prekey = PrekeySecret::from_bytes(&[3; 32]);
    let code = Code {
        keys: bob.public(),
        secret: Zeroizing::new([9; 32]),
        prekey: prekey.public,
        expires_unix_s: 1_767_225_600,
        name: Some("Bob".to_owned()),
    };
    let text = Some("See you at six".to_owned());
    let plain = Envelope { secret: [5; 16], text, ..Envelope::default() };
    let by_code = Envelope {
        sender_ed: Some(alice.public().ed),
        token: Some(code.token()),
        prekey: Some([0x5a; 32]),
        ..plain.clone()
    };
    let intro = Envelope { sender_ed: Some(alice.public().ed), ..plain.clone() };
    let zero = [0; 32];
    let psk = code.psk();
    let pair = |psk| PairKey::new(&alice, &bob.public(), psk, true).unwrap();
    let of_code = CodeKey::new(&psk, &bob.public());
    let (of_pair, of_pair_with_psk) = (pair(&zero), pair(&psk));
    for (name, envelope, psk, hint) in [
        ("to a contact, without a key shared by a code", &plain, &zero, Hint::Pair(&of_pair)),
        ("to a contact, with a key shared by a code", &plain, &psk, Hint::Pair(&of_pair_with_psk)),
        ("by a code", &by_code, &psk, Hint::Code(&of_code)),
        ("an intro", &intro, &zero, Hint::None),
    ] {
        let commitment = Some(Commitment::of(&envelope.secret));
        let bare = Header { created_unix_ms: None, salt: None, commitment, ..header(Kind::Sealed) };
        let public = bob.public();
        let address = Address { recipient: &public, prekey: &prekey.public, psk, hint };
        let bundle = seal(&alice, &address, bare, &envelope.encode(), [0xc0; 32]).unwrap();
        let mut padded = envelope.encode().to_vec();
        padded.resize(bundle.payload.len() - address.bytes_around(), 0);
        let seed = hedged([0xc0; 32], &alice, &address, &padded);
        file.case(&[
            ("name", Text(name)),
            ("pattern", Text(address.pattern())),
            ("prekey_secret", Hex(prekey.bytes())),
            ("psk", Hex(psk)),
            ("ephemeral_secret", Hex(&Entropy::new(&seed).draw::<32>())),
            ("envelope", Hex(&envelope.encode())),
            ("header", Hex(&bundle.header_bytes)),
            ("payload", Hex(&bundle.payload)),
            ("id", Hex(&bundle.id.0)),
            ("message_id", Hex(&envelope.message_id(&alice.node_id(), &bob.node_id()).0)),
        ]);
    }
    file.case(&[
        ("name", Text("a code of bob's")),
        ("code", Text(&code.to_string())),
        ("code_secret", Hex(&code.secret[..])),
        ("code_psk", Hex(&psk)),
        ("code_token", Hex(&code.token())),
        ("prekey_id", Hex(&prekey.id().0)),
    ]);
    let number = safety_number(&alice.public(), &bob.public());
    file.case(&[("name", Text("the safety number of alice and bob")), ("number", Text(&number))]);
    file.check("private.json");
}

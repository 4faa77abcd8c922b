//! The golden vectors in `docs/vectors`: what every implementation must come to, from fixed inputs.
//!
//! They are computed here from scratch and compared with the files byte for byte, so neither the code nor the
//! files change alone. A deliberate change of the protocol writes them anew:
//! `MESHLINK_WRITE_VECTORS=1 cargo test -p meshlink-core vectors`.

mod channels;
mod groups;

use std::fmt::Write as _;
use std::path::Path;

use data_encoding::HEXLOWER;
use snow::Builder;
use zeroize::Zeroizing;

use crate::bridged::Bridged;
use crate::bundle::{BundleBytes, NewBundle};
use crate::canonical::{Extensions, Reader, Writer};
use crate::contract::bundle;
use crate::entropy::Entropy;
use crate::handshake::{Handshake, Step, Tunnel};
use crate::header::{Header, Kind};
use crate::id::BundleId;
use crate::identity::Identity;
use crate::limits::REKEY_FRAMES;
use crate::mem::MemStore;
use crate::noise::Primitives;
use crate::post::Post;
use crate::prekeys::Prekeys;
use crate::private::code::Code;
use crate::private::envelope::Envelope;
use crate::private::safety::safety_number;
use crate::private::seal::{Address, PairKey, PrekeySecret, hedged, seal};
use crate::profile::Profile;
use crate::receipt::{Commitment, Receipt, Stage};
use crate::reconcile::walk::Walker;
use crate::reconcile::{Body, START_BYTES};
use crate::store::{Priority, Store};
use crate::summary::Summary;
use crate::wire::{Carried, Message, Prefixes, Refusal, ShortIds, join};

/// A JSON file: a sentence, and cases of named values.
struct File {
    text: String,
    cases: usize,
}

/// One value of a case.
enum Value<'a> {
    Hex(&'a [u8]),
    Text(&'a str),
    Number(u64),
}

use Value::{Hex, Number, Text};

impl File {
    fn new(about: &str) -> Self {
        Self { text: format!("{{\n  \"about\": {about:?},\n  \"cases\": ["), cases: 0 }
    }

    fn case(&mut self, values: &[(&str, Value<'_>)]) {
        let separator = if self.cases == 0 { "\n" } else { ",\n" };
        self.cases += 1;
        let lines: Vec<String> = values
            .iter()
            .map(|(name, value)| match value {
                Hex(bytes) => format!("      \"{name}\": \"{}\"", HEXLOWER.encode(bytes)),
                Text(text) => format!("      \"{name}\": {text:?}"),
                Number(number) => format!("      \"{name}\": {number}"),
            })
            .collect();
        write!(self.text, "{separator}    {{\n{}\n    }}", lines.join(",\n")).unwrap();
    }

    /// Compares with the file, or writes it.
    #[allow(clippy::disallowed_methods, reason = "a test reads files; the core does not")]
    fn check(mut self, name: &str) {
        self.text.push_str("\n  ]\n}\n");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/vectors").join(name);
        if std::env::var_os("MESHLINK_WRITE_VECTORS").is_some() {
            std::fs::write(&path, &self.text).unwrap();
        }
        let file = std::fs::read(&path).unwrap_or_default();
        assert!(self.text.as_bytes() == file, "{name} is not what the code makes:\n{}", self.text);
    }
}

fn seed(first: u8) -> [u8; 64] {
    let mut seed = [0; 64];
    for (n, byte) in seed.iter_mut().enumerate() {
        *byte = first.wrapping_add(n as u8);
    }
    seed
}

fn alice() -> Identity {
    Identity::from_bytes(&seed(0))
}

fn bob() -> Identity {
    Identity::from_bytes(&seed(100))
}

fn header(kind: Kind) -> Header {
    Header {
        kind,
        created_unix_ms: Some(1_767_225_600_000),
        lifetime_s: 604_800,
        priority: Priority::Normal,
        payload_bytes: 0,
        origin: None,
        salt: Some([1, 2, 3, 4, 5, 6, 7, 8]),
        commitment: None,
        extensions: Extensions::default(),
    }
}

fn post(text: &str, reply_to: Option<BundleId>) -> Vec<u8> {
    let extensions = Extensions::default();
    Post { channel: "#mesh".to_owned(), text: text.to_owned(), reply_to, extensions }.encode()
}

/// Extensions as a later version may add them: 16 => h'c0ffee', 300 => 7.
fn extensions() -> Extensions {
    let mut writer = Writer::default();
    writer.map(2).uint(16).bytes(&[0xc0, 0xff, 0xee]).uint(300).uint(7);
    let bytes = writer.finish();
    let mut reader = Reader::new(&bytes);
    let mut map = reader.map().unwrap();
    assert_eq!(map.key(), Ok(None));
    map.extensions()
}

/// As a carrier sees one: its commitment is that of the secret 05…05.
fn sealed(kind: Kind, payload_bytes: usize) -> NewBundle {
    let commitment = Some(Commitment::of(&[5; 16]));
    let bare = Header { created_unix_ms: None, salt: None, commitment, ..header(kind) };
    NewBundle::unsigned(bare, vec![0xa5; payload_bytes])
}

fn bundles() -> Vec<(&'static str, NewBundle)> {
    let hello = NewBundle::sign(header(Kind::Post), post("hello", None), &alice());
    let urgent = Header { priority: Priority::Sos, created_unix_ms: None, ..header(Kind::Post) };
    let later = Header { extensions: extensions(), ..header(Kind::Post) };
    let profile = Profile {
        revision: 3,
        name: Some("Zoë".to_owned()),
        about: Some("Two\nlines".to_owned()),
        avatar: Some("data:image/png;base64,AA==".to_owned()),
        extensions: Extensions::default(),
    };
    let bridged = Bridged {
        channel: "#mesh".to_owned(),
        text: "Hello World".to_owned(),
        sender: "test-1".to_owned(),
        timestamp_ms: 1_234_567_890,
    };
    let opaque = Header { salt: None, payload_bytes: 3, ..header(Kind::Other(900)) };
    let opaque = NewBundle {
        id: BundleBytes { header: &opaque.encode(), payload: &[1, 2, 3], auth: &[] }.name().unwrap().id,
        header_bytes: opaque.encode(),
        header: opaque,
        payload: vec![1, 2, 3],
        auth: Vec::new(),
    };
    let prekeys = Prekeys { revision: 9, key: [0x5a; 32], extensions: Extensions::default() };
    vec![
        ("a post", hello.clone()),
        ("an urgent answer, made without a clock", {
            NewBundle::sign(urgent, post("à l'aide \u{1f6df}", Some(hello.id)), &bob())
        }),
        (
            "a post whose header has extensions",
            NewBundle::sign(later, post("from the future", None), &alice()),
        ),
        ("a profile", NewBundle::sign(header(Kind::Profile), profile.encode(), &alice())),
        ("a bridged post", NewBundle::bridge(&bridged)),
        ("a signed kind of a later version", NewBundle::sign(header(Kind::Other(900)), vec![0xff], &bob())),
        ("an unsigned kind of a later version", opaque),
        ("a sealed bundle whose payload is made up", sealed(Kind::Sealed, 256)),
        ("an intro whose payload is made up", sealed(Kind::Intro, 512)),
        ("a receipt of arrival", NewBundle::receipt(&Receipt::of(&[5; 16], Stage::Delivered))),
        ("a receipt of reading", NewBundle::receipt(&Receipt::of(&[5; 16], Stage::Read))),
        ("prekeys", NewBundle::sign(header(Kind::Prekeys), prekeys.encode(), &bob())),
    ]
}

#[test]
fn nodes() {
    let mut file = File::new("Node ids from secrets: a secret is an Ed25519 seed, then an X25519 scalar.");
    for (name, identity) in [("alice", alice()), ("bob", bob())] {
        let keys = identity.public();
        file.case(&[
            ("name", Text(name)),
            ("secret", Hex(&identity.secret_bytes()[..])),
            ("ed25519_public", Hex(&keys.ed)),
            ("x25519_public", Hex(&keys.x)),
            ("node_id", Hex(&identity.node_id().0)),
            ("node_id_text", Text(&identity.node_id().to_string())),
        ]);
    }
    file.check("nodes.json");
}

#[test]
fn valid_bundles() {
    let mut file =
        File::new("Bundles; alice and bob are those of nodes.json. Ed25519 signatures are deterministic.");
    for (name, bundle) in bundles() {
        assert!(bundle.bytes().parse().unwrap().prove().is_ok(), "{name}");
        file.case(&[
            ("name", Text(name)),
            ("header", Hex(&bundle.header_bytes)),
            ("payload", Hex(&bundle.payload)),
            ("payload_hash", Hex(blake3::hash(&bundle.payload).as_bytes())),
            ("id", Hex(&bundle.id.0)),
            ("id_text", Text(&bundle.id.to_string())),
            ("auth", Hex(&bundle.auth)),
        ]);
    }
    file.check("bundles.json");
}

/// Header, payload, auth.
type Parts = (Vec<u8>, Vec<u8>, Vec<u8>);

#[test]
fn invalid_bundles() {
    let mut file = File::new("Bundles that every node refuses.");
    for (name, (header, payload, auth)) in
        &bad_headers().into_iter().chain(bad_contents()).collect::<Vec<_>>()
    {
        let bytes = BundleBytes { header, payload, auth };
        let error = bytes.parse().and_then(|bundle| bundle.prove()).expect_err(name);
        file.case(&[
            ("name", Text(name)),
            ("header", Hex(header)),
            ("payload", Hex(payload)),
            ("auth", Hex(auth)),
            ("why", Text(&error.to_string())),
        ]);
    }
    file.check("invalid_bundles.json");
}

/// Signed by alice as they are, so that the signature is not what is wrong.
fn signed(header_bytes: Vec<u8>, payload: Vec<u8>) -> Parts {
    let id = BundleBytes { header: &header_bytes, payload: &payload, auth: &[] }.name().unwrap().id;
    let auth = alice().sign(&id.0).to_vec();
    (header_bytes, payload, auth)
}

fn bad_headers() -> Vec<(&'static str, Parts)> {
    let good = bundles().remove(0).1;
    let with_header = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.header_bytes.clone();
        change(&mut bytes);
        signed(bytes, good.payload.clone())
    };
    vec![
        ("a header with version 2", with_header(&|bytes| bytes[2] = 2)),
        (
            "a header with its version written in two bytes",
            with_header(&|bytes| drop(bytes.splice(2..3, [0x18, 0x01]))),
        ),
        ("a header with a byte after its end", with_header(&|bytes| bytes.push(0))),
        (
            "a header with a field of a later version",
            with_header(&|bytes| {
                bytes[0] += 1;
                bytes.extend_from_slice(&[9, 0]);
            }),
        ),
        ("a header with two fields swapped", with_header(&|bytes| bytes[1..5].rotate_left(2))),
    ]
}

fn parts(bundle: NewBundle) -> Parts {
    (bundle.header_bytes, bundle.payload, bundle.auth)
}

fn bad_contents() -> Vec<(&'static str, Parts)> {
    let good = bundles().remove(0).1;
    let bridged = bundles().remove(4).1;
    let with_auth = |auth: Vec<u8>| (good.header_bytes.clone(), good.payload.clone(), auth);
    let with_payload = |payload: Vec<u8>| {
        let bundle = NewBundle::sign(header(Kind::Post), payload, &alice());
        (bundle.header_bytes, bundle.payload, bundle.auth)
    };
    let mut flipped = good.auth.clone();
    flipped[0] ^= 1;
    let mut wordless = Writer::default();
    wordless.map(1).uint(0).text("#mesh");
    let mut misplaced = Writer::default();
    misplaced.map(2).uint(0).text("#Mesh").uint(1).text("hi");
    let urgent = Header { priority: Priority::Sos, ..bridged.header.clone() };
    let vouched = alice().sign(&bridged.id.0).to_vec();
    vec![
        ("a signature with one bit flipped", with_auth(flipped)),
        ("no signature", with_auth(Vec::new())),
        ("somebody else's signature", with_auth(bob().sign(&good.id.0).to_vec())),
        (
            "a payload that is not the header's",
            (good.header_bytes.clone(), post("jello", None), good.auth.clone()),
        ),
        ("a post without text", with_payload(wordless.finish())),
        ("a post to what is no channel", with_payload(misplaced.finish())),
        ("a post with a NUL in its text", with_payload(post("a\0b", None))),
        ("a bridged post that is urgent", (urgent.encode(), bridged.payload.clone(), Vec::new())),
        ("a sealed bundle of no size class", parts(sealed(Kind::Sealed, 300))),
        ("a sealed bundle that says when it was made", {
            let bundle = sealed(Kind::Sealed, 256);
            let telling = Header { created_unix_ms: Some(1_767_225_600_000), ..bundle.header };
            parts(NewBundle::unsigned(telling, bundle.payload))
        }),
        ("a receipt that is urgent", {
            let bundle = NewBundle::receipt(&Receipt::of(&[5; 16], Stage::Read));
            parts(NewBundle::unsigned(Header { priority: Priority::Sos, ..bundle.header }, bundle.payload))
        }),
        ("a bridged post with a signature", (bridged.header_bytes.clone(), bridged.payload, vouched)),
    ]
}

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
    let carried = Carried { age_ms: 86_400_000, hops: 2, bytes: hello.bytes() };
    for (name, message) in [
        ("reconcile, with a body of four bytes", Message::Reconcile(&[1, 2, 3, 4])),
        ("bundle", Message::Bundle(carried)),
        ("news", Message::News(prefixes)),
        ("get", Message::Get(short_ids)),
        ("stored", Message::Stored(prefixes)),
        ("refused: unwanted", Message::Refused(Refusal::Unwanted, prefixes)),
        ("refused: full", Message::Refused(Refusal::Full, prefixes)),
        ("refused: busy", Message::Refused(Refusal::Busy, prefixes)),
        ("refused: bad", Message::Refused(Refusal::Bad, prefixes)),
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

/// Ids as bundles' are, of which nobody has the bundles.
fn ids(count: u64) -> Vec<BundleId> {
    (0..count).map(|n| BundleId(*blake3::hash(&n.to_be_bytes()).as_bytes())).collect()
}

#[test]
fn sets() {
    let mut file = File::new(
        "What sets look like from afar. Their ids are the BLAKE3 hashes of the numbers from `first` on, each as 8 \
         bytes, the most significant first. `symbols` is how many of the row are given.",
    );
    for (name, first, last, symbols) in
        [("nothing", 0, 0, 4), ("one", 0, 1, 64), ("three hundred", 7, 307, 700)]
    {
        let mut summary = Summary::with_room(last - first, 0);
        ids(last)[first as usize..].iter().for_each(|id| summary.add(id));
        let view = summary.view();
        file.case(&[
            ("name", Text(name)),
            ("first", Number(first)),
            ("count", Number(view.count)),
            ("symbols", Number(symbols)),
            ("row", Hex(&summary.row().to_bytes(0..symbols as usize))),
            ("tugs", Hex(&view.tugs)),
            ("whole_sum", Hex(&summary.whole().to_be_bytes())),
            ("fingerprint", Hex(&view.fingerprint)),
        ]);
    }
    file.check("sets.json");
}

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
    let of_code = PairKey::of_code(&psk, &bob.public());
    for (name, envelope, psk, pair) in [
        ("to a contact, without a key shared by a code", &plain, &zero, Some(pair(&zero))),
        ("to a contact, with a key shared by a code", &plain, &psk, Some(pair(&psk))),
        ("by a code", &by_code, &psk, Some(of_code)),
        ("an intro", &intro, &zero, None),
    ] {
        let commitment = Some(Commitment::of(&envelope.secret));
        let bare = Header { created_unix_ms: None, salt: None, commitment, ..header(Kind::Sealed) };
        let public = bob.public();
        let address = Address { recipient: &public, prekey: &prekey.public, psk, pair: pair.as_ref() };
        let bundle = seal(&alice, &address, bare, &envelope.encode(), [0xc0; 32]).unwrap();
        let around = if pair.is_some() { 8 } else { 0 };
        let mut padded = envelope.encode().to_vec();
        padded.resize(bundle.payload.len() - around - 96, 0);
        let seed = hedged([0xc0; 32], &alice, &address, &padded);
        file.case(&[
            ("name", Text(name)),
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

/// A handshake with the keys of a published vector, over the primitives that replace snow's own.
fn keys<'a>(
    pattern: &str,
    prologue: &'a [u8],
    secret: &'a Option<Vec<u8>>,
    ephemeral: &'a Option<Vec<u8>>,
    remote: &'a Option<Vec<u8>>,
) -> Builder<'a> {
    let resolver = Box::new(Primitives::new([0; 32]));
    let mut builder = Builder::with_resolver(pattern.parse().unwrap(), resolver);
    builder = builder.prologue(prologue).unwrap().local_private_key(secret.as_ref().unwrap()).unwrap();
    if let Some(ephemeral) = ephemeral {
        builder = builder.fixed_ephemeral_key_for_testing_only(ephemeral);
    }
    match remote {
        Some(key) => builder.remote_public_key(key).unwrap(),
        None => builder,
    }
}

#[test]
fn published_noise_vectors_are_met() {
    let text = include_str!("../../../docs/vectors/noise.json");
    // The file's cases are flat objects of strings; this reads just that.
    let cases = text.split("\"name\": \"").skip(1).map(|case| {
        let (name, rest) = case.split_once('"').unwrap();
        let value = |field: &str| -> Option<Vec<u8>> {
            let (_, rest) = rest.split_once(&format!("\"{field}\": \""))?;
            Some(HEXLOWER.decode(rest.split('"').next()?.as_bytes()).unwrap())
        };
        (
            name.to_owned(),
            [
                "init_prologue",
                "init_static",
                "init_ephemeral",
                "init_remote_static",
                "resp_static",
                "resp_ephemeral",
                "handshake_hash",
            ]
            .map(value),
            (1..=6)
                .map_while(|n| Some((value(&format!("payload_{n}"))?, value(&format!("ciphertext_{n}"))?)))
                .collect::<Vec<_>>(),
        )
    });
    let mut met = 0;
    for (name, [prologue, is, ie, irs, rs, re, hash], messages) in cases {
        let prologue = prologue.unwrap();
        let one = keys(&name, &prologue, &is, &ie, &irs).build_initiator();
        let other = keys(&name, &prologue, &rs, &re, &None).build_responder();
        let (mut one, mut other) = (one.unwrap(), other.unwrap());
        let mut n = 0;
        while !one.is_handshake_finished() {
            let (payload, expected) = &messages[n];
            let (mut frame, mut plain) = ([0; 512], [0; 512]);
            let (from, to) = if n % 2 == 0 { (&mut one, &mut other) } else { (&mut other, &mut one) };
            let length = from.write_message(payload, &mut frame).unwrap();
            assert_eq!(&frame[..length], expected, "{name}, message {n}");
            let length = to.read_message(&frame[..length], &mut plain).unwrap();
            assert_eq!(&plain[..length], payload);
            n += 1;
        }
        assert_eq!(Some(one.get_handshake_hash().to_vec()), hash, "{name}");
        met += 1;
    }
    assert_eq!(met, 2);
}

#[test]
fn reconciliation() {
    let mut file = File::new(
        "Bodies of reconcile messages: those of a round, and of a walk a first and last page of three ids, and the \
         answer that wants the first and the third.",
    );
    let mut summary = Summary::with_room(3, 0);
    ids(3).iter().for_each(|id| summary.add(id));
    let starts: Vec<u8> = ids(2).iter().flat_map(|id| id.0[..START_BYTES].to_vec()).collect();
    let (one, other) = starts.split_at(START_BYTES);
    let row = summary.row().to_bytes(0..6);
    for (name, body) in [
        ("open", Body::Open { number: 1, view: summary.view() }),
        ("same", Body::Same { number: 1 }),
        ("symbols", Body::Symbols { number: 1, total: 18, count: 6, bytes: &row }),
        ("more", Body::More { number: 1 }),
        (
            "want, and decline",
            Body::Want { number: 1, is_last: false, wanted: one, declined: other, check: None },
        ),
        (
            "want, the last",
            Body::Want {
                number: 1,
                is_last: true,
                wanted: &starts,
                declined: &[],
                check: Some(summary.whole()),
            },
        ),
        ("missing", Body::Missing { number: 1, starts: other }),
        ("walk", Body::Walk { number: 1 }),
    ] {
        file.case(&[("name", Text(name)), ("body", Hex(&body.write()))]);
    }
    let mut store = MemStore::new();
    for n in 1..=3 {
        store.insert_bundle(&bundle(n)).unwrap();
    }
    let mut walker = Walker::new(0);
    walker.begin(3);
    let page = walker.next(&store, true).unwrap().unwrap();
    file.case(&[("name", Text("page")), ("body", Hex(&page))]);
    let mut other = Walker::new(0);
    let Ok(Body::Walking { tag, items, reader }) = Body::read(&page) else { panic!("a page") };
    other.receive(tag, items, reader).unwrap();
    other.answer(&[true, false, true]);
    let answer = other.next(&store, false).unwrap().unwrap();
    file.case(&[("name", Text("answer")), ("body", Hex(&answer))]);
    file.check("reconcile.json");
}

//! The golden vectors in `docs/vectors`: what every implementation must come to, from fixed inputs.
//!
//! They are computed here from scratch and compared with the files byte for byte, so neither the code nor the
//! files change alone. A deliberate change of the protocol writes them anew:
//! `MESHLINK_WRITE_VECTORS=1 cargo test -p meshlink-core vectors`.

mod channels;
mod groups;
mod link;
mod noise;
mod private;
mod sets;

use std::fmt::Write as _;
use std::path::Path;

use data_encoding::HEXLOWER;

use crate::bridged::Bridged;
use crate::bundle::{BundleBytes, NewBundle};
use crate::canonical::{Extensions, Reader, Writer};
use crate::header::{Header, Kind};
use crate::id::BundleId;
use crate::identity::Identity;
use crate::post::Post;
use crate::prekeys::Prekeys;
use crate::profile::Profile;
use crate::receipt::{Commitment, Receipt, Stage};
use crate::store::Priority;

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
    let opaque = Header { salt: None, ..header(Kind::Other(900)) };
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
                bytes.extend_from_slice(&[8, 0]);
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
            "a payload that is not the one signed",
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

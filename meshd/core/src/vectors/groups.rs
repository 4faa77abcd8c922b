//! The golden vectors of groups.

use super::{File, Hex, Number, Text, alice, bob, header};
use crate::canonical::Extensions;
use crate::entropy::Entropy;
use crate::group::cover::CoverKey;
use crate::group::entry::{Act, Entry, GroupId};
use crate::group::note::{Handed, Note, Words, digest, message_id};
use crate::group::roster::Roster;
use crate::group::sender::Sender;
use crate::header::{Header, Kind};
use crate::id::BundleId;
use crate::receipt::Stage;
use crate::store::Priority;

#[test]
fn groups() {
    let mut file = File::new(
        "A group that alice founds and bob joins; its roster, two messages of alice's in it, and a note that hands \
         bob the session.",
    );
    let (alice, bob) = (alice(), bob());
    let create = Act::Create { name: "Hikers".to_owned(), history: false, salt: [7; 16] };
    let first = Entry { parents: Vec::new(), author: alice.public(), act: create }.sign(&alice);
    let mut roster = Roster::new(first).unwrap();
    for (identity, act) in [(&alice, Act::Add { who: bob.public(), is_admin: false }), (&bob, Act::Join)] {
        let entry = Entry { parents: roster.heads(), author: identity.public(), act }.sign(identity);
        roster.absorb(entry);
    }
    for (entry, name) in roster.entries().zip(["alice founds", "alice invites bob", "bob joins"]) {
        file.case(&[
            ("name", Text(name)),
            ("entry", Hex(&entry.bytes)),
            ("hash", Hex(&entry.hash.0)),
            ("author", Hex(&entry.author().0)),
        ]);
    }
    let (group, heads) = (roster.id(), roster.heads());
    let (cover, mut sender) = ([8; 32], Sender::draw(&mut Entropy::new(&[9; 32])));
    let key = sender.key();
    for index in 0..2 {
        message(&mut file, &group, &mut sender, &cover, digest(&heads), index);
    }
    let note = Note {
        entries: roster.entries().cloned().collect(),
        sessions: vec![Handed { cover, key }],
        receipts: vec![(BundleId([4; 32]), Stage::Delivered)],
        ..Note::new(group, heads)
    };
    file.case(&[("name", Text("a note")), ("note", Hex(&note.encode()))]);
    file.check("groups.json");
}

fn message(
    file: &mut File,
    group: &GroupId,
    sender: &mut Sender,
    cover: &[u8; 32],
    digest: [u8; 8],
    index: u32,
) {
    let key = sender.key();
    let words = Words {
        group: *group,
        author: alice().node_id(),
        digest,
        created_unix_ms: Some(1_767_225_600_000),
        priority: Priority::Normal,
        wants_read: false,
        text: format!("Message {index}"),
        reply_to: None,
    };
    let megolm = sender.seal(&words.encode());
    let bare = Header {
        created_unix_ms: None,
        salt: None,
        extensions: Extensions::default(),
        ..header(Kind::Group)
    };
    let nonce = [index as u8 + 1; 16];
    let bundle = CoverKey(cover).cover(bare, &megolm, nonce).unwrap();
    file.case(&[
        ("name", Text("a message")),
        ("index", Number(u64::from(index))),
        ("cover_key", Hex(cover)),
        ("session_key", Hex(&key.0)),
        ("nonce", Hex(&nonce)),
        ("words", Hex(&words.encode())),
        ("megolm", Hex(&megolm)),
        ("header", Hex(&bundle.header_bytes)),
        ("payload", Hex(&bundle.payload)),
        ("id", Hex(&bundle.id.0)),
        ("message_id", Hex(&message_id(group, &key.session(), index).0)),
    ]);
}

//! The vectors of password channels.

use super::*;
use crate::private::channel_key::{ChannelKeys, ChannelSecret, channel_salt};
use crate::secret_post::SecretWords;

/// What Argon2id makes of the password and the salt; `meshd` has a test that it does, `check.py` another.
const SECRET: &str = "8edab4b4efa1acf52397c9cfc53fbd21a00b2378c8f0b74a2222f0e38ee41b83";
const NAME: &str = "#ops";

fn secret() -> ChannelSecret {
    let bytes = HEXLOWER.decode(SECRET.as_bytes()).unwrap();
    ChannelSecret::from_bytes(bytes.try_into().unwrap())
}

fn words(text: &str) -> SecretWords {
    let extensions = Extensions::default();
    SecretWords { text: text.to_owned(), reply_to: None, created_unix_ms: None, extensions }
}

#[test]
fn password_channels() {
    let mut file = File::new(
        "Posts to a password channel; alice and bob are those of nodes.json. The nonces follow from this \
         implementation's own randomness; everything else from the specification.",
    );
    let keys = ChannelKeys::new(&secret());
    file.case(&[
        ("name", Text(NAME)),
        ("password", Text("Gr\u{fc}\u{df}e aus der M\u{fc}hle")),
        ("salt", Hex(&channel_salt(NAME))),
        ("secret", Text(SECRET)),
        ("check", Text(keys.check())),
    ]);
    let bare = Header { created_unix_ms: None, salt: None, ..header(Kind::SecretPost) };
    let urgent = Header { priority: Priority::Sos, lifetime_s: 3_600, ..bare.clone() };
    let first = keys.seal(&alice(), bare.clone(), &words("Meet at the mill"), [1; 32]).unwrap();
    let answer = SecretWords {
        reply_to: Some(first.id),
        created_unix_ms: Some(1_767_225_600_000),
        ..words("\u{e0} six heures")
    };
    let later = SecretWords { extensions: extensions(), ..words(&"long ".repeat(300)) };
    for (name, author, header, words) in [
        ("a post", alice(), bare.clone(), words("Meet at the mill")),
        ("an urgent answer", bob(), urgent, answer),
        ("a longer post with extensions", bob(), bare, later),
    ] {
        let bundle = keys.seal(&author, header, &words, [1; 32]).unwrap();
        let content = words.encode();
        file.case(&[
            ("name", Text(name)),
            ("author", Text(if author.node_id() == alice().node_id() { "alice" } else { "bob" })),
            ("content", Hex(&content)),
            ("nonce", Hex(&bundle.payload[4..28])),
            ("header", Hex(&bundle.header_bytes)),
            ("payload", Hex(&bundle.payload)),
            ("id", Hex(&bundle.id.0)),
        ]);
    }
    file.check("channels.json");
}

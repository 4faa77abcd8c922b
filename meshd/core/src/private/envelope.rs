//! What is inside a seal.

use zeroize::Zeroizing;

use crate::canonical::{Malformed, Reader, Writer};
use crate::id::{BundleId, NodeId};
use crate::identity::PublicKeys;
use crate::limits::{CREATED_UNIX_MS_MAX, GROUP_NOTE_BYTES_MAX, TEXT_BYTES_MAX};
use crate::profile::check_name;

const MESSAGE_ID_CONTEXT: &str = "MeshLink v1 private message id";

/// What a sealed message says: a text, a greeting without one, an introduction, or a note about a group.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Envelope {
    /// What its receipts are made of. Draws of 16 bytes: also what makes two messages two.
    pub(crate) secret: [u8; 16],
    /// What the sender's clock said, in milliseconds since 1970.
    pub(crate) created_unix_ms: Option<u64>,
    /// The sender's Ed25519 identity, for those who may not have it.
    pub(crate) sender_ed: Option<[u8; 32]>,
    /// The name the sender gives itself, likewise.
    pub(crate) sender_name: Option<String>,
    /// A prekey for one answer.
    pub(crate) prekey: Option<[u8; 32]>,
    /// What proves that the sender has the recipient's code.
    pub(crate) token: Option<[u8; 16]>,
    /// The sender's code was answered with this: it confirms the keys both ways.
    pub(crate) is_answer: bool,
    /// Whether the sender would like to know when it is read.
    pub(crate) wants_read: bool,
    /// The words.
    pub(crate) text: Option<String>,
    /// The message it answers.
    pub(crate) reply_to: Option<BundleId>,
    /// Somebody the sender knows.
    pub(crate) introduced: Option<Introduced>,
    /// A note about a group.
    pub(crate) note: Option<Vec<u8>>,
}

/// Somebody a contact introduces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Introduced {
    pub(crate) keys: PublicKeys,
    pub(crate) name: String,
}

const WANTS_READ: u64 = 1;
const IS_ANSWER: u64 = 2;

impl Envelope {
    /// The id of the message, the same for both: nobody else can compute it, and it names nobody.
    pub(crate) fn message_id(&self, from: &NodeId, to: &NodeId) -> BundleId {
        let mut hasher = blake3::Hasher::new_derive_key(MESSAGE_ID_CONTEXT);
        hasher.update(&self.secret);
        hasher.update(&from.0);
        hasher.update(&to.0);
        BundleId(*hasher.finalize().as_bytes())
    }

    /// Reads an envelope and the zeros after it.
    pub(crate) fn decode(padded: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(padded);
        let mut envelope = Self::default();
        let (mut secret, mut keys, mut name) = (None, None, None);
        let mut map = reader.map()?;
        while let Some(key) = map.key()? {
            let reader = &mut *map.reader;
            match key {
                0 => secret = Some(reader.byte_array()?),
                1 => envelope.created_unix_ms = Some(reader.uint()?),
                2 => envelope.sender_ed = Some(reader.byte_array()?),
                3 => envelope.sender_name = Some(reader.text()?.to_owned()),
                4 => envelope.prekey = Some(reader.byte_array()?),
                5 => envelope.token = Some(reader.byte_array()?),
                6 => {
                    let flags = reader.uint()?;
                    envelope.wants_read = flags & WANTS_READ != 0;
                    envelope.is_answer = flags & IS_ANSWER != 0;
                }
                7 => envelope.text = Some(reader.text()?.to_owned()),
                8 => envelope.reply_to = Some(BundleId(reader.byte_array()?)),
                9 => keys = Some(PublicKeys::from_bytes(&reader.byte_array()?)),
                10 => name = Some(reader.text()?.to_owned()),
                11 => envelope.note = Some(reader.bytes()?.to_vec()),
                _ => return Err(Malformed("an envelope's field of a later version")),
            }
        }
        if !reader.rest().iter().all(|byte| *byte == 0) {
            return Err(Malformed("padding that is not zero"));
        }
        envelope.secret = secret.ok_or(Malformed("an envelope without a secret"))?;
        envelope.introduced = match (keys, name) {
            (Some(keys), Some(name)) => Some(Introduced { keys, name }),
            (None, None) => None,
            _ => return Err(Malformed("half an introduction")),
        };
        envelope.check()?;
        Ok(envelope)
    }

    /// Writes the envelope, without padding.
    pub(crate) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let flags = if self.wants_read { WANTS_READ } else { 0 } | if self.is_answer { IS_ANSWER } else { 0 };
        let optional = [
            self.created_unix_ms.is_some(),
            self.sender_ed.is_some(),
            self.sender_name.is_some(),
            self.prekey.is_some(),
            self.token.is_some(),
            flags != 0,
            self.text.is_some(),
            self.reply_to.is_some(),
            self.introduced.is_some(),
            self.introduced.is_some(),
            self.note.is_some(),
        ];
        let mut writer = Writer::with_capacity(256 + self.text.as_ref().map_or(0, String::len));
        writer.map(1 + optional.iter().filter(|there| **there).count() as u64);
        writer.uint(0).bytes(&self.secret);
        if let Some(created) = self.created_unix_ms {
            writer.uint(1).uint(created);
        }
        if let Some(ed) = &self.sender_ed {
            writer.uint(2).bytes(ed);
        }
        if let Some(name) = &self.sender_name {
            writer.uint(3).text(name);
        }
        if let Some(prekey) = &self.prekey {
            writer.uint(4).bytes(prekey);
        }
        if let Some(token) = &self.token {
            writer.uint(5).bytes(token);
        }
        if flags != 0 {
            writer.uint(6).uint(flags);
        }
        if let Some(text) = &self.text {
            writer.uint(7).text(text);
        }
        if let Some(reply_to) = &self.reply_to {
            writer.uint(8).bytes(&reply_to.0);
        }
        if let Some(introduced) = &self.introduced {
            writer.uint(9).bytes(&introduced.keys.to_bytes());
            writer.uint(10).text(&introduced.name);
        }
        if let Some(note) = &self.note {
            writer.uint(11).bytes(note);
        }
        Zeroizing::new(writer.finish())
    }

    fn check(&self) -> Result<(), Malformed> {
        if self.created_unix_ms.is_some_and(|created| created > CREATED_UNIX_MS_MAX) {
            return Err(Malformed("a creation time beyond the year 9999"));
        }
        let names = [self.sender_name.as_ref(), self.introduced.as_ref().map(|introduced| &introduced.name)];
        for name in names.into_iter().flatten() {
            check_name(name).map_err(Malformed)?;
        }
        if self.note.as_ref().is_some_and(|note| note.len() > GROUP_NOTE_BYTES_MAX) {
            return Err(Malformed("a note that is too long"));
        }
        if let Some(text) = &self.text
            && (text.is_empty() || text.len() > TEXT_BYTES_MAX || text.contains('\0'))
        {
            return Err(Malformed("a text that is empty, too long or holds a NUL"));
        }
        Ok(())
    }
}

/// Shows that there is one, and nothing of what it says (threat C-18).
impl std::fmt::Debug for Envelope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Envelope").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Envelope {
        Envelope {
            secret: [1; 16],
            created_unix_ms: Some(1_767_225_600_000),
            sender_ed: Some([2; 32]),
            sender_name: Some("Zoë".to_owned()),
            prekey: Some([3; 32]),
            token: Some([4; 16]),
            is_answer: true,
            wants_read: true,
            text: Some("hello".to_owned()),
            reply_to: Some(BundleId([5; 32])),
            introduced: Some(Introduced {
                keys: PublicKeys { ed: [6; 32], x: [7; 32] },
                name: "Bob".to_owned(),
            }),
            note: Some(vec![8; 100]),
        }
    }

    #[test]
    fn an_envelope_survives_the_round_trip_with_and_without_padding() {
        for envelope in [full(), Envelope { secret: [9; 16], ..Envelope::default() }] {
            let mut bytes = envelope.encode().to_vec();
            assert!(Envelope::decode(&bytes).unwrap() == envelope);
            bytes.resize(bytes.len() + 100, 0);
            assert!(Envelope::decode(&bytes).unwrap() == envelope);
            bytes.push(1);
            assert!(Envelope::decode(&bytes).is_err(), "padding that says something");
        }
    }

    #[test]
    fn w03_an_envelope_cut_at_any_byte_is_refused() {
        let bytes = full().encode();
        for length in 0..bytes.len() {
            assert!(Envelope::decode(&bytes[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn w11_words_and_names_that_break_the_rules_are_refused() {
        for bad in [
            Envelope { text: Some(String::new()), ..full() },
            Envelope { text: Some("a\0b".to_owned()), ..full() },
            Envelope { text: Some("x".repeat(TEXT_BYTES_MAX + 1)), ..full() },
            Envelope { sender_name: Some("a\u{202e}b".to_owned()), ..full() },
            Envelope { created_unix_ms: Some(CREATED_UNIX_MS_MAX + 1), ..full() },
            Envelope { note: Some(vec![0; GROUP_NOTE_BYTES_MAX + 1]), ..full() },
        ] {
            assert!(Envelope::decode(&bad.encode()).is_err());
        }
    }

    #[test]
    fn what_an_envelope_asks_and_what_it_answers_are_two_things() {
        for (wants_read, is_answer) in [(false, false), (true, false), (false, true), (true, true)] {
            let envelope = Envelope { wants_read, is_answer, ..full() };
            assert!(Envelope::decode(&envelope.encode()).unwrap() == envelope, "{wants_read} {is_answer}");
        }
    }

    #[test]
    fn w01_what_is_as_long_or_late_as_can_be_is_read() {
        for longest in [
            Envelope { text: Some("x".repeat(TEXT_BYTES_MAX)), ..full() },
            Envelope { note: Some(vec![0; GROUP_NOTE_BYTES_MAX]), ..full() },
            Envelope { created_unix_ms: Some(CREATED_UNIX_MS_MAX), ..full() },
        ] {
            assert!(Envelope::decode(&longest.encode()).unwrap() == longest);
        }
    }

    #[test]
    fn c18_debug_shows_nothing_of_it() {
        assert_eq!(format!("{:?}", full()), "Envelope { .. }");
    }

    #[test]
    fn the_id_of_a_message_depends_on_who_wrote_to_whom() {
        let (one, other) = (NodeId([1; 20]), NodeId([2; 20]));
        assert_ne!(full().message_id(&one, &other), full().message_id(&other, &one));
        let next = Envelope { secret: [2; 16], ..full() };
        assert_ne!(full().message_id(&one, &other), next.message_id(&one, &other));
    }
}

//! What members tell each other about a group, and what a message to it says.
//!
//! A **note** travels inside a sealed one-recipient message, where a text would be: entries of the roster, the keys of
//! the sender's session, receipts, each as far as there is something. **Words** are what a Megolm message holds.

use zeroize::Zeroizing;

use super::entry::{EntryHash, GroupId, SignedEntry, read_flag};
use super::sender::{SessionId, SessionKey};
use crate::canonical::{Malformed, Reader, Writer};
use crate::id::{BundleId, NodeId};
use crate::limits::{
    CREATED_UNIX_MS_MAX, GROUP_ENTRIES_MAX, GROUP_PARENTS_MAX, GROUP_RECEIPTS_MAX,
    GROUP_SESSIONS_OF_MEMBER_MAX, TEXT_BYTES_MAX,
};
use crate::receipt::Stage;
use crate::store::Priority;

const DIGEST_CONTEXT: &str = "MeshLink v1 group heads";
const MESSAGE_ID_CONTEXT: &str = "MeshLink v1 group message id";

/// Tells two rosters apart.
pub(crate) type Digest = [u8; 8];

/// See the module's text.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) group: GroupId,
    /// Where the sender's roster ends.
    pub(crate) heads: Vec<EntryHash>,
    /// Entries that the recipient may lack, what is before another first.
    pub(crate) entries: Vec<SignedEntry>,
    /// Sessions of the sender's.
    pub(crate) sessions: Vec<Handed>,
    /// What became of the recipient's messages at the sender's.
    pub(crate) receipts: Vec<(BundleId, Stage)>,
}

/// A session, handed over.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Handed {
    pub(crate) cover: [u8; 32],
    pub(crate) key: SessionKey,
}

/// What a message to a group says.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Words {
    pub(crate) group: GroupId,
    pub(crate) author: NodeId,
    /// Of the author's roster.
    pub(crate) digest: Digest,
    pub(crate) created_unix_ms: Option<u64>,
    /// As in the bundle's header: a member can't make another's message more urgent.
    pub(crate) priority: Priority,
    /// Whether the author would like to know who read it.
    pub(crate) wants_read: bool,
    pub(crate) text: String,
    pub(crate) reply_to: Option<BundleId>,
}

/// Tells where a roster ends.
pub(crate) fn digest(heads: &[EntryHash]) -> Digest {
    let mut hasher = blake3::Hasher::new_derive_key(DIGEST_CONTEXT);
    for head in heads {
        hasher.update(&head.0);
    }
    *hasher.finalize().as_bytes().first_chunk().expect("a hash has more bytes")
}

/// The id of a message, the same for all members.
pub(crate) fn message_id(group: &GroupId, session: &SessionId, index: u32) -> BundleId {
    let mut hasher = blake3::Hasher::new_derive_key(MESSAGE_ID_CONTEXT);
    hasher.update(&group.0);
    hasher.update(session);
    hasher.update(&index.to_be_bytes());
    BundleId(*hasher.finalize().as_bytes())
}

impl Handed {
    /// Bytes of it in a note, at most.
    pub(crate) const BYTES: usize = 1 + 2 + 32 + 2 + SessionKey::BYTES;
}

impl Note {
    pub(crate) fn new(group: GroupId, heads: Vec<EntryHash>) -> Self {
        Self { group, heads, entries: Vec::new(), sessions: Vec::new(), receipts: Vec::new() }
    }

    /// Writes the note.
    pub(crate) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut writer = Writer::with_capacity(256);
        writer.map(5);
        writer.uint(0).bytes(&self.group.0);
        writer.uint(1).array(self.heads.len() as u64);
        for head in &self.heads {
            writer.bytes(&head.0);
        }
        writer.uint(2).array(self.entries.len() as u64);
        for entry in &self.entries {
            writer.bytes(&entry.bytes);
        }
        writer.uint(3).array(self.sessions.len() as u64);
        for session in &self.sessions {
            writer.array(2).bytes(&session.cover).bytes(&session.key.0);
        }
        writer.uint(4).array(self.receipts.len() as u64);
        for (message, stage) in &self.receipts {
            writer.array(2).bytes(&message.0).uint(*stage as u64);
        }
        Zeroizing::new(writer.finish())
    }

    /// Reads a note, and checks the entries' signatures.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let mut map = reader.map()?;
        let mut note = Self::new(GroupId([0; 32]), Vec::new());
        let mut met = 0;
        while let Some(key) = map.key()? {
            met += 1;
            let reader = &mut *map.reader;
            match key {
                0 => note.group = GroupId(reader.byte_array()?),
                1 => note.heads = read_all(reader, GROUP_PARENTS_MAX, |r| r.byte_array().map(EntryHash))?,
                2 => {
                    note.entries = read_all(reader, GROUP_ENTRIES_MAX, |r| SignedEntry::decode(r.bytes()?))?;
                }
                3 => note.sessions = read_all(reader, GROUP_SESSIONS_OF_MEMBER_MAX, read_session)?,
                4 => note.receipts = read_all(reader, GROUP_RECEIPTS_MAX, read_receipt)?,
                _ => return Err(Malformed("a note's field of a later version")),
            }
        }
        let extensions = map.extensions();
        reader.end()?;
        if !note.heads.is_sorted_by(|one, next| one < next) {
            return Err(Malformed("heads out of order"));
        }
        if met != 5 || extensions.count() > 0 {
            return Err(Malformed("a note's field is missing, or one too many is there"));
        }
        Ok(note)
    }
}

fn read_all<'b, T>(
    reader: &mut Reader<'b>,
    most: usize,
    read: impl Fn(&mut Reader<'b>) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    let count = reader.array()?;
    if count > most as u64 {
        return Err(Malformed("a list that is too long"));
    }
    (0..count).map(|_| read(reader)).collect()
}

fn read_session(reader: &mut Reader<'_>) -> Result<Handed, Malformed> {
    expect_pair(reader)?;
    let (cover, key) = (reader.byte_array()?, SessionKey(reader.byte_array()?));
    if key.is_sound() { Ok(Handed { cover, key }) } else { Err(Malformed("a session's key that is none")) }
}

fn read_receipt(reader: &mut Reader<'_>) -> Result<(BundleId, Stage), Malformed> {
    expect_pair(reader)?;
    let message = BundleId(reader.byte_array()?);
    let stage = if read_flag(reader)? { Stage::Read } else { Stage::Delivered };
    Ok((message, stage))
}

fn expect_pair(reader: &mut Reader<'_>) -> Result<(), Malformed> {
    if reader.array()? == 2 { Ok(()) } else { Err(Malformed("what should be a pair")) }
}

impl Words {
    /// Writes them.
    pub(crate) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut writer = Writer::with_capacity(128 + self.text.len());
        let optional = [self.created_unix_ms.is_some(), self.reply_to.is_some()];
        writer.map(6 + optional.iter().filter(|there| **there).count() as u64);
        writer.uint(0).bytes(&self.group.0);
        writer.uint(1).bytes(&self.author.0);
        writer.uint(2).bytes(&self.digest);
        if let Some(created) = self.created_unix_ms {
            writer.uint(3).uint(created);
        }
        writer.uint(4).uint(self.priority as u64);
        writer.uint(5).uint(u64::from(self.wants_read));
        writer.uint(6).text(&self.text);
        if let Some(reply_to) = &self.reply_to {
            writer.uint(7).bytes(&reply_to.0);
        }
        Zeroizing::new(writer.finish())
    }

    /// Reads them.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let mut map = reader.map()?;
        let (mut group, mut author, mut heads, mut text) = (None, None, None, None);
        let (mut created_unix_ms, mut priority, mut wants_read, mut reply_to) = (None, None, None, None);
        while let Some(key) = map.key()? {
            let reader = &mut *map.reader;
            match key {
                0 => group = Some(GroupId(reader.byte_array()?)),
                1 => author = Some(NodeId(reader.byte_array()?)),
                2 => heads = Some(reader.byte_array()?),
                3 => created_unix_ms = Some(reader.uint()?),
                4 => priority = Some(crate::header::priority_from_number(reader.uint()?)?),
                5 => wants_read = Some(read_flag(reader)?),
                6 => text = Some(reader.text()?.to_owned()),
                7 => reply_to = Some(BundleId(reader.byte_array()?)),
                _ => return Err(Malformed("a field of a later version")),
            }
        }
        reader.end()?;
        let missing = Malformed("a field of a group's message is missing");
        let words = Self {
            group: group.ok_or(missing)?,
            author: author.ok_or(missing)?,
            digest: heads.ok_or(missing)?,
            created_unix_ms,
            priority: priority.ok_or(missing)?,
            wants_read: wants_read.ok_or(missing)?,
            text: text.ok_or(missing)?,
            reply_to,
        };
        let is_text =
            !words.text.is_empty() && words.text.len() <= TEXT_BYTES_MAX && !words.text.contains('\0');
        if !is_text || words.created_unix_ms.is_some_and(|created| created > CREATED_UNIX_MS_MAX) {
            return Err(Malformed("a text that breaks the rules, or a time beyond the year 9999"));
        }
        Ok(words)
    }
}

/// Shows that there is one, and nothing of what it says (threat C-18).
impl std::fmt::Debug for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Note").field("group", &self.group).finish_non_exhaustive()
    }
}

/// Likewise.
impl std::fmt::Debug for Words {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Words").field("group", &self.group).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::Entropy;
    use crate::group::entry::{Act, Entry};
    use crate::group::sender::Sender;
    use crate::identity::Identity;

    fn note() -> Note {
        let identity = Identity::from_bytes(&[1; 64]);
        let create = Act::Create { name: "Hikers".to_owned(), history: false, salt: [1; 16] };
        let entry = Entry { parents: Vec::new(), author: identity.public(), act: create }.sign(&identity);
        let key = Sender::draw(&mut Entropy::new(&[3; 32])).key();
        Note {
            group: GroupId([1; 32]),
            heads: vec![EntryHash([2; 32])],
            entries: vec![entry],
            sessions: vec![Handed { cover: [4; 32], key }],
            receipts: vec![(BundleId([5; 32]), Stage::Delivered), (BundleId([6; 32]), Stage::Read)],
        }
    }

    fn words() -> Words {
        Words {
            group: GroupId([1; 32]),
            author: NodeId([2; 20]),
            digest: [3; 8],
            created_unix_ms: Some(1_767_225_600_000),
            priority: Priority::Normal,
            wants_read: true,
            text: "hello".to_owned(),
            reply_to: Some(BundleId([4; 32])),
        }
    }

    #[test]
    fn notes_and_words_survive_the_round_trip() {
        for note in [note(), Note::new(GroupId([1; 32]), Vec::new())] {
            assert_eq!(Note::decode(&note.encode()), Ok(note));
        }
        for words in [words(), Words { created_unix_ms: None, reply_to: None, ..words() }] {
            assert_eq!(Words::decode(&words.encode()), Ok(words));
        }
    }

    #[test]
    fn w03_w07_what_is_cut_is_refused_and_what_decodes_has_one_encoding() {
        let (note, words) = (note().encode(), words().encode());
        for length in 0..note.len() {
            assert!(Note::decode(&note[..length]).is_err(), "{length}");
        }
        for length in 0..words.len() {
            assert!(Words::decode(&words[..length]).is_err(), "{length}");
        }
        for at in 0..note.len() {
            let mut bytes = note.to_vec();
            bytes[at] ^= 1;
            if let Ok(decoded) = Note::decode(&bytes) {
                assert_eq!(decoded.encode().to_vec(), bytes);
            }
        }
        for at in 0..words.len() {
            let mut bytes = words.to_vec();
            bytes[at] ^= 1;
            if let Ok(decoded) = Words::decode(&bytes) {
                assert_eq!(decoded.encode().to_vec(), bytes);
            }
        }
    }

    #[test]
    fn w11_words_that_break_the_rules_are_refused() {
        for bad in [
            Words { text: String::new(), ..words() },
            Words { text: "a\0b".to_owned(), ..words() },
            Words { text: "x".repeat(TEXT_BYTES_MAX + 1), ..words() },
            Words { created_unix_ms: Some(CREATED_UNIX_MS_MAX + 1), ..words() },
        ] {
            assert!(Words::decode(&bad.encode()).is_err());
        }
    }

    #[test]
    fn w01_w07_heads_are_in_order_once_each_and_lists_end_where_they_must() {
        let head = |n: u8| EntryHash([n; 32]);
        let full: Vec<EntryHash> = (0..GROUP_PARENTS_MAX as u8).map(head).collect();
        let more: Vec<EntryHash> = (0..=GROUP_PARENTS_MAX as u8).map(head).collect();
        for (heads, is_right) in [
            (Vec::new(), true),
            (vec![head(1), head(2)], true),
            (full, true),
            (more, false),
            (vec![head(2), head(1)], false),
            (vec![head(1), head(1)], false),
        ] {
            let note = Note { heads: heads.clone(), ..note() };
            assert_eq!(Note::decode(&note.encode()).is_ok(), is_right, "{} heads", heads.len());
        }
    }

    #[test]
    fn w07_a_note_with_a_field_missing_or_added_is_refused() {
        let mut writer = Writer::with_capacity(64);
        writer.map(4).uint(0).bytes(&[1; 32]).uint(1).array(0).uint(2).array(0).uint(3).array(0);
        assert!(Note::decode(&writer.finish()).is_err());
        let mut writer = Writer::with_capacity(64);
        writer.map(6).uint(0).bytes(&[1; 32]).uint(1).array(0).uint(2).array(0).uint(3).array(0);
        writer.uint(4).array(0);
        let whole = writer.finish();
        let mut five = whole.clone();
        five[0] -= 1;
        assert!(Note::decode(&five).is_ok());
        assert!(Note::decode(&[&whole[..], &[16, 0]].concat()).is_err(), "an extension");
    }

    #[test]
    fn the_longest_words_and_the_last_time_are_read() {
        for words in [
            Words { text: "x".repeat(TEXT_BYTES_MAX), ..words() },
            Words { created_unix_ms: Some(CREATED_UNIX_MS_MAX), ..words() },
        ] {
            assert_eq!(Words::decode(&words.encode()), Ok(words));
        }
    }

    #[test]
    fn c18_debug_shows_nothing_of_it() {
        assert!(!format!("{:?} {:?}", note(), words()).contains("hello"));
    }

    proptest::proptest! {
        #[test]
        fn w03_no_bytes_make_the_decoders_panic(bytes: Vec<u8>, at: proptest::sample::Index, to: u8) {
            let _ = (Note::decode(&bytes), Words::decode(&bytes));
            for mut good in [note().encode(), words().encode()] {
                let at = at.index(good.len());
                good[at] = to;
                let _ = (Note::decode(&good), Words::decode(&good));
            }
        }
    }
}

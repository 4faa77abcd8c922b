//! What two nodes say to each other once a link's handshake is done.
//!
//! A frame's plain text is one or more messages, each a canonical CBOR array that begins with its tag
//! (`docs/bundle.cddl`). A tag below [`OPTIONAL_TAGS_FROM`] that is not known breaks the protocol; one from
//! there on is passed over, as long as its items are integers, byte strings or text.

use crate::bundle::BundleBytes;
use crate::canonical::{Malformed, Reader, Writer, head_bytes};
use crate::id::{IdPrefix, ShortId};
use crate::limits::PREFIXES_MAX;

/// The first tag that a node may not know and passes over (threat W-06).
pub const OPTIONAL_TAGS_FROM: u64 = 32;

/// How a frame begins whose session takes over: [`Message::Takeover`].
pub(crate) const TAKEOVER: [u8; 2] = [0x81, 0x08];

/// One message of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'b> {
    /// A step of finding out what the other lacks; only the reconciliation understands it.
    Reconcile(&'b [u8]),
    /// A bundle, asked for or pushed.
    Bundle(Carried<'b>),
    /// Bundles that are new here and too large, or too likely known, to be pushed unasked.
    News(Prefixes<'b>),
    /// Bundles this side wants, of those the other offered.
    Get(ShortIds<'b>),
    /// Bundles of the other's that are stored durably here.
    Stored(Run),
    /// Bundles of the other's that are not taken.
    Refused(Refusal, Run),
    /// Bundles the other wants that are no longer held here.
    Gone(ShortIds<'b>),
    /// There is room again here for what was refused: offer it again.
    Again,
    /// This side's better link to the other is down: go on here.
    Takeover,
    /// Something a later version says that need not be understood.
    Unknown,
}

/// A bundle with what changes on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carried<'b> {
    /// How long it has been under way, in milliseconds.
    pub age_ms: u64,
    /// Nodes it passed through before the sender.
    pub hops: u64,
    /// Its bytes.
    pub bytes: BundleBytes<'b>,
}

/// A name of a bundle that is shorter than its id.
pub trait Name: Copy {
    /// Its length in bytes.
    const BYTES: usize;
    /// Takes it from exactly so many bytes.
    fn from_slice(bytes: &[u8]) -> Self;
    /// Its bytes.
    fn as_slice(&self) -> &[u8];
}

macro_rules! name {
    ($name:ident) => {
        impl Name for $name {
            const BYTES: usize = $name::BYTES;

            fn from_slice(bytes: &[u8]) -> Self {
                let mut name = [0; $name::BYTES];
                name.copy_from_slice(bytes);
                Self(name)
            }

            fn as_slice(&self) -> &[u8] {
                &self.0
            }
        }
    };
}

name!(IdPrefix);
name!(ShortId);

/// One or more names, at most [`PREFIXES_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Names<'b, N>(&'b [u8], std::marker::PhantomData<N>);

/// Prefixes of ids.
pub type Prefixes<'b> = Names<'b, IdPrefix>;
/// Short ids.
pub type ShortIds<'b> = Names<'b, ShortId>;

/// Bundles that the other side sent one after the other, by their numbers on this link: its first one is 0, and it counts on
/// from one session to the next.
///
/// Both sides count the same, since a link keeps order and loses nothing. A name would cost twelve bytes a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    first: u64,
    count: u64,
}

impl Run {
    /// The longest that [`Message::Stored`] or [`Message::Refused`] becomes, in bytes.
    pub(crate) const MESSAGE_BYTES_MAX: usize = 3 + 2 * head_bytes(u64::MAX);

    /// So many from the first on; `None` for none, or for more than there are numbers.
    pub fn new(first: u64, count: u64) -> Option<Self> {
        (count > 0 && first.checked_add(count).is_some()).then_some(Self { first, count })
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Self::new(reader.uint()?, reader.uint()?).ok_or(Malformed("an answer to no bundle"))
    }

    /// The number of the first one.
    pub fn first(self) -> u64 {
        self.first
    }

    /// How many they are, at least one.
    pub fn count(self) -> u64 {
        self.count
    }

    /// The number after the last one.
    pub fn end(self) -> u64 {
        self.first + self.count
    }
}

/// Why a bundle is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// Not wanted, now or later.
    Unwanted,
    /// No room for it.
    Full,
    /// Too much at once; [`Message::Again`] follows.
    Busy,
    /// No good: the signature, the form, or nobody asked for it.
    Bad,
}

impl<'b> Message<'b> {
    /// Reads the next message of a frame.
    ///
    /// # Errors
    /// The bytes are not the one right encoding of a message.
    pub(crate) fn read(reader: &mut Reader<'b>) -> Result<Self, Malformed> {
        let items = reader.array()?;
        if items == 0 {
            return Err(WRONG_COUNT);
        }
        let tag = reader.uint()?;
        let expected = match tag {
            0 | 2 | 3 | 6 => 2,
            1 => 6,
            4 => 3,
            5 => 4,
            7 | 8 => 1,
            OPTIONAL_TAGS_FROM.. => {
                for _ in 1..items {
                    reader.skip()?;
                }
                return Ok(Self::Unknown);
            }
            _ => return Err(Malformed("a message of a later version")),
        };
        if items != expected {
            return Err(WRONG_COUNT);
        }
        Ok(match tag {
            0 => Self::Reconcile(reader.bytes()?),
            1 => Self::Bundle(Carried {
                age_ms: reader.uint()?,
                hops: reader.uint()?,
                bytes: BundleBytes {
                    header: reader.bytes()?,
                    payload: reader.bytes()?,
                    auth: reader.bytes()?,
                },
            }),
            2 => Self::News(Prefixes::read(reader)?),
            3 => Self::Get(ShortIds::read(reader)?),
            4 => Self::Stored(Run::read(reader)?),
            5 => Self::Refused(Refusal::from_number(reader.uint()?)?, Run::read(reader)?),
            6 => Self::Gone(ShortIds::read(reader)?),
            7 => Self::Again,
            _ => Self::Takeover,
        })
    }

    /// Reads all messages of a frame's plain text.
    ///
    /// # Errors
    /// The bytes are not messages one after the other.
    pub fn read_all(plain: &'b [u8]) -> Result<Vec<Self>, Malformed> {
        let mut reader = Reader::new(plain);
        let mut messages = Vec::new();
        while !reader.is_at_end() {
            messages.push(Self::read(&mut reader)?);
        }
        Ok(messages)
    }

    /// Writes a message behind what is there. [`Message::Unknown`] writes nothing.
    pub fn write(&self, plain: &mut Vec<u8>) {
        let mut writer = Writer::append_to(std::mem::take(plain));
        match self {
            Self::Reconcile(body) => writer.array(2).uint(0).bytes(body),
            Self::Bundle(carried) => writer
                .array(6)
                .uint(1)
                .uint(carried.age_ms)
                .uint(carried.hops)
                .bytes(carried.bytes.header)
                .bytes(carried.bytes.payload)
                .bytes(carried.bytes.auth),
            Self::News(prefixes) => writer.array(2).uint(2).bytes(prefixes.0),
            Self::Get(prefixes) => writer.array(2).uint(3).bytes(prefixes.0),
            Self::Stored(run) => writer.array(3).uint(4).uint(run.first).uint(run.count),
            Self::Refused(why, run) => {
                writer.array(4).uint(5).uint(why.number()).uint(run.first).uint(run.count)
            }
            Self::Gone(prefixes) => writer.array(2).uint(6).bytes(prefixes.0),
            Self::Again => writer.array(1).uint(7),
            Self::Takeover => writer.array(1).uint(8),
            Self::Unknown => &mut writer,
        };
        *plain = writer.finish();
    }
}

const WRONG_COUNT: Malformed = Malformed("a message with too few or too many items");

impl Carried<'_> {
    /// Bytes the message takes, at most.
    pub(crate) fn message_bytes(header: usize, payload: usize, auth: usize) -> usize {
        let parts = [header, payload, auth];
        2 + 2 * head_bytes(u64::MAX) + parts.iter().map(|part| head_bytes(*part as u64) + part).sum::<usize>()
    }
}

impl<'b, N: Name> Names<'b, N> {
    /// Names behind each other, as [`join`] writes them; `None` if it is none, too many or not whole.
    pub fn new(bytes: &'b [u8]) -> Option<Self> {
        let is_whole = bytes.len().is_multiple_of(N::BYTES);
        let count = bytes.len() / N::BYTES;
        (is_whole && (1..=PREFIXES_MAX).contains(&count)).then_some(Self(bytes, std::marker::PhantomData))
    }

    fn read(reader: &mut Reader<'b>) -> Result<Self, Malformed> {
        Self::new(reader.bytes()?).ok_or(Malformed("names of bundles that are none, too many or not whole"))
    }

    /// The names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = N> + use<'b, N> {
        self.0.chunks_exact(N::BYTES).map(N::from_slice)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len() / N::BYTES
    }
}

/// Writes names behind each other.
pub fn join<'p, N: Name + 'p>(names: impl IntoIterator<Item = &'p N>) -> Vec<u8> {
    names.into_iter().flat_map(|name| name.as_slice().iter().copied()).collect()
}

impl Refusal {
    fn number(self) -> u64 {
        match self {
            Self::Unwanted => 0,
            Self::Full => 1,
            Self::Busy => 2,
            Self::Bad => 3,
        }
    }

    fn from_number(number: u64) -> Result<Self, Malformed> {
        match number {
            0 => Ok(Self::Unwanted),
            1 => Ok(Self::Full),
            2 => Ok(Self::Busy),
            3 => Ok(Self::Bad),
            _ => Err(Malformed("a refusal for a reason that is none")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TWO: [u8; 24] = [7; 24];

    fn examples() -> Vec<Message<'static>> {
        let prefixes = Prefixes::new(&TWO).unwrap();
        let bytes = BundleBytes { header: b"header", payload: b"payload", auth: b"" };
        vec![
            Message::Reconcile(b"body"),
            Message::Bundle(Carried { age_ms: 1_000, hops: 3, bytes }),
            Message::News(prefixes),
            Message::Get(ShortIds::new(&TWO).unwrap()),
            Message::Stored(Run { first: 70_000, count: 1 }),
            Message::Refused(Refusal::Busy, Run { first: 0, count: 300 }),
            Message::Gone(ShortIds::new(&TWO).unwrap()),
            Message::Again,
            Message::Takeover,
        ]
    }

    fn written(message: &Message<'_>) -> Vec<u8> {
        let mut plain = Vec::new();
        message.write(&mut plain);
        plain
    }

    #[test]
    fn messages_follow_each_other_in_a_frame() {
        let mut plain = Vec::new();
        for message in examples() {
            message.write(&mut plain);
        }
        assert_eq!(Message::read_all(&plain), Ok(examples()));
        assert_eq!(Message::read_all(&[]), Ok(vec![]));
    }

    #[test]
    fn a_takeover_is_told_by_its_bytes() {
        assert_eq!(written(&Message::Takeover), TAKEOVER);
    }

    #[test]
    fn w03_a_message_cut_at_any_byte_is_refused() {
        for message in examples() {
            let plain = written(&message);
            for length in 1..plain.len() {
                assert!(Message::read_all(&plain[..length]).is_err(), "{message:?} {length}");
            }
        }
    }

    #[test]
    fn w06_optional_tags_are_passed_over_and_others_refused() {
        let mut plain = vec![0x83, 0x18, 32, 0x41, 0, 0x05];
        Message::Again.write(&mut plain);
        assert_eq!(Message::read_all(&plain), Ok(vec![Message::Unknown, Message::Again]));
        assert!(Message::read_all(&[0x81, 9]).is_err());
        assert!(Message::read_all(&[0x81, 0x18, 31]).is_err());
        assert!(Message::read_all(&[0x82, 0x18, 32, 0x80]).is_err(), "nested");
        assert!(Message::read_all(&[0x80]).is_err());
    }

    #[test]
    fn w01_counts_that_lie_are_refused() {
        assert!(
            Message::read_all(&[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x18, 32]).is_err()
        );
        assert!(Message::read_all(&[0x82, 7, 0]).is_err());
        assert!(Message::read_all(&[0x82, 3, 0x40]).is_err(), "no prefixes");
        assert!(Message::read_all(&[0x82, 3, 0x4b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).is_err(), "not whole");
        let many = vec![0; (PREFIXES_MAX + 1) * IdPrefix::BYTES];
        assert_eq!(Prefixes::new(&many), None);
    }

    #[test]
    fn s08_an_answer_to_no_bundle_or_beyond_all_numbers_is_refused() {
        assert!(Message::read_all(&[0x83, 4, 5, 0]).is_err(), "none");
        let last = [0x1b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        let all = [&[0x83, 4][..], &last, &[1]].concat();
        assert!(Message::read_all(&all).is_err(), "no number follows the last one");
        assert_eq!(
            Message::read_all(&[0x83, 4, 0, 5]).unwrap(),
            [Message::Stored(Run { first: 0, count: 5 })]
        );
    }

    #[test]
    fn an_answer_is_never_longer_than_foreseen() {
        let run = Run { first: u64::MAX / 2, count: u64::MAX / 2 };
        assert_eq!(written(&Message::Refused(Refusal::Bad, run)).len(), Run::MESSAGE_BYTES_MAX);
    }

    #[test]
    fn a_bundle_message_is_never_longer_than_foreseen() {
        for (header, payload, auth) in [(0, 0, 0), (115, 300, 64), (256, 20_480, 64)] {
            let (h, p, a) = (vec![0; header], vec![0; payload], vec![0; auth]);
            let bytes = BundleBytes { header: &h, payload: &p, auth: &a };
            let message = Message::Bundle(Carried { age_ms: u64::MAX, hops: u64::MAX, bytes });
            assert_eq!(written(&message).len(), Carried::message_bytes(header, payload, auth));
        }
    }

    #[test]
    fn every_reason_for_a_refusal_is_read_as_what_was_written_and_no_other() {
        let run = Run { first: 3, count: 1 };
        for why in [Refusal::Unwanted, Refusal::Full, Refusal::Busy, Refusal::Bad] {
            let message = Message::Refused(why, run);
            assert_eq!(Message::read_all(&written(&message)), Ok(vec![message]));
        }
        assert!(Message::read_all(&[0x84, 5, 4, 3, 1]).is_err());
    }

    #[test]
    fn a_run_goes_from_its_first_number_to_the_one_after_its_last() {
        let run = Run::new(3, 4).unwrap();
        assert_eq!((run.first(), run.count(), run.end()), (3, 4, 7));
        assert_eq!(Run::new(3, 0), None);
    }

    #[test]
    fn names_are_joined_counted_and_read_one_by_one() {
        let names = [ShortId([1; 8]), ShortId([2; 8]), ShortId([3; 8])];
        let joined = join(&names);
        assert_eq!(joined, [[1; 8], [2; 8], [3; 8]].concat());
        let read = ShortIds::new(&joined).unwrap();
        assert_eq!((read.count(), read.iter().collect::<Vec<_>>()), (3, names.to_vec()));
        assert_eq!(Prefixes::new(&joined).unwrap().count(), 2);
    }

    proptest! {
        #[test]
        fn w07_what_reads_writes_to_the_same_bytes(n in 0..9usize, at: prop::sample::Index, to: u8) {
            let mut plain = written(&examples()[n]);
            let at = at.index(plain.len());
            plain[at] = to;
            let Ok(messages) = Message::read_all(&plain) else { return Ok(()) };
            if !messages.contains(&Message::Unknown) {
                prop_assert_eq!(messages.iter().flat_map(written).collect::<Vec<_>>(), plain);
            }
        }

        #[test]
        fn w03_no_bytes_make_the_reader_panic(plain: Vec<u8>) {
            let _ = Message::read_all(&plain);
        }
    }
}

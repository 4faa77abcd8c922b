//! Finding out which bundles each of two neighbours lacks.
//!
//! ```text
//!  who dialled                                  who answers
//!     open(count, fingerprint, tugs) ─────────────▶  the same set?
//!     ◀─────────────────────────────────────── same      yes: that was all
//!     ◀──────────────── symbols, symbols, symbols ...     no: as many as the tugs tell
//!     want(what it lacks) ────────────────────────▶
//!     bundles the other lacks ─▶    ◀─ bundles wanted
//! ```
//!
//! This is one **round**: one round trip, and the side that asked knows both differences. A round's cost depends on
//! the difference alone, not on what is held (see [`crate::summary`] and [`crate::coded`]). If the symbols do not
//! come apart even after more were asked for, if the other side's check over the whole ids fails, or if nearly
//! everything differs, both sides [walk](walk) instead.
//!
//! Here are the words of it, and how far each side is; `session::round` does what they ask for.

pub(crate) mod walk;

use std::collections::VecDeque;

use crate::canonical::{Malformed, Reader, Writer};
use crate::coded::{CodedRow, Peeler};
use crate::id::{BundleId, Seq, ShortId};
use crate::limits::SYMBOLS_MAX;
use crate::summary::{TUG_BYTES, View, WholeSum};

use walk::Walker;

/// Bytes of a short id by which a bundle is wanted: the other side knows which it has told of.
pub(crate) const START_BYTES: usize = 5;
/// Bytes of a body beside its symbols or names, at most.
pub(crate) const BODY_HEAD_BYTES: usize = 48;

const OPEN: u64 = 2;
const SAME: u64 = 3;
const SYMBOLS: u64 = 4;
const MORE: u64 = 5;
const WANT: u64 = 6;
const MISSING: u64 = 7;
const WALK: u64 = 8;

/// One session's reconciliation.
#[derive(Debug)]
pub(crate) struct Reconciliation {
    pub(crate) walker: Walker,
    /// Whether to begin a round.
    pub(crate) is_due: bool,
    /// A round this side began.
    pub(crate) asking: Option<Asking>,
    /// A round the other side began.
    pub(crate) answering: Option<Answering>,
    /// Whether a round, whoever began it, has come to its end.
    pub(crate) has_ended: bool,
    /// Whether the next of them says that there are enough symbols.
    pub(crate) is_enough: bool,
    /// Short bodies to be sent.
    pub(crate) say: VecDeque<Vec<u8>>,
    /// Ids the other side knows of by rounds.
    pub(crate) ids_told: u64,
}

/// What a set was when a round described it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Snapshot {
    pub(crate) whole: WholeSum,
    /// How many bundles had gone by then.
    pub(crate) removals: u64,
    /// The newest message.
    pub(crate) until: Seq,
}

/// How far a round is that this side began.
#[derive(Debug)]
pub(crate) struct Asking {
    pub(crate) number: u64,
    pub(crate) snapshot: Snapshot,
    pub(crate) stage: AskingStage,
    /// Times that more symbols were asked for.
    pub(crate) mores: u8,
}

#[derive(Debug)]
pub(crate) enum AskingStage {
    /// Nothing came back yet.
    Opened,
    /// Symbols are coming in.
    Peeling(Box<Peeler>),
    /// The difference is known; what is lacked here is being asked for.
    Wanting {
        /// Not asked for yet.
        lacked: VecDeque<ShortId>,
        /// Lacked, and not wanted.
        declined: Vec<ShortId>,
        /// The sum of what both have, to be checked by the other side; `None` if the sets have changed since.
        check: Option<WholeSum>,
    },
}

/// How far a round is that the other side began.
#[derive(Debug)]
pub(crate) struct Answering {
    pub(crate) number: u64,
    pub(crate) snapshot: Snapshot,
    /// The symbols that may be sent.
    pub(crate) row: CodedRow,
    pub(crate) sent: usize,
    /// Where this portion ends.
    pub(crate) total: usize,
    /// Names that the other side has said.
    pub(crate) named: usize,
    /// What the other side was found to lack.
    pub(crate) lacked: Vec<BundleId>,
    /// Whether a name it used fitted several bundles.
    pub(crate) is_ambiguous: bool,
}

/// A body of a reconcile message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body<'b> {
    /// A page of a walk, or an answer to one.
    Walking { tag: u64, items: u64, reader: Reader<'b> },
    /// A round begins.
    Open { number: u64, view: View },
    /// The sets are the same.
    Same { number: u64 },
    /// The next symbols; those beyond the bytes are empty.
    Symbols { number: u64, total: usize, count: usize, bytes: &'b [u8] },
    /// The symbols were too few.
    More { number: u64 },
    /// What is wanted, and what is lacked but not wanted.
    Want { number: u64, is_last: bool, wanted: &'b [u8], declined: &'b [u8], check: Option<WholeSum> },
    /// What was wanted and is not held any more.
    Missing { number: u64, starts: &'b [u8] },
    /// Both sides walk.
    Walk { number: u64 },
}

impl Reconciliation {
    /// Nothing was said yet. Rounds and pages are numbered on from `last_number`. Who dialled begins a round.
    pub(crate) fn new(dialled: bool, last_number: u64) -> Self {
        Self {
            walker: Walker::new(last_number),
            is_due: dialled,
            asking: None,
            answering: None,
            has_ended: false,
            is_enough: false,
            say: VecDeque::new(),
            ids_told: 0,
        }
    }

    /// Whether both sides have heard everything.
    pub(crate) fn is_over(&self) -> bool {
        let is_idle =
            !self.is_due && self.asking.is_none() && self.answering.is_none() && self.say.is_empty();
        self.has_ended && is_idle && self.walker.is_over()
    }

    /// Whether a round or walk of this side's may begin: none is under way.
    pub(crate) fn is_free(&self) -> bool {
        !self.is_due && self.asking.is_none() && self.walker.is_walk_over()
    }

    /// Whether an answer is owed to this side. (Bundles it wants are owed too, but counted elsewhere.)
    pub(crate) fn is_waiting(&self) -> bool {
        let is_asking =
            self.asking.as_ref().is_some_and(|asking| !matches!(asking.stage, AskingStage::Wanting { .. }));
        is_asking || self.walker.is_waiting()
    }

    /// Whether there are symbols to send.
    pub(crate) fn has_symbols(&self) -> bool {
        self.answering.as_ref().is_some_and(|answering| answering.sent < answering.total)
    }

    /// How many ids the other side was told of.
    pub(crate) fn ids_offered(&self) -> u64 {
        self.ids_told + self.walker.ids_offered()
    }
}

impl<'b> Body<'b> {
    /// Reads a body.
    ///
    /// # Errors
    /// The bytes are not the one right encoding of one.
    pub(crate) fn read(body: &'b [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let items = reader.array()?;
        let tag = reader.uint()?;
        if tag == walk::PAGE || tag == walk::ANSWER {
            return Ok(Self::Walking { tag, items, reader });
        }
        let number = reader.uint()?;
        let read = match (tag, items) {
            (OPEN, 5) => {
                let (count, fingerprint) = (reader.uint()?, reader.byte_array()?);
                let tugs = reader.byte_array::<TUG_BYTES>()?;
                Self::Open { number, view: View { count, fingerprint, tugs } }
            }
            (SAME, 2) => Self::Same { number },
            (SYMBOLS, 5) => {
                let (total, count) = (symbols(reader.uint()?)?, symbols(reader.uint()?)?);
                Self::Symbols { number, total, count, bytes: reader.bytes()? }
            }
            (MORE, 2) => Self::More { number },
            (WANT, 6) => {
                let is_last = flag(reader.uint()?)?;
                let (wanted, declined) = (starts(reader.bytes()?)?, starts(reader.bytes()?)?);
                let check = match reader.bytes()? {
                    [] => None,
                    check => Some(WholeSum::from_be_bytes(
                        check.try_into().map_err(|_| Malformed("a check of the wrong length"))?,
                    )),
                };
                Self::Want { number, is_last, wanted, declined, check }
            }
            (MISSING, 3) => Self::Missing { number, starts: starts(reader.bytes()?)? },
            (WALK, 2) => Self::Walk { number },
            _ => return Err(Malformed("a reconciliation of another kind")),
        };
        reader.end()?;
        Ok(read)
    }

    /// Writes a body. A page or an answer is written by the walk itself.
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        match self {
            Self::Walking { .. } => &mut writer,
            Self::Open { number, view } => writer
                .array(5)
                .uint(OPEN)
                .uint(*number)
                .uint(view.count)
                .bytes(&view.fingerprint)
                .bytes(&view.tugs),
            Self::Same { number } => writer.array(2).uint(SAME).uint(*number),
            Self::Symbols { number, total, count, bytes } => writer
                .array(5)
                .uint(SYMBOLS)
                .uint(*number)
                .uint(*total as u64)
                .uint(*count as u64)
                .bytes(bytes),
            Self::More { number } => writer.array(2).uint(MORE).uint(*number),
            Self::Want { number, is_last, wanted, declined, check } => {
                let check = check.map(WholeSum::to_be_bytes);
                writer
                    .array(6)
                    .uint(WANT)
                    .uint(*number)
                    .uint(u64::from(*is_last))
                    .bytes(wanted)
                    .bytes(declined)
                    .bytes(check.as_ref().map_or(&[], |check| &check[..]))
            }
            Self::Missing { number, starts } => writer.array(3).uint(MISSING).uint(*number).bytes(starts),
            Self::Walk { number } => writer.array(2).uint(WALK).uint(*number),
        };
        writer.finish()
    }
}

fn symbols(count: u64) -> Result<usize, Malformed> {
    let count = usize::try_from(count).ok().filter(|count| *count <= SYMBOLS_MAX);
    count.ok_or(Malformed("more symbols than there are"))
}

fn flag(number: u64) -> Result<bool, Malformed> {
    match number {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Malformed("a mark that is neither 0 nor 1")),
    }
}

fn starts(bytes: &[u8]) -> Result<&[u8], Malformed> {
    if bytes.len().is_multiple_of(START_BYTES) {
        Ok(bytes)
    } else {
        Err(Malformed("names that are not whole"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> View {
        View { count: 3, fingerprint: [1; 16], tugs: [2; TUG_BYTES] }
    }

    fn examples() -> Vec<Body<'static>> {
        vec![
            Body::Open { number: 1, view: view() },
            Body::Same { number: 1 },
            Body::Symbols { number: 1, total: 40, count: 2, bytes: &[7; 20] },
            Body::More { number: 1 },
            Body::Want { number: 1, is_last: true, wanted: &[3; 10], declined: &[4; 5], check: Some(9) },
            Body::Want { number: 1, is_last: false, wanted: &[], declined: &[], check: None },
            Body::Missing { number: 1, starts: &[5; 5] },
            Body::Walk { number: 1 },
        ]
    }

    #[test]
    fn a_body_reads_as_it_was_written() {
        for body in examples() {
            assert_eq!(Body::read(&body.write()), Ok(body));
        }
    }

    #[test]
    fn w03_a_body_cut_at_any_byte_or_longer_is_refused() {
        for body in examples() {
            let mut bytes = body.write();
            for length in 0..bytes.len() {
                assert!(Body::read(&bytes[..length]).is_err(), "{body:?} {length}");
            }
            bytes.push(0);
            assert!(Body::read(&bytes).is_err(), "{body:?}");
        }
    }

    #[test]
    fn s01_numbers_beyond_the_limits_are_refused() {
        let body = |total, count| Body::Symbols { number: 1, total, count, bytes: &[] }.write();
        assert!(Body::read(&body(SYMBOLS_MAX, SYMBOLS_MAX)).is_ok());
        assert!(Body::read(&body(SYMBOLS_MAX + 1, 1)).is_err());
        assert!(Body::read(&body(1, SYMBOLS_MAX + 1)).is_err());
        let half = Body::Missing { number: 1, starts: &[5; 4] };
        assert!(Body::read(&half.write()).is_err());
    }
}

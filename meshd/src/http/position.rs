//! A position in the event log as text: `<store>-<number>`.
//!
//! The first half names the database it belongs to (eight hexadecimal digits, made with the file), so that a
//! position kept by a program is not mistaken for one in a database that was made anew since.

use std::fmt;
use std::str::FromStr;

use meshlink_core::Seq;

/// A position in some store's event log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) store: [u8; 4],
    pub(super) seq: Seq,
}

/// A text that is no position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoPosition;

impl Position {
    /// Where it is in `store`'s log; `None` if it belongs to another.
    pub(super) fn seq_in(self, store: [u8; 4]) -> Option<Seq> {
        (self.store == store).then_some(self.seq)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{}", u32::from_be_bytes(self.store), self.seq.0)
    }
}

impl FromStr for Position {
    type Err = NoPosition;

    fn from_str(text: &str) -> Result<Self, NoPosition> {
        let (store, seq) = text.split_once('-').ok_or(NoPosition)?;
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let digits = (1..=19).contains(&seq.len()) && seq.bytes().all(|b| b.is_ascii_digit());
        if store.len() != 8 || !store.bytes().all(hex) || !digits {
            return Err(NoPosition);
        }
        let store = u32::from_str_radix(store, 16).map_err(|_| NoPosition)?;
        let seq = seq.parse::<i64>().ok().and_then(|seq| u64::try_from(seq).ok()).ok_or(NoPosition)?;
        Ok(Self { store: store.to_be_bytes(), seq: Seq(seq) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_survive_the_round_trip() {
        let position = Position { store: [0, 0xab, 1, 2], seq: Seq(42) };
        assert_eq!(position.to_string(), "00ab0102-42");
        assert_eq!("00ab0102-42".parse(), Ok(position));
        assert_eq!(position.seq_in([0, 0xab, 1, 2]), Some(Seq(42)));
        assert_eq!(position.seq_in([9; 4]), None);
    }

    #[test]
    fn a09_other_texts_are_refused() {
        let wrong = [
            "",
            "-",
            "42",
            "00ab0102",
            "00ab0102-",
            "00AB0102-1",
            "0ab0102-1",
            "00ab0102--1",
            "00ab0102-+1",
            "00ab0102-1 ",
            "00ab0102-9223372036854775808",
            "00ab0102-99999999999999999999",
            "+0ab0102-1",
            "00ab0102-1-2",
        ];
        for text in wrong {
            assert_eq!(text.parse::<Position>(), Err(NoPosition), "{text:?}");
        }
    }
}

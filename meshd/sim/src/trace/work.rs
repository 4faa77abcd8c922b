//! The letters of a run: from whom to whom, and when.

use crate::dice::Dice;

use super::contacts::Contacts;

/// A message for one recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Letter {
    /// When it is written, in seconds of the trace.
    pub at_s: u64,
    /// By whom.
    pub from: usize,
    /// For whom.
    pub to: usize,
    /// Bytes of its text.
    pub text_bytes: usize,
}

/// What somebody says to everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Notice {
    /// When it is said, in seconds of the trace.
    pub at_s: u64,
    /// By whom.
    pub from: usize,
    /// Whether it is a call for help.
    pub is_call: bool,
}

/// Bytes of a short text, and of a long one.
const TEXT_BYTES: [usize; 2] = [200, 8_000];

/// Draws letters: each is written in the first half of the trace by somebody who is with somebody just then (a device
/// that is switched on), for anybody else. So many percent of them are long, any ones.
pub fn letters(contacts: &Contacts, count: usize, long_percent: usize, dice: &mut Dice) -> Vec<Letter> {
    let first = contacts.steps[0].0;
    let (_, last) = contacts.span_s();
    let half = contacts.steps.iter().take_while(|(t, _)| *t < first + (last - first) / 2).count().max(1);
    let mut letters: Vec<Letter> = (0..count)
        .map(|_| {
            let (at_s, pairs) = &contacts.steps[dice.below(half)];
            let (a, b) = pairs[dice.below(pairs.len())];
            let from = if dice.chance(0.5) { a } else { b };
            let to = (from + 1 + dice.below(contacts.people - 1)) % contacts.people;
            Letter { at_s: *at_s, from, to, text_bytes: TEXT_BYTES[0] }
        })
        .collect();
    letters.sort_unstable();
    let mut any: Vec<usize> = (0..count).collect();
    if long_percent > 0 {
        dice.shuffle(&mut any);
    }
    for n in any.into_iter().take(count * long_percent / 100) {
        letters[n].text_bytes = TEXT_BYTES[1];
    }
    letters
}

/// Draws what is said to everybody as [`letters`] are drawn; every other is a call for help.
pub fn notices(contacts: &Contacts, count: usize, dice: &mut Dice) -> Vec<Notice> {
    let said = letters(contacts, count, 0, dice).into_iter().enumerate();
    said.map(|(n, Letter { at_s, from, .. })| Notice { at_s, from, is_call: n % 2 == 1 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_written_in_the_first_half_and_never_to_oneself() {
        let text: String = (1..=100).map(|n| format!("{} {} {}\n", n * 20, n % 7, n % 7 + 1)).collect();
        let contacts = Contacts::parse(&text).expect("a trace");
        let letters = letters(&contacts, 500, 10, &mut Dice::new(3));
        assert!(
            letters.is_sorted_by_key(|letter| (letter.at_s, letter.from, letter.to)) && letters.len() == 500
        );
        assert!(letters.iter().all(|letter| letter.from != letter.to && letter.at_s < 1_020));
        assert!(letters.iter().any(|letter| letter.at_s > 900));
        assert_eq!(letters.iter().filter(|letter| letter.text_bytes > 200).count(), 50);
    }
}

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
}

/// Draws letters: each is written in the first half of the trace by somebody who is with somebody just then (a device
/// that is switched on), for anybody else.
pub fn letters(contacts: &Contacts, count: usize, dice: &mut Dice) -> Vec<Letter> {
    let first = contacts.steps[0].0;
    let (_, last) = contacts.span_s();
    let half = contacts.steps.iter().take_while(|(t, _)| *t < first + (last - first) / 2).count().max(1);
    let mut letters: Vec<Letter> = (0..count)
        .map(|_| {
            let (at_s, pairs) = &contacts.steps[dice.below(half)];
            let (a, b) = pairs[dice.below(pairs.len())];
            let from = if dice.chance(0.5) { a } else { b };
            let to = (from + 1 + dice.below(contacts.people - 1)) % contacts.people;
            Letter { at_s: *at_s, from, to }
        })
        .collect();
    letters.sort_unstable();
    letters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_written_in_the_first_half_and_never_to_oneself() {
        let text: String = (1..=100).map(|n| format!("{} {} {}\n", n * 20, n % 7, n % 7 + 1)).collect();
        let contacts = Contacts::parse(&text).expect("a trace");
        let letters = letters(&contacts, 500, &mut Dice::new(3));
        assert!(letters.is_sorted() && letters.len() == 500);
        assert!(letters.iter().all(|letter| letter.from != letter.to && letter.at_s < 1_020));
        assert!(letters.iter().any(|letter| letter.at_s > 900));
    }
}

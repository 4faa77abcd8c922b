//! Whether a text has the words somebody looks for.
//!
//! A query is words; all must occur; the last one may be a start. Words between double quotes stand side by side.
//! Text and query are folded the same way: words are runs of letters and digits, without case and accents, and an
//! ideograph is a word by itself. Folded, a text is its words with a space on both sides of each, so that looking for
//! words is looking for a piece of text.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Most words or quoted pieces of a query; the rest is ignored.
const TERMS_MAX: usize = 32;
/// Most bytes of a query; the rest is ignored.
const QUERY_BYTES_MAX: usize = 1024;
/// A last word of fewer letters is taken as a whole: many texts have a word that begins with `a`.
const PREFIX_CHARS_MIN: usize = 3;
/// Letters of these are words, or syllables that say as much: CJK with kana, without Hangul.
const IDEOGRAPHS: std::ops::Range<char> = '\u{2e80}'..'\u{a000}';

/// What somebody looks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Query {
    /// Folded, and the last one possibly without its final space.
    terms: Vec<String>,
}

impl Query {
    /// What a person typed; `None` if it has no words.
    pub(super) fn parse(typed: &str) -> Option<Self> {
        let end = (0..=typed.len().min(QUERY_BYTES_MAX)).rev().find(|end| typed.is_char_boundary(*end))?;
        let mut terms = Vec::new();
        // Pieces alternate: outside quotes, inside, outside. An open quote ends with the query.
        for (n, piece) in typed[..end].split('"').enumerate() {
            if n % 2 == 1 {
                terms.push(folded(piece));
            } else {
                terms.extend(piece.split_whitespace().map(folded));
            }
        }
        let is_open_ended = !typed.ends_with(|c: char| c == '"' || c.is_whitespace())
            && typed[..end].matches('"').count().is_multiple_of(2);
        terms.retain(|term| term.len() > 1);
        terms.truncate(TERMS_MAX);
        let last = terms.last_mut()?;
        let word = last.trim_end().rsplit(' ').next().unwrap_or_default();
        if is_open_ended && word.chars().count() >= PREFIX_CHARS_MIN {
            last.pop();
        }
        Some(Self { terms })
    }

    /// Whether a text has all of it.
    pub(super) fn is_in(&self, text: &str) -> bool {
        let text = folded(text);
        self.terms.iter().all(|term| text.contains(term.as_str()))
    }
}

/// The words of a text, folded, with a space before, between and after them.
fn folded(text: &str) -> String {
    let mut words = String::with_capacity(text.len() + 2);
    words.push(' ');
    if text.is_ascii() {
        text.chars().for_each(|c| fold(c, &mut words));
    } else {
        text.nfd().filter(|c| !is_combining_mark(*c)).for_each(|c| fold(c, &mut words));
    }
    end_word(&mut words);
    words
}

fn fold(c: char, words: &mut String) {
    if !c.is_alphanumeric() {
        end_word(words);
    } else if c.is_ascii() {
        words.push(c.to_ascii_lowercase());
    } else if IDEOGRAPHS.contains(&c) {
        end_word(words);
        words.push(c);
        words.push(' ');
    } else {
        words.extend(c.to_lowercase());
    }
}

fn end_word(words: &mut String) {
    if !words.ends_with(' ') {
        words.push(' ');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finds(query: &str, text: &str) -> bool {
        Query::parse(query).is_some_and(|query| query.is_in(text))
    }

    #[test]
    fn all_words_must_occur_and_the_last_may_be_a_start() {
        for query in ["red", "red kite", "kite red", "kit", "red kit", "RED", "a", "red ", "the red"] {
            assert!(finds(query, "There's a red kite over the mill."), "{query:?}");
        }
        for query in ["reds", "ki", "kit ", "ed", "red fox", "kit red", "kite\"over\" mill\"\"x"] {
            assert!(!finds(query, "There's a red kite over the mill."), "{query:?}");
        }
    }

    #[test]
    fn quoted_words_stand_side_by_side() {
        assert!(finds("\"red kite\"", "a red, kite") && finds("\"red kite\" mill", "mill: red kite"));
        assert!(!finds("\"red kite\"", "a kite, red") && !finds("\"red kit\"", "red kite"));
        assert!(finds("open \"red ki", "open red ki"), "an open quote ends with the query");
        assert!(!finds("open \"red kit", "open red kite"));
    }

    #[test]
    fn case_and_accents_do_not_matter_and_scripts_stay_apart() {
        assert!(finds("cafe", "Café") && finds("CAFÉ", "cafe") && finds("cafe\u{301}", "café"));
        assert!(finds("ελλαδα", "Ελλάδα") && finds("strasse", "STRASSE") && finds("москва", "МОСКВА!"));
        assert!(finds("한국", "한국어") == finds("한국", "한국어 "), "a start of two syllables");
        assert!(!finds("cafe", "сafe"), "a Cyrillic letter is another one");
    }

    #[test]
    fn an_ideograph_is_a_word() {
        assert!(
            finds("水", "飲み水です") && finds("\"飲み水\"", "飲み水です") && finds("飲み水", "飲み水です")
        );
        assert!(!finds("水飲", "飲み水です"));
    }

    #[test]
    fn operators_are_words_and_nothing_to_look_for_is_nothing() {
        assert!(finds("a OR b*", "or a b") && !finds("a OR b", "a b") && finds("text:x", "text x"));
        for query in ["", "   ", "\"\"", "!?* -", "\0"] {
            assert_eq!(Query::parse(query), None, "{query:?}");
        }
    }

    #[test]
    fn a_query_has_a_limit() {
        let long = "word ".repeat(10_000);
        assert_eq!(Query::parse(&long).map(|query| query.terms.len()), Some(TERMS_MAX));
        assert!(Query::parse(&"ä".repeat(5_000)).is_some_and(|query| query.terms[0].len() < 1100));
    }
}

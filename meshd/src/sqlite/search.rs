//! From what a person types to what FTS5 understands (<https://sqlite.org/fts5.html>, section 3).
//!
//! A query is words; all must occur; the last one may be a start. Words between double quotes stand side by side.
//! Everything is passed on as quoted strings, so nothing in it is an operator and no text is a syntax error;
//! what is in a string is split into words by the same tokenizer as the texts.

/// Most words of a query; the rest is ignored.
const WORDS_MAX: usize = 32;
/// Most bytes of a query; the rest is ignored.
const QUERY_BYTES_MAX: usize = 1024;
/// A last word of fewer letters is taken as a whole: many texts have a word that begins with `a`, and the index
/// of beginnings starts at three letters.
const PREFIX_CHARS_MIN: usize = 3;
/// From here on a letter is a syllable or a word (CJK and what follows), and says enough by itself.
const IDEOGRAPHS: char = '\u{2e80}';

/// The FTS5 expression for a query; `None` if it has no words.
pub(super) fn expression(query: &str) -> Option<String> {
    let end = (0..=query.len().min(QUERY_BYTES_MAX)).rev().find(|end| query.is_char_boundary(*end))?;
    let mut strings = Vec::new();
    // Pieces alternate: outside quotes, inside, outside. An open quote ends with the query.
    for (n, piece) in query[..end].split('"').enumerate() {
        if n % 2 == 1 {
            strings.extend(string(piece));
        } else {
            strings.extend(piece.split_whitespace().filter_map(string));
        }
    }
    strings.truncate(WORDS_MAX);
    let is_prefix = !query.ends_with(|c: char| c == '"' || c.is_whitespace())
        && query[..end].matches('"').count().is_multiple_of(2)
        && strings.last().is_some_and(|last| may_be_a_start(last.trim_matches('"')));
    let all = strings.join(" ");
    (!strings.is_empty()).then(|| if is_prefix { format!("{all}*") } else { all })
}

fn may_be_a_start(word: &str) -> bool {
    word.chars().count() >= PREFIX_CHARS_MIN || word.contains(|c| c >= IDEOGRAPHS)
}

/// A string of FTS5; `None` without a character that can be part of a word.
fn string(words: &str) -> Option<String> {
    // FTS5 reads its expression up to a NUL.
    let words: String = words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    words.chars().any(char::is_alphanumeric).then(|| format!("\"{words}\""))
}

#[cfg(test)]
mod tests {
    use super::expression;

    #[test]
    fn words_are_quoted_and_the_last_is_a_prefix() {
        assert_eq!(expression("hello wor").as_deref(), Some(r#""hello" "wor"*"#));
        assert_eq!(expression("hello wor ").as_deref(), Some(r#""hello" "wor""#));
        assert_eq!(expression("ab").as_deref(), Some(r#""ab""#));
        assert_eq!(expression("水").as_deref(), Some(r#""水"*"#));
        assert_eq!(
            expression(r#"see "side by side" now"#).as_deref(),
            Some(r#""see" "side by side" "now"*"#)
        );
        assert_eq!(expression(r#"open "quote x"#).as_deref(), Some(r#""open" "quote x""#));
    }

    #[test]
    fn operators_are_words() {
        assert_eq!(expression("a OR b*").as_deref(), Some(r#""a" "OR" "b*""#));
        assert_eq!(expression("text:x ^y -z (NEAR)").as_deref(), Some(r#""text:x" "^y" "-z" "(NEAR)"*"#));
        assert_eq!(expression("x\0y").as_deref(), Some(r#""x y"*"#));
    }

    #[test]
    fn nothing_to_look_for_is_nothing() {
        for query in ["", "   ", "\"\"", "!?* -", "\0"] {
            assert_eq!(expression(query), None, "{query:?}");
        }
    }

    #[test]
    fn a_query_has_a_limit() {
        let long = "word ".repeat(10_000);
        assert_eq!(expression(&long).map(|e| e.matches('"').count()), Some(64));
        assert!(expression(&"ä".repeat(5_000)).is_some_and(|e| e.len() < 1100));
    }
}

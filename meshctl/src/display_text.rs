//! Text that is safe to put on a terminal.
//!
//! A terminal obeys bytes. Whatever a neighbour, a name or a daemon says is therefore spelled out before it is
//! shown: control characters (C0, DEL, C1), the marks that turn writing direction around, characters that have
//! no width or no shape, and heaps of combining marks. [`Shown`] is the only spelling, [`crate::line::Line`] the
//! only way to the terminal, and it applies `Shown` to everything, this program's own words included: there is
//! no call that prints a string as it is.
//!
//! Not everything invisible is an attack. The joiners U+200C and U+200D stay where a script or an emoji needs
//! them (the idea of RFC 5892 appendix A, "CONTEXTJ"), variation selectors stay behind the signs they vary.
//! What looks alike can't be told apart here: names are always shown with the beginning of the id behind them.
//!
//! Source of the character list: Unicode `Default_Ignorable_Code_Point` (DerivedCoreProperties.txt), UAX #9
//! section 2 for the direction marks.

use crate::limits::{MARKS_MAX, SHOWN_CHARS_MAX};
use std::fmt;
use unicode_width::UnicodeWidthChar;

/// A text with everything a terminal could obey spelled out: `\x1b`, `\n`, `\u{202e}`.
///
/// Shows at most [`SHOWN_CHARS_MAX`] characters and then how many are left out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown<'a>(pub(crate) &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = None;
        let mut marks = 0;
        let mut chars = self.0.chars();
        for _ in 0..SHOWN_CHARS_MAX {
            let Some(c) = chars.next() else { return Ok(()) };
            marks = if c.width() == Some(0) { marks + 1 } else { 0 };
            let plain = if is_hazard(c) {
                is_needed_joiner(before, c, chars.clone().next())
            } else {
                marks <= MARKS_MAX && !(marks == 1 && before.is_none())
            };
            if plain {
                fmt::Write::write_char(f, c)?
            } else {
                spell_out(f, c)?
            }
            before = Some(c);
        }
        match chars.count() {
            0 => Ok(()),
            rest => write!(f, "... ({rest} more characters)"),
        }
    }
}

fn spell_out(f: &mut fmt::Formatter<'_>, c: char) -> fmt::Result {
    match c {
        '\n' => f.write_str("\\n"),
        '\r' => f.write_str("\\r"),
        '\t' => f.write_str("\\t"),
        c if u32::from(c) < 0x100 => write!(f, "\\x{:02x}", u32::from(c)),
        c => write!(f, "\\u{{{:x}}}", u32::from(c)),
    }
}

/// Whether a terminal or a reader could be misled by `c` as it is.
pub(crate) fn is_hazard(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// Whether `c` is a joiner or a variation selector in a place where writing needs it.
fn is_needed_joiner(before: Option<char>, c: char, after: Option<char>) -> bool {
    let (Some(before), Some(after)) = (before, after.or(Some(' '))) else { return false };
    match c {
        '\u{200c}' => joins_letters(before) && joins_letters(after),
        '\u{200d}' => {
            (joins_letters(before) && joins_letters(after)) || (is_emoji_part(before) && is_pictograph(after))
        }
        '\u{fe0e}' | '\u{fe0f}' => is_pictograph(before) || matches!(before, '0'..='9' | '#' | '*'),
        _ => false,
    }
}

/// Letters and signs of the scripts that write with joiners: Arabic to Khmer, Mongolian, and Arabic's extensions.
fn joins_letters(c: char) -> bool {
    matches!(c, '\u{620}'..='\u{8ff}' | '\u{900}'..='\u{dff}' | '\u{1780}'..='\u{17b3}' | '\u{17b6}'..='\u{17ff}'
        | '\u{1820}'..='\u{18aa}')
}

fn is_pictograph(c: char) -> bool {
    matches!(c, '\u{a9}' | '\u{ae}' | '\u{203c}' | '\u{2049}' | '\u{2100}'..='\u{2bff}' | '\u{3030}' | '\u{303d}'
        | '\u{3297}' | '\u{3299}' | '\u{1f000}'..='\u{1faff}')
}

fn is_emoji_part(c: char) -> bool {
    is_pictograph(c) || c == '\u{fe0f}'
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &str) -> String {
        Shown(text).to_string()
    }

    #[test]
    fn ordinary_writing_stays_as_it_is() {
        for text in ["hello", "Grüße", "日本語", "नमस्ते", "C:\\new", "e\u{301}", "👍🏽", "שלום"]
        {
            assert_eq!(shown(text), text);
        }
    }

    #[test]
    fn e01_what_a_terminal_obeys_is_spelled_out() {
        assert_eq!(shown("\x1b[2J"), "\\x1b[2J");
        assert_eq!(shown("\x1b]52;c;aGk=\x07"), "\\x1b]52;c;aGk=\\x07");
        assert_eq!(shown("\x1b]8;;http://evil\x1b\\"), "\\x1b]8;;http://evil\\x1b\\");
        assert_eq!(shown("\u{9b}31m\u{90}q\u{9c}"), "\\x9b31m\\x90q\\x9c");
        assert_eq!(shown("ok\rno\x08\x7f\t\0"), "ok\\rno\\x08\\x7f\\t\\x00");
    }

    #[test]
    fn e02_what_turns_or_hides_text_is_spelled_out() {
        assert_eq!(shown("a\u{202e}b\u{2066}c\u{2069}"), "a\\u{202e}b\\u{2066}c\\u{2069}");
        assert_eq!(shown("ad\u{200b}min\u{200d}\u{feff}"), "ad\\u{200b}min\\u{200d}\\u{feff}");
        assert_eq!(shown("x\u{e0041}\u{3164}\u{2028}"), "x\\u{e0041}\\u{3164}\\u{2028}");
        assert_eq!(
            shown("\u{301}x"),
            "\\u{301}x",
            "a mark without a base would hide in what stands before it"
        );
    }

    #[test]
    fn joiners_stay_where_writing_needs_them() {
        for text in
            ["می\u{200c}خواهم", "क\u{94d}\u{200d}ष", "👩\u{200d}💻", "❤\u{fe0f}", "❤\u{fe0f}\u{200d}🔥"]
        {
            assert_eq!(shown(text), text);
        }
        assert_eq!(shown("a\u{200c}b"), "a\\u{200c}b");
        assert_eq!(shown("a\u{fe0f}"), "a\\u{fe0f}");
    }

    #[test]
    fn a_heap_of_marks_is_cut_off() {
        let heap = format!("a{}", "\u{300}".repeat(6));
        assert_eq!(shown(&heap), format!("a{}\\u{{300}}\\u{{300}}", "\u{300}".repeat(4)));
    }

    #[test]
    fn e06_endless_text_ends() {
        let text = "x".repeat(SHOWN_CHARS_MAX + 7);
        assert!(shown(&text).ends_with("x... (7 more characters)"));
    }

    proptest! {
        #[test]
        fn e01_e02_no_text_reaches_the_terminal_with_controls(text in any::<String>()) {
            let shown = shown(&text);
            prop_assert!(!shown.chars().any(char::is_control), "{shown:?}");
            let turned = shown.contains(|c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'));
            prop_assert!(!turned, "{shown:?}");
        }

        #[test]
        fn spelling_out_twice_changes_nothing(chars in proptest::collection::vec(
            prop_oneof![any::<char>(), proptest::char::range('\0', '\u{ff}'), proptest::char::range('\u{2000}', '\u{2070}')],
            0..40,
        )) {
            let text: String = chars.into_iter().collect();
            let once = shown(&text);
            prop_assert!(!once.chars().any(char::is_control));
            prop_assert_eq!(shown(&once), once);
        }
    }
}

//! Which characters names may hold.
//!
//! The lists are written out and never follow a later Unicode version: whether a bundle is valid must not
//! depend on the age of the node that looks at it. What looks alike without being equal can't be listed; who
//! shows names shows part of the id beside them (threat W-11).

/// Control characters, and those that take no place or turn the writing direction. Joiners and variation
/// selectors, which emoji and several scripts need, are not among them.
pub(crate) fn is_deceptive(c: char) -> bool {
    matches!(
        u32::from(c),
        0x00..=0x1f
            | 0x7f..=0x9f
            | 0xad
            | 0x34f
            | 0x61c
            | 0x115f..=0x1160
            | 0x17b4..=0x17b5
            | 0x180b..=0x180f
            | 0x200b
            | 0x200e..=0x200f
            | 0x2028..=0x202e
            | 0x2060..=0x206f
            | 0x3164
            | 0xfeff
            | 0xffa0
            | 0xfff0..=0xffff
            | 0x1_d173..=0x1_d17a
            | 0xe_0000..=0xe_0fff
    )
}

/// Whether a channel's name, without its `#`, may hold this character: letters and digits of any script in
/// one spelling, `-`, `_` and `.`.
pub(crate) fn is_channel_character(c: char) -> bool {
    match c {
        'a'..='z' | '0'..='9' | '-' | '_' | '.' => true,
        c if c.is_ascii() => false,
        c => !is_deceptive(c) && !is_second_spelling(c),
    }
}

/// Spaces, punctuation, and characters that write in two what is also written in one.
fn is_second_spelling(c: char) -> bool {
    matches!(
        u32::from(c),
        0xa0..=0xbf
            | 0xd7
            | 0xf7
            | 0x2b0..=0x36f
            | 0x1100..=0x11ff
            | 0x1680
            | 0x1ab0..=0x1aff
            | 0x1dc0..=0x1dff
            | 0x2000..=0x214f
            | 0x2e00..=0x2e7f
            | 0x3000..=0x3004
            | 0x3008..=0x3020
            | 0xa960..=0xa97f
            | 0xd7b0..=0xd7ff
            | 0xe000..=0xf8ff
            | 0xf900..=0xfaff
            | 0xfb00..=0xfb06
            | 0xfe00..=0xfe6f
            | 0xff00..=0xffef
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w11_what_hides_or_turns_text_is_deceptive() {
        for c in ['\0', '\n', '\x1b', '\x7f', '\u{9b}', '\u{200b}', '\u{202e}', '\u{2066}', '\u{feff}'] {
            assert!(is_deceptive(c), "{c:?}");
            assert!(!is_channel_character(c), "{c:?}");
        }
        for c in ['a', 'ß', 'é', '中', '\u{200d}', '\u{fe0f}', '🚀'] {
            assert!(!is_deceptive(c), "{c:?}");
        }
    }

    #[test]
    fn w11_a_channel_has_one_spelling() {
        assert!("größe-новости.日本_2".chars().all(is_channel_character));
        for c in
            ['A', ' ', '#', ',', '/', '\u{301}', '\u{212b}', '\u{ff41}', '\u{fb01}', '\u{1100}', '\u{a0}']
        {
            assert!(!is_channel_character(c), "{c:?}");
        }
    }
}

//! JSON as it goes to standard output: exact for programs, harmless on a terminal, one record on one line.
//!
//! JSON allows U+009B, DEL and the direction marks raw inside a string; a terminal obeys them. The spelling
//! `\u009b` means the same to every reader (RFC 8259 section 7), so [`record`] uses it for everything
//! [`is_hazard`] names. Outside strings JSON has only ASCII, and its only control characters are white space
//! between tokens, which is left out. Everything else, also what this version does not know, passes unchanged.

use crate::display_text::is_hazard;
use serde_json::value::RawValue;
use std::fmt::Write as _;

/// One valid JSON value on one line, without the line end.
pub(crate) fn record(value: &RawValue) -> String {
    let mut line = String::with_capacity(value.get().len());
    for c in value.get().chars() {
        match c {
            '\n' | '\r' | '\t' => {}
            c if is_hazard(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(line, "\\u{unit:04x}").expect("writing to a String can't fail");
                }
            }
            c => line.push(c),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    #[test]
    fn e03_dangerous_characters_are_escaped_and_the_data_stays_exact() {
        let value = serde_json::json!({"text": "a\u{9b}b\u{7f}c\u{202e}d\u{200b}e\u{e0041}\x1bf"});
        let line = record(&raw(&value.to_string()));
        assert_eq!(line, r#"{"text":"a\u009bb\u007fc\u202ed\u200be\udb40\udc41\u001bf"}"#);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&line).unwrap(), value);
    }

    #[test]
    fn e04_a_pretty_printed_object_becomes_one_record() {
        assert_eq!(record(&raw("{\n\t\"a\": 1,\r\n  \"b\": \"x\\ny\"}")), r#"{"a": 1,  "b": "x\ny"}"#);
    }

    #[test]
    fn numbers_and_order_pass_unchanged() {
        let json = r#"{"z":1.10,"a":18446744073709551616}"#;
        assert_eq!(record(&raw(json)), json);
    }

    proptest! {
        #[test]
        fn e03_every_string_survives(text in any::<String>()) {
            let line = record(&raw(&serde_json::to_string(&text).unwrap()));
            prop_assert!(!line.chars().any(is_hazard), "{:?}", line);
            prop_assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
        }
    }
}

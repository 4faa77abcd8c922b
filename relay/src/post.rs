//! What makes a text frame a post that may be passed on.
//!
//! A post is a JSON object with a `type` that is a string. The relay checks that and nothing else: it keeps
//! no list of types, and the bytes go on as they came. The check builds no tree: fields other than `type`
//! are scanned and dropped, without recursion, so nesting costs no stack.

use serde::Deserialize;
use std::borrow::Cow;

/// Why a text frame is no post.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoPost {
    /// Not JSON.
    InvalidJson,
    /// JSON, but no object with one string `type`.
    MissingType,
}

/// Checks one text frame.
///
/// # Errors
/// [`NoPost`] with the reason.
pub(crate) fn check(text: &str) -> Result<(), NoPost> {
    match serde_json::from_str::<Post<'_>>(text) {
        Ok(post) if !post.kind.is_empty() => Ok(()),
        Ok(_) => Err(NoPost::MissingType),
        Err(error) if error.is_data() => Err(NoPost::MissingType),
        Err(_) => Err(NoPost::InvalidJson),
    }
}

#[derive(Deserialize)]
struct Post<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_with_a_type_is_a_post_whatever_else_it_holds() {
        for text in [
            r#"{"type":"TEXT","payload":"Hello World","senderId":"test-1","timestamp":1234567890}"#,
            r#"{"type":"x"}"#,
            " {\"a\":[1,{\"type\":3}],\"type\" : \"T\\u0045XT\"}\n",
            r#"{"\u0074ype":"TEXT"}"#,
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn json_without_a_type_is_told_apart_from_what_is_not_json() {
        for text in [r#"{}"#, r#"{"type":5}"#, r#"{"type":""}"#, r#"{"type":null}"#, "[1]", "3", r#""TEXT""#]
        {
            assert_eq!(check(text), Err(NoPost::MissingType), "{text}");
        }
        for text in ["", " ", "{", "hello", r#"{"type":"TEXT""#, r#"{"type":"TEXT"} x"#, r#"{'type':'TEXT'}"#]
        {
            assert_eq!(check(text), Err(NoPost::InvalidJson), "{text}");
        }
    }

    #[test]
    fn w13_nesting_as_deep_as_a_message_allows_costs_no_stack() {
        let deep = meshlink_api::relay::MESSAGE_BYTES_MAX / 2 - 20;
        let text = format!(r#"{{"a":{}{},"type":"TEXT"}}"#, "[".repeat(deep), "]".repeat(deep));
        let checked = std::thread::Builder::new().stack_size(64 * 1024).spawn(move || check(&text));
        assert_eq!(checked.unwrap().join().unwrap(), Ok(()));
    }
}

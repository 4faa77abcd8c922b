//! What clap can't know about a mistake on the command line: what the shell did to it before.

use clap::Error;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// To a shell the rest of a line is a comment from `#` on: `--to #mesh` arrives as `--to`.
const QUOTE_CHANNELS: &str =
    "a channel's name goes in quotes, as in '#mesh': to the shell # begins a comment";
/// To a shell each word is an argument of its own.
const QUOTE_TEXT: &str = "a text of several words goes in quotes: meshctl send 'two words'";

/// The same error, with a tip where the shell is the likely cause.
pub(crate) fn with_tip(mut error: Error) -> Error {
    if let Some(tip) = tip(&error) {
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

#[allow(clippy::wildcard_enum_match_arm, reason = "the list is clap's, and grows")]
fn tip(error: &Error) -> Option<&'static str> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.as_str(),
        Some(_) | None => "",
    };
    let usage = error.get(ContextKind::Usage).map(ToString::to_string).unwrap_or_default();
    let is_of = |command: &str| usage.contains(&format!("meshctl {command}"));
    match error.kind() {
        ErrorKind::InvalidValue if text(ContextKind::InvalidValue).is_empty() => {
            let argument = text(ContextKind::InvalidArg);
            ["--to", "--conversation"].iter().any(|name| argument.starts_with(name)).then_some(QUOTE_CHANNELS)
        }
        ErrorKind::MissingRequiredArgument if is_of("channel") => Some(QUOTE_CHANNELS),
        ErrorKind::UnknownArgument if is_of("send") && !text(ContextKind::InvalidArg).starts_with('-') => {
            Some(QUOTE_TEXT)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Args;
    use clap::Parser as _;

    fn told(args: &[&str]) -> String {
        let args = std::iter::once("meshctl").chain(args.iter().copied());
        with_tip(Args::try_parse_from(args).expect_err("a mistake")).to_string()
    }

    #[test]
    fn what_the_shell_took_for_a_comment_is_told() {
        for args in [&["send", "hi", "--to"][..], &["list", "--to"], &["watch", "--to"], &["channel", "join"]]
        {
            assert!(told(args).contains("as in '#mesh'"), "{args:?}: {}", told(args));
        }
        assert!(!told(&["send", "hi", "--timeout"]).contains("#mesh"));
        assert!(!told(&["send", "hi", "--wait", "soon"]).contains("#mesh"));
    }

    #[test]
    fn a_text_without_quotes_is_told() {
        assert!(told(&["send", "two", "words"]).contains("meshctl send 'two words'"));
        assert!(!told(&["send", "one", "-x"]).contains("two words"), "that is an option");
        assert!(!told(&["status", "now"]).contains("two words"));
    }
}

//! Words of the API as values of arguments.

use clap::builder::PossibleValue;
use meshlink_api::{MessageStatus, Priority, Receipts, Resolution, Scope};

/// An API word as an argument's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word<T>(pub(crate) T);
/// `--priority`.
pub(crate) type PriorityArg = Word<Priority>;
/// `--status`.
pub(crate) type StatusArg = Word<MessageStatus>;
/// `contact receipts`.
pub(crate) type ReceiptsArg = Word<Receipts>;
/// `contact resolve`.
pub(crate) type ResolutionArg = Word<Resolution>;
/// `--scope`.
pub(crate) type ScopeArg = Word<Scope>;

/// A parser for the values an API word can have, so that help and completions name them all.
#[derive(Debug, Clone)]
pub(super) struct WordParser<T: 'static>(&'static [(&'static str, T)]);

impl<T: Copy + std::fmt::Debug + Send + Sync + 'static> clap::builder::TypedValueParser for WordParser<T> {
    type Value = Word<T>;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<Self::Value, clap::Error> {
        let names = clap::builder::PossibleValuesParser::new(self.0.iter().map(|(name, _)| *name));
        // Nobody means something else by capitals.
        let name = names.parse_ref(command, arg, &value.to_ascii_lowercase())?;
        let word =
            self.0.iter().find(|(word, _)| *word == name).expect("the parser above lets only these pass");
        Ok(Word(word.1))
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.0.iter().map(|(name, _)| PossibleValue::new(*name))))
    }
}

/// `sos`, `normal` or `bulk`.
pub(super) fn parse_priority() -> WordParser<Priority> {
    WordParser(&[("sos", Priority::Sos), ("normal", Priority::Normal), ("bulk", Priority::Bulk)])
}

pub(super) fn parse_status() -> WordParser<MessageStatus> {
    WordParser(&[
        ("pending", MessageStatus::Pending),
        ("synced", MessageStatus::Synced),
        ("delivered", MessageStatus::Delivered),
        ("read", MessageStatus::Read),
        ("expired", MessageStatus::Expired),
        ("failed", MessageStatus::Failed),
    ])
}

pub(super) fn parse_receipts() -> WordParser<Receipts> {
    WordParser(&[("none", Receipts::None), ("delivered", Receipts::Delivered), ("read", Receipts::Read)])
}

pub(super) fn parse_resolution() -> WordParser<Resolution> {
    WordParser(&[("keep", Resolution::Keep), ("replace", Resolution::Replace)])
}

pub(super) fn parse_scope() -> WordParser<Scope> {
    WordParser(&[("read", Scope::Read), ("send", Scope::Send), ("admin", Scope::Admin)])
}

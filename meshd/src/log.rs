//! The daemon's log: lines on standard error, for a terminal or for journald.
//!
//! Filters are `level` or `target=level`, separated by commas: `info`, `warn,meshd::link=debug`. Message
//! texts, keys and tokens are never logged; addresses of others only at `debug` and below.

use std::io::IsTerminal;

use tracing_subscriber::filter::{LevelFilter, ParseError, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Which lines to write.
#[derive(Clone, PartialEq)]
pub struct LogFilter {
    text: String,
    targets: Targets,
}

impl LogFilter {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl std::fmt::Debug for LogFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(&self.text, f)
    }
}

impl Default for LogFilter {
    fn default() -> Self {
        Self { text: "info".to_owned(), targets: Targets::new().with_default(tracing::Level::INFO) }
    }
}

impl std::str::FromStr for LogFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = |what: &dyn std::fmt::Display| {
            format!(
                "{what}; write a level (error, warn, info, debug, trace, off) or target=level, separated by commas"
            )
        };
        // `Targets` takes a word that is no level for the name of a target.
        let is_level = |word: &str| !word.is_empty() && word.parse::<LevelFilter>().is_ok();
        if let Some(word) = text.split(',').find(|part| !part.contains('=') && !is_level(part)) {
            return Err(bad(&format_args!("{word:?} is no level")));
        }
        let targets = text.parse().map_err(|e: ParseError| bad(&e))?;
        Ok(Self { text: text.to_owned(), targets })
    }
}

/// Starts the log. Under systemd lines carry no time, since the journal adds it.
pub fn start(filter: &LogFilter) {
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let lines = tracing_subscriber::fmt::layer().compact().with_ansi(colour).with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(filter.targets.clone());
    // A second start in one process (tests) keeps the first log.
    let _ = match std::env::var_os("JOURNAL_STREAM") {
        Some(_) => registry.with(lines.without_time()).try_init(),
        None => registry.with(lines).try_init(),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_levels_and_targets() {
        for good in ["info", "warn,meshd::link=debug", "off", "meshd=trace"] {
            assert!(good.parse::<LogFilter>().is_ok(), "{good}");
        }
        for bad in ["meshd=loud", "loud", "", "info,meshd"] {
            let error = bad.parse::<LogFilter>().expect_err(bad);
            assert!(error.contains("error, warn, info, debug, trace"), "{error}");
        }
    }
}

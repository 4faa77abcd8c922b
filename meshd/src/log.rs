//! The daemon's log: records in the journal, or lines on standard error.
//!
//! In the journal every record has its level as `PRIORITY=`, its place as `MESHD_TARGET=`, and its fields as
//! `MESHD_...=`: `journalctl -u meshd -p warning`, `journalctl MESHD_PEER=...`.
//!
//! Filters are `level` or `target=level`, separated by commas: `info`, `warn,meshd::link=debug`. Message
//! texts, keys and tokens are never logged; addresses of others only at `debug` and below.

#[cfg(unix)]
mod journal;

use std::io::IsTerminal;

use tracing_subscriber::filter::{LevelFilter, ParseError, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

#[cfg(unix)]
use journal::Journal;

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

/// The filter of a log that runs, to be changed while it does.
#[derive(Clone, Default)]
pub struct LogHandle {
    /// `None` where nothing logs (tests).
    filter: Option<reload::Handle<Targets, Registry>>,
}

impl LogHandle {
    /// From now on these lines are written.
    ///
    /// # Errors
    /// The log is gone.
    pub fn set(&self, filter: &LogFilter) -> Result<(), reload::Error> {
        match &self.filter {
            Some(handle) => handle.reload(filter.targets.clone()),
            None => Ok(()),
        }
    }
}

impl std::fmt::Debug for LogHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LogHandle")
    }
}

/// Starts the log: to the journal with levels and fields of their own where standard error leads there, else as
/// lines on standard error.
pub fn start(filter: &LogFilter) -> LogHandle {
    let (targets, handle) = reload::Layer::new(filter.targets.clone());
    let registry = tracing_subscriber::registry().with(targets);
    #[cfg(unix)]
    if let Some(journal) = stderr_is_the_journal().then(Journal::connect).and_then(Result::ok) {
        // A second start in one process (tests) keeps the first log.
        let _ = registry.with(journal).try_init();
        return LogHandle { filter: Some(handle) };
    }
    // As above.
    let _ = registry.with(lines()).try_init();
    LogHandle { filter: Some(handle) }
}

fn lines<S>() -> impl Layer<S>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    tracing_subscriber::fmt::layer().compact().with_ansi(colour).with_writer(std::io::stderr)
}

/// systemd says which file the journal's is; standard error may have been redirected since (systemd.exec(5)).
#[cfg(unix)]
pub(crate) fn stderr_is_the_journal() -> bool {
    let Some(stream) = std::env::var_os("JOURNAL_STREAM") else { return false };
    let Ok(stat) = rustix::fs::fstat(std::io::stderr()) else { return false };
    stream.to_str() == Some(&format!("{}:{}", stat.st_dev, stat.st_ino))
}

#[cfg(not(unix))]
pub(crate) fn stderr_is_the_journal() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_changed_while_the_log_runs() {
        let (targets, handle) = reload::Layer::new("warn".parse::<LogFilter>().unwrap().targets);
        let subscriber = tracing_subscriber::registry().with(targets).with(lines());
        let handle = LogHandle { filter: Some(handle) };
        tracing::subscriber::with_default(subscriber, || {
            assert!(!tracing::enabled!(target: "meshd::link", tracing::Level::DEBUG));
            handle.set(&"warn,meshd::link=debug".parse().unwrap()).unwrap();
            assert!(tracing::enabled!(target: "meshd::link", tracing::Level::DEBUG));
            assert!(!tracing::enabled!(target: "meshd::http", tracing::Level::INFO));
        });
    }

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

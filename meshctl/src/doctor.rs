//! What is wrong with a node and its machine, and what to do about it.
//!
//! Two witnesses: the daemon, which knows its transports, store and clock ([`by_daemon`]), and the machine
//! itself ([`machine`]), which is looked at even when no daemon answers, since that may be why. A check says
//! what it saw, never what it supposes, and a finding that is not ok says what to do.

pub(crate) mod bluetooth;
pub(crate) mod by_daemon;
pub(crate) mod machine;

use serde::Serialize;

/// How a check came out, the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// As it should be, or switched off on purpose.
    Ok,
    /// It works, and something about it should be known.
    Warn,
    /// It does not work.
    Fail,
}

/// What a check came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// Which check; stable, for programs.
    pub(crate) check: &'static str,
    /// How it came out.
    pub(crate) state: State,
    /// What was seen.
    pub(crate) detail: String,
    /// What to do.
    pub(crate) hint: Option<String>,
}

impl Finding {
    /// As it should be.
    pub(crate) fn ok(check: &'static str, detail: impl Into<String>) -> Self {
        Self { check, state: State::Ok, detail: detail.into(), hint: None }
    }

    /// Works, but.
    pub(crate) fn warn(check: &'static str, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { check, state: State::Warn, detail: detail.into(), hint: Some(hint.into()) }
    }

    /// Does not work.
    pub(crate) fn fail(check: &'static str, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { check, state: State::Fail, detail: detail.into(), hint: Some(hint.into()) }
    }
}

/// All findings, as `--json` prints them.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// The worst of them.
    pub(crate) state: State,
    /// In the order in which they are worth reading.
    pub(crate) checks: Vec<Finding>,
}

impl Report {
    /// Of these findings.
    pub(crate) fn of(checks: Vec<Finding>) -> Self {
        let state = checks.iter().map(|finding| finding.state).max().unwrap_or(State::Ok);
        Self { state, checks }
    }
}

//! Why a command did not do what it was asked, and the exit code that says so.
//!
//! Codes are part of the contract: scripts branch on them. The words are for people: one line for what happened,
//! one for what to do. Nothing here is printed directly; [`crate::screen::Screen::failure`] does, so that words
//! which came from a daemon are spelled out like all others.

use meshlink_api::Problem;
use std::io;
use std::path::Path;

/// Exit codes, as in the table that `meshctl --help` ends with.
pub(crate) mod exit {
    /// Done.
    pub(crate) const DONE: u8 = 0;
    /// Failed for a reason without a code of its own.
    pub(crate) const FAILED: u8 = 1;
    /// The command line makes no sense.
    pub(crate) const USAGE: u8 = 2;
    /// No daemon could be reached.
    pub(crate) const UNREACHABLE: u8 = 3;
    /// The daemon does not let this user or token do that.
    pub(crate) const DENIED: u8 = 4;
    /// There is no such message, recipient, peer, channel or token.
    pub(crate) const NOT_FOUND: u8 = 5;
    /// The time given with `--timeout` passed first.
    pub(crate) const TIMED_OUT: u8 = 6;
    /// Interrupted with Ctrl-C.
    pub(crate) const INTERRUPTED: u8 = 130;
}

/// One place where no daemon could be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attempt {
    /// A path or a URL.
    pub(crate) place: String,
    /// Why not, in words.
    pub(crate) why: String,
    /// Whether something is there that this user may not open.
    pub(crate) denied: bool,
}

/// What to do where the system's daemon has a socket that this user may not open.
pub(crate) const ASK_FOR_ACCESS: &str = "the system's daemon lets in members of the group meshlink: `sudo usermod -aG meshlink $USER`, then log in again";

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The command line is well-formed but asks for something that can't be.
    #[error("{what}")]
    Usage {
        /// What is wrong.
        what: String,
        /// What to do.
        hint: String,
    },
    /// No place has a daemon.
    #[error("no daemon answers")]
    Unreachable {
        /// Every place tried, in order.
        tried: Vec<Attempt>,
    },
    /// The daemon went away in the middle.
    #[error("the connection to {place} was lost: {why}")]
    Lost {
        /// Where it was.
        place: String,
        /// Why, in words.
        why: String,
    },
    /// The daemon is there and says no.
    #[error("{}", .problem.detail)]
    Refused {
        /// Its own words.
        problem: Box<Problem>,
        /// What this program knows besides.
        hint: Option<String>,
    },
    /// Something else than meshd answers.
    #[error("{place} does not answer like meshd: {why}")]
    Foreign {
        /// Where.
        place: String,
        /// What is odd, in words.
        why: String,
    },
    /// The time given with `--timeout` passed.
    #[error("{what}")]
    TimedOut {
        /// What did not happen in time.
        what: String,
        /// What it waits for, or what to do.
        hint: Option<String>,
    },
    /// It can't be done.
    #[error("{what}")]
    Failed {
        /// What went wrong.
        what: String,
        /// What to do.
        hint: Option<String>,
    },
    /// Standard output can't be written.
    #[error("can't write to standard output: {0}")]
    Output(#[source] io::Error),
}

impl Failure {
    /// A usage error.
    pub(crate) fn usage(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage { what: what.into(), hint: hint.into() }
    }

    /// A file that can't be read or written.
    pub(crate) fn file(doing: &str, path: &Path, why: &io::Error) -> Self {
        Self::Failed { what: format!("can't {doing} {}: {}", path.display(), cause(why)), hint: None }
    }

    /// The process's exit code. A reader that closed its end of the pipe had enough: that is success.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage { .. } => exit::USAGE,
            Self::Unreachable { tried } if tried.iter().any(|attempt| attempt.denied) => exit::DENIED,
            Self::Unreachable { .. } | Self::Lost { .. } => exit::UNREACHABLE,
            Self::Refused { problem, .. } => match problem.status {
                401 | 403 => exit::DENIED,
                429 if problem.code == "too_many_failures" => exit::DENIED,
                404 => exit::NOT_FOUND,
                422 if problem.code == "unknown_recipient" => exit::NOT_FOUND,
                _ => exit::FAILED,
            },
            Self::TimedOut { .. } => exit::TIMED_OUT,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => exit::DONE,
            Self::Foreign { .. } | Self::Failed { .. } | Self::Output(_) => exit::FAILED,
        }
    }

    /// Whether trying again later may help: the daemon is away or overloaded for the moment.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Lost { .. } => true,
            Self::Refused { problem, .. } => matches!(problem.status, 502..=504),
            Self::Usage { .. }
            | Self::Foreign { .. }
            | Self::TimedOut { .. }
            | Self::Failed { .. }
            | Self::Output(_) => false,
        }
    }

    /// What the user can do.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Usage { hint, .. } => Some(hint.clone()),
            Self::Unreachable { tried } if tried.iter().any(|attempt| attempt.denied) => {
                Some(ASK_FOR_ACCESS.into())
            }
            Self::Unreachable { .. } => Some(
                "start it with `meshd` (as a service: `systemctl start meshd`), or name it with --socket, --url or \
                 --state-dir"
                    .into(),
            ),
            Self::Lost { .. } => Some("see whether it still runs: `meshctl status`".into()),
            Self::Refused { problem, hint } => hint.clone().or_else(|| problem.hint.clone()),
            Self::Foreign { .. } => Some("see what listens there, or name meshd with --socket or --state-dir".into()),
            Self::TimedOut { hint, .. } | Self::Failed { hint, .. } => hint.clone(),
            Self::Output(_) => None,
        }
    }
}

/// An operating system error in words, without `(os error 2)`.
pub(crate) fn cause(error: &io::Error) -> String {
    let known = [
        (io::ErrorKind::NotFound, "no such file"),
        (io::ErrorKind::PermissionDenied, "permission denied"),
        (io::ErrorKind::ConnectionRefused, "nothing listens there"),
        (io::ErrorKind::AlreadyExists, "it exists already"),
        (io::ErrorKind::TimedOut, "no answer in time"),
        (io::ErrorKind::UnexpectedEof, "it was closed"),
        (io::ErrorKind::ConnectionReset, "it was closed"),
        (io::ErrorKind::BrokenPipe, "it was closed"),
    ];
    match known.into_iter().find(|(kind, _)| *kind == error.kind()) {
        Some((_, words)) => words.into(),
        None => error.to_string().split(" (os error").next().unwrap_or_default().to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16) -> Failure {
        Failure::Refused { problem: Box::new(Problem::new(status, "x", "X", "x")), hint: None }
    }

    #[test]
    fn exit_codes_are_those_of_the_contract() {
        let attempt = |denied| Attempt { place: "/x".into(), why: "y".into(), denied };
        assert_eq!(refused(401).exit_code(), 4);
        assert_eq!(refused(403).exit_code(), 4);
        assert_eq!(refused(404).exit_code(), 5);
        assert_eq!(refused(409).exit_code(), 1);
        assert_eq!(refused(507).exit_code(), 1);
        assert_eq!(Failure::Unreachable { tried: vec![attempt(false)] }.exit_code(), 3);
        assert_eq!(Failure::Unreachable { tried: vec![attempt(false), attempt(true)] }.exit_code(), 4);
        assert_eq!(Failure::Output(io::ErrorKind::BrokenPipe.into()).exit_code(), 0);
        assert_eq!(Failure::Output(io::ErrorKind::StorageFull.into()).exit_code(), 1);
        assert_eq!(Failure::usage("x", "y").exit_code(), 2);
        assert_eq!(Failure::TimedOut { what: "x".into(), hint: None }.exit_code(), 6);
    }
}

//! Standard output and standard error.
//!
//! Results go to standard output, talk to standard error. The only things that can be printed are a
//! [`Line`], which holds nothing a terminal obeys, a JSON [`record`], and this program's own manual. Colours
//! appear on terminals only and follow NO_COLOR, CLICOLOR and CLICOLOR_FORCE (anstream's rules).

use crate::args::Global;
use crate::failure::Failure;
use crate::json_text::record;
use crate::line::{BAD, Column, FAINT, Line, STRONG, Table, WARN};
use anstream::AutoStream;
use serde_json::value::RawValue;
use std::io::{self, IsTerminal as _, Stderr, Stdout, Write as _};

/// How much is said besides results and errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Talk {
    Quiet,
    Normal,
    Verbose,
}

/// Where the program writes.
#[derive(Debug)]
pub(crate) struct Screen {
    out: AutoStream<Stdout>,
    err: AutoStream<Stderr>,
    talk: Talk,
    json: bool,
    columns: Option<usize>,
}

impl Screen {
    /// The process's own output, as the options want it.
    pub(crate) fn new(global: &Global) -> Self {
        let columns = terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| usize::from(width.0));
        let talk = match (global.quiet, global.verbose) {
            (true, _) => Talk::Quiet,
            (false, true) => Talk::Verbose,
            (false, false) => Talk::Normal,
        };
        Self {
            out: AutoStream::auto(io::stdout()),
            err: AutoStream::auto(io::stderr()),
            talk,
            json: global.json.is_some(),
            columns: columns.filter(|columns| *columns >= 40 && io::stdout().is_terminal()),
        }
    }

    /// Whether results are JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Whether `-v` was given.
    pub(crate) fn is_verbose(&self) -> bool {
        self.talk == Talk::Verbose
    }

    /// Prints a line of a result.
    ///
    /// # Errors
    /// [`Failure::Output`], also from all the other printing functions.
    pub(crate) fn line(&mut self, line: &Line) -> Result<(), Failure> {
        writeln!(self.out, "{}", line.ansi()).map_err(Failure::Output)
    }

    /// Prints a table; the titles only on its first page.
    pub(crate) fn table<const N: usize>(&mut self, table: Table<N>, titled: bool) -> Result<(), Failure> {
        table.lines(titled, self.columns).iter().try_for_each(|line| self.line(line))
    }

    /// Prints names and what they stand for, below each other.
    pub(crate) fn facts(&mut self, facts: Vec<(&'static str, Line)>) -> Result<(), Failure> {
        let mut table = Table::new([Column::left(""), Column::left("")]);
        for (name, fact) in facts {
            table.row([Line::new().styled(FAINT, name), fact]);
        }
        table.lines(false, None).iter().try_for_each(|line| self.line(line))
    }

    /// Prints one JSON value as a record.
    pub(crate) fn json(&mut self, value: &RawValue) -> Result<(), Failure> {
        writeln!(self.out, "{}", record(value)).map_err(Failure::Output)
    }

    /// Prints the part of a JSON array that stands before item number `at`, and the item.
    pub(crate) fn json_item(&mut self, at: usize, value: &RawValue) -> Result<(), Failure> {
        let before = if at == 0 { "[" } else { ",\n" };
        write!(self.out, "{before}{}", record(value)).map_err(Failure::Output)
    }

    /// Ends a JSON array of `count` items.
    pub(crate) fn json_end(&mut self, count: usize) -> Result<(), Failure> {
        writeln!(self.out, "{}", if count == 0 { "[]" } else { "]" }).map_err(Failure::Output)
    }

    /// Prints the program's own manual or completions, which hold nothing from outside.
    pub(crate) fn manual(&mut self, text: &[u8]) -> Result<(), Failure> {
        io::stdout().write_all(text).map_err(Failure::Output)
    }

    /// Hands buffered output over.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(Failure::Output)
    }

    /// Says something on standard error, unless `-q` was given.
    pub(crate) fn say(&mut self, line: Line) {
        self.tell(Talk::Normal, line);
    }

    /// Says something on standard error if `-v` was given.
    pub(crate) fn detail(&mut self, line: Line) {
        self.tell(Talk::Verbose, line);
    }

    /// Says that something is not as it should be, though the command goes on.
    pub(crate) fn warn(&mut self, text: impl std::fmt::Display) {
        self.tell(Talk::Quiet, Line::new().styled(WARN, "warning: ").text(text));
    }

    /// Says why the command failed and what to do.
    pub(crate) fn failure(&mut self, failure: &Failure) {
        self.tell(Talk::Quiet, Line::new().styled(BAD, "error: ").text(failure));
        if let Failure::Unreachable { tried } = failure {
            for attempt in tried {
                let place = Line::of("  tried ").styled(STRONG, &attempt.place);
                self.tell(Talk::Quiet, place.text(": ").text(&attempt.why));
            }
        }
        if let Some(hint) = failure.hint() {
            self.tell(Talk::Quiet, Line::new().styled(FAINT, "hint: ").text(hint));
        }
        if let Failure::Refused { problem, .. } = failure {
            let words = format!("{} ({}, HTTP {})", problem.title, problem.code, problem.status);
            self.detail(Line::new().styled(FAINT, "problem: ").text(words));
        }
    }

    // Nobody is left to hear that standard error is broken.
    fn tell(&mut self, least: Talk, line: Line) {
        if self.talk >= least {
            drop(writeln!(self.err, "{}", line.ansi()));
        }
    }
}

//! `meshctl passphrase`: what can be typed about what lies on the node's disk.

use clap::{Args as ArgGroup, Subcommand, ValueHint};
use std::path::PathBuf;

/// Where a passphrase comes from: never from the command line, which other users can see.
#[derive(Debug, ArgGroup)]
pub(crate) struct PassphraseSource {
    /// File whose first line is the passphrase; `-` reads it from standard input
    ///
    /// Without it the terminal is asked.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) passphrase_file: Option<PathBuf>,
}

/// What to do about the passphrase.
#[derive(Debug, Subcommand)]
pub(crate) enum PassphraseAction {
    /// Seal the node's keys with a passphrase
    ///
    /// The node asks for it after each start: meshctl unlock, or --passphrase-file of meshd. Nobody can recover it.
    Set(PassphraseSource),
    /// Replace the passphrase by another one
    #[command(
        after_help = "With --passphrase-file - both are read from standard input: first the current one."
    )]
    Change {
        /// The current one.
        #[command(flatten)]
        current: PassphraseSource,
        /// File whose first line is the new passphrase
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        new_passphrase_file: Option<PathBuf>,
    },
    /// Go without a passphrase from now on: whoever has the disk has the node
    Remove(PassphraseSource),
}

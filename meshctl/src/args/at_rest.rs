//! `meshctl passphrase` and `backup`: what can be typed about what lies on the node's disk.

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

/// What to do about backups.
#[derive(Debug, Subcommand)]
pub(crate) enum BackupAction {
    /// Write who this node is and whom it knows to a file, sealed with a passphrase
    ///
    /// In it are the node's keys, profile, contacts with their verification, channels and blocks. Not in it are
    /// messages, and keys that are deleted on schedule.
    #[command(after_help = "Examples:
  meshctl backup create ~/node.backup
  meshctl backup create /media/stick/node.backup --passphrase-file words")]
    Create {
        /// The file to make
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// The backup's own passphrase.
        #[command(flatten)]
        passphrase: PassphraseSource,
        /// Replace the file if it is there
        #[arg(long)]
        force: bool,
    },
    /// Make a node that was not used yet the one of a backup
    ///
    /// Contacts learn of it as this node meets others; what they had sent meanwhile they seal again by themselves.
    #[command(after_help = "Examples:
  meshctl backup restore ~/node.backup

The node that the backup was made of must not run any more: two nodes with one identity take each other's mail.")]
    Restore {
        /// The backup
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// The backup's own passphrase.
        #[command(flatten)]
        passphrase: PassphraseSource,
        /// File whose first line is the passphrase of the node that becomes the one of the backup, if it has one
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        node_passphrase_file: Option<PathBuf>,
    },
}

//! `meshctl channel`: what can be typed.

use clap::{Args as ArgGroup, Subcommand, ValueHint};
use std::path::PathBuf;

/// What to do about channels.
#[derive(Debug, Subcommand)]
pub(crate) enum ChannelAction {
    /// List the channels this node shows
    List,
    /// Show a channel's messages from now on, and what is held of it
    Join(Joining),
    /// No longer show a channel; the key of one with a password is destroyed
    Leave(OneChannel),
}

/// `meshctl channel join`.
#[derive(Debug, ArgGroup)]
#[command(
    after_help = "Without a password everybody can read a channel. With one, whoever has the password can, and nobody
else can tell what is said, by whom, or in which channel. Another password is another channel:
nothing says that it is wrong, but everybody with the same one sees the same CHECK in
`meshctl channel list`.

Examples:
  meshctl channel join '#flood'
  meshctl channel join '#ops' --password            # asks for it
  pass show mesh/ops | meshctl channel join ops --password-file -"
)]
pub(crate) struct Joining {
    /// Its name, with or without #
    pub(crate) name: String,
    /// Ask for the channel's password on the terminal
    #[arg(long, conflicts_with = "password_file")]
    pub(crate) password: bool,
    /// Read the channel's password from the first line of a file; `-` is standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) password_file: Option<PathBuf>,
}

/// A channel.
#[derive(Debug, ArgGroup)]
pub(crate) struct OneChannel {
    /// Its name, with or without #
    pub(crate) name: String,
}

//! `meshctl contact`: what can be typed about contacts.

use super::word::{ReceiptsArg, ResolutionArg, parse_receipts, parse_resolution};
use clap::{Args as ArgGroup, Subcommand, ValueHint};
use std::path::PathBuf;

/// What to do about contacts.
#[derive(Debug, Subcommand)]
pub(crate) enum ContactAction {
    /// List contacts, and those who wrote first
    List,
    /// Show this node's own id and keys
    Me,
    /// Make a code that one other person can add you by; it works once
    #[command(after_help = "Examples:
  meshctl contact code --in-person       # they scan or type it from this screen, within 10 minutes
  meshctl contact code --svg code.svg    # to be sent; works for 7 days")]
    Code(ShownCode),
    /// Add a contact by its code or node id
    #[command(after_help = "Examples:
  meshctl contact add 'MESHLINK:AEAX...' --name Ana
  meshctl contact add --in-person - < code.txt
  meshctl contact add 4bqhcmu3nzrgsm5mgyrtw2ta7qkbrgsm

A code that came in person verifies the contact once it has answered. Whoever can change a code on its way can
put another in its place: without --in-person compare the safety number (`meshctl contact verify`).")]
    Add(NewContactArgs),
    /// Show one contact, with its safety number
    Show {
        /// Its name or node id
        who: String,
    },
    /// Show the safety number, or mark the contact verified by it
    #[command(after_help = "Examples:
  meshctl contact verify Ana
  meshctl contact verify Ana --number '12345 67890 ...'   # as Ana's device shows it")]
    Verify {
        /// Its name or node id
        who: String,
        /// The number that the other person's device shows
        #[arg(long, value_name = "DIGITS")]
        number: Option<String>,
    },
    /// Take a verification back
    Unverify {
        /// Its name or node id
        who: String,
    },
    /// Call a contact something else
    Rename {
        /// Its name or node id
        who: String,
        /// The new name
        name: String,
    },
    /// Accept somebody who wrote first
    Accept {
        /// Its name or node id
        who: String,
    },
    /// Choose which receipts a contact gets
    Receipts {
        /// Its name or node id
        who: String,
        /// none; delivered (the default); read, if it says the same of your messages
        #[arg(value_parser = parse_receipts())]
        which: ReceiptsArg,
    },
    /// Decide between a contact and another node that claims to be it
    Resolve {
        /// Its name or node id
        who: String,
        /// keep: the contact stays who it was; replace: the other one gets the name
        #[arg(value_parser = parse_resolution())]
        resolution: ResolutionArg,
    },
    /// Tell a contact who another, verified one is
    Introduce {
        /// Who is to be introduced: name or node id
        who: String,
        /// To whom: name or node id
        #[arg(long, value_name = "CONTACT")]
        to: String,
    },
    /// Remove a contact and the keys shared with it; messages stay
    Remove {
        /// Its name or node id
        who: String,
    },
    /// Have nothing more to do with a contact
    Block {
        /// Its name or node id
        who: String,
    },
    /// Undo a block
    Unblock {
        /// Its name or node id
        who: String,
    },
}

/// `meshctl contact code`.
#[derive(Debug, ArgGroup)]
pub(crate) struct ShownCode {
    /// It is taken from this screen by a person you see: works for 10 minutes instead of 7 days
    #[arg(long)]
    pub(crate) in_person: bool,
    /// Write the QR code to this new SVG file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) svg: Option<PathBuf>,
}

/// `meshctl contact add`.
#[derive(Debug, ArgGroup)]
pub(crate) struct NewContactArgs {
    /// The code (MESHLINK:...) or a node id; `-` reads it from standard input
    pub(crate) who: String,
    /// What to call it; the name it gives itself if absent
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// The code came from that person directly, such as from a screen in front of you
    #[arg(long)]
    pub(crate) in_person: bool,
}

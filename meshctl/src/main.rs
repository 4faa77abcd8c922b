//! `meshctl`: MeshLink's command line.
//!
//! Talks to a running `meshd` over its HTTP API and shows the answers; it keeps no state and knows nothing of
//! the protocol between nodes. [`args`] is what can be typed, [`place`] where the daemon may be, [`daemon`] how
//! it is asked, [`feed`] how its events are followed, `commands` what is done with the answers. Everything that
//! is shown goes through [`line`] and [`screen`], and so through [`display_text`]: the one place that decides
//! what a terminal gets to see.

mod amount;
mod args;
mod commands;
mod connection;
mod daemon;
mod display_text;
mod doctor;
mod failure;
mod feed;
mod json_text;
mod limits;
mod line;
mod message_view;
mod moment;
mod passphrase;
mod place;
mod request;
mod screen;

use args::Args;
use clap::Parser as _;
use failure::{Failure, exit};
use screen::Screen;
use std::alloc::System;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use zeroizing_alloc::ZeroAlloc;

/// Overwrites what is freed, so that passphrases are gone when nobody uses them any more.
#[global_allocator]
static HEAP: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    let args = Args::try_parse().unwrap_or_else(|error| args::with_tip(error).exit());
    let mut screen = Screen::new(&args.global);
    let code = match run(args, &mut screen) {
        Ok(()) => exit::DONE,
        Err(failure) => {
            let code = failure.exit_code();
            if code != exit::DONE {
                screen.failure(&failure);
            }
            code
        }
    };
    ExitCode::from(code)
}

fn run(args: Args, screen: &mut Screen) -> Result<(), Failure> {
    let no_runtime = |error: std::io::Error| Failure::Failed {
        what: format!("the system lets this program do nothing: {}", failure::cause(&error)),
        hint: None,
    };
    // Ends the process from within the signal handler: also while it waits for a full pipe or a command.
    signal_hook::flag::register_conditional_shutdown(
        signal_hook::consts::SIGINT,
        exit::INTERRUPTED.into(),
        Arc::new(AtomicBool::new(true)),
    )
    .map_err(no_runtime)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(no_runtime)?;
    runtime.block_on(commands::run(args, screen))
}

//! `completions` and `man`: the program's own reference, made from its own command line definition.

use crate::args::Args;
use crate::failure::Failure;
use crate::screen::Screen;
use clap::CommandFactory as _;
use std::fs;
use std::path::Path;

/// `meshctl completions`.
pub(super) fn completions(screen: &mut Screen, shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "meshctl", &mut script);
    screen.manual(&script)
}

/// `meshctl man`.
pub(super) fn man(screen: &mut Screen, dir: Option<&Path>) -> Result<(), Failure> {
    let command = Args::command().disable_help_subcommand(true);
    let Some(dir) = dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page).map_err(Failure::Output)?;
        return screen.manual(&page);
    };
    fs::create_dir_all(dir)
        .and_then(|()| clap_mangen::generate_to(command, dir))
        .map_err(|error| Failure::file("write man pages to", dir, &error))
}

//! `meshlink-relay`: the relay as a program.
//!
//! Exit status: 0 after SIGTERM or SIGINT, 2 for a command line or file that can't be used, 1 otherwise.

mod args;

use anyhow::Context;
use args::Args;
use clap::Parser;
use meshlink_relay::{ConfigError, Relay, Stopper};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io::Write;
use std::process::ExitCode;

/// Files a relay has open besides its connections.
const FILES_BESIDES: u64 = 64;

fn main() -> ExitCode {
    let args = Args::parse();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .with_max_level(tracing::Level::INFO)
        .init();
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A closed stderr is no reason to fail differently.
            let _ = writeln!(std::io::stderr(), "meshlink-relay: {error:#}");
            ExitCode::from(if error.is::<ConfigError>() { 2 } else { 1 })
        }
    }
}

fn run(args: Args) -> anyhow::Result<()> {
    let (config, warnings) = args.into_config()?;
    let is_open = config.tokens.is_empty();
    let scheme = if config.tls.is_some() { "wss" } else { "ws" };
    let max_clients = config.max_clients;
    let relay = Relay::bind(config)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    raise_file_limit(max_clients);
    let address = relay.local_addr();
    tracing::info!("listening on {scheme}://{address}");
    if !address.ip().is_loopback() {
        let who = if is_open {
            "anyone there may join; --token-file keeps strangers out"
        } else {
            "a token is needed"
        };
        tracing::warn!("{address} is open to the local network: {who}");
        if scheme == "ws" {
            tracing::warn!("without --tls-cert and --tls-key everyone on the way can read along");
        }
    }
    stop_on_signal(relay.stopper()).context("can't handle signals")?;
    relay.run()?;
    tracing::info!("stopped");
    Ok(())
}

/// Lets the process have as many files open as it has clients, where the system allows it.
fn raise_file_limit(max_clients: usize) {
    use rustix::process::{Resource, getrlimit, setrlimit};
    // Besides clients there are connections that are not yet or no more one.
    let wanted = 2 * max_clients as u64 + FILES_BESIDES;
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = Some(limit.maximum.map_or(wanted, |maximum| wanted.min(maximum)));
        // Refused: the relay serves as many as it can, and /metrics counts those it could not accept.
        let _ = setrlimit(Resource::Nofile, limit);
    }
    if let Some(current) = limit.current.filter(|current| *current < max_clients as u64 + FILES_BESIDES) {
        tracing::warn!(
            "the system allows {current} open files, too few for --max-clients {max_clients}; raise it with `ulimit -n`"
        );
    }
}

fn stop_on_signal(stopper: Stopper) -> std::io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    std::thread::Builder::new().name("signals".to_owned()).stack_size(64 * 1024).spawn(move || {
        for _ in signals.forever() {
            stopper.stop();
        }
    })?;
    Ok(())
}

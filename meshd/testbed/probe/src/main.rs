//! Programs of the radio test bed.
//!
//! `serve` and `measure` are the raw yardstick: the two ends of a bluer connection that does nothing but move
//! bytes, so that what the daemon adds can be told from what BlueZ and the emulated air cost. They are two
//! processes because two daemons are. `hog` takes what an adapter has, `attack` is a hostile client. `capture` and
//! `compare` read btmon captures, so that scenarios judge the air by parsed packets and not by grep. `core` measures what a
//! core of the machine is worth.
//!
//! It is no part of MeshLink: it shares no code with the daemon, or it could not disagree with it.

mod attack;
mod capture;
mod compare;
mod core;
mod hog;
mod measure;
mod serve;
mod wire;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

const USAGE: &str = "usage:
  radio-probe serve ADAPTER
  radio-probe measure ADAPTER [--bytes N] [--only meet]
  radio-probe hog ADAPTER advertisements | HANDLE
  radio-probe attack ADAPTER ADDRESS SERVICE SECONDS
  radio-probe capture FILE.btsnoop
  radio-probe compare FIRST.btsnoop SECOND.btsnoop OTHER.btsnoop...
  radio-probe core";

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["serve", adapter] => radio(serve::run(adapter)),
        ["measure", adapter] => radio(measure::run(adapter, measure::DEFAULT_BYTES)),
        ["measure", adapter, "--only", "meet"] => radio(measure::run(adapter, 0)),
        ["measure", adapter, "--bytes", bytes] => {
            let bytes = bytes.parse().with_context(|| format!("--bytes takes a number, not '{bytes}'"))?;
            radio(measure::run(adapter, bytes))
        }
        ["hog", adapter, "advertisements"] => radio(hog::advertisements(adapter)),
        ["hog", adapter, handle] => {
            let handle = handle.parse().with_context(|| format!("'{handle}' is no handle"))?;
            radio(hog::handle(adapter, handle))
        }
        ["attack", adapter, victim, service, seconds] => {
            let victim = victim.parse().with_context(|| format!("'{victim}' is no address"))?;
            let service = service.parse().with_context(|| format!("'{service}' is no UUID"))?;
            let seconds = seconds.parse().with_context(|| format!("'{seconds}' are no seconds"))?;
            radio(attack::run(adapter, victim, service, Duration::from_secs(seconds)))
        }
        ["compare", first, second, others @ ..] if !others.is_empty() => {
            let others: Vec<&Path> = others.iter().map(Path::new).collect();
            compare::run(first.as_ref(), second.as_ref(), &others)
        }
        ["core"] => core::run(),
        ["capture", file] => capture::run(file.as_ref()),
        _ => bail!("{USAGE}"),
    }
}

fn radio(work: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

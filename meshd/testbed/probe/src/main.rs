//! Programs of the radio test bed.
//!
//! `serve` and `measure` are the raw yardstick: the two ends of a bluer connection that does nothing but move
//! bytes, so that what the daemon adds can be told from what BlueZ and the emulated air cost. They are two
//! processes because two daemons are. `capture` reads a btmon capture, so that scenarios judge the air by
//! parsed packets and not by grep.
//!
//! It is no part of MeshLink: it shares no code with the daemon, or it could not disagree with it.

mod capture;
mod measure;
mod serve;
mod wire;

use anyhow::{Context, Result, bail};

const USAGE: &str = "usage:
  radio-probe serve ADAPTER
  radio-probe measure ADAPTER [--bytes N] [--only meet]
  radio-probe capture FILE.btsnoop";

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
        ["capture", file] => capture::run(file.as_ref()),
        _ => bail!("{USAGE}"),
    }
}

fn radio(work: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

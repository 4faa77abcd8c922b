//! What a core of this machine is worth: processor time for a fixed piece of work, of the kind that an idle node does. Run
//! in the emulated machine and outside, it says how many of the one's cores make one of the other's.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use anyhow::{Context, Result};
use serde_json::json;

/// Messages passed; a fifth of a second of a machine of 2020.
const MESSAGES: u32 = 40_000;
/// As long as what BlueZ says of a neighbour that was heard.
const MESSAGE_BYTES: usize = 220;

/// Passes messages through a socket and takes each apart; prints the processor time in microseconds.
pub fn run() -> Result<()> {
    let (mut speaker, mut listener) = UnixStream::pair()?;
    let mut message = [b'='; MESSAGE_BYTES];
    let before = used_us()?;
    let mut fields = 0;
    for n in 0..MESSAGES {
        for (field, at) in message.chunks_exact_mut(20).zip(b'a'..) {
            field[0] = at;
            field[2..6].copy_from_slice(&n.to_be_bytes().map(|byte| b'0' + byte % 10));
        }
        speaker.write_all(&message)?;
        let mut heard = vec![0; MESSAGE_BYTES];
        listener.read_exact(&mut heard)?;
        let words: HashMap<String, String> = heard
            .chunks_exact(20)
            .filter_map(|field| std::str::from_utf8(field).ok()?.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        fields += words.len();
    }
    println!("{}", json!({"core_us": used_us()? - before, "fields": fields}));
    Ok(())
}

/// Processor time of this program's only thread.
fn used_us() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/schedstat")
        .context("the kernel does not count processor time")?;
    let first = text.split(' ').next().context("/proc/self/schedstat is empty")?;
    Ok(first.parse::<u64>()? / 1000)
}

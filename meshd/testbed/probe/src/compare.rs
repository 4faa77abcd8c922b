//! Looks for what would tell a listener that two captures are of the same nodes.
//!
//! Whatever a program says before it knows its neighbour, it says with the protocol's own constants: those are in
//! the captures of other nodes as well and tell nobody apart. What is in both captures of one pair and in none of
//! other pairs does.
//!
//! A string of [`PLACED_BYTES`] counts where it is at the same place of a packet of the same length, as a field
//! would be; ciphertext of this amount hardly ever agrees so by chance. Anywhere else [`ANYWHERE_BYTES`] count.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;

use crate::capture::{kind, records};

const PLACED_BYTES: usize = 4;
const ANYWHERE_BYTES: usize = 8;
/// Connection handle and length of an ACL packet; length and channel of what is in it.
const ACL_HEAD_BYTES: usize = 4;

/// Length of the packet, place in it, the bytes there; length and place 0 for what may be anywhere.
type Window = (usize, usize, Vec<u8>);

/// Compares two captures of one pair, and those of others.
pub fn run(first: &Path, second: &Path, others: &[&Path]) -> Result<()> {
    let (first, second) = (windows(first)?, windows(second)?);
    let mut constants = BTreeSet::new();
    for other in others {
        constants.extend(windows(other)?);
    }
    let common: Vec<&Window> =
        first.intersection(&second).filter(|window| !constants.contains(*window)).collect();
    println!(
        "{}",
        json!({
            "windows": first.len(),
            "constant": first.intersection(&constants).count(),
            "common": common
                .iter()
                .map(|(length, at, bytes)| json!({ "packet_bytes": length, "at": at, "hex": hex(bytes) }))
                .collect::<Vec<_>>(),
        })
    );
    Ok(())
}

fn windows(file: &Path) -> Result<BTreeSet<Window>> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut windows = BTreeSet::new();
    for record in records(&bytes).with_context(|| format!("{} is no btmon capture", file.display()))? {
        // What one controller sends, another one receives: once is enough.
        if record.kind != kind::ACL_SENT {
            continue;
        }
        let packet = record.packet.get(ACL_HEAD_BYTES..).unwrap_or_default();
        for (at, bytes) in packet.windows(PLACED_BYTES).enumerate() {
            windows.insert((packet.len(), at, bytes.to_vec()));
        }
        for bytes in packet.windows(ANYWHERE_BYTES) {
            windows.insert((0, 0, bytes.to_vec()));
        }
    }
    Ok(windows)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

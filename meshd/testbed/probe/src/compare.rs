//! Looks for what would tell a listener that two captures are of the same nodes.
//!
//! Whatever a program says before it knows its neighbour, it says with the protocol's own constants: those are in
//! the captures of other nodes as well and tell nobody apart. What is in both captures of one pair and in none of
//! other pairs does.
//!
//! Only what programs say counts: values of attributes, and L2CAP channels of their own. What bluetoothd and the kernel
//! say to find services and to grant credit is theirs, and differs with every run's timing.
//!
//! A string of [`PLACED_BYTES`] counts where it is at the same place of a packet of the same length, as a field
//! would be; ciphertext of this amount hardly ever agrees so by chance. Anywhere else [`ANYWHERE_BYTES`] count.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;

use crate::capture::{Record, kind, records};

const PLACED_BYTES: usize = 4;
const ANYWHERE_BYTES: usize = 8;
/// Connection handle with flags, and length, of an ACL packet; length and channel of the L2CAP frame that begins in it.
const ACL_HEAD_BYTES: usize = 4;
const L2CAP_HEAD_BYTES: usize = 4;
/// Flag of an ACL packet that goes on with a frame.
const CONTINUES: u8 = 0x10;
const ATT: u16 = 4;
/// Channels below it belong to the kernel and bluetoothd.
const FIRST_DYNAMIC: u16 = 0x40;
/// Of ATT's messages those with a value of a program's, and what comes before the value.
const READ_RESPONSE: (u8, usize) = (0x0b, 1);
const WITH_HANDLE: [u8; 4] = [0x12, 0x1b, 0x1d, 0x52];
const HANDLE_HEAD_BYTES: usize = 3;
/// A packet's length in a channel, and the counter that every value of ours begins with (docs/ble.md, "Chunks").
const CHANNEL_HEAD_BYTES: usize = 2;
const COUNTER_BYTES: usize = 2;

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
    let (mut windows, mut counts) = (BTreeSet::new(), BTreeMap::new());
    for record in records(&bytes).with_context(|| format!("{} is no btmon capture", file.display()))? {
        // What one controller sends, another one receives: once is enough.
        if record.kind != kind::ACL_SENT {
            continue;
        }
        let Some(said) = said(&record, &mut counts) else { continue };
        for (at, bytes) in said.windows(PLACED_BYTES).enumerate() {
            windows.insert((said.len(), at, bytes.to_vec()));
        }
        for bytes in said.windows(ANYWHERE_BYTES) {
            windows.insert((0, 0, bytes.to_vec()));
        }
    }
    Ok(windows)
}

/// What of a packet a program said. `counts` is, for each connection, whether the frame under way does.
fn said<'a>(record: &Record<'a>, counts: &mut BTreeMap<(u16, u16), bool>) -> Option<&'a [u8]> {
    let &[low, high, ..] = record.packet else { return None };
    let connection = (record.controller, u16::from_le_bytes([low, high & 0x0f]));
    let payload = record.packet.get(ACL_HEAD_BYTES..)?;
    if high & CONTINUES != 0 {
        return counts.get(&connection).copied().unwrap_or(false).then_some(payload);
    }
    let channel = u16::from_le_bytes([*payload.get(2)?, *payload.get(3)?]);
    let frame = payload.get(L2CAP_HEAD_BYTES..)?;
    let value = match frame.first() {
        Some(opcode) if channel == ATT && *opcode == READ_RESPONSE.0 => frame.get(READ_RESPONSE.1..),
        Some(opcode) if channel == ATT && WITH_HANDLE.contains(opcode) => {
            frame.get(HANDLE_HEAD_BYTES + COUNTER_BYTES..)
        }
        Some(_) if channel >= FIRST_DYNAMIC => frame.get(CHANNEL_HEAD_BYTES + COUNTER_BYTES..),
        Some(_) | None => None,
    };
    counts.insert(connection, value.is_some());
    value
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

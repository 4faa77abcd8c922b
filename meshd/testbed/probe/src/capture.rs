//! Reads a btmon capture (btsnoop, monitor format) and says in JSON what was on the air.
//!
//! Counted from HCI events and ACL packets, for each controller: connections made, bytes of ACL payload each
//! way, advertising reports heard, and the distinct advertising payloads it was told to send. Formats: btsnoop as in BlueZ's
//! `btmon --write`; HCI packets as in the Bluetooth Core Specification, volume 4, part E.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

const HEADER_BYTES: usize = 16;
const RECORD_BYTES: usize = 24;
/// btsnoop's number for the monitor format.
const MONITOR: u32 = 2001;

/// The monitor's packet kinds that matter here.
pub mod kind {
    pub const COMMAND: u16 = 2;
    pub const EVENT: u16 = 3;
    pub const ACL_SENT: u16 = 4;
    pub const ACL_RECEIVED: u16 = 5;
}

const LE_META_EVENT: u8 = 0x3e;
const DISCONNECTED_EVENT: u8 = 0x05;
/// LE Connection Complete, and its enhanced form.
const LE_CONNECTED: [u8; 2] = [0x01, 0x0a];
/// LE Advertising Report, and its extended form.
const LE_HEARD: [u8; 2] = [0x02, 0x0d];
/// LE Set Advertising Data, and its extended form, little-endian as on the wire.
const SET_ADVERT: u16 = 0x2008;
const SET_EXTENDED_ADVERT: u16 = 0x2037;

pub fn run(file: &Path) -> Result<()> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let air = Air::read(&bytes).with_context(|| format!("{} is no btmon capture", file.display()))?;
    println!("{}", air.to_json());
    Ok(())
}

/// What happened at each controller, by its number.
#[derive(Default)]
struct Air(BTreeMap<u16, Controller>);

#[derive(Default)]
struct Controller {
    connections: u64,
    disconnections: u64,
    /// Milliseconds from the start of the capture to each connection.
    connected_at_ms: Vec<u64>,
    /// Advertising reports, repetitions included.
    adverts_heard: u64,
    acl_sent_bytes: u64,
    acl_received_bytes: u64,
    /// Distinct payloads, in hexadecimal.
    adverts: BTreeSet<String>,
}

/// One packet at one controller.
pub struct Record<'a> {
    pub controller: u16,
    pub kind: u16,
    at_us: u64,
    pub packet: &'a [u8],
}

/// The packets of a capture, in order. btmon may have been ended in the middle of its last one.
pub fn records(bytes: &[u8]) -> Result<Vec<Record<'_>>> {
    ensure!(bytes.starts_with(b"btsnoop\0"), "no btsnoop header");
    let format = be32(bytes, 12)?;
    ensure!(format == MONITOR, "format {format}, not btmon's");
    let (mut records, mut rest) = (Vec::new(), &bytes[HEADER_BYTES..]);
    while rest.len() >= RECORD_BYTES {
        let length = be32(rest, 4)? as usize;
        let flags = be32(rest, 8)?;
        let at_us = u64::from(be32(rest, 16)?) << 32 | u64::from(be32(rest, 20)?);
        let Some(packet) = rest.get(RECORD_BYTES..RECORD_BYTES + length) else { break };
        records.push(Record { controller: (flags >> 16) as u16, kind: flags as u16, at_us, packet });
        rest = &rest[RECORD_BYTES + length..];
    }
    Ok(records)
}

impl Air {
    fn read(bytes: &[u8]) -> Result<Self> {
        let mut air = Self::default();
        let records = records(bytes)?;
        let start_us = records.first().map_or(0, |record| record.at_us);
        for record in records {
            let since_ms = record.at_us.saturating_sub(start_us) / 1000;
            air.0.entry(record.controller).or_default().take(record.kind, record.packet, since_ms);
        }
        air.0.retain(|number, _| *number != u16::MAX);
        Ok(air)
    }

    fn to_json(&self) -> serde_json::Value {
        let controllers = self.0.iter().map(|(number, it)| {
            json!({
                "adapter": format!("hci{number}"),
                "connections": it.connections,
                "disconnections": it.disconnections,
                "connected_at_ms": it.connected_at_ms,
                "adverts_heard": it.adverts_heard,
                "acl_sent_bytes": it.acl_sent_bytes,
                "acl_received_bytes": it.acl_received_bytes,
                "adverts": it.adverts,
            })
        });
        controllers.collect()
    }
}

impl Controller {
    fn take(&mut self, kind: u16, packet: &[u8], at_ms: u64) {
        match (kind, packet) {
            (kind::EVENT, [LE_META_EVENT, _, sub, 0, ..]) if LE_CONNECTED.contains(sub) => {
                self.connections += 1;
                self.connected_at_ms.push(at_ms);
            }
            (kind::EVENT, [LE_META_EVENT, _, sub, ..]) if LE_HEARD.contains(sub) => self.adverts_heard += 1,
            (kind::EVENT, [DISCONNECTED_EVENT, ..]) => self.disconnections += 1,
            (kind::ACL_SENT, [_, _, _, _, payload @ ..]) => self.acl_sent_bytes += payload.len() as u64,
            (kind::ACL_RECEIVED, [_, _, _, _, payload @ ..]) => {
                self.acl_received_bytes += payload.len() as u64
            }
            (kind::COMMAND, [low, high, _, parameters @ ..]) => {
                self.command(u16::from_le_bytes([*low, *high]), parameters);
            }
            _ => {}
        }
    }

    fn command(&mut self, opcode: u16, parameters: &[u8]) {
        let payload = match (opcode, parameters) {
            (SET_ADVERT, [length, data @ ..]) => data.get(..usize::from(*length)),
            (SET_EXTENDED_ADVERT, [_, _, _, length, data @ ..]) => data.get(..usize::from(*length)),
            _ => None,
        };
        if let Some(payload) = payload.filter(|payload| !payload.is_empty()) {
            self.adverts.insert(payload.iter().map(|byte| format!("{byte:02x}")).collect());
        }
    }
}

fn be32(bytes: &[u8], at: usize) -> Result<u32> {
    let Some(four) = bytes.get(at..at + 4) else { bail!("it ends after {} bytes", bytes.len()) };
    Ok(u32::from_be_bytes(four.try_into().expect("the slice has four bytes")))
}

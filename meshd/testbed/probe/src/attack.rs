//! A hostile GATT client: a stranger without a key does to a service's characteristics what it likes, one way
//! after the other. Says in JSON how much of each it got done, so that a scenario can tell an attack that was
//! withstood from one that never happened.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bluer::gatt::WriteOp;
use bluer::gatt::remote::{Characteristic, CharacteristicWriteRequest};
use bluer::{Adapter, AdapterEvent, Address, Device, DiscoveryFilter, DiscoveryTransport, Uuid};
use futures_util::StreamExt as _;
use serde_json::json;
use tokio::time::timeout;

/// Longest way to a connection with known services; the victim may refuse or be busy.
const REACH_MAX: Duration = Duration::from_secs(20);
/// Longest single step of an attack: what is refused may be answered with silence.
const STEP_MAX: Duration = Duration::from_secs(3);
/// How long a flood goes on, and how long a held connection is held at most.
const FLOOD: Duration = Duration::from_secs(3);
const HOLD: Duration = Duration::from_secs(40);
/// A listener that is left without an advertisement hears the next one when it begins anew.
const SCAN: Duration = Duration::from_secs(2);

/// Visits for one way of attack, and the time between two.
const TRIES: u32 = 6;
const TRY_APART: Duration = Duration::from_secs(3);

/// What was done, by attack.
#[derive(Default)]
struct Done {
    connections: u32,
    garbage_writes: u32,
    oversize_writes: u32,
    oversize_refused: u32,
    flood_writes: u32,
    flood_ends: u32,
    stalls: u32,
    holds: u32,
    held_s: Vec<u64>,
}

impl Done {
    fn has(&self, way: Way) -> bool {
        match way {
            Way::Garbage => self.garbage_writes > 0,
            Way::Oversize => self.oversize_writes + self.oversize_refused > 0,
            Way::Flood => self.flood_writes > 0,
            Way::Stall => self.stalls > 0,
            Way::Hold => self.holds > 0,
        }
    }
}

#[derive(Clone, Copy)]
enum Way {
    Garbage,
    Oversize,
    Flood,
    Stall,
    Hold,
}

const WAYS: [Way; 5] = [Way::Garbage, Way::Oversize, Way::Flood, Way::Stall, Way::Hold];

/// Attacks a neighbour in every way once, for that long at most.
pub async fn run(adapter: &str, victim: Address, service: Uuid, time: Duration) -> Result<()> {
    let session = bluer::Session::new().await?;
    let adapter = session.adapter(adapter)?;
    adapter.set_powered(true).await?;
    let (mut done, ends) = (Done::default(), Instant::now() + time);
    for way in WAYS {
        // A visit may come to nothing: the victim is busy, or has had enough of us.
        for _ in 0..TRIES {
            let left = ends.saturating_duration_since(Instant::now());
            match timeout(left, visit(&adapter, victim, service, way, &mut done)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => eprintln!("{error:#}"),
                Err(_) => eprintln!("out of time"),
            }
            // The next attack comes on a connection of its own.
            let _ = timeout(REACH_MAX, adapter.device(victim)?.disconnect()).await;
            if done.has(way) {
                break;
            }
            tokio::time::sleep(TRY_APART.min(left)).await;
        }
    }
    println!(
        "{}",
        json!({
            "connections": done.connections,
            "garbage_writes": done.garbage_writes,
            "oversize_writes": done.oversize_writes,
            "oversize_refused": done.oversize_refused,
            "flood_writes": done.flood_writes,
            "flood_ends": done.flood_ends,
            "stalls": done.stalls,
            "holds": done.holds,
            "held_s": done.held_s,
        })
    );
    Ok(())
}

async fn visit(adapter: &Adapter, victim: Address, service: Uuid, way: Way, done: &mut Done) -> Result<()> {
    let device = timeout(REACH_MAX, hear(adapter, victim)).await.context("not heard")??;
    timeout(REACH_MAX, device.connect()).await.context("not connected")??;
    done.connections += 1;
    let lanes = timeout(REACH_MAX, lanes(&device, service)).await.context("no services")??;
    for lane in &lanes {
        // What is refused is counted where that matters; the attack goes on.
        match way {
            Way::Garbage => garbage(lane, done).await,
            Way::Oversize => oversize(lane, done).await,
            Way::Flood => flood(lane, done).await,
            Way::Stall => stall(lane, done).await,
            Way::Hold => {
                if matches!(timeout(STEP_MAX, lane.read()).await, Ok(Ok(_))) {
                    done.holds += 1;
                }
            }
        }
    }
    if matches!(way, Way::Stall | Way::Hold) {
        let since = Instant::now();
        while since.elapsed() < HOLD && device.is_connected().await.unwrap_or(false) {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        done.held_s.push(since.elapsed().as_secs());
    }
    Ok(())
}

async fn hear(adapter: &Adapter, victim: Address) -> Result<Device> {
    let filter =
        DiscoveryFilter { transport: DiscoveryTransport::Le, duplicate_data: false, ..Default::default() };
    adapter.set_discovery_filter(filter).await?;
    loop {
        // A connection waits for the end of a discovery, so that ends first.
        if let Ok(heard) = timeout(SCAN, heard(adapter, victim)).await {
            heard?;
            return Ok(adapter.device(victim)?);
        }
    }
}

async fn heard(adapter: &Adapter, victim: Address) -> Result<()> {
    let mut events = std::pin::pin!(adapter.discover_devices_with_changes().await?);
    loop {
        let Some(event) = events.next().await else { bail!("discovery ended") };
        if matches!(event, AdapterEvent::DeviceAdded(address) if address == victim)
            && adapter.device(victim)?.rssi().await?.is_some()
        {
            return Ok(());
        }
    }
}

async fn lanes(device: &Device, service: Uuid) -> Result<Vec<Characteristic>> {
    let mut lanes = Vec::new();
    for found in device.services().await? {
        // A lane's service is called as the first one, but for one byte.
        if (found.uuid().await?.as_u128() ^ service.as_u128()) & !(0xff << 8) == 0 {
            lanes.extend(found.characteristics().await?);
        }
    }
    if lanes.is_empty() {
        bail!("it has no such service");
    }
    Ok(lanes)
}

/// Values that mean nothing, by a client that never asked for a lane.
async fn garbage(lane: &Characteristic, done: &mut Done) {
    let command = CharacteristicWriteRequest { op_type: WriteOp::Command, ..Default::default() };
    for n in 0..50_u8 {
        let value: Vec<u8> = (0..=n).map(|byte| byte.wrapping_mul(37).wrapping_add(n)).collect();
        if let Ok(Ok(())) = timeout(STEP_MAX, lane.write_ext(&value, &command)).await {
            done.garbage_writes += 1;
        }
    }
}

/// Values over every limit, in one piece and in pieces, at the start and at an offset.
async fn oversize(lane: &Characteristic, done: &mut Done) {
    for (op_type, offset, bytes) in [
        (WriteOp::Request, 0, 600),
        (WriteOp::Reliable, 0, 600),
        (WriteOp::Request, 7, 64),
        (WriteOp::Reliable, 500, 512),
    ] {
        let request = CharacteristicWriteRequest { op_type, offset, ..Default::default() };
        match timeout(STEP_MAX, lane.write_ext(&vec![7; bytes], &request)).await {
            Ok(Ok(())) => done.oversize_writes += 1,
            Ok(Err(_)) | Err(_) => done.oversize_refused += 1,
        }
    }
}

/// Takes the lane as a neighbour would, and writes without ever waiting for credit.
async fn flood(lane: &Characteristic, done: &mut Done) {
    let _ = timeout(STEP_MAX, lane.read()).await;
    let Ok(Ok(reader)) = timeout(STEP_MAX, lane.notify_io()).await else { return };
    let Ok(Ok(writer)) = timeout(STEP_MAX, lane.write_io()).await else { return };
    let value = vec![0; writer.mtu().saturating_sub(3)];
    let since = Instant::now();
    while since.elapsed() < FLOOD {
        match timeout(STEP_MAX, writer.send(&value)).await {
            Ok(Ok(())) => done.flood_writes += 1,
            Ok(Err(_)) | Err(_) => {
                done.flood_ends += 1;
                return;
            }
        }
    }
    drop(reader);
}

/// Takes the lane and says nothing.
async fn stall(lane: &Characteristic, done: &mut Done) {
    let _ = timeout(STEP_MAX, lane.read()).await;
    if let Ok(Ok(reader)) = timeout(STEP_MAX, lane.notify_io()).await {
        done.stalls += 1;
        // It stays subscribed until it is sent away.
        tokio::spawn(async move { while reader.recv().await.is_ok_and(|value| !value.is_empty()) {} });
    }
}

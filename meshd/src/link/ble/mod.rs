//! Links over Bluetooth LE: neighbours in radio range find each other and meet, without configuration.
//!
//! ```text
//!  holdings ─▶ beacon ─▶ advertise ─┐              ┌─ lanes ◀─ callers
//!                                   ├─ adapter ────┤
//!  candidates ◀─ scan ◀─────────────┘              └─ dial ─▶ lanes of others
//!                                        links: chunk + slots
//! ```
//!
//! What decides is in pure modules with time as an argument, and so is what all adapters have in common: [`air`], [`seek`],
//! [`carry`]. What touches a system's Bluetooth is in `bluez`, on Linux, and in `central`, elsewhere: that one dials and
//! can't be dialled. The feature `btleplug` builds `central` on Linux, in the place of `bluez`. What is on the air, and
//! why, is in docs/ble.md. Nothing here is ever fatal: without a radio the status says what is missing and what helps,
//! and it is tried again by itself.

// What only callers need is not used where nobody can call.
#![cfg_attr(
    any(not(target_os = "linux"), feature = "btleplug"),
    allow(dead_code, reason = "shared with adapters that can be dialled")
)]

#[cfg(all(target_os = "linux", not(feature = "btleplug")))]
mod bluez;
#[cfg(any(not(target_os = "linux"), feature = "btleplug"))]
#[warn(dead_code)]
mod central;

mod air;
mod beacon;
mod candidates;
mod carry;
mod chunk;
mod duty;
mod held;
mod holdings;
mod lane_book;
mod limits;
mod names;
mod offer;
mod pace;
mod seek;
mod slots;

use std::time::Duration;

use meshlink_core::{LinkKind, TransportState, TransportStatus};

use crate::driver::{Driver, LinkPort};
use crate::stop::Stopping;
pub use duty::Profile;
pub use limits::SlotLimits;

/// Whether neighbours can dial this node, or it only dials them.
pub const CAN_BE_DIALLED: bool = cfg!(all(target_os = "linux", not(feature = "btleplug")));

/// How the transport as a whole is called in the status; an adapter is called by its name.
const NAME: &str = "bluetooth";
/// For links to say good-bye when the daemon stops.
const GOODBYE: Duration = Duration::from_millis(400);

/// What a user says about Bluetooth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BleSettings {
    /// Whether it is used at all.
    pub enabled: bool,
    /// Adapters to use, such as `hci0`; none: the first there is.
    pub adapters: Vec<String>,
    /// How much power finding neighbours may cost.
    pub profile: Profile,
    /// Whether links go over L2CAP where both sides can, in place of GATT.
    pub l2cap: bool,
    /// How many links an adapter has at most.
    pub slots: SlotLimits,
}

impl Default for BleSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            adapters: Vec::new(),
            profile: Profile::default(),
            l2cap: true,
            slots: SlotLimits::default(),
        }
    }
}

/// Meets neighbours over Bluetooth until the daemon stops.
pub async fn run(settings: BleSettings, driver: Driver, stopping: Stopping) {
    if !settings.enabled {
        report(
            &driver.links(),
            NAME,
            TransportState::Off,
            "switched off by --no-ble or the configuration",
            None,
        );
        return;
    }
    #[cfg(all(target_os = "linux", not(feature = "btleplug")))]
    bluez::run(settings, driver, stopping).await;
    #[cfg(any(not(target_os = "linux"), feature = "btleplug"))]
    central::run(settings, driver, stopping).await;
}

fn report(port: &LinkPort, name: &str, state: TransportState, detail: &str, hint: Option<&str>) {
    port.report(TransportStatus {
        kind: LinkKind::Ble,
        name: name.to_owned(),
        state,
        detail: detail.to_owned(),
        hint: hint.map(str::to_owned),
    });
}

/// The name of an adapter: `hci` and a number.
///
/// # Errors
/// In words.
pub fn adapter_name(text: &str) -> Result<String, String> {
    match text.strip_prefix("hci").map(str::parse::<u16>) {
        Some(Ok(_)) => Ok(text.to_owned()),
        Some(Err(_)) | None => Err("not the name of a Bluetooth adapter, such as hci0 (see `bluetoothctl list`, `ls /sys/class/bluetooth`)".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adapters_are_named_as_the_kernel_does() {
        for good in ["hci0", "hci12"] {
            assert_eq!(adapter_name(good).as_deref(), Ok(good));
        }
        for bad in ["", "hci", "hci-1", "eth0", "hci0/x", "0", "HCI0"] {
            assert!(adapter_name(bad).is_err(), "{bad}");
        }
    }
}

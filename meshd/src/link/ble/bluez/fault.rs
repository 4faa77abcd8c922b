//! What can be wrong with Bluetooth on this machine, in words, with what helps.

use bluer::{ErrorKind, InternalErrorKind};

/// Why there is no Bluetooth now. See docs/ble.md, "Faults".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("no system message bus (D-Bus)")]
    NoBus,
    #[error("no Bluetooth service (BlueZ) is running")]
    NoBluez,
    #[error("the Bluetooth service does not answer")]
    Hung,
    #[error("no Bluetooth adapter")]
    NoAdapter,
    #[error("the adapter is not there")]
    Absent,
    #[error("the adapter is blocked")]
    Blocked,
    #[error("the adapter is switched off")]
    SwitchedOff,
    #[error("the system lets this user not use Bluetooth")]
    Forbidden,
    #[error("the Bluetooth service refuses the advertisement: {0}")]
    NoAdvertisement(String),
    #[error("the Bluetooth service refuses the GATT services: {0}")]
    NoServices(String),
    #[error("the adapter is busy")]
    Busy,
    #[error("the Bluetooth service does not listen, it says that it does so already")]
    Deaf,
    #[error("the Bluetooth service was started anew")]
    Restarted,
    #[error("the daemon stops")]
    Stopping,
    #[error("{0}")]
    Other(String),
}

impl Fault {
    /// What a user can do.
    pub(super) fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoBus => "start dbus, or run with --no-ble",
            Self::NoBluez => {
                "install bluez and start it: systemctl enable --now bluetooth; or run with --no-ble"
            }
            Self::Hung | Self::Deaf => "restart it: systemctl restart bluetooth",
            Self::NoAdapter => "plug one in; `rfkill list` shows whether one is blocked",
            Self::Absent => "plug it in, or name another one with --adapter (ls /sys/class/bluetooth)",
            Self::Blocked => "unblock it: rfkill unblock bluetooth",
            Self::SwitchedOff => "switch it on: bluetoothctl power on",
            Self::Forbidden => "run meshd as root, or as a user of the group bluetooth",
            Self::NoAdvertisement(_) => {
                "another program may use up the adapter's advertisements: stop it, or restart the service: systemctl restart bluetooth"
            }
            Self::NoServices(_) => "another program may hold the handles of the node's services: stop it",
            Self::Busy | Self::Restarted | Self::Stopping | Self::Other(_) => {
                return None;
            }
        })
    }

    /// Whether BlueZ or the bus tells when it is over, so that nobody has to try again and again.
    pub(super) fn is_told_to_end(&self) -> bool {
        matches!(self, Self::NoBluez | Self::NoAdapter | Self::Absent | Self::SwitchedOff)
    }

    /// What a failed call says about the machine.
    #[expect(clippy::wildcard_enum_match_arm, reason = "bluer's kinds are many and may grow")]
    pub(super) fn of(error: &bluer::Error) -> Self {
        match &error.kind {
            ErrorKind::NotFound | ErrorKind::DoesNotExist => Self::Absent,
            ErrorKind::InProgress | ErrorKind::NotReady => Self::Busy,
            ErrorKind::Internal(InternalErrorKind::DBus(name)) => Self::of_bus(name, &error.message),
            _ => Self::Other(error.to_string()),
        }
    }

    /// What an error's name on the bus says about the machine.
    pub(super) fn of_bus(name: &str, message: &str) -> Self {
        match name.strip_prefix("org.freedesktop.DBus.Error.").unwrap_or(name) {
            "FileNotFound" | "NoServer" | "Disconnected" => Self::NoBus,
            "ServiceUnknown" | "NameHasNoOwner" => Self::NoBluez,
            spawn if spawn.starts_with("Spawn.") => Self::NoBluez,
            "NoReply" | "Timeout" | "TimedOut" => Self::Hung,
            "AccessDenied" => Self::Forbidden,
            "UnknownMethod" | "UnknownInterface" | "UnknownObject" => Self::Absent,
            "org.bluez.Error.Blocked" => Self::Blocked,
            "org.bluez.Error.InProgress" | "org.bluez.Error.NotReady" => Self::Busy,
            _ => Self::Other(format!("{name}: {message}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bus(name: &str) -> Fault {
        let kind = ErrorKind::Internal(InternalErrorKind::DBus(name.to_owned()));
        Fault::of(&bluer::Error { kind, message: String::new() })
    }

    #[test]
    fn every_state_the_test_bed_showed_is_told_apart() {
        assert_eq!(bus("org.freedesktop.DBus.Error.FileNotFound"), Fault::NoBus);
        assert_eq!(bus("org.freedesktop.DBus.Error.ServiceUnknown"), Fault::NoBluez);
        assert_eq!(bus("org.freedesktop.DBus.Error.Spawn.ChildExited"), Fault::NoBluez);
        assert_eq!(bus("org.freedesktop.DBus.Error.NoReply"), Fault::Hung);
        assert_eq!(bus("org.bluez.Error.Blocked"), Fault::Blocked);
        assert!(matches!(bus("org.example.New"), Fault::Other(_)));
    }

    #[test]
    fn whatever_a_user_can_change_has_a_hint() {
        for fault in
            [Fault::NoBus, Fault::NoBluez, Fault::Hung, Fault::NoAdapter, Fault::Absent, Fault::Blocked]
        {
            assert!(fault.hint().is_some(), "{fault}");
        }
    }
}

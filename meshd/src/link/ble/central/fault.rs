//! What can be wrong with Bluetooth on this machine, as far as btleplug tells, with what helps.

use std::time::Duration;

use btleplug::Error;
use tokio::time::timeout;

/// Systems answer in milliseconds, busy ones in seconds; after this they hang.
pub(super) const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

/// Why there is no Bluetooth now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("no Bluetooth adapter")]
    NoAdapter,
    #[error("there is no adapter of that name")]
    Absent,
    #[error("Bluetooth is switched off")]
    Off,
    #[error("the system lets this program not use Bluetooth")]
    Forbidden,
    #[error("the system's Bluetooth does not answer")]
    Hung,
    #[error("the adapter is gone")]
    Gone,
    /// In the system's words.
    #[error("{0}")]
    Other(String),
}

impl Fault {
    /// What a user can do.
    pub(super) fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoAdapter | Self::Gone => "plug one in, or run with --no-ble",
            Self::Absent => "leave --adapter out: then the first there is is taken",
            Self::Off if cfg!(target_os = "macos") => "switch it on: Control Centre, Bluetooth",
            Self::Off if cfg!(windows) => "switch it on: Settings, Bluetooth & devices",
            Self::Off => "switch it on: rfkill unblock bluetooth; bluetoothctl power on",
            Self::Forbidden if cfg!(target_os = "macos") => {
                "allow it: System Settings, Privacy & Security, Bluetooth; add meshd or the terminal it runs in"
            }
            Self::Forbidden if cfg!(windows) => "allow it: Settings, Privacy & security, Radios",
            Self::Forbidden => "run meshd as root, or as a user of the group bluetooth",
            Self::Hung | Self::Other(_) if cfg!(target_os = "linux") => {
                "see `systemctl status bluetooth`; or run with --no-ble"
            }
            Self::Hung | Self::Other(_) => "switch Bluetooth off and on; or run with --no-ble",
        })
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "btleplug's errors are many and may grow")]
impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::PermissionDenied => Self::Forbidden,
            Error::NoAdapterAvailable => Self::NoAdapter,
            Error::TimedOut(_) => Self::Hung,
            other => Self::Other(other.to_string()),
        }
    }
}

/// Asks the system something.
pub(super) async fn ask<T>(call: impl Future<Output = btleplug::Result<T>>) -> Result<T, Fault> {
    Ok(timeout(ANSWER_TIME_MAX, call).await.map_err(|_| Fault::Hung)??)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_that_btleplug_tells_apart_is_told_with_what_helps() {
        assert_eq!(Fault::from(Error::PermissionDenied), Fault::Forbidden);
        assert_eq!(Fault::from(Error::NoAdapterAvailable), Fault::NoAdapter);
        assert_eq!(Fault::from(Error::TimedOut(ANSWER_TIME_MAX)), Fault::Hung);
        assert_eq!(Fault::from(Error::RuntimeError("x".into())), Fault::Other("Runtime Error: x".into()));
        for fault in [
            Fault::NoAdapter,
            Fault::Absent,
            Fault::Off,
            Fault::Forbidden,
            Fault::Hung,
            Fault::Gone,
            Fault::Other(String::new()),
        ] {
            assert!(fault.hint().is_some(), "{fault:?}");
        }
    }
}

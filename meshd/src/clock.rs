//! The clocks of a real machine, as the core wants them.
//!
//! - **Monotonic** time counts suspend as well (`CLOCK_BOOTTIME`): a laptop that slept a night carries bundles
//!   that are a night older.
//! - **Wall** time is handed on only when there is reason to believe it. A board without a battery clock (most
//!   Raspberry Pis) starts with the time of its last shutdown and looks perfectly sane; a message dated with it
//!   would lie. What counts as a reason is in [`Evidence`]. The kernel knows more (`adjtimex`), but that call
//!   has no safe form; `clock = "trust"` in the configuration is the way out where the evidence is not seen.
//!
//! Nothing expires by wall time, so a wrong verdict costs a date, never a message (see `meshlink_core::clock`).

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use meshlink_core::clock::Now;
use serde::Deserialize;

/// No clock that is right shows less: 2026-01-01T00:00:00Z, before this version was written.
const NOT_BEFORE_UNIX_MS: u64 = 1_767_225_600_000;
/// Between two looks at the evidence while there is none, in milliseconds.
const LOOK_AGAIN_MS: u64 = 10_000;
/// A wall clock that moved this far against the monotonic one was set by somebody, in milliseconds.
const SET_MS_MIN: u64 = 2_000;

/// Whether to believe the machine's wall clock.
#[derive(Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClockPolicy {
    /// When there is [`Evidence`].
    #[default]
    Auto,
    /// Always.
    Trust,
    /// Never: messages carry no date.
    Distrust,
}

impl std::str::FromStr for ClockPolicy {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "trust" => Ok(Self::Trust),
            "distrust" => Ok(Self::Distrust),
            _ => Err("write auto, trust or distrust"),
        }
    }
}

impl std::fmt::Debug for ClockPolicy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Trust => "trust",
            Self::Distrust => "distrust",
        })
    }
}

/// Why the wall clock may be believed. One reason is enough, if the time is not plainly wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Evidence {
    /// The machine has a clock that runs while it is off.
    pub battery_clock: bool,
    /// systemd-timesyncd says that it reached a time server.
    pub synchronized: bool,
    /// The wall clock was set while this process watched.
    pub was_set: bool,
}

impl Evidence {
    fn gather(was_set: bool) -> Self {
        Self {
            battery_clock: has_battery_clock(),
            synchronized: Path::new("/run/systemd/timesync/synchronized").exists(),
            was_set,
        }
    }

    fn convinces(self, unix_ms: u64) -> bool {
        unix_ms >= NOT_BEFORE_UNIX_MS && (self.battery_clock || self.synchronized || self.was_set)
    }
}

/// The clocks of this process. Cheap to clone; all clones agree.
#[derive(Debug, Clone)]
pub struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    policy: ClockPolicy,
    /// Wall minus monotonic time at the start, in milliseconds.
    offset_ms: i64,
    /// Whether the evidence sufficed at the last look.
    convinced: AtomicBool,
    /// Monotonic time of the next look.
    look_ms: AtomicU64,
}

impl Clock {
    /// Starts to watch the clocks.
    pub fn new(policy: ClockPolicy) -> Self {
        let offset_ms = offset(wall_ms(), mono_ms());
        Self(Arc::new(Inner {
            policy,
            offset_ms,
            convinced: AtomicBool::new(false),
            look_ms: AtomicU64::new(0),
        }))
    }

    /// This moment.
    pub fn now(&self) -> Now {
        let (mono_ms, unix_ms) = (mono_ms(), wall_ms());
        let trusted = match self.0.policy {
            ClockPolicy::Trust => true,
            ClockPolicy::Distrust => false,
            ClockPolicy::Auto => self.convinced(mono_ms, unix_ms),
        };
        Now { mono_ms, unix_ms: trusted.then_some(unix_ms) }
    }

    /// Looks at the evidence now and then, until it convinces.
    fn convinced(&self, mono_ms: u64, unix_ms: u64) -> bool {
        let inner = &*self.0;
        if inner.convinced.load(Ordering::Relaxed) {
            return unix_ms >= NOT_BEFORE_UNIX_MS;
        }
        let now_offset_ms = offset(unix_ms, mono_ms);
        let moved = now_offset_ms.abs_diff(inner.offset_ms) >= SET_MS_MIN;
        if !moved && mono_ms < inner.look_ms.load(Ordering::Relaxed) {
            return false;
        }
        inner.look_ms.store(mono_ms + LOOK_AGAIN_MS, Ordering::Relaxed);
        let convinced = Evidence::gather(moved).convinces(unix_ms);
        inner.convinced.store(convinced, Ordering::Relaxed);
        convinced
    }
}

/// Every PC has one, and every hypervisor gives its PC guests the host's. On boards, a real-time clock that
/// shows a time this program could have been built at.
fn has_battery_clock() -> bool {
    if cfg!(not(target_os = "linux")) || cfg!(any(target_arch = "x86", target_arch = "x86_64")) {
        return true;
    }
    let Ok(text) = std::fs::read_to_string("/sys/class/rtc/rtc0/since_epoch") else { return false };
    text.trim().parse::<u64>().is_ok_and(|unix_s| unix_s.saturating_mul(1000) >= NOT_BEFORE_UNIX_MS)
}

fn offset(unix_ms: u64, mono_ms: u64) -> i64 {
    i64::try_from(unix_ms).unwrap_or(i64::MAX) - i64::try_from(mono_ms).unwrap_or(i64::MAX)
}

fn wall_ms() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(target_os = "linux")]
fn mono_ms() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let (s, ns) = (u64::try_from(time.tv_sec).unwrap_or(0), u64::try_from(time.tv_nsec).unwrap_or(0));
    s * 1000 + ns / 1_000_000
}

#[cfg(not(target_os = "linux"))]
fn mono_ms() -> u64 {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    let elapsed = START.get_or_init(std::time::Instant::now).elapsed();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SANE: u64 = NOT_BEFORE_UNIX_MS + 1;

    #[test]
    fn r07_a_plausible_time_alone_is_not_believed() {
        assert!(!Evidence::default().convinces(SANE));
        for reason in [
            Evidence { battery_clock: true, ..Evidence::default() },
            Evidence { synchronized: true, ..Evidence::default() },
            Evidence { was_set: true, ..Evidence::default() },
        ] {
            assert!(reason.convinces(SANE), "{reason:?}");
            assert!(!reason.convinces(NOT_BEFORE_UNIX_MS - 1), "an empty battery: {reason:?}");
        }
    }

    #[test]
    fn the_policy_overrules_the_evidence() {
        assert!(Clock::new(ClockPolicy::Trust).now().unix_ms.is_some());
        assert_eq!(Clock::new(ClockPolicy::Distrust).now().unix_ms, None);
    }

    #[test]
    fn r06_monotonic_time_never_steps_back() {
        let clock = Clock::new(ClockPolicy::Auto);
        let mut last = clock.now().mono_ms;
        for _ in 0..1000 {
            let now = clock.now().mono_ms;
            assert!(now >= last);
            last = now;
        }
    }
}

//! The duty cycle: how much of the time the radio advertises and listens.
//!
//! Three profiles trade power for the time it takes to find a neighbour (docs/ble.md, "Duty cycle"). A
//! neighbourhood where nothing new appears is listened to less, up to half as often; whatever is new brings the
//! full rate back. Every beginning and every end of a scan costs a word from BlueZ for each neighbour, so where nothing
//! has changed for a while a scan lasts as long as BlueZ lets it.

use std::time::Duration;

/// Without anything new for this long, the pauses get longer.
const CALM_AFTER: Duration = Duration::from_secs(600);
/// Without anything new for this long, scans get longer where pauses are short.
const QUIET_AFTER: Duration = Duration::from_secs(30);
/// The kernel ends a scan by itself after 10.24 s (`DISCOV_LE_TIMEOUT`), and bluetoothd begins the next one 5 s later; to stop it in between
/// is refused. So this is a second less.
const SCAN_MAX: Duration = Duration::from_secs(9);

/// How much power finding neighbours may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// A machine that is plugged in.
    #[default]
    Mains,
    /// A battery that is charged daily.
    Balanced,
    /// A battery that has to last for days.
    Saver,
}

impl Profile {
    /// Between two advertisements.
    pub(crate) fn advertise_every(self) -> Duration {
        Duration::from_millis(match self {
            Self::Mains => 100,
            Self::Balanced => 250,
            Self::Saver => 1000,
        })
    }

    fn scan(self) -> Duration {
        Duration::from_millis(match self {
            Self::Mains => 4000,
            Self::Balanced => 1500,
            Self::Saver => 3000,
        })
    }

    fn pause(self) -> Duration {
        Duration::from_millis(match self {
            Self::Mains => 1000,
            Self::Balanced => 8500,
            Self::Saver => 57_000,
        })
    }
}

impl std::str::FromStr for Profile {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "mains" => Ok(Self::Mains),
            "balanced" => Ok(Self::Balanced),
            "saver" => Ok(Self::Saver),
            _ => Err("write mains, balanced or saver"),
        }
    }
}

/// The schedule of one adapter. Time is counted from any fixed moment.
#[derive(Debug)]
pub(crate) struct Duty {
    profile: Profile,
    newest: Duration,
}

impl Duty {
    pub(crate) fn new(profile: Profile, now: Duration) -> Self {
        Self { profile, newest: now }
    }

    /// A neighbour is new or has changed, or somebody here wrote.
    pub(crate) fn something_new(&mut self, now: Duration) {
        self.newest = now;
    }

    /// How long to listen. A scan ends early when somebody is to be dialled, so a longer one delays nobody.
    pub(crate) fn scan(&self, now: Duration) -> Duration {
        match self.profile {
            Profile::Mains if now.saturating_sub(self.newest) >= QUIET_AFTER => SCAN_MAX,
            Profile::Mains | Profile::Balanced | Profile::Saver => self.profile.scan(),
        }
    }

    /// How long to rest after listening: once to twice the profile's pause.
    pub(crate) fn pause(&self, now: Duration) -> Duration {
        let calm = now.saturating_sub(self.newest).saturating_sub(CALM_AFTER);
        let stretch = 1.0 + (calm.as_secs_f64() / CALM_AFTER.as_secs_f64()).min(1.0);
        self.profile.pause().mul_f64(stretch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Profile; 3] = [Profile::Mains, Profile::Balanced, Profile::Saver];

    #[test]
    fn a_scan_hears_the_slowest_advertiser_of_the_same_profile_twice() {
        for profile in ALL {
            assert!(profile.scan() >= 2 * profile.advertise_every(), "{profile:?}");
        }
        assert!(Profile::Mains.scan() >= 2 * Profile::Saver.advertise_every());
    }

    #[test]
    fn profiles_that_save_more_listen_less() {
        let share = |p: Profile| p.scan().as_secs_f64() / (p.scan() + p.pause()).as_secs_f64();
        assert!(share(Profile::Mains) > share(Profile::Balanced));
        assert!(share(Profile::Balanced) > share(Profile::Saver));
    }

    #[test]
    fn calm_stretches_the_pause_to_twice_and_news_ends_that() {
        for profile in ALL {
            let start = Duration::from_secs(5);
            let mut duty = Duty::new(profile, start);
            let pause = profile.pause();
            assert_eq!(duty.pause(start), pause);
            assert_eq!(duty.pause(start + CALM_AFTER), pause);
            assert_eq!(duty.pause(start + 2 * CALM_AFTER), 2 * pause);
            assert_eq!(duty.pause(start + 90 * CALM_AFTER), 2 * pause);
            duty.something_new(start + 90 * CALM_AFTER);
            assert_eq!(duty.pause(start + 90 * CALM_AFTER), pause);
        }
    }

    #[test]
    fn a_quiet_neighbourhood_is_scanned_in_longer_pieces_and_never_less_of_the_time() {
        let start = Duration::from_secs(5);
        let mut duty = Duty::new(Profile::Mains, start);
        assert_eq!(duty.scan(start), Profile::Mains.scan());
        let quiet = start + QUIET_AFTER;
        assert_eq!((duty.scan(quiet), duty.pause(quiet)), (SCAN_MAX, Profile::Mains.pause()));
        duty.something_new(quiet);
        assert_eq!(duty.scan(quiet), Profile::Mains.scan());
        for profile in [Profile::Balanced, Profile::Saver] {
            let duty = Duty::new(profile, start);
            assert_eq!(duty.scan(start + 90 * CALM_AFTER), profile.scan(), "{profile:?} saves power");
        }
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for (name, profile) in [("mains", ALL[0]), ("balanced", ALL[1]), ("saver", ALL[2])] {
            assert_eq!(name.parse(), Ok(profile));
        }
        assert!("turbo".parse::<Profile>().is_err());
    }
}

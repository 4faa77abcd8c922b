//! Times for people.
//!
//! A list says how long ago something was; beyond a month the date says more, also about times that lie in
//! the future because an author's clock is wrong. Times come as RFC 3339 and are shown in the local zone.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Where a time is so near that its distance says more than its date, in seconds: a month.
const NEAR_S: i64 = 2_592_000;

/// How long ago `at` was, or its date and time.
pub(crate) fn ago(at: &str, now: Timestamp) -> String {
    distance(at, now).unwrap_or_else(|| in_zone(at, "%Y-%m-%d %H:%M"))
}

/// Date and time to the second, in the local zone, and how far from now that is.
pub(crate) fn exact_and_distance(at: &str, now: Timestamp) -> String {
    match distance(at, now) {
        Some(distance) => format!("{} ({distance})", exact(at)),
        None => exact(at),
    }
}

fn distance(at: &str, now: Timestamp) -> Option<String> {
    let then = at.parse::<Timestamp>().ok()?;
    match now.as_second() - then.as_second() {
        0..5 => Some("just now".into()),
        past @ 5..NEAR_S => Some(format!("{} ago", span(past.unsigned_abs(), 1))),
        future if (-NEAR_S..0).contains(&future) => Some(format!("in {}", span(future.unsigned_abs(), 2))),
        _ => None,
    }
}

/// Date and time to the second, in the local zone.
pub(crate) fn exact(at: &str) -> String {
    in_zone(at, "%Y-%m-%d %H:%M:%S %:z")
}

/// The time of day if `at` is of today, else the date and time.
pub(crate) fn clock(at: &str, now: Timestamp) -> String {
    let Ok(then) = at.parse::<Timestamp>() else { return at.to_owned() };
    let zone = TimeZone::system();
    let same_day = then.to_zoned(zone.clone()).date() == now.to_zoned(zone).date();
    in_zone(at, if same_day { "%H:%M:%S" } else { "%Y-%m-%d %H:%M" })
}

fn in_zone(at: &str, format: &str) -> String {
    match at.parse::<Timestamp>() {
        Ok(then) => then.to_zoned(TimeZone::system()).strftime(format).to_string(),
        Err(_) => at.to_owned(),
    }
}

/// A length of time in its `parts` largest units.
pub(crate) fn span(seconds: u64, parts: usize) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let first = units.iter().position(|(size, _)| seconds >= *size).unwrap_or(units.len() - 1);
    let mut rest = seconds;
    let mut words = Vec::new();
    for (size, unit) in units.into_iter().skip(first).take(parts) {
        if rest >= size || words.is_empty() {
            words.push(format!("{} {unit}", rest / size));
        }
        rest %= size;
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-23T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn ages_are_in_human_words() {
        assert_eq!(ago("2026-11-23T11:59:58.500Z", now()), "just now");
        assert_eq!(ago("2026-11-23T11:59:30Z", now()), "30 s ago");
        assert_eq!(ago("2026-11-23T11:03:00Z", now()), "57 min ago");
        assert_eq!(ago("2026-11-23T09:59:00Z", now()), "2 h ago");
        assert_eq!(ago("2026-11-16T09:00:00Z", now()), "7 d ago");
        assert_eq!(ago("2026-11-30T13:00:00Z", now()), "in 7 d 1 h");
        assert!(exact_and_distance("2026-11-23T11:59:30Z", now()).ends_with(" (30 s ago)"));
        assert!(!exact_and_distance("2020-11-23T11:59:30Z", now()).contains('('));
    }

    #[test]
    fn far_future_and_odd_times_are_shown_as_they_are() {
        assert!(ago("2020-01-02T12:00:00Z", now()).starts_with("2020-01-02 "));
        assert!(ago("2027-01-02T12:00:00Z", now()).starts_with("2027-01-02 "));
        assert_eq!(ago("yesterday", now()), "yesterday");
        assert_eq!(exact("yesterday"), "yesterday");
    }

    #[test]
    fn spans_name_their_largest_units() {
        assert_eq!(span(0, 2), "0 s");
        assert_eq!(span(59, 2), "59 s");
        assert_eq!(span(3_600, 2), "1 h");
        assert_eq!(span(3_661, 2), "1 h 1 min");
        assert_eq!(span(90_000, 1), "1 d");
    }
}

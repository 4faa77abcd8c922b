//! Counts and lengths of time, as they are typed.

use std::time::Duration;

use crate::limits::TTL_S;

pub(super) fn parse_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("at least 1".into()),
        Ok(count) => Ok(count),
        Err(_) => Err("a whole number, such as 50".into()),
    }
}

/// Reads `90`, `90s`, `5m`, `2h`, `7d` or `500ms`; a bare number counts seconds.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err("a number and s, m, h or d, such as 90s or 7d".into()),
    };
    let ms = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit_ms));
    match ms {
        Some(0) => Err("more than no time at all".into()),
        Some(ms) if ms <= 365 * 86_400_000 => Ok(Duration::from_millis(ms)),
        Some(_) => Err("at most 365d".into()),
        None => Err("a number and s, m, h or d, such as 90s or 7d".into()),
    }
}

pub(super) fn parse_ttl(text: &str) -> Result<u64, String> {
    let seconds = parse_duration(text)?.as_secs();
    if TTL_S.contains(&seconds) { Ok(seconds) } else { Err("60s to 30d".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_a_unit() {
        assert_eq!(parse_duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(parse_duration("2h"), Ok(Duration::from_secs(7200)));
        assert_eq!(parse_ttl("7d"), Ok(604_800));
        for text in ["", "s", "-5", "1.5h", "5 m", "0", "366d", "99999999999999999999", "7w"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert!(parse_ttl("59s").is_err());
        assert!(parse_ttl("31d").is_err());
    }
}

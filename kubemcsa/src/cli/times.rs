//! Times and durations in messages and tables.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// A duration in its two largest units, as kubectl prints it: `1h`, `23h59m`. Rounded to the minute.
pub(crate) fn human(duration: SignedDuration) -> String {
    // A new token of one hour has slightly less than an hour left.
    let minutes = (duration.as_secs().max(0) + 30) / 60;
    let unit = |count: i64, unit: &str| (count != 0).then(|| format!("{count}{unit}"));
    let units = [unit(minutes / 1440, "d"), unit(minutes / 60 % 24, "h"), unit(minutes % 60, "m")];
    let units: Vec<_> = units.into_iter().flatten().take(2).collect();
    if units.is_empty() { "<1m".into() } else { units.concat() }
}

/// RFC 3339, without fractions of a second.
pub(crate) fn to_the_second(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Parses the duration of a flag, such as 90s.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let example = || "a duration such as 90s or 5m".to_owned();
    let duration: SignedDuration = text.parse().map_err(|_| example())?;
    Duration::try_from(duration).map_err(|_| example())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(3599, "1h")]
    #[case(600, "10m")]
    #[case(5400, "1h30m")]
    #[case(86_400, "1d")]
    #[case(86_400 + 7200 + 120, "1d2h")]
    #[case(-5, "<1m")]
    fn durations_are_printed_as_by_kubectl(#[case] seconds: i64, #[case] expected: &str) {
        assert_eq!(human(SignedDuration::from_secs(seconds)), expected);
    }
}

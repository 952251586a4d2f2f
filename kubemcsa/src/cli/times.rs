//! Times, as people read and write them.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// Rounded down to the two largest units: `1 hour`, `23 hours 59 minutes`.
pub fn in_words(duration: SignedDuration) -> String {
    // A token of an hour has 59 minutes and 59.9 seconds left by the time that it is here.
    let minutes = (duration.as_secs().max(0) + 30) / 60;
    let unit = |count: i64, unit: &str| match count {
        0 => None,
        1 => Some(format!("1 {unit}")),
        count => Some(format!("{count} {unit}s")),
    };
    let units = [unit(minutes / 1440, "day"), unit(minutes / 60 % 24, "hour"), unit(minutes % 60, "minute")];
    let words: Vec<_> = units.into_iter().flatten().take(2).collect();
    if words.is_empty() { "less than a minute".into() } else { words.join(" ") }
}

/// RFC 3339, without fractions.
pub fn to_the_second(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A duration as a flag gives it, such as 90s.
pub fn duration(text: &str) -> Result<Duration, String> {
    let example = || "a duration such as 90s or 5m".to_owned();
    let duration: SignedDuration = text.parse().map_err(|_| example())?;
    Duration::try_from(duration).map_err(|_| example())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(3599, "1 hour")]
    #[case(600, "10 minutes")]
    #[case(5400, "1 hour 30 minutes")]
    #[case(86_400, "1 day")]
    #[case(86_400 + 7200 + 120, "1 day 2 hours")]
    #[case(-5, "less than a minute")]
    fn words(#[case] seconds: i64, #[case] expected: &str) {
        assert_eq!(in_words(SignedDuration::from_secs(seconds)), expected);
    }
}

//! Reads the delay of kube's `Action`.

use std::time::Duration;

use kube::runtime::controller::Action;

/// The delay if an action cannot be parsed. Too early is better than never.
const FALLBACK: Duration = Duration::from_secs(60);

/// The delay of an action.
///
/// kube has no getter for it, so this parses the `Debug` output, which is exact for durations. If another version of
/// kube prints it differently, the test below fails, and the delay is [`FALLBACK`].
pub(super) fn requeue_after(action: &Action) -> Option<Duration> {
    if *action == Action::await_change() {
        return None;
    }
    let text = format!("{action:?}");
    let delay = text.split_once("Some(").and_then(|(_, rest)| rest.split_once(')'));
    Some(delay.and_then(|(delay, _)| duration(delay)).unwrap_or(FALLBACK))
}

fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit() && c != '.')?);
    let nanoseconds: u128 = match unit {
        "s" => 1_000_000_000,
        "ms" => 1_000_000,
        "µs" => 1_000,
        "ns" => 1,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let scale = 10_u128.checked_pow(fraction.len().try_into().ok()?)?;
    let fraction: u128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let total = whole.parse::<u128>().ok()? * nanoseconds + fraction * nanoseconds / scale;
    let seconds = u64::try_from(total / 1_000_000_000).ok()?;
    Some(Duration::new(seconds, u32::try_from(total % 1_000_000_000).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(Duration::ZERO)]
    #[case(Duration::from_nanos(1))]
    #[case(Duration::from_nanos(1_001))]
    #[case(Duration::from_micros(1_500))]
    #[case(Duration::from_millis(800))]
    #[case(Duration::from_secs(300))]
    #[case(Duration::from_secs_f64(1.234_567_891))]
    #[case(Duration::new(86_400, 1))]
    #[case(Duration::MAX)]
    fn the_delay_of_an_action_is_parsed(#[case] delay: Duration) {
        assert_eq!(requeue_after(&Action::requeue(delay)), Some(delay));
    }

    #[test]
    fn await_change_has_no_delay() {
        assert_eq!(requeue_after(&Action::await_change()), None);
    }
}

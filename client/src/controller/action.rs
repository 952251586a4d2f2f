//! Reads the delay of kube's `Action`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kube::runtime::controller::Action;

/// The delay if an action cannot be parsed. Too early is better than never.
const FALLBACK: Duration = Duration::from_secs(60);

/// The delay of an action.
///
/// kube has no getter for it. So this parses the `Debug` output, and compares the action with one of the parsed delay.
/// If a version of kube prints it differently, the delay is [`FALLBACK`], which is logged.
pub(super) fn requeue_after(action: &Action) -> Option<Duration> {
    if *action == Action::await_change() {
        return None;
    }
    Some(delay(action, &format!("{action:?}")).unwrap_or_else(|| {
        static WARNED: AtomicBool = AtomicBool::new(false);
        if !WARNED.swap(true, Ordering::Relaxed) {
            tracing::warn!("cannot read the delay of {action:?}: all delays are {FALLBACK:?}");
        }
        FALLBACK
    }))
}

/// The delay in the `Debug` output of an action, if it is that of the action.
fn delay(action: &Action, text: &str) -> Option<Duration> {
    let (_, rest) = text.split_once("Some(")?;
    let (delay, _) = rest.split_once(')')?;
    duration(delay).filter(|delay| *action == Action::requeue(*delay))
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

    #[rstest]
    #[case("Action { requeue_after: Some(2s) }", Some(2))]
    #[case("Action { jitter: Some(1s), requeue_after: Some(2s) }", None)]
    #[case("Action { requeue_after: Some(2000) }", None)]
    #[case("Action(2s)", None)]
    fn only_a_delay_that_makes_the_same_action_is_used(#[case] text: &str, #[case] seconds: Option<u64>) {
        let action = Action::requeue(Duration::from_secs(2));
        assert_eq!(delay(&action, text), seconds.map(Duration::from_secs));
    }
}

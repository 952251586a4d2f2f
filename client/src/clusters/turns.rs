//! Decides whose credential the next health check of a cluster sends, and when.

use std::time::Duration;

use tokio::time::Instant;

use crate::live::health::Facts;

/// How long a cluster may go without a response to any member before its health is checked.
const MAX_SILENCE: Duration = Duration::from_secs(10);

/// The shortest time between two health checks of a cluster. The first one of a member is not delayed.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

/// What is known about a member.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    /// Whether the cluster has not responded to it yet.
    pub(super) is_untried: bool,
    /// When it is asked again, if its last check concerned only itself, and failed.
    pub(super) retry_at: Option<Instant>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Asks the members at these indexes, at the same time: one whose credential plugin hangs must not delay others.
    Ask(Vec<usize>),
    /// Waits for this time, or until something changes.
    Wait(Option<Instant>),
}

/// The next step, with the members in the order of their turns. `check_due` is when the cluster is checked.
pub(super) fn next(turns: &[Turn], is_unavailable: bool, check_due: Instant, now: Instant) -> Next {
    let may_ask = |turn: &Turn| turn.retry_at.is_none_or(|time| time <= now);
    let has_own_reason = |turn: &Turn| may_ask(turn) && (turn.is_untried || turn.retry_at.is_some());
    // While the cluster is unavailable, all members wait for it.
    let indexes = |filter: &dyn Fn(&Turn) -> bool| {
        turns.iter().enumerate().filter(|(_, turn)| filter(turn)).map(|(index, _)| index).collect::<Vec<_>>()
    };
    let of_members = if is_unavailable { Vec::new() } else { indexes(&has_own_reason) };
    if !of_members.is_empty() {
        return Next::Ask(of_members);
    }
    match turns.iter().position(may_ask).filter(|_| check_due <= now) {
        Some(index) => Next::Ask(vec![index]),
        None => {
            let retries = turns.iter().filter_map(|turn| turn.retry_at);
            Next::Wait(retries.chain([check_due]).filter(|time| *time > now).min())
        }
    }
}

/// When the cluster is checked. `backoff` is used while it is unavailable.
pub(super) fn check_due(facts: &Facts, last_check: Instant, backoff: Duration) -> Instant {
    if facts.unavailable.is_some() {
        return last_check + backoff.max(MIN_INTERVAL);
    }
    let earliest = last_check + MIN_INTERVAL;
    match facts.is_check_due {
        true => earliest,
        false => earliest.max(facts.last_response.unwrap_or(last_check) + MAX_SILENCE),
    }
}

/// The pause after a check that failed.
pub(super) fn next_backoff(backoff: Duration) -> Duration {
    (backoff * 2).clamp(MIN_INTERVAL, MAX_SILENCE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::health::Health;
    use rstest::rstest;

    const TRIED: (bool, Option<u64>) = (false, None);
    const UNTRIED: (bool, Option<u64>) = (true, None);

    /// A member that is asked again after this many seconds. Now is 10.
    const fn failed(retry_at: u64) -> (bool, Option<u64>) {
        (false, Some(retry_at))
    }

    #[rstest]
    #[case::at_rest(&[TRIED, TRIED], false, 20, Ok(20))]
    #[case::after_silence(&[TRIED, TRIED], false, 10, Err(vec![0]))]
    #[case::new_member_at_once(&[TRIED, UNTRIED], false, 20, Err(vec![1]))]
    #[case::new_members_together(&[UNTRIED, TRIED, UNTRIED], false, 20, Err(vec![0, 2]))]
    #[case::new_member_of_an_unavailable_cluster(&[TRIED, UNTRIED], true, 20, Ok(20))]
    #[case::unavailable_cluster_after_the_pause(&[TRIED, UNTRIED], true, 10, Err(vec![0]))]
    #[case::failed_member_after_its_pause(&[TRIED, failed(10)], false, 20, Err(vec![1]))]
    #[case::failed_member_within_its_pause(&[TRIED, failed(11)], false, 20, Ok(11))]
    #[case::failed_member_is_not_asked_for_the_cluster(&[failed(11), TRIED], false, 10, Err(vec![1]))]
    #[case::all_members_failed(&[failed(11), failed(12)], false, 10, Ok(11))]
    #[case::all_members_failed_and_the_cluster(&[failed(11), failed(12)], true, 10, Ok(11))]
    fn steps(
        #[case] members: &[(bool, Option<u64>)],
        #[case] is_unavailable: bool,
        #[case] check_due: u64,
        #[case] expected: Result<u64, Vec<usize>>,
    ) {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let turn =
            |&(is_untried, retry_at): &(bool, Option<u64>)| Turn { is_untried, retry_at: retry_at.map(at) };
        let turns: Vec<_> = members.iter().map(turn).collect();
        let expected = match expected {
            Ok(time) => Next::Wait(Some(at(time))),
            Err(indexes) => Next::Ask(indexes),
        };
        assert_eq!(next(&turns, is_unavailable, at(check_due), at(10)), expected);
    }

    #[test]
    fn a_cluster_without_members_waits_for_one() {
        let now = Instant::now();
        assert_eq!(next(&[], false, now, now), Next::Wait(None));
    }

    #[rstest]
    #[case::responded(false, Some(5), false, 15)]
    #[case::responded_long_ago(false, Some(0), false, 10)]
    #[case::never_responded(false, None, false, 19)]
    #[case::request_failed(false, Some(9), true, 10)]
    #[case::unavailable(true, Some(9), true, 13)]
    fn times_of_checks(
        #[case] is_unavailable: bool,
        #[case] last_response: Option<u64>,
        #[case] is_check_due: bool,
        #[case] expected: u64,
    ) {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let unavailable = Health::Unavailable { problem: "it hangs".into(), is_unresponsive: true };
        let facts = Facts {
            unavailable: is_unavailable.then_some(unavailable),
            last_response: last_response.map(at),
            is_check_due,
        };
        assert_eq!(check_due(&facts, at(9), Duration::from_secs(4)), at(expected));
    }

    #[test]
    fn pauses_double_up_to_the_longest_silence() {
        let pauses = std::iter::successors(Some(Duration::ZERO), |pause| Some(next_backoff(*pause)));
        let pauses: Vec<_> = pauses.map(|pause| pause.as_secs()).take(7).collect();
        assert_eq!(pauses, [0, 1, 2, 4, 8, 10, 10]);
    }
}

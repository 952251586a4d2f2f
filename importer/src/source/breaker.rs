//! A source that does not answer is given a rest.
//!
//! Each import of it would otherwise find out for itself, ten seconds at a time. While the breaker
//! is open, one probe at a time goes through; what is due meanwhile is told what is known.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::failure::{Failure, Reason, Retry, back_off};
use crate::target::DEADLINE;

/// The longest rest. A minute's calls of a source that is away cost nothing, and it is noticed soon
/// when it is back.
const LONGEST: Duration = Duration::from_secs(60);

/// A probe that never comes back (its task has ended) must not keep the breaker open: the longest
/// that its calls can take.
const PROBE: Duration = DEADLINE.saturating_mul(4);

/// Whether a source may be called.
#[derive(Debug, Default)]
pub struct Breaker {
    failures: u32,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    until: Timestamp,
    why: Failure,
    /// Whether a probe is on its way; `until` is when it is given up.
    probing: bool,
}

impl Breaker {
    /// Whether the source answered when it was last called.
    pub fn is_closed(&self) -> bool {
        self.open.is_none()
    }

    /// Lets a call through, or says what is known of the source.
    ///
    /// # Errors
    /// While the source rests.
    pub fn admit(&mut self, now: Timestamp) -> Result<(), Failure> {
        let Some(open) = &mut self.open else { return Ok(()) };
        // A clock that was set back must not make this longer.
        if open.until > now && open.until <= later(now, LONGEST.max(PROBE)) {
            return Err(Failure { retry: Retry::NotBefore(open.until), ..open.why.clone() });
        }
        open.until = later(now, PROBE);
        open.probing = true;
        Ok(())
    }

    /// The source answered, whatever it said; whether that is news.
    pub fn answered(&mut self) -> bool {
        !std::mem::take(self).is_closed()
    }

    /// A call failed in a way that any other would have ([`is_of_the_source`]). The source rests at
    /// least as long as it `wished`, if it did, and otherwise by back-off with `random` in 0..1.
    pub fn failed(&mut self, failure: &Failure, wished: Duration, now: Timestamp, random: f64) {
        if self.open.as_ref().is_some_and(|open| !open.probing) {
            // One of those that were under way together.
            return;
        }
        self.failures = self.failures.saturating_add(1);
        let rest = back_off(self.failures, random).max(wished).min(LONGEST);
        let why = match self.open.take() {
            // Told in the same words, so that nothing is news in hundreds of statuses.
            Some(open) if open.why.reason == failure.reason => open.why,
            _ => failure.clone(),
        };
        self.open = Some(Open { until: later(now, rest), why, probing: false });
    }
}

/// Whether it is the source that failed, and not what one import asked of it.
pub fn is_of_the_source(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::SourceUnreachable
            | Reason::LinkUnauthorized
            | Reason::Throttled
            | Reason::ClusterIdentityMismatch
    )
}

fn later(now: Timestamp, wait: Duration) -> Timestamp {
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
    now.saturating_add(wait).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn away() -> Failure {
        Failure::new(Reason::SourceUnreachable, "c2 is away")
    }

    fn fail(breaker: &mut Breaker, now: i64) {
        breaker.failed(&away(), Duration::ZERO, at(now), 1.0);
    }

    fn told(breaker: &mut Breaker, now: i64) -> Option<Retry> {
        breaker.admit(at(now)).err().map(|failure| failure.retry)
    }

    #[test]
    fn one_probe_at_a_time_goes_through() {
        let mut breaker = Breaker::default();
        assert_eq!(told(&mut breaker, 0), None);
        fail(&mut breaker, 0);
        assert_eq!(told(&mut breaker, 0), Some(Retry::NotBefore(at(1))));
        assert_eq!(told(&mut breaker, 1), None, "the probe");
        assert_eq!(told(&mut breaker, 1), Some(Retry::NotBefore(at(41))), "while it is on its way");
        fail(&mut breaker, 2);
        assert_eq!(told(&mut breaker, 3), Some(Retry::NotBefore(at(4))), "twice as long");
        assert_eq!(told(&mut breaker, 4), None);
        assert!(breaker.answered() && !breaker.answered());
        assert!(breaker.is_closed());
        assert_eq!(told(&mut breaker, 4), None);
    }

    #[test]
    fn what_fails_together_counts_once_and_rests_have_an_end() {
        let mut breaker = Breaker::default();
        (0..8).for_each(|_| fail(&mut breaker, 0));
        assert_eq!(told(&mut breaker, 0), Some(Retry::NotBefore(at(1))));
        for now in (100..100_000).step_by(100) {
            assert_eq!(told(&mut breaker, now), None);
            fail(&mut breaker, now);
        }
        assert_eq!(told(&mut breaker, 99_901), Some(Retry::NotBefore(at(99_960))));
        assert_eq!(told(&mut breaker, 0), None, "the clock was set back");
    }

    #[test]
    fn a_probe_that_is_lost_is_followed_by_another() {
        let mut breaker = Breaker::default();
        fail(&mut breaker, 0);
        assert_eq!(told(&mut breaker, 10), None);
        assert_eq!(told(&mut breaker, 49), Some(Retry::NotBefore(at(50))));
        assert_eq!(told(&mut breaker, 50), None);
    }

    #[test]
    fn wishes_count() {
        let mut breaker = Breaker::default();
        let throttled = Failure::new(Reason::Throttled, "slow down");
        breaker.failed(&throttled, Duration::from_secs(30), at(0), 1.0);
        assert_eq!(told(&mut breaker, 1), Some(Retry::NotBefore(at(30))));
    }
}

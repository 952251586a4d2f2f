//! A source that does not answer is given a rest.
//!
//! Each import of it would otherwise find out for itself, ten seconds at a time. While the breaker
//! is open, one probe at a time goes through; what is due meanwhile is told what is known.
//!
//! Only the probe's answer counts then: those of calls that were under way when the breaker opened
//! tell how things were.

use std::time::Duration;

use jiff::Timestamp;
use mcsa_runtime::deadline::DEADLINE;

use crate::clock::after;
use crate::model::failure::{Failure, Reason, Retry, back_off};

/// The longest rest. A minute's calls of a source that is away cost nothing, and it is noticed soon
/// when it is back.
const LONGEST: Duration = Duration::from_secs(60);

/// A probe that never comes back (its task has ended) must not keep the breaker open: the longest
/// that its calls can take.
const PROBE: Duration = DEADLINE.saturating_mul(4);

/// Whether a source may be called.
#[derive(Debug, Default)]
pub struct Breaker {
    /// How often it has opened.
    epoch: u64,
    failures: u32,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    until: Timestamp,
    why: Failure,
}

/// That a call was let through, and when: it counts until the breaker opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission(u64);

impl Breaker {
    /// Whether the source answered when it was last called.
    pub fn is_closed(&self) -> bool {
        self.open.is_none()
    }

    /// Lets a call through, or says what is known of the source.
    ///
    /// # Errors
    /// While the source rests.
    pub fn admit(&mut self, now: Timestamp) -> Result<Admission, Failure> {
        if let Some(open) = &mut self.open {
            // A clock that was set back must not make this longer.
            if open.until > now && open.until <= after(now, LONGEST.max(PROBE)) {
                return Err(Failure { retry: Retry::Rest(open.until), ..open.why.clone() });
            }
            // This is the probe.
            open.until = after(now, PROBE);
        }
        Ok(Admission(self.epoch))
    }

    /// Whether nothing was found out since a call was let through.
    ///
    /// # Errors
    /// What was.
    pub fn check(&self, admission: Admission) -> Result<(), Failure> {
        match &self.open {
            Some(open) if admission.0 != self.epoch => {
                Err(Failure { retry: Retry::Rest(open.until), ..open.why.clone() })
            }
            _ => Ok(()),
        }
    }

    /// The source answered, whatever it said.
    pub fn answered(&mut self, admission: Admission) {
        if admission.0 == self.epoch {
            self.close();
        }
    }

    /// A call failed in a way that any other would have ([`is_of_the_source`]). The source rests at
    /// least as long as it `wished`, if it did, and otherwise by back-off with `random` in 0..1.
    pub fn failed(
        &mut self,
        admission: Admission,
        failure: &Failure,
        wished: Duration,
        now: Timestamp,
        random: f64,
    ) {
        if admission.0 != self.epoch {
            return;
        }
        self.epoch += 1;
        self.failures = self.failures.saturating_add(1);
        let rest = back_off(self.failures, random).max(wished).min(LONGEST);
        let why = match self.open.take() {
            // Told in the same words, so that nothing is news in hundreds of statuses.
            Some(open) if open.why.reason == failure.reason => open.why,
            _ => failure.clone(),
        };
        self.open = Some(Open { until: after(now, rest), why });
    }

    /// The source can be reached, as others than imports have found out.
    pub fn reached(&mut self) {
        let is_away =
            |why: &Failure| matches!(why.reason, Reason::SourceUnreachable | Reason::SourceNotTrusted);
        if self.open.as_ref().is_some_and(|open| is_away(&open.why)) {
            self.close();
        }
    }

    /// Any call would fail like this, as others than imports have found out.
    pub fn found_out(&mut self, failure: &Failure, now: Timestamp, random: f64) {
        if self.is_closed() && is_of_the_source(failure.reason) {
            self.failed(Admission(self.epoch), failure, Duration::ZERO, now, random);
        }
    }

    /// What it was that failed is there no more: there is another token.
    pub fn reset(&mut self) {
        self.epoch += 1;
        self.close();
    }

    fn close(&mut self) {
        (self.failures, self.open) = (0, None);
    }
}

/// Whether it is the source that failed, and not what one import asked of it.
pub fn is_of_the_source(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::SourceUnreachable
            | Reason::SourceNotTrusted
            | Reason::LinkUnauthorized
            | Reason::Throttled
            | Reason::ClusterIdentityMismatch
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn failure(reason: Reason) -> Failure {
        Failure::new(reason, "what is wrong")
    }

    fn fail(breaker: &mut Breaker, admission: Admission, now: i64) {
        breaker.failed(admission, &failure(Reason::SourceUnreachable), Duration::ZERO, at(now), 1.0);
    }

    fn told(breaker: &mut Breaker, now: i64) -> Retry {
        breaker.admit(at(now)).unwrap_err().retry
    }

    #[test]
    fn one_probe_at_a_time_goes_through() {
        let mut breaker = Breaker::default();
        let call = breaker.admit(at(0)).unwrap();
        fail(&mut breaker, call, 0);
        assert_eq!(told(&mut breaker, 0), Retry::Rest(at(1)));
        let probe = breaker.admit(at(1)).unwrap();
        assert!(breaker.check(probe).is_ok() && breaker.check(call).is_err());
        assert_eq!(told(&mut breaker, 1), Retry::Rest(at(41)), "while it is on its way");
        fail(&mut breaker, probe, 2);
        assert_eq!(told(&mut breaker, 3), Retry::Rest(at(4)), "twice as long");
        let probe = breaker.admit(at(4)).unwrap();
        breaker.answered(probe);
        assert!(breaker.is_closed());
        breaker.admit(at(4)).unwrap();
    }

    #[test]
    fn what_was_under_way_when_it_opened_does_not_count() {
        let mut breaker = Breaker::default();
        let calls: Vec<_> = (0..8).map(|_| breaker.admit(at(0)).unwrap()).collect();
        for call in &calls[..4] {
            fail(&mut breaker, *call, 0);
        }
        assert_eq!(told(&mut breaker, 0), Retry::Rest(at(1)), "what fails together counts once");
        breaker.answered(calls[4]);
        assert_eq!(told(&mut breaker, 0), Retry::Rest(at(1)), "an answer to an earlier call closes nothing");
    }

    #[test]
    fn rests_have_an_end() {
        let mut breaker = Breaker::default();
        for now in (0..100_000).step_by(100) {
            let probe = breaker.admit(at(now)).unwrap();
            fail(&mut breaker, probe, now);
        }
        assert_eq!(told(&mut breaker, 99_901), Retry::Rest(at(99_960)));
        assert!(breaker.admit(at(0)).is_ok(), "the clock was set back");
    }

    #[test]
    fn a_probe_that_is_lost_is_followed_by_another() {
        let mut breaker = Breaker::default();
        let call = breaker.admit(at(0)).unwrap();
        fail(&mut breaker, call, 0);
        assert!(breaker.admit(at(10)).is_ok());
        assert_eq!(told(&mut breaker, 49), Retry::Rest(at(50)));
        assert!(breaker.admit(at(50)).is_ok());
    }

    #[test]
    fn wishes_count_and_being_reachable_is_not_all() {
        let mut breaker = Breaker::default();
        let call = breaker.admit(at(0)).unwrap();
        breaker.failed(call, &failure(Reason::Throttled), Duration::from_secs(30), at(0), 1.0);
        breaker.reached();
        assert_eq!(told(&mut breaker, 1), Retry::Rest(at(30)));
        breaker.reset();
        let call = breaker.admit(at(1)).unwrap();
        fail(&mut breaker, call, 1);
        breaker.reached();
        assert!(breaker.is_closed());
    }

    #[test]
    fn what_others_find_out_opens_it_and_makes_no_rest_longer() {
        let mut breaker = Breaker::default();
        breaker.found_out(&failure(Reason::Forbidden), at(0), 1.0);
        assert!(breaker.is_closed(), "that is no fault of the source");
        for now in [0, 1] {
            breaker.found_out(&failure(Reason::SourceNotTrusted), at(now), 1.0);
        }
        assert_eq!(told(&mut breaker, 0), Retry::Rest(at(1)));
        breaker.reached();
        assert!(breaker.is_closed());
    }
}

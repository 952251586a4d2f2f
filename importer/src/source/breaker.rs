//! Circuit breaker of a source.
//!
//! Without it, each import would wait ten seconds for a source that does not respond. While the breaker is
//! open, one probe at a time is admitted; other imports fail at once with the known failure.
//!
//! While it is open, only the probe's response counts: calls that started before it opened may report an outdated
//! state.

use std::time::Duration;

use jiff::Timestamp;
use mcsa_runtime::deadline::DEADLINE;

use crate::clock::after;
use crate::model::failure::{Failure, Reason, Retry, back_off};

/// The longest pause between probes. One call a minute is cheap, and notices a recovery soon.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// Time after which another probe is admitted, because the task of the previous one may have ended without a
/// result.
const PROBE_TIMEOUT: Duration = DEADLINE.saturating_mul(4);

/// Whether a source may be called.
#[derive(Debug, Default)]
pub struct Breaker {
    /// Counts openings and resets.
    epoch: u64,
    failures: u32,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    until: Timestamp,
    why: Failure,
}

/// Permission for calls. Their results count until the breaker opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission(u64);

impl Breaker {
    /// Whether the last call succeeded.
    pub fn is_closed(&self) -> bool {
        self.open.is_none()
    }

    /// Admits calls, unless the breaker is open.
    ///
    /// # Errors
    /// The failure that opened the breaker.
    pub fn admit(&mut self, now: Timestamp) -> Result<Admission, Failure> {
        if let Some(open) = &mut self.open {
            // A clock that was set back must not extend the wait.
            if open.until > now && open.until <= after(now, MAX_PAUSE.max(PROBE_TIMEOUT)) {
                return Err(Failure { retry: Retry::BreakerOpen(open.until), ..open.why.clone() });
            }
            // This is the probe.
            open.until = after(now, PROBE_TIMEOUT);
        }
        Ok(Admission(self.epoch))
    }

    /// Checks that the breaker has not opened since the admission.
    ///
    /// # Errors
    /// The failure that opened it.
    pub fn recheck(&self, admission: Admission) -> Result<(), Failure> {
        match &self.open {
            Some(open) if admission.0 != self.epoch => {
                Err(Failure { retry: Retry::BreakerOpen(open.until), ..open.why.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Records a response, whatever its content.
    pub fn responded(&mut self, admission: Admission) {
        if admission.0 == self.epoch {
            self.close();
        }
    }

    /// Records a failure that concerns all calls. The breaker opens for `retry_after` at least,
    /// and for a back-off with `random` in 0..1.
    pub fn failed(
        &mut self,
        admission: Admission,
        failure: &Failure,
        retry_after: Duration,
        now: Timestamp,
        random: f64,
    ) {
        if admission.0 != self.epoch {
            return;
        }
        self.epoch += 1;
        self.failures = self.failures.saturating_add(1);
        let rest = back_off(self.failures, random).max(retry_after).min(MAX_PAUSE);
        let why = match self.open.take() {
            // Keep the message, so that hundreds of statuses do not change.
            Some(open) if open.why.reason == failure.reason => open.why,
            _ => failure.clone(),
        };
        self.open = Some(Open { until: after(now, rest), why });
    }

    /// A watch has reached the source.
    pub fn reached(&mut self) {
        self.close_if(|reason| matches!(reason, Reason::SourceUnreachable | Reason::SourceNotTrusted));
    }

    /// A check has got the cluster's identity.
    pub fn probe_succeeded(&mut self) {
        self.reached();
        self.close_if(|reason| matches!(reason, Reason::LinkForbidden | Reason::SourceFailed));
    }

    fn close_if(&mut self, is_disproved: impl Fn(Reason) -> bool) {
        if self.open.as_ref().is_some_and(|open| is_disproved(open.why.reason)) {
            self.close();
        }
    }

    /// A check has failed to get the cluster's identity, as any mint would.
    pub fn probe_failed(&mut self, failure: &Failure, now: Timestamp, random: f64) {
        if self.is_closed() {
            self.failed(Admission(self.epoch), failure, Duration::ZERO, now, random);
        }
    }

    /// The link has another token: earlier failures no longer count.
    pub fn reset(&mut self) {
        self.epoch += 1;
        self.close();
    }

    fn close(&mut self) {
        (self.failures, self.open) = (0, None);
    }
}

/// Whether the failure of a token request concerns all calls to the source, not only one import.
pub fn is_source_failure(reason: Reason) -> bool {
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
        Failure::new(reason, "problem")
    }

    fn fail(breaker: &mut Breaker, admission: Admission, now: i64) {
        breaker.failed(admission, &failure(Reason::SourceUnreachable), Duration::ZERO, at(now), 1.0);
    }

    fn retry_at(breaker: &mut Breaker, now: i64) -> Retry {
        breaker.admit(at(now)).unwrap_err().retry
    }

    #[test]
    fn one_probe_at_a_time_is_admitted() {
        let mut breaker = Breaker::default();
        let call = breaker.admit(at(0)).unwrap();
        fail(&mut breaker, call, 0);
        assert_eq!(retry_at(&mut breaker, 0), Retry::BreakerOpen(at(1)));
        let probe = breaker.admit(at(1)).unwrap();
        assert!(breaker.recheck(probe).is_ok() && breaker.recheck(call).is_err());
        assert_eq!(retry_at(&mut breaker, 1), Retry::BreakerOpen(at(41)), "the probe is running");
        fail(&mut breaker, probe, 2);
        assert_eq!(retry_at(&mut breaker, 3), Retry::BreakerOpen(at(4)), "twice as long");
        let probe = breaker.admit(at(4)).unwrap();
        breaker.responded(probe);
        assert!(breaker.is_closed());
        breaker.admit(at(4)).unwrap();
    }

    #[test]
    fn calls_admitted_before_it_opened_do_not_count() {
        let mut breaker = Breaker::default();
        let calls: Vec<_> = (0..8).map(|_| breaker.admit(at(0)).unwrap()).collect();
        for call in &calls[..4] {
            fail(&mut breaker, *call, 0);
        }
        assert_eq!(retry_at(&mut breaker, 0), Retry::BreakerOpen(at(1)), "concurrent failures count once");
        breaker.responded(calls[4]);
        assert_eq!(
            retry_at(&mut breaker, 0),
            Retry::BreakerOpen(at(1)),
            "a response to an earlier call does not close it"
        );
    }

    #[test]
    fn open_time_is_bounded() {
        let mut breaker = Breaker::default();
        for now in (0..100_000).step_by(100) {
            let probe = breaker.admit(at(now)).unwrap();
            fail(&mut breaker, probe, now);
        }
        assert_eq!(retry_at(&mut breaker, 99_901), Retry::BreakerOpen(at(99_960)));
        assert!(breaker.admit(at(0)).is_ok(), "the clock was set back");
    }

    #[test]
    fn abandoned_probe_is_replaced() {
        let mut breaker = Breaker::default();
        let call = breaker.admit(at(0)).unwrap();
        fail(&mut breaker, call, 0);
        assert!(breaker.admit(at(10)).is_ok());
        assert_eq!(retry_at(&mut breaker, 49), Retry::BreakerOpen(at(50)));
        assert!(breaker.admit(at(50)).is_ok());
    }

    #[test]
    fn retry_after_is_respected_and_reachability_does_not_end_throttling() {
        let mut breaker = Breaker::default();
        let call = breaker.admit(at(0)).unwrap();
        breaker.failed(call, &failure(Reason::Throttled), Duration::from_secs(30), at(0), 1.0);
        breaker.reached();
        assert_eq!(retry_at(&mut breaker, 1), Retry::BreakerOpen(at(30)));
        breaker.reset();
        let call = breaker.admit(at(1)).unwrap();
        fail(&mut breaker, call, 1);
        breaker.reached();
        assert!(breaker.is_closed());
    }

    #[test]
    fn failed_checks_open_it_without_extending_the_wait() {
        let mut breaker = Breaker::default();
        for reason in [Reason::SourceNotTrusted, Reason::LinkForbidden, Reason::SourceFailed] {
            for now in [0, 1] {
                breaker.probe_failed(&failure(reason), at(now), 1.0);
            }
            assert_eq!(retry_at(&mut breaker, 0), Retry::BreakerOpen(at(1)));
            breaker.reached();
            assert_eq!(breaker.is_closed(), reason == Reason::SourceNotTrusted, "a watch needs other rights");
            breaker.probe_succeeded();
            assert!(breaker.is_closed());
        }
    }
}

//! Which authorities the API server trusts, and since when, according to the watched configuration. From this follows
//! when a certificate may be served, and which authorities the configuration must list.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::certificates::authorities::Authorities;
use crate::certificates::certificate::Certificate;
use crate::certificates::problem::Problem;

/// How long to keep an authority that this replica does not need, in overlaps. Must exceed the time for which the
/// mounted files of two replicas may differ.
const KEPT_OVERLAPS: u32 = 10;

/// The last observed CA bundle, and since when it has not changed. After a restart, that is since the first
/// observation, so it may be too late, but never too early.
#[derive(Debug)]
pub(crate) struct Trust {
    trusted: Authorities,
    names: Vec<String>,
    since: Instant,
    overlap: Duration,
}

impl Trust {
    /// `overlap` must exceed the time by which one API server may observe a change later than another.
    pub(crate) fn new(overlap: Duration) -> Self {
        Self { trusted: Authorities::default(), names: Vec::new(), since: Instant::now(), overlap }
    }

    /// Records which authorities the API server trusts now, and which hosts it calls.
    pub(crate) fn observe(&mut self, trusted: Authorities, names: Vec<String>, instant: Instant) {
        if trusted != self.trusted {
            self.since = instant;
        }
        (self.trusted, self.names) = (trusted, names);
    }

    pub(crate) fn trusted(&self) -> &Authorities {
        &self.trusted
    }

    /// Why the API server would reject this certificate.
    pub(crate) fn problem(&self, certificate: &Certificate, now: Timestamp) -> Option<Problem> {
        certificate.problem(&self.trusted, &self.names, now)
    }

    /// Time until all API servers have observed the CA bundle.
    pub(crate) fn wait(&self, instant: Instant) -> Duration {
        remaining(self.since, self.overlap, instant)
    }

    /// The authorities that the configuration must list, and the time until they change next: those that this replica
    /// has needed since `needed_since`, and for a while also the others that are `present`, because another replica may
    /// serve, or be about to serve, a certificate of theirs.
    pub(crate) fn ca_bundle(
        &self,
        needed: &Authorities,
        needed_since: Instant,
        present: &Authorities,
        instant: Instant,
    ) -> (Authorities, Option<Duration>) {
        let all = present.clone().union(needed);
        let wait = remaining(self.since.max(needed_since), self.overlap * KEPT_OVERLAPS, instant);
        if all == *needed || wait.is_zero() { (needed.clone(), None) } else { (all, Some(wait)) }
    }
}

/// The rest of a duration that began at `since`.
fn remaining(since: Instant, duration: Duration, instant: Instant) -> Duration {
    duration.saturating_sub(instant.duration_since(since))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::certificates::fixtures::{NOW, issue, names};

    const OVERLAP: Duration = Duration::from_secs(60);

    #[test]
    fn trust_counts_from_the_last_change() {
        let ((one, ours), (_, others)) = (issue(), issue());
        let (start, mut trust) = (Instant::now(), Trust::new(OVERLAP));
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(trust.problem(&one, NOW).is_some());
        trust.observe(ours.clone(), names(), at(10));
        assert_eq!((trust.problem(&one, NOW), trust.wait(at(40))), (None, OVERLAP / 2));
        trust.observe(ours.clone(), vec!["other.example.svc".into()], at(50));
        assert!(matches!(trust.problem(&one, NOW), Some(Problem::WrongName { .. })));
        assert_eq!(trust.wait(at(70)), Duration::ZERO);
        trust.observe(ours.union(&others), names(), at(80));
        assert_eq!(trust.wait(at(80)), OVERLAP);
    }

    #[rstest]
    #[case::since_the_change(0, 599, Some(1))]
    #[case::for_long_enough(0, 600, None)]
    #[case::needed_until_later(900, 1499, Some(1))]
    #[case::for_long_enough_since_then(900, 1500, None)]
    fn unneeded_authority_is_removed_after_a_while(
        #[case] needed_since: u64,
        #[case] at: u64,
        #[case] wait: Option<u64>,
    ) {
        let ((_, ours), (_, others)) = (issue(), issue());
        let both = ours.clone().union(&others);
        let (start, mut trust) = (Instant::now(), Trust::new(OVERLAP));
        trust.observe(both.clone(), names(), start);
        let (needed_since, at) = (start + Duration::from_secs(needed_since), start + Duration::from_secs(at));
        let expected =
            wait.map_or((ours.clone(), None), |wait| (both.clone(), Some(Duration::from_secs(wait))));
        assert_eq!(trust.ca_bundle(&ours, needed_since, &both, at), expected);
        assert_eq!(trust.ca_bundle(&both, needed_since, &ours, at), (both, None), "a needed one is added");
    }
}

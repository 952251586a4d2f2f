//! What the Lease says, and whether it may be taken.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

use super::Candidate;

/// What a candidate knows of the Lease.
#[derive(Debug, Default)]
pub(super) struct Observed {
    lease: Option<Lease>,
    /// The record, and since when it has not changed. It outlives the object: a deletion does not
    /// end the term of a holder who has yet to learn of it.
    record: Option<(LeaseSpec, Instant)>,
}

impl Observed {
    /// Takes note of the Lease, or that there is none.
    pub(super) fn note(&mut self, lease: Option<Lease>) {
        let now = Instant::now();
        match (&lease, &mut self.record) {
            (Some(lease), record) => {
                let spec = lease.spec.clone().unwrap_or_default();
                if record.as_ref().is_none_or(|(known, _)| *known != spec) {
                    *record = Some((spec, now));
                }
            }
            // Its holder may have renewed it until just now.
            (None, Some((_, since))) if self.lease.is_some() => *since = now,
            (None, _) => {}
        }
        self.lease = lease;
    }

    /// The Lease, unless there is none.
    pub(super) fn lease(&self) -> Option<&Lease> {
        self.lease.as_ref()
    }

    /// Who holds the Lease, or has held the one that is gone; "" when no one does.
    pub(super) fn holder(&self) -> &str {
        self.record.as_ref().and_then(|(spec, _)| spec.holder_identity.as_deref()).unwrap_or_default()
    }

    /// Whether there is a Lease, and this candidate holds it.
    pub(super) fn is_held_by(&self, candidate: &Candidate) -> bool {
        self.lease.is_some() && self.holder() == candidate.identity
    }

    /// Whether the candidate may take or renew the Lease.
    ///
    /// Time is counted from when *we* saw the record change, by our own clock: the times that it
    /// names are another machine's.
    /// <https://pkg.go.dev/k8s.io/client-go/tools/leaderelection>
    pub(super) fn is_open_to(&self, candidate: &Candidate) -> bool {
        let Some((spec, since)) = &self.record else { return true };
        let holder = self.holder();
        if holder.is_empty() || holder == candidate.identity {
            return true;
        }
        let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        since.elapsed() >= seconds.map_or(candidate.duration(), Duration::from_secs)
    }

    /// The Lease as the candidate's own, taken or renewed now.
    pub(super) fn claim(&self, candidate: &Candidate, now: Timestamp) -> Lease {
        let mut lease = self.lease.clone().unwrap_or_default();
        lease.metadata.name = Some(candidate.name.clone());
        let before = lease.spec.take();
        let (acquired, transitions) = match &before {
            Some(spec) if self.is_held_by(candidate) => (spec.acquire_time.clone(), spec.lease_transitions),
            Some(spec) => (None, Some(spec.lease_transitions.unwrap_or_default().saturating_add(1))),
            None => (None, Some(0)),
        };
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(candidate.identity.clone()),
            lease_duration_seconds: Some(candidate.seconds.into()),
            acquire_time: acquired.or(Some(MicroTime(now))),
            renew_time: Some(MicroTime(now)),
            lease_transitions: transitions,
            ..before.unwrap_or_default()
        });
        lease
    }
}

/// The Lease as no one's.
pub(super) fn released(mut lease: Lease, now: Timestamp) -> Lease {
    let spec = lease.spec.get_or_insert_default();
    spec.holder_identity = Some(String::new());
    spec.renew_time = Some(MicroTime(now));
    lease
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    use rstest::rstest;
    use tokio::time::advance;

    fn candidate() -> Candidate {
        Candidate { namespace: "ns".into(), name: "importer".into(), identity: "a".into(), seconds: 15 }
    }

    fn time(second: i64) -> MicroTime {
        MicroTime(Timestamp::from_second(second).unwrap())
    }

    fn lease(holder: Option<&str>, seconds: Option<i32>, renewed: i64) -> Lease {
        let spec = LeaseSpec {
            holder_identity: holder.map(Into::into),
            lease_duration_seconds: seconds,
            acquire_time: Some(time(1)),
            renew_time: Some(time(renewed)),
            lease_transitions: Some(3),
            ..Default::default()
        };
        let metadata = ObjectMeta {
            name: Some("importer".into()),
            resource_version: Some("7".into()),
            labels: Some([("app".into(), "x".into())].into()),
            ..Default::default()
        };
        Lease { metadata, spec: Some(spec) }
    }

    #[rstest]
    #[case::no_one_ever(None, 0, true)]
    #[case::no_holder(Some(lease(None, Some(15), 5)), 0, true)]
    #[case::given_back(Some(lease(Some(""), Some(15), 5)), 0, true)]
    #[case::our_own(Some(lease(Some("a"), Some(15), 5)), 0, true)]
    #[case::held(Some(lease(Some("b"), Some(15), 5)), 14, false)]
    #[case::expired(Some(lease(Some("b"), Some(15), 5)), 15, true)]
    #[case::the_holders_duration_counts(Some(lease(Some("b"), Some(60), 5)), 59, false)]
    #[case::ours_when_it_names_none(Some(lease(Some("b"), None, 5)), 14, false)]
    #[case::ours_when_it_names_nonsense(Some(lease(Some("b"), Some(-1), 5)), 14, false)]
    #[case::renewed_in_a_far_future(Some(lease(Some("b"), Some(15), 9_999_999_999)), 15, true)]
    #[tokio::test(start_paused = true)]
    async fn who_may_take_it(#[case] lease: Option<Lease>, #[case] seconds: u64, #[case] open: bool) {
        let mut observed = Observed::default();
        observed.note(lease.clone());
        advance(Duration::from_secs(seconds)).await;
        observed.note(lease);
        assert_eq!(observed.is_open_to(&candidate()), open);
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_starts_the_wait_again_and_so_does_a_deletion() {
        let mut observed = Observed::default();
        observed.note(Some(lease(Some("b"), Some(15), 5)));
        advance(Duration::from_secs(14)).await;
        observed.note(Some(lease(Some("b"), Some(15), 6)));
        advance(Duration::from_secs(14)).await;
        observed.note(None);
        advance(Duration::from_secs(14)).await;
        observed.note(None);
        assert!(!observed.is_open_to(&candidate()));
        advance(Duration::from_secs(1)).await;
        assert!(observed.is_open_to(&candidate()));
    }

    #[rstest]
    #[case::created(None, 9, 0)]
    #[case::renewed(Some(lease(Some("a"), Some(15), 5)), 1, 3)]
    #[case::taken_over(Some(lease(Some("b"), Some(60), 5)), 9, 4)]
    #[case::picked_up(Some(lease(Some(""), Some(15), 5)), 9, 4)]
    #[tokio::test]
    async fn claims(#[case] before: Option<Lease>, #[case] acquired: i64, #[case] transitions: i32) {
        let mut observed = Observed::default();
        observed.note(before.clone());
        let claim = observed.claim(&candidate(), time(9).0);
        let spec = claim.spec.unwrap();
        assert_eq!(spec.holder_identity.as_deref(), Some("a"));
        assert_eq!(spec.lease_duration_seconds, Some(15));
        assert_eq!((spec.acquire_time, spec.renew_time), (Some(time(acquired)), Some(time(9))));
        assert_eq!(spec.lease_transitions, Some(transitions));
        // Whose version is sent is what the write is conditional on; what others put there stays.
        if let Some(before) = before {
            assert_eq!(claim.metadata, before.metadata);
        }
    }

    #[test]
    fn a_release_leaves_no_holder_and_keeps_the_count() {
        let spec = released(lease(Some("a"), Some(15), 5), time(9).0).spec.unwrap();
        assert_eq!(spec.holder_identity.as_deref(), Some(""));
        assert_eq!((spec.renew_time, spec.lease_transitions), (Some(time(9)), Some(3)));
    }
}

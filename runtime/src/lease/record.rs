//! The observed Lease, and whether it may be acquired.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

use super::Candidate;

/// A candidate's view of the Lease.
#[derive(Debug, Default)]
pub(super) struct Observed {
    lease: Option<Lease>,
    /// The spec, and since when it has not changed. It is kept when the Lease is deleted, because the holder may
    /// not have observed the deletion.
    spec: Option<(LeaseSpec, Instant)>,
}

impl Observed {
    /// Records the Lease; `None` if it does not exist.
    pub(super) fn update(&mut self, lease: Option<Lease>) {
        let now = Instant::now();
        match (&lease, &mut self.spec) {
            (Some(lease), known) => {
                let spec = lease.spec.clone().unwrap_or_default();
                if known.as_ref().is_none_or(|(known, _)| *known != spec) {
                    *known = Some((spec, now));
                }
            }
            // Its holder may have renewed it just before it was deleted.
            (None, Some((_, since))) if self.lease.is_some() => *since = now,
            (None, _) => {}
        }
        self.lease = lease;
    }

    pub(super) fn lease(&self) -> Option<&Lease> {
        self.lease.as_ref()
    }

    /// The holder of the Lease, or of the deleted Lease; "" if none.
    pub(super) fn holder(&self) -> &str {
        self.spec.as_ref().and_then(|(spec, _)| spec.holder_identity.as_deref()).unwrap_or_default()
    }

    /// Whether the Lease exists and this candidate holds it.
    pub(super) fn is_held_by(&self, candidate: &Candidate) -> bool {
        self.lease.is_some() && self.holder() == candidate.identity
    }

    /// Whether the candidate may acquire or renew the Lease.
    ///
    /// A holder's lease expires relative to when this process observed its last renewal, because the times in
    /// the Lease are from another machine's clock.
    /// <https://pkg.go.dev/k8s.io/client-go/tools/leaderelection>
    pub(super) fn is_open_to(&self, candidate: &Candidate) -> bool {
        let Some((spec, since)) = &self.spec else { return true };
        let holder = self.holder();
        if holder.is_empty() || holder == candidate.identity {
            return true;
        }
        let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        since.elapsed() >= seconds.map_or(candidate.duration(), Duration::from_secs)
    }

    /// The Lease, acquired or renewed by the candidate.
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

/// The Lease without a holder.
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
    #[case::no_lease(None, 0, true)]
    #[case::no_holder(Some(lease(None, Some(15), 5)), 0, true)]
    #[case::released(Some(lease(Some(""), Some(15), 5)), 0, true)]
    #[case::own(Some(lease(Some("a"), Some(15), 5)), 0, true)]
    #[case::held(Some(lease(Some("b"), Some(15), 5)), 14, false)]
    #[case::expired(Some(lease(Some("b"), Some(15), 5)), 15, true)]
    #[case::duration_of_the_holder(Some(lease(Some("b"), Some(60), 5)), 59, false)]
    #[case::no_duration(Some(lease(Some("b"), None, 5)), 14, false)]
    #[case::invalid_duration(Some(lease(Some("b"), Some(-1), 5)), 14, false)]
    #[case::renewed_in_the_future(Some(lease(Some("b"), Some(15), 9_999_999_999)), 15, true)]
    #[tokio::test(start_paused = true)]
    async fn lease_is_open_if_released_or_expired(
        #[case] lease: Option<Lease>,
        #[case] seconds: u64,
        #[case] open: bool,
    ) {
        let mut observed = Observed::default();
        observed.update(lease.clone());
        advance(Duration::from_secs(seconds)).await;
        observed.update(lease);
        assert_eq!(observed.is_open_to(&candidate()), open);
    }

    #[tokio::test(start_paused = true)]
    async fn renewal_and_deletion_restart_the_wait() {
        let mut observed = Observed::default();
        observed.update(Some(lease(Some("b"), Some(15), 5)));
        advance(Duration::from_secs(14)).await;
        observed.update(Some(lease(Some("b"), Some(15), 6)));
        advance(Duration::from_secs(14)).await;
        observed.update(None);
        advance(Duration::from_secs(14)).await;
        observed.update(None);
        assert!(!observed.is_open_to(&candidate()));
        advance(Duration::from_secs(1)).await;
        assert!(observed.is_open_to(&candidate()));
    }

    #[rstest]
    #[case::created(None, 9, 0)]
    #[case::renewed(Some(lease(Some("a"), Some(15), 5)), 1, 3)]
    #[case::taken_over(Some(lease(Some("b"), Some(60), 5)), 9, 4)]
    #[case::acquired_after_release(Some(lease(Some(""), Some(15), 5)), 9, 4)]
    #[tokio::test]
    async fn claim_counts_transitions(
        #[case] before: Option<Lease>,
        #[case] acquired: i64,
        #[case] transitions: i32,
    ) {
        let mut observed = Observed::default();
        observed.update(before.clone());
        let claim = observed.claim(&candidate(), time(9).0);
        let spec = claim.spec.unwrap();
        assert_eq!(spec.holder_identity.as_deref(), Some("a"));
        assert_eq!(spec.lease_duration_seconds, Some(15));
        assert_eq!((spec.acquire_time, spec.renew_time), (Some(time(acquired)), Some(time(9))));
        assert_eq!(spec.lease_transitions, Some(transitions));
        // The version is the precondition; other fields are preserved.
        if let Some(before) = before {
            assert_eq!(claim.metadata, before.metadata);
        }
    }

    #[test]
    fn release_clears_the_holder_and_keeps_the_transitions() {
        let spec = released(lease(Some("a"), Some(15), 5), time(9).0).spec.unwrap();
        assert_eq!(spec.holder_identity.as_deref(), Some(""));
        assert_eq!((spec.renew_time, spec.lease_transitions), (Some(time(9)), Some(3)));
    }
}

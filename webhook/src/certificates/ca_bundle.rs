//! Decides which authorities the webhook configuration must list, as a pure function: they are added before they
//! are needed, and removed when no replica needs them.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::certificates::authorities::Authorities;
use crate::certificates::serving::Served;
use crate::certificates::trust::TrustHistory;

/// Inputs of the decision.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CaBundleFacts<'a> {
    /// The authorities of the desired certificate.
    pub desired: &'a Authorities,
    pub served: Option<&'a Served>,
    /// The authorities that at least one entry of the configuration contains.
    pub present: &'a Authorities,
    pub trust: &'a TrustHistory,
    /// Since when `desired` has not changed.
    pub desired_since: Instant,
    pub now: Timestamp,
    pub instant: Instant,
}

/// Returns the authorities, and the time until they change next. They always include the authorities of the desired
/// and of the served certificate. Other authorities stay until no replica serves a certificate of theirs any more, and
/// until no replica is about to serve one, because its files are newer than this replica's.
pub(crate) fn ca_bundle(
    CaBundleFacts { desired, served, present, trust, desired_since, now, instant }: CaBundleFacts<'_>,
) -> (Authorities, Option<Duration>) {
    let needed = served.map_or_else(|| desired.clone(), |served| desired.clone().union(&served.signers));
    let others = present.difference(&needed).newest(now);
    if others.is_empty() {
        return (needed, None);
    }
    match served.and_then(|served| trust.retirement_wait(&served.certificate, desired_since, now, instant)) {
        Some(Duration::ZERO) => {
            let (recent, wait) = trust.recent(&others, instant);
            (needed.union(&recent), wait)
        }
        wait => (needed.union(&others), wait),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificates::certificate::Certificate;
    use crate::certificates::fixtures::{NOW, issue, names};

    const OVERLAP: Duration = Duration::from_secs(60);

    type Issued = (Certificate, Authorities);

    /// The result `seconds` after `desired_since`; the configuration lists the authorities of `trust`.
    fn after(
        seconds: u64,
        desired: &Authorities,
        served: Option<&Issued>,
        trust: &TrustHistory,
        desired_since: Instant,
    ) -> (Authorities, Option<u64>) {
        let served = served.map(|(certificate, signers)| Served {
            certificate: certificate.clone(),
            signers: signers.clone(),
        });
        let (present, instant) = (trust.trusted(), desired_since + Duration::from_secs(seconds));
        let facts = CaBundleFacts {
            desired,
            served: served.as_ref(),
            present: &present,
            trust,
            desired_since,
            now: NOW,
            instant,
        };
        let (authorities, wait) = ca_bundle(facts);
        (authorities, wait.map(|wait| wait.as_secs()))
    }

    #[test]
    fn bundle_has_authorities_of_the_served_and_desired_certificates() {
        let (old, new) = (issue(), issue());
        let (start, mut trust) = (Instant::now(), TrustHistory::new(OVERLAP));
        let both = old.1.clone().union(&new.1);
        assert_eq!(after(0, &new.1, None, &trust, start), (new.1.clone(), None));
        assert_eq!(after(0, &new.1, Some(&old), &trust, start), (both.clone(), None));
        trust.observe(&both, names(), start);
        assert_eq!(after(999, &new.1, Some(&old), &trust, start), (both, None));
    }

    #[test]
    fn old_authority_is_removed_when_unneeded() {
        let (old, new) = (issue(), issue());
        let (start, mut trust) = (Instant::now(), TrustHistory::new(OVERLAP));
        let both = old.1.union(&new.1);
        trust.observe(&both, names(), start);
        assert_eq!(after(60, &new.1, Some(&new), &trust, start), (both.clone(), Some(60)));
        assert_eq!(after(120, &new.1, Some(&new), &trust, start), (both.clone(), Some(480)));
        assert_eq!(after(600, &new.1, Some(&new), &trust, start), (new.1.clone(), None));
        // The desired certificate changed late: other replicas may still serve the old one.
        let late = start + Duration::from_secs(900);
        assert_eq!(after(1, &new.1, Some(&new), &trust, late), (both, Some(59)));
        assert_eq!(after(60, &new.1, Some(&new), &trust, late), (new.1.clone(), None));
    }

    #[test]
    fn no_authority_is_removed_while_the_served_certificate_is_untrusted() {
        let (old, new) = (issue(), issue());
        let (start, mut trust) = (Instant::now(), TrustHistory::new(OVERLAP));
        trust.observe(&old.1, names(), start);
        assert_eq!(after(999, &new.1, Some(&new), &trust, start), (old.1.union(&new.1), None));
    }

    #[test]
    fn authority_of_another_replica_is_kept_for_a_while() {
        let (ours, theirs) = (issue(), issue());
        let (start, mut trust) = (Instant::now(), TrustHistory::new(OVERLAP));
        trust.observe(&ours.1, names(), start);
        let both = ours.1.clone().union(&theirs.1);
        trust.observe(&both, names(), start + Duration::from_secs(600));
        assert_eq!(after(600, &ours.1, Some(&ours), &trust, start), (both.clone(), Some(600)));
        assert_eq!(after(1199, &ours.1, Some(&ours), &trust, start), (both, Some(1)));
        assert_eq!(after(1200, &ours.1, Some(&ours), &trust, start), (ours.1.clone(), None));
    }
}

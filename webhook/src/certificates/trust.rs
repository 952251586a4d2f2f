//! Which authorities the API server trusts, and since when, according to the watched configuration. From this, decides
//! when a certificate may be served, and which authorities the configuration must list.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::certificates::authorities::Authorities;
use crate::certificates::certificate::Certificate;
use crate::certificates::problem::Problem;

/// How long to keep an authority that this replica does not need, in overlaps. Must exceed the time for which the
/// mounted files of two replicas may differ.
const KEPT_OVERLAPS: u32 = 10;

/// The observed history of the CA bundle, in memory. After a restart, it begins with the first observation, so its
/// times may be too late, but never too early.
#[derive(Debug)]
pub(crate) struct TrustHistory {
    since: BTreeMap<Vec<u8>, Instant>,
    names: Vec<String>,
    overlap: Duration,
}

impl TrustHistory {
    /// `overlap` must exceed the time by which one API server may observe a change later than another.
    pub(crate) fn new(overlap: Duration) -> Self {
        Self { since: BTreeMap::new(), names: Vec::new(), overlap }
    }

    /// Records which authorities the API server trusts now, and which hosts it calls.
    pub(crate) fn observe(&mut self, trusted: &Authorities, names: Vec<String>, instant: Instant) {
        let since = |der: &Vec<u8>| self.since.get(der).copied().unwrap_or(instant);
        self.since = trusted.iter().map(|der| (der.clone(), since(der))).collect();
        self.names = names;
    }

    /// Why the API server would reject this certificate.
    pub(crate) fn problem(&self, certificate: &Certificate, now: Timestamp) -> Option<Problem> {
        certificate.problem(&self.trusted(), &self.names, now)
    }

    /// Time until all API servers accept the certificate; `None` if the watched one does not.
    pub(crate) fn wait(
        &self,
        certificate: &Certificate,
        now: Timestamp,
        instant: Instant,
    ) -> Option<Duration> {
        if self.problem(certificate, now).is_some() {
            return None;
        }
        let signers = certificate.signers(&self.trusted(), now);
        let since = signers.iter().filter_map(|der| self.since.get(der)).min()?;
        Some(remaining(*since, self.overlap, instant))
    }

    /// The authorities that the configuration must list, and the time until they change next: those that this replica
    /// has needed since `needed_since`, and for a while all that are listed, `present`, because another replica may
    /// serve, or be about to serve, a certificate of theirs.
    pub(crate) fn ca_bundle(
        &self,
        needed: &Authorities,
        needed_since: Instant,
        present: &Authorities,
        instant: Instant,
    ) -> (Authorities, Option<Duration>) {
        let wait = |der: &Vec<u8>| {
            let since = self.since.get(der).map_or(instant, |&since| since.max(needed_since));
            remaining(since, self.overlap * KEPT_OVERLAPS, instant)
        };
        let others = present.difference(needed);
        let kept: Authorities = others.iter().filter(|der| !wait(der).is_zero()).cloned().collect();
        let first = kept.iter().map(wait).min();
        (kept.union(needed), first)
    }

    pub(crate) fn trusted(&self) -> Authorities {
        self.since.keys().cloned().collect()
    }
}

/// The rest of a duration that began at `since`.
fn remaining(since: Instant, duration: Duration, instant: Instant) -> Duration {
    duration.saturating_sub(instant.duration_since(since))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificates::fixtures::{NOW, issue, names};

    const OVERLAP: Duration = Duration::from_secs(60);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn trust_counts_from_the_last_uninterrupted_observation() {
        let ((one, ours), (_, others)) = (issue(), issue());
        let mut trust = TrustHistory::new(OVERLAP);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(trust.wait(&one, NOW, start), None);
        trust.observe(&ours, names(), start);
        trust.observe(&ours.clone().union(&others), names(), at(30));
        assert_eq!(trust.wait(&one, NOW, at(30)), Some(SECOND * 30));
        assert_eq!(trust.wait(&one, NOW, at(61)), Some(Duration::ZERO));
        trust.observe(&others, names(), at(70));
        assert_eq!(trust.wait(&one, NOW, at(70)), None);
        trust.observe(&ours, names(), at(80));
        assert_eq!(trust.wait(&one, NOW, at(80)), Some(OVERLAP));
    }

    #[test]
    fn certificate_for_another_name_is_not_accepted() {
        let (one, ours) = issue();
        let mut trust = TrustHistory::new(OVERLAP);
        trust.observe(&ours, vec!["other.example.svc".into()], Instant::now());
        assert_eq!(trust.wait(&one, NOW, Instant::now()), None);
        assert!(matches!(trust.problem(&one, NOW), Some(Problem::WrongName { .. })));
    }

    #[test]
    fn unneeded_authority_is_removed_after_a_while() {
        let ((_, ours), (_, others)) = (issue(), issue());
        let both = ours.clone().union(&others);
        let mut trust = TrustHistory::new(OVERLAP);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let bundle = |trust: &TrustHistory, needed, needed_since, present, seconds| {
            trust.ca_bundle(needed, at(needed_since), present, at(seconds))
        };
        let nothing = Authorities::default();
        assert_eq!(bundle(&trust, &ours, 0, &nothing, 0), (ours.clone(), None));
        // An entry lists it, but not all.
        assert_eq!(bundle(&trust, &ours, 0, &others, 0), (both.clone(), Some(OVERLAP * 10)));
        trust.observe(&both, names(), start);
        assert_eq!(bundle(&trust, &both, 0, &both, 9999), (both.clone(), None));
        assert_eq!(bundle(&trust, &ours, 0, &both, 599), (both.clone(), Some(SECOND)));
        assert_eq!(bundle(&trust, &ours, 0, &both, 600), (ours.clone(), None));
        // It was needed until later.
        assert_eq!(bundle(&trust, &ours, 900, &both, 1499), (both.clone(), Some(SECOND)));
        assert_eq!(bundle(&trust, &ours, 900, &both, 1500), (ours.clone(), None));
        // It was added later.
        trust.observe(&ours, names(), at(900));
        trust.observe(&both, names(), at(2000));
        assert_eq!(bundle(&trust, &ours, 0, &both, 2599), (both.clone(), Some(SECOND)));
        assert_eq!(bundle(&trust, &ours, 0, &ours, 2600), (ours.clone(), None));
    }
}

//! Records since when the API server trusts which authorities, according to the watched configuration.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::certificates::authorities::Authorities;
use crate::certificates::certificate::{Certificate, Problem};

/// How long to keep an authority that this replica does not need, in overlaps. Must exceed the time for which the
/// mounted files of two replicas may differ.
const FOREIGN_OVERLAPS: u32 = 10;

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

    /// Since when the API server accepts this certificate; `None` if it does not.
    pub(crate) fn since(&self, certificate: &Certificate, now: Timestamp) -> Option<Instant> {
        if self.problem(certificate, now).is_some() {
            return None;
        }
        let signers = certificate.signers(&self.trusted(), now);
        signers.iter().filter_map(|der| self.since.get(der).copied()).min()
    }

    /// Time until the watched API server has accepted the certificate for `overlaps` overlaps; `None` if it does not
    /// accept it yet.
    pub(crate) fn wait(
        &self,
        certificate: &Certificate,
        overlaps: u32,
        now: Timestamp,
        instant: Instant,
    ) -> Option<Duration> {
        self.since(certificate, now).map(|since| remaining(since, self.overlap * overlaps, instant))
    }

    /// Time until no replica serves the previous certificate any more, which `certificate` replaced at
    /// `current_since`. `None` if the replicas can't serve `certificate` yet.
    pub(crate) fn retirement_wait(
        &self,
        certificate: &Certificate,
        current_since: Instant,
        now: Timestamp,
        instant: Instant,
    ) -> Option<Duration> {
        let trusted = self.wait(certificate, 2, now, instant)?;
        Some(trusted.max(remaining(current_since, self.overlap, instant)))
    }

    /// Whether the same trusted authority signed both, so that clients that accept one accept the other.
    pub(crate) fn same_signer(&self, one: &Certificate, other: &Certificate, now: Timestamp) -> bool {
        let signers = |certificate: &Certificate| match self.problem(certificate, now) {
            None => certificate.signers(&self.trusted(), now),
            Some(_) => Authorities::default(),
        };
        !signers(one).intersection(&signers(other)).is_empty()
    }

    /// Those of the authorities that were added less than [`FOREIGN_OVERLAPS`] overlaps ago, because another replica
    /// may be about to need them; and the time until the first of them is older.
    pub(crate) fn recent(
        &self,
        authorities: &Authorities,
        instant: Instant,
    ) -> (Authorities, Option<Duration>) {
        let wait = |der: &Vec<u8>| {
            self.since
                .get(der)
                .map_or(self.overlap, |&since| remaining(since, self.overlap * FOREIGN_OVERLAPS, instant))
        };
        let recent: Authorities = authorities.iter().filter(|der| !wait(der).is_zero()).cloned().collect();
        let first = recent.iter().map(wait).min();
        (recent, first)
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

    #[test]
    fn trust_counts_from_the_last_uninterrupted_observation() {
        let ((one, ours), (_, others)) = (issue(), issue());
        let mut trust = TrustHistory::new(OVERLAP);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(trust.since(&one, NOW), None);
        trust.observe(&ours, names(), start);
        trust.observe(&ours.clone().union(&others), names(), at(30));
        assert_eq!(trust.since(&one, NOW), Some(start));
        assert_eq!(trust.wait(&one, 1, NOW, at(30)), Some(Duration::from_secs(30)));
        assert_eq!(trust.wait(&one, 2, NOW, at(30)), Some(Duration::from_secs(90)));
        assert_eq!(trust.wait(&one, 1, NOW, at(61)), Some(Duration::ZERO));
        assert_eq!(trust.recent(&ours.clone().union(&others), at(600)), (others.clone(), Some(OVERLAP / 2)));
        trust.observe(&others, names(), at(70));
        assert_eq!(trust.since(&one, NOW), None);
        trust.observe(&ours, names(), at(80));
        assert_eq!(trust.since(&one, NOW), Some(at(80)));
    }

    #[test]
    fn certificate_for_another_name_is_not_accepted() {
        let (one, ours) = issue();
        let mut trust = TrustHistory::new(OVERLAP);
        trust.observe(&ours, vec!["other.example.svc".into()], Instant::now());
        assert_eq!(trust.since(&one, NOW), None);
        assert!(!trust.same_signer(&one, &one, NOW));
        assert!(matches!(trust.problem(&one, NOW), Some(Problem::WrongName { .. })));
    }

    #[test]
    fn same_signer_requires_a_common_authority() {
        let ((one, ours), (other, others)) = (issue(), issue());
        let mut trust = TrustHistory::new(OVERLAP);
        trust.observe(&ours.union(&others), names(), Instant::now());
        assert!(trust.same_signer(&one, &one, NOW));
        assert!(!trust.same_signer(&one, &other, NOW), "each is trusted by its own authority");
    }
}

//! Since when the API server trusts whom, as the watched configuration says it.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::certificates::authorities::Authorities;
use crate::certificates::certificate::{Certificate, Problem};

/// How many overlaps an authority of someone else stays: longer than another replica's files may be
/// behind ours, or ahead.
const FOREIGN: u32 = 10;

/// What has been seen of the configuration's caBundle. It is of this process's memory: one that has
/// just started counts from when it first looked, which is late, never early.
#[derive(Debug)]
pub(crate) struct Trust {
    since: BTreeMap<Vec<u8>, Instant>,
    names: Vec<String>,
    overlap: Duration,
}

impl Trust {
    /// Nobody is trusted yet. All API servers, of which the watch is connected to one, know within
    /// `overlap` what it knows.
    pub(crate) fn new(overlap: Duration) -> Self {
        Self { since: BTreeMap::new(), names: Vec::new(), overlap }
    }

    /// Notes whom the API server trusts now, and by which names it calls.
    pub(crate) fn observe(&mut self, trusted: &Authorities, names: Vec<String>, clock: Instant) {
        let since = |der: &Vec<u8>| self.since.get(der).copied().unwrap_or(clock);
        self.since = trusted.iter().map(|der| (der.clone(), since(der))).collect();
        self.names = names;
    }

    /// Why the API server would refuse a server with this certificate, if it would.
    pub(crate) fn problem(&self, certificate: &Certificate, now: Timestamp) -> Option<Problem> {
        certificate.problem(&self.trusted(), &self.names, now)
    }

    /// Since when the API server would accept it; none if it would not.
    pub(crate) fn since(&self, certificate: &Certificate, now: Timestamp) -> Option<Instant> {
        if self.problem(certificate, now).is_some() {
            return None;
        }
        let signers = certificate.signers(&self.trusted(), now);
        signers.iter().filter_map(|der| self.since.get(der).copied()).min()
    }

    /// How long until all API servers have accepted it for `overlaps` times the overlap; none if
    /// this one would not yet.
    pub(crate) fn wait(
        &self,
        certificate: &Certificate,
        overlaps: u32,
        now: Timestamp,
        clock: Instant,
    ) -> Option<Duration> {
        self.since(certificate, now).map(|since| left(since, self.overlap * overlaps, clock))
    }

    /// How long until nobody needs the certificate that this one replaced when things settled: until
    /// all replicas serve this one, and have for a while. None as long as they could not.
    pub(crate) fn outlived(
        &self,
        certificate: &Certificate,
        settled: Instant,
        now: Timestamp,
        clock: Instant,
    ) -> Option<Duration> {
        let trusted = self.wait(certificate, 2, now, clock)?;
        Some(trusted.max(left(settled, self.overlap, clock)))
    }

    /// Whether whoever accepts the one accepts the other, as one authority has signed both.
    pub(crate) fn alike(&self, one: &Certificate, other: &Certificate, now: Timestamp) -> bool {
        let signers = |certificate: &Certificate| match self.problem(certificate, now) {
            None => certificate.signers(&self.trusted(), now),
            Some(_) => Authorities::default(),
        };
        !signers(one).also_in(&signers(other)).is_empty()
    }

    /// Those of these authorities that came less than [`FOREIGN`] overlaps ago, and how long until the
    /// first of them did not: they may be what another replica is about to need.
    pub(crate) fn recent(
        &self,
        authorities: &Authorities,
        clock: Instant,
    ) -> (Authorities, Option<Duration>) {
        let wait = |der: &Vec<u8>| {
            self.since.get(der).map_or(self.overlap, |&since| left(since, self.overlap * FOREIGN, clock))
        };
        let recent: Authorities = authorities.iter().filter(|der| !wait(der).is_zero()).cloned().collect();
        let first = recent.iter().map(wait).min();
        (recent, first)
    }

    /// Whom the API server trusts.
    pub(crate) fn trusted(&self) -> Authorities {
        self.since.keys().cloned().collect()
    }
}

/// What is left of a duration that began then.
pub(crate) fn left(since: Instant, duration: Duration, clock: Instant) -> Duration {
    duration.saturating_sub(clock.duration_since(since))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificates::fixtures::{NOW, issue, names};

    const OVERLAP: Duration = Duration::from_secs(60);

    #[test]
    fn trust_counts_from_when_it_was_seen_without_a_break() {
        let ((one, ours), (_, others)) = (issue(), issue());
        let mut trust = Trust::new(OVERLAP);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(trust.since(&one, NOW), None);
        trust.observe(&ours, names(), start);
        trust.observe(&ours.clone().and(&others), names(), at(30));
        assert_eq!(trust.since(&one, NOW), Some(start));
        assert_eq!(trust.wait(&one, 1, NOW, at(30)), Some(Duration::from_secs(30)));
        assert_eq!(trust.wait(&one, 2, NOW, at(30)), Some(Duration::from_secs(90)));
        assert_eq!(trust.wait(&one, 1, NOW, at(61)), Some(Duration::ZERO));
        assert_eq!(trust.recent(&ours.clone().and(&others), at(600)), (others.clone(), Some(OVERLAP / 2)));
        trust.observe(&others, names(), at(70));
        assert_eq!(trust.since(&one, NOW), None);
        trust.observe(&ours, names(), at(80));
        assert_eq!(trust.since(&one, NOW), Some(at(80)));
    }

    #[test]
    fn nobody_accepts_another_name() {
        let (one, ours) = issue();
        let mut trust = Trust::new(OVERLAP);
        trust.observe(&ours, vec!["other.example.svc".into()], Instant::now());
        assert_eq!(trust.since(&one, NOW), None);
        assert!(!trust.alike(&one, &one, NOW));
        assert!(matches!(trust.problem(&one, NOW), Some(Problem::Misnamed { .. })));
    }

    #[test]
    fn two_of_one_authority_are_alike() {
        let ((one, ours), (other, others)) = (issue(), issue());
        let mut trust = Trust::new(OVERLAP);
        trust.observe(&ours.and(&others), names(), Instant::now());
        assert!(trust.alike(&one, &one, NOW));
        assert!(!trust.alike(&one, &other, NOW), "both are trusted, each for its own sake");
    }
}

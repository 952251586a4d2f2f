use rstest::rstest;

use super::*;
use crate::certificates::fixtures::{NOW, issue, issue_at, names};
use jiff::SignedDuration;

const OVERLAP: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

fn days(days: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * days)
}

/// Inputs of a decision at [`NOW`].
struct Scenario {
    stored: Option<Stored>,
    served: Option<Served>,
    trust: TrustHistory,
    start: Instant,
    current_since: Duration,
}

impl Scenario {
    fn new(stored: Option<Stored>) -> Self {
        Self {
            stored,
            served: None,
            trust: TrustHistory::new(OVERLAP),
            start: Instant::now(),
            current_since: Duration::ZERO,
        }
    }

    /// The API server trusts these since `after` the start.
    fn trusting(mut self, authorities: &Authorities, after: Duration) -> Self {
        self.trust.observe(authorities, names(), self.start + after);
        self
    }

    fn serving(mut self, (certificate, signers): &(Certificate, Authorities)) -> Self {
        self.served = Some(Served { certificate: certificate.clone(), signers: signers.clone() });
        self
    }

    /// The step at `after` the start.
    fn decide(&self, after: Duration) -> Step {
        decide(RotationFacts {
            stored: self.stored.as_ref(),
            served: self.served.as_ref(),
            names: &names(),
            trust: &self.trust,
            current_since: self.start + self.current_since,
            now: NOW,
            instant: self.start + after,
        })
    }
}

fn stored(current: &(Certificate, Authorities)) -> Stored {
    Stored { authorities: current.1.clone(), current: Ok(current.0.clone()), next: None }
}

fn rotating(current: &(Certificate, Authorities), next: &(Certificate, Authorities)) -> Stored {
    let authorities = current.1.clone().union(&next.1);
    Stored { authorities, current: Ok(current.0.clone()), next: Some(Ok(next.0.clone())) }
}

/// The certificate to serve meanwhile, and the authorities to keep.
fn prepared(step: Step) -> (Option<Certificate>, Authorities) {
    match step {
        Step::Prepare { current, authorities, .. } => (current, authorities),
        step => panic!("{step:?}"),
    }
}

#[rstest]
#[case::new(0, Some(60))]
#[case::later(59, Some(1))]
#[case::two_thirds(60, None)]
#[case::almost_expired(89, None)]
fn certificate_is_renewed_after_two_thirds(#[case] age: i64, #[case] wait: Option<i64>) {
    let old = issue_at(NOW - days(age));
    match (Scenario::new(Some(stored(&old))).decide(SECOND), wait) {
        (Step::Wait(Some(waits)), Some(wait)) => assert_eq!(waits, days(wait).unsigned_abs()),
        (step, None) => assert_eq!(prepared(step), old.clone().into_prepared()),
        (step, wait) => panic!("{step:?}, not {wait:?}"),
    }
}

trait IntoPrepared {
    fn into_prepared(self) -> (Option<Certificate>, Authorities);
}

impl IntoPrepared for (Certificate, Authorities) {
    fn into_prepared(self) -> (Option<Certificate>, Authorities) {
        (Some(self.0), self.1)
    }
}

#[test]
fn next_certificate_is_promoted_when_trusted_for_long_enough() {
    let (old, new) = (issue_at(NOW - days(60)), issue());
    let secret = rotating(&old, &new);
    let both = secret.authorities.clone();
    let scenario = Scenario::new(Some(secret)).trusting(&old.1, Duration::ZERO);
    assert_eq!(scenario.decide(10 * OVERLAP), Step::Wait(None), "it is not trusted");
    let scenario = scenario.trusting(&both, SECOND);
    assert_eq!(scenario.decide(OVERLAP), Step::Wait(Some(SECOND)));
    let promoted = Stored { authorities: both, current: Ok(new.0), next: None };
    assert_eq!(scenario.decide(OVERLAP + SECOND), Step::Promote(promoted));
}

#[rstest]
#[case::trusted_for_one_overlap(0, 0, 60, Some(60))]
#[case::trusted_for_two(0, 0, 120, None)]
#[case::late_promotion(0, 150, 160, Some(50))]
#[case::late_promotion_and_wait(0, 150, 210, None)]
fn old_authority_is_retired_when_unneeded(
    #[case] trusted: u64,
    #[case] current_since: u64,
    #[case] at: u64,
    #[case] wait: Option<u64>,
) {
    let seconds = Duration::from_secs;
    let (old, new) = (issue_at(NOW - days(60)), issue());
    let both = old.1.union(&new.1);
    let promoted = Stored { authorities: both.clone(), ..stored(&new) };
    let mut scenario = Scenario::new(Some(promoted)).trusting(&both, seconds(trusted));
    scenario.current_since = seconds(current_since);
    let step = scenario.decide(seconds(at));
    match wait {
        Some(wait) => assert_eq!(step, Step::Wait(Some(seconds(wait)))),
        None => assert_eq!(step, Step::Retire(stored(&new))),
    }
}

#[test]
fn old_authority_is_kept_while_the_new_one_is_untrusted() {
    let (old, new) = (issue(), issue());
    let promoted = Stored { authorities: old.1.clone().union(&new.1), ..stored(&new) };
    let scenario = Scenario::new(Some(promoted)).trusting(&old.1, Duration::ZERO);
    assert_eq!(scenario.decide(10 * OVERLAP), Step::Wait(None));
}

#[test]
fn served_certificate_is_restored_to_a_lost_secret() {
    let (served, other) = (issue(), issue());
    let expected = (Some(served.0.clone()), served.1.clone());
    let lost = Scenario::new(None).serving(&served);
    assert_eq!(prepared(lost.decide(SECOND)), expected);
    // Invalid in any part; its authorities are kept.
    let damaged = Stored { current: Err(Problem::Unreadable("tls.key")), ..stored(&other) };
    let (current, authorities) = prepared(Scenario::new(Some(damaged)).serving(&served).decide(SECOND));
    assert_eq!((current, authorities), (Some(served.0.clone()), served.1.clone().union(&other.1)));
    let mixed = Stored { authorities: other.1.clone(), ..stored(&served) };
    let (current, _) = prepared(Scenario::new(Some(mixed)).serving(&served).decide(SECOND));
    assert_eq!(current, Some(served.0.clone()));
}

#[test]
fn invalid_certificates_are_not_restored() {
    let (expired, misnamed) = (issue_at(NOW - days(91)), issue());
    assert_eq!(prepared(Scenario::new(None).decide(SECOND)), (None, Authorities::default()));
    assert_eq!(prepared(Scenario::new(None).serving(&expired).decide(SECOND)).0, None);
    let scenario = Scenario::new(Some(stored(&expired)));
    assert_eq!(
        prepared(scenario.decide(SECOND)),
        (None, Authorities::default()),
        "the authority has expired, too"
    );
    let names = ["another.example.svc".to_owned()];
    let (stored, trust, instant) = (stored(&misnamed), TrustHistory::new(OVERLAP), Instant::now());
    let facts = RotationFacts {
        stored: Some(&stored),
        served: None,
        names: &names,
        trust: &trust,
        current_since: instant,
        now: NOW,
        instant,
    };
    assert_eq!(prepared(decide(facts)), (None, misnamed.1));
}

#[test]
fn next_certificate_is_promoted_at_once_if_the_current_is_invalid() {
    let (expired, next) = (issue_at(NOW - days(91)), issue());
    let authorities = expired.1.clone().union(&next.1);
    let secret =
        Stored { authorities: authorities.clone(), next: Some(Ok(next.0.clone())), ..stored(&expired) };
    let promoted = Stored { authorities, ..stored(&next) };
    assert_eq!(Scenario::new(Some(secret)).decide(SECOND), Step::Promote(promoted));
}

#[test]
fn authorities_do_not_accumulate_when_the_secret_is_damaged_repeatedly() {
    let served = issue();
    let mut secret = stored(&served);
    for _ in 0..200 {
        secret.current = Err(Problem::Unreadable("tls.key"));
        let scenario = Scenario::new(Some(secret.clone())).serving(&served);
        let (_, authorities) = prepared(scenario.decide(SECOND));
        secret.authorities = authorities.union(&issue().1);
    }
    assert!(secret.authorities.len() <= 10, "{:?}", secret.authorities);
    assert_eq!(served.0.problem(&secret.authorities, &names(), NOW), None, "it is still trusted");
}

#[rstest]
#[case::damaged(|_: &Certificate| Err(Problem::Unreadable("next.key")))]
#[case::of_an_unknown_authority(|_: &Certificate| Ok(issue().0))]
#[case::old(|old: &Certificate| Ok(old.clone()))]
fn invalid_next_certificate_is_replaced(#[case] next: fn(&Certificate) -> Result<Certificate, Problem>) {
    let old = issue_at(NOW - days(60));
    let secret = Stored { next: Some(next(&old.0)), ..stored(&old) };
    let scenario = Scenario::new(Some(secret)).trusting(&old.1, Duration::ZERO);
    assert_eq!(prepared(scenario.decide(10 * OVERLAP)), old.into_prepared());
}

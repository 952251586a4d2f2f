use rstest::rstest;

use super::*;
use crate::certificates::fixtures::{NOW, issue, issue_at, names};
use jiff::SignedDuration;

const OVERLAP: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

fn days(days: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * days)
}

/// A Secret, and what else a decision follows from; the time is [`NOW`].
struct World {
    kept: Option<Kept>,
    served: Option<Served>,
    trust: Trust,
    start: Instant,
    settled: Duration,
}

impl World {
    fn new(kept: Option<Kept>) -> Self {
        Self {
            kept,
            served: None,
            trust: Trust::new(OVERLAP),
            start: Instant::now(),
            settled: Duration::ZERO,
        }
    }

    /// These have been trusted for so long after the start.
    fn trusting(mut self, authorities: &Authorities, after: Duration) -> Self {
        self.trust.observe(authorities, names(), self.start + after);
        self
    }

    fn serving(mut self, (certificate, signers): &(Certificate, Authorities)) -> Self {
        self.served = Some(Served { certificate: certificate.clone(), signers: signers.clone() });
        self
    }

    /// The step, so long after the start.
    fn decide(&self, after: Duration) -> Step {
        decide(Facts {
            kept: self.kept.as_ref(),
            served: self.served.as_ref(),
            names: &names(),
            trust: &self.trust,
            settled: self.start + self.settled,
            now: NOW,
            clock: self.start + after,
        })
    }
}

fn kept(current: &(Certificate, Authorities)) -> Kept {
    Kept { authorities: current.1.clone(), current: Ok(current.0.clone()), next: None }
}

fn rotating(current: &(Certificate, Authorities), next: &(Certificate, Authorities)) -> Kept {
    let authorities = current.1.clone().and(&next.1);
    Kept { authorities, current: Ok(current.0.clone()), next: Some(Ok(next.0.clone())) }
}

/// What is to be served while another certificate is made, and whose authorities stay.
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
fn another_is_made_after_two_thirds(#[case] age: i64, #[case] wait: Option<i64>) {
    let old = issue_at(NOW - days(age));
    match (World::new(Some(kept(&old))).decide(SECOND), wait) {
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
fn the_next_takes_over_when_it_has_been_trusted_for_long_enough() {
    let (old, new) = (issue_at(NOW - days(60)), issue());
    let secret = rotating(&old, &new);
    let both = secret.authorities.clone();
    let world = World::new(Some(secret)).trusting(&old.1, Duration::ZERO);
    assert_eq!(world.decide(10 * OVERLAP), Step::Wait(None), "it is not trusted");
    let world = world.trusting(&both, SECOND);
    assert_eq!(world.decide(OVERLAP), Step::Wait(Some(SECOND)));
    let promoted = Kept { authorities: both, current: Ok(new.0), next: None };
    assert_eq!(world.decide(OVERLAP + SECOND), Step::Promote(promoted));
}

#[rstest]
#[case::trusted_for_one_overlap(0, 0, 60, Some(60))]
#[case::trusted_for_two(0, 0, 120, None)]
#[case::late_promotion(0, 150, 160, Some(50))]
#[case::late_promotion_over(0, 150, 210, None)]
fn the_old_authority_goes_when_nobody_needs_it(
    #[case] trusted: u64,
    #[case] settled: u64,
    #[case] at: u64,
    #[case] wait: Option<u64>,
) {
    let seconds = Duration::from_secs;
    let (old, new) = (issue_at(NOW - days(60)), issue());
    let both = old.1.and(&new.1);
    let promoted = Kept { authorities: both.clone(), ..kept(&new) };
    let mut world = World::new(Some(promoted)).trusting(&both, seconds(trusted));
    world.settled = seconds(settled);
    let step = world.decide(seconds(at));
    match wait {
        Some(wait) => assert_eq!(step, Step::Wait(Some(seconds(wait)))),
        None => assert_eq!(step, Step::Retire(kept(&new))),
    }
}

#[test]
fn no_authority_goes_while_its_successor_is_not_trusted() {
    let (old, new) = (issue(), issue());
    let promoted = Kept { authorities: old.1.clone().and(&new.1), ..kept(&new) };
    let world = World::new(Some(promoted)).trusting(&old.1, Duration::ZERO);
    assert_eq!(world.decide(10 * OVERLAP), Step::Wait(None));
}

#[test]
fn what_is_served_goes_on_when_the_secret_is_lost() {
    let (served, other) = (issue(), issue());
    let expected = (Some(served.0.clone()), served.1.clone());
    let lost = World::new(None).serving(&served);
    assert_eq!(prepared(lost.decide(SECOND)), expected);
    // Spoilt in any part; whom it says to trust is trusted on.
    let spoilt = Kept { current: Err(Problem::Unreadable("tls.key")), ..kept(&other) };
    let (current, authorities) = prepared(World::new(Some(spoilt)).serving(&served).decide(SECOND));
    assert_eq!((current, authorities), (Some(served.0.clone()), served.1.clone().and(&other.1)));
    let mixed = Kept { authorities: other.1.clone(), ..kept(&served) };
    let (current, _) = prepared(World::new(Some(mixed)).serving(&served).decide(SECOND));
    assert_eq!(current, Some(served.0.clone()));
}

#[test]
fn nothing_good_goes_on_as_nothing() {
    let (expired, misnamed) = (issue_at(NOW - days(91)), issue());
    assert_eq!(prepared(World::new(None).decide(SECOND)), (None, Authorities::default()));
    assert_eq!(prepared(World::new(None).serving(&expired).decide(SECOND)).0, None);
    let world = World::new(Some(kept(&expired)));
    assert_eq!(prepared(world.decide(SECOND)), (None, Authorities::default()), "it has expired, too");
    let names = ["another.example.svc".to_owned()];
    let (kept, trust, clock) = (kept(&misnamed), Trust::new(OVERLAP), Instant::now());
    let facts = Facts {
        kept: Some(&kept),
        served: None,
        names: &names,
        trust: &trust,
        settled: clock,
        now: NOW,
        clock,
    };
    assert_eq!(prepared(decide(facts)), (None, misnamed.1));
}

#[test]
fn a_next_one_takes_over_at_once_when_the_current_one_is_no_good() {
    let (expired, next) = (issue_at(NOW - days(91)), issue());
    let authorities = expired.1.clone().and(&next.1);
    let secret = Kept { authorities: authorities.clone(), next: Some(Ok(next.0.clone())), ..kept(&expired) };
    let promoted = Kept { authorities, ..kept(&next) };
    assert_eq!(World::new(Some(secret)).decide(SECOND), Step::Promote(promoted));
}

#[test]
fn however_often_it_is_spoilt_authorities_do_not_add_up() {
    let served = issue();
    let mut secret = kept(&served);
    for _ in 0..200 {
        secret.current = Err(Problem::Unreadable("tls.key"));
        let world = World::new(Some(secret.clone())).serving(&served);
        let (_, authorities) = prepared(world.decide(SECOND));
        secret.authorities = authorities.and(&issue().1);
    }
    assert!(secret.authorities.len() <= 10, "{:?}", secret.authorities);
    assert_eq!(served.0.problem(&secret.authorities, &names(), NOW), None, "it is trusted on");
}

#[rstest]
#[case::spoilt(|_: &Certificate| Err(Problem::Unreadable("next.key")))]
#[case::of_no_known_authority(|_: &Certificate| Ok(issue().0))]
#[case::old(|old: &Certificate| Ok(old.clone()))]
fn a_next_one_that_is_no_good_is_made_again(#[case] next: fn(&Certificate) -> Result<Certificate, Problem>) {
    let old = issue_at(NOW - days(60));
    let secret = Kept { next: Some(next(&old.0)), ..kept(&old) };
    let world = World::new(Some(secret)).trusting(&old.1, Duration::ZERO);
    assert_eq!(prepared(world.decide(10 * OVERLAP)), old.into_prepared());
}

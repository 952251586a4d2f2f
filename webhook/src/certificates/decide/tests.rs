use rstest::rstest;

use super::*;
use crate::certificates::fixtures::{LIFETIME, NOW, authority, days, names};

/// An authority and a certificate that were generated this many days ago.
fn issued(age: i64) -> Issued {
    let time = NOW - days(age);
    issued_by(authority(time), age)
}

fn issued_by(authority: Authority, age: i64) -> Issued {
    let certificate = authority.issue(&names(), LIFETIME, NOW - days(age)).unwrap();
    Issued { authority, certificate }
}

fn stored(issued: &Issued) -> Stored {
    Stored { authority: Ok(issued.authority.clone()), certificate: Ok(issued.certificate.clone()) }
}

fn step<'a>(stored: &'a Stored, known: Option<&'a Issued>, names: &'a [String]) -> Step<'a> {
    decide(Facts { stored, known, names, now: NOW })
}

/// What is written.
fn written(step: Step<'_>) -> (AuthorityStep<'_>, Option<&Certificate>) {
    match step {
        Step::Write { authority, certificate, .. } => (authority, certificate),
        Step::Wait(wait) => panic!("waits for {wait:?}"),
    }
}

#[rstest]
#[case::new(0, Some(60))]
#[case::later(59, Some(1))]
#[case::two_thirds(60, None)]
#[case::almost_expired(89, None)]
#[case::expired(91, None)]
fn certificate_is_renewed_by_the_same_authority(#[case] age: i64, #[case] wait: Option<i64>) {
    let old = issued(age);
    let (stored, names) = (stored(&old), names());
    match (step(&stored, Some(&old), &names), wait) {
        (Step::Wait(waits), Some(wait)) => assert_eq!(waits, days(wait).unsigned_abs()),
        (step, None) => assert_eq!(written(step), (AuthorityStep::Keep(&old.authority), None)),
        (step, wait) => panic!("{step:?}, not {wait:?}"),
    }
}

#[rstest]
#[case::new(0, false)]
#[case::two_thirds(2434, true)]
#[case::expired(3651, true)]
#[case::of_the_future(-1, true)]
fn authority_is_renewed_with_its_key(#[case] age: i64, #[case] is_due: bool) {
    let old = authority(NOW - days(age));
    let names = names();
    let authority = Ok(old.clone());
    let stored = Stored { authority, certificate: Err(Problem::Unreadable("tls.crt")) };
    let expected = if is_due { AuthorityStep::Renew(&old) } else { AuthorityStep::Keep(&old) };
    assert_eq!(written(step(&stored, None, &names)), (expected, None));
}

#[test]
fn wait_ends_when_the_authority_is_due() {
    let old = issued_by(authority(NOW - days(2433)), 0);
    let (stored, names) = (stored(&old), names());
    assert_eq!(
        step(&stored, None, &names),
        Step::Wait(old.authority.validity.renewal().duration_since(NOW).unsigned_abs())
    );
}

#[test]
fn known_certificate_is_restored_to_a_lost_or_damaged_secret() {
    let (known, other, names) = (issued(10), issued(0), names());
    let (unreadable, whole) = (|| Problem::Unreadable("it"), stored(&known));
    for damaged in [
        Stored::nothing(),
        Stored { authority: Err(unreadable()), certificate: Err(unreadable()) },
        Stored { authority: Err(unreadable()), ..whole.clone() },
        Stored { authority: Err(unreadable()), ..stored(&other) },
        Stored { certificate: Err(unreadable()), ..whole.clone() },
        Stored { certificate: Ok(other.certificate.clone()), ..whole },
    ] {
        let expected = (AuthorityStep::Keep(&known.authority), Some(&known.certificate));
        assert_eq!(written(step(&damaged, Some(&known), &names)), expected, "{damaged:?}");
    }
}

#[test]
fn invalid_certificate_is_not_restored() {
    let (expired, fine, nothing, names) = (issued(91), issued(0), Stored::nothing(), names());
    let expected = (AuthorityStep::Keep(&expired.authority), None);
    assert_eq!(written(step(&nothing, Some(&expired), &names)), expected);
    let others = ["another.example.svc".to_owned()];
    let expected = (AuthorityStep::Keep(&fine.authority), None);
    assert_eq!(written(step(&nothing, Some(&fine), &others)), expected);
    assert_eq!(written(step(&stored(&fine), Some(&fine), &others)), expected);
}

#[test]
fn another_authority_in_the_secret_is_adopted() {
    let (known, other, names) = (issued(0), issued(0), names());
    let stored = stored(&other);
    assert!(matches!(step(&stored, Some(&known), &names), Step::Wait(_)));
    // The known certificate is none of this authority.
    let without = Stored { certificate: Ok(known.certificate.clone()), ..stored };
    let expected = (AuthorityStep::Keep(&other.authority), None);
    assert_eq!(written(step(&without, Some(&known), &names)), expected);
}

#[test]
fn replica_that_knows_no_authority_generates_one() {
    let names = names();
    let damaged = Stored { authority: Err(Problem::Unreadable("ca.key")), ..stored(&issued(0)) };
    for stored in [&Stored::nothing(), &damaged] {
        assert_eq!(written(step(stored, None, &names)), (AuthorityStep::Generate, None));
    }
}

#[test]
fn replicas_end_with_the_authority_of_the_first_write() {
    let (old, new, names) = (issued(0), issued(0), names());
    for first in [&old, &new] {
        let stored = stored(first);
        for known in [None, Some(&old), Some(&new)] {
            assert!(matches!(step(&stored, known, &names), Step::Wait(_)), "{known:?} writes");
        }
    }
}

#[test]
fn contents_are_valid_only_together() {
    let (one, other, names) = (issued(0), issued(0), names());
    assert_eq!(stored(&one).valid(&names, NOW), Ok(one.clone()));
    let mixed = Stored { certificate: Ok(other.certificate), ..stored(&one) };
    assert!(matches!(mixed.valid(&names, NOW), Err(Problem::Unverifiable(_))));
    assert_eq!(
        stored(&one).valid(&names, NOW + days(91)),
        Err(Problem::Expired(one.certificate.validity.end))
    );
    assert_eq!(Stored::nothing().valid(&names, NOW), Err(Problem::NoSecret));
}

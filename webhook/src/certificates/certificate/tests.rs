use jiff::SignedDuration;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rstest::rstest;

use super::*;
use crate::certificates::fixtures::{NOW, issue, names};

const DAY: i64 = 24;

#[rstest]
#[case::new(0, None)]
#[case::clock_a_little_behind(-1, None)]
#[case::clock_far_behind(-2, Some("only valid from 2027-01-15T07:00:00Z"))]
#[case::last_day(89 * DAY, None)]
#[case::expired(91 * DAY, Some("expired at 2027-04-15T08:00:00Z"))]
fn certificate_is_valid_during_its_lifetime(#[case] after_hours: i64, #[case] expected: Option<&str>) {
    let (certificate, authorities) = issue();
    let problem = certificate.problem(&authorities, &names(), NOW + SignedDuration::from_hours(after_hours));
    match (problem.map(|problem| problem.to_string()), expected) {
        (None, None) => {}
        (Some(problem), Some(expected)) => assert!(problem.contains(expected), "{problem}"),
        (problem, expected) => panic!("{problem:?}, not {expected:?}"),
    }
}

#[rstest]
#[case::fewer(&["192.0.2.1"], true)]
#[case::another_name(&["webhook.example.svc", "other.example.svc"], false)]
#[case::another_address(&["192.0.2.2"], false)]
#[case::no_name(&["a b"], false)]
fn all_names_must_match(#[case] names: &[&str], #[case] fine: bool) {
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    let (certificate, authorities) = issue();
    assert_eq!(certificate.problem(&authorities, &names, NOW).is_none(), fine);
}

#[test]
fn only_the_issuer_is_a_signer() {
    let ((one, ours), (_, others)) = (issue(), issue());
    let both = ours.clone().union(&others);
    assert_eq!(one.signers(&both, NOW), ours);
    assert!(one.signers(&others, NOW).is_empty());
    let problem = one.problem(&others, &names(), NOW).unwrap().to_string();
    assert!(problem.contains("not signed by a trusted authority"), "{problem}");
}

#[test]
fn key_of_another_certificate_is_rejected() {
    let ((one, _), (other, _)) = (issue(), issue());
    let mixed = Certificate::read(&one.chain, other.key).unwrap_err();
    assert!(matches!(mixed, Problem::Unservable(_)), "{mixed}");
}

#[test]
fn trusted_self_signed_certificate_is_valid() {
    mcsa_runtime::tls::install_provider();
    let mut params = CertificateParams::new(names()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    let certificate = Certificate::read(&pem, key.serialize_pem().into()).unwrap();
    assert_eq!(certificate.problem(&Authorities::read(pem.as_bytes()), &names(), NOW), None);
}

#[rstest]
#[case("")]
#[case("x")]
#[case("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")]
#[case("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n")]
fn invalid_pem_is_rejected(#[case] pem: &str) {
    let (issued, _) = issue();
    assert!(Certificate::read(pem, issued.key).is_err());
    assert!(Certificate::read(&issued.chain, pem.into()).is_err());
}

#[test]
fn key_is_not_printed() {
    let (issued, _) = issue();
    let key = issued.key.expose_secret().lines().nth(1).unwrap();
    assert!(!format!("{issued:?}").contains(key));
}

#[test]
fn signer_is_found_among_many_authorities() {
    let (one, its) = issue();
    let many = (0..120).fold(its, |all, _| all.union(&issue().1));
    assert_eq!(one.problem(&many, &names(), NOW), None);
}

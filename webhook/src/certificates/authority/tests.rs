use rstest::rstest;

use super::*;
use crate::certificates::fixtures::{LIFETIME, NOW, authority, days, issue, names};

fn pem(authority: &Authority) -> String {
    authority.certificates().pem()
}

#[test]
fn old_and_renewed_authority_accept_the_same_certificates() {
    let old = authority(NOW);
    let late = NOW + days(7 * 365);
    let new = old.renew(late).unwrap();
    assert!(
        old != new && old.validity.check_renewal(late).is_err() && new.validity.check_renewal(late).is_ok()
    );
    for issuer in [&old, &new] {
        let certificate = issuer.issue(&names(), LIFETIME, late).unwrap();
        for trusted in [&old, &new] {
            assert_eq!(certificate.problem(&trusted.certificates(), &names(), late), None);
            assert_eq!(certificate.signers(&trusted.certificates(), late), trusted.certificates());
        }
        // At the end of the old one, only the new one is accepted.
        let end = old.validity.end - days(1);
        let certificate = issuer.issue(&names(), LIFETIME, end).unwrap();
        let both = old.certificates().union(&new.certificates());
        assert_eq!(certificate.signers(&both, end + days(2)), new.certificates());
        assert_eq!(certificate.problem(&both, &names(), end + days(2)), None);
        let problem = certificate.problem(&old.certificates(), &names(), end + days(2)).unwrap().to_string();
        assert!(problem.contains("its authority is not valid now"), "{problem}");
    }
}

#[test]
fn authority_lasts_ten_years_and_round_trips() {
    let generated = authority(NOW);
    assert_eq!(generated.validity.end, NOW + days(3650));
    let read = Authority::read(&pem(&generated), generated.key.clone()).unwrap();
    assert_eq!(read, generated);
    let again = read.renew(NOW + days(1)).unwrap();
    let read = Authority::read(&pem(&again), again.key.clone()).unwrap();
    assert_eq!((read.validity, read.key.expose_secret()), (again.validity, generated.key.expose_secret()));
}

#[rstest]
#[case::three_months(90 * 24 * 3600, 60 * 24 * 3600)]
#[case::seconds(30, 20)]
fn lifetime_excludes_the_skew(#[case] lifetime: u64, #[case] renewal: i64) {
    let certificate = authority(NOW).issue(&names(), Duration::from_secs(lifetime), NOW).unwrap();
    assert_eq!(certificate.validity.renewal().duration_since(NOW).as_secs(), renewal);
    assert_eq!(certificate.validity.end.duration_since(NOW).unsigned_abs().as_secs(), lifetime);
}

#[test]
fn authority_that_can_not_be_renewed_is_rejected() {
    let (one, other) = (authority(NOW), authority(NOW));
    let (leaf, _) = issue();
    let foreign_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let foreign = params.self_signed(&foreign_key).unwrap().pem();
    params.is_ca = IsCa::NoCa;
    params.distinguished_name.push(DnType::CommonName, COMMON_NAME);
    let no_authority = params.self_signed(&foreign_key).unwrap().pem();
    let foreign_key = || SecretString::from(foreign_key.serialize_pem());
    let invalid = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned();
    for (pem, key, expected) in [
        (pem(&one), other.key, Problem::Foreign),
        (pem(&one), "x".into(), Problem::Unreadable("ca.key")),
        (String::new(), one.key.clone(), UNREADABLE),
        (invalid, one.key, UNREADABLE),
        (leaf.chain, leaf.key, Problem::Foreign),
        (foreign, foreign_key(), Problem::Foreign),
        (no_authority, foreign_key(), Problem::Foreign),
    ] {
        assert_eq!(Authority::read(&pem, key), Err(expected), "{pem}");
    }
}

#[test]
fn unusable_names_are_rejected() {
    let problem = authority(NOW).issue(&["a b".to_owned()], LIFETIME, NOW).unwrap_err();
    assert!(matches!(problem, Problem::WrongName { .. }), "{problem}");
}

#[test]
fn key_is_not_printed() {
    let authority = authority(NOW);
    let key = authority.key.expose_secret().lines().nth(1).unwrap();
    assert!(!format!("{authority:?}").contains(key));
}

use super::*;
use crate::certificates::certificate::Certificate;
use crate::certificates::fixtures::{NOW, issue};
use rstest::rstest;

#[test]
fn equal_sets_have_the_same_pem() {
    let ((_, one), (_, other)) = (issue(), issue());
    let both = one.clone().union(&other);
    let text = format!("one:\n{}a word\n{}{}", one.pem(), other.pem(), one.pem());
    let read = Authorities::read(text.as_bytes());
    assert_eq!(read, both);
    assert_eq!(read.pem(), other.clone().union(&one).pem());
    assert_eq!(Authorities::read(read.pem().as_bytes()), both);
    assert_eq!(both.intersection(&one), one);
    assert_eq!((both.len(), one.intersection(&other).is_empty()), (2, true));
}

#[test]
fn pem_is_the_same_as_from_other_tools() {
    mcsa_runtime::tls::install_provider();
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec![]).unwrap().self_signed(&key).unwrap();
    let read = Authorities::read(certificate.pem().as_bytes());
    assert_eq!(read.pem(), certificate.pem().replace("\r\n", "\n"));
    assert!(read.contains(certificate.der()));
}

#[rstest]
#[case("")]
#[case("x")]
#[case("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")]
#[case("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n")]
fn invalid_pem_is_skipped(#[case] garbage: &str) {
    let (certificate, authorities): (Certificate, _) = issue();
    assert!(Authorities::read(garbage.as_bytes()).is_empty());
    let read = Authorities::read(format!("{garbage}\n{}", authorities.pem()).as_bytes());
    assert!(certificate.problem(&read, &[], NOW).is_none());
}

//! Certificate authorities, as a set: the same ones are written as the same text by each replica.

use std::collections::BTreeSet;

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::certificates::certificate::validity;

/// How many are kept in case someone still needs them. Two are enough for a rotation.
const MOST: usize = 8;

/// What a client that trusts these authorities has as its roots.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Authorities(BTreeSet<Vec<u8>>);

impl Authorities {
    /// Those in a PEM bundle. What is no certificate is skipped, as the API server skips it.
    pub fn read(pem: &[u8]) -> Self {
        let certificates = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok);
        Self(certificates.filter(can_be_trusted).map(|der| der.to_vec()).collect())
    }

    /// As PEM; two equal sets are the same text.
    pub fn pem(&self) -> String {
        self.0.iter().map(|der| encode(der)).collect()
    }

    /// With those of the other.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.0.extend(other.0.iter().cloned());
        self
    }

    /// Those which the other has, too.
    #[must_use]
    pub fn also_in(&self, other: &Self) -> Self {
        Self(self.0.intersection(&other.0).cloned().collect())
    }

    /// Those which the other has not.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        Self(self.0.difference(&other.0).cloned().collect())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this certificate is one of them.
    pub fn contains(&self, der: &[u8]) -> bool {
        self.0.contains(der)
    }

    /// Their certificates, in DER.
    pub fn iter(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.0.iter()
    }

    /// Of those whose time is not over, the newest: what is kept in case someone still needs it must
    /// not add up.
    #[must_use]
    pub fn newest(&self, now: Timestamp) -> Self {
        let age = |der: &Vec<u8>| Some((validity(der).filter(|(_, end)| *end > now)?.0, der.clone()));
        let mut ages: Vec<_> = self.iter().filter_map(age).collect();
        ages.sort();
        ages.into_iter().rev().take(MOST).map(|(_, der)| der).collect()
    }
}

impl FromIterator<Vec<u8>> for Authorities {
    fn from_iter<I: IntoIterator<Item = Vec<u8>>>(certificates: I) -> Self {
        Self(certificates.into_iter().collect())
    }
}

impl std::fmt::Debug for Authorities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} authorities", self.len())
    }
}

fn can_be_trusted(der: &CertificateDer<'_>) -> bool {
    RootCertStore::empty().add(der.clone()).is_ok()
}

fn encode(der: &[u8]) -> String {
    let mut text = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for (index, character) in STANDARD.encode(der).chars().enumerate() {
        if index > 0 && index % 64 == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    text + "\n-----END CERTIFICATE-----\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificates::certificate::Certificate;
    use crate::certificates::certificate::tests::{NOW, made, made_at};
    use jiff::SignedDuration;
    use rstest::rstest;

    #[test]
    fn equal_sets_are_the_same_text() {
        let ((_, one), (_, other)) = (made(), made());
        let both = one.clone().and(&other);
        let text = format!("one:\n{}a word\n{}{}", one.pem(), other.pem(), one.pem());
        let read = Authorities::read(text.as_bytes());
        assert_eq!(read, both);
        assert_eq!(read.pem(), other.clone().and(&one).pem());
        assert_eq!(Authorities::read(read.pem().as_bytes()), both);
        assert_eq!(both.also_in(&one), one);
        assert_eq!((both.len(), one.also_in(&other).is_empty()), (2, true));
    }

    #[test]
    fn of_many_the_newest_are_kept() {
        let at = |day: i64| NOW + SignedDuration::from_hours(24 * day);
        let each: Vec<_> = (0..20).map(|day| made_at(at(day)).1).collect();
        let all = each.iter().fold(Authorities::default(), Authorities::and);
        let newest = each[12..].iter().fold(Authorities::default(), Authorities::and);
        assert_eq!(all.newest(at(20)), newest);
        assert_eq!(all.newest(at(200)), Authorities::default(), "all have expired");
    }

    #[test]
    fn a_certificate_is_read_as_others_write_it() {
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
    fn garbage_is_skipped(#[case] garbage: &str) {
        let (certificate, authorities): (Certificate, _) = made();
        assert!(Authorities::read(garbage.as_bytes()).is_empty());
        let read = Authorities::read(format!("{garbage}\n{}", authorities.pem()).as_bytes());
        assert!(certificate.problem(&read, &[], NOW).is_none());
    }
}

//! Certificate authorities, as a set: the same ones are written as the same text by each replica.

use std::collections::BTreeSet;

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::certificates::validity::validity;

/// How many are kept in case someone still needs them. Two are enough for a rotation.
const MOST: usize = 8;

/// What a client that trusts these authorities has as its roots.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Authorities(BTreeSet<Vec<u8>>);

impl Authorities {
    /// Those in a PEM bundle. What is no certificate is skipped, as the API server skips it.
    pub(crate) fn read(pem: &[u8]) -> Self {
        let certificates = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok);
        Self(certificates.filter(can_be_trusted).map(|der| der.to_vec()).collect())
    }

    /// As PEM; two equal sets are the same text.
    pub(crate) fn pem(&self) -> String {
        self.0.iter().map(|der| encode(der)).collect()
    }

    /// With those of the other.
    #[must_use]
    pub(crate) fn and(mut self, other: &Self) -> Self {
        self.0.extend(other.0.iter().cloned());
        self
    }

    /// Those which the other has, too.
    #[must_use]
    pub(crate) fn also_in(&self, other: &Self) -> Self {
        Self(self.0.intersection(&other.0).cloned().collect())
    }

    /// Those which the other has not.
    #[must_use]
    pub(crate) fn without(&self, other: &Self) -> Self {
        Self(self.0.difference(&other.0).cloned().collect())
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this certificate is one of them.
    pub(crate) fn contains(&self, der: &[u8]) -> bool {
        self.0.contains(der)
    }

    /// Their certificates, in DER.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.0.iter()
    }

    /// Of those whose time is not over, the newest: what is kept in case someone still needs it must
    /// not add up.
    #[must_use]
    pub(crate) fn newest(&self, now: Timestamp) -> Self {
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
mod tests;

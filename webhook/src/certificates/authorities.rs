//! A set of certificate authorities. Equal sets have the same PEM, so that replicas write the same CA bundle.

use std::collections::BTreeSet;

use base64::{Engine, engine::general_purpose::STANDARD};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// Certificates of trusted authorities, in DER.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Authorities(BTreeSet<Vec<u8>>);

impl Authorities {
    /// Parses a PEM bundle. Skips invalid certificates, as the API server does.
    pub(crate) fn read(pem: &[u8]) -> Self {
        let certificates = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok);
        Self(certificates.filter(can_be_trusted).map(|der| der.to_vec()).collect())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.iter().map(|der| encode(der)).collect()
    }

    #[must_use]
    pub(crate) fn union(mut self, other: &Self) -> Self {
        self.0.extend(other.0.iter().cloned());
        self
    }

    #[must_use]
    pub(crate) fn intersection(&self, other: &Self) -> Self {
        Self(self.0.intersection(&other.0).cloned().collect())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn contains(&self, der: &[u8]) -> bool {
        self.0.contains(der)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.0.iter()
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

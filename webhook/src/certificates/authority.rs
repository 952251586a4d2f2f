//! The authority of generated certificates. Its key is stored, so that API servers already trust the authority of a
//! renewed certificate. A renewed authority has the same key and subject, so API servers that trust either of the two
//! accept the certificates of both.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use secrecy::{ExposeSecret, SecretString};
use time::OffsetDateTime;
use x509_parser::parse_x509_certificate;

use crate::certificates::authorities::Authorities;
use crate::certificates::certificate::Certificate;
use crate::certificates::problem::Problem;
use crate::certificates::validity::Validity;

/// Ten years.
const LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

const COMMON_NAME: &str = "multicluster-service-account-webhook CA";

const UNREADABLE: Problem = Problem::Unreadable("ca.crt");

#[derive(Clone)]
pub(crate) struct Authority {
    certificate: CertificateDer<'static>,
    /// The private key, in PEM.
    pub key: SecretString,
    pub validity: Validity,
}

impl Authority {
    pub(crate) fn generate(now: Timestamp) -> Result<Self, Problem> {
        let key = KeyPair::generate()?;
        Self::of(self_signed(&key, now)?, key.serialize_pem().into())
    }

    /// Parses a certificate and its key in PEM.
    pub(crate) fn read(pem: &str, key: SecretString) -> Result<Self, Problem> {
        Self::of(CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| UNREADABLE)?, key)
    }

    fn of(certificate: CertificateDer<'static>, key: SecretString) -> Result<Self, Problem> {
        let validity = Validity::of(&certificate).ok_or(UNREADABLE)?;
        let authority = Self { certificate, key, validity };
        // The renewed authority must have the same certificates.
        let renewed = self_signed(&authority.key_pair()?, Timestamp::UNIX_EPOCH)?;
        let is_own = identity(&authority.certificate) == identity(&renewed);
        if is_own { Ok(authority) } else { Err(Problem::Foreign) }
    }

    /// The same authority with a later end.
    pub(crate) fn renew(&self, now: Timestamp) -> Result<Self, Problem> {
        Self::of(self_signed(&self.key_pair()?, now)?, self.key.clone())
    }

    fn key_pair(&self) -> Result<KeyPair, Problem> {
        KeyPair::from_pem(self.key.expose_secret()).map_err(|_| Problem::Unreadable("ca.key"))
    }

    /// Generates a certificate for these DNS names and addresses.
    pub(crate) fn issue(
        &self,
        names: &[String],
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<Certificate, Problem> {
        let validity = Validity::from_now(lifetime, now);
        let mut server = params(names, "multicluster-service-account-webhook", validity)?;
        server.use_authority_key_identifier_extension = true;
        server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let issuer = Issuer::new(params(&[], COMMON_NAME, self.validity)?, self.key_pair()?);
        let key = KeyPair::generate()?;
        let chain = server.signed_by(&key, &issuer)?.pem();
        let certificate = Certificate::read(&chain, key.serialize_pem().into())?;
        // Names may be invalid, and an authority of another program may have constraints.
        certificate.problem(&self.certificates(), names, now).map_or(Ok(certificate), Err)
    }

    /// Its certificate.
    pub(crate) fn certificates(&self) -> Authorities {
        std::iter::once(self.certificate.to_vec()).collect()
    }
}

impl PartialEq for Authority {
    fn eq(&self, other: &Self) -> bool {
        // `of` has verified that the key belongs to the certificate.
        self.certificate == other.certificate
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an authority until {}", self.validity.end)
    }
}

/// What must not change when an authority is renewed: whether it is one, its subject and its public key.
fn identity(certificate: &[u8]) -> Option<(bool, &[u8], &[u8])> {
    let (_, parsed) = parse_x509_certificate(certificate).ok()?;
    let parsed = &parsed.tbs_certificate;
    Some((parsed.is_ca(), parsed.subject.as_raw(), parsed.subject_pki.raw))
}

fn self_signed(key: &KeyPair, now: Timestamp) -> Result<CertificateDer<'static>, rcgen::Error> {
    let mut params = params(&[], COMMON_NAME, Validity::from_now(LIFETIME, now))?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params.self_signed(key)?.der().clone())
}

fn params(
    names: &[String],
    common_name: &str,
    validity: Validity,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = date(validity.start);
    params.not_after = date(validity.end);
    Ok(params)
}

/// 1970, and thus expired, if the time is out of range.
fn date(time: Timestamp) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(time.as_second()).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests;

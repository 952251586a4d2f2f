//! The authority of generated certificates. Its key is stored, so that a renewed certificate is signed by an authority
//! that API servers already trust. A renewed authority has the same key and the same subject, so that each certificate
//! of the old one is also one of the new one, and the other way around.

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

use crate::certificates::authorities::{Authorities, can_be_trusted};
use crate::certificates::certificate::Certificate;
use crate::certificates::problem::Problem;
use crate::certificates::validity::Validity;

/// Ten years.
const LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

const UNREADABLE: Problem = Problem::Unreadable("ca.crt");

#[derive(Clone)]
pub(crate) struct Authority {
    certificate: CertificateDer<'static>,
    common_name: String,
    /// The private key, in PEM.
    pub key: SecretString,
    pub validity: Validity,
}

impl Authority {
    pub(crate) fn generate(now: Timestamp) -> Result<Self, Problem> {
        // A unique name: verifiers try only the authorities with the name of the issuer.
        let common_name = format!("multicluster-service-account-webhook CA {}", now.as_microsecond());
        let key = KeyPair::generate()?;
        Self::of(&self_signed(&common_name, &key, now)?, key.serialize_pem().into())
    }

    /// Parses the first certificate and its key in PEM.
    pub(crate) fn read(pem: &str, key: SecretString) -> Result<Self, Problem> {
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| UNREADABLE)?;
        Self::of(&certificate, key)
    }

    /// Checks that it can sign, and that it can be renewed, by trying the latter.
    fn of(certificate: &CertificateDer<'static>, key: SecretString) -> Result<Self, Problem> {
        let (_, parsed) = parse_x509_certificate(certificate).map_err(|_| UNREADABLE)?;
        if !parsed.is_ca() || !can_be_trusted(certificate) {
            return Err(Problem::NotRenewable("it is not an authority"));
        }
        let common_name = parsed.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        let common_name = common_name.unwrap_or_default().to_owned();
        let renewed = self_signed(&common_name, &key_pair(&key)?, Timestamp::UNIX_EPOCH)?;
        let (_, renewed) = parse_x509_certificate(&renewed).map_err(|_| UNREADABLE)?;
        if renewed.public_key().raw != parsed.public_key().raw {
            return Err(Problem::NotRenewable("ca.key is not its key"));
        }
        if renewed.subject().as_raw() != parsed.subject().as_raw() {
            return Err(Problem::NotRenewable("its subject is not just a common name in UTF-8"));
        }
        let validity = Validity::of(certificate).ok_or(UNREADABLE)?;
        Ok(Self { certificate: certificate.clone(), common_name, key, validity })
    }

    /// The same authority with a later end.
    pub(crate) fn renew(&self, now: Timestamp) -> Result<Self, Problem> {
        Self::of(&self_signed(&self.common_name, &key_pair(&self.key)?, now)?, self.key.clone())
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
        let (own, own_key) = (params(&[], &self.common_name, self.validity)?, key_pair(&self.key)?);
        let key = KeyPair::generate()?;
        let chain = server.signed_by(&key, &Issuer::from_params(&own, &own_key))?.pem();
        let certificate = Certificate::read(&chain, key.serialize_pem().into())?;
        // An authority of another program may have constraints.
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

fn key_pair(key: &SecretString) -> Result<KeyPair, Problem> {
    KeyPair::from_pem(key.expose_secret()).map_err(|_| Problem::Unreadable("ca.key"))
}

fn self_signed(
    common_name: &str,
    key: &KeyPair,
    now: Timestamp,
) -> Result<CertificateDer<'static>, rcgen::Error> {
    let mut params = params(&[], common_name, Validity::from_now(LIFETIME, now))?;
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

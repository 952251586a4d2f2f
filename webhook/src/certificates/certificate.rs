//! The serving certificate: generates and verifies it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error as TlsError, RootCertStore, ServerConfig};
use secrecy::{ExposeSecret, SecretString};
use time::OffsetDateTime;

use crate::certificates::authorities::Authorities;
use crate::certificates::validity::validity;

/// Tolerated clock skew of the API server.
const SKEW: SignedDuration = SignedDuration::from_hours(1);

/// A certificate and its private key.
#[derive(Clone)]
pub(crate) struct Certificate {
    /// The certificate chain, in PEM.
    pub chain: String,
    /// The private key, in PEM.
    pub key: SecretString,
    pub start: Timestamp,
    pub end: Timestamp,
    /// A TLS config that serves it.
    pub config: Arc<ServerConfig>,
    server: CertificateDer<'static>,
    intermediates: Vec<CertificateDer<'static>>,
}

/// Why a certificate is unusable.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum Problem {
    /// A part is missing or not valid PEM.
    #[error("{0} can't be read")]
    Unreadable(&'static str),
    /// For example, the key belongs to another certificate.
    #[error("it can't be served: {0}")]
    Unservable(TlsError),
    /// Clients that trust the authorities would reject it.
    #[error("it can't be verified: {0}")]
    Unverifiable(TlsError),
    /// Clients that connect to this name would reject it.
    #[error("it is not valid for {name}: {error}")]
    WrongName { name: String, error: TlsError },
    #[error("it is only valid from {0}")]
    NotYetValid(Timestamp),
    #[error("it expired at {0}")]
    Expired(Timestamp),
    #[error("can't generate it: {0}")]
    NotGenerated(String),
}

impl Certificate {
    /// Generates a certificate for these DNS names and addresses, and an authority for it, whose key is discarded.
    pub(crate) fn issue(
        names: &[String],
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<(Self, Authorities), Problem> {
        issue(names, lifetime, now).map_err(|error| Problem::NotGenerated(error.to_string())).and_then(
            |(authority, chain, key)| Ok((Self::read(&chain, key)?, Authorities::read(authority.as_bytes()))),
        )
    }

    /// Parses a chain and its key in PEM.
    pub(crate) fn read(chain: &str, key: SecretString) -> Result<Self, Problem> {
        const UNREADABLE: Problem = Problem::Unreadable("the certificate");
        let all: Vec<_> = CertificateDer::pem_slice_iter(chain.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|_| UNREADABLE)?;
        let (server, intermediates) = all.split_first().ok_or(UNREADABLE)?;
        let (start, end) = validity(server).ok_or(UNREADABLE)?;
        let der = PrivateKeyDer::from_pem_slice(key.expose_secret().as_bytes())
            .map_err(|_| Problem::Unreadable("the key"))?;
        let mut config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(all.clone(), der)
            .map_err(Problem::Unservable)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self {
            chain: chain.to_owned(),
            start,
            end,
            config: Arc::new(config),
            server: server.clone(),
            intermediates: intermediates.to_vec(),
            key,
        })
    }

    /// Why clients that trust these authorities would reject it now, for a server with these names.
    pub(crate) fn problem(
        &self,
        authorities: &Authorities,
        names: &[String],
        now: Timestamp,
    ) -> Option<Problem> {
        let check = || {
            self.check_time(now)?;
            self.check_names(names)?;
            self.check_signature(authorities, now)
        };
        check().err()
    }

    /// Checks that it is valid now.
    pub(crate) fn check_time(&self, now: Timestamp) -> Result<(), Problem> {
        if now < self.start {
            Err(Problem::NotYetValid(self.start))
        } else if now > self.end {
            Err(Problem::Expired(self.end))
        } else {
            Ok(())
        }
    }

    fn check_names(&self, names: &[String]) -> Result<(), Problem> {
        let parsed = ParsedCertificate::try_from(&self.server).map_err(Problem::Unverifiable)?;
        names.iter().try_for_each(|name| {
            let verified = ServerName::try_from(name.as_str())
                .map_err(|error| TlsError::General(error.to_string()))
                .and_then(|server_name| verify_server_name(&parsed, &server_name));
            verified.map_err(|error| Problem::WrongName { name: name.clone(), error })
        })
    }

    fn check_signature(&self, authorities: &Authorities, now: Timestamp) -> Result<(), Problem> {
        // A certificate that is itself trusted needs no signature, even if it is marked as an authority, as openssl
        // does by default.
        if authorities.contains(&self.server) {
            return Ok(());
        }
        // One authority at a time: rustls gives up after 100 signature checks, and tries all authorities of a name.
        let mut problem =
            Problem::Unverifiable(TlsError::General("not signed by a trusted authority".to_owned()));
        for authority in authorities.iter() {
            match self.check_signed_by(authority, now) {
                Ok(()) => return Ok(()),
                Err(TlsError::InvalidCertificate(
                    CertificateError::UnknownIssuer | CertificateError::BadSignature,
                )) => {}
                Err(error) => problem = Problem::Unverifiable(error),
            }
        }
        Err(problem)
    }

    fn check_signed_by(&self, authority: &[u8], now: Timestamp) -> Result<(), TlsError> {
        let clock = UnixTime::since_unix_epoch(now.duration_since(Timestamp::UNIX_EPOCH).unsigned_abs());
        let provider =
            CryptoProvider::get_default().ok_or_else(|| TlsError::General("no TLS provider".to_owned()))?;
        let algorithms = provider.signature_verification_algorithms.all;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(authority))?;
        let parsed = ParsedCertificate::try_from(&self.server)?;
        verify_server_cert_signed_by_trust_anchor(&parsed, &roots, &self.intermediates, clock, algorithms)
    }

    /// The authorities by which it can be verified.
    pub(crate) fn signers(&self, authorities: &Authorities, now: Timestamp) -> Authorities {
        let signs = |der: &&Vec<u8>| *self.server == ***der || self.check_signed_by(der, now).is_ok();
        authorities.iter().filter(signs).cloned().collect()
    }

    /// When it is due for renewal: after two thirds of its lifetime.
    pub(crate) fn renewal(&self) -> Timestamp {
        let issued = self.start + SKEW;
        let start = if issued < self.end { issued } else { self.start };
        start + self.end.duration_since(start) / 3 * 2
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        // `read` has verified that the key belongs to the certificate.
        self.server == other.server && self.intermediates == other.intermediates
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a certificate until {}", self.end)
    }
}

/// The authority's certificate, the server's certificate, and its key, in PEM.
fn issue(
    names: &[String],
    lifetime: Duration,
    now: Timestamp,
) -> Result<(String, String, SecretString), rcgen::Error> {
    let params = |names, common_name: &str| params(names, common_name, now - SKEW, now + lifetime);
    // A unique name: verifiers try only the authorities with the name of the issuer.
    let mut ca = params(&[], &format!("multicluster-service-account-webhook CA {}", now.as_microsecond()))?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate()?)?;

    let mut server = params(names, "multicluster-service-account-webhook")?;
    server.use_authority_key_identifier_extension = true;
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let chain = server.signed_by(&key, &ca)?;
    Ok((ca.pem(), chain.pem(), key.serialize_pem().into()))
}

fn params(
    names: &[String],
    common_name: &str,
    start: Timestamp,
    end: Timestamp,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = date(start);
    params.not_after = date(end);
    Ok(params)
}

/// 1970, and thus expired, if the time is out of range.
fn date(time: Timestamp) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(time.as_second()).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests;

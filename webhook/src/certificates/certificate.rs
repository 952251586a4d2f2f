//! The serving certificate, and whether clients accept it.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error as TlsError, RootCertStore, ServerConfig};
use secrecy::{ExposeSecret, SecretString};

use crate::certificates::authorities::Authorities;
use crate::certificates::problem::Problem;
use crate::certificates::validity::Validity;

/// A certificate and its private key.
#[derive(Clone)]
pub(crate) struct Certificate {
    /// The certificate chain, in PEM.
    pub chain: String,
    /// The private key, in PEM.
    pub key: SecretString,
    pub validity: Validity,
    /// A TLS config that serves it.
    pub config: Arc<ServerConfig>,
    server: CertificateDer<'static>,
    intermediates: Vec<CertificateDer<'static>>,
}

impl Certificate {
    /// Parses a chain and its key in PEM.
    pub(crate) fn read(chain: &str, key: SecretString) -> Result<Self, Problem> {
        const UNREADABLE: Problem = Problem::Unreadable("the certificate");
        let all: Vec<_> = CertificateDer::pem_slice_iter(chain.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|_| UNREADABLE)?;
        let (server, intermediates) = all.split_first().ok_or(UNREADABLE)?;
        let validity = Validity::of(server).ok_or(UNREADABLE)?;
        let der = PrivateKeyDer::from_pem_slice(key.expose_secret().as_bytes())
            .map_err(|_| Problem::Unreadable("the key"))?;
        let mut config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(all.clone(), der)
            .map_err(Problem::Unservable)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self {
            chain: chain.to_owned(),
            validity,
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
            self.validity.check(now)?;
            self.check_names(names)?;
            self.check_signature(authorities, now)
        };
        check().err()
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
        verify_server_cert_signed_by_trust_anchor(&parsed, &roots, &self.intermediates, clock, algorithms)?;
        // The API server verifies this; rustls does not.
        let is_valid = Validity::of(authority).is_some_and(|validity| validity.check(now).is_ok());
        if is_valid { Ok(()) } else { Err(TlsError::General("its authority is not valid now".to_owned())) }
    }

    /// The authorities by which it can be verified.
    pub(crate) fn signers(&self, authorities: &Authorities, now: Timestamp) -> Authorities {
        let signs = |der: &&Vec<u8>| *self.server == ***der || self.check_signed_by(der, now).is_ok();
        authorities.iter().filter(signs).cloned().collect()
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
        write!(f, "a certificate until {}", self.validity.end)
    }
}

#[cfg(test)]
mod tests;

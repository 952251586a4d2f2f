//! The serving certificate: how one is made, and what is wrong with one.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{RootCertStore, ServerConfig};
use secrecy::{ExposeSecret, SecretString};
use time::OffsetDateTime;

/// How long a certificate lasts.
const LIFETIME: SignedDuration = SignedDuration::from_hours(365 * 24);

/// How far the API server's clock may be behind ours.
const SKEW: SignedDuration = SignedDuration::from_hours(1);

/// A certificate, its key, and what it is verified with, in PEM.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate of the authority that signed it, whose key is gone.
    pub ca: String,
    /// The chain that the server shows.
    pub chain: String,
    /// The server's key.
    pub key: SecretString,
}

/// Why a certificate must be replaced.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// A part of it is no PEM.
    #[error("{0} can't be read")]
    Unreadable(&'static str),
    /// A client that calls this name and trusts the authority would not accept it.
    #[error("it can't be verified as {name}: {error}")]
    Unverifiable {
        /// The name.
        name: String,
        /// What the client would say.
        error: rustls::Error,
    },
    /// It can't be served, such as with another certificate's key.
    #[error("it can't be served: {0}")]
    Unservable(rustls::Error),
    /// Less than a third of its lifetime is left.
    #[error("it expires at {0}")]
    Old(Timestamp),
}

impl Certificate {
    /// Makes one for these DNS names and addresses, with an authority of its own.
    ///
    /// # Errors
    /// When a name is none that a certificate can have.
    pub fn make(names: &[String], now: Timestamp) -> Result<Self, rcgen::Error> {
        let mut ca = params(&[], "multicluster-service-account-webhook CA", now)?;
        ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate()?)?;

        let mut server = params(names, "multicluster-service-account-webhook", now)?;
        server.use_authority_key_identifier_extension = true;
        server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        let chain = server.signed_by(&key, &ca)?;
        Ok(Self { ca: ca.pem(), chain: chain.pem(), key: key.serialize_pem().into() })
    }

    /// What is wrong with it at this time, for a server with these names, if anything.
    pub fn problem(&self, names: &[String], now: Timestamp) -> Option<Problem> {
        self.check(names, now).err()
    }

    fn check(&self, names: &[String], now: Timestamp) -> Result<(), Problem> {
        let chain = certificates(&self.chain).ok_or(Problem::Unreadable("the certificate"))?;
        let (server, intermediates) = chain.split_first().ok_or(Problem::Unreadable("the certificate"))?;
        let (start, end) = validity(server).ok_or(Problem::Unreadable("the certificate"))?;
        let verifier = self.verifier().ok_or(Problem::Unreadable("the certificate authority"))?;
        let clock = UnixTime::since_unix_epoch(now.duration_since(Timestamp::UNIX_EPOCH).unsigned_abs());
        for name in names {
            let verified = ServerName::try_from(name.as_str())
                .map_err(|error| rustls::Error::General(error.to_string()))
                .and_then(|name| verifier.verify_server_cert(server, intermediates, &name, &[], clock));
            verified.map_err(|error| Problem::Unverifiable { name: name.clone(), error })?;
        }
        self.server_config()?;
        let left = end.duration_since(now);
        if left.saturating_mul(3) < end.duration_since(start) { Err(Problem::Old(end)) } else { Ok(()) }
    }

    fn verifier(&self) -> Option<Arc<WebPkiServerVerifier>> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates(&self.ca)?);
        WebPkiServerVerifier::builder(Arc::new(roots)).build().ok()
    }

    /// The server that shows it: TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1.
    ///
    /// # Errors
    /// When certificate and key can't be read, or do not belong together.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, Problem> {
        let chain = certificates(&self.chain).ok_or(Problem::Unreadable("the certificate"))?;
        let key = PrivateKeyDer::from_pem_slice(self.key.expose_secret().as_bytes())
            .map_err(|_| Problem::Unreadable("the key"))?;
        let mut config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(Problem::Unservable)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

fn params(names: &[String], common_name: &str, now: Timestamp) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = date(now - SKEW);
    params.not_after = date(now + LIFETIME);
    Ok(params)
}

/// 1970 where it can't be expressed, which is to say expired.
fn date(time: Timestamp) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(time.as_second()).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// All of them; none if there is none, or something else among them.
fn certificates(pem: &str) -> Option<Vec<CertificateDer<'static>>> {
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().ok()?;
    (!certificates.is_empty()).then_some(certificates)
}

/// From when to when a certificate is valid.
fn validity(certificate: &CertificateDer<'_>) -> Option<(Timestamp, Timestamp)> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let validity = certificate.validity();
    let start = Timestamp::from_second(validity.not_before.timestamp()).ok()?;
    let end = Timestamp::from_second(validity.not_after.timestamp()).ok()?;
    Some((start, end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

    fn names() -> Vec<String> {
        ["webhook.example.svc", "192.0.2.1", "2001:db8::1"].map(str::to_owned).to_vec()
    }

    fn made() -> Certificate {
        mcsa_runtime::tls::install_provider();
        Certificate::make(&names(), NOW).unwrap()
    }

    fn problem(certificate: &Certificate, names: &[String], after_hours: i64) -> Option<String> {
        let now = NOW + SignedDuration::from_hours(after_hours);
        certificate.problem(names, now).map(|problem| problem.to_string())
    }

    #[rstest]
    #[case::new(0, None)]
    #[case::clock_a_little_behind(-1, None)]
    #[case::clock_far_behind(-2, Some("not valid yet"))]
    #[case::two_thirds_are_not_over(24 * 243, None)]
    #[case::two_thirds_are_over(24 * 244, Some("it expires at 2028-01-15T08:00:00Z"))]
    #[case::expired(24 * 366, Some("expired"))]
    fn ages(#[case] after_hours: i64, #[case] expected: Option<&str>) {
        match (problem(&made(), &names(), after_hours), expected) {
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
    fn covered_names(#[case] names: &[&str], #[case] fine: bool) {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(problem(&made(), &names, 0).is_none(), fine);
    }

    #[test]
    fn parts_of_two_certificates_make_none() {
        let (one, other) = (made(), made());
        let mixed = Certificate { ca: other.ca.clone(), ..one.clone() };
        assert!(problem(&mixed, &names(), 0).unwrap().contains("can't be verified"));
        let mixed = Certificate { key: other.key, ..one };
        assert!(problem(&mixed, &names(), 0).unwrap().contains("can't be served"));
    }

    #[rstest]
    #[case("")]
    #[case("x")]
    #[case("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")]
    #[case("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n")]
    fn garbage(#[case] pem: &str) {
        let made = made();
        assert!(problem(&Certificate { ca: pem.into(), ..made.clone() }, &names(), 0).is_some());
        assert!(problem(&Certificate { chain: pem.into(), ..made.clone() }, &names(), 0).is_some());
        assert!(problem(&Certificate { key: pem.into(), ..made }, &names(), 0).is_some());
    }

    #[test]
    fn the_key_is_not_printed() {
        let made = made();
        let key = made.key.expose_secret().lines().nth(1).unwrap();
        assert!(!format!("{made:?}").contains(key));
    }
}

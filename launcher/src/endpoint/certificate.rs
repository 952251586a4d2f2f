//! The serving certificate.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep, sleep_until};
use tracing::{info, warn};

use super::args::EndpointArgs;
use super::files::{self, FileError};

/// Lifetime of a self-signed certificate. It is replaced after two thirds.
const LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);

/// Tolerated clock skew of API servers.
const SKEW: Duration = Duration::from_secs(3600);

const INTERVAL: Duration = Duration::from_secs(10);

/// Pause before another attempt to sign.
const PAUSE: Duration = Duration::from_secs(60);

/// Why there is no serving certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{} has no {what} in PEM", path.display())]
    NoPem { path: PathBuf, what: &'static str },
    #[error("the certificate in {} can't be served with the key in {}: {source}", certificate.display(), key.display())]
    Unusable { certificate: PathBuf, key: PathBuf, source: rustls::Error },
    #[error("can't sign a certificate: {0}")]
    NotSigned(String),
}

/// Supplies the certificate.
pub(super) enum CertificateProvider {
    /// For API servers that do not verify it, which is their default.
    SelfSigned(SelfSigned),
    /// Maintained by another program.
    Files(Box<Files>),
}

impl CertificateProvider {
    pub(super) fn new(args: &EndpointArgs) -> Result<Self, CertificateError> {
        match args.endpoint_certificate.clone().zip(args.endpoint_key.clone()) {
            Some((certificate, key)) => Files::open(certificate, key).map(Box::new).map(Self::Files),
            None => SelfSigned::new(args.node_address).map(Self::SelfSigned),
        }
    }

    pub(super) fn current(&self) -> &Arc<CertifiedKey> {
        match self {
            Self::SelfSigned(signed) => &signed.current,
            Self::Files(files) => &files.current,
        }
    }

    /// Waits until the certificate changes.
    pub(super) async fn changed(&mut self) {
        match self {
            Self::SelfSigned(signed) => signed.changed().await,
            Self::Files(files) => files.changed().await,
        }
    }
}

/// A certificate that nobody else signed. Its key is never written anywhere.
pub(super) struct SelfSigned {
    address: IpAddr,
    current: Arc<CertifiedKey>,
    renewal: Instant,
}

impl SelfSigned {
    fn new(address: IpAddr) -> Result<Self, CertificateError> {
        let current = Arc::new(sign(address, SystemTime::now())?);
        Ok(Self { address, current, renewal: Instant::now() + LIFETIME / 3 * 2 })
    }

    async fn changed(&mut self) {
        sleep_until(self.renewal).await;
        loop {
            match Self::new(self.address) {
                Ok(new) => break *self = new,
                Err(error) => warn!(%error, "keeping the serving certificate"),
            }
            sleep(PAUSE).await;
        }
    }
}

fn sign(address: IpAddr, now: SystemTime) -> Result<CertifiedKey, CertificateError> {
    let problem = |error: rcgen::Error| CertificateError::NotSigned(error.to_string());
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut params = CertificateParams::new([address.to_string()]).map_err(problem)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "mcsa-launcher");
    params.not_before = date_time_ymd(1970, 1, 1) + now.saturating_sub(SKEW);
    params.not_after = date_time_ymd(1970, 1, 1) + now + LIFETIME;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate().map_err(problem)?;
    let certificate = params.self_signed(&key).map_err(problem)?;
    let key = PrivateKeyDer::try_from(key.serialize_der());
    let key = key.map_err(|error| CertificateError::NotSigned(error.to_owned()))?;
    certified(vec![certificate.der().clone()], key)
        .map_err(|error| CertificateError::NotSigned(error.to_string()))
}

/// A chain with its key, which must belong to it.
fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, rustls::Error> {
    let provider = CryptoProvider::get_default();
    let provider = provider.ok_or_else(|| rustls::Error::General("no TLS provider".to_owned()))?;
    CertifiedKey::from_der(chain, key, provider)
}

/// Files that are reread and compared by content: the kubelet swaps a symbolic link, which neither inotify nor
/// modification times detect reliably.
pub(super) struct Files {
    certificate: PathBuf,
    key: PathBuf,
    ticks: Interval,
    contents: Contents,
    current: Arc<CertifiedKey>,
    /// The last problem, which is logged once.
    problem: Option<String>,
}

struct Contents {
    certificate: String,
    key: SecretString,
}

impl Files {
    fn open(certificate: PathBuf, key: PathBuf) -> Result<Self, CertificateError> {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let contents = Contents::read(&certificate, &key)?;
        let current = Arc::new(contents.parse(&certificate, &key)?);
        Ok(Self { certificate, key, ticks, contents, current, problem: None })
    }

    async fn changed(&mut self) {
        loop {
            self.ticks.tick().await;
            match self.reread().await {
                Ok(None) => self.problem = None,
                Ok(Some(new)) => {
                    info!(file = %self.certificate.display(), "serving a new certificate");
                    (self.problem, self.current) = (None, new);
                    return;
                }
                // If the files are swapped between two reads, they do not match; the next read fixes that.
                Err(problem) => {
                    if self.problem.as_ref() != Some(&problem) {
                        warn!(problem, "keeping the serving certificate");
                    }
                    self.problem = Some(problem);
                }
            }
        }
    }

    async fn reread(&mut self) -> Result<Option<Arc<CertifiedKey>>, String> {
        let (certificate, key) = (self.certificate.clone(), self.key.clone());
        let read = tokio::task::spawn_blocking(move || Contents::read(&certificate, &key)).await;
        let contents = read.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        if contents.is_same(&self.contents) {
            return Ok(None);
        }
        let new = contents.parse(&self.certificate, &self.key).map_err(|error| error.to_string())?;
        self.contents = contents;
        Ok(Some(Arc::new(new)))
    }
}

impl Contents {
    fn read(certificate: &Path, key: &Path) -> Result<Self, CertificateError> {
        Ok(Self { certificate: files::read(certificate)?, key: files::read(key)?.into() })
    }

    fn is_same(&self, other: &Self) -> bool {
        self.certificate == other.certificate && self.key.expose_secret() == other.key.expose_secret()
    }

    fn parse(&self, certificate: &Path, key: &Path) -> Result<CertifiedKey, CertificateError> {
        let no_pem = |path: &Path, what| CertificateError::NoPem { path: path.to_owned(), what };
        let chain =
            CertificateDer::pem_slice_iter(self.certificate.as_bytes()).collect::<Result<Vec<_>, _>>();
        let chain = chain.ok().filter(|chain| !chain.is_empty());
        let chain = chain.ok_or_else(|| no_pem(certificate, "certificate"))?;
        let private = PrivateKeyDer::from_pem_slice(self.key.expose_secret().as_bytes());
        let private = private.map_err(|_| no_pem(key, "private key"))?;
        certified(chain, private).map_err(|source| CertificateError::Unusable {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use rustls::client::verify_server_name;
    use rustls::pki_types::ServerName;
    use rustls::server::ParsedCertificate;

    #[rstest]
    #[case("192.0.2.1")]
    #[case("2001:db8::1")]
    fn self_signed_certificate_names_the_node_address(#[case] address: &str) {
        mcsa_runtime::tls::install_provider();
        let certified = sign(address.parse().unwrap(), SystemTime::now()).unwrap();
        let parsed = ParsedCertificate::try_from(&certified.cert[0]).unwrap();
        verify_server_name(&parsed, &ServerName::try_from(address).unwrap()).unwrap();
        let (_, certificate) = x509_parser::parse_x509_certificate(&certified.cert[0]).unwrap();
        assert!(certificate.validity().is_valid());
        assert_eq!(certificate.validity().time_to_expiration().unwrap().whole_days(), 364);
    }

    /// A certificate for an address, and its key, in PEM.
    fn pem(address: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([address.to_owned()]).unwrap().self_signed(&key).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    #[test]
    fn key_of_another_certificate_is_refused() {
        mcsa_runtime::tls::install_provider();
        let ((certificate, key), (_, other)) = (pem("192.0.2.1"), pem("192.0.2.1"));
        let paths = ("tls.crt".as_ref(), "tls.key".as_ref());
        let parse = |certificate: &str, key: &str| {
            let contents = Contents { certificate: certificate.into(), key: key.to_owned().into() };
            contents.parse(paths.0, paths.1).map(drop).map_err(|error| error.to_string())
        };
        parse(&certificate, &key).unwrap();
        assert!(parse(&certificate, &other).unwrap_err().contains("tls.crt"));
        assert_eq!(parse("", &key).unwrap_err(), "tls.crt has no certificate in PEM");
        assert_eq!(parse(&certificate, "x").unwrap_err(), "tls.key has no private key in PEM");
    }
    #[tokio::test(start_paused = true)]
    async fn replaced_files_are_served() {
        mcsa_runtime::tls::install_provider();
        let folder = tempfile::tempdir().unwrap();
        let (chain, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
        let write = |(certificate, private): &(String, String)| {
            std::fs::write(&chain, certificate).unwrap();
            std::fs::write(&key, private).unwrap();
        };
        let (old, new) = (pem("192.0.2.1"), pem("192.0.2.2"));
        assert!(Files::open(chain.clone(), key.clone()).is_err());
        write(&old);
        let mut files = Files::open(chain.clone(), key.clone()).unwrap();
        let served = files.current.clone();

        // Half of a swap changes nothing.
        write(&(new.0.clone(), old.1.clone()));
        assert!(files.reread().await.is_err() && Arc::ptr_eq(&files.current, &served));
        write(&old);
        assert!(files.reread().await.unwrap().is_none());

        write(&new);
        files.changed().await;
        assert_ne!(files.current.cert, served.cert);
    }
}

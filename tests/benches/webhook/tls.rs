//! The bench's certificate authority, its certificates, and the clients' trust in authorities.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use mcsa_tests::mount;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// The file with the certificate, in a folder that is mounted like a kubelet's.
pub const CERTIFICATE: &str = "tls.crt";

/// The file with the key.
pub const KEY: &str = "tls.key";

/// The file with the authority's certificate.
pub const CA: &str = "ca.crt";

/// Signs certificates for this machine's loopback address.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// The authorities that a client trusts.
#[derive(Clone)]
pub struct Trust(Arc<ClientConfig>);

impl Authority {
    pub fn new() -> anyhow::Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(DnType::CommonName, "webhook bench CA");
        Ok(Self(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?))
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Issues a certificate, and writes it and its key to a folder like a kubelet: all files change at once. Returns
    /// the folder.
    pub fn issue(&self, root: &Path) -> anyhow::Result<PathBuf> {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, "webhook bench");
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.0)?;
        let files = [(CERTIFICATE, certificate.pem()), (KEY, key.serialize_pem()), (CA, self.pem())];
        let files = files.map(|(name, content)| (name.to_owned(), content));
        mount(root, "tls", &BTreeMap::from(files)).context("mounting a certificate")
    }
}

impl Trust {
    /// Trust in the authorities of a PEM bundle. Like API servers, it uses TLS 1.3 and resumes no session, so each
    /// connection receives a certificate.
    pub fn new(pem: &str) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            roots.add(certificate?)?;
        }
        let builder = ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS13]);
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        config.resumption = Resumption::disabled();
        Ok(Self(Arc::new(config)))
    }

    /// As a rustls configuration.
    pub fn config(&self) -> Arc<ClientConfig> {
        self.0.clone()
    }
}

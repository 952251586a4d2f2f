//! The certificate authority of a cluster, and the certificates that it signs.

use std::net::Ipv4Addr;

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256, RsaKeySize,
};
use time::{Duration, OffsetDateTime};

/// The API server's names, from outside and from pods.
const API_SERVER_NAMES: [&str; 6] =
    ["127.0.0.1", "10.0.0.1", "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];

/// A certificate with its key, both PEM.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// A certificate authority and the keys of one cluster.
#[derive(Debug)]
pub(crate) struct Pki {
    authority: CertifiedIssuer<'static, KeyPair>,
    pub(crate) api_server: Identity,
    /// RSA, as in most real clusters, so that tokens are as long as real ones.
    pub(crate) service_account_key: String,
}

impl Pki {
    /// Creates an authority, and the certificate of an API server that listens on `address`.
    pub(crate) fn new(cluster: &str, address: Ipv4Addr) -> anyhow::Result<Self> {
        let mut params = params(&format!("{cluster}-ca"), None, &[])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)
            .with_context(|| format!("creating the certificate authority of {cluster}"))?;
        let address = address.to_string();
        let names: Vec<_> = API_SERVER_NAMES.into_iter().chain([&*address]).collect();
        let api_server = serving(&authority, "kube-apiserver", &names)?;
        let service_account_key =
            KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?.serialize_pem();
        Ok(Self { authority, api_server, service_account_key })
    }

    pub(crate) fn authority(&self) -> String {
        self.authority.pem()
    }

    pub(crate) fn authority_key(&self) -> String {
        self.authority.key().serialize_pem()
    }

    /// A serving certificate for these names.
    pub(crate) fn server(&self, common_name: &str, names: &[&str]) -> anyhow::Result<Identity> {
        serving(&self.authority, common_name, names)
    }

    /// A client certificate: the common name is the user, the organization its group.
    pub(crate) fn client(&self, user: &str, group: Option<&str>) -> anyhow::Result<Identity> {
        let mut params = params(user, group, &[])?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        sign(&self.authority, params)
    }
}

fn serving(
    authority: &CertifiedIssuer<'static, KeyPair>,
    common_name: &str,
    names: &[&str],
) -> anyhow::Result<Identity> {
    let mut params = params(common_name, None, names)?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    sign(authority, params)
}

fn sign(
    authority: &CertifiedIssuer<'static, KeyPair>,
    params: CertificateParams,
) -> anyhow::Result<Identity> {
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, authority)?;
    Ok(Identity { certificate: certificate.pem(), key: key.serialize_pem() })
}

fn params(
    common_name: &str,
    organization: Option<&str>,
    names: &[&str],
) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    if let Some(organization) = organization {
        params.distinguished_name.push(DnType::OrganizationName, organization);
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let now = OffsetDateTime::now_utc();
    params.not_before = now - Duration::hours(1);
    params.not_after = now + Duration::days(365);
    Ok(params)
}

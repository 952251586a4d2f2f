//! Reads kubeconfigs from Secrets. Fields that would run a command or read a file of this machine are rejected. Errors
//! never quote a value.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::Uri;
use kube::Config;
use kube::config::{AuthInfo, Cluster, Kubeconfig};
use secrecy::{ExposeSecret, SecretString};

pub mod proxy;
pub mod url;

use self::proxy::ProxyError;

/// The field of a kubeconfig that disables the verification of certificates.
pub(crate) const INSECURE: &str = "insecure-skip-tls-verify";

const AUTHORITY: &str = "certificate-authority-data";

/// How to reach the API server of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// URL of the API server.
    pub server: String,
    /// PEM bundle that its certificate is verified with. `None`: the roots of the operating system.
    pub ca_bundle: Option<String>,
    /// The name in the certificate, if it is not the URL's host.
    pub tls_server_name: Option<String>,
    /// HTTP or SOCKS5 proxy to connect through.
    pub proxy_url: Option<String>,
}

/// How a consumer verifies the source's API server. Not part of an [`Endpoint`], because the importer always verifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verification {
    /// Verify its certificate.
    Certificate,
    /// Don't verify. An attacker on the network can read the token and impersonate the source.
    Nothing,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    // kube's message would quote the YAML, and so the token.
    #[error("it is not a kubeconfig")]
    NotAKubeconfig,
    #[error("its kubeconfig has no current-context with a cluster: set it with kubectl config use-context")]
    NoCluster,
    #[error("its kubeconfig has no context {0} with a cluster: add it, or name another one")]
    NoContext(String),
    #[error("its server does not begin with https://, which tokens require")]
    NotHttps,
    #[error("its kubeconfig has {}, which is not allowed: {}", .0, alternative(.0))]
    Refused(&'static str),
    #[error("its {0} is not a base64-encoded PEM bundle: copy it from kubectl config view --raw")]
    NotPem(&'static str),
    #[error("its {0} is a PEM bundle that was base64-encoded twice: encode it only once")]
    EncodedTwice(&'static str),
    #[error("its kubeconfig is unusable: {0}")]
    Unusable(&'static str),
    #[error("its kubeconfig is unusable: {0}")]
    Proxy(#[from] ProxyError),
}

/// What to do instead of setting a refused field.
pub fn alternative(field: &str) -> &'static str {
    match field {
        INSECURE => "set certificate-authority-data instead",
        "exec" | "auth-provider" => "use a token or a client certificate instead",
        _ => "inline the data",
    }
}

/// Reads a context of a kubeconfig. `None`: the current context. Also rejects commands and files in the other contexts.
pub fn read(text: &str, context: Option<&str>) -> Result<(Endpoint, Config), Problem> {
    let kubeconfig = parse(text)?;
    let read = Chosen::of(&kubeconfig, context)?.read(Verification::Certificate)?;
    for cluster in kubeconfig.clusters.iter().filter_map(|named| named.cluster.as_ref()) {
        reject_cluster(cluster, Verification::Certificate)?;
    }
    for user in kubeconfig.auth_infos.iter().filter_map(|named| named.auth_info.as_ref()) {
        reject_user(user)?;
    }
    Ok(read)
}

/// Parses YAML, which may have several documents. Keeps duplicate entries.
pub(crate) fn parse(text: &str) -> Result<Kubeconfig, Problem> {
    let documents: Vec<Kubeconfig> =
        serde_saphyr::from_multiple(text).map_err(|_| Problem::NotAKubeconfig)?;
    let join = |mut all: Kubeconfig, next: Kubeconfig| {
        all.clusters.extend(next.clusters);
        all.auth_infos.extend(next.auth_infos);
        all.contexts.extend(next.contexts);
        all.current_context = all.current_context.or(next.current_context);
        all
    };
    Ok(documents.into_iter().reduce(join).unwrap_or_default())
}

/// The cluster, user and namespace of a context.
#[derive(Clone, Copy)]
pub(crate) struct Chosen<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) user: Option<&'a AuthInfo>,
    pub(crate) namespace: Option<&'a str>,
}

impl<'a> Chosen<'a> {
    pub(crate) fn of(kubeconfig: &'a Kubeconfig, context: Option<&str>) -> Result<Self, Problem> {
        let nothing = || context.map_or(Problem::NoCluster, |name| Problem::NoContext(name.to_owned()));
        let name = context.or(kubeconfig.current_context.as_deref()).ok_or_else(nothing)?;
        let context = kubeconfig.contexts.iter().find(|named| named.name == name);
        let context = context.and_then(|named| named.context.as_ref()).ok_or_else(nothing)?;
        let cluster = kubeconfig.clusters.iter().find(|named| named.name == context.cluster);
        let user = kubeconfig.auth_infos.iter().find(|named| context.user.as_ref() == Some(&named.name));
        Ok(Self {
            cluster: cluster.and_then(|named| named.cluster.as_ref()).ok_or_else(nothing)?,
            user: user.and_then(|named| named.auth_info.as_ref()),
            namespace: context.namespace.as_deref().filter(|namespace| !namespace.is_empty()),
        })
    }

    /// Builds the config. kube's own conversion fails if it can't parse `NO_PROXY`.
    pub(crate) fn read(self, verification: Verification) -> Result<(Endpoint, Config), Problem> {
        let server = self.cluster.server.as_deref().filter(|server| server.starts_with("https://"));
        let server = server.ok_or(Problem::NotHttps)?.to_owned();
        let ca = non_empty(self.cluster.certificate_authority_data.as_deref());
        let (ca_bundle, root_cert) = ca.map(|data| authority(AUTHORITY, data)).transpose()?.unzip();
        let endpoint = Endpoint {
            server,
            ca_bundle,
            tls_server_name: non_empty(self.cluster.tls_server_name.as_deref()).map(str::to_owned),
            proxy_url: non_empty(self.cluster.proxy_url.as_deref()).map(str::to_owned),
        };
        reject_cluster(self.cluster, verification)?;
        let auth_info = self.user.map(credentials).transpose()?.unwrap_or_default();

        let mut config =
            Config::new(url(&endpoint.server).ok_or(Problem::Unusable("its server is not a URL"))?);
        config.proxy_url = proxy::proxy_for(&config.cluster_url, endpoint.proxy_url.as_deref())?;
        config.default_namespace = self.namespace.unwrap_or("default").to_owned();
        config.root_cert = root_cert;
        config.accept_invalid_certs = self.cluster.insecure_skip_tls_verify == Some(true);
        config.disable_compression = self.cluster.disable_compression == Some(true);
        config.tls_server_name = endpoint.tls_server_name.clone();
        config.auth_info = auth_info;
        Ok((endpoint, config))
    }
}

/// A URL with a host.
pub(crate) fn url(text: &str) -> Option<Uri> {
    text.parse().ok().filter(|url: &Uri| url.host().is_some())
}

/// The bytes as text, if they contain a PEM certificate.
pub fn pem_bundle(bytes: Vec<u8>) -> Option<String> {
    String::from_utf8(bytes).ok().filter(|pem| pem.contains("-----BEGIN CERTIFICATE-----"))
}

/// Decodes a base64-encoded PEM bundle of certificates. Returns it as text, and as the DER certificates that kube
/// takes.
pub(crate) fn authority(field: &'static str, data: &str) -> Result<(String, Vec<Vec<u8>>), Problem> {
    let bundle = pem_bundle(decoded_pem(field, data)?).ok_or(Problem::NotPem(field))?;
    let parts = pem::parse_many(&bundle).map_err(|_| Problem::NotPem(field))?;
    let certificates = parts.into_iter().filter(|part| part.tag() == "CERTIFICATE");
    let certificates: Vec<_> = certificates.map(pem::Pem::into_contents).collect();
    if certificates.is_empty() { Err(Problem::NotPem(field)) } else { Ok((bundle, certificates)) }
}

/// Decodes base64-encoded PEM. `field` is for the error.
pub(crate) fn decoded_pem(field: &'static str, data: &str) -> Result<Vec<u8>, Problem> {
    let is_pem = |bytes: &[u8]| bytes.windows(11).any(|window| window == b"-----BEGIN ");
    let bytes = decoded(data).ok_or(Problem::NotPem(field))?;
    if is_pem(&bytes) {
        return Ok(bytes);
    }
    let decoded_again = std::str::from_utf8(&bytes).ok().and_then(decoded);
    let twice = decoded_again.is_some_and(|bytes| is_pem(&bytes));
    Err(if twice { Problem::EncodedTwice(field) } else { Problem::NotPem(field) })
}

/// Decodes base64, and allows line breaks as client-go does.
pub(crate) fn decoded(base64: &str) -> Option<Vec<u8>> {
    STANDARD.decode(without_line_breaks(base64)).ok()
}

/// Removes line breaks, which kube does not allow.
pub(crate) fn without_line_breaks(base64: &str) -> String {
    base64.split_whitespace().collect()
}

/// Treats an empty value as absent.
fn non_empty(value: Option<&str>) -> Option<&str> {
    value.filter(|value| !value.is_empty())
}

fn reject_cluster(cluster: &Cluster, verification: Verification) -> Result<(), Problem> {
    if cluster.insecure_skip_tls_verify == Some(true) && verification == Verification::Certificate {
        return Err(Problem::Refused(INSECURE));
    }
    if cluster.certificate_authority.is_some() {
        return Err(Problem::Refused("certificate-authority"));
    }
    Ok(())
}

fn reject_user(user: &AuthInfo) -> Result<(), Problem> {
    let rejected = [
        (user.exec.is_some(), "exec"),
        (user.auth_provider.is_some(), "auth-provider"),
        (user.token_file.is_some(), "tokenFile"),
        (user.client_certificate.is_some(), "client-certificate"),
        (user.client_key.is_some(), "client-key"),
    ];
    let found = rejected.into_iter().find(|(present, _)| *present);
    found.map_or(Ok(()), |(_, field)| Err(Problem::Refused(field)))
}

/// The credentials of a user. Unknown fields are dropped: `Debug` would show a token under a misspelled name.
fn credentials(user: &AuthInfo) -> Result<AuthInfo, Problem> {
    reject_user(user)?;
    let secret =
        |value: &Option<SecretString>| value.clone().filter(|value| !value.expose_secret().trim().is_empty());
    let pem = |field, value: Option<&str>| {
        let data = non_empty(value);
        data.map(|data| decoded_pem(field, data).map(|_| without_line_breaks(data))).transpose()
    };
    let key = user.client_key_data.as_ref().map(ExposeSecret::expose_secret);
    Ok(AuthInfo {
        username: non_empty(user.username.as_deref()).map(str::to_owned),
        password: user.password.clone(),
        token: secret(&user.token),
        client_certificate_data: pem("client-certificate-data", user.client_certificate_data.as_deref())?,
        client_key_data: pem("client-key-data", key)?.map(SecretString::from),
        extensions: None,
        other: Default::default(),
        ..user.clone()
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use rstest::rstest;

    /// A kubeconfig as the importer writes it.
    pub(crate) const KUBECONFIG: &str = "apiVersion: v1
kind: Config
clusters:
- name: c2-pod-lister
  cluster:
    server: https://c2.example:6443
    certificate-authority-data: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCkFBPT0KLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo=
users:
- name: c2-pod-lister
  user:
    token: t0ken
contexts:
- name: c2-pod-lister
  context:
    cluster: c2-pod-lister
    user: c2-pod-lister
    namespace: default
current-context: c2-pod-lister
";

    #[test]
    fn the_current_context_or_a_named_one_is_read() {
        let endpoint = Endpoint {
            server: "https://c2.example:6443".into(),
            ca_bundle: Some("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n".into()),
            tls_server_name: None,
            proxy_url: None,
        };
        for context in [None, Some("c2-pod-lister")] {
            let (read, config) = read(KUBECONFIG, context).unwrap();
            assert_eq!(read, endpoint);
            assert_eq!(config.cluster_url, "https://c2.example:6443/");
            assert_eq!(config.root_cert, Some(vec![vec![0]]));
            assert_eq!(config.auth_info.token.unwrap().expose_secret(), "t0ken");
        }
        assert_eq!(read(KUBECONFIG, Some("c3")).unwrap_err(), Problem::NoContext("c3".into()));
    }

    #[rstest]
    #[case("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n", Ok(1))]
    #[case("-----BEGIN CERTIFICATE-----\nAA==\n", Err(Problem::NotPem("ca")))]
    #[case("-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n", Err(Problem::NotPem("ca")))]
    #[case("-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n", Err(Problem::NotPem("ca")))]
    #[case("t0ken", Err(Problem::NotPem("ca")))]
    #[case(
        "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCkFBPT0KLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo=",
        Err(Problem::EncodedTwice("ca"))
    )]
    fn certificate_authorities(#[case] once: &str, #[case] expected: Result<usize, Problem>) {
        let data = STANDARD.encode(once);
        let on_two_lines = format!("{}\n  {}\n", &data[..4], &data[4..]);
        for data in [data, on_two_lines] {
            let read = authority("ca", &data);
            assert_eq!(read.map(|(_, certificates)| certificates.len()), expected);
        }
    }

    #[test]
    fn a_token_under_a_misspelled_name_is_dropped() {
        let text = KUBECONFIG.replacen("token:", "toke:", 1);
        let (_, config) = read(&text, None).unwrap();
        assert!(!format!("{config:?}").contains("t0ken"));
    }
}

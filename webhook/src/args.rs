//! Command-line flags.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use http::Uri;
use jiff::SignedDuration;
use mcsa_credentials::contract::SYSTEM_NAMESPACE;
use mcsa_credentials::contract::webhook::{PATH, SERVICE};
use mcsa_runtime::argo::ArgoArgs;
use mcsa_runtime::cluster::ClusterArgs;
use mcsa_runtime::logs::LogArgs;
use mcsa_runtime::probes::ProbeArgs;

/// Mount the credentials of ServiceAccountImports into the pods that name them, and let pods run in other clusters
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "mcsa-webhook", version)]
pub struct Args {
    /// Serve admission requests at this address; port 0 selects a free port
    #[arg(long, value_name = "ADDRESS", default_value = "[::]:9443")]
    pub(crate) listen: SocketAddr,

    /// Register this URL with the API server, to run outside the cluster; the admission policy requires that
    /// clientConfig has a URL already, instead of the Service [default: the Service `webhook`]
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<WebhookUrl>,

    /// Keep serving this long after SIGTERM, until the API servers no longer route requests to this replica
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub(crate) shutdown_delay: u16,

    /// Flags of the serving certificate.
    #[command(flatten)]
    pub certificate: CertificateArgs,

    /// Flags of the Secrets of Argo Workflows.
    #[command(flatten)]
    pub argo: ArgoArgs,

    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,

    #[command(flatten)]
    pub(crate) probes: ProbeArgs,

    /// Log flags.
    #[command(flatten)]
    pub log: LogArgs,
}

/// Flags of the serving certificate.
#[derive(Clone, Debug, clap::Args)]
pub struct CertificateArgs {
    /// Serve the certificate in this file (PEM, with intermediates) instead of generating one; the file is reread
    /// every second
    #[arg(long, value_name = "PATH", requires = "tls_key_file")]
    pub(crate) tls_cert_file: Option<PathBuf>,

    /// Use the private key in this file (PEM)
    #[arg(long, value_name = "PATH", requires = "tls_cert_file")]
    pub(crate) tls_key_file: Option<PathBuf>,

    /// Write the certificate authorities in this file (PEM) to the webhook configuration [default: leave its
    /// caBundle to others, such as cert-manager's CA injector]
    #[arg(long, value_name = "PATH", requires = "tls_cert_file")]
    pub(crate) ca_file: Option<PathBuf>,

    /// Generate certificates that are valid this long; they are renewed after two thirds of it
    #[arg(
        long, value_name = "DURATION", default_value = "2160h", value_parser = duration,
        conflicts_with = "tls_cert_file"
    )]
    pub(crate) certificate_lifetime: Duration,

    /// Serve a certificate of another authority after the authority has been in the webhook configuration this long,
    /// and keep the previous authority there ten times as long; must exceed the time that a change takes to reach all
    /// API servers and mounted files
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = duration)]
    pub(crate) certificate_overlap: Duration,
}

impl CertificateArgs {
    /// The files, if `--tls-cert-file` is set.
    pub fn files(&self) -> Option<Paths> {
        let (chain, key) = self.tls_cert_file.clone().zip(self.tls_key_file.clone())?;
        Some(Paths { chain, key, authorities: self.ca_file.clone() })
    }
}

/// Files of the serving certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// The certificate and its intermediates.
    pub chain: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities for the webhook configuration.
    pub authorities: Option<PathBuf>,
}

/// Parses a duration like Go and cert-manager, such as `2160h` or `1m30s`.
fn duration(text: &str) -> Result<Duration, String> {
    let invalid = || "expected a duration from 1s to 100 years, such as 2160h, 90m or 30s".to_owned();
    let duration: SignedDuration = text.parse().map_err(|_| invalid())?;
    let duration = Duration::try_from(duration).map_err(|_| invalid())?;
    // The range that a certificate can express.
    let range = Duration::from_secs(1)..=Duration::from_secs(100 * 365 * 24 * 3600);
    if range.contains(&duration) { Ok(duration) } else { Err(invalid()) }
}

impl Args {
    /// The DNS names or the address by which the API server calls the webhook.
    pub(crate) fn names(&self) -> Vec<String> {
        match &self.url {
            Some(url) => vec![url.host.clone()],
            None => {
                let service = format!("{SERVICE}.{SYSTEM_NAMESPACE}.svc");
                vec![format!("{service}.cluster.local"), service]
            }
        }
    }
}

/// A valid URL of a webhook configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WebhookUrl {
    text: String,
    host: String,
}

impl WebhookUrl {
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
}

/// A URL that the API server would reject, or that does not reach the webhook.
#[derive(Debug, thiserror::Error)]
#[error("{problem}; expected https://HOST[:PORT]{PATH}")]
pub(crate) struct UrlError {
    problem: &'static str,
}

impl FromStr for WebhookUrl {
    type Err = UrlError;

    // https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#url
    fn from_str(text: &str) -> Result<Self, UrlError> {
        let refuse = |problem| Err(UrlError { problem });
        let Ok(uri) = text.parse::<Uri>() else { return refuse("not a URL") };
        if uri.scheme_str() != Some("https") {
            return refuse("the URL does not start with https://");
        }
        if text.contains(['@', '?', '#']) {
            return refuse("the URL has a user, a query or a fragment");
        }
        if uri.path() == "/" {
            return refuse("the URL has no path");
        }
        match host(&uri) {
            None => refuse("the URL has no host"),
            Some(host) => Ok(Self { text: text.to_owned(), host }),
        }
    }
}

/// The host of a URL, as in a certificate.
pub(crate) fn host(uri: &Uri) -> Option<String> {
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then(|| host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, Parser};
    use rstest::rstest;

    #[test]
    fn command_line_is_valid() {
        Args::command().debug_assert();
    }

    #[test]
    fn service_has_two_names() {
        let args = Args::parse_from(["mcsa-webhook"]);
        let names = args.names();
        assert!(names.contains(&"webhook.multicluster-service-account.svc".to_owned()));
        assert!(names.contains(&"webhook.multicluster-service-account.svc.cluster.local".to_owned()));
    }

    #[test]
    fn namespaces_that_use_secrets_of_argo_workflows_are_flags() {
        let flags = ["mcsa-webhook", "--argo-namespace=argo", "--argo-workflow-namespaces=local"];
        let namespaces = Args::parse_from(flags).argo.namespaces();
        assert_eq!(namespaces.into_iter().collect::<Vec<_>>(), ["argo", "local"]);
    }

    #[rstest]
    #[case(&[], true)]
    #[case(&["--tls-cert-file=a", "--tls-key-file=b"], true)]
    #[case(&["--tls-cert-file=a", "--tls-key-file=b", "--ca-file=c", "--certificate-overlap=5m"], true)]
    #[case(&["--tls-cert-file=a"], false)]
    #[case(&["--tls-key-file=b"], false)]
    #[case(&["--ca-file=c"], false)]
    #[case(&["--tls-cert-file=a", "--tls-key-file=b", "--certificate-lifetime=24h"], false)]
    #[case(&["--certificate-lifetime=24h", "--certificate-overlap=90s"], true)]
    #[case(&["--certificate-lifetime=1"], false)]
    #[case(&["--certificate-lifetime=-24h"], false)]
    #[case(&["--certificate-lifetime=0s"], false)]
    #[case(&["--certificate-lifetime=1000000000h"], false)]
    fn conflicting_certificate_flags_are_rejected(#[case] flags: &[&str], #[case] fine: bool) {
        let parsed = Args::try_parse_from([&["mcsa-webhook"], flags].concat());
        assert_eq!(parsed.is_ok(), fine, "{parsed:?}");
    }

    #[rstest]
    #[case("https://192.0.2.1:9443/mutate-pods", Some("192.0.2.1"))]
    #[case("https://[::1]:9443/mutate-pods", Some("::1"))]
    #[case("https://webhook.example.com/mutate-pods", Some("webhook.example.com"))]
    #[case("http://webhook.example.com/mutate-pods", None)]
    #[case("https://user@webhook.example.com/mutate-pods", None)]
    #[case("https://webhook.example.com/mutate-pods?a=b", None)]
    #[case("https://webhook.example.com/mutate-pods#a", None)]
    #[case("https://webhook.example.com", None)]
    #[case("https:///mutate-pods", None)]
    #[case("webhook.example.com:9443", None)]
    #[case("", None)]
    fn url_must_be_https_with_a_path(#[case] text: &str, #[case] host: Option<&str>) {
        let url = text.parse::<WebhookUrl>().ok();
        assert_eq!(url.map(|url| url.host).as_deref(), host);
    }
}

//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use http::Uri;
use jiff::SignedDuration;
use mcsa_credentials::contract::SYSTEM_NAMESPACE;
use mcsa_credentials::contract::webhook::{PATH, SERVICE};
use mcsa_runtime::cluster::ClusterArgs;
use mcsa_runtime::logs::LogArgs;
use mcsa_runtime::probes::ProbeArgs;

/// Mounts the credentials of ServiceAccountImports into the pods that name them
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "mcsa-webhook", version)]
pub struct Args {
    /// Address to serve on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "[::]:9443")]
    pub listen: SocketAddr,

    /// Have the API server call this URL, for running outside the cluster [default: the Service `webhook`]
    #[arg(long, value_name = "URL")]
    pub url: Option<WebhookUrl>,

    /// How long to go on serving after SIGTERM, until all that call have heard that this replica ends
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub shutdown_delay: u16,

    /// The serving certificate.
    #[command(flatten)]
    pub certificate: CertificateArgs,

    /// Which cluster to work in.
    #[command(flatten)]
    pub cluster: ClusterArgs,

    /// Where it tells how it is.
    #[command(flatten)]
    pub probes: ProbeArgs,

    /// Where logs go.
    #[command(flatten)]
    pub log: LogArgs,
}

/// Where the serving certificate is from, and how it changes.
#[derive(Clone, Debug, clap::Args)]
pub struct CertificateArgs {
    /// Serve the certificate in this file (PEM, with its intermediates), read again each second, instead of
    /// making one
    #[arg(long, value_name = "PATH", requires = "tls_key_file")]
    pub tls_cert_file: Option<PathBuf>,

    /// The certificate's private key (PEM)
    #[arg(long, value_name = "PATH", requires = "tls_cert_file")]
    pub tls_key_file: Option<PathBuf>,

    /// Have the API server trust the authorities in this file (PEM) [default: whom the webhook configuration
    /// says, which is someone else's to fill in]
    #[arg(long, value_name = "PATH", requires = "tls_cert_file")]
    pub ca_file: Option<PathBuf>,

    /// How long a certificate of our own making is valid; another one is made after two thirds of it
    #[arg(
        long, value_name = "DURATION", default_value = "2160h", value_parser = duration,
        conflicts_with = "tls_cert_file"
    )]
    pub certificate_lifetime: Duration,

    /// How long the API servers trust a certificate's authority before it is served, and after; longer than
    /// they, and files in two pods, take to learn of a change
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = duration)]
    pub certificate_overlap: Duration,
}

/// A certificate would expire before another one may take its place.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "--certificate-lifetime {lifetime:?} is too short: wanted: at least nine times --certificate-overlap {overlap:?}"
)]
pub struct LifetimeError {
    lifetime: Duration,
    overlap: Duration,
}

impl CertificateArgs {
    /// Whether a certificate lives long enough to be replaced in time.
    ///
    /// # Errors
    /// When it does not.
    pub fn check(&self) -> Result<(), LifetimeError> {
        let (lifetime, overlap) = (self.certificate_lifetime, self.certificate_overlap);
        // The last third is for the overlaps before and after, and one more should something be slow.
        if lifetime / 9 < overlap { Err(LifetimeError { lifetime, overlap }) } else { Ok(()) }
    }

    /// The files, if the certificate is from files.
    pub fn files(&self) -> Option<Paths> {
        let (chain, key) = self.tls_cert_file.clone().zip(self.tls_key_file.clone())?;
        Some(Paths { chain, key, authorities: self.ca_file.clone() })
    }
}

/// Where the certificate is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// Of the certificate and its intermediates.
    pub chain: PathBuf,
    /// Of its key.
    pub key: PathBuf,
    /// Of the authorities that the API server is to trust.
    pub authorities: Option<PathBuf>,
}

/// As Go's and cert-manager's durations, such as `2160h` or `1m30s`.
fn duration(text: &str) -> Result<Duration, String> {
    let wanted = || "wanted: a duration of a second or more, such as 2160h, 90m or 30s".to_owned();
    let duration: SignedDuration = text.parse().map_err(|_| wanted())?;
    let duration = Duration::try_from(duration).map_err(|_| wanted())?;
    // What a certificate can express.
    let possible = Duration::from_secs(1)..=Duration::from_secs(100 * 365 * 24 * 3600);
    if possible.contains(&duration) { Ok(duration) } else { Err(wanted()) }
}

impl Args {
    /// The DNS names and addresses by which the API server may call.
    pub fn names(&self) -> Vec<String> {
        match &self.url {
            Some(url) => vec![url.host.clone()],
            None => {
                let service = format!("{SERVICE}.{SYSTEM_NAMESPACE}.svc");
                vec![format!("{service}.cluster.local"), service]
            }
        }
    }
}

/// A URL that a webhook configuration may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookUrl {
    text: String,
    host: String,
}

impl WebhookUrl {
    /// The URL, as it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// A URL that the API server would not call, or in vain.
#[derive(Debug, thiserror::Error)]
#[error("{problem}; wanted: https://HOST[:PORT]{PATH}")]
pub struct UrlError {
    problem: &'static str,
}

impl FromStr for WebhookUrl {
    type Err = UrlError;

    // https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#url
    fn from_str(text: &str) -> Result<Self, UrlError> {
        let refuse = |problem| Err(UrlError { problem });
        let Ok(uri) = text.parse::<Uri>() else { return refuse("it is no URL") };
        if uri.scheme_str() != Some("https") {
            return refuse("it does not start with https://");
        }
        if text.contains(['@', '?', '#']) {
            return refuse("it has a user, a query or a fragment");
        }
        if uri.path() == "/" {
            return refuse("it has no path");
        }
        match host(&uri) {
            None => refuse("it has no host"),
            Some(host) => Ok(Self { text: text.to_owned(), host }),
        }
    }
}

/// The name or address, as in a certificate.
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
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn the_service_is_called_by_its_two_names() {
        let args = Args::parse_from(["mcsa-webhook"]);
        let names = args.names();
        assert!(names.contains(&"webhook.multicluster-service-account.svc".to_owned()));
        assert!(names.contains(&"webhook.multicluster-service-account.svc.cluster.local".to_owned()));
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
    fn certificate_flags(#[case] flags: &[&str], #[case] fine: bool) {
        let parsed = Args::try_parse_from([&["mcsa-webhook"], flags].concat());
        assert_eq!(parsed.is_ok(), fine, "{parsed:?}");
    }

    #[rstest]
    #[case("9s", "1s", true)]
    #[case("8s", "1s", false)]
    #[case("2160h", "1m", true)]
    #[case("24h", "3h", false)]
    fn a_certificate_outlives_its_overlaps(
        #[case] lifetime: &str,
        #[case] overlap: &str,
        #[case] fine: bool,
    ) {
        let flags =
            [format!("--certificate-lifetime={lifetime}"), format!("--certificate-overlap={overlap}")];
        let args = Args::parse_from(["mcsa-webhook".to_owned()].into_iter().chain(flags));
        assert_eq!(args.certificate.check().is_ok(), fine);
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
    fn urls(#[case] text: &str, #[case] host: Option<&str>) {
        let url = text.parse::<WebhookUrl>().ok();
        assert_eq!(url.map(|url| url.host).as_deref(), host);
    }
}

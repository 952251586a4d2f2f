//! The command line.

use std::net::SocketAddr;
use std::str::FromStr;

use http::Uri;
use mcsa_client::contract::SYSTEM_NAMESPACE;
use mcsa_client::contract::webhook::{PATH, SERVICE};
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
        match uri.host().map(|host| host.trim_start_matches('[').trim_end_matches(']')) {
            None | Some("") => refuse("it has no host"),
            Some(host) => Ok(Self { text: text.to_owned(), host: host.to_owned() }),
        }
    }
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

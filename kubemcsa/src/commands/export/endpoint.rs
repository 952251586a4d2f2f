//! Second step: how the consumer reaches the source.

use mcsa_credentials::credential::Endpoint;
use mcsa_credentials::url::without_credentials;

use super::args::{Args, Format};
use crate::cli::output;
use crate::cluster::kubeconfig::ChosenContext;
use crate::cluster::reach::{self, Reach};

/// The endpoint from the kubeconfig or the flags. Prints warnings.
pub(crate) fn endpoint(chosen: &ChosenContext, args: &Args) -> anyhow::Result<Endpoint> {
    let (endpoint, warnings) =
        decide(chosen, args).map_err(|problem| anyhow::anyhow!("{}: {problem}", chosen.cluster_name))?;
    for warning in warnings {
        output::warn(&chosen.cluster_name, &warning);
    }
    Ok(endpoint)
}

fn decide(chosen: &ChosenContext, args: &Args) -> Result<(Endpoint, Vec<String>), String> {
    let mut warnings = Vec::new();
    if args.insecure_skip_tls_verify {
        warnings.push(
            "INSECURE: users of this credential don't verify the cluster's certificate. An attacker on the network can \
             steal the token, and impersonate the cluster. Don't use it in production"
                .to_owned(),
        );
    } else if chosen.insecure && chosen.ca_bundle.is_none() {
        return Err(format!(
            "context {} has insecure-skip-tls-verify, which a credential must not have: set the cluster's \
             certificate-authority-data instead",
            chosen.context
        ));
    }
    let server = args.server.as_ref().unwrap_or(&chosen.server).clone();
    match (reach::of(&server), &args.server) {
        (Err(problem), None) => return Err(format!("the server of context {} {problem}", chosen.context)),
        (Err(problem), Some(_)) => return Err(format!("--server {problem}")),
        (Ok(Reach::Anywhere), _) => {}
        (Ok(Reach::Loopback | Reach::Unspecified), _) => {
            warnings.push(format!(
                "{server} is reachable from this machine only; set --server to an address that the consumer can reach"
            ));
        }
    }
    // The kubeconfig's proxy is for the kubeconfig's server.
    let proxy_url = chosen.proxy_url.clone().filter(|_| args.server.is_none());
    if let Some((proxy, consumer)) = proxy_url.as_deref().zip(ignores_proxy(args.format)) {
        warnings.push(format!(
            "{consumer} can't have a proxy, but context {} reaches the cluster through {}; set --server to an address \
             that needs no proxy",
            chosen.context,
            without_credentials(proxy)
        ));
    }
    let endpoint = Endpoint {
        server,
        ca_bundle: chosen.ca_bundle.clone(),
        tls_server_name: chosen.tls_server_name.clone(),
        proxy_url,
    };
    Ok((endpoint, warnings))
}

/// The consumers that ignore the proxy. In a rest config, the proxy is a Go function, which JSON can't express.
fn ignores_proxy(format: Format) -> Option<&'static str> {
    match format {
        Format::ArgoClusters => Some("a rest config"),
        Format::Flux => Some("a kubeconfig for Flux"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::args::tests::args;
    use super::*;
    use rstest::rstest;

    fn chosen(server: &str) -> ChosenContext {
        ChosenContext {
            context: "admin".into(),
            server: server.into(),
            ca_bundle: Some("PEM".into()),
            proxy_url: Some("http://proxy:3128".into()),
            ..Default::default()
        }
    }

    #[rstest]
    #[case(&[], "https://c2", Some("http://proxy:3128"), &[])]
    #[case(&["--server", "https://c2.example"], "https://c2.example", None, &[])]
    #[case(&["--server", "https://127.0.0.1"], "https://127.0.0.1", None, &["this machine only"])]
    #[case(&["--format", "flux"], "https://c2", Some("http://proxy:3128"), &["Flux can't have a proxy"])]
    #[case(&["--format", "kubeconfig", "--insecure-skip-tls-verify"], "https://c2", Some("http://proxy:3128"),
        &["INSECURE"])]
    fn endpoint_follows_the_flags_and_warns_of_limits(
        #[case] flags: &[&str],
        #[case] server: &str,
        #[case] proxy: Option<&str>,
        #[case] expected: &[&str],
    ) {
        let (endpoint, warnings) = decide(&chosen("https://c2"), &args(flags)).unwrap();
        assert_eq!((endpoint.server.as_str(), endpoint.proxy_url.as_deref()), (server, proxy));
        assert_eq!(warnings.len(), expected.len(), "{warnings:?}");
        let mut pairs = warnings.iter().zip(expected);
        assert!(pairs.all(|(warning, expected)| warning.contains(expected)), "{warnings:?}");
    }

    #[rstest]
    #[case("http://c2", &[], "the server of context admin is \"http://c2\"")]
    #[case("https://c2", &["--server", "c2:6443"], "--server is \"c2:6443\"")]
    #[case("https://me:s3cret@c2", &[], "the server of context admin has a user or a password")]
    #[case("https://c2", &["--server", "https://me:s3cret@c2"], "--server has a user or a password")]
    fn insecure_and_invalid_urls_are_refused(
        #[case] server: &str,
        #[case] flags: &[&str],
        #[case] expected: &str,
    ) {
        let error = decide(&chosen(server), &args(flags)).unwrap_err();
        assert!(error.contains(expected) && !error.contains("s3cret"), "{error}");
    }

    #[test]
    fn proxy_is_named_without_its_password() {
        let proxy_url = Some("http://me:s3cret@proxy:3128".to_owned());
        let chosen = ChosenContext { proxy_url, ..chosen("https://c2") };
        let (_, warnings) = decide(&chosen, &args(&["--format", "flux"])).unwrap();
        assert!(warnings[0].contains("http://proxy:3128") && !warnings[0].contains("s3cret"), "{warnings:?}");
    }

    #[test]
    fn verification_is_skipped_only_by_the_flag() {
        let chosen = ChosenContext { insecure: true, ca_bundle: None, ..chosen("https://c2") };
        let error = decide(&chosen, &args(&[])).unwrap_err();
        assert!(error.contains("certificate-authority-data"), "{error}");
        let insecure = args(&["--format", "kubeconfig", "--insecure-skip-tls-verify"]);
        assert!(decide(&chosen, &insecure).is_ok());
    }
}

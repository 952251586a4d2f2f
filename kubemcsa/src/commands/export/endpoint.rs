//! The way to the source that the consumer is told.

use mcsa_credentials::credential::Endpoint;

use super::args::{Args, Format};
use crate::cli::output;
use crate::cluster::kubeconfig::Chosen;
use crate::cluster::reach::{self, Reach};

/// The way as the kubeconfig has it, or the flags: there is nobody to ask for another.
///
/// # Errors
/// When no credential may have such an address.
pub fn endpoint(chosen: &Chosen, args: &Args) -> anyhow::Result<Endpoint> {
    let (endpoint, warnings) =
        decide(chosen, args).map_err(|problem| anyhow::anyhow!("{}: {problem}", chosen.cluster_name))?;
    for warning in warnings {
        output::warn(&chosen.cluster_name, &warning);
    }
    Ok(endpoint)
}

fn decide(chosen: &Chosen, args: &Args) -> Result<(Endpoint, Vec<String>), String> {
    let mut warnings = Vec::new();
    if args.insecure_skip_tls_verify {
        warnings.push(
            "INSECURE: who uses this credential does not verify the cluster's certificate. Whoever is on the way \
             can take the token and act with it, and can answer in the cluster's place. Not for production"
                .to_owned(),
        );
    } else if chosen.insecure && chosen.ca_bundle.is_none() {
        return Err(format!(
            "context {} has insecure-skip-tls-verify, which a credential must not have: put the cluster's \
             certificate-authority-data in its place",
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
                "{server} is an address that only this machine has; --server gives the consumer another"
            ));
        }
    }
    // The kubeconfig's proxy leads to the kubeconfig's server.
    let proxy_url = chosen.proxy_url.clone().filter(|_| args.server.is_none());
    if let Some(proxy) = &proxy_url
        && let Some(reader) = has_no_proxy(args.format)
    {
        warnings.push(format!(
            "{reader} takes no proxy from here, and {proxy} is the way of context {}",
            chosen.context
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

/// A rest config's proxy is a function, which JSON has no form for; Flux passes over it.
fn has_no_proxy(format: Format) -> Option<&'static str> {
    match format {
        Format::ArgoClusters => Some("a rest config"),
        Format::Flux => Some("Flux"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::args::tests::args;
    use super::*;
    use rstest::rstest;

    fn chosen(server: &str) -> Chosen {
        Chosen {
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
    #[case(&["--server", "https://127.0.0.1"], "https://127.0.0.1", None, &["only this machine"])]
    #[case(&["--format", "flux"], "https://c2", Some("http://proxy:3128"), &["Flux takes no proxy"])]
    #[case(&["--format", "kubeconfig", "--insecure-skip-tls-verify"], "https://c2", Some("http://proxy:3128"),
        &["INSECURE"])]
    fn ways(
        #[case] flags: &[&str],
        #[case] server: &str,
        #[case] proxy: Option<&str>,
        #[case] said: &[&str],
    ) {
        let (endpoint, warnings) = decide(&chosen("https://c2"), &args(flags)).unwrap();
        assert_eq!((endpoint.server.as_str(), endpoint.proxy_url.as_deref()), (server, proxy));
        assert_eq!(warnings.len(), said.len(), "{warnings:?}");
        assert!(warnings.iter().zip(said).all(|(warning, said)| warning.contains(said)), "{warnings:?}");
    }

    #[rstest]
    #[case("http://c2", &[], "the server of context admin is \"http://c2\"")]
    #[case("https://c2", &["--server", "c2:6443"], "--server is \"c2:6443\"")]
    fn no_ways(#[case] server: &str, #[case] flags: &[&str], #[case] said: &str) {
        let error = decide(&chosen(server), &args(flags)).unwrap_err();
        assert!(error.contains(said), "{error}");
    }

    #[test]
    fn what_is_not_verified_is_a_choice() {
        let chosen = Chosen { insecure: true, ca_bundle: None, ..chosen("https://c2") };
        let error = decide(&chosen, &args(&[])).unwrap_err();
        assert!(error.contains("certificate-authority-data"), "{error}");
        let insecure = args(&["--format", "kubeconfig", "--insecure-skip-tls-verify"]);
        assert!(decide(&chosen, &insecure).is_ok());
    }
}

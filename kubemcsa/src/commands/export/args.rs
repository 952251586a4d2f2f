//! The flags of `kubemcsa export`.

use std::path::PathBuf;

use clap_complete::engine::ArgValueCandidates;

use jiff::SignedDuration;
use mcsa_client::api::MIN_EXPIRATION_SECONDS;
use mcsa_credentials::names::{self, is_dns_subdomain};

use crate::cluster::kubeconfig::contexts;

/// Which service account, and what its credential is printed as.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The service account
    pub name: String,

    /// Kubeconfig file [default: KUBECONFIG, else ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Context of the source [default: the current one]
    #[arg(long, value_name = "NAME", add = ArgValueCandidates::new(contexts))]
    pub context: Option<String>,

    /// Namespace of the service account [default: the context's]; of argo-profile also the only one of the
    /// cluster that the profile is for [default: any]
    #[arg(short, long, value_name = "NAME", value_parser = names::namespace)]
    pub namespace: Option<String>,

    /// How long the token lives, at least 10m; the source may grant less
    #[arg(long, default_value = "1h", value_parser = lifetime)]
    pub duration: SignedDuration,

    /// What to print
    #[arg(long, value_enum, default_value_t = Format::Secret, help_heading = "Document")]
    pub format: Format,

    /// What the consumer calls the cluster [default: the name of the context's cluster]
    #[arg(long, value_name = "NAME", help_heading = "Document")]
    pub cluster_name: Option<String>,

    /// Name of the Secret [default: the service account's, with -token at the end; or what the consumer of the
    /// format looks for]
    #[arg(long = "as", value_name = "NAME", value_parser = secret_name, help_heading = "Document")]
    pub secret: Option<String>,

    /// Namespace of the Secret [default: where the consumer of the format looks: argocd, kueue-system or argo;
    /// else none is said]
    #[arg(long, value_name = "NAME", value_parser = names::namespace, help_heading = "Document")]
    pub secret_namespace: Option<String>,

    /// Namespace of the workflows that an argo-profile is for; '' for any [default: the Secret's own]
    #[arg(long, value_name = "NAME", value_parser = any_or_namespace, help_heading = "Document")]
    pub workflow_namespace: Option<String>,

    /// How to write it
    #[arg(short, long, value_enum, default_value_t = Syntax::Yaml, value_name = "SYNTAX",
        help_heading = "Document")]
    pub output: Syntax,

    /// URL of the source's API server for the consumer [default: the kubeconfig's]
    #[arg(long, value_name = "URL", help_heading = "Route to the source")]
    pub server: Option<String>,

    /// Have the consumer not verify the source's certificate: whoever is on the way can read the token, and
    /// answer in the source's place
    #[arg(long, help_heading = "Route to the source")]
    pub insecure_skip_tls_verify: bool,
}

/// In which form a credential is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A Secret like those of imports, which can be a link, too.
    Secret,
    /// A plain kubeconfig file.
    Kubeconfig,
    /// A cluster of Argo CD.
    #[value(name = "argocd")]
    ArgoCd,
    /// For spec.kubeConfig.secretRef of Flux.
    Flux,
    /// The kubeconfig of a Cluster of Cluster API.
    Capi,
    /// For a MultiKueueCluster of Kueue.
    #[value(name = "multikueue")]
    MultiKueue,
    /// Argo Workflows: a Secret with a rest config for each cluster.
    ArgoClusters,
    /// Argo Workflows: a Secret with a kubeconfig that has a context for each cluster.
    ArgoKubeconfig,
    /// Argo Workflows: a profile.
    ArgoProfile,
}

/// How a document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Syntax {
    /// YAML.
    Yaml,
    /// JSON.
    Json,
}

fn lifetime(text: &str) -> Result<SignedDuration, String> {
    let duration: SignedDuration = text.parse().map_err(|_| "a duration such as 90m or 24h".to_owned())?;
    if duration.as_secs() < MIN_EXPIRATION_SECONDS {
        return Err("an API server mints for 10m at least".into());
    }
    Ok(duration)
}

fn secret_name(text: &str) -> Result<String, String> {
    if is_dns_subdomain(text) {
        Ok(text.to_owned())
    } else {
        Err("a Secret's name is a DNS-1123 subdomain, such as c2-pod-lister-token".into())
    }
}

fn any_or_namespace(text: &str) -> Result<String, String> {
    if text.is_empty() { Ok(String::new()) } else { names::namespace(text) }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use clap::Parser;
    use rstest::rstest;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    /// The arguments of a command line, whose service account is `pod-lister`.
    pub(in super::super) fn args(flags: &[&str]) -> Args {
        Cli::parse_from(["export", "pod-lister"].iter().chain(flags)).args
    }

    #[rstest]
    #[case("1h", Ok(3600))]
    #[case("10m", Ok(600))]
    #[case("9m", Err("10m at least"))]
    #[case("soon", Err("such as 90m"))]
    fn lifetimes(#[case] text: &str, #[case] expected: Result<i64, &str>) {
        match (lifetime(text), expected) {
            (Ok(duration), Ok(seconds)) => assert_eq!(duration.as_secs(), seconds),
            (Err(error), Err(said)) => assert!(error.contains(said), "{error}"),
            (got, _) => panic!("{got:?}"),
        }
    }
}

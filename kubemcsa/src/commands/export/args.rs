//! The flags of `kubemcsa export`.

use std::path::PathBuf;

use clap_complete::engine::ArgValueCandidates;

use jiff::SignedDuration;
use mcsa_client::api::MIN_EXPIRATION_SECONDS;
use mcsa_credentials::names::{self, is_dns_subdomain};

use crate::cluster::kubeconfig::contexts;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the service account
    pub(crate) name: String,

    /// Kubeconfig file [default: KUBECONFIG, else ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,

    /// Context of the source [default: the current one]
    #[arg(long, value_name = "NAME", add = ArgValueCandidates::new(contexts))]
    pub(crate) context: Option<String>,

    /// Namespace of the service account [default: the context's]; if set, an argo-profile is limited to it
    #[arg(short, long, value_name = "NAME", value_parser = names::namespace)]
    pub(crate) namespace: Option<String>,

    /// Lifetime of the token, at least 10m; the source may grant less
    #[arg(long, default_value = "1h", value_parser = lifetime)]
    pub(crate) duration: SignedDuration,

    /// What to print, depending on the consumer
    #[arg(long, value_enum, default_value_t = Format::Secret, help_heading = "Document")]
    pub(crate) format: Format,

    /// Name of the cluster in the document [default: the name of the context's cluster]
    #[arg(long, value_name = "NAME", help_heading = "Document")]
    pub(crate) cluster_name: Option<String>,

    /// Name of the Secret [default: the name that the consumer expects, else the service account's name with -token]
    #[arg(long = "as", value_name = "NAME", value_parser = secret_name, help_heading = "Document")]
    pub(crate) secret: Option<String>,

    /// Namespace of the Secret [default: the consumer's usual one: argocd, kueue-system or argo; else not set]
    #[arg(long, value_name = "NAME", value_parser = names::namespace, help_heading = "Document")]
    pub(crate) secret_namespace: Option<String>,

    /// Namespace of the workflows that may use an argo-profile; '' for all [default: the namespace of the Secret]
    #[arg(long, value_name = "NAME", value_parser = any_or_namespace, help_heading = "Document")]
    pub(crate) workflow_namespace: Option<String>,

    /// Output format of the document
    #[arg(short, long, value_enum, default_value_t = Syntax::Yaml, value_name = "SYNTAX",
        help_heading = "Document")]
    pub(crate) output: Syntax,

    /// URL at which the consumer reaches the source's API server [default: the kubeconfig's]
    #[arg(long, value_name = "URL", help_heading = "Connection from consumer to source")]
    pub(crate) server: Option<String>,

    /// Have the consumer skip verification of the source's certificate: an attacker in the network can then read the
    /// token, and impersonate the source
    #[arg(long, help_heading = "Connection from consumer to source")]
    pub(crate) insecure_skip_tls_verify: bool,
}

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// A Secret with the keys of an import's Secret; it can also be a link.
    Secret,
    /// A kubeconfig file.
    Kubeconfig,
    /// Argo CD: a cluster Secret.
    #[value(name = "argocd")]
    ArgoCd,
    /// Flux: a Secret for spec.kubeConfig.secretRef.
    Flux,
    /// Cluster API: the kubeconfig Secret of a Cluster.
    Capi,
    /// Kueue: a Secret for a MultiKueueCluster.
    #[value(name = "multikueue")]
    MultiKueue,
    /// Argo Workflows: a Secret with a rest config for each cluster.
    ArgoClusters,
    /// Argo Workflows: a Secret with a kubeconfig that has a context for each cluster.
    ArgoKubeconfig,
    /// Argo Workflows: a profile.
    ArgoProfile,
}

/// How the document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Syntax {
    /// YAML.
    Yaml,
    /// JSON.
    Json,
}

fn lifetime(text: &str) -> Result<SignedDuration, String> {
    let duration: SignedDuration =
        text.parse().map_err(|_| "must be a duration such as 90m or 24h".to_owned())?;
    if duration.as_secs() < MIN_EXPIRATION_SECONDS {
        return Err("must be at least 10m, the shortest lifetime that API servers accept".into());
    }
    Ok(duration)
}

fn secret_name(text: &str) -> Result<String, String> {
    if is_dns_subdomain(text) {
        Ok(text.to_owned())
    } else {
        Err("must be a DNS-1123 subdomain, such as c2-pod-lister-token".into())
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

    /// Parses flags, for service account `pod-lister`.
    pub(in super::super) fn args(flags: &[&str]) -> Args {
        Cli::parse_from(["export", "pod-lister"].iter().chain(flags)).args
    }

    #[rstest]
    #[case("1h", Ok(3600))]
    #[case("10m", Ok(600))]
    #[case("9m", Err("at least 10m"))]
    #[case("soon", Err("such as 90m"))]
    fn lifetimes_are_parsed(#[case] text: &str, #[case] expected: Result<i64, &str>) {
        match (lifetime(text), expected) {
            (Ok(duration), Ok(seconds)) => assert_eq!(duration.as_secs(), seconds),
            (Err(error), Err(expected)) => assert!(error.contains(expected), "{error}"),
            (result, _) => panic!("{result:?}"),
        }
    }
}

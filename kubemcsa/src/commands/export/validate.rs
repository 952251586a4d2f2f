//! First step: refuses flags and names before any call to a cluster.

use mcsa_credentials::names::{is_dns_subdomain, label_value};

use super::args::{Args, Format};
use crate::cli::usage::Usage;

/// Fails if flags conflict.
pub(crate) fn flags(args: &Args) -> Result<(), Usage> {
    conflict(args).map_or(Ok(()), |problem| Err(Usage { command: "export", problem }))
}

/// Fails if the document can't contain the cluster's name.
pub(crate) fn names(args: &Args, cluster_name: &str) -> anyhow::Result<()> {
    match invalid_use(args, cluster_name) {
        Some(invalid_use) => {
            anyhow::bail!(
                "cluster name {cluster_name:?} can't be {invalid_use}: set another one with --cluster-name"
            )
        }
        None => Ok(()),
    }
}

fn conflict(args: &Args) -> Option<String> {
    if args.workflow_namespace.is_some() && args.format != Format::ArgoProfile {
        return Some("--workflow-namespace requires --format argo-profile".into());
    }
    if args.format == Format::Kubeconfig && (args.secret.is_some() || args.secret_namespace.is_some()) {
        return Some(
            "--as and --secret-namespace require a Secret, but --format kubeconfig prints a file: use --format secret, \
             which prints a Secret with a kubeconfig"
                .into(),
        );
    }
    let reason = args.insecure_skip_tls_verify.then(|| requires_verification(args.format)).flatten()?;
    Some(format!(
        "--insecure-skip-tls-verify can't be used: {reason}; set certificate-authority-data of the cluster in your \
         kubeconfig, or set --server to a host that its certificate is valid for"
    ))
}

/// Why the certificate must be verified; `None` if the consumer leaves that to the user.
///
/// Sources: <https://fluxcd.io/flux/components/kustomize/options/> (`--insecure-kubeconfig-tls`),
/// <https://github.com/kubernetes-sigs/kueue/blob/main/CHANGELOG/CHANGELOG-0.15.md>.
fn requires_verification(format: Format) -> Option<&'static str> {
    match format {
        Format::Secret => Some("this Secret can be a link, and links always verify the certificate"),
        Format::Flux => Some("Flux refuses such kubeconfigs"),
        Format::MultiKueue => Some("Kueue refuses such kubeconfigs"),
        Format::Kubeconfig
        | Format::ArgoCd
        | Format::Capi
        | Format::ArgoClusters
        | Format::ArgoKubeconfig
        | Format::ArgoProfile => None,
    }
}

/// What the document uses the cluster's name for, if the name is not valid for that.
fn invalid_use(args: &Args, name: &str) -> Option<&'static str> {
    let is_in_secret_name = args.secret.is_none()
        && matches!(
            args.format,
            Format::ArgoCd | Format::Flux | Format::Capi | Format::MultiKueue | Format::ArgoProfile
        );
    if is_in_secret_name && !is_dns_subdomain(name) {
        return Some("part of a Secret's name");
    }
    match args.format {
        Format::Capi | Format::ArgoProfile if !is_dns_subdomain(name) || label_value(name) != name => {
            Some("the value of a label")
        }
        Format::ArgoClusters if !is_secret_key(name) => Some("a key of a Secret"),
        _ => None,
    }
}

/// <https://kubernetes.io/docs/concepts/configuration/secret/#restriction-names-data>
fn is_secret_key(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 253
        && !name.starts_with("..")
        && name != "."
        && name.bytes().all(|c| c.is_ascii_alphanumeric() || b"-._".contains(&c))
}

#[cfg(test)]
mod tests {
    use super::super::args::tests::args;
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(&[], None)]
    #[case(&["--format", "argo-profile", "--workflow-namespace", ""], None)]
    #[case(&["--workflow-namespace", "argo"], Some("requires --format argo-profile"))]
    #[case(&["--format", "kubeconfig", "--as", "x"], Some("use --format secret"))]
    #[case(&["--insecure-skip-tls-verify"], Some("certificate-authority-data"))]
    #[case(&["--insecure-skip-tls-verify", "--format", "flux"], Some("Flux refuses"))]
    #[case(&["--insecure-skip-tls-verify", "--format", "multikueue"], Some("Kueue refuses"))]
    #[case(&["--insecure-skip-tls-verify", "--format", "kubeconfig"], None)]
    #[case(&["--insecure-skip-tls-verify", "--format", "argocd"], None)]
    #[case(&["--insecure-skip-tls-verify", "--format", "capi"], None)]
    #[case(&["--insecure-skip-tls-verify", "--format", "argo-clusters"], None)]
    #[case(&["--insecure-skip-tls-verify", "--format", "argo-kubeconfig"], None)]
    #[case(&["--insecure-skip-tls-verify", "--format", "argo-profile"], None)]
    fn conflicting_flags_are_refused(#[case] flags: &[&str], #[case] expected: Option<&str>) {
        let conflict = conflict(&args(flags));
        match (&conflict, expected) {
            (Some(conflict), Some(expected)) => assert!(conflict.contains(expected), "{conflict}"),
            (conflict, expected) => assert_eq!(conflict.is_some(), expected.is_some(), "{conflict:?}"),
        }
    }

    const EKS: &str = "arn:aws:eks:eu-west-1:123456789012:cluster/prod";
    const GKE: &str = "gke_project_europe-west1_prod";

    #[rstest]
    #[case(&[], EKS, true)]
    #[case(&["--format", "kubeconfig"], EKS, true)]
    #[case(&["--format", "argocd"], EKS, false)]
    #[case(&["--format", "argocd", "--as", "cluster-prod"], EKS, true)]
    #[case(&["--format", "capi", "--as", "prod-kubeconfig"], GKE, false)]
    #[case(&["--format", "argo-clusters"], GKE, true)]
    #[case(&["--format", "argo-clusters"], EKS, false)]
    #[case(&["--format", "argo-kubeconfig"], EKS, true)]
    #[case(&["--format", "argo-profile"], "prod.eu", true)]
    fn cluster_names_must_be_valid_where_they_are_used(
        #[case] flags: &[&str],
        #[case] name: &str,
        #[case] is_valid: bool,
    ) {
        assert_eq!(invalid_use(&args(flags), name).is_none(), is_valid);
    }
}

//! What is refused before anything is asked of a cluster.

use mcsa_credentials::names::{is_dns_subdomain, label_value};

use super::args::{Args, Format};

/// Refuses flags that do not go together.
///
/// # Errors
/// When there are such, with the mend.
pub fn flags(args: &Args) -> anyhow::Result<()> {
    flag_problem(args).map_or(Ok(()), |problem| Err(anyhow::anyhow!(problem)))
}

/// Refuses a name of the cluster that the document has no place for.
///
/// # Errors
/// When it is such, with the mend.
pub fn names(args: &Args, cluster_name: &str) -> anyhow::Result<()> {
    match misplaced(args, cluster_name) {
        Some(place) => {
            anyhow::bail!(
                "{cluster_name:?} can't be {place}: give the cluster another name with --cluster-name"
            )
        }
        None => Ok(()),
    }
}

fn flag_problem(args: &Args) -> Option<String> {
    if args.workflow_namespace.is_some() && args.format != Format::ArgoProfile {
        return Some("--workflow-namespace is for --format argo-profile only".into());
    }
    if args.format == Format::Kubeconfig && (args.secret.is_some() || args.secret_namespace.is_some()) {
        return Some(
            "--as and --secret-namespace are about a Secret, and --format kubeconfig is none: --format secret has a \
             kubeconfig in it"
                .into(),
        );
    }
    let who = args.insecure_skip_tls_verify.then(|| demands_tls(args.format)).flatten()?;
    Some(format!(
        "--insecure-skip-tls-verify can't be: {who}; put the cluster's certificate-authority-data into your \
         kubeconfig, or have --server name a host that its certificate is for"
    ))
}

/// Why a format is never without verification; none where the consumer leaves that to the user.
///
/// Sources: <https://fluxcd.io/flux/components/kustomize/options/> (`--insecure-kubeconfig-tls`),
/// <https://github.com/kubernetes-sigs/kueue/blob/main/CHANGELOG/CHANGELOG-0.15.md>.
fn demands_tls(format: Format) -> Option<&'static str> {
    match format {
        Format::Secret => {
            Some("neither links nor imports do without verification, and this Secret is read as they are")
        }
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

/// The place that the cluster's name does not fit.
fn misplaced(args: &Args, name: &str) -> Option<&'static str> {
    let in_secrets_name = args.secret.is_none()
        && matches!(
            args.format,
            Format::ArgoCd | Format::Flux | Format::Capi | Format::MultiKueue | Format::ArgoProfile
        );
    if in_secrets_name && !is_dns_subdomain(name) {
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
    #[case(&["--workflow-namespace", "argo"], Some("argo-profile only"))]
    #[case(&["--format", "kubeconfig", "--as", "x"], Some("is none"))]
    #[case(&["--insecure-skip-tls-verify"], Some("certificate-authority-data"))]
    #[case(&["--insecure-skip-tls-verify", "--format", "flux"], Some("Flux refuses"))]
    #[case(&["--insecure-skip-tls-verify", "--format", "multikueue"], Some("Kueue refuses"))]
    #[case(&["--insecure-skip-tls-verify", "--format", "kubeconfig"], None)]
    #[case(&["--insecure-skip-tls-verify", "--format", "argocd"], None)]
    #[case(&["--insecure-skip-tls-verify", "--format", "capi"], None)]
    #[case(&["--insecure-skip-tls-verify", "--format", "argo-clusters"], None)]
    #[case(&["--insecure-skip-tls-verify", "--format", "argo-kubeconfig"], None)]
    #[case(&["--insecure-skip-tls-verify", "--format", "argo-profile"], None)]
    fn flags_that_do_not_go_together(#[case] flags: &[&str], #[case] said: Option<&str>) {
        let problem = flag_problem(&args(flags));
        match (&problem, said) {
            (Some(problem), Some(said)) => assert!(problem.contains(said), "{problem}"),
            (problem, said) => assert_eq!(problem.is_some(), said.is_some(), "{problem:?}"),
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
    fn names_of_clusters(#[case] flags: &[&str], #[case] name: &str, #[case] fits: bool) {
        assert_eq!(misplaced(&args(flags), name).is_none(), fits);
    }
}

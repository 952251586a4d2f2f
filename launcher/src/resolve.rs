//! Finds the launch import that runs a home pod.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use mcsa_client::clusters::Member;
use mcsa_credentials::contract::launch::REMOTE_NAMESPACE;

use crate::record;

/// Why no launch import runs the pod. The pod waits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unresolved {
    #[error(
        "namespace {namespace} has no usable launch import of cluster {cluster}: run kubemcsa launch {namespace} \
         --target-context TARGET --source-context SOURCE, or see why in kubectl -n {namespace} get serviceaccountimports"
    )]
    NoImport { namespace: String, cluster: String },

    #[error(
        "namespace {namespace} has no usable launch import for namespace {remote} of cluster {cluster}: run kubemcsa \
         launch {namespace} --remote-namespace {remote} --target-context TARGET --source-context SOURCE"
    )]
    NoNamespace { namespace: String, cluster: String, remote: String },

    #[error(
        "namespace {namespace} has no usable launch import of cluster {cluster}, and no Secret of Argo Workflows gives \
         it access: see the launcher's log"
    )]
    NoSecret { namespace: String, cluster: String },

    #[error(
        "namespace {namespace} has no usable launch import for namespace {remote} of cluster {cluster}, and no Secret \
         of Argo Workflows gives it access: name namespace {remote} in the Secret; without a namespace, it gives \
         access to namespace {namespace} only"
    )]
    NotInSecret { namespace: String, cluster: String, remote: String },

    #[error(
        "namespace {namespace} has launch imports for several namespaces of cluster {cluster} ({}): select one with \
         the annotation {REMOTE_NAMESPACE}",
        .remotes.join(", ")
    )]
    Ambiguous { namespace: String, cluster: String, remotes: Vec<String> },
}

impl Unresolved {
    /// The reason for the pod's status and events.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::NoImport { .. }
            | Self::NoNamespace { .. }
            | Self::NoSecret { .. }
            | Self::NotInSecret { .. } => "NoLaunchImport",
            Self::Ambiguous { .. } => "AmbiguousLaunchImport",
        }
    }

    /// The same for a namespace whose pods may use Argo's Secrets: a launch import would replace them.
    pub(crate) fn with_secrets(self) -> Self {
        match self {
            Self::NoImport { namespace, cluster } => Self::NoSecret { namespace, cluster },
            Self::NoNamespace { namespace, cluster, remote } => {
                Self::NotInSecret { namespace, cluster, remote }
            }
            other => other,
        }
    }
}

/// Selects the launch import of a pod among those that its namespace has for the pod's source. The first of a remote
/// namespace precedes.
pub(crate) fn resolve(home: &Pod, cluster: &str, imports: Vec<Member>) -> Result<Member, Unresolved> {
    let remotes: Vec<_> = imports.iter().map(|member| member.default_namespace().to_owned()).collect();
    let selected = select(home, cluster, &remotes)?;
    imports.into_iter().nth(selected).ok_or_else(|| no_import(home, cluster))
}

/// Selects one of these remote namespaces, by its index.
fn select(home: &Pod, cluster: &str, remotes: &[String]) -> Result<usize, Unresolved> {
    let namespace = home.namespace().unwrap_or_default();
    let position = |wanted: &str| remotes.iter().position(|remote| remote == wanted);
    // A later launch import must not move a pod that was launched.
    let annotated = home.annotations().get(REMOTE_NAMESPACE).map(String::as_str);
    if let Some(wanted) = record::remote_namespace(home).or(annotated) {
        let (remote, cluster) = (wanted.to_owned(), cluster.to_owned());
        return position(wanted).ok_or(Unresolved::NoNamespace { namespace, cluster, remote });
    }
    match remotes {
        [] => Err(no_import(home, cluster)),
        [first, others @ ..] if others.iter().all(|other| other == first) => Ok(0),
        // `kubemcsa launch` maps a namespace to that of the same name unless it is told otherwise.
        _ => position(&namespace).ok_or_else(|| Unresolved::Ambiguous {
            namespace: namespace.clone(),
            cluster: cluster.to_owned(),
            remotes: BTreeSet::from_iter(remotes.iter().cloned()).into_iter().collect(),
        }),
    }
}

fn no_import(home: &Pod, cluster: &str) -> Unresolved {
    Unresolved::NoImport { namespace: home.namespace().unwrap_or_default(), cluster: cluster.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mcsa_credentials::contract::launch::{HOME_UID, REMOTE_POD};
    use rstest::rstest;

    fn pod(annotations: &[(&str, &str)]) -> Pod {
        let mut pod = Pod::default();
        pod.metadata.namespace = Some("team-a".into());
        pod.metadata.uid = Some("u".into());
        for (key, value) in annotations {
            pod.annotations_mut().insert((*key).into(), (*value).into());
        }
        pod
    }

    #[rstest]
    #[case::one(&[], &["batch"], Some(0))]
    #[case::same_name_of_several(&[], &["batch", "team-a"], Some(1))]
    #[case::several(&[], &["batch", "other"], None)]
    #[case::several_for_one_namespace(&[], &["batch", "batch"], Some(0))]
    #[case::none(&[], &[], None)]
    #[case::annotated(&[(REMOTE_NAMESPACE, "other")], &["batch", "other"], Some(1))]
    #[case::annotated_and_absent(&[(REMOTE_NAMESPACE, "other")], &["batch"], None)]
    #[case::launched(&[(REMOTE_POD, "other/a"), (HOME_UID, "u")], &["team-a", "other"], Some(1))]
    #[case::launched_and_annotated(&[(REMOTE_POD, "other/a"), (HOME_UID, "u"), (REMOTE_NAMESPACE, "x")], &["x", "other"], Some(1))]
    #[case::launched_and_import_gone(&[(REMOTE_POD, "other/a"), (HOME_UID, "u")], &["team-a"], None)]
    #[case::copied(&[(REMOTE_POD, "other/a"), (HOME_UID, "v")], &["team-a", "other"], Some(0))]
    fn the_launch_import_is_selected_by_its_namespace(
        #[case] annotations: &[(&str, &str)],
        #[case] remotes: &[&str],
        #[case] expected: Option<usize>,
    ) {
        let remotes: Vec<_> = remotes.iter().map(ToString::to_string).collect();
        assert_eq!(select(&pod(annotations), "c2", &remotes).ok(), expected);
    }

    #[test]
    fn an_error_names_the_namespaces_and_the_mend() {
        let error = select(&pod(&[]), "c2", &["y".into(), "x".into(), "y".into()]).unwrap_err().to_string();
        assert!(error.contains("(x, y)") && error.contains(REMOTE_NAMESPACE), "{error}");
        let error = select(&pod(&[]), "c2", &[]).unwrap_err().to_string();
        assert!(error.contains("cluster c2") && error.contains("kubemcsa launch team-a"), "{error}");
    }

    #[rstest]
    #[case::no_import(&[], "cluster c2, and no Secret of Argo Workflows")]
    #[case::no_namespace(&[(REMOTE_NAMESPACE, "other")], "name namespace other in the Secret")]
    fn an_error_does_not_advise_launch_imports_where_secrets_are_used(
        #[case] annotations: &[(&str, &str)],
        #[case] expected: &str,
    ) {
        let problem = select(&pod(annotations), "c2", &[]).unwrap_err().with_secrets();
        assert_eq!(problem.reason(), "NoLaunchImport");
        let error = problem.to_string();
        assert!(error.contains(expected) && !error.contains("kubemcsa launch"), "{error}");
    }
}

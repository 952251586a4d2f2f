//! Finds the launch import that runs a home pod.

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
            Self::NoImport { .. } | Self::NoNamespace { .. } => "NoLaunchImport",
            Self::Ambiguous { .. } => "AmbiguousLaunchImport",
        }
    }
}

/// Selects the launch import of a pod among those that its namespace has for the pod's source.
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
        [_] => Ok(0),
        // `kubemcsa launch` maps a namespace to that of the same name unless it is told otherwise.
        _ => position(&namespace).ok_or_else(|| Unresolved::Ambiguous {
            namespace: namespace.clone(),
            cluster: cluster.to_owned(),
            remotes: remotes.to_vec(),
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
        let error = select(&pod(&[]), "c2", &["x".into(), "y".into()]).unwrap_err().to_string();
        assert!(error.contains("(x, y)") && error.contains(REMOTE_NAMESPACE), "{error}");
        let error = select(&pod(&[]), "c2", &[]).unwrap_err().to_string();
        assert!(error.contains("cluster c2") && error.contains("kubemcsa launch team-a"), "{error}");
    }
}

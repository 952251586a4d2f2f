//! Launch imports: the clusters in which pods of a namespace may run.

use std::collections::HashMap;

use kube::ResourceExt;
use mcsa_client::ServiceAccountImport;
use mcsa_credentials::contract::launch;

/// Kubernetes' limit for values of labels and taints.
const MAX_VALUE: usize = 63;

/// What a launch import permits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LaunchImport {
    /// Name of the source.
    pub cluster: Box<str>,
    /// Namespace in the source.
    pub namespace: Box<str>,
}

impl LaunchImport {
    /// `None` if the import has no launch label, or a cluster that can't be a virtual node, because its name is too
    /// long for a label.
    pub(crate) fn of(import: &ServiceAccountImport) -> Option<Self> {
        let is_launch = import.labels().get(launch::LABEL).is_some_and(|value| value == "true");
        let spec = &import.spec;
        (is_launch && spec.cluster_name.len() <= MAX_VALUE).then(|| Self {
            cluster: spec.cluster_name.as_str().into(),
            namespace: spec.namespace.as_str().into(),
        })
    }
}

/// Launch imports by namespace, each with its name.
#[derive(Default)]
pub(super) struct LaunchImports(HashMap<Box<str>, Vec<(Box<str>, LaunchImport)>>);

impl LaunchImports {
    pub(super) fn of_namespace(&self, namespace: &str) -> Vec<LaunchImport> {
        self.0.get(namespace).into_iter().flatten().map(|(_, import)| import.clone()).collect()
    }

    /// Stores what an import permits now; `None` if it is not, or no longer, a launch import.
    pub(super) fn set(&mut self, namespace: &str, name: &str, import: Option<LaunchImport>) {
        if let Some(stored) = self.0.get_mut(namespace) {
            stored.retain(|(stored, _)| **stored != *name);
        }
        match import {
            Some(import) => self.0.entry(namespace.into()).or_default().push((name.into(), import)),
            None if self.0.get(namespace).is_some_and(Vec::is_empty) => drop(self.0.remove(namespace)),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    fn import(label: &str, cluster: &str) -> ServiceAccountImport {
        serde_json::from_value(json!({
            "apiVersion": "multicluster.admiralty.io/v1alpha1", "kind": "ServiceAccountImport",
            "metadata": { "name": "a", "namespace": "default", "labels": { launch::LABEL: label } },
            "spec": { "clusterName": cluster, "namespace": "remote", "name": "launcher-c1" },
        }))
        .unwrap()
    }

    #[rstest]
    #[case("true", "c2", true)]
    #[case("false", "c2", false)]
    #[case(launch::STOPPING, "c2", false)]
    #[case("", "c2", false)]
    #[case("true", &"x".repeat(63), true)]
    #[case("true", &"x".repeat(64), false)]
    fn launch_imports_have_the_label(#[case] label: &str, #[case] cluster: &str, #[case] expected: bool) {
        let found = LaunchImport::of(&import(label, cluster));
        let permitted = LaunchImport { cluster: cluster.into(), namespace: "remote".into() };
        assert_eq!(found, expected.then_some(permitted));
    }

    #[test]
    fn import_is_replaced_and_removed() {
        let of = |cluster| LaunchImport::of(&import("true", cluster));
        let mut imports = LaunchImports::default();
        imports.set("default", "none", None);
        assert!(imports.0.is_empty());
        imports.set("default", "a", of("c2"));
        imports.set("default", "b", of("c3"));
        imports.set("other", "a", of("c4"));
        imports.set("default", "a", of("c5"));
        let found: Vec<_> =
            imports.of_namespace("default").into_iter().map(|import| import.cluster).collect();
        assert_eq!(found, ["c3", "c5"].map(Box::from));
        imports.set("default", "b", None);
        imports.set("default", "a", None);
        assert_eq!(imports.of_namespace("default"), []);
        assert_eq!(imports.0.len(), 1, "empty lists are dropped");
    }
}

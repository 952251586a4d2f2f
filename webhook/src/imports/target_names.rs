//! The names by which sources know this cluster.

use std::collections::{BTreeSet, HashMap};

use kube::ResourceExt;
use mcsa_client::ServiceAccountImport;
use mcsa_client::contract::SYSTEM_NAMESPACE;

/// The links, by the names of their imports.
#[derive(Default)]
pub(super) struct TargetNames(HashMap<Box<str>, Link>);

struct Link {
    /// The name of this cluster in the source: that of the link's service account.
    target: Box<str>,
    source: Box<str>,
}

impl TargetNames {
    /// In alphabetical order, without duplicates, and without the names of sources.
    pub(super) fn all(&self) -> Vec<String> {
        let sources: BTreeSet<_> = self.0.values().map(|link| &link.source).collect();
        let targets: BTreeSet<_> = self.0.values().map(|link| &link.target).collect();
        targets.difference(&sources).map(ToString::to_string).collect()
    }

    pub(super) fn apply(&mut self, import: &ServiceAccountImport) {
        if import.is_link() {
            let (target, source) =
                (import.spec.name.as_str().into(), import.spec.cluster_name.as_str().into());
            self.0.insert(import.name_any().into(), Link { target, source });
        } else {
            self.delete(import);
        }
    }

    pub(super) fn delete(&mut self, import: &impl ResourceExt) {
        if import.namespace().as_deref() == Some(SYSTEM_NAMESPACE) {
            self.0.remove(&*import.name_any());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mcsa_client::contract::LINK_LABEL;
    use serde_json::json;

    fn import(namespace: &str, name: &str, account: &str, label: &str) -> ServiceAccountImport {
        serde_json::from_value(json!({
            "apiVersion": "multicluster.admiralty.io/v1alpha1", "kind": "ServiceAccountImport",
            "metadata": { "name": name, "namespace": namespace, "labels": { LINK_LABEL: label } },
            "spec": { "clusterName": name, "namespace": SYSTEM_NAMESPACE, "name": account },
        }))
        .unwrap()
    }

    #[test]
    fn links_have_the_names_but_for_those_of_sources() {
        let mut names = TargetNames::default();
        for (namespace, name, account, label) in [
            (SYSTEM_NAMESPACE, "c2", "west", "true"),
            (SYSTEM_NAMESPACE, "c3", "c1", "true"),
            (SYSTEM_NAMESPACE, "c4", "c1", "true"),
            (SYSTEM_NAMESPACE, "c5", "no-link", "false"),
            ("default", "c3", "tenant", "true"),
            (SYSTEM_NAMESPACE, "c6", "c2", "true"),
        ] {
            names.apply(&import(namespace, name, account, label));
        }
        assert_eq!(names.all(), ["c1", "west"]);
        names.delete(&import("default", "c2", "west", "true"));
        names.delete(&import(SYSTEM_NAMESPACE, "c3", "c1", "true"));
        assert_eq!(names.all(), ["c1", "west"]);
        names.apply(&import(SYSTEM_NAMESPACE, "c4", "c1", ""));
        assert_eq!(names.all(), ["west"]);
    }
}

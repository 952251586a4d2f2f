//! The names by which sources know this cluster.

use std::collections::{BTreeSet, HashMap};

use kube::ResourceExt;
use mcsa_client::ServiceAccountImport;

/// The name of this cluster in each source, by the name of the link's import. A link's service account has that name.
#[derive(Default)]
pub(super) struct TargetNames(HashMap<Box<str>, Box<str>>);

impl TargetNames {
    /// In alphabetical order, without duplicates.
    pub(super) fn all(&self) -> Vec<String> {
        self.0.values().collect::<BTreeSet<_>>().into_iter().map(ToString::to_string).collect()
    }

    pub(super) fn apply(&mut self, import: &ServiceAccountImport) {
        if import.is_link() {
            self.0.insert(import.name_any().into(), import.spec.name.as_str().into());
        } else {
            self.delete(import);
        }
    }

    pub(super) fn delete(&mut self, import: &impl ResourceExt) {
        if import.namespace().as_deref() == Some(mcsa_client::contract::SYSTEM_NAMESPACE) {
            self.0.remove(&*import.name_any());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mcsa_client::contract::{LINK_LABEL, SYSTEM_NAMESPACE};
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
    fn links_have_the_names() {
        let mut names = TargetNames::default();
        for (namespace, name, account, label) in [
            (SYSTEM_NAMESPACE, "c2", "west", "true"),
            (SYSTEM_NAMESPACE, "c3", "c1", "true"),
            (SYSTEM_NAMESPACE, "c4", "c1", "true"),
            (SYSTEM_NAMESPACE, "c5", "no-link", "false"),
            ("default", "c3", "tenant", "true"),
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

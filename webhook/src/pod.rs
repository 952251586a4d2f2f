//! The fields of a pod that matter for imports and for its cluster, borrowed from the review's body.

mod scheduling;
mod volumes;

use serde::Deserialize;

pub(crate) use self::scheduling::{Affinity, NodeSelectorTerm, Toleration};
use self::scheduling::{NodeLabels, Os, WINDOWS};
pub(crate) use self::volumes::{Volume, VolumeMount};
use crate::json::{Object, Text};

/// A list of objects; `null` is `None`.
type List<T> = Option<Vec<Object<T>>>;

/// Most bytes that an item of a list takes when it is parsed.
pub(crate) const MAX_ITEM_SIZE: usize = 128;

const _: () = assert!(
    size_of::<Volume>() <= MAX_ITEM_SIZE
        && size_of::<VolumeMount>() <= MAX_ITEM_SIZE
        && size_of::<Container>() <= MAX_ITEM_SIZE
        && size_of::<Env>() <= MAX_ITEM_SIZE
        && size_of::<Toleration>() <= MAX_ITEM_SIZE
);

/// A partial view of a pod.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Pod<'a> {
    #[serde(borrow)]
    pub(crate) metadata: Option<Object<Metadata<'a>>>,
    #[serde(borrow)]
    pub(crate) spec: Option<Object<Spec<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Metadata<'a> {
    /// Empty if the API server generates the name.
    #[serde(borrow)]
    pub(crate) name: Text<'a>,
    #[serde(borrow)]
    pub(crate) generate_name: Text<'a>,
    #[serde(borrow)]
    pub(crate) annotations: Option<Object<Annotations<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Annotations<'a> {
    /// [`mcsa_client::contract::IMPORT_NAME`].
    #[serde(borrow, rename = "multicluster.admiralty.io/service-account-import.name")]
    pub(crate) imports: Option<Text<'a>>,
    /// [`mcsa_client::contract::KUBECONFIG_ENV`].
    #[serde(borrow, rename = "multicluster.admiralty.io/kubeconfig-env")]
    pub(crate) kubeconfig_env: Option<Text<'a>>,
    /// [`mcsa_credentials::contract::launch::ELECT`].
    #[serde(borrow, rename = "multicluster.admiralty.io/elect")]
    pub(crate) elect: Option<Text<'a>>,
    /// [`mcsa_credentials::contract::launch::CLUSTER_NAME`].
    #[serde(borrow, rename = "multicluster.admiralty.io/clustername")]
    pub(crate) cluster_name: Option<Text<'a>>,
    /// [`mcsa_credentials::contract::launch::REMOTE_NAMESPACE`].
    #[serde(borrow, rename = "multicluster.admiralty.io/remote-namespace")]
    pub(crate) remote_namespace: Option<Text<'a>>,
    /// Marks the mirror of a static pod, which may not refer to Secrets.
    #[serde(borrow, rename = "kubernetes.io/config.mirror")]
    pub(crate) mirror: Option<Text<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Spec<'a> {
    #[serde(borrow)]
    pub(crate) volumes: List<Volume<'a>>,
    /// Includes sidecars.
    #[serde(borrow)]
    pub(crate) init_containers: List<Container<'a>>,
    #[serde(borrow)]
    pub(crate) containers: List<Container<'a>>,
    #[serde(borrow)]
    pub(crate) ephemeral_containers: List<Container<'a>>,
    #[serde(borrow)]
    pub(crate) tolerations: List<Toleration<'a>>,
    pub(crate) affinity: Option<Object<Affinity>>,
    #[serde(borrow)]
    node_selector: Option<Object<NodeLabels<'a>>>,
    #[serde(borrow)]
    os: Option<Object<Os<'a>>>,
}

/// The common fields of all kinds of containers.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Container<'a> {
    #[serde(borrow)]
    pub(crate) name: Text<'a>,
    #[serde(borrow)]
    pub(crate) volume_mounts: List<VolumeMount<'a>>,
    /// Without `envFrom`.
    #[serde(borrow)]
    pub(crate) env: List<Env<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Env<'a> {
    #[serde(borrow)]
    pub(crate) name: Text<'a>,
    #[serde(borrow)]
    pub(crate) value: Text<'a>,
}

impl Metadata<'_> {
    /// The name, or `generateName` if the API server has not generated the name yet.
    pub(crate) fn name(&self) -> &str {
        if self.name.is_empty() { &self.generate_name } else { &self.name }
    }
}

impl<'a> Pod<'a> {
    /// See [`Metadata::name`].
    pub(crate) fn name(&self) -> &str {
        self.metadata.as_ref().map(|metadata| metadata.name()).unwrap_or_default()
    }

    /// The annotation that names imports; `None` for mirror pods.
    pub(crate) fn imports(&self) -> Option<&str> {
        self.unmirrored_annotations()?.imports.as_deref()
    }

    /// The annotation that requests `KUBECONFIG`.
    pub(crate) fn kubeconfig_env(&self) -> Option<&str> {
        self.annotations()?.kubeconfig_env.as_deref()
    }

    /// The annotations, unless the pod is a mirror pod, which a kubelet has started already.
    pub(crate) fn unmirrored_annotations(&self) -> Option<&Annotations<'a>> {
        self.annotations().filter(|annotations| annotations.mirror.is_none())
    }

    fn annotations(&self) -> Option<&Annotations<'a>> {
        Some(self.metadata.as_ref()?.annotations.as_ref()?)
    }

    pub(crate) fn ephemeral_containers(&self) -> impl Iterator<Item = &Container<'a>> {
        let containers = self.spec.iter().flat_map(|spec| &spec.ephemeral_containers);
        containers.flatten().map(|container| &container.0)
    }
}

impl<'a> Spec<'a> {
    pub(crate) fn volume(&self, name: &str) -> Option<&Volume<'a>> {
        self.volumes.iter().flatten().map(|volume| &volume.0).find(|volume| &*volume.name == name)
    }

    /// Whether only nodes with Windows can run the pod.
    pub(crate) fn is_for_windows(&self) -> bool {
        let os = self.os.as_ref().map(|os| &*os.name);
        let selected = self.node_selector.as_ref().map(|labels| &*labels.os);
        match [os, selected].into_iter().flatten().find(|os| !os.is_empty()) {
            Some(os) => os == WINDOWS,
            None => self.affinity.as_ref().is_some_and(|affinity| affinity.requires_os(WINDOWS)),
        }
    }

    /// Every container, with its field and index.
    pub(crate) fn containers(&self) -> impl Iterator<Item = (&'static str, usize, &Container<'a>)> {
        let kinds = [
            ("initContainers", &self.init_containers),
            ("containers", &self.containers),
            ("ephemeralContainers", &self.ephemeral_containers),
        ];
        kinds.into_iter().flat_map(|(field, list)| {
            list.iter().flatten().enumerate().map(move |(index, container)| (field, index, &container.0))
        })
    }
}

impl Container<'_> {
    /// Whether the container sets the variable, by `value` or `valueFrom`.
    pub(crate) fn sets(&self, variable: &str) -> bool {
        self.env.iter().flatten().any(|env| &*env.name == variable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mcsa_client::contract::{IMPORT_NAME, KUBECONFIG_ENV};
    use mcsa_credentials::contract::launch::{CLUSTER_NAME, ELECT, REMOTE_NAMESPACE};
    use rstest::rstest;
    use serde_json::{Value, json};

    #[test]
    fn annotations_are_those_of_the_contract() {
        let pod = json!({ "metadata": { "annotations": {
            IMPORT_NAME: "a", KUBECONFIG_ENV: "true", ELECT: "", CLUSTER_NAME: "c2", REMOTE_NAMESPACE: "n", "other": "b",
        } } });
        let pod = Pod::deserialize(&pod).unwrap();
        assert_eq!((pod.imports(), pod.kubeconfig_env()), (Some("a"), Some("true")));
        let annotations = pod.unmirrored_annotations().unwrap();
        let found = [&annotations.elect, &annotations.cluster_name, &annotations.remote_namespace];
        assert_eq!(found.map(Option::as_deref), [Some(""), Some("c2"), Some("n")]);
    }

    #[rstest]
    #[case(json!({}), "")]
    #[case(json!({ "metadata": null }), "")]
    #[case(json!({ "metadata": { "generateName": "p-" } }), "p-")]
    #[case(json!({ "metadata": { "name": "", "generateName": "p-" } }), "p-")]
    #[case(json!({ "metadata": { "name": null, "generateName": null, "annotations": null } }), "")]
    #[case(json!({ "metadata": { "name": "p", "generateName": "q-" } }), "p")]
    fn generated_name_is_used_if_there_is_no_name(#[case] pod: Value, #[case] name: &str) {
        let pod = Pod::deserialize(&pod).unwrap();
        assert_eq!((pod.name(), pod.imports()), (name, None));
    }
}

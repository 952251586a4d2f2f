//! The pods that hold an import: those that can read the values of its Secret.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use kube::{Resource, ResourceExt};
use mcsa_client::contract::IMPORT_NAME;
use mcsa_credentials::names::comma_separated;

use crate::cluster::{object, pod};

/// What the graph needs to know about a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodInfo {
    pub(crate) namespace: String,
    /// The controller of the pod, or the pod itself.
    pub(crate) owner: Owner,
    /// The Secrets in its volumes and environment variables.
    pub(crate) secrets: BTreeSet<String>,
    /// The imports that it references.
    pub(crate) imports: BTreeSet<String>,
}

/// Kind and name of a controller, or of a pod without one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Owner {
    pub(crate) kind: String,
    pub(crate) name: String,
}

impl Owner {
    /// The controller of an object.
    pub(crate) fn of(object: &impl Resource) -> Option<Self> {
        pod::controller(object).map(|(kind, name)| Self { kind, name })
    }

    pub(crate) fn title(&self) -> String {
        object::titled(&self.kind, None, &self.name)
    }
}

/// The Deployments of ReplicaSets and the CronJobs of Jobs, by namespace and owner.
pub(crate) type Parents = BTreeMap<(String, Owner), Owner>;

impl PodInfo {
    /// `None` if the pod has no Secrets and no imports, or has ended.
    pub(crate) fn of(pod: &Pod) -> Option<Self> {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        if matches!(phase, Some("Succeeded" | "Failed")) {
            return None;
        }
        let info = Self {
            namespace: pod.namespace().unwrap_or_default(),
            owner: Owner::of(pod).unwrap_or_else(|| Owner { kind: "Pod".into(), name: pod.name_any() }),
            secrets: pod.spec.as_ref().map(secrets).unwrap_or_default(),
            imports: pod
                .annotations()
                .get(IMPORT_NAME)
                .map(|names| comma_separated(names).map(str::to_owned).collect())
                .unwrap_or_default(),
        };
        (!info.secrets.is_empty() || !info.imports.is_empty()).then_some(info)
    }

    /// Whether it holds an import of its namespace, with this Secret.
    pub(crate) fn holds(&self, import: &str, secret: &str) -> bool {
        self.secrets.contains(secret) || self.imports.contains(import)
    }
}

/// The number of pods that hold an import, by owner. If an owner's parent is known, the parent counts as the owner.
pub(crate) fn count(
    pods: &[PodInfo],
    parents: &Parents,
    namespace: &str,
    import: &str,
    secret: &str,
) -> BTreeMap<Owner, usize> {
    let mut holders = BTreeMap::new();
    for pod in pods.iter().filter(|pod| pod.namespace == namespace && pod.holds(import, secret)) {
        let key = (pod.namespace.clone(), pod.owner.clone());
        *holders.entry(parents.get(&key).unwrap_or(&pod.owner).clone()).or_insert(0) += 1;
    }
    holders
}

fn secrets(spec: &PodSpec) -> BTreeSet<String> {
    let volumes = spec.volumes.iter().flatten().flat_map(pod::secrets);
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    volumes.chain(containers.flat_map(env_secrets)).collect()
}

fn env_secrets(container: &Container) -> impl Iterator<Item = String> {
    let env = container.env.iter().flatten();
    let env = env.filter_map(|it| Some(it.value_from.as_ref()?.secret_key_ref.as_ref()?.name.clone()));
    let env_from = container.env_from.iter().flatten();
    env.chain(env_from.filter_map(|it| Some(it.secret_ref.as_ref()?.name.clone())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    fn pod(annotations: Value, spec: Value, phase: &str) -> Pod {
        let mut spec = spec;
        spec["containers"] = spec.get("containers").cloned().unwrap_or_else(|| json!([]));
        serde_json::from_value(json!({
            "metadata": { "name": "p", "namespace": "default", "annotations": annotations, "ownerReferences": [
                { "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-1", "uid": "u", "controller": true },
            ] },
            "spec": spec,
            "status": { "phase": phase },
        }))
        .unwrap()
    }

    #[rstest]
    #[case::nothing(json!({}), json!({}), false)]
    #[case::annotation(json!({ IMPORT_NAME: "b, a" }), json!({}), true)]
    #[case::other_import(json!({ IMPORT_NAME: "b,aa" }), json!({}), false)]
    #[case::volume(json!({}), json!({ "volumes": [{ "name": "v", "secret": { "secretName": "a-token" } }] }), true)]
    #[case::projected(
        json!({}),
        json!({ "volumes": [{ "name": "v", "projected": { "sources": [{ "secret": { "name": "a-token" } }] } }] }),
        true
    )]
    #[case::env(
        json!({}),
        json!({ "containers": [{ "name": "c", "env": [
            { "name": "T", "valueFrom": { "secretKeyRef": { "name": "a-token", "key": "token" } } },
        ] }] }),
        true
    )]
    #[case::env_from(
        json!({}),
        json!({ "containers": [], "initContainers": [
            { "name": "c", "envFrom": [{ "secretRef": { "name": "a-token" } }] },
        ] }),
        true
    )]
    fn pods_hold_an_import_by_annotation_or_secret(
        #[case] annotations: Value,
        #[case] spec: Value,
        #[case] holds: bool,
    ) {
        let info = PodInfo::of(&pod(annotations.clone(), spec.clone(), "Running"));
        assert_eq!(info.is_some_and(|info| info.holds("a", "a-token")), holds);
        assert_eq!(PodInfo::of(&pod(annotations, spec, "Succeeded")), None);
    }

    #[test]
    fn pods_are_counted_by_owner() {
        let holder = pod(json!({ IMPORT_NAME: "a" }), json!({}), "Running");
        let pods = vec![PodInfo::of(&holder).unwrap(); 500];
        let named = |kind: &str, name: &str| Owner { kind: kind.into(), name: name.into() };
        let set = named("ReplicaSet", "web-1");
        let parents = [(("default".into(), set.clone()), named("Deployment", "web"))].into();
        let holders = count(&pods, &parents, "default", "a", "a-token");
        assert_eq!(holders, [(named("Deployment", "web"), 500)].into());
        assert_eq!(count(&pods, &Parents::new(), "default", "a", "a-token"), [(set, 500)].into());
        assert!(count(&pods, &parents, "elsewhere", "a", "a-token").is_empty());
        assert_eq!(named("ReplicaSet", "web-1").title(), "replica set web-1");
    }
}

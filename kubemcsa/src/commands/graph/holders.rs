//! Which pods hold an import: those that can read its Secret's values.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use kube::{Resource, ResourceExt};
use mcsa_client::contract::IMPORT_NAME;
use mcsa_credentials::names::comma_separated;

use crate::cluster::{object, pod};

/// Of a pod, what matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its namespace.
    pub namespace: String,
    /// What made it, or itself.
    pub owner: Owner,
    /// The Secrets that it has.
    pub secrets: BTreeSet<String>,
    /// The imports that it asks for.
    pub imports: BTreeSet<String>,
}

/// Who runs pods: a kind and a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// Kind, as Kubernetes writes it.
    pub kind: String,
    /// Name.
    pub name: String,
}

impl Owner {
    /// Who made an object.
    pub fn of(object: &impl Resource) -> Option<Self> {
        pod::controller(object).map(|(kind, name)| Self { kind, name })
    }

    /// What people call it.
    pub fn title(&self) -> String {
        object::titled(&self.kind, None, &self.name)
    }
}

/// The owners of what owns pods, by namespace: a Deployment's ReplicaSets, a CronJob's Jobs.
pub type Parents = BTreeMap<(String, Owner), Owner>;

impl Seen {
    /// What matters of a pod; none of one that holds nothing, or has ended.
    pub fn of(pod: &Pod) -> Option<Self> {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        if matches!(phase, Some("Succeeded" | "Failed")) {
            return None;
        }
        let seen = Self {
            namespace: pod.namespace().unwrap_or_default(),
            owner: Owner::of(pod).unwrap_or_else(|| Owner { kind: "Pod".into(), name: pod.name_any() }),
            secrets: pod.spec.as_ref().map(secrets).unwrap_or_default(),
            imports: pod
                .annotations()
                .get(IMPORT_NAME)
                .map(|names| comma_separated(names).map(str::to_owned).collect())
                .unwrap_or_default(),
        };
        (!seen.secrets.is_empty() || !seen.imports.is_empty()).then_some(seen)
    }

    /// Whether it holds the import of its namespace that has this name and Secret.
    pub fn holds(&self, import: &str, secret: &str) -> bool {
        self.secrets.contains(secret) || self.imports.contains(import)
    }
}

/// How many pods of whom hold an import. Whose parents are not known counts for itself.
pub fn count(
    pods: &[Seen],
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
    volumes.chain(containers.flat_map(variables)).collect()
}

fn variables(container: &Container) -> impl Iterator<Item = String> {
    let each = container.env.iter().flatten();
    let each = each.filter_map(|it| Some(it.value_from.as_ref()?.secret_key_ref.as_ref()?.name.clone()));
    let all = container.env_from.iter().flatten();
    each.chain(all.filter_map(|it| Some(it.secret_ref.as_ref()?.name.clone())))
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
    #[case::another(json!({ IMPORT_NAME: "b,aa" }), json!({}), false)]
    #[case::volume(json!({}), json!({ "volumes": [{ "name": "v", "secret": { "secretName": "a-token" } }] }), true)]
    #[case::projected(
        json!({}),
        json!({ "volumes": [{ "name": "v", "projected": { "sources": [{ "secret": { "name": "a-token" } }] } }] }),
        true
    )]
    #[case::variable(
        json!({}),
        json!({ "containers": [{ "name": "c", "env": [
            { "name": "T", "valueFrom": { "secretKeyRef": { "name": "a-token", "key": "token" } } },
        ] }] }),
        true
    )]
    #[case::variables(
        json!({}),
        json!({ "containers": [], "initContainers": [
            { "name": "c", "envFrom": [{ "secretRef": { "name": "a-token" } }] },
        ] }),
        true
    )]
    fn who_holds(#[case] annotations: Value, #[case] spec: Value, #[case] holds: bool) {
        let seen = Seen::of(&pod(annotations.clone(), spec.clone(), "Running"));
        assert_eq!(seen.is_some_and(|seen| seen.holds("a", "a-token")), holds);
        assert_eq!(Seen::of(&pod(annotations, spec, "Succeeded")), None);
    }

    #[test]
    fn five_hundred_pods_are_one_line() {
        let held = pod(json!({ IMPORT_NAME: "a" }), json!({}), "Running");
        let pods = vec![Seen::of(&held).unwrap(); 500];
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

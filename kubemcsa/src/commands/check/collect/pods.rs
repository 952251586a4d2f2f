//! Reads the pods that reference imports, and the waiting steps of Argo Workflows. Keeps nothing of other pods, of which
//! there may be many.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Container, Pod as CorePod, PodSpec};
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use mcsa_client::contract::IMPORT_NAME;
use mcsa_credentials::contract::launch::REMOTE_NAMESPACE;
use mcsa_credentials::names::comma_separated;

use crate::cluster::call::CallError;
use crate::cluster::pod::{controller, secrets};
use crate::cluster::{Cluster, list};
use crate::commands::check::facts::{Facts, Missing, Pod, WaitingStep};
use crate::commands::check::judge::is_reported_by_controller;

const MIRROR: &str = "kubernetes.io/config.mirror";

/// Concurrent reads of ReplicaSets.
const CONCURRENCY: usize = 8;

/// The most ReplicaSets that are read: with more problems, people fix some and check again.
const MAX_REPLICA_SETS: usize = 200;

/// What was found in one listing of all pods.
#[derive(Default)]
pub(crate) struct Found {
    /// The pods that reference imports.
    pub(crate) pods: Vec<Pod>,
    pub(crate) waiting_steps: Vec<WaitingStep>,
}

/// Reads all namespaces, or one.
pub(crate) async fn collect(cluster: &Cluster, namespace: Option<&str>) -> Result<Found, CallError> {
    let api: Api<CorePod> = list::within(cluster, namespace);
    let page = async |params: &ListParams| api.list(params).await;
    let mut found = Found::default();
    list::each_page(cluster, "list pods", ListParams::default(), page, |page| {
        for listed in page {
            found.waiting_steps.extend(waiting_step(&listed));
            found.pods.extend(pod(listed));
        }
    })
    .await?;
    Ok(found)
}

/// `None` if the launcher does not report that the pod is a step that waits.
fn waiting_step(pod: &CorePod) -> Option<WaitingStep> {
    let missing = Missing::of_reason(pod.status.as_ref()?.reason.as_deref()?)?;
    if phase(pod) != "Pending" || pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    Some(WaitingStep {
        namespace: pod.namespace()?,
        node: pod.spec.as_ref()?.node_name.clone()?,
        remote_namespace: pod.annotations().get(REMOTE_NAMESPACE).cloned(),
        missing,
    })
}

fn phase(pod: &CorePod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// `None` if the pod references no import, has ended, or is the mirror of a static pod, which the webhook ignores.
fn pod(pod: CorePod) -> Option<Pod> {
    if pod.annotations().contains_key(MIRROR) {
        return None;
    }
    let imports = comma_separated(pod.annotations().get(IMPORT_NAME)?).map(str::to_owned).collect();
    if pod.metadata.deletion_timestamp.is_some() || matches!(phase(&pod), "Succeeded" | "Failed") {
        return None;
    }
    let spec = pod.spec.as_ref();
    let containers = spec.into_iter().flat_map(containers);
    let mounts = containers.flat_map(|container| container.volume_mounts.iter().flatten());
    Some(Pod {
        namespace: pod.namespace().unwrap_or_default(),
        name: pod.name_any(),
        imports,
        secrets: spec.into_iter().flat_map(|spec| spec.volumes.iter().flatten()).flat_map(secrets).collect(),
        mount_paths: mounts.map(|mount| mount.mount_path.trim_end_matches('/').to_owned()).collect(),
        is_pending: phase(&pod) == "Pending",
        controller: controller(&pod),
    })
}

fn containers(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.containers.iter().chain(spec.init_containers.iter().flatten())
}

/// Replaces the ReplicaSets of pods with problems by their Deployments, which people know. Keeps a ReplicaSet that
/// can't be read.
pub(crate) async fn find_controllers(cluster: &Cluster, facts: &mut Facts) {
    let pods = facts.pods.take();
    let reported = pods.iter().flatten().filter(|pod| is_reported_by_controller(facts, pod));
    let sets = reported.filter_map(|pod| match &pod.controller {
        Some((kind, name)) if kind == "ReplicaSet" => Some((pod.namespace.clone(), name.clone())),
        _ => None,
    });
    let sets: BTreeSet<_> = sets.collect();
    let reads = futures::stream::iter(sets).take(MAX_REPLICA_SETS).map(async |(namespace, name)| {
        let api: Api<ReplicaSet> = Api::namespaced(cluster.client.clone(), &namespace);
        let set = cluster.call("read a replica set", api.get_metadata(&name)).await.ok()?;
        Some(((namespace, name), controller(&set)?))
    });
    let owners: Vec<_> = reads.buffer_unordered(CONCURRENCY).collect().await;
    let owners: BTreeMap<_, _> = owners.into_iter().flatten().collect();
    let mut pods = pods;
    for pod in pods.iter_mut().flatten() {
        let set = pod.controller.as_ref().filter(|(kind, _)| kind == "ReplicaSet");
        let owner = set.and_then(|(_, name)| owners.get(&(pod.namespace.clone(), name.clone())));
        if let Some(owner) = owner {
            pod.controller = Some(owner.clone());
        }
    }
    facts.pods = pods;
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    fn read(annotations: Value, phase: &str) -> Option<Pod> {
        let object = json!({
            "metadata": {
                "namespace": "team", "name": "a-x", "annotations": annotations,
                "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "a", "uid": "u",
                                      "controller": true }],
            },
            "spec": {
                "volumes": [
                    { "name": "one", "secret": { "secretName": "one-token" } },
                    { "name": "two", "projected": { "sources": [{ "secret": { "name": "two-token" } }] } },
                    { "name": "other", "emptyDir": {} },
                ],
                "containers": [{ "name": "main", "volumeMounts": [{ "name": "one", "mountPath": "/creds/" }] }],
            },
            "status": { "phase": phase },
        });
        pod(serde_json::from_value(object).unwrap())
    }

    #[test]
    fn secrets_and_mounts_are_collected() {
        let found = read(json!({ IMPORT_NAME: "one, two" }), "Pending").unwrap();
        assert_eq!(found.imports, ["one", "two"]);
        assert_eq!(Vec::from_iter(&found.secrets), ["one-token", "two-token"]);
        assert_eq!(Vec::from_iter(&found.mount_paths), ["/creds"]);
        assert_eq!(found.controller, Some(("ReplicaSet".into(), "a".into())));
        assert!(found.is_pending);
    }

    #[test]
    fn pods_without_imports_and_finished_pods_are_skipped() {
        assert_eq!(read(json!({}), "Running"), None);
        assert_eq!(read(json!({ IMPORT_NAME: "one", MIRROR: "x" }), "Running"), None);
        assert_eq!(read(json!({ IMPORT_NAME: "one" }), "Succeeded"), None);
        assert_eq!(read(json!({ IMPORT_NAME: "one" }), "Failed"), None);
    }

    #[rstest]
    #[case::waits("/status/phase", json!("Pending"), true)]
    #[case::waits_for_something_else("/status/reason", json!("QuotaExceeded"), false)]
    #[case::has_failed("/status/phase", json!("Failed"), false)]
    #[case::is_deleted("/metadata/deletionTimestamp", json!("2026-01-01T00:00:00Z"), false)]
    #[case::is_not_bound("/spec/nodeName", json!(null), false)]
    fn steps_wait_for_what_the_launcher_reports(
        #[case] path: &str,
        #[case] value: Value,
        #[case] expected: bool,
    ) {
        let mut object = json!({
            "metadata": { "namespace": "team", "name": "w-main-1", "deletionTimestamp": null },
            "spec": { "nodeName": "c2", "containers": [{ "name": "main" }] },
            "status": { "phase": "Pending", "reason": "NoRightsToOutputs" },
        });
        *object.pointer_mut(path).unwrap() = value;
        let found = waiting_step(&serde_json::from_value(object).unwrap());
        let step = WaitingStep {
            namespace: "team".into(),
            node: "c2".into(),
            remote_namespace: None,
            missing: Missing::Rights,
        };
        assert_eq!(found, expected.then_some(step));
    }
}

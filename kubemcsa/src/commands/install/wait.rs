//! Waits for the Deployments, and reports why one is not available.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use mcsa_client::contract;
use tokio::time::{Instant, sleep};

use crate::cli::output;
use crate::cluster::call::CallError;
use crate::cluster::{Cluster, object};
use crate::manifests;

const PAUSE: Duration = Duration::from_millis(500);

/// Waits until each Deployment in manifests/ is available.
pub(crate) async fn until_available(
    cluster: &Cluster,
    timeout: Duration,
    kubectl: &str,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + timeout;
    let deployments: Api<Deployment> = Api::namespaced(cluster.client.clone(), contract::SYSTEM_NAMESPACE);
    let ours = manifests::objects()?;
    for object in ours.iter().filter(|object| object::kind(object) == "Deployment") {
        let (name, reference) = (object.name_any(), object::reference(object));
        let doing = format!("read {}", object::title(object));
        let mut reported = String::new();
        loop {
            let deployment = cluster.call(&doing, deployments.get(&name)).await?;
            let progress = progress(&deployment);
            let Some(progress) = progress else {
                output::info(&cluster.name, &format!("{reference} available"));
                break;
            };
            if progress != reported {
                output::info(&cluster.name, &format!("waiting for {reference}: {progress}"));
                reported = progress;
            }
            if Instant::now() >= deadline {
                let pods = pods(cluster, &deployment).await?;
                anyhow::bail!(
                    "{}: {reference} is not available after {timeout:?}: {}; for details: {kubectl} -n {} describe pods -l \
                     app.kubernetes.io/name={name}",
                    cluster.name,
                    reasons(&deployment, &pods),
                    contract::SYSTEM_NAMESPACE,
                );
            }
            sleep(PAUSE).await;
        }
    }
    Ok(())
}

async fn pods(cluster: &Cluster, deployment: &Deployment) -> Result<Vec<Pod>, CallError> {
    let labels = deployment.spec.iter().flat_map(|spec| &spec.selector.match_labels).flatten();
    let selector: Vec<_> = labels.map(|(key, value)| format!("{key}={value}")).collect();
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), contract::SYSTEM_NAMESPACE);
    let params = ListParams::default().labels(&selector.join(","));
    Ok(cluster.call("list the pods of a deployment", pods.list(&params)).await?.items)
}

/// Progress of the rollout; `None` once the current generation is available.
fn progress(deployment: &Deployment) -> Option<String> {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let status = deployment.status.clone().unwrap_or_default();
    let is_observed = status.observed_generation >= deployment.metadata.generation;
    let updated = if is_observed { status.updated_replicas.unwrap_or_default() } else { 0 };
    let available = if is_observed { status.available_replicas.unwrap_or_default().min(updated) } else { 0 };
    (!is_observed || available < wanted).then(|| format!("{available} of {wanted} pods available"))
}

/// Why the Deployment is not available: its failing conditions, and what its pods wait for.
fn reasons(deployment: &Deployment, pods: &[Pod]) -> String {
    let mut reasons = Vec::new();
    let status = deployment.status.clone().unwrap_or_default();
    for condition in status.conditions.unwrap_or_default() {
        let expected = if condition.type_ == "ReplicaFailure" { "False" } else { "True" };
        if condition.status != expected {
            reasons.push(format!(
                "{} is {}: {}",
                condition.type_,
                condition.status,
                condition.message.unwrap_or_default()
            ));
        }
    }
    if pods.is_empty() {
        reasons.push("no pods exist".into());
    }
    reasons
        .extend(pods.iter().filter_map(|pod| Some(format!("pod {}: {}", pod.name_any(), pod_reason(pod)?))));
    reasons.join("; ")
}

fn pod_reason(pod: &Pod) -> Option<String> {
    let status = pod.status.clone().unwrap_or_default();
    let containers = status.container_statuses.unwrap_or_default();
    for container in &containers {
        if let Some(waiting) = container.state.as_ref().and_then(|state| state.waiting.as_ref()) {
            let reason = waiting.reason.as_deref().unwrap_or("waiting");
            return Some(match waiting.message.as_deref() {
                Some(message) => format!("{reason} ({message})"),
                None => reason.to_owned(),
            });
        }
    }
    let unscheduled = status
        .conditions
        .into_iter()
        .flatten()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
    match unscheduled {
        Some(condition) => Some(condition.message.unwrap_or_else(|| "unschedulable".into())),
        None if pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_none()) => {
            Some("not scheduled yet".into())
        }
        None if containers.iter().all(|container| container.ready) && !containers.is_empty() => None,
        None => Some("not ready".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    fn deployment(generation: i64, status: Value) -> Deployment {
        let spec = json!({"replicas": 2, "selector": {}, "template": {}});
        serde_json::from_value(
            json!({"metadata": {"generation": generation}, "spec": spec, "status": status}),
        )
        .unwrap()
    }

    #[rstest]
    #[case(1, json!({}), Some("0 of 2 pods available"))]
    #[case(1, json!({"observedGeneration": 1, "updatedReplicas": 2, "availableReplicas": 1}), Some("1 of 2 pods available"))]
    #[case(1, json!({"observedGeneration": 1, "updatedReplicas": 2, "availableReplicas": 2}), None)]
    // Pods of an older generation don't count.
    #[case(2, json!({"observedGeneration": 1, "updatedReplicas": 2, "availableReplicas": 2}), Some("0 of 2 pods available"))]
    #[case(2, json!({"observedGeneration": 2, "updatedReplicas": 1, "availableReplicas": 2}), Some("1 of 2 pods available"))]
    fn progress_counts_pods_of_the_current_generation(
        #[case] generation: i64,
        #[case] status: Value,
        #[case] expected: Option<&str>,
    ) {
        assert_eq!(progress(&deployment(generation, status)).as_deref(), expected);
    }

    #[rstest]
    #[case(
        json!({"containerStatuses": [{"name": "a", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}]}),
        "pod p: ImagePullBackOff (no such image)"
    )]
    #[case(json!({"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/1 nodes"}]}), "pod p: 0/1 nodes")]
    #[case(json!({}), "pod p: not scheduled yet")]
    fn reasons_name_conditions_and_pods(#[case] status: Value, #[case] expected: &str) {
        let pod = serde_json::from_value(
            json!({"metadata": {"name": "p"}, "spec": {"containers": []}, "status": status}),
        )
        .unwrap();
        let conditions = json!({"conditions": [
            {"type": "Available", "status": "False", "message": "too few"},
            {"type": "Progressing", "status": "True", "message": "progressing"},
        ]});
        let reasons = reasons(&deployment(1, conditions), &[pod]);
        assert!(
            reasons.starts_with("Available is False: too few; ") && reasons.contains(expected),
            "{reasons}"
        );
    }
}

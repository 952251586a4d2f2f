//! A namespace whose pods run in the source, and pods in both clusters.

use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use kube::runtime::wait::{Condition, await_condition, conditions};
use kube::{Api, Client, ResourceExt};
use mcsa_credentials::contract::launch::{ELECT, NODE_LABEL};
use mcsa_tests::{Launched, Node, TOOLS_IMAGE};
use serde_json::{Value, json};
use tokio::time::timeout;

/// The namespace in both clusters.
pub const NAMESPACE: &str = "bench";

/// How long a pod may take to start or to end. With many pods, it waits for the scheduler.
const LIMIT: Duration = Duration::from_secs(600);

/// Starts both clusters, and launches the namespace.
pub async fn start() -> anyhow::Result<Launched> {
    // The log of a pod must not be rotated: `kubectl logs` reads only the newest file.
    let source = Node::builder("c2").audit_log().max_log_size("1Gi").start().await?;
    let launched = Launched::with_source(source.context("this machine cannot run a node")?).await?;
    launched.launch(NAMESPACE).await?;
    Ok(launched)
}

/// The namespace's pods in one of the clusters.
pub fn pods(client: Client) -> Api<Pod> {
    Api::namespaced(client, NAMESPACE)
}

/// A pod in which a shell script runs.
pub fn shell(name: &str, script: &str) -> Value {
    json!({
        "metadata": { "name": name },
        "spec": {
            "restartPolicy": "Never",
            "containers": [{ "name": "main", "image": TOOLS_IMAGE, "command": ["sh", "-c", script] }],
        },
    })
}

/// The same pod, to be created at home and run in the source.
pub fn launched(mut pod: Value, launched: &Launched) -> Value {
    pod["metadata"]["annotations"][ELECT] = "".into();
    pod["spec"]["nodeSelector"] = json!({ NODE_LABEL: launched.source.name() });
    pod
}

pub async fn create(pods: &Api<Pod>, pod: Value) -> anyhow::Result<Pod> {
    Ok(pods.create(&PostParams::default(), &serde_json::from_value(pod)?).await?)
}

/// Watches a pod until the condition holds.
pub async fn wait(
    pods: &Api<Pod>,
    name: &str,
    what: &str,
    condition: impl Condition<Pod>,
) -> anyhow::Result<()> {
    let waited = timeout(LIMIT, await_condition(pods.clone(), name, condition)).await;
    waited.with_context(|| format!("pod {name} is not {what} after {LIMIT:?}"))??;
    Ok(())
}

/// Deletes a pod, and waits until it is gone.
pub async fn delete(pods: &Api<Pod>, pod: &Pod) -> anyhow::Result<()> {
    let name = pod.name_any();
    pods.delete(&name, &Default::default()).await?;
    wait(pods, &name, "gone", conditions::is_deleted(&pod.uid().unwrap_or_default())).await
}

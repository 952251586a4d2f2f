//! Runs workflows of home, and measures how long they take.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, PostParams};
use kube::core::GroupVersionKind;
use kube::runtime::wait::await_condition;
use kube::{Api, ResourceExt};
use mcsa_credentials::contract::launch::CLUSTER_NAME;
use mcsa_tests::{TOOLS_IMAGE, try_eventually};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::clusters::{Clusters, NAMESPACE};

/// How long a small workflow may take, and how long its pods may take to be deleted.
pub const LIMIT: Duration = Duration::from_secs(600);

/// A run of a workflow that has succeeded.
pub struct Run {
    /// From the creation of the workflow until its end.
    pub duration: Duration,
    /// Number of its steps that ran in the source.
    pub remote_steps: usize,
    /// Its first output parameter.
    pub output: Option<String>,
}

/// A workflow whose steps run in the cluster of this name. The template `main` is its entrypoint.
pub fn workflow(name: &str, cluster: &str, templates: Value) -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": { "generateName": format!("{name}-") },
        "spec": {
            "entrypoint": "main",
            "podMetadata": { "annotations": { CLUSTER_NAME: cluster } },
            "templates": templates,
        },
    })
}

/// A workflow of `examples/argo`, with an image that the nodes have, and with other replacements. Fails if the example
/// lacks a text to replace.
pub fn example(text: &str, replacements: &[(&str, &str)]) -> anyhow::Result<Value> {
    let image = format!("image: {TOOLS_IMAGE}");
    let mut text = text.to_owned();
    for &(old, new) in [("image: busybox", &*image)].iter().chain(replacements) {
        ensure!(text.contains(old), "the example lacks {old:?}");
        text = text.replace(old, new);
    }
    Ok(serde_saphyr::from_str(&text)?)
}

/// Runs a workflow, and deletes it and its pods. Fails if it does not succeed within the limit.
pub async fn run(clusters: &Clusters, workflow: &Value, limit: Duration) -> anyhow::Result<Run> {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Workflow"));
    let workflows = Api::<DynamicObject>::namespaced_with(clusters.home.client(), NAMESPACE, &kind);
    let workflow: DynamicObject = serde_json::from_value(workflow.clone())?;
    let start = Instant::now();
    let name = workflows.create(&PostParams::default(), &workflow).await?.name_any();
    let has_ended = |workflow: Option<&DynamicObject>| {
        workflow.is_some_and(|workflow| workflow.data["status"]["finishedAt"].is_string())
    };
    let ended = timeout(limit, await_condition(workflows.clone(), &name, has_ended)).await;
    let ended = ended.with_context(|| format!("workflow {name} has not ended after {limit:?}"))??;
    let duration = start.elapsed();
    let ended = ended.with_context(|| format!("workflow {name} is gone"))?;
    let status = &ended.data["status"];
    let (phase, message) = (&status["phase"], &status["message"]);
    ensure!(phase == "Succeeded", "workflow {name} did not succeed: {phase}, {message}");

    let pods =
        [&clusters.home, &clusters.source].map(|cluster| Api::<Pod>::namespaced(cluster.client(), NAMESPACE));
    let of_workflow = ListParams::default().labels(&format!("workflows.argoproj.io/workflow={name}"));
    let is_remote = |pod: &&Pod| {
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        node == Some(clusters.source.name())
    };
    let remote_steps = pods[0].list(&of_workflow).await?.iter().filter(is_remote).count();
    let output = status["nodes"][&name]["outputs"]["parameters"][0]["value"].as_str().map(str::to_owned);

    workflows.delete(&name, &DeleteParams::default()).await?;
    try_eventually(limit, format!("the pods of workflow {name} are gone"), async || {
        for pods in &pods {
            let left = pods.list_metadata(&of_workflow).await?.items.len();
            ensure!(left == 0, "{left} pods are left");
        }
        anyhow::Ok(())
    })
    .await?;
    Ok(Run { duration, remote_steps, output })
}

//! Pods of a target that run in its source, on a real node.

mod access;
mod argo;
mod crashes;
mod deletion;
mod jobs;
mod names;
mod outage;
mod refused;
mod revoked;
mod workloads;

use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{ListParams, PostParams};
use kube::{Api, Client, ResourceExt};
use mcsa_tests::{Launched, TOOLS_IMAGE, eventually_within};
use serde_json::{Value, json};

/// Long enough for the node to pull nothing, start a sandbox, and report.
const DEADLINE: Duration = Duration::from_secs(180);

#[tokio::test(flavor = "multi_thread")]
async fn pods_run_in_the_source() -> anyhow::Result<()> {
    let Some(mut launched) = Launched::start().await? else { return Ok(()) };
    for namespace in
        ["web", "batch", "shell", "ends", "names", "flows", "refused", "revoked", "crashes", "outage"]
    {
        launched.launch(namespace).await?;
    }
    workloads::deployments_behave_as_on_a_node(&launched).await?;
    jobs::jobs_and_their_results(&launched).await?;
    access::logs_exec_and_ports(&launched).await?;
    deletion::pods_end_from_either_side(&launched).await?;
    names::names_are_kept_apart(&launched).await?;
    argo::steps_and_their_outputs(&mut launched).await?;
    refused::pods_that_cannot_run_say_why(&launched).await?;
    revoked::pods_wait_until_the_launch_is_repaired(&launched).await?;
    crashes::each_pod_runs_once(&mut launched).await?;
    outage::an_outage_of_the_source_changes_nothing(&launched).await
}

/// A pod of the namespace in which a shell script runs.
fn shell(name: &str, script: &str) -> Value {
    json!({
        "metadata": { "name": name, "annotations": { "multicluster.admiralty.io/elect": "" } },
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "nodeSelector": { "multicluster.admiralty.io/cluster": "c2" },
            "containers": [{ "name": "main", "image": TOOLS_IMAGE, "command": ["sh", "-c", script] }],
        },
    })
}

async fn create(client: Client, namespace: &str, pod: &Value) -> anyhow::Result<Pod> {
    let pod = serde_json::from_value(pod.clone())?;
    Ok(Api::namespaced(client, namespace).create(&PostParams::default(), &pod).await?)
}

/// Waits until the home pod has this phase, and returns it.
async fn phase(launched: &Launched, namespace: &str, name: &str, phase: &str) -> Pod {
    let pods = Api::<Pod>::namespaced(launched.home.client(), namespace);
    eventually_within(DEADLINE, format!("pod {namespace}/{name} is {phase}"), async || {
        let pod = pods.get(name).await?;
        let status = pod.status.clone().unwrap_or_default();
        ensure!(status.phase.as_deref() == Some(phase), "{status:?}");
        anyhow::Ok(pod)
    })
    .await
}

/// The names of the pods of a namespace.
async fn pods(client: Client, namespace: &str) -> anyhow::Result<Vec<String>> {
    let pods = Api::<Pod>::namespaced(client, namespace).list(&ListParams::default()).await?;
    Ok(pods.iter().map(ResourceExt::name_any).collect())
}

/// Waits until a namespace has no pods in both clusters.
async fn no_pods(launched: &Launched, namespace: &str) {
    eventually_within(DEADLINE, format!("{namespace} has no pods"), async || {
        let home = pods(launched.home.client(), namespace).await?;
        let source = pods(launched.source.client(), namespace).await?;
        ensure!(home.is_empty() && source.is_empty(), "home: {home:?}, source: {source:?}");
        anyhow::Ok(())
    })
    .await;
}

/// Waits for an event about a home pod, and returns its note.
async fn event(launched: &Launched, namespace: &str, name: &str, reason: &str) -> String {
    let events = Api::<Event>::namespaced(launched.home.client(), namespace);
    let selected = ListParams::default().fields(&format!("involvedObject.name={name},reason={reason}"));
    eventually_within(DEADLINE, format!("event {reason} of pod {namespace}/{name}"), async || {
        let event = events.list(&selected).await?.items.into_iter().next();
        anyhow::Ok(event.with_context(|| format!("no event {reason}"))?.message.unwrap_or_default())
    })
    .await
}

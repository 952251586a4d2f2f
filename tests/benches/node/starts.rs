//! Measures the time from `kubectl apply` of an import and a pod until the pod's first successful call to the source.

use std::time::{Duration, Instant};

use anyhow::ensure;
use futures::stream::{self, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::PostParams;
use mcsa_client::contract::IMPORT_NAME;
use mcsa_tests::{
    Imports, Installation, READY_TIMEOUT, eventually, eventually_within, images, pod_lister_import,
    restricted_pod,
};
use serde_json::{Value, json};

use crate::setup::NAMESPACE;

/// How long pods take from their creation until their first output.
#[derive(Clone, Debug, Default)]
pub struct Starts {
    /// A pod created together with the import that it names, until it has listed pods in the source.
    pub imported: Vec<Duration>,
    /// A pod of the same program without an import, until its error message.
    pub plain: Vec<Duration>,
}

/// Starts pods of both kinds alternately.
pub async fn measure(installed: &Installation, rounds: u32) -> anyhow::Result<Starts> {
    let imports = Imports::of(installed.node.client(), NAMESPACE);
    let mut starts = Starts::default();
    for round in 0..rounds {
        let name = format!("start-{round}");
        let start = Instant::now();
        // Like `kubectl apply -f` of one file with both, so the pod may exist before the token.
        imports.create(&pod_lister_import(&name, installed.source.name(), NAMESPACE)).await?;
        run(installed, &name, json!({ IMPORT_NAME: name }), &name, " pods in namespace ").await?;
        starts.imported.push(start.elapsed());
        let start = Instant::now();
        run(installed, &format!("plain-{round}"), Value::Null, &name, &name).await?;
        starts.plain.push(start.elapsed());
    }
    Ok(starts)
}

/// Creates a pod, and waits until its log contains `awaited`.
async fn run(
    installed: &Installation,
    name: &str,
    annotations: Value,
    import: &str,
    awaited: &str,
) -> anyhow::Result<()> {
    let mut pod = restricted_pod(&images().await?.list_remote_pods.name, annotations, &[import]);
    pod["metadata"]["name"] = name.into();
    pod["spec"]["restartPolicy"] = "OnFailure".into();
    let pods = Api::<Pod>::namespaced(installed.node.client(), NAMESPACE);
    eventually("the webhook knows the import", async || {
        pods.create(&PostParams::default(), &serde_json::from_value(pod.clone())?)
            .await
            .map_err(anyhow::Error::from)
    })
    .await;
    let folder = format!("{NAMESPACE}_{name}_");
    eventually(format!("pod {name} writes {awaited:?}"), async || {
        let logs = installed.node.pod_logs()?.into_iter();
        let log: String =
            logs.filter(|(path, _)| path.to_string_lossy().contains(&folder)).map(|(_, log)| log).collect();
        ensure!(log.contains(awaited), "{log}");
        Ok(())
    })
    .await;
    pods.delete(name, &Default::default()).await?;
    Ok(())
}

/// Creates imports, and waits until all are ready.
pub async fn create_imports(installed: &Installation, count: u32) -> anyhow::Result<()> {
    let imports = Imports::of(installed.node.client(), NAMESPACE);
    let create = |number: u32| {
        let imports = &imports;
        async move { imports.create(&pod_lister_import(&format!("many-{number}"), "c2", NAMESPACE)).await }
    };
    stream::iter(0..count).map(create).buffer_unordered(16).try_for_each(async |_| Ok(())).await?;
    eventually_within(READY_TIMEOUT, "all imports are ready", async || {
        let all = imports.api.list(&Default::default()).await?;
        let waiting = all.iter().filter(|import| !is_ready(import)).count();
        ensure!(waiting == 0, "{waiting} imports are not ready");
        Ok(())
    })
    .await;
    Ok(())
}

fn is_ready(import: &mcsa_client::ServiceAccountImport) -> bool {
    let conditions = import.status.iter().flat_map(|status| &status.conditions);
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

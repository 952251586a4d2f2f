//! An unreachable webhook.

use kube::api::{Patch, PatchParams};
use mcsa_credentials::contract::webhook::{CONFIGURATION, DEBUGGING_ENTRY, ENTRIES, ENTRY};

use super::*;

/// Nothing listens at this address.
const UNREACHABLE: &str = "https://127.0.0.1:1/mutate-pods";

#[tokio::test(flavor = "multi_thread")]
async fn only_new_pods_with_imports_need_the_webhook() -> anyhow::Result<()> {
    let cluster = Cluster::start("c1").await?;
    kubemcsa_ok(cluster.kubeconfig(), ["install", "--context", "c1", "--no-wait"])?;
    let replace = |index: usize| json!({ "op": "replace", "path": format!("/webhooks/{index}/clientConfig"), "value": { "url": UNREACHABLE } });
    let patch = json!((0..ENTRIES.len()).map(replace).collect::<Vec<_>>());
    let patch = serde_json::to_string(&patch)?;
    cluster
        .kubectl(["patch", "mutatingwebhookconfiguration", CONFIGURATION, "--type=json", "-p", &patch])
        .await?;
    let pods = enabled_namespace(&cluster, "away").await?;

    // The API server observes the configuration with a delay.
    let error = eventually("a pod is denied", async || {
        match pods.create(&PostParams::default(), &pod("refused", annotations())?).await {
            Ok(_) => {
                pods.delete("refused", &Default::default()).await?;
                anyhow::bail!("it is not")
            }
            Err(error) => Ok(error.to_string()),
        }
    })
    .await;
    ensure!(error.contains(ENTRY) && !error.contains(DEBUGGING_ENTRY), "{error}");
    pods.create(&PostParams::default(), &pod("plain", json!(null))?).await?;

    // Now it references an import, so that the API server calls the webhook when it is debugged.
    let annotate = Patch::Merge(json!({ "metadata": { "annotations": annotations() } }));
    pods.patch("plain", &PatchParams::default(), &annotate).await?;
    cluster.kubectl(["-n", "away", "debug", "plain", "--image=i", "-c", "debug"]).await?;
    let stored = pods.get("plain").await?;
    ensure!(spec(&stored)?.ephemeral_containers.iter().flatten().count() == 1, "{stored:?}");
    Ok(())
}

//! A webhook that is away.

use kube::api::{Patch, PatchParams};
use mcsa_credentials::contract::webhook::{CONFIGURATION, DEBUGGING_ENTRY, ENTRIES, ENTRY};

use super::*;

/// Nothing listens there.
const NOWHERE: &str = "https://127.0.0.1:1/mutate-pods";

#[tokio::test(flavor = "multi_thread")]
async fn only_new_pods_that_name_imports_wait_for_the_webhook() -> anyhow::Result<()> {
    let cluster = Cluster::start("c1").await?;
    kubemcsa_ok(cluster.kubeconfig(), ["install", "--context", "c1", "--no-wait"])?;
    let replace = |index: usize| json!({ "op": "replace", "path": format!("/webhooks/{index}/clientConfig"), "value": { "url": NOWHERE } });
    let patch = json!((0..ENTRIES.len()).map(replace).collect::<Vec<_>>());
    let patch = serde_json::to_string(&patch)?;
    cluster
        .kubectl(["patch", "mutatingwebhookconfiguration", CONFIGURATION, "--type=json", "-p", &patch])
        .await?;
    let pods = enabled(&cluster, "away").await?;

    // The API server takes a moment to know the configuration.
    let error = eventually("a pod is refused", async || {
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

    // It names an import by now, so that the webhook is to be asked about it.
    let annotate = Patch::Merge(json!({ "metadata": { "annotations": annotations() } }));
    pods.patch("plain", &PatchParams::default(), &annotate).await?;
    cluster.kubectl(["-n", "away", "debug", "plain", "--image=i", "-c", "debug"]).await?;
    let stored = pods.get("plain").await?;
    ensure!(spec(&stored)?.ephemeral_containers.iter().flatten().count() == 1, "{stored:?}");
    Ok(())
}

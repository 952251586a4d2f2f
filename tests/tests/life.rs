//! Importer and webhook are stopped, killed and restarted.

use anyhow::{Context, ensure};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use mcsa_credentials::contract::{IMPORT_NAME, webhook};
use mcsa_tests::{
    Cluster, Daemons, Imports, create_pod_lister, eventually, install_and_link, pod_lister_import,
};
use serde_json::json;

/// Creates a pod; returns whether it has a volume of an import.
async fn create_pod(cluster: &Cluster, name: &str, import: Option<&str>) -> anyhow::Result<bool> {
    let annotations = import.map(|import| json!({ IMPORT_NAME: import }));
    let pod = json!({
        "metadata": { "name": name, "annotations": annotations },
        "spec": { "containers": [{ "name": "one", "image": "i" }] },
    });
    let pods = Api::<Pod>::namespaced(cluster.client(), "life");
    let stored = pods.create(&PostParams::default(), &serde_json::from_value(pod)?).await?;
    let volumes = stored.spec.context("the pod has no spec")?.volumes.unwrap_or_default();
    Ok(volumes.iter().any(|volume| volume.name.starts_with("sai-")))
}

#[tokio::test(flavor = "multi_thread")]
async fn importer_and_webhook_resume_after_stops_and_kills() -> anyhow::Result<()> {
    let (c1, c2) = tokio::try_join!(Cluster::start("c1"), Cluster::start("c2"))?;
    install_and_link(&c1, &c2)?;
    create_pod_lister(&c2, "lister").await?;
    c1.kubectl(["create", "namespace", "life"]).await?;
    c1.kubectl(["label", "namespace", "life", "multicluster-service-account=enabled"]).await?;
    let imports = Imports::of(c1.client(), "life");
    let daemons = Daemons::start(&c1, c1.dir(), "info").await?;
    imports.create(&pod_lister_import("a", "c2", "lister")).await?;
    eventually("the import is ready", async || imports.ready("a").await).await;
    eventually("pods can be created in the namespace", async || create_pod(&c1, "first", None).await).await;
    ensure!(create_pod(&c1, "mounted", Some("a")).await?, "the pod has no mount");

    // The webhook repairs its configuration when another client edits it.
    let configurations = Api::<MutatingWebhookConfiguration>::all(c1.client());
    let removal = json!([{ "op": "remove", "path": "/webhooks/0/clientConfig/caBundle" }]);
    let removal = Patch::<()>::Json(serde_json::from_value(removal)?);
    configurations.patch(webhook::CONFIGURATION, &PatchParams::default(), &removal).await?;
    eventually("a pod is admitted again", async || create_pod(&c1, "after-edit", Some("a")).await).await;

    // While the source is unreachable, credentials stay, and new imports wait.
    let before = imports.values("a-token").await?;
    c2.stop_api_server();
    imports.create(&pod_lister_import("b", "c2", "lister")).await?;
    eventually("the import reports that the source is unreachable", async || {
        imports.condition("b", "Ready", "False", Some("SourceUnreachable")).await
    })
    .await;
    ensure!(imports.values("a-token").await? == before, "the credential changed");
    c2.start_api_server().await?;
    eventually("the import is ready after the source is back", async || imports.ready("b").await).await;

    // Both shut down on SIGTERM. Without the webhook, only pods with imports are refused.
    for process in [&daemons.importer, &daemons.webhook] {
        let status = process.terminate().await?;
        ensure!(status.success(), "{} ended with {status}: {}", process.name(), process.log_tail(5));
    }
    let error = create_pod(&c1, "refused", Some("a")).await.unwrap_err().to_string();
    ensure!(error.contains(webhook::ENTRY), "{error}");
    ensure!(!create_pod(&c1, "plain", None).await?, "a plain pod was changed");
    imports.secrets.delete("a-token", &Default::default()).await?;
    imports.create(&pod_lister_import("c", "c2", "lister")).await?;

    // After the restart, they handle what happened in between.
    let daemons = Daemons::start(&c1, c1.dir(), "info").await?;
    eventually("the deleted Secret is recreated", async || imports.values("a-token").await).await;
    eventually("the new import is ready", async || imports.ready("c").await).await;
    eventually("a pod is admitted", async || create_pod(&c1, "after-restart", Some("c")).await).await;

    // After a kill, the next processes can start.
    daemons.importer.kill();
    daemons.webhook.kill();
    imports.create(&pod_lister_import("d", "c2", "lister")).await?;
    let _daemons = Daemons::start(&c1, c1.dir(), "info").await?;
    eventually("the import is ready", async || imports.ready("d").await).await;
    eventually("a pod is admitted", async || create_pod(&c1, "after-kill", Some("d")).await).await;
    Ok(())
}

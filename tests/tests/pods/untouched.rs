//! Pods that are none of the webhook's business: it is not even asked.

use kube::api::{DeleteParams, Patch, PatchParams};
use mcsa_client::contract::SYSTEM_NAMESPACE;

use super::*;

impl World {
    /// How often the webhook was asked about a pod of this name, for which it logs a line each time.
    fn asked(&self, pod: &str) -> usize {
        let log = self.servants.webhook.log();
        log.lines().filter(|line| line.contains(&format!("pod=\"{pod}\""))).count()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_webhook_is_asked_about_no_other_pod() -> anyhow::Result<()> {
    let world = world().await;
    let cluster = &world.cluster;
    let absent = || json!({ IMPORT_NAME: "absent" });
    let pods = enabled(cluster, "asked").await?;
    imports(cluster, "asked").await?;
    cluster.kubectl(["create", "namespace", "not-enabled"]).await?;
    takes_pods(cluster, "not-enabled").await;
    let not_enabled = Api::namespaced(cluster.client(), "not-enabled");
    // Also where someone has labelled them.
    let system = enabled(cluster, SYSTEM_NAMESPACE).await?;
    cluster
        .kubectl([
            "label",
            "--overwrite",
            "ns",
            SYSTEM_NAMESPACE,
            "pod-security.kubernetes.io/enforce=privileged",
        ])
        .await?;
    let kube_system = enabled(cluster, "kube-system").await?;
    let mirror = json!({ IMPORT_NAME: "absent", "kubernetes.io/config.mirror": "x" });
    for (pods, name, annotations) in [
        (&pods, "unasked-plain", json!(null)),
        (&pods, "unasked-empty", json!({})),
        (&pods, "unasked-other", json!({ KUBECONFIG_ENV: "?" })),
        (&pods, "unasked-mirror", mirror),
        (&not_enabled, "unasked-not-enabled", absent()),
        (&system, "unasked-system", absent()),
        (&kube_system, "unasked-kube-system", absent()),
    ] {
        let mut made = pod(name, annotations)?;
        // A kubelet says which one it is; the others could be anywhere.
        made.spec.as_mut().context("spec")?.node_name = Some("nowhere".into());
        let stored = pods.create(&PostParams::default(), &made).await?;
        let namespace = stored.metadata.namespace.as_deref().context("namespace")?;
        let debug = ["-n", namespace, "debug", name, "--image=i", "-c", "debug"];
        let debugged = cluster.kubectl(debug).await;
        // Which the API server refuses by itself.
        ensure!(debugged.is_ok() || name == "unasked-mirror", "{debugged:?}");
        let ours = spec(&stored)?.volumes.iter().flatten().any(|volume| volume.name.starts_with("sai-"));
        ensure!(!ours && world.asked(name) == 0, "{name}: asked {} times; {stored:?}", world.asked(name));
    }

    // Of what happens to a pod that is its business, only the creation is.
    pods.create(&PostParams::default(), &pod("once", annotations())?).await?;
    ensure!(world.asked("once") == 1, "asked {} times", world.asked("once"));
    let target = json!({ "kind": "Node", "name": "nowhere" });
    let binding =
        json!({ "apiVersion": "v1", "kind": "Binding", "metadata": { "name": "once" }, "target": target });
    pods.create_subresource::<_, Value>("binding", "once", &PostParams::default(), &binding).await?;
    let label = Patch::Merge(json!({ "metadata": { "labels": { "a": "b" } } }));
    pods.patch("once", &PatchParams::default(), &label).await?;
    let status = Patch::Merge(json!({ "status": { "phase": "Running" } }));
    pods.patch_status("once", &PatchParams::default(), &status).await?;
    // There is no kubelet to connect to.
    let exec = cluster.kubectl(["-n", "asked", "exec", "once", "-c", "main", "--", "true"]).await;
    ensure!(exec.is_err());
    pods.delete("once", &DeleteParams::default().grace_period(0)).await?;
    ensure!(world.asked("once") == 1, "asked {} times", world.asked("once"));
    let log = world.servants.webhook.log();
    ensure!(!log.contains("refused a request"), "what the API server sends is no review: {log}");
    Ok(())
}

//! Pods for which the API server does not call the webhook.

use kube::api::{DeleteParams, Patch, PatchParams};
use mcsa_client::contract::SYSTEM_NAMESPACE;

use super::*;

impl Fixture {
    /// How often the webhook has reviewed a pod of this name: it logs a line each time.
    fn reviews_of(&self, pod: &str) -> usize {
        let log = self.daemons.webhook.log();
        log.lines().filter(|line| line.contains(&format!("pod=\"{pod}\""))).count()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_pods_are_not_reviewed() -> anyhow::Result<()> {
    let fixture = fixture().await;
    let cluster = &fixture.cluster;
    let absent = || json!({ IMPORT_NAME: "absent" });
    let pods = enabled_namespace(cluster, "asked").await?;
    imports(cluster, "asked").await?;
    cluster.kubectl(["create", "namespace", "not-enabled"]).await?;
    wait_for_default_service_account(cluster, "not-enabled").await;
    let not_enabled = Api::namespaced(cluster.client(), "not-enabled");
    // System namespaces, even if labelled.
    let system = enabled_namespace(cluster, SYSTEM_NAMESPACE).await?;
    cluster
        .kubectl([
            "label",
            "--overwrite",
            "ns",
            SYSTEM_NAMESPACE,
            "pod-security.kubernetes.io/enforce=privileged",
        ])
        .await?;
    let kube_system = enabled_namespace(cluster, "kube-system").await?;
    let mirror = json!({ IMPORT_NAME: "absent", "kubernetes.io/config.mirror": "x" });
    for (pods, name, annotations) in [
        (&pods, "unreviewed-plain", json!(null)),
        (&pods, "unreviewed-empty", json!({})),
        (&pods, "unreviewed-other", json!({ KUBECONFIG_ENV: "?" })),
        (&pods, "unreviewed-mirror", mirror),
        (&not_enabled, "unreviewed-not-enabled", absent()),
        (&system, "unreviewed-system", absent()),
        (&kube_system, "unreviewed-kube-system", absent()),
    ] {
        let mut created = pod(name, annotations)?;
        // The API server requires a node name of mirror pods.
        created.spec.as_mut().context("spec")?.node_name = Some("nowhere".into());
        let stored = pods.create(&PostParams::default(), &created).await?;
        let namespace = stored.metadata.namespace.as_deref().context("namespace")?;
        let debug = ["-n", namespace, "debug", name, "--image=i", "-c", "debug"];
        let debugged = cluster.kubectl(debug).await;
        // The API server itself rejects debugging mirror pods.
        ensure!(debugged.is_ok() || name == "unreviewed-mirror", "{debugged:?}");
        let mounted = spec(&stored)?.volumes.iter().flatten().any(|volume| volume.name.starts_with("sai-"));
        ensure!(
            !mounted && fixture.reviews_of(name) == 0,
            "{name}: {} reviews; {stored:?}",
            fixture.reviews_of(name)
        );
    }

    // Of a pod with imports, only the creation is reviewed.
    pods.create(&PostParams::default(), &pod("once", annotations())?).await?;
    ensure!(fixture.reviews_of("once") == 1, "{} reviews", fixture.reviews_of("once"));
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
    ensure!(fixture.reviews_of("once") == 1, "{} reviews", fixture.reviews_of("once"));
    let log = fixture.daemons.webhook.log();
    ensure!(!log.contains("refused a request"), "the API server sent an invalid request: {log}");
    Ok(())
}

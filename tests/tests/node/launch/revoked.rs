//! Launches whose rights are taken away in the source or at home.

use k8s_openapi::api::core::v1::Namespace;
use mcsa_client::ServiceAccountImport;
use mcsa_credentials::contract::launch::NODE_TAINT;

use super::*;

const NAMESPACE: &str = "revoked";

pub(super) async fn pods_wait_until_the_launch_is_repaired(launched: &Launched) -> anyhow::Result<()> {
    rights_in_the_source_are_missing(launched).await?;
    the_launch_import_is_missing(launched).await?;
    the_remote_namespace_is_missing(launched).await
}

async fn rights_in_the_source_are_missing(launched: &Launched) -> anyhow::Result<()> {
    let home = launched.home.client();
    create(home.clone(), NAMESPACE, &shell("runs", "sleep 600")).await?;
    phase(launched, NAMESPACE, "runs", "Running").await;
    launched.source.kubectl(["-n", NAMESPACE, "delete", "rolebindings", "--all"]).await?;
    create(home.clone(), NAMESPACE, &shell("waits", "true")).await?;
    let note = event(launched, NAMESPACE, "waits", "Forbidden").await;
    ensure!(note.contains("cannot create resource"), "{note}");
    phase(launched, NAMESPACE, "runs", "Running").await;
    launch(launched)?;
    phase(launched, NAMESPACE, "waits", "Succeeded").await;
    Ok(())
}

async fn the_launch_import_is_missing(launched: &Launched) -> anyhow::Result<()> {
    let imports = Api::<ServiceAccountImport>::namespaced(launched.home.client(), NAMESPACE);
    for import in imports.list(&ListParams::default()).await? {
        imports.delete(&import.name_any(), &Default::default()).await?;
    }
    // Once the launcher has observed that, a new pod waits.
    create(launched.home.client(), NAMESPACE, &shell_on_node("late")).await?;
    event(launched, NAMESPACE, "late", "NoLaunchImport").await;
    launched.home.kubectl(["-n", NAMESPACE, "delete", "pod", "runs", "--wait=false"]).await?;
    let note = event(launched, NAMESPACE, "runs", "NoLaunchImport").await;
    ensure!(note.contains("kubemcsa launch"), "{note}");
    // Nothing proves that the remote pod is gone.
    let pod = Api::<Pod>::namespaced(launched.home.client(), NAMESPACE).get("runs").await?;
    ensure!(pod.metadata.deletion_timestamp.is_some());
    launch(launched)?;
    launched.home.kubectl(["-n", NAMESPACE, "delete", "pods", "--all", "--wait=false"]).await?;
    no_pods(launched, NAMESPACE).await;
    Ok(())
}

async fn the_remote_namespace_is_missing(launched: &Launched) -> anyhow::Result<()> {
    let home = launched.home.client();
    create(home.clone(), NAMESPACE, &shell("lost", "sleep 600")).await?;
    phase(launched, NAMESPACE, "lost", "Running").await;
    launched.source.kubectl(["delete", "namespace", NAMESPACE, "--wait=false"]).await?;
    phase(launched, NAMESPACE, "lost", "Failed").await;
    let namespaces = Api::<Namespace>::all(launched.source.client());
    eventually_within(DEADLINE, "the namespace is gone", async || {
        ensure!(namespaces.get_opt(NAMESPACE).await?.is_none(), "it is still there");
        anyhow::Ok(())
    })
    .await;
    create(home.clone(), NAMESPACE, &shell("waits", "true")).await?;
    event(launched, NAMESPACE, "waits", "Unauthorized").await;
    launch(launched)?;
    phase(launched, NAMESPACE, "waits", "Succeeded").await;
    launched.home.kubectl(["-n", NAMESPACE, "delete", "pods", "--all", "--wait=false"]).await?;
    no_pods(launched, NAMESPACE).await;
    Ok(())
}

/// A pod that the webhook does not place.
fn shell_on_node(name: &str) -> Value {
    let mut pod = shell(name, "true");
    pod["metadata"]["annotations"] = json!({});
    pod["spec"]["tolerations"] =
        json!([{ "key": NODE_TAINT, "operator": "Equal", "value": "c2", "effect": "NoSchedule" }]);
    pod
}

/// Runs `kubemcsa launch` again.
fn launch(launched: &Launched) -> anyhow::Result<()> {
    let contexts = ["--target-context", "c1", "--source-context", "c2"];
    mcsa_tests::kubemcsa_ok(&launched.kubeconfig, ["launch", NAMESPACE].into_iter().chain(contexts)).map(drop)
}

//! Pods that can't run in the source.

use super::*;

pub(super) async fn pods_that_cannot_run_say_why(launched: &Launched) -> anyhow::Result<()> {
    let (home, source) = (&launched.home, &launched.source);

    // Admission in the source refuses the pod for good.
    let label = "pod-security.kubernetes.io/enforce=restricted";
    source.kubectl(["label", "--overwrite", "namespace", "refused", label]).await?;
    create(home.client(), "refused", &shell("insecure", "true")).await?;
    let pod = phase(launched, "refused", "insecure", "Failed").await;
    let status = pod.status.unwrap_or_default();
    ensure!(status.reason.as_deref() == Some("UnexpectedAdmissionError"), "{status:?}");
    ensure!(status.message.as_deref().is_some_and(|message| message.contains("PodSecurity")), "{status:?}");
    source.kubectl(["label", "namespace", "refused", "pod-security.kubernetes.io/enforce-"]).await?;

    // A full quota: the pod waits, and runs when there is room.
    source.kubectl(["-n", "refused", "create", "quota", "full", "--hard=pods=0"]).await?;
    create(home.client(), "refused", &shell("quota", "true")).await?;
    let note = event(launched, "refused", "quota", "QuotaExceeded").await;
    ensure!(note.contains("exceeded quota"), "{note}");
    source.kubectl(["-n", "refused", "delete", "quota", "full"]).await?;
    phase(launched, "refused", "quota", "Succeeded").await;

    // A service account that does not exist there.
    home.kubectl(["-n", "refused", "create", "serviceaccount", "builder"]).await?;
    let mut pod = shell("account", "true");
    pod["spec"]["serviceAccountName"] = json!("builder");
    create(home.client(), "refused", &pod).await?;
    let note = event(launched, "refused", "account", "ServiceAccountNotFound").await;
    ensure!(note.contains("builder"), "{note}");
    source.kubectl(["-n", "refused", "create", "serviceaccount", "builder"]).await?;
    phase(launched, "refused", "account", "Succeeded").await;

    // A namespace without a launch import, and a pod that tolerates everything.
    let mut pod = shell("unlaunched", "true");
    pod["metadata"]["annotations"] = json!({});
    pod["spec"]["tolerations"] = json!([{ "operator": "Exists" }]);
    create(home.client(), "default", &pod).await?;
    let note = event(launched, "default", "unlaunched", "NoLaunchImport").await;
    ensure!(note.contains("kubemcsa launch default"), "{note}");
    home.kubectl(["-n", "default", "delete", "pod", "unlaunched"]).await?;

    // No node of the source is large enough: the source's scheduler says so.
    let mut pod = shell("large", "true");
    pod["spec"]["containers"][0]["resources"] = json!({ "requests": { "cpu": "1000" } });
    create(home.client(), "refused", &pod).await?;
    let note = event(launched, "refused", "large", "FailedScheduling").await;
    ensure!(note.contains("Insufficient cpu"), "{note}");

    // Admission in the source changes the pod.
    let limits = json!({
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": { "name": "limits" },
        "spec": { "limits": [{ "type": "Container", "default": { "memory": "64Mi" } }] },
    });
    let file = home.dir().join("limits.json");
    std::fs::write(&file, limits.to_string())?;
    source.kubectl(["-n", "refused", "apply", "-f", &file.display().to_string()]).await?;
    create(home.client(), "refused", &shell("changed", "sleep 600")).await?;
    phase(launched, "refused", "changed", "Running").await;
    let limit = "jsonpath={.spec.containers[0].resources.limits.memory}";
    let get = ["-n", "refused", "get", "pod", "changed", "-o", limit];
    ensure!(source.kubectl(get).await? == "64Mi" && home.kubectl(get).await?.is_empty());

    home.kubectl(["-n", "refused", "delete", "pods", "--all", "--wait=false"]).await?;
    no_pods(launched, "refused").await;
    Ok(())
}

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

    home.kubectl(["-n", "refused", "delete", "pods", "--all", "--wait=false"]).await?;
    no_pods(launched, "refused").await;
    Ok(())
}

//! Pods that are deleted at home or in the source, and names that are used again.

use kube::api::DeleteParams;

use super::*;

pub(super) async fn pods_end_from_either_side(launched: &Launched) -> anyhow::Result<()> {
    let (home, source) = (launched.home.client(), launched.source.client());
    let there = Api::<Pod>::namespaced(source.clone(), "ends");
    let here = Api::<Pod>::namespaced(home.clone(), "ends");

    // Deleted at home: the pod gets its grace period, and its exit code is reported before it is gone.
    let graceful = "trap 'echo bye; exit 0' TERM; while true; do sleep 0.1; done";
    create(home.clone(), "ends", &shell("graceful", graceful)).await?;
    phase(launched, "ends", "graceful", "Running").await;
    launched.home.kubectl(["-n", "ends", "delete", "pod", "graceful", "--grace-period=20"]).await?;
    ensure!(there.get_opt("graceful").await?.is_none());

    // Deleted in the source: the home pod has failed, and is not run again.
    create(home.clone(), "ends", &shell("evicted", "sleep 600")).await?;
    phase(launched, "ends", "evicted", "Running").await;
    there.delete("evicted", &DeleteParams::default()).await?;
    let pod = phase(launched, "ends", "evicted", "Failed").await;
    let remote_uid = pod.annotations().get("multicluster.admiralty.io/remote-uid").cloned();
    ensure!(remote_uid.is_some());
    eventually_within(DEADLINE, "the evicted pod is gone from the source", async || {
        let left = there.get_opt("evicted").await?;
        ensure!(left.is_none(), "{:?}", left.map(|left| left.status));
        anyhow::Ok(())
    })
    .await;
    // A change of the home pod does not run it again.
    launched.home.kubectl(["-n", "ends", "label", "pod", "evicted", "touched=yes"]).await?;

    ensure!(
        here.get("evicted").await?.annotations().get("multicluster.admiralty.io/remote-uid")
            == remote_uid.as_ref()
    );

    // Force-deleted at home, and made anew at once: the second pod runs once the first one's twin is gone.
    create(home.clone(), "ends", &shell("again", "sleep 600")).await?;
    let first = phase(launched, "ends", "again", "Running").await;
    here.delete("again", &DeleteParams::default().grace_period(0)).await?;
    create(home.clone(), "ends", &shell("again", "sleep 600")).await?;
    let second = phase(launched, "ends", "again", "Running").await;
    let uid = |pod: &Pod| pod.annotations().get("multicluster.admiralty.io/remote-uid").cloned();
    ensure!(uid(&first).is_some() && uid(&second).is_some() && uid(&first) != uid(&second));
    ensure!(there.get("again").await?.uid() == uid(&second));

    // A pod of that name was there before: it is left alone.
    let mut foreign = shell("foreign", "sleep 600");
    foreign["spec"].as_object_mut().map(|spec| spec.remove("nodeSelector"));
    let foreign = create(source.clone(), "ends", &foreign).await?;
    create(home.clone(), "ends", &shell("foreign", "sleep 600")).await?;
    let pod = phase(launched, "ends", "foreign", "Failed").await;
    ensure!(pod.status.and_then(|status| status.reason).as_deref() == Some("NameCollision"));
    ensure!(there.get("foreign").await?.uid() == foreign.uid());
    there.delete("foreign", &DeleteParams::default().grace_period(0)).await?;
    ensure!(there.get_opt("evicted").await?.is_none());

    launched.home.kubectl(["-n", "ends", "delete", "pods", "--all", "--wait=false"]).await?;
    no_pods(launched, "ends").await;
    Ok(())
}

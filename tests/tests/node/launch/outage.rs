//! Outages of the source.

use k8s_openapi::api::core::v1::Node as NodeObject;

use super::*;

const NAMESPACE: &str = "outage";

pub(super) async fn an_outage_of_the_source_changes_nothing(launched: &Launched) -> anyhow::Result<()> {
    let home = launched.home.client();
    for name in ["stays", "leaves"] {
        create(home.clone(), NAMESPACE, &shell(name, "sleep 600")).await?;
        phase(launched, NAMESPACE, name, "Running").await;
    }
    launched.source.stop_api_server();
    launched.home.kubectl(["-n", NAMESPACE, "delete", "pod", "leaves", "--wait=false"]).await?;
    let note = event(launched, NAMESPACE, "leaves", "SourceUnreachable").await;
    ensure!(note.contains("c2"), "{note}");
    let nodes = Api::<NodeObject>::all(home.clone());
    eventually_within(DEADLINE, "the node shows that its source is unreachable", async || {
        let node = nodes.get("c2").await?;
        let conditions = node.status.and_then(|status| status.conditions).unwrap_or_default();
        let status = |type_: &str| {
            conditions
                .iter()
                .find(|condition| condition.type_ == type_)
                .map(|condition| condition.status.clone())
        };
        ensure!(status("SourceReachable").as_deref() == Some("False"), "{conditions:?}");
        ensure!(status("Ready").as_deref() == Some("True"), "{conditions:?}");
        anyhow::Ok(())
    })
    .await;
    let pods = Api::<Pod>::namespaced(home.clone(), NAMESPACE);
    ensure!(pods.get("leaves").await?.metadata.deletion_timestamp.is_some());
    phase(launched, NAMESPACE, "stays", "Running").await;
    launched.source.start_api_server().await?;
    eventually_within(DEADLINE, "the deleted pod is gone", async || {
        ensure!(pods.get_opt("leaves").await?.is_none(), "it is still there");
        anyhow::Ok(())
    })
    .await;
    phase(launched, NAMESPACE, "stays", "Running").await;
    launched.home.kubectl(["-n", NAMESPACE, "delete", "pods", "--all", "--wait=false"]).await?;
    no_pods(launched, NAMESPACE).await;
    Ok(())
}

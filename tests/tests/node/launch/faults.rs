//! Crashes of the launcher, and outages of the source.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Node as NodeObject;

use super::*;

const NAMESPACE: &str = "faults";

pub(super) async fn crashes_and_outages(launched: &mut Launched) -> anyhow::Result<()> {
    launched.launch(NAMESPACE).await?;
    each_pod_runs_once_however_often_the_launcher_is_killed(launched).await?;
    an_outage_of_the_source_changes_nothing(launched).await
}

async fn each_pod_runs_once_however_often_the_launcher_is_killed(
    launched: &mut Launched,
) -> anyhow::Result<()> {
    const PODS: usize = 12;
    for number in 0..PODS {
        create(launched.home.client(), NAMESPACE, &shell(&format!("once-{number}"), "echo ran")).await?;
        if number % 3 == 2 {
            launched.restart_launcher().await?;
        }
    }
    for number in 0..PODS {
        phase(launched, NAMESPACE, &format!("once-{number}"), "Succeeded").await;
    }
    let created = launched.source.audit_events()?.into_iter().filter(|event| {
        let object = event.object_ref.clone().unwrap_or_default();
        event.verb == "create"
            && object.resource == "pods"
            && object.subresource.is_empty()
            && object.namespace == NAMESPACE
            && event.response_status.as_ref().is_some_and(|status| status.code == 201)
    });
    let mut counts = BTreeMap::new();
    for event in created {
        *counts.entry(event.object_ref.unwrap_or_default().name).or_insert(0) += 1;
    }
    ensure!(counts.len() == PODS && counts.values().all(|count| *count == 1), "{counts:?}");
    launched.home.kubectl(["-n", NAMESPACE, "delete", "pods", "--all", "--wait=false"]).await?;
    no_pods(launched, NAMESPACE).await;
    Ok(())
}

async fn an_outage_of_the_source_changes_nothing(launched: &Launched) -> anyhow::Result<()> {
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

//! The webhook is gone altogether; the node loses power.

use anyhow::ensure;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ListParams, PostParams};
use mcsa_client::contract::{IMPORT_NAME, SYSTEM_NAMESPACE};
use mcsa_tests::{
    Installation, Node, READY_TIMEOUT, TOOLS_IMAGE, eventually, eventually_within, restricted_pod,
    wait_for_default_service_account,
};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn all_comes_back() -> anyhow::Result<()> {
    let Some(installed) = Installation::start(Node::builder("c1")).await? else { return Ok(()) };
    let imports = installed.create_namespace("shop").await?;
    installed.create_import(&imports, "shop").await?;
    installed.deploy_listers("shop").await?;
    installed.wait_for_rollout("shop", "lister").await?;
    without_a_webhook(&installed).await?;

    installed.node.reboot().await?;
    let before = installed.source.audit_events()?.len();
    installed.wait_until_available().await?;
    eventually_within(READY_TIMEOUT, "the pods of before list again", async || {
        let restarts = restarts(&installed, "shop").await?;
        ensure!(restarts.len() == 2 && restarts.iter().all(|count| *count > 0), "{restarts:?}");
        let calls = installed.source.audit_events()?.split_off(before);
        ensure!(calls.iter().any(|call| call.user.username == "system:serviceaccount:shop:pod-lister"));
        Ok(())
    })
    .await;
    // The API server may wait for a while for a pod that nobody told it is gone.
    eventually_within(READY_TIMEOUT, "a pod that names an import is let in", async || {
        create(&installed, "shop", "after", json!({ IMPORT_NAME: "c2-pod-lister" })).await
    })
    .await;
    Ok(())
}

/// Who asks for an import is told what is missing; nobody else notices.
async fn without_a_webhook(installed: &Installation) -> anyhow::Result<()> {
    let node = &installed.node;
    let scale = async |replicas: &str| {
        node.kubectl(["-n", SYSTEM_NAMESPACE, "scale", "deployment", "webhook", "--replicas", replicas]).await
    };
    scale("0").await?;
    let annotated = json!({ IMPORT_NAME: "c2-pod-lister" });
    let refusal = eventually("a pod is refused", async || {
        match create(installed, "shop", "refused", annotated.clone()).await {
            Err(refusal) => Ok(refusal.to_string()),
            Ok(_) => {
                node.kubectl(["-n", "shop", "delete", "pod", "refused", "--now"]).await?;
                anyhow::bail!("it was let in")
            }
        }
    })
    .await;
    for word in ["\"pods.multicluster.admiralty.io\"", "webhook.multicluster-service-account.svc"] {
        ensure!(refusal.contains(word), "{refusal}");
    }
    create(installed, "shop", "plain", Value::Null).await?;
    node.kubectl(["create", "namespace", "aside"]).await?;
    wait_for_default_service_account(node, "aside").await;
    create(installed, "aside", "annotated", annotated.clone()).await?;
    wait_for_default_service_account(node, "kube-system").await;
    create(installed, "kube-system", "annotated", annotated.clone()).await?;
    // Among the pods that can be created are those that it waits for.
    scale("2").await?;
    installed.wait_until_available().await?;
    create(installed, "shop", "allowed", annotated).await?;
    Ok(())
}

async fn create(
    installed: &Installation,
    namespace: &str,
    name: &str,
    annotations: Value,
) -> kube::Result<Pod> {
    let mut pod = restricted_pod(TOOLS_IMAGE, annotations, &["sleep", "infinity"]);
    pod["metadata"]["name"] = name.into();
    let pod = serde_json::from_value(pod).map_err(kube::Error::SerdeError)?;
    Api::namespaced(installed.node.client(), namespace).create(&PostParams::default(), &pod).await
}

/// How often each lister was started again.
async fn restarts(installed: &Installation, namespace: &str) -> anyhow::Result<Vec<i32>> {
    let pods = Api::<Pod>::namespaced(installed.node.client(), namespace);
    let pods = pods.list(&ListParams::default().labels("app=lister")).await?;
    let listers = pods.into_iter().filter(|pod| pod.metadata.generate_name.is_some());
    let statuses = listers.filter_map(|pod| pod.status?.container_statuses).flatten();
    Ok(statuses.map(|status| status.restart_count).collect())
}

//! The webhook is scaled to zero, and the node loses power.

use anyhow::ensure;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use mcsa_client::contract::{IMPORT_NAME, SYSTEM_NAMESPACE};
use mcsa_tests::{
    Installation, Node, READY_TIMEOUT, TOOLS_IMAGE, eventually, eventually_within, restricted_pod,
    wait_for_default_service_account,
};
use serde_json::{Value, json};

use super::create_pod;

#[tokio::test(flavor = "multi_thread")]
async fn pods_recover_from_a_power_loss() -> anyhow::Result<()> {
    let Some(installed) = Installation::start(Node::builder("c1")).await? else { return Ok(()) };
    let imports = installed.create_namespace("shop").await?;
    installed.create_import(&imports, "shop").await?;
    installed.deploy_listers("shop").await?;
    installed.wait_for_rollout("shop", "lister").await?;
    only_annotated_pods_need_the_webhook(&installed).await?;

    installed.node.reboot().await?;
    let before = installed.source.audit_events()?.len();
    installed.wait_until_available().await?;
    eventually_within(READY_TIMEOUT, "the restarted pods list pods again", async || {
        let restarts = restarts(&installed, "shop").await?;
        ensure!(restarts.len() == 2 && restarts.iter().all(|count| *count > 0), "{restarts:?}");
        let calls = installed.source.audit_events()?.split_off(before);
        ensure!(calls.iter().any(|call| call.user.username == "system:serviceaccount:shop:pod-lister"));
        Ok(())
    })
    .await;
    // The API server may still try to reach a webhook pod that no longer exists.
    eventually_within(READY_TIMEOUT, "a pod with an import is admitted", async || {
        create(&installed, "shop", "after", json!({ IMPORT_NAME: "c2-pod-lister" })).await
    })
    .await;
    Ok(())
}

/// Without a webhook, pods with imports are refused with a clear message, and other pods are admitted.
async fn only_annotated_pods_need_the_webhook(installed: &Installation) -> anyhow::Result<()> {
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
                anyhow::bail!("the pod was admitted")
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
    // The webhook's own pods can be created without it.
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
    let pod = restricted_pod(TOOLS_IMAGE, annotations, &["sleep", "infinity"]);
    create_pod(installed, namespace, name, pod).await
}

/// How often each lister was restarted.
async fn restarts(installed: &Installation, namespace: &str) -> anyhow::Result<Vec<i32>> {
    let pods = Api::<Pod>::namespaced(installed.node.client(), namespace);
    let pods = pods.list(&ListParams::default().labels("app=lister")).await?;
    let listers = pods.into_iter().filter(|pod| pod.metadata.generate_name.is_some());
    let statuses = listers.filter_map(|pod| pod.status?.container_statuses).flatten();
    Ok(statuses.map(|status| status.restart_count).collect())
}

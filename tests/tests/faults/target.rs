//! The target does not take the Secret.

use anyhow::{Context, ensure};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{ConfigMap, ResourceQuota};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use mcsa_tests::{
    Cluster, Fault, Importer, Imports, Proxy, apply_link, create_pod_lister, eventually,
    kubeconfig_with_server, linked_clusters, pod_lister_import, tokens_minted_in,
};
use serde_json::json;

use super::Subject;

/// How often the importer has tried in vain to create a Secret in a namespace.
fn refusals(target: &Cluster, namespace: &str) -> anyhow::Result<usize> {
    let events = target.audit_events()?.into_iter().filter(|event| {
        let object = event.object_ref.as_ref();
        event.verb == "create"
            && event.response_status.as_ref().is_some_and(|status| status.code == 403)
            && object.is_some_and(|object| object.resource == "secrets" && object.namespace == namespace)
    });
    Ok(events.count())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_costs_no_token_each_time() -> anyhow::Result<()> {
    let (target, source) = linked_clusters().await?;
    create_pod_lister(&source, "lister").await?;
    target.kubectl(["create", "namespace", "full"]).await?;
    target.kubectl(["-n", "full", "create", "quota", "no-secrets", "--hard=secrets=0"]).await?;
    let quotas = Api::<ResourceQuota>::namespaced(target.client(), "full");
    eventually("the quota counts", async || {
        let quota = quotas.get("no-secrets").await?;
        quota.status.and_then(|status| status.used).context("it does not")
    })
    .await;
    let importer = Importer::of(&target).await?;
    let imports = Imports::of(target.client(), "full");
    imports.create(&pod_lister_import("a", "c2", "lister")).await?;
    let a = Subject { importer: &importer, imports: &imports, name: "a" };
    let said = a.fails("QuotaExceeded").await?;
    ensure!(said.contains("no-secrets") && said.contains("full/a-token"), "{said}");
    for _ in 0..3 {
        let before = refusals(&target, "full")?;
        importer.clock.turn(SignedDuration::from_mins(5));
        eventually("it tries again", async || {
            ensure!(refusals(&target, "full")? > before, "{before} refusals");
            anyhow::Ok(())
        })
        .await;
    }
    ensure!(tokens_minted_in(&source, "lister")? == 1, "a token for each try");

    let raised = Patch::Merge(json!({ "spec": { "hard": { "secrets": "1" } } }));
    quotas.patch("no-secrets", &PatchParams::default(), &raised).await?;
    importer.clock.turn(SignedDuration::from_mins(5));
    a.ready().await;
    ensure!(tokens_minted_in(&source, "lister")? == 1, "a token for the last try");
    importer.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_ends_needs_no_source() -> anyhow::Result<()> {
    let (target, source) = linked_clusters().await?;
    target.restart_controller_manager()?;
    create_pod_lister(&source, "lister").await?;
    let proxy = Proxy::start(([127, 0, 0, 1], source.port()).into()).await?;
    apply_link(&target, "c2", &kubeconfig_with_server(source.kubeconfig_value(), &proxy.url())).await?;
    target.kubectl(["create", "namespace", "ends"]).await?;
    let maps = Api::<ConfigMap>::namespaced(target.client(), "ends");
    let held = json!({ "metadata": { "name": "held", "finalizers": ["example.com/hold"] } });
    maps.create(&PostParams::default(), &serde_json::from_value(held)?).await?;
    let importer = Importer::of(&target).await?;
    let imports = Imports::of(target.client(), "ends");
    imports.create(&pod_lister_import("a", "c2", "lister")).await?;
    let a = Subject { importer: &importer, imports: &imports, name: "a" };
    a.ready().await;

    // The namespace ends, and nobody has emptied it yet.
    target.controller_manager().suspend()?;
    target.kubectl(["delete", "namespace", "ends", "--wait=false"]).await?;
    imports.secrets.delete("a-token", &Default::default()).await?;
    let said = a.fails("NamespaceTerminating").await?;
    ensure!(said.contains("ends"), "{said}");

    proxy.set(Fault::Refuse);
    target.controller_manager().resume()?;
    eventually("the import is gone", async || {
        ensure!(imports.api.get_opt("a").await?.is_none(), "it is there");
        anyhow::Ok(())
    })
    .await;
    ensure!(maps.get_opt("held").await?.is_some(), "nothing holds the namespace");
    let released = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    maps.patch("held", &PatchParams::default(), &released).await?;
    eventually("the namespace is gone", async || {
        let left = target.kubectl(["get", "namespace", "ends", "--ignore-not-found"]).await?;
        ensure!(left.is_empty(), "{left}");
        anyhow::Ok(())
    })
    .await;
    importer.stop().await
}

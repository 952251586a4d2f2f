//! The target rejects the Secret.

use anyhow::{Context, ensure};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{ConfigMap, ResourceQuota};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use mcsa_tests::{
    Cluster, Fault, Importer, Imports, LinkedTarget, Proxy, apply_link, eventually, kubeconfig_with_server,
    pod_lister_import, tokens_minted_in,
};
use serde_json::json;

use super::Subject;

/// How often the API server refused to create a Secret in a namespace.
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
async fn token_is_kept_until_the_quota_admits_its_secret() -> anyhow::Result<()> {
    let linked = LinkedTarget::acquire().await?;
    let LinkedTarget { target, source, namespace } = &linked;
    target.kubectl(["-n", namespace, "create", "quota", "no-secrets", "--hard=secrets=0"]).await?;
    let quotas = Api::<ResourceQuota>::namespaced(target.client(), namespace);
    eventually("the quota is in force", async || {
        let quota = quotas.get("no-secrets").await?;
        quota.status.and_then(|status| status.used).context("it has no status")
    })
    .await;
    let importer = Importer::of(target).await?;
    let imports = Imports::of(target.client(), namespace);
    imports.create(&pod_lister_import("a", "c2", namespace)).await?;
    let a = Subject { importer: &importer, imports: &imports, name: "a" };
    let message = a.fails("QuotaExceeded").await?;
    let secret = format!("{namespace}/a-token");
    ensure!(message.contains("no-secrets") && message.contains(&secret), "{message}");
    for _ in 0..3 {
        let before = refusals(target, namespace)?;
        importer.clock.advance(SignedDuration::from_mins(5));
        eventually("the importer tries again", async || {
            ensure!(refusals(target, namespace)? > before, "{before} refusals");
            anyhow::Ok(())
        })
        .await;
    }
    ensure!(tokens_minted_in(source, namespace)? == 1, "a token for each try");

    let raised = Patch::Merge(json!({ "spec": { "hard": { "secrets": "1" } } }));
    quotas.patch("no-secrets", &PatchParams::default(), &raised).await?;
    importer.clock.advance(SignedDuration::from_mins(5));
    a.ready().await;
    ensure!(tokens_minted_in(source, namespace)? == 1, "another token for the last try");
    importer.stop().await?;
    linked.release().await
}

#[tokio::test(flavor = "multi_thread")]
async fn terminating_namespace_needs_no_source() -> anyhow::Result<()> {
    let LinkedTarget { target, source, namespace } = LinkedTarget::acquire().await?;
    target.restart_controller_manager()?;
    let proxy = Proxy::start(([127, 0, 0, 1], source.port()).into()).await?;
    apply_link(&target, "c2", &kubeconfig_with_server(source.kubeconfig_value(), &proxy.url())).await?;
    let maps = Api::<ConfigMap>::namespaced(target.client(), &namespace);
    let held = json!({ "metadata": { "name": "held", "finalizers": ["example.com/hold"] } });
    maps.create(&PostParams::default(), &serde_json::from_value(held)?).await?;
    let importer = Importer::of(&target).await?;
    let imports = Imports::of(target.client(), &namespace);
    imports.create(&pod_lister_import("a", "c2", &namespace)).await?;
    let a = Subject { importer: &importer, imports: &imports, name: "a" };
    a.ready().await;

    // The namespace is terminating, and not emptied yet.
    target.controller_manager().suspend()?;
    target.kubectl(["delete", "namespace", &namespace, "--wait=false"]).await?;
    imports.secrets.delete("a-token", &Default::default()).await?;
    let message = a.fails("NamespaceTerminating").await?;
    ensure!(message.contains(&namespace), "{message}");

    proxy.set(Fault::Refuse);
    target.controller_manager().resume()?;
    eventually("the import is gone", async || {
        ensure!(imports.api.get_opt("a").await?.is_none(), "still there");
        anyhow::Ok(())
    })
    .await;
    ensure!(maps.get_opt("held").await?.is_some(), "nothing blocks the namespace's deletion");
    let released = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    maps.patch("held", &PatchParams::default(), &released).await?;
    eventually("the namespace is gone", async || {
        let left = target.kubectl(["get", "namespace", &namespace, "--ignore-not-found"]).await?;
        ensure!(left.is_empty(), "{left}");
        anyhow::Ok(())
    })
    .await;
    importer.stop().await
}

//! The importer was cut off from the target, for so long that its watches can't be resumed, or without an error.

use std::time::Duration;

use anyhow::{Context, ensure};
use futures::TryStreamExt;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams, WatchEvent, WatchParams};
use kube::core::ApiResource;
use kube::{Api, Client, Config};
use mcsa_client::ServiceAccountImport;
use mcsa_tests::{
    Cluster, Fault, Importer, Imports, LinkedTarget, Proxy, client, eventually, kubeconfig_with_server,
    pod_lister_import, tokens_minted_in,
};
use serde_json::json;

use super::Subject;

/// The current resource version, at which a watch could start.
async fn version(client: &Client) -> anyhow::Result<String> {
    let api = Api::<ServiceAccountImport>::all(client.clone());
    api.list(&ListParams::default()).await?.metadata.resource_version.context("a list has a version")
}

/// Whether a watch can't start at this version, because it is too old.
async fn is_expired(client: &Client, version: &str) -> anyhow::Result<bool> {
    let resource = ApiResource::erase::<ServiceAccountImport>(&());
    let api = Api::<DynamicObject>::all_with(client.clone(), &resource);
    let mut events = Box::pin(api.watch(&WatchParams::default().timeout(5), version).await?);
    let first = events.try_next().await?;
    Ok(matches!(first, Some(WatchEvent::Error(status)) if status.code == 410))
}

/// Counts list requests for a resource in all namespaces, except those of Kubernetes' components and kubectl.
fn lists(target: &Cluster, resource: &str) -> anyhow::Result<usize> {
    let events = target.audit_events()?.into_iter().filter(|event| {
        let object = event.object_ref.as_ref();
        event.verb == "list"
            && !event.user.username.starts_with("system:")
            && !event.user_agent.starts_with("kubectl")
            && object.is_some_and(|object| object.resource == resource && object.namespace.is_empty())
    });
    Ok(events.count())
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_watch_is_restarted_with_a_list() -> anyhow::Result<()> {
    let LinkedTarget { target, source, namespace } = LinkedTarget::acquire().await?;
    let proxy = Proxy::start(([127, 0, 0, 1], target.port()).into()).await?;
    let importer = Importer::start(client(kubeconfig_with_server(target.kubeconfig_value(), &proxy.url()))?);
    let imports = Imports::of(target.client(), &namespace);
    let subject = |name| Subject { importer: &importer, imports: &imports, name };
    for name in ["deleted", "edited", "lost"] {
        imports.create(&pod_lister_import(name, "c2", &namespace)).await?;
        subject(name).ready().await;
    }
    let (edited, lost) = (subject("edited").values().await?, subject("lost").values().await?);

    // Changes while the importer is cut off. A restarted API server has no events of before.
    proxy.set(Fault::Refuse);
    let old = version(&target.client()).await?;
    imports.api.delete("deleted", &Default::default()).await?;
    imports.create(&pod_lister_import("made", "c2", &namespace)).await?;
    let edit = Patch::Merge(json!({ "stringData": { "token": "edited" } }));
    imports.secrets.patch("edited-token", &PatchParams::default(), &edit).await?;
    imports.secrets.delete("lost-token", &Default::default()).await?;
    target.stop_api_server();
    target.start_api_server().await?;
    // Otherwise, its garbage collector would discover the CRD after up to half a minute. Not before the API server is
    // back: a controller manager that can't initialize ends.
    target.restart_controller_manager()?;
    ensure!(is_expired(&target.client(), &old).await?, "a watch can still start at {old}");
    let listed = (lists(&target, "serviceaccountimports")?, lists(&target, "secrets")?);
    proxy.set(Fault::Pass);

    subject("made").ready().await;
    eventually("the edited Secret is repaired", async || {
        let token = subject("edited").values().await?["token"].clone();
        ensure!(token != "edited" && token != edited["token"], "not yet");
        anyhow::Ok(())
    })
    .await;
    eventually("the lost Secret is back", async || subject("lost").values().await).await;
    subject("lost").has_another(&lost).await;
    eventually("the deleted import's Secret is gone", async || {
        let left = imports.secrets.get_opt("deleted-token").await?;
        ensure!(left.is_none(), "still there");
        anyhow::Ok(())
    })
    .await;
    ensure!(lists(&target, "serviceaccountimports")? > listed.0, "imports were not listed again");
    ensure!(lists(&target, "secrets")? > listed.1, "Secrets were not listed again");
    let minted = tokens_minted_in(&source, &namespace)?;
    ensure!(minted == 3 + 3, "{minted} tokens, not one more for each new, edited or lost Secret");
    importer.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_without_events_is_restarted() -> anyhow::Result<()> {
    let linked = LinkedTarget::acquire().await?;
    let LinkedTarget { target, namespace, .. } = &linked;
    let proxy = Proxy::start(([127, 0, 0, 1], target.port()).into()).await?;
    let mut config = Config::try_from(kubeconfig_with_server(target.kubeconfig_value(), &proxy.url()))?;
    config.proxy_url = None;
    // As in the importer, but shorter: a test does not wait for two bookmarks.
    config.read_timeout = Some(Duration::from_secs(3));
    config.reset_reader_on_write = true;
    let importer = Importer::start(Client::try_from(config)?);
    let imports = Imports::of(target.client(), namespace);
    let subject = |name| Subject { importer: &importer, imports: &imports, name };
    imports.create(&pod_lister_import("a", "c2", namespace)).await?;
    subject("a").ready().await;

    proxy.freeze_connections();
    imports.create(&pod_lister_import("b", "c2", namespace)).await?;
    subject("b").ready().await;
    importer.stop().await?;
    linked.release().await
}

//! The source has another certificate authority, or is another cluster.

use anyhow::{Context, ensure};
use base64::prelude::{BASE64_STANDARD, Engine};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::config::Kubeconfig;
use mcsa_client::contract::{CLUSTER_UID, SYSTEM_NAMESPACE};
use mcsa_tests::{
    Cluster, Importer, Imports, LinkedTarget, Proxy, apply_link, create_pod_lister, eventually,
    pod_lister_import, tokens_minted_in,
};
use serde_json::json;

use super::{Subject, for_a_day};

/// A link with the static token of both clusters, and with these certificate authorities.
fn link(server: &str, authorities: &[&str]) -> anyhow::Result<Kubeconfig> {
    Ok(serde_json::from_value(json!({
        "current-context": "c2",
        "contexts": [{ "name": "c2", "context": { "cluster": "c2", "user": "c2" } }],
        "users": [{ "name": "c2", "user": { "token": "static" } }],
        "clusters": [{ "name": "c2", "cluster": {
            "server": server,
            "certificate-authority-data": BASE64_STANDARD.encode(authorities.concat()),
        } }],
    }))?)
}

async fn uid(cluster: &Cluster) -> anyhow::Result<String> {
    let namespaces = Api::<Namespace>::all(cluster.client());
    namespaces.get("kube-system").await?.metadata.uid.context("a namespace has a UID")
}

#[tokio::test(flavor = "multi_thread")]
async fn another_cluster_at_the_sources_address_is_not_trusted() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let tokens = folder.path().join("tokens.csv");
    std::fs::write(&tokens, "static,link,link,system:masters\n")?;
    let with_token =
        |name: &str| Cluster::builder(name).api_server_arg(format!("--token-auth-file={}", tokens.display()));
    let (linked, source, other) =
        tokio::try_join!(LinkedTarget::acquire(), with_token("c2").start(), with_token("c3").start())?;
    let LinkedTarget { target, namespace, .. } = &linked;
    tokio::try_join!(create_pod_lister(&source, "lister"), create_pod_lister(&other, "lister"))?;
    let address = |cluster: &Cluster| ([127, 0, 0, 1], cluster.port()).into();
    let proxy = Proxy::start(address(&source)).await?;
    apply_link(target, "c2", &link(&proxy.url(), &[source.ca_pem()])?).await?;
    let links = Api::<Secret>::namespaced(target.client(), SYSTEM_NAMESPACE);
    let pin = json!({ "metadata": { "annotations": { CLUSTER_UID: uid(&source).await? } } });
    links.patch("c2", &PatchParams::default(), &Patch::Merge(pin)).await?;
    let importer = Importer::of(target).await?;
    let imports = Imports::of(target.client(), namespace);
    let subject = |name| Subject { importer: &importer, imports: &imports, name };
    imports.create(&for_a_day("a", "c2", "lister")).await?;
    let a = subject("a");
    a.ready().await;

    // Another cluster answers, with a certificate of an unknown authority.
    proxy.replace_target(address(&other));
    imports.create(&for_a_day("b", "c2", "lister")).await?;
    let message = subject("b").fails("SourceNotTrusted").await?;
    ensure!(message.contains("not signed by the link's CA"), "{message}");
    a.refresh_fails("SourceNotTrusted").await?;
    proxy.replace_target(address(&source));
    importer.clock.advance(SignedDuration::from_mins(5));
    subject("b").ready().await;

    // An authority that is added to the link, as for a rotation, is added to each Secret.
    let both = [source.ca_pem(), other.ca_pem()];
    apply_link(target, "c2", &link(&proxy.url(), &both)?).await?;
    eventually("the Secret has both authorities", async || {
        let bundle = a.values().await?["ca.crt"].clone();
        ensure!(both.iter().all(|authority| bundle.contains(authority)), "{bundle}");
        imports.condition("a", "Refreshed", "True", None).await
    })
    .await;

    // Now the other cluster's certificate is valid, and it accepts the link's token. Still, no import gets a token of
    // it, neither a new one nor one that is due.
    proxy.replace_target(address(&other));
    imports.create(&for_a_day("c", "c2", "lister")).await?;
    let message = subject("c").fails("ClusterIdentityMismatch").await?;
    ensure!(message.contains(&proxy.url()) && message.contains(&uid(&other).await?), "{message}");
    let failed = a.refresh_fails("ClusterIdentityMismatch").await?;
    ensure!(imports.secrets.get_opt("c-token").await?.is_none(), "it has a token of the other cluster");

    proxy.replace_target(address(&source));
    a.recovers(&failed).await;
    subject("c").ready().await;
    importer.stop().await?;
    linked.release().await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_is_requested_from_another_cluster_at_the_address() -> anyhow::Result<()> {
    let linked = LinkedTarget::acquire().await?;
    let LinkedTarget { target, source, namespace } = &linked;
    let links = Api::<Secret>::namespaced(target.client(), SYSTEM_NAMESPACE);
    let pin = json!({ "metadata": { "annotations": { CLUSTER_UID: "another" } } });
    links.patch("c2", &PatchParams::default(), &Patch::Merge(pin)).await?;
    let importer = Importer::of(target).await?;
    let imports = Imports::of(target.client(), namespace);
    imports.create(&pod_lister_import("a", "c2", namespace)).await?;
    eventually("the import reports another cluster", async || {
        imports.condition("a", "Ready", "False", Some("ClusterIdentityMismatch")).await
    })
    .await;
    ensure!(tokens_minted_in(source, namespace)? == 0, "a token was minted");
    importer.stop().await?;
    linked.release().await
}

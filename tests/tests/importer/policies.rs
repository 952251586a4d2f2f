//! Imports need an ImportPolicy that permits them, as soon as one applies to their source.

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::{Api, ResourceExt};
use mcsa_client::ImportPolicy;
use mcsa_client::policy::{ImportRequest, Permission, permission};
use mcsa_tests::{
    Cluster, Importer, Imports, LinkedTarget, apply_policy, eventually, pod_lister_import, tokens_minted_in,
};
use serde_json::{Value, json};

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/policy.yaml");

/// The name of the example's policy.
const POLICY: &str = "shop";

/// A policy that permits one namespace to import the service accounts of `accounts`.
fn permits(namespace: &str, accounts: &str, on_revoke: &str) -> Value {
    json!({
        "clusterName": "c2", "namespaces": [namespace], "serviceAccounts": [{ "namespace": accounts }],
        "onRevoke": on_revoke,
    })
}

/// Waits until an import is not permitted; returns the message.
async fn refused(imports: &Imports, name: &str) -> anyhow::Result<String> {
    let import = eventually(format!("{name} is not permitted"), async || {
        imports.condition(name, "Refreshed", "False", Some("NotPermitted")).await
    })
    .await;
    Ok(import.condition("Refreshed").context("no condition")?.message.clone())
}

/// Waits until an import is refreshed, and ready.
async fn permitted(imports: &Imports, name: &str) {
    eventually(format!("{name} is permitted"), async || {
        imports.condition(name, "Refreshed", "True", None).await?;
        imports.ready(name).await
    })
    .await;
}

/// Fails if the source has minted another number of tokens for the service accounts of the namespace.
fn ensure_minted(source: &Cluster, namespace: &str, expected: usize) -> anyhow::Result<()> {
    let minted = tokens_minted_in(source, namespace)?;
    ensure!(minted == expected, "{minted} tokens were minted instead of {expected}");
    Ok(())
}

/// The example permits what its comments say.
async fn ensure_example_permits_shop(target: &Cluster) -> anyhow::Result<()> {
    let example = Api::<ImportPolicy>::all(target.client()).get(POLICY).await?.spec;
    let request = |namespace| ImportRequest {
        namespace,
        cluster: "c2",
        account_namespace: "default",
        account_name: "pod-lister",
    };
    let labels = [("team".to_owned(), "a".to_owned())].into();
    ensure!(permission([&example], request("shop"), None) == Permission::Permitted, "shop");
    ensure!(permission([&example], request("any"), Some(&labels)) == Permission::Permitted, "team a");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_permitted_imports_get_tokens() -> anyhow::Result<()> {
    let linked = LinkedTarget::acquire().await?;
    let LinkedTarget { target, source, namespace } = &linked;
    let imports = Imports::of(target.client(), namespace);
    // A Secret of somebody else, with the name that an import would use.
    let theirs = json!({ "metadata": { "name": "taken-token" }, "stringData": { "password": "theirs" } });
    let theirs: Secret = serde_json::from_value(theirs)?;
    let theirs = imports.secrets.create(&PostParams::default(), &theirs).await?;

    // The example permits other namespaces.
    target.kubectl(["apply", "-f", EXAMPLE]).await?;
    ensure_example_permits_shop(target).await?;
    let importer = Importer::of(target).await?;
    imports.create(&pod_lister_import("a", "c2", namespace)).await?;
    let message = refused(&imports, "a").await?;
    let problem = format!(
        "no ImportPolicy permits namespace {namespace} to import service account {namespace}/pod-lister of c2"
    );
    let command = format!("kubemcsa allow {namespace}/pod-lister --for {namespace} --source-name c2");
    ensure!(message.contains(&problem) && message.contains(&command), "{message}");
    ensure_minted(source, namespace, 0)?;

    apply_policy(target, POLICY, &permits(namespace, namespace, "Retain")).await?;
    permitted(&imports, "a").await;
    ensure_minted(source, namespace, 1)?;
    let first = imports.values("a-token").await?;

    // Retain leaves the Secret as it is.
    apply_policy(target, POLICY, &permits("other", namespace, "Retain")).await?;
    refused(&imports, "a").await?;
    ensure!(imports.values("a-token").await? == first, "the credential was changed");

    // After a restart, the importer mints nothing before it has listed the policies.
    for name in ["before", "taken"] {
        imports.create(&pod_lister_import(name, "c2", namespace)).await?;
        refused(&imports, name).await?;
    }
    importer.stop().await?;
    let importer = Importer::of(target).await?;
    imports.create(&pod_lister_import("after", "c2", namespace)).await?;
    refused(&imports, "after").await?;
    ensure!(imports.values("a-token").await? == first, "the credential was changed");
    ensure_minted(source, namespace, 1)?;

    // Delete deletes it, and nothing that the importer did not create.
    apply_policy(target, POLICY, &permits("other", namespace, "Delete")).await?;
    eventually("the Secret is deleted", async || {
        let secret = imports.secrets.get_opt("a-token").await?;
        ensure!(secret.is_none(), "it is still there");
        Ok::<_, anyhow::Error>(())
    })
    .await;
    imports.condition("a", "Refreshed", "False", Some("NotPermitted")).await?;
    ensure_minted(source, namespace, 1)?;

    apply_policy(target, POLICY, &permits(namespace, namespace, "Delete")).await?;
    for name in ["a", "before", "after"] {
        permitted(&imports, name).await;
    }
    ensure!(imports.values("a-token").await?["token"] != first["token"], "the Secret has the first token");
    // Permitted, but its name is taken.
    eventually("the import reports the conflict", async || {
        imports.condition("taken", "Refreshed", "False", Some("SecretNameConflict")).await
    })
    .await;
    let kept = imports.secrets.get("taken-token").await?;
    ensure!(
        kept.uid() == theirs.uid() && kept.resource_version() == theirs.resource_version(),
        "the Secret of somebody else was changed"
    );
    importer.stop().await?;
    target.kubectl(["delete", "importpolicies", "--all"]).await?;
    linked.release().await
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_of_a_namespace_permit_its_imports() -> anyhow::Result<()> {
    let linked = LinkedTarget::acquire().await?;
    let LinkedTarget { target, source, namespace } = &linked;
    let imports = Imports::of(target.client(), namespace);
    let label = async |label: &str| target.kubectl(["label", "namespace", namespace, label]).await;
    let selects = json!({
        "clusterName": "c2", "namespaceSelector": { "matchLabels": { "team": "a" } },
        "serviceAccounts": [{ "namespace": namespace, "name": "pod-lister" }],
    });
    apply_policy(target, POLICY, &selects).await?;
    label("team=b").await?;
    let importer = Importer::of(target).await?;
    imports.create(&pod_lister_import("a", "c2", namespace)).await?;
    refused(&imports, "a").await?;
    ensure_minted(source, namespace, 0)?;

    target.kubectl(["label", "namespace", namespace, "team=a", "--overwrite"]).await?;
    permitted(&imports, "a").await;
    let first = imports.values("a-token").await?;
    label("team-").await?;
    refused(&imports, "a").await?;
    imports.create(&pod_lister_import("b", "c2", namespace)).await?;
    refused(&imports, "b").await?;
    ensure!(imports.values("a-token").await? == first, "the credential was changed");
    ensure_minted(source, namespace, 1)?;

    // An empty policy of all sources permits nothing. Without the last policy, all namespaces may import.
    apply_policy(target, "all", &json!({})).await?;
    target.kubectl(["delete", "importpolicies", POLICY]).await?;
    imports.create(&pod_lister_import("c", "c2", namespace)).await?;
    refused(&imports, "c").await?;
    ensure_minted(source, namespace, 1)?;
    target.kubectl(["delete", "importpolicies", "all"]).await?;
    for name in ["a", "b", "c"] {
        permitted(&imports, name).await;
    }
    importer.stop().await?;
    linked.release().await
}

//! What the API server refuses, and what the importer does about imports that were stored nevertheless.

use anyhow::{Context, ensure};
use kube::api::PostParams;
use mcsa_client::ServiceAccountImportSpec;
use mcsa_client::api::SecretTemplate;
use mcsa_tests::{Imports, LinkedTarget, pod_lister_import};

#[tokio::test(flavor = "multi_thread")]
async fn api_server_rejects_invalid_imports() -> anyhow::Result<()> {
    let linked = LinkedTarget::acquire().await?;
    let imports = Imports::of(linked.target.client(), &linked.namespace);
    let refused = async |name: &str, change: fn(&mut ServiceAccountImportSpec), message: &str| {
        let mut import = pod_lister_import(name, "c2", "lister");
        change(&mut import.spec);
        let error = imports.create(&import).await.err().context("it was accepted")?.to_string();
        ensure!(error.contains(message), "{message:?} is not in: {error}");
        anyhow::Ok(())
    };
    refused("a", |spec| spec.expiration_seconds = 599, "600").await?;
    refused("a", |spec| spec.cluster_name = "C2".into(), "spec.clusterName").await?;
    refused("a", |spec| spec.namespace = "a.b".into(), "spec.namespace").await?;
    refused("a", |spec| spec.name = String::new(), "spec.name").await?;
    refused(&"a".repeat(248), |_| {}, "no more than 247 characters").await?;

    let mut import = imports.create(&pod_lister_import("a", "c2", "lister")).await?;
    import.spec.secret = Some(SecretTemplate { name: Some("other".into()), ..Default::default() });
    let error = imports.api.replace("a", &PostParams::default(), &import).await.unwrap_err().to_string();
    ensure!(error.contains("secret.name is immutable"), "{error}");
    linked.release().await
}

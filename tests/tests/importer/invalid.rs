//! What the API server refuses, and what the importer does about imports that were stored nevertheless.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use kube::Api;
use kube::api::{ApiResource, DeleteParams, DynamicObject, PostParams};
use mcsa_client::api::SecretTemplate;
use mcsa_client::{ServiceAccountImport, ServiceAccountImportSpec};
use mcsa_tests::{Importer, Imports, LinkedTarget, eventually, pod_lister_import};
use serde_json::{Value, json};

/// The values that the CRD accepts in `spec.secret.items`.
const ITEM_VALUES: &str = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/secret/properties/\
    items/items/properties/value/enum";

#[tokio::test(flavor = "multi_thread")]
async fn invalid_imports_are_rejected_or_reported() -> anyhow::Result<()> {
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

    // The importer keeps these in memory, so they are limited.
    type Entries = BTreeMap<String, String>;
    fn template(spec: &mut ServiceAccountImportSpec, labels: Entries, annotations: Entries) {
        spec.secret = Some(SecretTemplate { labels, annotations, ..Default::default() });
    }
    let large = |spec: &mut ServiceAccountImportSpec| {
        template(spec, Entries::new(), [("a".into(), "x".repeat(1_000_000))].into())
    };
    refused("a", large, "spec.secret.annotations").await?;
    let many = |spec: &mut ServiceAccountImportSpec| {
        template(spec, (0..65).map(|i| (i.to_string(), String::new())).collect(), Entries::new());
    };
    refused("a", many, "spec.secret.labels").await?;
    let long = |spec: &mut ServiceAccountImportSpec| {
        template(spec, [("x".repeat(318), String::new())].into(), Entries::new())
    };
    refused("a", long, "at most 317 characters").await?;

    let mut import = imports.create(&pod_lister_import("a", "c2", "lister")).await?;
    import.spec.secret = Some(SecretTemplate { name: Some("other".into()), ..Default::default() });
    let error = imports.api.replace("a", &PostParams::default(), &import).await.unwrap_err().to_string();
    ensure!(error.contains("secret.name is immutable"), "{error}");
    unreadable_import_is_reported(&linked).await?;
    linked.release().await
}

/// As after a downgrade: the CRD accepts a value that the importer does not know.
async fn unreadable_import_is_reported(linked: &LinkedTarget) -> anyhow::Result<()> {
    let LinkedTarget { target, namespace, .. } = linked;
    let patch_crd = async |patch: Value| {
        let (kind, name) = ("crd", "serviceaccountimports.multicluster.admiralty.io");
        target.kubectl(["patch", kind, name, "--type=json", "-p", &patch.to_string()]).await
    };
    patch_crd(json!([{ "op": "add", "path": format!("{ITEM_VALUES}/0"), "value": "Later" }])).await?;
    let importer = Importer::of(target).await?;
    let kind = ApiResource::erase::<ServiceAccountImport>(&());
    let imports = Api::<DynamicObject>::namespaced_with(target.client(), namespace, &kind);
    let mut import = json!(pod_lister_import("later", "c2", namespace));
    import["spec"]["secret"] = json!({ "items": [{ "key": "token", "value": "Later" }] });
    let import: DynamicObject = serde_json::from_value(import)?;
    eventually("the API server accepts the value", async || {
        imports.create(&PostParams::default(), &import).await
    })
    .await;
    eventually("the import reports the field", async || {
        let import = imports.get("later").await?;
        let conditions = import.data["status"]["conditions"].as_array().context("no conditions")?;
        let failed = conditions.iter().find(|condition| condition["type"] == "Refreshed");
        let failed = failed.context("the import has no condition Refreshed")?;
        ensure!(failed["status"] == "False" && failed["reason"] == "InvalidSpec", "{failed}");
        let message = failed["message"].as_str().unwrap_or_default();
        ensure!(message.contains("spec.secret.items[0].value") && !message.contains("Later"), "{message}");
        ensure!(import.data["spec"]["secret"]["items"][0]["value"] == "Later", "the spec was changed");
        anyhow::Ok(())
    })
    .await;
    // Others are not affected.
    let others = Imports::of(target.client(), namespace);
    imports.delete("later", &DeleteParams::default()).await?;
    others.create(&pod_lister_import("other", "c2", namespace)).await?;
    eventually("another import is ready", async || others.ready("other").await).await;
    importer.stop().await?;
    patch_crd(json!([{ "op": "remove", "path": format!("{ITEM_VALUES}/0") }])).await?;
    Ok(())
}

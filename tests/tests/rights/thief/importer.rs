//! Who has taken over the importer.

use anyhow::ensure;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use mcsa_client::contract::{IMPORT_NAME, SYSTEM_NAMESPACE};
use mcsa_tests::{Cluster, Imports, eventually, pod_lister_import};
use serde_json::{Value, json};

use super::{TOKEN, Thief, and, installed, secret, versions};

/// What the policy says.
const WRONG_TYPE: &str = "the importer may only write Secrets of the type Opaque";
const OF_NO_IMPORT: &str = "the importer may only write Secrets of imports";
const NOT_ITS_OWN: &str = "the importer may only update a Secret that a ServiceAccountImport controls";

/// A thief in a namespace with an import and someone else's Secrets.
struct Fixture {
    thief: Thief,
    imports: Imports,
    /// As the importer marks a Secret of the import.
    owner: Value,
    labels: Value,
    /// Another owner than an import.
    other: Value,
}

impl Fixture {
    async fn set(cluster: &Cluster, namespace: &str, has_rights: bool) -> anyhow::Result<Self> {
        let imports = Imports::of(cluster.client(), namespace);
        let import = eventually("an import can be created", async || {
            imports.create(&pod_lister_import("i", "nowhere", "default")).await
        })
        .await;
        let maps = Api::<ConfigMap>::namespaced(cluster.client(), namespace);
        let map = serde_json::from_value(json!({ "metadata": { "name": "other" } }))?;
        let other = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "name": "other", "controller": true,
            "uid": maps.create(&PostParams::default(), &map).await?.uid(),
        });
        let labels = json!({ IMPORT_NAME: "i" });
        for metadata in [
            json!({ "name": "plain" }),
            json!({ "name": "labelled", "labels": labels }),
            json!({ "name": "controlled", "labels": labels, "ownerReferences": [other] }),
        ] {
            let secret = secret("Opaque", &metadata, &json!({ "password": "theirs" }));
            imports.secrets.create(&PostParams::default(), &serde_json::from_value(secret)?).await?;
        }
        let thief = Thief::of(cluster, "importer", namespace, has_rights).await?;
        Ok(Self { thief, imports, owner: json!(import.owner_reference()), labels, other })
    }

    /// The metadata of a Secret that the importer would make.
    fn owned(&self) -> Value {
        json!({ "name": "loot", "labels": self.labels, "ownerReferences": [self.owner] })
    }

    async fn make_secrets(&self) -> anyhow::Result<()> {
        let (thief, owned) = (&self.thief, self.owned());
        let (bare, none) = (json!({ "name": "loot" }), json!({}));
        let by = |owner: Value| and(&owned, json!({ "ownerReferences": [owner] }));
        let of_default = json!({ "annotations": { "kubernetes.io/service-account.name": "default" } });
        for (type_, metadata, values, said) in [
            (TOKEN, and(&owned, of_default.clone()), &none, WRONG_TYPE),
            (TOKEN, and(&bare, of_default), &none, WRONG_TYPE),
            ("kubernetes.io/basic-auth", owned.clone(), &json!({ "username": "thief" }), WRONG_TYPE),
            ("bootstrap.kubernetes.io/token", owned.clone(), &json!({ "token-id": "abcdef" }), WRONG_TYPE),
            ("example.com/any", owned.clone(), &none, WRONG_TYPE),
            ("Opaque", bare, &none, OF_NO_IMPORT),
            ("Opaque", and(&owned, json!({ "labels": null })), &none, OF_NO_IMPORT),
            ("Opaque", by(self.other.clone()), &none, OF_NO_IMPORT),
            ("Opaque", by(and(&self.owner, json!({ "controller": false }))), &none, OF_NO_IMPORT),
            ("Opaque", by(and(&self.owner, json!({ "apiVersion": "example.com/v1" }))), &none, OF_NO_IMPORT),
        ] {
            let made = secret(type_, &metadata, values);
            thief.is_refused(thief.create(&made).await?, said)?;
            thief.is_refused(thief.apply("loot", &made).await, said)?;
            // So it is when the API server makes up the name.
            let unnamed = json!({ "metadata": { "name": null, "generateName": "loot-" } });
            thief.is_refused(thief.create(&and(&made, unnamed)).await?, said)?;
        }
        Ok(())
    }

    async fn write_into_those_of_others(&self) -> anyhow::Result<()> {
        let thief = &self.thief;
        let data = json!({ "data": { "password": "dGhpZWY=" } });
        let owning = json!({ "metadata": { "labels": self.labels, "ownerReferences": [self.owner] } });
        let labelling = json!({ "metadata": { "labels": { "team": "thieves" } } });
        for name in ["plain", "labelled", "controlled"] {
            for patch in [&data, &owning, &and(&owning, data.clone()), &labelling] {
                thief.is_refused(thief.merge(name, patch).await, NOT_ITS_OWN)?;
            }
            thief.is_refused(thief.apply(name, &data).await, NOT_ITS_OWN)?;
        }
        Ok(())
    }

    /// What is an import's stays an import's; and one that has lost its label gets it back.
    async fn write_into_an_imports(&self) -> anyhow::Result<()> {
        let thief = &self.thief;
        thief.create(&secret("Opaque", &self.owned(), &json!({ "token": "a" }))).await??;
        let unlabelled = json!({ "metadata": { "labels": null } });
        for patch in [
            &json!({ "metadata": { "ownerReferences": null } }),
            &json!({ "metadata": { "ownerReferences": [self.other] } }),
            &unlabelled,
        ] {
            thief.is_refused(thief.merge("loot", patch).await, OF_NO_IMPORT)?;
        }
        self.imports.secrets.patch("loot", &PatchParams::default(), &Patch::Merge(unlabelled)).await?;
        let data = json!({ "data": { "token": "Yg==" } });
        thief.is_refused(thief.merge("loot", &data).await, OF_NO_IMPORT)?;
        thief.merge("loot", &and(&data, json!({ "metadata": { "labels": self.labels } }))).await?;
        Ok(())
    }
}

/// Tries all that an importer never does, where it has rights and where it has none, and then what it does.
async fn try_all(cluster: &Cluster, namespace: &str, has_rights: bool) -> anyhow::Result<()> {
    let fixture = Fixture::set(cluster, namespace, has_rights).await?;
    let before = versions(cluster, namespace).await?;
    fixture.make_secrets().await?;
    fixture.write_into_those_of_others().await?;
    let after = versions(cluster, namespace).await?;
    ensure!(before == after, "in {namespace} there were {before:?}, and are {after:?}");
    if has_rights { fixture.write_into_an_imports().await } else { Ok(()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_makes_no_tokens_and_writes_into_no_one_else_s_secrets() -> anyhow::Result<()> {
    let cluster = installed("c4", &[], &["team"]).await?;
    for namespace in ["team", "kube-system", SYSTEM_NAMESPACE] {
        try_all(&cluster, namespace, true).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_where_it_is_confined_to_and_elsewhere_it_does_nothing() -> anyhow::Result<()> {
    let cluster = installed("c5", &["--namespaces", "team"], &["team", "other"]).await?;
    for namespace in ["team", SYSTEM_NAMESPACE] {
        try_all(&cluster, namespace, true).await?;
    }
    for namespace in ["other", "kube-system"] {
        try_all(&cluster, namespace, false).await?;
    }
    Ok(())
}

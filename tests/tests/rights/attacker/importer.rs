//! An attacker with a token of the importer.

use anyhow::ensure;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use mcsa_client::contract::{IMPORT_NAME, SYSTEM_NAMESPACE};
use mcsa_tests::{Cluster, Imports, eventually, pod_lister_import};
use serde_json::{Value, json};

use super::{Attacker, NO_RIGHT, TOKEN, installed, merged, secret, versions};

// The policy's messages.
const WRONG_TYPE: &str = "the importer may only write Secrets of the type Opaque";
const OF_NO_IMPORT: &str = "the importer may only write Secrets of imports";
const NOT_ITS_OWN: &str =
    "the importer may only update or delete a Secret that a ServiceAccountImport controls";

/// An attacker in a namespace with an import and Secrets of others.
struct Fixture {
    attacker: Attacker,
    imports: Imports,
    /// The owner reference of a Secret of the import.
    owner: Value,
    labels: Value,
    /// An owner reference to an object that is not an import.
    other: Value,
}

impl Fixture {
    async fn create(cluster: &Cluster, namespace: &str, has_rights: bool) -> anyhow::Result<Self> {
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
        let attacker = Attacker::of(cluster, "importer", namespace, has_rights).await?;
        Ok(Self { attacker, imports, owner: json!(import.owner_reference()), labels, other })
    }

    /// The metadata of a Secret like the importer's.
    fn owned(&self) -> Value {
        json!({ "name": "new", "labels": self.labels, "ownerReferences": [self.owner] })
    }

    async fn creating_other_secrets_is_refused(&self) -> anyhow::Result<()> {
        let (attacker, owned) = (&self.attacker, self.owned());
        let (bare, none) = (json!({ "name": "new" }), json!({}));
        let by = |owner: Value| merged(&owned, json!({ "ownerReferences": [owner] }));
        let of_default = json!({ "annotations": { "kubernetes.io/service-account.name": "default" } });
        for (type_, metadata, values, message) in [
            (TOKEN, merged(&owned, of_default.clone()), &none, WRONG_TYPE),
            (TOKEN, merged(&bare, of_default), &none, WRONG_TYPE),
            ("kubernetes.io/basic-auth", owned.clone(), &json!({ "username": "attacker" }), WRONG_TYPE),
            ("bootstrap.kubernetes.io/token", owned.clone(), &json!({ "token-id": "abcdef" }), WRONG_TYPE),
            ("example.com/any", owned.clone(), &none, WRONG_TYPE),
            ("Opaque", bare, &none, OF_NO_IMPORT),
            ("Opaque", merged(&owned, json!({ "labels": null })), &none, OF_NO_IMPORT),
            ("Opaque", by(self.other.clone()), &none, OF_NO_IMPORT),
            ("Opaque", by(merged(&self.owner, json!({ "controller": false }))), &none, OF_NO_IMPORT),
            (
                "Opaque",
                by(merged(&self.owner, json!({ "apiVersion": "example.com/v1" }))),
                &none,
                OF_NO_IMPORT,
            ),
        ] {
            let created = secret(type_, &metadata, values);
            attacker.ensure_refused(attacker.create(&created).await?, message)?;
            attacker.ensure_refused(attacker.apply("new", &created).await, message)?;
            // The same with a generated name.
            let unnamed = json!({ "metadata": { "name": null, "generateName": "new-" } });
            attacker.ensure_refused(attacker.create(&merged(&created, unnamed)).await?, message)?;
        }
        Ok(())
    }

    async fn updating_secrets_of_others_is_refused(&self) -> anyhow::Result<()> {
        let attacker = &self.attacker;
        let data = json!({ "data": { "password": "dGhpZWY=" } });
        let owning = json!({ "metadata": { "labels": self.labels, "ownerReferences": [self.owner] } });
        let labelling = json!({ "metadata": { "labels": { "team": "attackers" } } });
        for name in ["plain", "labelled", "controlled"] {
            for patch in [&data, &owning, &merged(&owning, data.clone()), &labelling] {
                attacker.ensure_refused(attacker.merge(name, patch).await, NOT_ITS_OWN)?;
            }
            attacker.ensure_refused(attacker.apply(name, &data).await, NOT_ITS_OWN)?;
        }
        Ok(())
    }

    /// A deletion of the whole collection is refused by RBAC.
    async fn deleting_secrets_of_others_is_refused(&self) -> anyhow::Result<()> {
        for name in ["plain", "labelled", "controlled"] {
            self.attacker.ensure_refused(self.attacker.delete(name).await, NOT_ITS_OWN)?;
        }
        let all =
            self.attacker.secrets.delete_collection(&DeleteParams::default(), &Default::default()).await;
        self.attacker.ensure_refused(all, NO_RIGHT)
    }

    /// A Secret can't lose its import or its label. If another user removed the label, the importer can add it again.
    async fn secret_of_an_import_must_keep_owner_and_label(&self) -> anyhow::Result<()> {
        let attacker = &self.attacker;
        attacker.create(&secret("Opaque", &self.owned(), &json!({ "token": "a" }))).await??;
        let unlabelled = json!({ "metadata": { "labels": null } });
        for patch in [
            &json!({ "metadata": { "ownerReferences": null } }),
            &json!({ "metadata": { "ownerReferences": [self.other] } }),
            &unlabelled,
        ] {
            attacker.ensure_refused(attacker.merge("new", patch).await, OF_NO_IMPORT)?;
        }
        self.imports.secrets.patch("new", &PatchParams::default(), &Patch::Merge(unlabelled)).await?;
        let data = json!({ "data": { "token": "Yg==" } });
        attacker.ensure_refused(attacker.merge("new", &data).await, OF_NO_IMPORT)?;
        attacker.merge("new", &merged(&data, json!({ "metadata": { "labels": self.labels } }))).await?;
        Ok(())
    }

    /// The importer deletes the Secret of an import that is no longer permitted, even if it has lost its label.
    async fn secret_of_an_import_can_be_deleted(&self) -> anyhow::Result<()> {
        let unlabelled = json!({ "metadata": { "labels": null } });
        self.imports.secrets.patch("new", &PatchParams::default(), &Patch::Merge(unlabelled)).await?;
        self.attacker.delete("new").await?;
        let left = self.imports.secrets.get_opt("new").await?;
        ensure!(left.is_none(), "the Secret is still there");
        Ok(())
    }
}

/// Tries writes that the importer never makes, with or without rights in the namespace, and then writes that it makes.
async fn try_writes(cluster: &Cluster, namespace: &str, has_rights: bool) -> anyhow::Result<()> {
    let fixture = Fixture::create(cluster, namespace, has_rights).await?;
    let before = versions(cluster, namespace).await?;
    fixture.creating_other_secrets_is_refused().await?;
    fixture.updating_secrets_of_others_is_refused().await?;
    fixture.deleting_secrets_of_others_is_refused().await?;
    let after = versions(cluster, namespace).await?;
    ensure!(before == after, "Secrets in {namespace} changed from {before:?} to {after:?}");
    if has_rights {
        fixture.secret_of_an_import_must_keep_owner_and_label().await?;
        fixture.secret_of_an_import_can_be_deleted().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn importer_can_write_only_secrets_of_imports() -> anyhow::Result<()> {
    let cluster = installed("c4", &[], &["team"]).await?;
    for namespace in ["team", "kube-system", SYSTEM_NAMESPACE] {
        try_writes(&cluster, namespace, true).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn confined_importer_can_write_secrets_in_its_namespaces_only() -> anyhow::Result<()> {
    let cluster = installed("c5", &["--namespaces", "team"], &["team", "other"]).await?;
    for namespace in ["team", SYSTEM_NAMESPACE] {
        try_writes(&cluster, namespace, true).await?;
    }
    for namespace in ["other", "kube-system"] {
        try_writes(&cluster, namespace, false).await?;
    }
    Ok(())
}

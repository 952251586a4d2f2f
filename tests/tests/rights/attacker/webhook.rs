//! An attacker with a token of the webhook.

use anyhow::ensure;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use mcsa_credentials::contract::SYSTEM_NAMESPACE;
use mcsa_credentials::contract::webhook::{CERTIFICATE, CONFIGURATION};
use mcsa_tests::{Cluster, eventually, set_webhook_url};
use serde_json::{Value, json};

use super::{Attacker, NO_RIGHT, TOKEN, ensure_refused, installed, merged, secret, versions};

// The policies' messages.
const WRONG_NAME: &str = "the webhook may only write the Secret webhook-tls";
const WRONG_TYPE: &str = "the webhook may only create its Secret with the type kubernetes.io/tls";
const NOT_DELETED: &str = "the webhook may not delete Secrets";
const METADATA: &str = "the webhook may not change the metadata of its MutatingWebhookConfiguration";
const ENTRIES: &str = "the webhook may not add, remove, rename or reorder the entries";
const FIELDS: &str = "the webhook may only change clientConfig in the entries";
const ADDRESS: &str = "the webhook may only change clientConfig.caBundle in the entries";

/// The type of the webhook's Secret.
const TLS: &str = "kubernetes.io/tls";

fn values() -> Value {
    json!({ "tls.crt": "", "tls.key": "" })
}

async fn creating_other_secrets_is_refused(
    cluster: &Cluster,
    namespace: &str,
    has_rights: bool,
) -> anyhow::Result<()> {
    let attacker = Attacker::of(cluster, "webhook", namespace, has_rights).await?;
    let (own, new) = (json!({ "name": CERTIFICATE }), json!({ "name": "new" }));
    let of_importer = json!({ "annotations": { "kubernetes.io/service-account.name": "importer" } });
    for (type_, metadata, message) in [
        (TLS, &new, WRONG_NAME),
        (TLS, &json!({ "generateName": CERTIFICATE }), WRONG_NAME),
        ("Opaque", &new, WRONG_NAME),
        (TOKEN, &merged(&new, of_importer.clone()), WRONG_NAME),
        (TOKEN, &merged(&own, of_importer), WRONG_TYPE),
        ("Opaque", &own, WRONG_TYPE),
    ] {
        attacker.ensure_refused(attacker.create(&secret(type_, metadata, &values())).await?, message)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn webhook_can_write_only_its_certificate_and_authorities() -> anyhow::Result<()> {
    let cluster = installed("c6", &[], &["team"]).await?;
    let before = versions(&cluster, SYSTEM_NAMESPACE).await?;
    creating_other_secrets_is_refused(&cluster, SYSTEM_NAMESPACE, true).await?;
    creating_other_secrets_is_refused(&cluster, "team", false).await?;
    creating_other_secrets_is_refused(&cluster, "kube-system", false).await?;
    ensure!(versions(&cluster, SYSTEM_NAMESPACE).await? == before, "Secrets in the system namespace changed");

    // The webhook or an administrator creates its Secret, and the webhook updates it.
    let webhook = Attacker::of(&cluster, "webhook", SYSTEM_NAMESPACE, true).await?;
    let rotate =
        async |made: Secret| webhook.secrets.replace(CERTIFICATE, &PostParams::default(), &made).await;
    let own = |type_| secret(type_, &json!({ "name": CERTIFICATE }), &values());
    rotate(webhook.create(&own(TLS)).await??).await?;
    let secrets = Api::<Secret>::namespaced(cluster.client(), SYSTEM_NAMESPACE);
    secrets.delete(CERTIFICATE, &DeleteParams::default()).await?;
    let by_hand = serde_json::from_value(own("Opaque"))?;
    rotate(secrets.create(&PostParams::default(), &by_hand).await?).await?;
    deleting_secrets_is_refused(&cluster, &webhook).await?;
    webhook_can_change_only_authorities_in_its_configuration(&cluster).await
}

/// RBAC refuses it, and so does the policy if somebody grants the right.
async fn deleting_secrets_is_refused(cluster: &Cluster, webhook: &Attacker) -> anyhow::Result<()> {
    ensure_refused(webhook.delete(CERTIFICATE).await, NO_RIGHT)?;
    let account = format!("--serviceaccount={SYSTEM_NAMESPACE}:webhook");
    let grant =
        ["-n", SYSTEM_NAMESPACE, "create", "rolebinding", "granted", "--clusterrole=cluster-admin", &account];
    cluster.kubectl(grant).await?;
    eventually("the policy refuses the deletion", async || {
        ensure_refused(webhook.delete(CERTIFICATE).await, NOT_DELETED)
    })
    .await;
    cluster.kubectl(["-n", SYSTEM_NAMESPACE, "delete", "rolebinding", "granted"]).await.map(drop)
}

async fn webhook_can_change_only_authorities_in_its_configuration(cluster: &Cluster) -> anyhow::Result<()> {
    let stored = Api::<MutatingWebhookConfiguration>::all(cluster.client());
    let client = cluster.client_of(SYSTEM_NAMESPACE, "webhook").await?;
    let attacked = Api::<MutatingWebhookConfiguration>::all(client);
    let patch = async |params: &PatchParams, operations: Value| {
        let patch = Patch::<()>::Json(serde_json::from_value(operations)?);
        anyhow::Ok(attacked.patch(CONFIGURATION, params, &patch).await)
    };
    let (write, dry_run) = (PatchParams::default(), PatchParams { dry_run: true, ..Default::default() });
    let replace = |path: &str, value: Value| json!([{ "op": "replace", "path": path, "value": value }]);
    let add = |path: &str, value: Value| json!([{ "op": "add", "path": path, "value": value }]);
    let label = || add("/metadata/labels/a", json!("b"));
    eventually("the policy of the configuration is in effect", async || {
        ensure_refused(patch(&dry_run, label()).await?, METADATA)
    })
    .await;

    let ca_bundle = json!(ByteString(cluster.ca_pem().as_bytes().to_vec()));
    for index in 0..3 {
        let path = format!("/webhooks/{index}/clientConfig/caBundle");
        patch(&write, add(&path, ca_bundle.clone())).await??;
    }
    let before = stored.get(CONFIGURATION).await?;
    let owner = json!([{ "apiVersion": "v1", "kind": "Namespace", "name": "team", "uid": "1" }]);
    let everything =
        json!([{ "apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"] }]);
    let url = "https://192.0.2.1/mutate-pods";
    let by_url = json!({ "url": url, "caBundle": ca_bundle });
    let added = merged(&json!(before.webhooks.iter().flatten().next()), json!({ "name": "a.example.com" }));
    for (operations, message) in [
        (label(), METADATA),
        (json!([{ "op": "remove", "path": "/metadata/labels" }]), METADATA),
        (add("/metadata/annotations", json!({ "a": "b" })), METADATA),
        (add("/metadata/ownerReferences", owner), METADATA),
        (add("/metadata/finalizers", json!(["example.com/a"])), METADATA),
        (add("/webhooks/-", added), ENTRIES),
        (json!([{ "op": "remove", "path": "/webhooks/1" }]), ENTRIES),
        (json!([{ "op": "remove", "path": "/webhooks" }]), ENTRIES),
        (json!([{ "op": "move", "from": "/webhooks/1", "path": "/webhooks/0" }]), ENTRIES),
        (replace("/webhooks/0/name", json!("a.example.com")), ENTRIES),
        (replace("/webhooks/0/rules", everything), FIELDS),
        (json!([{ "op": "remove", "path": "/webhooks/0/rules" }]), FIELDS),
        (replace("/webhooks/0/namespaceSelector", json!({})), FIELDS),
        (replace("/webhooks/0/objectSelector", json!({ "matchLabels": { "a": "b" } })), FIELDS),
        (json!([{ "op": "remove", "path": "/webhooks/0/matchConditions" }]), FIELDS),
        (replace("/webhooks/0/failurePolicy", json!("Ignore")), FIELDS),
        (replace("/webhooks/1/failurePolicy", json!("Fail")), FIELDS),
        (replace("/webhooks/0/matchPolicy", json!("Exact")), FIELDS),
        (replace("/webhooks/0/reinvocationPolicy", json!("Never")), FIELDS),
        (replace("/webhooks/0/sideEffects", json!("NoneOnDryRun")), FIELDS),
        (replace("/webhooks/0/timeoutSeconds", json!(30)), FIELDS),
        (replace("/webhooks/0/admissionReviewVersions", json!(["v1", "v1beta1"])), FIELDS),
        (replace("/webhooks/0/clientConfig", by_url.clone()), ADDRESS),
        (replace("/webhooks/2/clientConfig", by_url), ADDRESS),
        (replace("/webhooks/0/clientConfig/service/namespace", json!("team")), ADDRESS),
        (replace("/webhooks/0/clientConfig/service/name", json!("other")), ADDRESS),
        (replace("/webhooks/0/clientConfig/service/port", json!(8443)), ADDRESS),
        (replace("/webhooks/0/clientConfig/service/path", json!("/other")), ADDRESS),
    ] {
        ensure_refused(patch(&write, operations).await?, message)?;
    }
    ensure!(stored.get(CONFIGURATION).await? == before, "the configuration changed");

    // Outside the cluster, the webhook registers its current URL, but can't return to a Service.
    let service = json!(before.webhooks.iter().flatten().next().map(|entry| &entry.client_config));
    set_webhook_url(cluster, "https://192.0.2.2/mutate-pods").await?;
    patch(&write, replace("/webhooks/0/clientConfig/url", json!(url))).await??;
    ensure_refused(patch(&write, replace("/webhooks/0/clientConfig", service)).await?, ADDRESS)
}

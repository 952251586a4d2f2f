//! An attacker with a token of the webhook.

use anyhow::ensure;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use mcsa_credentials::contract::SYSTEM_NAMESPACE;
use mcsa_credentials::contract::webhook::CERTIFICATE;
use mcsa_tests::Cluster;
use serde_json::{Value, json};

use super::{Attacker, TOKEN, installed, merged, secret, versions};

// The policy's messages.
const WRONG_NAME: &str = "the webhook may only write the Secret webhook-tls";
const WRONG_TYPE: &str = "the webhook may only create its Secret with the type kubernetes.io/tls";

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
async fn webhook_can_write_only_its_certificate() -> anyhow::Result<()> {
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
    Ok(())
}

//! Who has taken over the webhook.

use anyhow::ensure;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use mcsa_credentials::contract::SYSTEM_NAMESPACE;
use mcsa_credentials::contract::webhook::CERTIFICATE;
use mcsa_tests::Cluster;
use serde_json::{Value, json};

use super::{TOKEN, Thief, and, installed, secret, versions};

/// What the policy says.
const WRONG_NAME: &str = "the webhook may only write the Secret webhook-tls";
const WRONG_TYPE: &str = "the webhook may only create its Secret with the type kubernetes.io/tls";

/// The type of what the webhook makes.
const TLS: &str = "kubernetes.io/tls";

fn values() -> Value {
    json!({ "tls.crt": "", "tls.key": "" })
}

async fn make_secrets(cluster: &Cluster, namespace: &str, has_rights: bool) -> anyhow::Result<()> {
    let thief = Thief::of(cluster, "webhook", namespace, has_rights).await?;
    let (own, loot) = (json!({ "name": CERTIFICATE }), json!({ "name": "loot" }));
    let of_importer = json!({ "annotations": { "kubernetes.io/service-account.name": "importer" } });
    for (type_, metadata, said) in [
        (TLS, &loot, WRONG_NAME),
        (TLS, &json!({ "generateName": CERTIFICATE }), WRONG_NAME),
        ("Opaque", &loot, WRONG_NAME),
        (TOKEN, &and(&loot, of_importer.clone()), WRONG_NAME),
        (TOKEN, &and(&own, of_importer), WRONG_TYPE),
        ("Opaque", &own, WRONG_TYPE),
    ] {
        thief.is_refused(thief.create(&secret(type_, metadata, &values())).await?, said)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_writes_its_certificate_and_nothing_else() -> anyhow::Result<()> {
    let cluster = installed("c6", &[], &["team"]).await?;
    let before = versions(&cluster, SYSTEM_NAMESPACE).await?;
    make_secrets(&cluster, SYSTEM_NAMESPACE, true).await?;
    make_secrets(&cluster, "team", false).await?;
    make_secrets(&cluster, "kube-system", false).await?;
    ensure!(versions(&cluster, SYSTEM_NAMESPACE).await? == before, "there are other Secrets than before");

    // Its own is made by itself, or by an administrator.
    let webhook = Thief::of(&cluster, "webhook", SYSTEM_NAMESPACE, true).await?;
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

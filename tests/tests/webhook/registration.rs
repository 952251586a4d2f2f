//! The webhook repairs edits of its configuration.

use anyhow::ensure;
use mcsa_credentials::contract::webhook::CONFIGURATION;
use mcsa_tests::eventually;
use serde_json::{Value, json};

use super::fixture::Fixture;

#[tokio::test(flavor = "multi_thread")]
async fn edited_entries_are_restored() -> anyhow::Result<()> {
    let fixture = Fixture::start().await?;
    let webhook = fixture.webhook("webhook", &["--certificate-overlap=1s"]).await?;
    fixture.reviews_pods().await;
    let own = fixture.authority().await?;

    let others = serde_json::to_value(k8s_openapi::ByteString(fixture.cluster.ca_pem().as_bytes().to_vec()))?;
    let with_others = fixture.cluster.ca_pem().to_owned() + &own;
    let with_others = serde_json::to_value(k8s_openapi::ByteString(with_others.into_bytes()))?;
    let set = |index: usize, value: &Value| json!({ "op": "add", "path": format!("/webhooks/{index}/clientConfig/caBundle"), "value": value });
    let unset = |index| json!({ "op": "remove", "path": format!("/webhooks/{index}/clientConfig/caBundle") });
    for edit in [
        json!([set(0, &others)]),
        json!([set(1, &others)]),
        json!([set(0, &with_others), set(1, &others)]),
        json!([unset(0)]),
        json!([set(0, &json!("")), unset(1)]),
        json!([{ "op": "replace", "path": "/webhooks/0/clientConfig/url", "value": "https://192.0.2.1/mutate-pods" }]),
        json!([{ "op": "remove", "path": "/webhooks/1" }]),
    ] {
        fixture.edit(edit.clone()).await?;
        eventually(format!("the entries are restored after {edit}"), async || {
            webhook.process.check()?;
            let bundles = fixture.bundles().await?;
            ensure!(bundles.iter().all(|bundle| *bundle == own), "{bundles:?}");
            let configuration = fixture.configurations().get(CONFIGURATION).await?;
            for entry in configuration.webhooks.unwrap_or_default() {
                let url = entry.client_config.url.unwrap_or_default();
                ensure!(url == fixture.url(), "{url}");
            }
            Ok(())
        })
        .await;
        fixture.reviews_pods().await;
    }
    ensure!(fixture.authority().await? == own, "another authority was generated");
    Ok(())
}

//! Rights that are revoked while another authority is adopted.

use std::sync::Arc;

use anyhow::ensure;
use mcsa_tests::eventually;

use super::client::call;
use super::fixture::{Fixture, Replica};
use super::load::Load;

const ROLE: &str = "multicluster-service-account-webhook";
const USER: &str = "--as=system:serviceaccount:multicluster-service-account:webhook";

impl Fixture {
    /// Grants or revokes the right to patch the configuration.
    async fn allow_patch(&self, allowed: bool) -> anyhow::Result<()> {
        let verbs = if allowed { r#"["list", "watch", "patch"]"# } else { r#"["list", "watch"]"# };
        let patch = format!(
            r#"[{{"op": "test", "path": "/rules/3/resources/0", "value": "mutatingwebhookconfigurations"}},
                {{"op": "replace", "path": "/rules/3/verbs", "value": {verbs}}}]"#
        );
        self.cluster.kubectl(["patch", "clusterrole", ROLE, "--type=json", "-p", &patch]).await?;
        eventually(format!("the webhook may patch the configuration: {allowed}"), async || {
            let name = format!("mutatingwebhookconfigurations/{ROLE}");
            let result = self.cluster.kubectl(["auth", "can-i", "patch", &name, USER]).await;
            ensure!(result.is_ok() == allowed, "{result:?}");
            Ok(())
        })
        .await;
        Ok(())
    }
}

/// Waits until the webhook has logged that it can't patch the configuration.
async fn logs_failed_patch(webhook: &Replica) {
    eventually("the webhook logs the failed patch", async || {
        ensure!(webhook.process.log().contains("can't patch MutatingWebhookConfiguration"), "it does not");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn served_certificate_stays_until_the_next_one_is_trusted() -> anyhow::Result<()> {
    let fixture = Arc::new(Fixture::start().await?);
    let webhook = fixture.webhook("webhook", &["--certificate-overlap=1s"]).await?;
    let mut load = Load::on(&fixture, &[webhook.address]).await;
    let bundle = fixture.bundle().await?;
    let before = call(webhook.address, &bundle).await?.certificate;

    fixture.allow_patch(false).await?;
    fixture.put_other_authority().await?;
    logs_failed_patch(&webhook).await;
    load.continues().await?;
    ensure!(fixture.bundle().await? == bundle, "the configuration was patched anyway");
    ensure!(call(webhook.address, &bundle).await?.certificate == before, "another certificate is served");
    ensure!(webhook.process.get("/readyz").await? == "ok\n", "it is not ready");

    fixture.allow_patch(true).await?;
    eventually("the next certificate is served", async || {
        load.check()?;
        let handshake = call(webhook.address, &fixture.bundle().await?).await?;
        ensure!(handshake.certificate != before, "the previous one is served");
        Ok(())
    })
    .await;
    load.end().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn untrusted_webhook_is_not_ready() -> anyhow::Result<()> {
    let fixture = Fixture::start().await?;
    fixture.allow_patch(false).await?;
    let webhook = fixture.webhook("webhook", &[]).await?;
    logs_failed_patch(&webhook).await;
    let error = webhook.process.get("/readyz").await.unwrap_err();
    ensure!(error.to_string().contains("registration: "), "{error}");
    fixture.allow_patch(true).await?;
    fixture.reviews_pods().await;
    eventually("it is ready", async || webhook.process.get("/readyz").await).await;
    Ok(())
}

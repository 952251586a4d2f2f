//! Rights that are taken away in the middle of a rotation.

use std::sync::Arc;

use anyhow::ensure;
use kube::api::DeleteParams;
use mcsa_credentials::contract::webhook::CERTIFICATE;
use mcsa_tests::eventually;

use super::client::call;
use super::load::Load;
use super::world::{Replica, World};

const ROLE: &str = "multicluster-service-account-webhook";
const USER: &str = "--as=system:serviceaccount:multicluster-service-account:webhook";

impl World {
    /// Gives the webhook the right to register itself, or takes it away.
    async fn let_register(&self, may: bool) -> anyhow::Result<()> {
        let verbs = if may { r#"["list", "watch", "patch"]"# } else { r#"["list", "watch"]"# };
        let patch = format!(r#"[{{"op": "replace", "path": "/rules/1/verbs", "value": {verbs}}}]"#);
        self.cluster.kubectl(["patch", "clusterrole", ROLE, "--type=json", "-p", &patch]).await?;
        eventually(format!("the webhook may register: {may}"), async || {
            let name = format!("mutatingwebhookconfigurations/{ROLE}");
            let said = self.cluster.kubectl(["auth", "can-i", "patch", &name, USER]).await;
            ensure!(said.is_ok() == may, "{said:?}");
            Ok(())
        })
        .await;
        Ok(())
    }
}

/// Waits until the webhook has said that it can't register itself.
async fn says_so(webhook: &Replica) {
    eventually("the webhook says that it can't register itself", async || {
        ensure!(webhook.process.log().contains("can't patch MutatingWebhookConfiguration"), "it does not");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_trusted_stays_served_until_another_is() -> anyhow::Result<()> {
    let world = Arc::new(World::start().await?);
    let webhook = world.webhook("webhook", &["--certificate-overlap=1s"]).await?;
    let mut load = Load::on(&world, &[webhook.address]).await;
    let bundle = world.bundle().await?;
    let before = call(webhook.address, &bundle).await?.certificate;

    world.let_register(false).await?;
    world.secrets().delete(CERTIFICATE, &DeleteParams::default()).await?;
    says_so(&webhook).await;
    load.goes_on().await?;
    ensure!(world.bundle().await? == bundle, "it could register all the same");
    ensure!(call(webhook.address, &bundle).await?.certificate == before, "another certificate is served");
    ensure!(webhook.process.get("/readyz").await? == "ok\n", "it is not ready");

    world.let_register(true).await?;
    eventually("the next certificate is served", async || {
        load.check()?;
        let shown = call(webhook.address, &world.bundle().await?).await?;
        ensure!(shown.certificate != before, "that of before is");
        Ok(())
    })
    .await;
    load.end().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_ready_whom_the_api_server_does_not_trust() -> anyhow::Result<()> {
    let world = World::start().await?;
    world.let_register(false).await?;
    let webhook = world.webhook("webhook", &[]).await?;
    says_so(&webhook).await;
    let error = webhook.process.get("/readyz").await.unwrap_err();
    ensure!(error.to_string().contains("registration: "), "{error}");
    world.let_register(true).await?;
    world.is_reviewed().await;
    eventually("it is ready", async || webhook.process.get("/readyz").await).await;
    Ok(())
}

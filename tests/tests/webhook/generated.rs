//! Certificates that the webhook generates, and damage to their Secret.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use base64::prelude::{BASE64_STANDARD, Engine};
use kube::api::{DeleteParams, Patch, PatchParams};
use mcsa_credentials::contract::webhook::CERTIFICATE;
use mcsa_tests::{eventually, eventually_within};
use serde_json::{Value, json};

use super::client::call;
use super::fixture::{Fixture, Replica};
use super::load::Load;

/// Two replicas that serve the same certificate.
async fn two_replicas(flags: &[&str]) -> anyhow::Result<(Arc<Fixture>, [Replica; 2])> {
    let fixture = Arc::new(Fixture::start().await?);
    let (one, other) = tokio::try_join!(fixture.webhook("one", flags), fixture.webhook("other", flags))?;
    let replicas = [one, other];
    eventually("both are trusted", async || served_by_both(&fixture, &replicas).await.map(drop)).await;
    Ok((fixture, replicas))
}

/// The trusted certificate that both replicas serve.
async fn served_by_both(fixture: &Fixture, [one, other]: &[Replica; 2]) -> anyhow::Result<Vec<u8>> {
    let bundle = fixture.bundle().await?;
    let (one, other) = tokio::try_join!(call(one.address, &bundle), call(other.address, &bundle))?;
    ensure!(one.certificate == other.certificate, "they serve different certificates");
    Ok(one.certificate.to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn renewals_fail_no_request() -> anyhow::Result<()> {
    let flags = ["--certificate-lifetime=27s", "--certificate-overlap=1s"];
    let (fixture, replicas) = two_replicas(&flags).await?;
    let mut load = Load::on(&fixture, &replicas.each_ref().map(|replica| replica.address)).await;
    let (authority, bundle) = (fixture.authority().await?, fixture.bundle().await?);
    let mut before = served_by_both(&fixture, &replicas).await?;
    for _ in 0..2 {
        before = eventually_within(Duration::from_secs(90), "both serve another certificate", async || {
            load.check()?;
            let now = served_by_both(&fixture, &replicas).await?;
            ensure!(now != before, "they serve the previous certificate");
            Ok(now)
        })
        .await;
    }
    let [one, other] = &load.end().await?[..] else { anyhow::bail!("not two replicas") };
    ensure!(one.len() >= 3 && one == other, "{} and {} certificates were served", one.len(), other.len());
    ensure!(fixture.authority().await? == authority, "the authority was replaced");
    ensure!(fixture.bundle().await? == bundle, "the CA bundle has changed");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_or_damaged_secret_is_restored() -> anyhow::Result<()> {
    let (fixture, replicas) = two_replicas(&["--certificate-overlap=1s"]).await?;
    let mut load = Load::on(&fixture, &replicas.each_ref().map(|replica| replica.address)).await;
    let (served, bundle) = (served_by_both(&fixture, &replicas).await?, fixture.bundle().await?);
    let before = fixture.secrets().get(CERTIFICATE).await?.data;
    let damage = |data: Value| Some(json!({ "metadata": { "labels": { "own": "label" } }, "data": data }));
    for damaged in [
        None,
        damage(json!({ "tls.key": "eA==" })),
        damage(json!({ "tls.crt": "eA==" })),
        damage(json!({ "ca.crt": "" })),
        damage(json!({ "ca.key": null })),
        damage(json!({ "ca.crt": null, "ca.key": "eA==", "tls.crt": "", "tls.key": "" })),
    ] {
        match &damaged {
            None => drop(fixture.secrets().delete(CERTIFICATE, &DeleteParams::default()).await?),
            Some(patch) => {
                fixture.secrets().patch(CERTIFICATE, &PatchParams::default(), &Patch::Merge(patch)).await?;
            }
        }
        eventually("the Secret is restored", async || {
            load.check()?;
            let secret = fixture.secrets().get(CERTIFICATE).await?;
            ensure!(secret.data == before, "it has other contents");
            let labels = secret.metadata.labels.unwrap_or_default();
            ensure!(damaged.is_none() || labels.contains_key("own"), "a label was removed");
            Ok(())
        })
        .await;
        ensure!(served_by_both(&fixture, &replicas).await? == served, "another certificate is served");
        ensure!(fixture.bundle().await? == bundle, "another authority is trusted");
    }
    let mut keys = vec![fixture.secret_value("tls.key").await?, fixture.secret_value("ca.key").await?];

    // The replicas adopt another authority, and then forget the first.
    let authority = fixture.put_other_authority().await?;
    eventually("both serve a certificate of the other authority", async || {
        load.check()?;
        ensure!(fixture.bundle().await? == authority, "it is not the only one that is trusted");
        ensure!(served_by_both(&fixture, &replicas).await? != served, "the previous certificate is served");
        Ok(())
    })
    .await;
    ensure!(fixture.authority().await? == authority, "the other authority was replaced");
    load.end().await?;

    keys.extend([fixture.secret_value("tls.key").await?, fixture.secret_value("ca.key").await?]);
    for log in replicas.each_ref().map(|replica| replica.process.log()) {
        ensure!(log.contains("TRACE"), "the log is not at trace level");
        for key in &keys {
            // In PEM, and in base64 as in a Secret.
            let line = key.lines().nth(1).context("a key of one line")?;
            let encoded = BASE64_STANDARD.encode(key);
            ensure!(!log.contains(line) && !log.contains(&encoded[40..120]), "the log contains a key");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn restarted_webhook_needs_the_key_of_the_authority() -> anyhow::Result<()> {
    let fixture = Fixture::start().await?;
    let flags = ["--certificate-overlap=1s"];
    let first = fixture.webhook("first", &flags).await?;
    fixture.reviews_pods().await;
    let bundle = fixture.bundle().await?;
    let before = call(first.address, &bundle).await?.certificate;
    first.process.kill();

    let second = fixture.webhook("second", &flags).await?;
    fixture.reviews_pods().await;
    ensure!(fixture.bundle().await? == bundle, "another authority is trusted");
    ensure!(call(second.address, &bundle).await?.certificate == before, "another certificate is served");
    second.process.kill();

    let no_key = json!({ "data": { "ca.key": null } });
    fixture.secrets().patch(CERTIFICATE, &PatchParams::default(), &Patch::Merge(no_key)).await?;
    let third = fixture.webhook("third", &flags).await?;
    eventually("another authority is trusted", async || {
        let (stored, bundle) = (fixture.authority().await?, fixture.bundle().await?);
        ensure!(stored == bundle && stored.matches("BEGIN").count() == 1, "the previous one is");
        ensure!(
            call(third.address, &bundle).await?.certificate != before,
            "the previous certificate is served"
        );
        Ok(())
    })
    .await;
    fixture.review().await
}

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
async fn rotations_fail_no_request() -> anyhow::Result<()> {
    let flags = ["--certificate-lifetime=27s", "--certificate-overlap=1s"];
    let (fixture, replicas) = two_replicas(&flags).await?;
    let mut load = Load::on(&fixture, &replicas.each_ref().map(|replica| replica.address)).await;
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
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_or_damaged_secret_fails_no_request() -> anyhow::Result<()> {
    let (fixture, replicas) = two_replicas(&["--certificate-overlap=1s"]).await?;
    let mut load = Load::on(&fixture, &replicas.each_ref().map(|replica| replica.address)).await;
    let mut keys = vec![fixture.secret_value("tls.key").await?];
    let damage = |data: Value| Some(json!({ "metadata": { "labels": { "own": "label" } }, "data": data }));
    for damaged in [
        None,
        damage(json!({ "tls.key": "eA==" })),
        damage(json!({ "tls.crt": "eA==" })),
        damage(json!({ "ca.crt": "" })),
        damage(json!({ "ca.crt": null, "tls.crt": "", "tls.key": "" })),
    ] {
        let before = served_by_both(&fixture, &replicas).await?;
        match &damaged {
            None => drop(fixture.secrets().delete(CERTIFICATE, &DeleteParams::default()).await?),
            Some(patch) => {
                fixture.secrets().patch(CERTIFICATE, &PatchParams::default(), &Patch::Merge(patch)).await?;
            }
        }
        eventually("the rotation to another certificate has finished", async || {
            load.check()?;
            ensure!(
                served_by_both(&fixture, &replicas).await? != before,
                "the previous certificate is served"
            );
            ensure!(fixture.secret_value("next.crt").await.is_err(), "another rotation is in progress");
            let (stored, bundle) = (fixture.secret_value("ca.crt").await?, fixture.bundle().await?);
            ensure!(stored == bundle, "another authority is trusted");
            ensure!(stored.matches("BEGIN").count() == 1, "more than one authority is trusted");
            Ok(())
        })
        .await;
        let labels = fixture.secrets().get(CERTIFICATE).await?.metadata.labels.unwrap_or_default();
        ensure!(damaged.is_none() || labels.contains_key("own"), "a label was removed");
        keys.push(fixture.secret_value("tls.key").await?);
    }
    load.end().await?;
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
async fn restarted_webhook_continues_the_rotation() -> anyhow::Result<()> {
    let fixture = Fixture::start().await?;
    let long_overlap = ["--certificate-overlap=1h"];
    let first = fixture.webhook("first", &long_overlap).await?;
    fixture.reviews_pods().await;
    let before = call(first.address, &fixture.bundle().await?).await?.certificate;
    // Starts a rotation that takes hours.
    fixture.secrets().delete(CERTIFICATE, &DeleteParams::default()).await?;
    let next =
        eventually("another certificate is prepared", async || fixture.secret_value("next.crt").await).await;
    first.process.kill();

    let second = fixture.webhook("second", &long_overlap).await?;
    fixture.reviews_pods().await;
    let bundle = fixture.bundle().await?;
    ensure!(bundle.matches("BEGIN").count() == 2, "{bundle}");
    ensure!(call(second.address, &bundle).await?.certificate == before, "another certificate is served");
    ensure!(fixture.secret_value("next.crt").await? == next, "another certificate is prepared again");
    second.process.kill();

    let third = fixture.webhook("third", &["--certificate-overlap=1s"]).await?;
    eventually("the rotation has finished", async || {
        ensure!(fixture.secret_value("tls.crt").await? == next, "it is not");
        ensure!(fixture.bundle().await?.matches("BEGIN").count() == 1, "the old authority is trusted");
        ensure!(call(third.address, &fixture.bundle().await?).await?.certificate != before, "not served");
        Ok(())
    })
    .await;
    fixture.review().await
}

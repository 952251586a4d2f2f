//! Certificates that the webhook makes, and what becomes of the Secret that they are kept in.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use base64::prelude::{BASE64_STANDARD, Engine};
use kube::api::{DeleteParams, Patch, PatchParams};
use mcsa_credentials::contract::webhook::CERTIFICATE;
use mcsa_tests::{eventually, eventually_within};
use serde_json::{Value, json};

use super::client::call;
use super::load::Load;
use super::world::{Replica, World};

/// Two replicas that serve the same certificate.
async fn two(flags: &[&str]) -> anyhow::Result<(Arc<World>, [Replica; 2])> {
    let world = Arc::new(World::start().await?);
    let (one, other) = tokio::try_join!(world.webhook("one", flags), world.webhook("other", flags))?;
    let replicas = [one, other];
    eventually("both are trusted", async || both_show(&world, &replicas).await.map(drop)).await;
    Ok((world, replicas))
}

/// The certificate that both show, whom the API server trusts with it.
async fn both_show(world: &World, [one, other]: &[Replica; 2]) -> anyhow::Result<Vec<u8>> {
    let bundle = world.bundle().await?;
    let (one, other) = tokio::try_join!(call(one.address, &bundle), call(other.address, &bundle))?;
    ensure!(one.certificate == other.certificate, "they show different certificates");
    Ok(one.certificate.to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn rotations_fail_no_request() -> anyhow::Result<()> {
    let flags = ["--certificate-lifetime=27s", "--certificate-overlap=1s"];
    let (world, replicas) = two(&flags).await?;
    let mut load = Load::on(&world, &replicas.each_ref().map(|replica| replica.address)).await;
    let mut before = both_show(&world, &replicas).await?;
    for _ in 0..2 {
        before = eventually_within(Duration::from_secs(90), "both serve another certificate", async || {
            load.check()?;
            let now = both_show(&world, &replicas).await?;
            ensure!(now != before, "they serve that of before");
            Ok(now)
        })
        .await;
    }
    let [one, other] = &load.end().await?[..] else { anyhow::bail!("not two replicas") };
    ensure!(one.len() >= 3 && one == other, "{} and {} certificates were served", one.len(), other.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_lost_fails_no_request() -> anyhow::Result<()> {
    let (world, replicas) = two(&["--certificate-overlap=1s"]).await?;
    let mut load = Load::on(&world, &replicas.each_ref().map(|replica| replica.address)).await;
    let mut keys = vec![world.kept("tls.key").await?];
    let spoil = |data: Value| Some(json!({ "metadata": { "labels": { "whose": "ours" } }, "data": data }));
    for spoilt in [
        None,
        spoil(json!({ "tls.key": "eA==" })),
        spoil(json!({ "tls.crt": "eA==" })),
        spoil(json!({ "ca.crt": "" })),
        spoil(json!({ "ca.crt": null, "tls.crt": "", "tls.key": "" })),
    ] {
        let before = both_show(&world, &replicas).await?;
        match &spoilt {
            None => drop(world.secrets().delete(CERTIFICATE, &DeleteParams::default()).await?),
            Some(patch) => {
                world.secrets().patch(CERTIFICATE, &PatchParams::default(), &Patch::Merge(patch)).await?;
            }
        }
        eventually("the rotation to another certificate is over", async || {
            load.check()?;
            ensure!(both_show(&world, &replicas).await? != before, "that of before is served");
            ensure!(world.kept("next.crt").await.is_err(), "another one is to come");
            let (kept, bundle) = (world.kept("ca.crt").await?, world.bundle().await?);
            ensure!(kept == bundle, "another authority is trusted");
            ensure!(kept.matches("BEGIN").count() == 1, "more than one authority is trusted");
            Ok(())
        })
        .await;
        let labels = world.secrets().get(CERTIFICATE).await?.metadata.labels.unwrap_or_default();
        ensure!(spoilt.is_none() || labels.contains_key("whose"), "someone's label is gone");
        keys.push(world.kept("tls.key").await?);
    }
    load.end().await?;
    for log in replicas.each_ref().map(|replica| replica.process.log()) {
        ensure!(log.contains("TRACE"), "the log is not at trace level");
        for key in &keys {
            // As it stands in a file, and in a Secret.
            let line = key.lines().nth(1).context("a key of one line")?;
            let encoded = BASE64_STANDARD.encode(key);
            ensure!(!log.contains(line) && !log.contains(&encoded[40..120]), "a key stands in the log");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_from_the_secret() -> anyhow::Result<()> {
    let world = World::start().await?;
    let patient = ["--certificate-overlap=1h"];
    let first = world.webhook("first", &patient).await?;
    world.is_reviewed().await;
    let before = call(first.address, &world.bundle().await?).await?.certificate;
    // A rotation that takes hours.
    world.secrets().delete(CERTIFICATE, &DeleteParams::default()).await?;
    let next = eventually("another certificate is prepared", async || world.kept("next.crt").await).await;
    first.process.kill();

    let second = world.webhook("second", &patient).await?;
    world.is_reviewed().await;
    let bundle = world.bundle().await?;
    ensure!(bundle.matches("BEGIN").count() == 2, "{bundle}");
    ensure!(call(second.address, &bundle).await?.certificate == before, "another certificate is served");
    ensure!(world.kept("next.crt").await? == next, "another certificate is prepared again");
    second.process.kill();

    let third = world.webhook("third", &["--certificate-overlap=1s"]).await?;
    eventually("the rotation is over", async || {
        ensure!(world.kept("tls.crt").await? == next, "it is not");
        ensure!(world.bundle().await?.matches("BEGIN").count() == 1, "the old authority is trusted");
        ensure!(call(third.address, &world.bundle().await?).await?.certificate != before, "not served");
        Ok(())
    })
    .await;
    world.review().await
}

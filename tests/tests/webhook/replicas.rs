//! Rollouts of the webhook lose no request.

use std::sync::Arc;

use anyhow::ensure;
use mcsa_tests::eventually;

use super::fixture::Fixture;
use super::load::Load;

#[tokio::test(flavor = "multi_thread")]
async fn rollout_under_load_fails_no_request() -> anyhow::Result<()> {
    let fixture = Arc::new(Fixture::start().await?);
    let (kubeconfig, url) = (fixture.kubeconfig().await?, fixture.url());
    let replica = async |name: &str| {
        let replica = fixture.replica(name, &kubeconfig, &["--url", &url, "--shutdown-delay", "600"]).await?;
        eventually(format!("{name} is ready"), async || replica.process.get("/readyz").await).await;
        anyhow::Ok(replica)
    };
    let mut serving = replica("one").await?;
    fixture.proxy.redirect_new_connections(serving.address);
    let mut load = Load::on(&fixture, &[]).await;
    load.continues().await?;
    for name in ["two", "three"] {
        let next = replica(name).await?;
        // Like a deleted pod, it gets SIGTERM before other components have removed it from the Service.
        serving.process.send_sigterm()?;
        eventually("it is no longer ready", async || match serving.process.get("/readyz").await {
            Ok(_) => Err("it is ready".to_owned()),
            Err(error) if error.to_string().contains("stopping") => Ok(()),
            Err(error) => Err(error.to_string()),
        })
        .await;
        load.continues().await?;
        fixture.proxy.redirect_new_connections(next.address);
        load.continues().await?;
        // A second signal ends the shutdown delay.
        let ended = serving.process.terminate().await?;
        ensure!(ended.success(), "it ended with {ended}: {}", serving.process.log_tail(5));
        load.continues().await?;
        let reviews = next.process.scrape().await?.value("mcsa_webhook_reviews_total", "patched");
        ensure!(reviews > Some(0.0), "the next replica was not called: {reviews:?}");
        serving = next;
    }
    load.end().await.map(drop)
}

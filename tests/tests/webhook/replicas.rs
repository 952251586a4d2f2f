//! Rollouts.

use std::sync::Arc;

use anyhow::ensure;
use mcsa_tests::eventually;

use super::load::Load;
use super::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn rollout_under_load_fails_no_request() -> anyhow::Result<()> {
    let world = Arc::new(World::start().await?);
    let (kubeconfig, url) = (world.kubeconfig().await?, world.url());
    let replica = async |name: &str| {
        let replica = world.replica(name, &kubeconfig, &["--url", &url, "--shutdown-delay", "600"]).await?;
        eventually(format!("{name} is ready"), async || replica.process.get("/readyz").await).await;
        anyhow::Ok(replica)
    };
    let mut serving = replica("one").await?;
    world.proxy.redirect_new_connections(serving.address);
    let mut load = Load::on(&world, &[]).await;
    load.continues().await?;
    for name in ["two", "three"] {
        let next = replica(name).await?;
        // Like a deleted pod: it gets SIGTERM, while other components remove it from the Service, which may take a while.
        serving.process.send_sigterm()?;
        eventually("it is no longer ready", async || match serving.process.get("/readyz").await {
            Ok(_) => Err("it is ready".to_owned()),
            Err(error) if error.to_string().contains("stopping") => Ok(()),
            Err(error) => Err(error.to_string()),
        })
        .await;
        load.continues().await?;
        world.proxy.redirect_new_connections(next.address);
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

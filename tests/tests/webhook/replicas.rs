//! Replicas that come and go.

use std::sync::Arc;

use anyhow::ensure;
use mcsa_tests::eventually;

use super::load::Load;
use super::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_roll_out_under_load_fails_no_request() -> anyhow::Result<()> {
    let world = Arc::new(World::start().await?);
    let (kubeconfig, url) = (world.kubeconfig().await?, world.url());
    let replica = async |name: &str| {
        let replica = world.replica(name, &kubeconfig, &["--url", &url, "--shutdown-delay", "600"]).await?;
        eventually(format!("{name} is ready"), async || replica.process.get("/readyz").await).await;
        anyhow::Ok(replica)
    };
    let mut serving = replica("one").await?;
    world.proxy.lead_to(serving.address);
    let mut load = Load::on(&world, &[]).await;
    load.goes_on().await?;
    for name in ["two", "three"] {
        let next = replica(name).await?;
        // As a kubelet ends a pod: it is told, and taken from the Service by others, who may be slow.
        serving.process.ask_to_end()?;
        eventually("it is not ready any more", async || match serving.process.get("/readyz").await {
            Ok(_) => Err("it says that it is".to_owned()),
            Err(error) if error.to_string().contains("stopping") => Ok(()),
            Err(error) => Err(error.to_string()),
        })
        .await;
        load.goes_on().await?;
        world.proxy.lead_to(next.address);
        load.goes_on().await?;
        // What the kubelet would wait for is over at once by another signal.
        let ended = serving.process.terminate().await?;
        ensure!(ended.success(), "it ended with {ended}: {}", serving.process.log_tail(5));
        load.goes_on().await?;
        let reviews = next.process.scrape().await?.value("mcsa_webhook_reviews_total", "patched");
        ensure!(reviews > Some(0.0), "the next replica was not called: {reviews:?}");
        serving = next;
    }
    load.end().await.map(drop)
}

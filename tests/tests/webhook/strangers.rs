//! Clients other than the API server reach the webhook: they send bodies that don't end, or nothing.

use anyhow::{Context, ensure};
use mcsa_credentials::contract::webhook::PATH;
use mcsa_tests::{Fault, eventually, send_unfinished_bodies};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::client::call;
use super::fixture::Fixture;

/// Most memory that strangers may use: half of the limit in the webhook's Deployment.
const MAX_KIB: u64 = 64 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn strangers_use_little_memory_and_do_not_keep_out_the_api_server() -> anyhow::Result<()> {
    let fixture = Fixture::start().await?;
    let replica = fixture.webhook("webhook", &[]).await?;
    fixture.reviews_pods().await;
    let bundle = fixture.bundle().await?;
    let initial = replica.process.peak_kib().context("the webhook has ended")?;

    // The API server has the same address as the strangers, and they are many more than the webhook serves.
    let mut silent = Vec::new();
    for _ in 0..1_000 {
        silent.push(TcpStream::connect(replica.address).await?);
    }
    fixture.review().await?;
    let mut floods = JoinSet::new();
    for _ in 0..500 {
        let (address, bundle) = (replica.address, bundle.clone());
        floods.spawn(async move {
            let stream = call(address, &bundle).await?.stream;
            // It ends when the webhook closes the connection.
            send_unfinished_bodies(stream, PATH).await.map(drop)
        });
    }
    for _ in 0..50 {
        fixture.review().await?;
    }
    fixture.proxy.set(Fault::Cut);
    fixture.proxy.set(Fault::Pass);
    eventually("the API server connects again", async || fixture.review().await).await;
    for _ in 0..50 {
        fixture.review().await?;
    }
    while let Some(evicted) = floods.try_join_next() {
        drop(evicted?);
    }
    ensure!(floods.len() > 10, "{} of the floods have not ended", floods.len());
    let peak = replica.process.peak_kib().context("the webhook has ended")?;
    ensure!(peak < initial + MAX_KIB, "{initial} KiB before, {peak} KiB at the peak");
    Ok(())
}

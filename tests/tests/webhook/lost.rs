//! An API server that is lost.

use anyhow::{Context, ensure};
use kube::config::Kubeconfig;
use mcsa_tests::{Fault, Proxy, eventually, kubeconfig_at, pod_lister_import};

use super::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn it_decides_from_its_cache_and_says_so() -> anyhow::Result<()> {
    let world = World::start().await?;
    let way = Proxy::start(([127, 0, 0, 1], world.cluster.port()).into()).await?;
    let kubeconfig = kubeconfig_at(Kubeconfig::read_from(world.kubeconfig().await?)?, &way.url());
    let path = world.cluster.dir().join("by-proxy.kubeconfig");
    std::fs::write(&path, serde_saphyr::to_string(&kubeconfig)?)?;
    let replica = world.replica("webhook", &path, &["--url", &world.url()]).await?.process;
    world.proxy.lead_to(replica.address("listening")?);
    world.is_reviewed().await;
    let metric = async |name: &str| {
        let value = replica.scrape().await?.value(&format!("mcsa_webhook_{name}"), "");
        value.with_context(|| format!("no {name}"))
    };
    ensure!(metric("imports").await? == 1.0);

    way.set(Fault::Hang);
    world.imports.create(&pod_lister_import("b", "nowhere", "default")).await?;
    world.review().await.context("the cache is of no use")?;
    // It can't know of that one, and does not say that it is not there.
    let denied = world.review_of("b").await.err().context("it knows what it can't know")?.to_string();
    ensure!(denied.contains("can't look up ServiceAccountImport") && denied.contains("/b: "), "{denied}");
    let reviews = replica.scrape().await?.value("mcsa_webhook_reviews_total", "unknown");
    ensure!(reviews == Some(1.0), "{reviews:?} reviews with an unknown import");
    eventually("its cache grows old", async || {
        let age = metric("cache_age_seconds").await?;
        ensure!(age > 3.0, "{age} s old");
        Ok(())
    })
    .await;
    ensure!(replica.get("/readyz").await? == "ok\n", "others would know no more");

    way.set(Fault::Cut);
    eventually("its cache knows of the other import", async || {
        let known = metric("imports").await?;
        ensure!(known == 2.0, "{known} are known");
        Ok(())
    })
    .await;
    ensure!(metric("cache_age_seconds").await? < 100.0, "it does not say that it is young again");
    world.review_of("b").await
}

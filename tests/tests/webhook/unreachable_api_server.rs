//! An unreachable API server.

use anyhow::{Context, ensure};
use kube::config::Kubeconfig;
use mcsa_tests::{Fault, Proxy, eventually, kubeconfig_with_server, pod_lister_import};

use super::fixture::Fixture;

#[tokio::test(flavor = "multi_thread")]
async fn cached_imports_are_mounted_without_the_api_server() -> anyhow::Result<()> {
    let fixture = Fixture::start().await?;
    let to_api_server = Proxy::start(([127, 0, 0, 1], fixture.cluster.port()).into()).await?;
    let kubeconfig =
        kubeconfig_with_server(Kubeconfig::read_from(fixture.kubeconfig().await?)?, &to_api_server.url());
    let path = fixture.cluster.dir().join("by-proxy.kubeconfig");
    std::fs::write(&path, serde_saphyr::to_string(&kubeconfig)?)?;
    let replica = fixture.replica("webhook", &path, &["--url", &fixture.url()]).await?.process;
    fixture.proxy.redirect_new_connections(replica.logged_address("listening")?);
    fixture.reviews_pods().await;
    let metric = async |name: &str| {
        let value = replica.scrape().await?.value(&format!("mcsa_webhook_{name}"), "");
        value.with_context(|| format!("no {name}"))
    };
    ensure!(metric("imports").await? == 1.0);

    to_api_server.set(Fault::Hang);
    fixture.imports.create(&pod_lister_import("b", "nowhere", "default")).await?;
    fixture.review().await.context("a cached import is not mounted")?;
    // It can't look up the new import, and does not report it as missing.
    let denied =
        fixture.review_of("b").await.err().context("the new import is not in the cache")?.to_string();
    ensure!(denied.contains("can't look up ServiceAccountImport") && denied.contains("/b: "), "{denied}");
    let reviews = replica.scrape().await?.value("mcsa_webhook_reviews_total", "unknown");
    ensure!(reviews == Some(1.0), "{reviews:?} reviews with an unknown import");
    eventually("the age of the cache grows", async || {
        let age = metric("cache_age_seconds").await?;
        ensure!(age > 3.0, "{age} s old");
        Ok(())
    })
    .await;
    ensure!(
        replica.get("/readyz").await? == "ok\n",
        "it is not ready, although other replicas are no better"
    );

    to_api_server.set(Fault::Cut);
    eventually("the other import is in the cache", async || {
        let cached = metric("imports").await?;
        ensure!(cached == 2.0, "{cached} imports are cached");
        Ok(())
    })
    .await;
    ensure!(metric("cache_age_seconds").await? < 100.0, "the age of the cache is not reset");
    fixture.review_of("b").await
}

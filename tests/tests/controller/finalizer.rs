//! With a finalizer, an owner outlives its children.

use mcsa_tests::{Fault, Proxy, kubeconfig_with_server};
use rstest::rstest;

use super::*;

const FINALIZER: &str = "example.com/copies";

#[rstest]
#[case::in_a_cluster_that_refuses("finalizer", Fault::Refuse)]
#[case::in_a_cluster_that_is_unresponsive("finalizer-silent", Fault::Hang)]
#[tokio::test(flavor = "multi_thread")]
async fn an_owner_waits_until_its_children_are_gone(
    #[case] namespace: &str,
    #[case] fault: Fault,
) -> anyhow::Result<()> {
    let fixture = Fixture::new(namespace).await?;
    let (o1, o2) = (fixture.objects(fixture.c1), fixture.objects(fixture.c2));
    let proxy = Proxy::start(([127, 0, 0, 1], fixture.c2.port()).into()).await?;
    let c2 = mcsa_tests::client(kubeconfig_with_server(fixture.c2.kubeconfig_value(), &proxy.url()))?;
    let clusters = Clusters::fixed([("c1", fixture.c1.client()), ("c2", c2)]);
    let recorder = Recorder::copying(&clusters);
    let running = Running::start(fixture.owners(&clusters).finalizer(FINALIZER), &recorder);
    o1.create("a").await?;
    o2.has_child("a").await;
    ensure!(o1.parents.get("a").await?.finalizers().contains(&FINALIZER.to_owned()));

    proxy.set(fault);
    let started = recorder.count(&fixture.key("c1", "a"));
    o1.delete("a").await?;
    running.result(&["error", &format!("finalizing c1/{namespace}/a: in cluster c2")]).await;
    ensure!(o1.parents.get("a").await?.metadata.deletion_timestamp.is_some());
    o2.children.get("a").await?;
    proxy.set(Fault::Pass);
    eventually("the owner is gone", async || {
        ensure!(o1.parents.get_opt("a").await?.is_none(), "it still exists");
        Ok(())
    })
    .await;
    ensure!(o2.children.get_opt("a").await?.is_none(), "it outlives its owner");
    ensure!(recorder.count(&fixture.key("c1", "a")) == started, "it was reconciled while it was deleted");
    Ok(())
}

//! An unreachable cluster, beside one that responds.

use mcsa_tests::{Fault, Proxy, kubeconfig_with_server};
use rstest::rstest;

use super::*;

/// Two clusters, `c2` behind a proxy.
async fn behind_a_proxy(fixture: &Fixture, fault: Fault) -> anyhow::Result<(Clusters, Proxy)> {
    let proxy = Proxy::start(([127, 0, 0, 1], fixture.c2.port()).into()).await?;
    proxy.set(fault);
    let c2 = mcsa_tests::client(kubeconfig_with_server(fixture.c2.kubeconfig_value(), &proxy.url()))?;
    Ok((Clusters::fixed([("c1", fixture.c1.client()), ("c2", c2)]), proxy))
}

#[rstest]
#[case::that_refuses("refusal", Fault::Refuse)]
#[case::that_is_unresponsive("silence", Fault::Hang)]
#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_cluster_does_not_delay_others_and_is_listed_once_it_responds(
    #[case] namespace: &str,
    #[case] fault: Fault,
) -> anyhow::Result<()> {
    let fixture = Fixture::new(namespace).await?;
    let (o1, o2) = (fixture.objects(fixture.c1), fixture.objects(fixture.c2));
    o2.create("stays").await?;
    o2.create("goes").await?;
    let (clusters, proxy) = behind_a_proxy(&fixture, Fault::Pass).await?;
    let controller = fixture.parents(&clusters);
    let (stores, recorder) = (controller.stores(), Arc::<Recorder>::default());
    let running = Running::start(controller, &recorder);
    recorder.started(&fixture.key("c2", "stays"), 1).await;
    recorder.started(&fixture.key("c2", "goes"), 1).await;

    proxy.set(fault);
    match fault {
        Fault::Hang => wait_until_unresponsive(&clusters, "c2").await,
        _ => drop(running.result(&["error", "watching ConfigMap in cluster c2"]).await),
    }
    o1.create("a").await?;
    recorder.started(&fixture.key("c1", "a"), 1).await;
    o2.delete("goes").await?;
    o2.create("comes").await?;
    // The network has forgotten the connections that hang, so neither end notices that they are dead.
    proxy.freeze_connections();
    proxy.set(Fault::Pass);
    recorder.started(&fixture.key("c2", "comes"), 1).await;
    let gone = Key::new("c2", Some(namespace), "goes");
    eventually("the deleted object leaves the store", async || {
        stores.get(&gone).is_none().then_some(()).context("it is in the store")
    })
    .await;
    ensure!(recorder.count(&fixture.key("c2", "stays")) == 1, "{:?}", recorder.started.lock());
    ensure!(
        running
            .metric(r#"multicluster_controller_watch_interruptions_total{cluster="c2",kind="ConfigMap"}"#)?
            > 0.0
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_unresponsive_at_start_is_listed_once_it_responds() -> anyhow::Result<()> {
    let fixture = Fixture::new("mute").await?;
    let (o1, o2) = (fixture.objects(fixture.c1), fixture.objects(fixture.c2));
    let (clusters, proxy) = behind_a_proxy(&fixture, Fault::Hang).await?;
    let recorder = Arc::<Recorder>::default();
    let _running = Running::start(fixture.parents(&clusters), &recorder);
    o1.create("a").await?;
    o2.create("a").await?;
    recorder.started(&fixture.key("c1", "a"), 1).await;
    wait_until_unresponsive(&clusters, "c2").await;
    proxy.freeze_connections();
    proxy.set(Fault::Pass);
    recorder.started(&fixture.key("c2", "a"), 1).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_watch_is_reported_and_retried() -> anyhow::Result<()> {
    let fixture = Fixture::new("refused").await?;
    let (o1, o2) = (fixture.objects(fixture.c1), fixture.objects(fixture.c2));
    fixture.c2.kubectl(["-n", "refused", "create", "serviceaccount", "later"]).await?;
    let c2 = fixture.c2.client_of("refused", "later").await?;
    let clusters = Clusters::fixed([("c1", fixture.c1.client()), ("c2", c2)]);
    let recorder = Arc::<Recorder>::default();
    let running = Running::start(fixture.parents(&clusters), &recorder);
    o1.create("a").await?;
    o2.create("a").await?;
    running.result(&["error", "watching ConfigMap in cluster c2", "forbidden"]).await;
    recorder.started(&fixture.key("c1", "a"), 1).await;
    ensure!(recorder.count(&fixture.key("c2", "a")) == 0);
    running.metric_is(r#"multicluster_controller_listed{cluster="c2"}"#, 0.0).await;
    let bind = [
        "-n",
        "refused",
        "create",
        "rolebinding",
        "later",
        "--clusterrole=edit",
        "--serviceaccount=refused:later",
    ];
    fixture.c2.kubectl(bind).await?;
    recorder.started(&fixture.key("c2", "a"), 1).await;
    ensure!(running.errors().len() < 10, "{:?}", running.errors());
    Ok(())
}

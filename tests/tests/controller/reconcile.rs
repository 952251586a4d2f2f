//! Which objects are reconciled, and when.

use anyhow::ensure;
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use mcsa_client::clusters::Member;
use tokio::sync::mpsc;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_all_clusters_are_reconciled() -> anyhow::Result<()> {
    let fixture = Fixture::new("all").await?;
    let (o1, o2) = (fixture.objects(fixture.c1), fixture.objects(fixture.c2));
    o1.create("a").await?;
    o2.create("a").await?;
    let clusters = fixture.clusters();
    let controller = fixture.parents(&clusters);
    let (stores, recorder) = (controller.stores(), Arc::<Recorder>::default());
    let running = Running::start(controller, &recorder);
    recorder.started(&fixture.key("c1", "a"), 1).await;
    recorder.started(&fixture.key("c2", "a"), 1).await;

    o2.create("b").await?;
    recorder.started(&fixture.key("c2", "b"), 1).await;
    o2.touch("a", "new").await?;
    recorder.started(&fixture.key("c2", "a"), 2).await;
    let key = Key::new("c2", Some("all"), "a");
    let seen = stores.get(&key).context("it is not in the store")?;
    ensure!(seen.data.as_ref().is_some_and(|data| data["value"] == "new"), "{seen:?}");
    ensure!(
        stores.cluster("c2").is_some_and(|store| store.len() == 2),
        "the store of c2 does not have two objects"
    );
    ensure!(stores.cluster("c3").is_none(), "c3 has a store");

    // A deleted object is not an error.
    o2.delete("a").await?;
    eventually("the object leaves the store", async || {
        stores.get(&key).is_none().then_some(()).context("it is in the store")
    })
    .await;
    ensure!(recorder.count(&fixture.key("c1", "a")) == 1, "{:?}", recorder.started.lock());
    ensure!(running.errors().is_empty(), "{:?}", running.errors());
    running.metric_is(r#"multicluster_controller_listed{cluster="c2"}"#, 1.0).await;
    running.metric_is(r#"multicluster_controller_queue_depth{cluster="c2"}"#, 0.0).await;
    let count = r#"multicluster_controller_reconciliations_total{cluster="c2",result="ok"}"#;
    ensure!(running.metric(count)? >= 3.0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn mapped_objects_and_streams_trigger_reconciliations() -> anyhow::Result<()> {
    let fixture = Fixture::new("others").await?;
    let (o1, o2) = (fixture.objects(fixture.c1), fixture.objects(fixture.c2));
    o1.create("a").await?;
    o1.create("b").await?;
    let (keys, resyncs) = (mpsc::channel(1), mpsc::channel(1));
    let concerns = |_: &Member, secret: Secret| {
        assert_ne!(secret.name_any(), "bad", "a mapper that panics");
        [Key::new("c1", secret.namespace().as_deref(), &secret.name_any())]
    };
    let controller = fixture
        .parents(&fixture.clusters())
        .members(|member| &**member.name() == "c1")
        .watches(watcher::Config::default(), concerns)
        .reconcile_on(received(keys.1))
        .reconcile_all_on(received(resyncs.1));
    let recorder = Arc::<Recorder>::default();
    let running = Running::start(controller, &recorder);
    let (a, b) = (fixture.key("c1", "a"), fixture.key("c1", "b"));
    recorder.started(&a, 1).await;
    recorder.started(&b, 1).await;

    for name in ["bad", "a"] {
        let secret = Secret {
            metadata: ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() },
            ..Secret::default()
        };
        o2.children.create(&PostParams::default(), &secret).await?;
    }
    recorder.started(&a, 2).await;
    running.result(&["error", "c2/others/bad", "a mapper that panics"]).await;
    for name in ["b", "none"] {
        keys.0.send(Key::new("c1", Some("others"), name)).await?;
    }
    recorder.started(&b, 2).await;
    resyncs.0.send(()).await?;
    recorder.started(&a, 3).await;
    recorder.started(&b, 3).await;
    ensure!(running.errors().len() == 1, "{:?}", running.errors());
    Ok(())
}

//! Orphans are deleted, and nothing else.

use mcsa_client::controller::Owner;
use mcsa_tests::{Fault, Proxy, kubeconfig_with_server};

use tokio::sync::mpsc;

use super::*;

const UNPROVEN: &str = r#"multicluster_controller_unproven_orphans{cluster="c2"}"#;

/// A parent `a` in `c1` with a child in `c2`. The controller that created the child has ended.
async fn family(fixture: &Fixture) -> anyhow::Result<(Objects, Objects)> {
    let (o1, o2) = (fixture.objects(fixture.c1), fixture.objects(fixture.c2));
    o1.create("a").await?;
    let clusters = fixture.clusters();
    let running = Running::start(fixture.owners(&clusters), &Recorder::copying(&clusters));
    o2.has_child("a").await;
    drop(running);
    Ok((o1, o2))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_is_deleted_after_its_owner() -> anyhow::Result<()> {
    let fixture = Fixture::new("deleted").await?;
    let (o1, o2) = (fixture.objects(fixture.c1), fixture.objects(fixture.c2));
    o1.create("a").await?;
    o1.create("b").await?;
    let clusters = fixture.clusters();
    let running = Running::start(fixture.owners(&clusters), &Recorder::copying(&clusters));
    o2.has_child("a").await;
    o2.has_child("b").await;
    o1.delete("a").await?;
    o2.has_no_child("a").await;
    o2.children.get("b").await?;
    ensure!(running.errors().is_empty(), "{:?}", running.errors());
    running.metric_is(r#"multicluster_controller_orphans_deleted_total{cluster="c2"}"#, 1.0).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_deleted_or_replaced_while_the_controller_is_down_is_observed() -> anyhow::Result<()> {
    let fixture = Fixture::new("down").await?;
    let (o1, o2) = family(&fixture).await?;
    let orphan = o2.children.get("a").await?;
    o1.delete("a").await?;
    let clusters = fixture.clusters();
    let running = Running::start(fixture.owners(&clusters), &Arc::default());
    o2.has_no_child("a").await;
    drop(running);

    // Another object with the owner's name is not the owner.
    let replaced = o1.create("a").await?;
    let mut copy = orphan.clone();
    copy.metadata = ObjectMeta {
        name: orphan.metadata.name,
        labels: orphan.metadata.labels,
        annotations: orphan.metadata.annotations,
        ..ObjectMeta::default()
    };
    o2.children.create(&PostParams::default(), &copy).await?;
    let _running = Running::start(fixture.owners(&clusters), &Arc::default());
    o2.has_no_child("a").await;
    ensure!(o1.parents.get("a").await?.metadata.uid == replaced.metadata.uid);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_created_after_its_owner_is_gone_is_deleted() -> anyhow::Result<()> {
    let fixture = Fixture::new("late").await?;
    let (o1, o2) = family(&fixture).await?;
    let child = o2.children.get("a").await?;
    let clusters = fixture.clusters();
    let running = Running::start(fixture.owners(&clusters), &Arc::default());
    o1.delete("a").await?;
    o2.has_no_child("a").await;
    let mut late = Secret::default();
    late.metadata.name = Some("late".into());
    late.metadata.labels = child.metadata.labels;
    late.metadata.annotations = child.metadata.annotations;
    o2.children.create(&PostParams::default(), &late).await?;
    o2.has_no_child("late").await;
    ensure!(running.errors().is_empty(), "{:?}", running.errors());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_child_is_deleted_while_the_owners_cluster_is_unreachable() -> anyhow::Result<()> {
    let fixture = Fixture::new("away").await?;
    let (o1, o2) = family(&fixture).await?;
    o1.delete("a").await?;
    let proxy = Proxy::start(([127, 0, 0, 1], fixture.c1.port()).into()).await?;
    proxy.set(Fault::Refuse);
    let c1 = mcsa_tests::client(kubeconfig_with_server(fixture.c1.kubeconfig_value(), &proxy.url()))?;
    let clusters = Clusters::fixed([("c1", c1), ("c2", fixture.c2.client())]);
    let running = Running::start(fixture.owners(&clusters), &Arc::default());
    running.result(&["error", "watching ConfigMap in cluster c1"]).await;
    running.metric_is(r#"multicluster_controller_events_total{cluster="c2",kind="Secret"}"#, 1.0).await;
    o2.children.get("a").await?;
    proxy.set(Fault::Pass);
    o2.has_no_child("a").await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_deleted_during_an_outage_is_observed() -> anyhow::Result<()> {
    let fixture = Fixture::new("unseen").await?;
    let (o1, o2) = family(&fixture).await?;
    let proxy = Proxy::start(([127, 0, 0, 1], fixture.c1.port()).into()).await?;
    let c1 = mcsa_tests::client(kubeconfig_with_server(fixture.c1.kubeconfig_value(), &proxy.url()))?;
    let clusters = Clusters::fixed([("c1", c1), ("c2", fixture.c2.client())]);
    let running = Running::start(fixture.owners(&clusters), &Arc::default());
    running.metric_is(r#"multicluster_controller_listed{cluster="c1"}"#, 1.0).await;
    proxy.set(Fault::Refuse);
    running.result(&["error", "watching ConfigMap in cluster c1"]).await;
    o1.delete("a").await?;
    o2.children.get("a").await?;
    proxy.set(Fault::Pass);
    o2.has_no_child("a").await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_child_is_deleted_because_of_a_response_of_another_cluster() -> anyhow::Result<()> {
    let fixture = Fixture::new("mistaken").await?;
    let (_, o2) = family(&fixture).await?;
    // This cluster has no parent `a`, but its UID is not that of the owner's cluster.
    let clusters = Clusters::fixed([("c1", fixture.c2.client()), ("c2", fixture.c2.client())]);
    let running = Running::start(fixture.owners(&clusters), &Arc::default());
    running.metric_is(UNPROVEN, 1.0).await;
    o2.children.get("a").await?;
    drop(running);

    // The owner's cluster is not a member.
    let clusters = Clusters::fixed([("c2", fixture.c2.client())]);
    let running = Running::start(fixture.owners(&clusters), &Arc::default());
    running.metric_is(UNPROVEN, 1.0).await;
    o2.children.get("a").await?;
    ensure!(running.metric(r#"multicluster_controller_orphans_deleted_total{cluster="c2"}"#).is_err());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_of_a_child_is_found_in_a_renamed_cluster() -> anyhow::Result<()> {
    let fixture = Fixture::new("renamed").await?;
    let (o1, o2) = family(&fixture).await?;
    let clusters = Clusters::fixed([("prod", fixture.c1.client()), ("c2", fixture.c2.client())]);
    let controller = fixture
        .parents(&clusters)
        .members(|member| &**member.name() == "prod")
        .owns::<Secret>(watcher::Config::default());
    let running = Running::start(controller, &Arc::default());
    running.result(&[&fixture.key("prod", "a")]).await;
    o2.children.get("a").await?;
    o1.delete("a").await?;
    o2.has_no_child("a").await;
    ensure!(running.errors().is_empty(), "{:?}", running.errors());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_child_is_deleted_if_its_owner_cannot_be_read() -> anyhow::Result<()> {
    let fixture = Fixture::new("forbidden").await?;
    let (o1, o2) = family(&fixture).await?;
    o1.delete("a").await?;
    for args in [
        &["-n", "forbidden", "create", "serviceaccount", "lister"][..],
        &[
            "-n",
            "forbidden",
            "create",
            "role",
            "lister",
            "--verb=list,watch",
            "--resource=configmaps,secrets",
        ],
        &[
            "-n",
            "forbidden",
            "create",
            "rolebinding",
            "lister",
            "--role=lister",
            "--serviceaccount=forbidden:lister",
        ],
        &["create", "clusterrole", "namespaces", "--verb=get", "--resource=namespaces"],
        &[
            "create",
            "clusterrolebinding",
            "namespaces",
            "--clusterrole=namespaces",
            "--serviceaccount=forbidden:lister",
        ],
    ] {
        fixture.c1.kubectl(args).await?;
    }
    let c1 = fixture.c1.client_of("forbidden", "lister").await?;
    let clusters = Clusters::fixed([("c1", c1), ("c2", fixture.c2.client())]);
    let running = Running::start(fixture.owners(&clusters), &Arc::default());
    running.metric_is(UNPROVEN, 1.0).await;
    o2.children.get("a").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_leader_deletes_orphans() -> anyhow::Result<()> {
    let fixture = Fixture::new("collector").await?;
    let (o1, o2) = family(&fixture).await?;
    o1.delete("a").await?;
    let clusters = fixture.clusters();
    let (leads, leadership) = mpsc::channel(1);
    let controller = fixture.owners(&clusters).run_while_leading(received(leadership));
    let running = Running::start(controller, &Arc::default());
    running.metric_is(r#"multicluster_controller_listed{cluster="c1"}"#, 1.0).await;
    running.metric_is(r#"multicluster_controller_events_total{cluster="c2",kind="Secret"}"#, 1.0).await;
    o2.children.get("a").await?;
    leads.send(true).await?;
    o2.has_no_child("a").await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_hangs_does_not_delay_deletions_for_others() -> anyhow::Result<()> {
    let fixture = Fixture::new("lanes").await?;
    let (o1, o2) = (fixture.objects(fixture.c1), fixture.objects(fixture.c2));
    o1.create("a").await?;
    let lost = o2.create("lost").await?;
    let identity = Api::<Namespace>::all(fixture.c2.client()).get("kube-system").await?.uid();
    let owner = Owner::new("hangs", &identity.context("kube-system has no UID")?, &lost, &())
        .context("the owner has no UID")?;
    o2.delete("lost").await?;

    let proxy = Proxy::start(([127, 0, 0, 1], fixture.c2.port()).into()).await?;
    let hangs = mcsa_tests::client(kubeconfig_with_server(fixture.c2.kubeconfig_value(), &proxy.url()))?;
    let clusters =
        Clusters::fixed([("c1", fixture.c1.client()), ("c2", fixture.c2.client()), ("hangs", hangs)]);
    let controller = fixture
        .parents(&clusters)
        .members(|member| &**member.name() != "c2")
        .owns::<Secret>(watcher::Config::default());
    let running = Running::start(controller, &Recorder::copying(&clusters));
    o2.has_child("a").await;
    running.metric_is(r#"multicluster_controller_listed{cluster="hangs"}"#, 1.0).await;
    proxy.set(Fault::Hang);
    // Enough orphans of the hanging cluster that deleting `a` would time out if all clusters shared a limit.
    for number in 0..40 {
        let mut late = Secret::default();
        late.metadata.name = Some(format!("late-{number}"));
        owner.apply_to(&mut late);
        o2.children.create(&PostParams::default(), &late).await?;
    }
    o1.delete("a").await?;
    o2.has_no_child("a").await;
    o2.children.get("late-0").await?;
    Ok(())
}

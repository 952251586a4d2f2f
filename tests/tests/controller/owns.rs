//! Objects that are owned by an object in another cluster.

use mcsa_client::controller::Owner;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_change_to_a_child_in_another_cluster_reconciles_its_owner() -> anyhow::Result<()> {
    let fixture = Fixture::new("owns").await?;
    let (o1, o2) = (fixture.objects(fixture.c1), fixture.objects(fixture.c2));
    let parent = o1.create("a").await?;
    let clusters = fixture.clusters();
    let recorder = Recorder::copying(&clusters);
    let running = Running::start(fixture.owners(&clusters), &recorder);
    o2.has_child("a").await;
    let owner =
        Owner::from_metadata(&o2.children.get("a").await?.metadata).context("the child has no owner")?;
    ensure!(owner.cluster == "c1" && Some(&owner.uid) == parent.metadata.uid.as_ref(), "{owner:?}");
    let uid = Api::<Namespace>::all(fixture.c1.client()).get("kube-system").await?.uid();
    ensure!(Some(owner.cluster_uid) == uid);

    // A deleted child is recreated.
    let before = recorder.count(&fixture.key("c1", "a"));
    o2.children.delete("a", &DeleteParams::default()).await?;
    recorder.started(&fixture.key("c1", "a"), before + 1).await;
    o2.has_child("a").await;
    ensure!(running.errors().is_empty(), "{:?}", running.errors());
    Ok(())
}

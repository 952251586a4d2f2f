//! Objects in one cluster that belong to objects in another.

use mcsa_client::controller::Owner;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_in_another_cluster_has_its_owner_reconciled() -> anyhow::Result<()> {
    let world = World::new("owns").await?;
    let (o1, o2) = (world.objects(world.c1), world.objects(world.c2));
    let parent = o1.create("a").await?;
    let clusters = world.clusters();
    let scene = Scene::copying(&clusters);
    let running = Running::start(world.owners(&clusters), &scene);
    o2.has_child("a").await;
    let owner = Owner::from_metadata(&o2.children.get("a").await?.metadata).context("it has no owner")?;
    ensure!(owner.cluster == "c1" && Some(&owner.uid) == parent.metadata.uid.as_ref(), "{owner:?}");
    let uid = Api::<Namespace>::all(world.c1.client()).get("kube-system").await?.uid();
    ensure!(Some(owner.cluster_uid) == uid);

    // Somebody deletes it: it comes back.
    let before = scene.count(&world.key("c1", "a"));
    o2.children.delete("a", &DeleteParams::default()).await?;
    scene.began(&world.key("c1", "a"), before + 1).await;
    o2.has_child("a").await;
    ensure!(running.errors().is_empty(), "{:?}", running.errors());
    Ok(())
}

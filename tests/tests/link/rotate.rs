//! `rotate`: another credential, and no import fails while it changes.

use anyhow::{Context, ensure};
use kube::Api;
use mcsa_client::ServiceAccountImport;
use mcsa_client::contract::{SYSTEM_NAMESPACE, key};
use mcsa_tests::{eventually, pod_lister_import};

use super::World;

#[tokio::test(flavor = "multi_thread")]
async fn no_import_fails_while_a_link_is_rotated() -> anyhow::Result<()> {
    let world = World::start().await?;
    let imports = world.accounts().await?;
    world.run(&["bootstrap"])?;
    let _daemons = world.daemons().await?;
    eventually("the importer has the link", async || world.links().ready("c2").await).await;

    for round in 0..2 {
        let before = world.links().values("c2-token").await?;
        let rotation = {
            let (kubeconfig, both) = (world.kubeconfig.clone(), super::BOTH);
            tokio::task::spawn_blocking(move || {
                mcsa_tests::kubemcsa_ok(&kubeconfig, ["rotate"].into_iter().chain(both))
            })
        };
        // Meanwhile there is something to mint all the time.
        let mut declared = 0;
        while !rotation.is_finished() {
            let name = format!("import-{round}-{declared}");
            imports.create(&pod_lister_import(&name, "c2", "team-a")).await?;
            let import =
                eventually("an import is ready or failed", async || settled(&imports.api, &name).await).await;
            let says = import.condition("Refreshed").context("it has a condition")?;
            ensure!(says.status == "True", "{name} failed: {}", says.message);
            declared += 1;
        }
        rotation.await??;
        ensure!(declared > 5, "only {declared} imports meanwhile");
        let after = world.links().values("c2-token").await?;
        ensure!(before[key::TOKEN] != after[key::TOKEN] && before[key::SERVER] == after[key::SERVER]);
        let left = world.source.kubectl(["-n", SYSTEM_NAMESPACE, "get", "secrets", "-o", "name"]).await?;
        ensure!(left.trim() == "secret/c1", "left: {left}");
    }
    // The importer goes on by itself: it has what it takes to refresh the link.
    world.links().condition("c2", "Refreshed", "True", None).await?;
    Ok(())
}

async fn settled(imports: &Api<ServiceAccountImport>, name: &str) -> anyhow::Result<ServiceAccountImport> {
    let import = imports.get(name).await?;
    ensure!(import.condition("Refreshed").is_some(), "nothing is said of it yet");
    Ok(import)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_t_be_rotated_says_what_to_run() -> anyhow::Result<()> {
    let world = World::start().await?;
    let said = world.refused(&["rotate"])?;
    ensure!(
        said.contains("there is no link to c2") && said.contains("kubemcsa bootstrap --target-context c1"),
        "{said}"
    );
    // Without an importer there is nobody to wait for, and it goes as well.
    world.run(&["bootstrap"])?;
    world.run(&["rotate"])?;
    world.source.kubectl(["-n", SYSTEM_NAMESPACE, "delete", "serviceaccount", "c1"]).await?;
    let said = world.refused(&["rotate"])?;
    ensure!(said.contains("the service account of c1 is gone"), "{said}");
    world.run(&["bootstrap"])?;
    world.run(&["rotate"]).map(drop)
}

//! `rotate`: replaces the link's credential, and no import fails meanwhile.

use anyhow::{Context, ensure};
use kube::Api;
use mcsa_client::ServiceAccountImport;
use mcsa_client::contract::{SYSTEM_NAMESPACE, key};
use mcsa_tests::{eventually, pod_lister_import};

use super::Fixture;

#[tokio::test(flavor = "multi_thread")]
async fn no_import_fails_while_a_link_is_rotated() -> anyhow::Result<()> {
    let fixture = Fixture::acquire().await?;
    let imports = fixture.accounts().await?;
    fixture.run(&["bootstrap"])?;
    let daemons = fixture.daemons().await?;
    eventually("the importer has the link", async || fixture.links().ready("c2").await).await;

    for round in 0..2 {
        let before = fixture.links().values("c2-token").await?;
        let rotation = {
            let (kubeconfig, both) = (fixture.kubeconfig.clone(), super::BOTH);
            tokio::task::spawn_blocking(move || {
                mcsa_tests::kubemcsa_ok(&kubeconfig, ["rotate"].into_iter().chain(both))
            })
        };
        // Meanwhile, the importer always has a token to request.
        let mut declared = 0;
        while !rotation.is_finished() {
            let name = format!("import-{round}-{declared}");
            imports.create(&pod_lister_import(&name, "c2", "team-a")).await?;
            let import =
                eventually("an import is ready or failed", async || settled(&imports.api, &name).await).await;
            let refreshed = import.condition("Refreshed").context("no condition")?;
            ensure!(refreshed.status == "True", "{name} failed: {}", refreshed.message);
            declared += 1;
        }
        rotation.await??;
        ensure!(declared > 5, "only {declared} imports meanwhile");
        let after = fixture.links().values("c2-token").await?;
        ensure!(before[key::TOKEN] != after[key::TOKEN] && before[key::SERVER] == after[key::SERVER]);
        let left = fixture.source.kubectl(["-n", SYSTEM_NAMESPACE, "get", "secrets", "-o", "name"]).await?;
        ensure!(left.trim() == "secret/c1", "left: {left}");
    }
    // The importer can refresh the link.
    fixture.links().condition("c2", "Refreshed", "True", None).await?;
    drop(daemons);
    fixture.release().await
}

async fn settled(imports: &Api<ServiceAccountImport>, name: &str) -> anyhow::Result<ServiceAccountImport> {
    let import = imports.get(name).await?;
    ensure!(import.condition("Refreshed").is_some(), "no condition yet");
    Ok(import)
}

#[tokio::test(flavor = "multi_thread")]
async fn rotate_without_a_link_prints_the_command_that_helps() -> anyhow::Result<()> {
    let fixture = Fixture::acquire().await?;
    let stderr = fixture.refused(&["rotate"])?;
    ensure!(
        stderr.contains("there is no link to c2")
            && stderr.contains("kubemcsa bootstrap --target-context c1"),
        "{stderr}"
    );
    // Without an importer, rotate does not wait for one.
    fixture.run(&["bootstrap"])?;
    fixture.run(&["rotate"])?;
    fixture.source.kubectl(["-n", SYSTEM_NAMESPACE, "delete", "serviceaccount", "c1"]).await?;
    let stderr = fixture.refused(&["rotate"])?;
    ensure!(stderr.contains("the service account of c1 is gone"), "{stderr}");
    // Bootstrap does not grant everything again, unless a flag says so.
    let stderr = fixture.refused(&["bootstrap"])?;
    ensure!(
        stderr.contains("bootstrap --target-context c1 --source-context c2 --allow-everything"),
        "{stderr}"
    );
    fixture.run(&["bootstrap", "--allow-everything"])?;
    fixture.run(&["rotate"])?;

    // A Secret of someone else has the name of the link's Secret.
    let system = ["-n", SYSTEM_NAMESPACE];
    let secret = ["secret", "c2-token"];
    fixture.target.kubectl([&system[..], &["delete"], &secret].concat()).await?;
    let create = ["create", "secret", "generic", "c2-token", "--from-literal=a=b"];
    fixture.target.kubectl([&system[..], &create].concat()).await?;
    let stderr = fixture.refused(&["rotate"])?;
    ensure!(stderr.contains("does not belong to the link's import"), "{stderr}");
    let values = fixture.links().values("c2-token").await?;
    ensure!(values.len() == 1, "rotate has overwritten the Secret");
    fixture.target.kubectl([&system[..], &["delete"], &secret].concat()).await?;
    fixture.release().await
}

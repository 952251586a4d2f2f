//! `unlink`: both sides clean, or the one that there is; and never somebody else's.

use anyhow::ensure;
use mcsa_client::contract::SYSTEM_NAMESPACE;
use mcsa_tests::{Cluster, eventually, kubemcsa, kubemcsa_ok, pod_lister_import, write_merged_kubeconfig};

use super::{BOTH, World};

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_are_clean_and_another_link_can_follow() -> anyhow::Result<()> {
    let world = World::start().await?;
    let imports = world.accounts().await?;
    let _daemons = world.daemons().await?;
    ensure!(world.traces().await?.is_empty(), "there is something before the first link");
    for keeps in [false, true] {
        world.run(&["bootstrap"])?;
        if !keeps {
            imports.create(&pod_lister_import("import", "c2", "team-a")).await?;
        }
        eventually("the import is ready", async || {
            imports.condition("import", "Refreshed", "True", None).await
        })
        .await;
        let rehearsed = world.attempt(&["unlink", "--dry-run"])?;
        ensure!(
            String::from_utf8(rehearsed.stderr)?
                .contains("c1  secret/import-token -n demo deleted (dry run)")
        );
        imports.ready("import").await?;

        let unlink: &[&str] = if keeps { &["unlink", "--keep-secrets"] } else { &["unlink"] };
        for _ in 0..2 {
            world.run(unlink)?;
            ensure!(world.traces().await?.is_empty(), "left in the source: {:?}", world.traces().await?);
            ensure!(world.links().api.get_opt("c2").await?.is_none(), "the link is there");
            ensure!(world.links().secrets.get_opt("c2-token").await?.is_none(), "its Secret is there");
            ensure!(imports.secrets.get_opt("import-token").await?.is_some() == keeps, "the import's Secret");
        }
        eventually("the import says that there is no link", async || {
            imports.condition("import", "Refreshed", "False", Some("ClusterNotLinked")).await
        })
        .await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn where_one_side_is_gone_the_other_is_cleaned() -> anyhow::Result<()> {
    let world = World::start().await?;
    world.run(&["bootstrap"])?;
    world.source.stop_api_server();
    let said = world.refused(&["unlink"])?;
    ensure!(said.contains("c2: ") && said.contains("--local-only --target-context c1"), "{said}");
    ensure!(world.links().api.get_opt("c2").await?.is_some(), "half of it is gone");
    let local = ["unlink", "--local-only", "--target-context", "c1", "--source-name", "c2"];
    for _ in 0..2 {
        kubemcsa_ok(&world.kubeconfig, local)?;
    }
    ensure!(world.links().api.get_opt("c2").await?.is_none(), "the link is there");

    world.source.start_api_server().await?;
    let remote = ["unlink", "--source-only", "--target-name", "c1", "--source-context", "c2"];
    for _ in 0..2 {
        kubemcsa_ok(&world.kubeconfig, remote)?;
    }
    ensure!(world.traces().await?.is_empty(), "left in the source: {:?}", world.traces().await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_somebody_else_is_removed() -> anyhow::Result<()> {
    let world = World::start().await?;
    world.run(&["bootstrap"])?;
    let before = world.traces().await?;
    // The wrong direction.
    let turned = ["unlink", "--target-context", "c2", "--source-context", "c1"];
    kubemcsa_ok(&world.kubeconfig, turned)?;
    ensure!(world.traces().await? == before, "the wrong direction removed something");

    // Another cluster of the same name, told apart by its UID, and what the two say of each other.
    let twin = Cluster::start("c1").await?;
    let kubeconfig = twin.dir().join("kubeconfig-of-both");
    write_merged_kubeconfig(&[&twin, &world.source], &kubeconfig)?;
    for command in ["unlink", "bootstrap", "rotate"] {
        let output = kubemcsa(&kubeconfig, [command].into_iter().chain(BOTH))?;
        let said = String::from_utf8(output.stderr)?;
        ensure!(
            output.status.code() == Some(1)
                && said.contains("of the same name") | said.contains("of that name"),
            "{said}"
        );
    }
    let allow = kubemcsa(&kubeconfig, ["allow", "team-a"].into_iter().chain(BOTH))?;
    let said = String::from_utf8(allow.stderr)?;
    ensure!(said.contains("another target of that name"), "{said}");
    ensure!(world.traces().await? == before, "another target removed something");

    // A service account that is no link's, under a link's name.
    let namespaced = ["-n", SYSTEM_NAMESPACE, "create", "serviceaccount", "robot"];
    world.source.kubectl(namespaced).await?;
    let args = ["unlink", "--source-only", "--target-name", "robot", "--source-context", "c2"];
    let output = kubemcsa(&world.kubeconfig, args)?;
    let said = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(1) && said.contains("doesn't belong to a link"), "{said}");

    // With it in the namespace, that stays; what only links need goes with the last of them.
    world.run(&["unlink"])?;
    let left = world.traces().await?;
    let kept: Vec<_> = left.iter().map(String::as_str).collect();
    ensure!(
        kept == ["namespace/multicluster-service-account", "serviceaccount/default", "serviceaccount/robot"],
        "{kept:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_links_one_stays() -> anyhow::Result<()> {
    let world = World::start().await?;
    world.run(&["bootstrap"])?;
    let (target, source) = ("c2", "c1");
    // Both ways: the source is a target, too, and its system namespace has a link of its own.
    let back = ["bootstrap", "--target-context", target, "--source-context", source];
    kubemcsa_ok(&world.kubeconfig, back)?;
    world.run(&["unlink"])?;
    let links = mcsa_tests::Imports::of(world.source.client(), SYSTEM_NAMESPACE);
    links.values("c1-token").await?;
    let left = world.traces().await?;
    ensure!(!left.iter().any(|name| name.starts_with("clusterrole")), "{left:?}");
    Ok(())
}

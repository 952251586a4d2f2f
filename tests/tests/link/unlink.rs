//! `unlink`: cleans both sides, or the one that still exists, and never deletes anything else.

use anyhow::ensure;
use mcsa_client::contract::SYSTEM_NAMESPACE;
use mcsa_tests::{Cluster, eventually, kubemcsa, kubemcsa_ok, pod_lister_import, write_merged_kubeconfig};

use super::{BOTH, Fixture};

#[tokio::test(flavor = "multi_thread")]
async fn unlink_cleans_both_sides_and_another_link_can_follow() -> anyhow::Result<()> {
    let fixture = Fixture::acquire().await?;
    let imports = fixture.accounts().await?;
    let daemons = fixture.daemons().await?;
    ensure!(fixture.traces().await?.is_empty(), "the source has objects before the first link");
    for keeps in [false, true] {
        fixture.run(&["bootstrap"])?;
        if !keeps {
            imports.create(&pod_lister_import("import", "c2", "team-a")).await?;
        }
        eventually("the import is ready", async || {
            imports.condition("import", "Refreshed", "True", None).await
        })
        .await;
        let dry_run = fixture.attempt(&["unlink", "--dry-run"])?;
        ensure!(
            String::from_utf8(dry_run.stderr)?.contains("c1  secret/import-token -n demo deleted (dry run)")
        );
        imports.ready("import").await?;

        let unlink: &[&str] = if keeps { &["unlink", "--keep-secrets"] } else { &["unlink"] };
        for _ in 0..2 {
            fixture.run(unlink)?;
            ensure!(fixture.traces().await?.is_empty(), "left in the source: {:?}", fixture.traces().await?);
            ensure!(fixture.links().api.get_opt("c2").await?.is_none(), "the link is there");
            ensure!(fixture.links().secrets.get_opt("c2-token").await?.is_none(), "its Secret is there");
            ensure!(imports.secrets.get_opt("import-token").await?.is_some() == keeps, "the import's Secret");
        }
        eventually("the import reports that there is no link", async || {
            imports.condition("import", "Refreshed", "False", Some("ClusterNotLinked")).await
        })
        .await;
    }
    drop(daemons);
    fixture.release().await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_side_can_be_cleaned_alone() -> anyhow::Result<()> {
    let fixture = Fixture::start(Cluster::builder("c2")).await?;
    fixture.run(&["bootstrap"])?;
    fixture.source.stop_api_server();
    let stderr = fixture.refused(&["unlink"])?;
    ensure!(stderr.contains("c2: ") && stderr.contains("--local-only --target-context c1"), "{stderr}");
    ensure!(fixture.links().api.get_opt("c2").await?.is_some(), "half of it is gone");
    let local = |name| ["unlink", "--local-only", "--target-context", "c1", "--source-name", name];
    // A typo must not lead to a command that would break the link.
    for (name, found, advice) in [
        ("typo", "there is no link typo; links: c2", false),
        ("c2", "to revoke that: kubemcsa unlink --source-only --target-name c1 --source-context", true),
        ("c2", "there is no link c2, and no other link", false),
    ] {
        let output = kubemcsa(&fixture.kubeconfig, local(name))?;
        let stderr = String::from_utf8(output.stderr)?;
        ensure!(output.status.success() && stderr.contains(found), "{stderr}");
        ensure!(stderr.contains("--source-only") == advice, "{stderr}");
    }
    ensure!(fixture.links().api.get_opt("c2").await?.is_none(), "the link is there");

    fixture.source.start_api_server().await?;
    let remote = ["unlink", "--source-only", "--target-name", "c1", "--source-context", "c2"];
    for _ in 0..2 {
        kubemcsa_ok(&fixture.kubeconfig, remote)?;
    }
    ensure!(fixture.traces().await?.is_empty(), "left in the source: {:?}", fixture.traces().await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn unlink_deletes_nothing_of_others() -> anyhow::Result<()> {
    let fixture = Fixture::acquire().await?;
    fixture.run(&["bootstrap"])?;
    let before = fixture.traces().await?;
    // The two clusters in the wrong order.
    let swapped = ["unlink", "--target-context", "c2", "--source-context", "c1"];
    kubemcsa_ok(&fixture.kubeconfig, swapped)?;
    ensure!(fixture.traces().await? == before, "the wrong direction removed something");

    // Another target with the same name, but another UID.
    let twin = Cluster::start("c1").await?;
    let kubeconfig = twin.dir().join("kubeconfig-of-both");
    write_merged_kubeconfig(&[&twin, &fixture.source], &kubeconfig)?;
    for command in ["unlink", "bootstrap", "rotate"] {
        let output = kubemcsa(&kubeconfig, [command].into_iter().chain(BOTH))?;
        let stderr = String::from_utf8(output.stderr)?;
        ensure!(
            output.status.code() == Some(1)
                && stderr.contains("of the same name") | stderr.contains("of that name"),
            "{stderr}"
        );
    }
    let allow = kubemcsa(&kubeconfig, ["allow", "team-a"].into_iter().chain(BOTH))?;
    let stderr = String::from_utf8(allow.stderr)?;
    ensure!(stderr.contains("another target of that name"), "{stderr}");
    ensure!(fixture.traces().await? == before, "another target removed something");

    // A service account that does not belong to a link.
    let namespaced = ["-n", SYSTEM_NAMESPACE, "create", "serviceaccount", "robot"];
    fixture.source.kubectl(namespaced).await?;
    let args = ["unlink", "--source-only", "--target-name", "robot", "--source-context", "c2"];
    let output = kubemcsa(&fixture.kubeconfig, args)?;
    let stderr = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(1) && stderr.contains("doesn't belong to a link"), "{stderr}");
    let stderr = fixture.refused(&["bootstrap", "--target-name", "robot"])?;
    let delete = format!("kubectl --context c2 delete serviceaccount/robot -n {SYSTEM_NAMESPACE}");
    ensure!(stderr.contains("--target-name robot-2") && stderr.contains(&delete), "{stderr}");
    ensure!(!stderr.contains("unlink"), "unlink does not delete it: {stderr}");

    // The namespace stays, because of that service account. Unlinking the last target deletes what links share.
    fixture.run(&["unlink"])?;
    let left = fixture.traces().await?;
    let kept: Vec<_> = left.iter().map(String::as_str).collect();
    ensure!(
        kept == ["namespace/multicluster-service-account", "serviceaccount/default", "serviceaccount/robot"],
        "{kept:?}"
    );
    fixture.release().await
}

#[tokio::test(flavor = "multi_thread")]
async fn unlink_keeps_the_link_of_the_opposite_direction() -> anyhow::Result<()> {
    let fixture = Fixture::acquire().await?;
    fixture.run(&["bootstrap"])?;
    let (target, source) = ("c2", "c1");
    // The source is a target, too: its system namespace has a link. So this fixture is not released.
    let back = ["bootstrap", "--target-context", target, "--source-context", source];
    kubemcsa_ok(&fixture.kubeconfig, back)?;
    fixture.run(&["unlink"])?;
    let links = mcsa_tests::Imports::of(fixture.source.client(), SYSTEM_NAMESPACE);
    links.values("c1-token").await?;
    let left = fixture.traces().await?;
    ensure!(!left.iter().any(|name| name.starts_with("clusterrole")), "{left:?}");
    Ok(())
}

//! `bootstrap --allow`, `allow` and `deny`: a target may import what was granted, and nothing else.

use anyhow::ensure;
use mcsa_tests::{eventually, pod_lister_import};

use super::{BOTH, World};

#[tokio::test(flavor = "multi_thread")]
async fn only_allowed_service_accounts_can_be_imported() -> anyhow::Result<()> {
    let world = World::acquire().await?;
    let imports = world.accounts().await?;
    let stderr = world.refused(&["bootstrap", "--allow", "team-a", "--allow", "nowhere"])?;
    ensure!(stderr.contains("namespace nowhere does not exist"), "{stderr}");
    ensure!(world.traces().await?.is_empty(), "a refusal has left something: {:?}", world.traces().await?);

    world.run(&["bootstrap", "--allow", "team-a"])?;
    let daemons = world.daemons().await?;
    for namespace in ["team-a", "team-b"] {
        imports.create(&pod_lister_import(namespace, "c2", namespace)).await?;
    }
    eventually("the allowed import is ready", async || imports.ready("team-a").await).await;
    let forbidden = async || imports.condition("team-b", "Refreshed", "False", Some("Forbidden")).await;
    eventually("the other import is forbidden", forbidden).await;
    eventually("the link has refreshed itself", async || {
        world.links().condition("c2", "Refreshed", "True", None).await
    })
    .await;

    // Bootstrap without --allow grants nothing more.
    world.run(&["bootstrap"])?;
    ensure!(granted(&world).await?.contains("team-a/"), "{}", granted(&world).await?);
    ensure!(!granted(&world).await?.contains("clusterrole/multicluster-service-account-link"));

    // `allow` is idempotent, and grants one service account of the namespace only.
    for _ in 0..2 {
        world.run(&["allow", "team-b/pod-lister"])?;
    }
    eventually("the forbidden import is ready", async || imports.ready("team-b").await).await;
    world.source.kubectl(["-n", "team-b", "create", "serviceaccount", "other"]).await?;
    let mut other = pod_lister_import("other", "c2", "team-b");
    other.spec.name = "other".into();
    imports.create(&other).await?;
    eventually("another service account of the namespace is forbidden", async || {
        imports.condition("other", "Refreshed", "False", Some("Forbidden")).await
    })
    .await;

    for _ in 0..2 {
        world.run(&["deny", "team-a", "team-b/pod-lister"])?;
    }
    let roles = granted(&world).await?;
    ensure!(!roles.contains("team-a/") && !roles.contains("team-b/"), "{roles}");
    // A token that still works is kept.
    imports.ready("team-a").await?;
    drop(daemons);
    world.release().await
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_can_be_narrowed_and_widened_again() -> anyhow::Result<()> {
    let world = World::acquire().await?;
    world.accounts().await?;
    world.run(&["bootstrap"])?;
    let stderr = world.refused(&["deny", "team-a"])?;
    ensure!(stderr.contains("may import everything") && stderr.contains("--allow NAMESPACE"), "{stderr}");

    // A dry run prints the changes, and makes none.
    let before = granted(&world).await?;
    let diff = world.run(&["bootstrap", "--allow", "team-a", "--dry-run"])?;
    let removed = "-  name: multicluster-service-account-link-c1";
    ensure!(diff.contains(removed) && diff.contains("+  namespace: team-a"), "{diff}");
    ensure!(granted(&world).await? == before, "a dry run changed something");

    world.run(&["bootstrap", "--allow", "team-a"])?;
    ensure!(!granted(&world).await?.contains("clusterrole/multicluster-service-account-link"));
    ensure!(
        world.run(&["bootstrap", "--allow", "team-a", "--dry-run"])?.is_empty(),
        "there is nothing to change"
    );
    let stderr = world.refused(&["deny", "team-a/pod-lister"])?;
    ensure!(stderr.contains("all of namespace team-a"), "{stderr}");
    world.run(&["allow", "--everything"])?;
    let roles = granted(&world).await?;
    ensure!(roles == before, "not as it was:\n{roles}\n{before}");

    // A source's owner needs no access to the target. A target that is not linked is an error.
    let named =
        |name: &'static str| ["deny", "--everything", "--target-name", name, "--source-context", "c2"];
    mcsa_tests::kubemcsa_ok(&world.kubeconfig, named("c1"))?;
    let output = mcsa_tests::kubemcsa(&world.kubeconfig, named("c3"))?;
    let stderr = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(1) && stderr.contains("linked targets: c1"), "{stderr}");
    world.release().await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_side_can_be_applied_with_kubectl() -> anyhow::Result<()> {
    let world = World::acquire().await?;
    world.accounts().await?;
    for (side, cluster) in [("source", &world.source), ("target", &world.target)] {
        let args = ["bootstrap", "--allow", "team-a", "-o", "yaml", "--side", side];
        let yaml = mcsa_tests::kubemcsa_ok(&world.kubeconfig, args.into_iter().chain(BOTH))?;
        let has = |key: &str| yaml.lines().any(|line| line.trim_start().starts_with(key));
        ensure!(!has("token:") && !has("data:"), "there is a secret in it:\n{yaml}");
        let file = cluster.dir().join("link.yaml");
        std::fs::write(&file, yaml)?;
        let file = file.display().to_string();
        cluster.kubectl(["apply", "--server-side", "--field-manager", "gitops", "-f", &file]).await?;
        cluster.kubectl(["apply", "--server-side", "--field-manager", "gitops", "-f", &file]).await?;
    }
    // Only the token is missing. Bootstrap keeps what kubectl applied.
    world.run(&["bootstrap"])?;
    world.links().values("c2-token").await?;
    ensure!(granted(&world).await?.contains("team-a/"), "{}", granted(&world).await?);
    world.release().await
}

/// The grants in the source: bindings with their namespaces and roles.
async fn granted(world: &World) -> anyhow::Result<String> {
    let columns =
        "custom-columns=NS:.metadata.namespace,NAME:.metadata.name,KIND:.roleRef.kind,ROLE:.roleRef.name";
    let args = ["get", "rolebindings,clusterrolebindings", "-A", "--no-headers", "-o", columns];
    let all = world.source.kubectl(args).await?;
    let mut ours: Vec<_> = all
        .lines()
        .filter(|line| line.contains("multicluster-service-account"))
        .map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            format!("{}/{} -> {}/{}", words[0], words[1], words[2].to_lowercase(), words[3])
        })
        .collect();
    ours.sort();
    Ok(ours.join("\n"))
}

//! `bootstrap --allow`, `allow` and `deny`: a target may import what was granted, and nothing else.

use anyhow::ensure;
use mcsa_tests::{eventually, pod_lister_import};

use super::{BOTH, Fixture};

#[tokio::test(flavor = "multi_thread")]
async fn only_allowed_service_accounts_can_be_imported() -> anyhow::Result<()> {
    let fixture = Fixture::acquire().await?;
    let imports = fixture.accounts().await?;
    let stderr = fixture.refused(&["bootstrap", "--allow", "team-a", "--allow", "nowhere"])?;
    ensure!(stderr.contains("namespace nowhere does not exist"), "{stderr}");
    ensure!(
        fixture.traces().await?.is_empty(),
        "a refusal has left something: {:?}",
        fixture.traces().await?
    );

    fixture.run(&["bootstrap", "--allow", "team-a"])?;
    let daemons = fixture.daemons().await?;
    for namespace in ["team-a", "team-b"] {
        imports.create(&pod_lister_import(namespace, "c2", namespace)).await?;
    }
    eventually("the allowed import is ready", async || imports.ready("team-a").await).await;
    let forbidden = async || imports.condition("team-b", "Refreshed", "False", Some("Forbidden")).await;
    eventually("the other import is forbidden", forbidden).await;
    eventually("the link has refreshed itself", async || {
        fixture.links().condition("c2", "Refreshed", "True", None).await
    })
    .await;

    // Bootstrap without --allow grants nothing more.
    fixture.run(&["bootstrap"])?;
    ensure!(granted(&fixture).await?.contains("team-a/"), "{}", granted(&fixture).await?);
    ensure!(!granted(&fixture).await?.contains("clusterrole/multicluster-service-account-link"));

    // `allow` is idempotent, and grants one service account of the namespace only.
    for _ in 0..2 {
        fixture.run(&["allow", "team-b/pod-lister"])?;
    }
    eventually("the forbidden import is ready", async || imports.ready("team-b").await).await;
    fixture.source.kubectl(["-n", "team-b", "create", "serviceaccount", "other"]).await?;
    let mut other = pod_lister_import("other", "c2", "team-b");
    other.spec.name = "other".into();
    imports.create(&other).await?;
    eventually("another service account of the namespace is forbidden", async || {
        imports.condition("other", "Refreshed", "False", Some("Forbidden")).await
    })
    .await;

    for _ in 0..2 {
        fixture.run(&["deny", "team-a", "team-b/pod-lister"])?;
    }
    let roles = granted(&fixture).await?;
    ensure!(!roles.contains("team-a/") && !roles.contains("team-b/"), "{roles}");
    // A token that still works is kept.
    imports.ready("team-a").await?;
    drop(daemons);
    fixture.release().await
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_can_be_narrowed_and_widened_again() -> anyhow::Result<()> {
    let fixture = Fixture::acquire().await?;
    let imports = fixture.accounts().await?;
    for namespace in ["team-a", "team-b"] {
        imports.create(&pod_lister_import(namespace, "c2", namespace)).await?;
    }
    fixture.run(&["bootstrap"])?;
    let stderr = fixture.refused(&["deny", "team-a"])?;
    ensure!(stderr.contains("may import everything") && stderr.contains("--allow NAMESPACE"), "{stderr}");

    // A dry run prints the changes, and makes none.
    let before = granted(&fixture).await?;
    let diff = fixture.run(&["bootstrap", "--allow", "team-a", "--dry-run"])?;
    let removed = "-  name: multicluster-service-account-link-c1";
    ensure!(diff.contains(removed) && diff.contains("+  namespace: team-a"), "{diff}");
    ensure!(granted(&fixture).await? == before, "a dry run changed something");

    let output = fixture.attempt(&["bootstrap", "--allow", "team-a"])?;
    let stderr = String::from_utf8(output.stderr)?;
    ensure!(output.status.success() && stderr.contains("what these imports need: demo/team-b;"), "{stderr}");
    ensure!(stderr.contains("for example team-a/pod-lister"), "{stderr}");
    ensure!(!granted(&fixture).await?.contains("clusterrole/multicluster-service-account-link"));
    ensure!(
        fixture.run(&["bootstrap", "--allow", "team-a", "--dry-run"])?.is_empty(),
        "there is nothing to change"
    );
    let stderr = fixture.refused(&["deny", "team-a/pod-lister"])?;
    ensure!(stderr.contains("all of namespace team-a"), "{stderr}");
    fixture.run(&["allow", "--everything"])?;
    let roles = granted(&fixture).await?;
    ensure!(roles == before, "not as it was:\n{roles}\n{before}");

    // An administrator's stricter policy stays.
    let policy = ["validatingadmissionpolicy", "multicluster-service-account-link"];
    let rule = r#"{"expression":"true","message":"stricter"}"#;
    let patch = format!(r#"[{{"op":"add","path":"/spec/validations/-","value":{rule}}}]"#);
    fixture.source.kubectl([&["patch"], &policy[..], &["--type=json", "-p", &patch]].concat()).await?;
    fixture.run(&["allow", "team-b"])?;
    let output = fixture.attempt(&["bootstrap"])?;
    let stderr = String::from_utf8(output.stderr)?;
    ensure!(output.status.success() && stderr.contains("not updated, because someone else"), "{stderr}");
    ensure!(stderr.contains("kubectl-patch"), "{stderr}");
    let stored = fixture.source.kubectl([&["get", "-o", "json"], &policy[..]].concat()).await?;
    ensure!(stored.contains("stricter"), "{stored}");

    // A source's owner needs no access to the target. A target that is not linked is an error.
    let named =
        |name: &'static str| ["deny", "--everything", "--target-name", name, "--source-context", "c2"];
    mcsa_tests::kubemcsa_ok(&fixture.kubeconfig, named("c1"))?;
    let output = mcsa_tests::kubemcsa(&fixture.kubeconfig, named("c3"))?;
    let stderr = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(1) && stderr.contains("linked targets: c1"), "{stderr}");

    // What the source's owner has revoked is not granted again, unless a flag says so.
    let unlink = ["unlink", "--source-only", "--target-name", "c1", "--source-context", "c2"];
    mcsa_tests::kubemcsa_ok(&fixture.kubeconfig, unlink)?;
    for command in [&["bootstrap"][..], &["bootstrap", "--dry-run"], &["bootstrap", "-o", "yaml"]] {
        let stderr = fixture.refused(command)?;
        ensure!(stderr.contains("nothing was granted") && stderr.contains("--allow-everything"), "{stderr}");
    }
    ensure!(fixture.traces().await?.is_empty(), "a refusal has left {:?}", fixture.traces().await?);
    fixture.release().await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_side_can_be_applied_with_kubectl() -> anyhow::Result<()> {
    let fixture = Fixture::acquire().await?;
    fixture.accounts().await?;
    for (side, cluster) in [("source", &fixture.source), ("target", &fixture.target)] {
        let args = ["bootstrap", "--allow", "team-a", "-o", "yaml", "--side", side];
        let yaml = mcsa_tests::kubemcsa_ok(&fixture.kubeconfig, args.into_iter().chain(BOTH))?;
        let has = |key: &str| yaml.lines().any(|line| line.trim_start().starts_with(key));
        ensure!(!has("token:") && !has("data:"), "there is a secret in it:\n{yaml}");
        let file = cluster.dir().join("link.yaml");
        std::fs::write(&file, yaml)?;
        let file = file.display().to_string();
        cluster.kubectl(["apply", "--server-side", "--field-manager", "gitops", "-f", &file]).await?;
        cluster.kubectl(["apply", "--server-side", "--field-manager", "gitops", "-f", &file]).await?;
    }
    // Only the token is missing. Bootstrap keeps what kubectl applied.
    fixture.run(&["bootstrap"])?;
    fixture.links().values("c2-token").await?;
    ensure!(granted(&fixture).await?.contains("team-a/"), "{}", granted(&fixture).await?);
    fixture.release().await
}

/// The grants in the source: bindings with their namespaces and roles.
async fn granted(fixture: &Fixture) -> anyhow::Result<String> {
    let columns =
        "custom-columns=NS:.metadata.namespace,NAME:.metadata.name,KIND:.roleRef.kind,ROLE:.roleRef.name";
    let args = ["get", "rolebindings,clusterrolebindings", "-A", "--no-headers", "-o", columns];
    let all = fixture.source.kubectl(args).await?;
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

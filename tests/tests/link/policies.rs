//! `bootstrap`, `allow` and `deny` with `--for`: which namespaces of the target may import.

use anyhow::{Context, ensure};
use mcsa_tests::pod_lister_import;
use serde_json::{Value, json};

use super::{BOTH, Fixture};

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_are_permitted_and_denied() -> anyhow::Result<()> {
    let fixture = Fixture::acquire().await?;
    let imports = fixture.accounts().await?;
    imports.create(&pod_lister_import("elsewhere", "c2", "team-a")).await?;
    let bootstrap = ["bootstrap", "--allow", "team-a", "--for", "shop"];
    let diff = fixture.run(&[&bootstrap[..], &["--dry-run"]].concat())?;
    ensure!(diff.contains("+  name: c2.shop"), "{diff}");
    ensure!(names(&fixture).await?.is_empty(), "a dry run wrote {}", names(&fixture).await?);

    let stderr = succeeded(&fixture, &bootstrap)?;
    ensure!(stderr.contains("importpolicy.multicluster.admiralty.io/c2.shop created"), "{stderr}");
    ensure!(stderr.contains("these imports are no longer permitted: demo/elsewhere; run"), "{stderr}");
    let expected = json!({
        "clusterName": "c2", "namespaces": ["shop"], "serviceAccounts": [{ "namespace": "team-a" }], "onRevoke": "Retain",
    });
    ensure!(spec(&fixture, "c2.shop").await? == expected, "{}", spec(&fixture, "c2.shop").await?);
    // Bootstrap prints the same policy, and kubectl accepts it.
    let print = [&bootstrap[..], &["-o", "yaml", "--side", "target"]].concat();
    let file = fixture.target.dir().join("policies.yaml");
    std::fs::write(&file, mcsa_tests::kubemcsa_ok(&fixture.kubeconfig, print.into_iter().chain(BOTH))?)?;
    let file = file.display().to_string();
    fixture.target.kubectl(["apply", "--server-side", "--field-manager", "gitops", "-f", &file]).await?;
    ensure!(spec(&fixture, "c2.shop").await? == expected, "{}", spec(&fixture, "c2.shop").await?);

    // Allow is idempotent, and also grants in the source.
    for _ in 0..2 {
        fixture.run(&["allow", "team-b/pod-lister", "--for", "shop,web"])?;
    }
    let (all, account) =
        (json!({ "namespace": "team-a" }), json!({ "namespace": "team-b", "name": "pod-lister" }));
    ensure!(accounts(&fixture, "c2.shop").await? == json!([all, account]));
    ensure!(accounts(&fixture, "c2.web").await? == json!([account]));
    let granted = granted(&fixture).await?;
    ensure!(granted.contains("multicluster-service-account-link-c1"), "{granted}");

    // Deny changes nothing in the source. The policy stays, because the last one must not disappear.
    let stderr = succeeded(&fixture, &["deny", "team-b/pod-lister", "--for", "web"])?;
    ensure!(stderr.contains("policy c2.web permits nothing now"), "{stderr}");
    ensure!(accounts(&fixture, "c2.web").await? == json!([]));
    ensure!(self::granted(&fixture).await? == granted, "the grants changed");
    let stderr = fixture.refused(&["deny", "team-a/pod-lister", "--for", "shop"])?;
    ensure!(stderr.contains("can't exclude team-a/pod-lister"), "{stderr}");

    // Policies that others write are left alone, and nothing is granted.
    fixture.target.kubectl(["label", "importpolicies", "c2.web", "app.kubernetes.io/managed-by-"]).await?;
    let stderr = fixture.refused(&["allow", "team-b", "--for", "shop,web"])?;
    ensure!(stderr.contains("/c2.web not changed: it has no label"), "{stderr}");
    ensure!(accounts(&fixture, "c2.shop").await? == json!([all, account]));
    ensure!(self::granted(&fixture).await? == granted, "the grants changed");

    let stderr = succeeded(&fixture, &["bootstrap"])?;
    ensure!(stderr.contains("as far as ImportPolicies permit (c2.shop and 1 more)"), "{stderr}");
    let stderr = succeeded(&fixture, &["unlink", "--dry-run"])?;
    ensure!(stderr.contains("kept 2 ImportPolicies for c2") && stderr.contains("c2.shop c2.web"), "{stderr}");

    // Without any policy, there is nothing to remove.
    fixture.target.kubectl(["delete", "importpolicies", "--all"]).await?;
    let stderr = fixture.refused(&["deny", "team-a", "--for", "shop"])?;
    ensure!(stderr.contains("no ImportPolicy applies to c2"), "{stderr}");
    fixture.release().await
}

/// Runs a command about the link, which must succeed; returns its stderr.
fn succeeded(fixture: &Fixture, command: &[&str]) -> anyhow::Result<String> {
    let output = fixture.attempt(command)?;
    let stderr = String::from_utf8(output.stderr)?;
    ensure!(output.status.success(), "{command:?} ended with {}:\n{stderr}", output.status);
    Ok(stderr)
}

/// The policies of the target.
async fn names(fixture: &Fixture) -> anyhow::Result<String> {
    fixture.target.kubectl(["get", "importpolicies", "-o", "name"]).await
}

async fn spec(fixture: &Fixture, name: &str) -> anyhow::Result<Value> {
    let text = fixture.target.kubectl(["get", "importpolicies", name, "-o", "json"]).await?;
    let mut policy: Value = serde_json::from_str(&text)?;
    policy.get_mut("spec").map(Value::take).context("no spec")
}

async fn accounts(fixture: &Fixture, name: &str) -> anyhow::Result<Value> {
    spec(fixture, name).await?.get_mut("serviceAccounts").map(Value::take).context("no service accounts")
}

/// The grants in namespace `team-b` of the source.
async fn granted(fixture: &Fixture) -> anyhow::Result<String> {
    fixture.source.kubectl(["-n", "team-b", "get", "roles", "-o", "yaml"]).await
}

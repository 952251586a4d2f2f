//! What is installed: the same by kubectl and by kubemcsa, and accepted by a real API server.

use std::path::Path;

use anyhow::{Context, ensure};
use mcsa_tests::{Cluster, kubemcsa, kubemcsa_ok};

const MANIFESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests");

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_and_kubemcsa_install_the_same() -> anyhow::Result<()> {
    let cluster = Cluster::start("c1").await?;
    // Without a cluster, let alone a kubeconfig.
    let yaml = kubemcsa_ok(Path::new("/nonexistent"), ["install", "-o", "yaml"])?;
    let file = cluster.dir().join("install.yaml");
    std::fs::write(&file, &yaml)?;
    let file = file.display().to_string();

    let manager = "--field-manager=kubemcsa";
    cluster.kubectl(["apply", "--server-side", manager, "-k", MANIFESTS]).await?;
    let again = cluster.kubectl(["apply", "--server-side", manager, "-f", &file]).await?;
    ensure!(again.lines().all(|line| line.ends_with("serverside-applied")), "{again}");
    let output = kubemcsa(cluster.kubeconfig(), ["install", "--no-wait"])?;
    let said = String::from_utf8(output.stderr)?;
    ensure!(output.status.success(), "{said}");
    let objects = yaml.lines().filter(|line| line.starts_with("kind: ")).count();
    let unchanged = said.lines().filter(|line| line.ends_with("unchanged")).count();
    ensure!(objects > 10 && unchanged == objects, "{unchanged} of {objects} objects are unchanged:\n{said}");

    // There is no node: whoever waits is told what for, and what is in the way.
    let output = kubemcsa(cluster.kubeconfig(), ["install", "--timeout", "1s"])?;
    let said = String::from_utf8(output.stderr)?;
    let last = said.lines().last().context("nothing was said")?;
    ensure!(output.status.code() == Some(1) && last.contains("importer"), "{said}");

    // An edit is put right.
    cluster.kubectl(["delete", "clusterrole", "multicluster-service-account-importer"]).await?;
    let output = kubemcsa(cluster.kubeconfig(), ["install", "--no-wait"])?;
    let said = String::from_utf8(output.stderr)?;
    ensure!(said.lines().filter(|line| line.ends_with("created")).count() == 1, "{said}");
    Ok(())
}

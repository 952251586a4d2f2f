//! Importer, webhook and launcher have exactly the rights that manifests/rights.md documents.

mod attacker;
mod compare;
mod documented;
mod question;
mod surface;

use mcsa_client::contract::SYSTEM_NAMESPACE;
use mcsa_tests::{Cluster, helm, kubemcsa_ok};

use self::compare::compare;
use self::documented::DocumentedRights;

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/helm");

#[tokio::test(flavor = "multi_thread")]
async fn programs_have_the_documented_rights() -> anyhow::Result<()> {
    let cluster = Cluster::start("c1").await?;
    kubemcsa_ok(cluster.kubeconfig(), ["install", "--no-wait"])?;
    let namespaces = [SYSTEM_NAMESPACE, "kube-system", "kube-node-lease", "default"];
    compare(&cluster.client(), DocumentedRights::read()?, &namespaces).await
}

#[tokio::test(flavor = "multi_thread")]
async fn confined_importer_has_rights_in_its_namespaces_only() -> anyhow::Result<()> {
    let cluster = Cluster::start("c1").await?;
    for namespace in ["a", "b"] {
        cluster.kubectl(["create", "namespace", namespace]).await?;
    }
    let values = ["install", "mcsa", CHART, "--set=importer.namespaces={a,b}"];
    helm(cluster.kubeconfig(), values).await?;
    let documented = DocumentedRights::read()?.confined(&["a", "b"]);
    compare(&cluster.client(), documented, &[SYSTEM_NAMESPACE, "default", "b"]).await
}

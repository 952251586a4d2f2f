//! What importer and webhook may do is what manifests/rights.md says, and nothing else.

mod ground;
mod list;
mod question;
mod thief;
mod walk;

use mcsa_client::contract::SYSTEM_NAMESPACE;
use mcsa_tests::{Cluster, helm, kubemcsa_ok};

use self::list::List;
use self::walk::walk;

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/helm");

#[tokio::test(flavor = "multi_thread")]
async fn they_may_do_what_the_list_says() -> anyhow::Result<()> {
    let cluster = Cluster::start("c1").await?;
    kubemcsa_ok(cluster.kubeconfig(), ["install", "--no-wait"])?;
    walk(&cluster.client(), List::read()?, &[SYSTEM_NAMESPACE, "kube-system", "default"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_importer_of_some_namespaces_may_do_it_there_alone() -> anyhow::Result<()> {
    let cluster = Cluster::start("c1").await?;
    for namespace in ["a", "b"] {
        cluster.kubectl(["create", "namespace", namespace]).await?;
    }
    let values = ["install", "mcsa", CHART, "--set=importer.namespaces={a,b}"];
    helm(cluster.kubeconfig(), values).await?;
    let list = List::read()?.confined(&["a", "b"]);
    walk(&cluster.client(), list, &[SYSTEM_NAMESPACE, "default", "b"]).await
}

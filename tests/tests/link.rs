//! The life of a link: what it may import, another credential, its end; and what whoever stole it can do.

mod expired;
mod grants;
mod interrupted;
mod mistaken;
mod old;
mod rotate;
mod several;
mod thief;
mod unlink;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Output;

use anyhow::{Context, ensure};
use kube::Client;
use kube::config::Kubeconfig;
use mcsa_client::contract::{SYSTEM_NAMESPACE, key};
use mcsa_tests::{
    Cluster, ClusterBuilder, Daemons, Imports, client, create_pod_lister, kubemcsa, kubemcsa_ok,
    write_merged_kubeconfig,
};

/// The flags that name the two.
const BOTH: [&str; 4] = ["--target-context", "c1", "--source-context", "c2"];

/// A target `c1` with an installation, and a source `c2`; nobody has linked them yet.
struct World {
    target: Cluster,
    source: Cluster,
    kubeconfig: PathBuf,
}

impl World {
    async fn start() -> anyhow::Result<Self> {
        Self::with(Cluster::builder("c2")).await
    }

    /// The same, with a source that has something special about it.
    async fn with(source: ClusterBuilder) -> anyhow::Result<Self> {
        let (target, source) = tokio::try_join!(Cluster::start("c1"), source.start())?;
        let kubeconfig = target.dir().join("kubeconfig-of-both");
        write_merged_kubeconfig(&[&target, &source], &kubeconfig)?;
        kubemcsa_ok(&kubeconfig, ["install", "--context", "c1", "--no-wait"])?;
        Ok(Self { target, source, kubeconfig })
    }

    /// Runs a command about the link, which has to succeed.
    fn run(&self, command: &[&str]) -> anyhow::Result<String> {
        kubemcsa_ok(&self.kubeconfig, command.iter().copied().chain(BOTH))
    }

    /// Runs a command about the link, whatever comes of it.
    fn attempt(&self, command: &[&str]) -> anyhow::Result<Output> {
        kubemcsa(&self.kubeconfig, command.iter().copied().chain(BOTH))
    }

    /// A command about the link that is refused: what it says.
    fn refused(&self, command: &[&str]) -> anyhow::Result<String> {
        let output = self.attempt(command)?;
        let stderr = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(1), "{command:?} ended with {}:\n{stderr}", output.status);
        Ok(stderr)
    }

    /// Starts what serves the target.
    async fn daemons(&self) -> anyhow::Result<Daemons> {
        Daemons::start(&self.target, self.target.dir(), "info").await
    }

    /// Service accounts to import, one in each of two namespaces of the source; and a namespace to import
    /// them into.
    async fn accounts(&self) -> anyhow::Result<Imports> {
        for namespace in ["team-a", "team-b"] {
            create_pod_lister(&self.source, namespace).await?;
        }
        self.target.kubectl(["create", "namespace", "demo"]).await?;
        Ok(Imports::of(self.target.client(), "demo"))
    }

    /// Ends the link on both sides, without waiting until its token is refused.
    fn forget(&self) -> anyhow::Result<()> {
        let local = ["unlink", "--local-only", "--target-context", "c1", "--source-name", "c2"];
        kubemcsa_ok(&self.kubeconfig, local)?;
        let remote = ["unlink", "--source-only", "--target-name", "c1", "--source-context", "c2"];
        kubemcsa_ok(&self.kubeconfig, remote).map(drop)
    }

    /// What `kubemcsa links` prints.
    fn table(&self) -> anyhow::Result<String> {
        kubemcsa_ok(&self.kubeconfig, ["links", "--context", "c1"])
    }

    fn links(&self) -> Imports {
        Imports::of(self.target.client(), SYSTEM_NAMESPACE)
    }

    /// The credential of the link as whoever stole it now would have it.
    async fn stolen(&self) -> anyhow::Result<Client> {
        let values = self.links().values("c2-token").await?;
        client(Kubeconfig::from_yaml(values.get(key::KUBECONFIG).context("no kubeconfig")?)?)
    }

    /// All that a source has because of links.
    async fn traces(&self) -> anyhow::Result<BTreeSet<String>> {
        let kinds = "serviceaccounts,secrets,clusterroles,clusterrolebindings,roles,rolebindings,namespaces";
        let mut found = self.source.kubectl(["get", kinds, "--all-namespaces", "-o", "name"]).await?;
        // An old source has no such kinds.
        let policies = "validatingadmissionpolicies,validatingadmissionpolicybindings";
        found += &self.source.kubectl(["get", policies, "-o", "name"]).await.unwrap_or_default();
        let system = self
            .source
            .kubectl(["-n", SYSTEM_NAMESPACE, "get", "serviceaccounts,secrets", "-o", "name"])
            .await;
        let ours =
            found.lines().filter(|name| name.contains("multicluster-service-account")).map(str::to_owned);
        Ok(ours.chain(system.unwrap_or_default().lines().map(str::to_owned)).collect())
    }
}

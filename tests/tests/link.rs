//! The commands that change a link: `bootstrap`, `allow`, `deny`, `rotate`, `unlink`; and what a stolen link can do.

mod expired;
mod grants;
mod interrupted;
mod mistaken;
mod old;
mod policies;
mod proxied;
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
use mcsa_client::contract::{LINK_LABEL, SYSTEM_NAMESPACE, key};
use mcsa_tests::{
    Cluster, ClusterBuilder, Daemons, Imports, Pool, client, create_pod_lister, kubemcsa, kubemcsa_ok,
    write_merged_kubeconfig,
};

/// The flags that name both clusters.
const BOTH: [&str; 4] = ["--target-context", "c1", "--source-context", "c2"];

/// A target `c1` with an installation, and a source `c2`. They are not linked, and no importer runs.
///
/// One test uses a fixture at a time.
struct Fixture {
    target: Cluster,
    source: Cluster,
    kubeconfig: PathBuf,
}

static FIXTURES: Pool<Fixture> = Pool::empty();

impl Fixture {
    /// Takes a fixture that another test has released, or starts one.
    async fn acquire() -> anyhow::Result<Self> {
        match FIXTURES.acquire() {
            Some(fixture) => Ok(fixture),
            None => Self::start(Cluster::builder("c2")).await,
        }
    }

    /// Starts a fixture with this source.
    async fn start(source: ClusterBuilder) -> anyhow::Result<Self> {
        let (target, source) = tokio::try_join!(Cluster::start("c1"), source.start())?;
        let kubeconfig = target.dir().join("kubeconfig-of-both");
        write_merged_kubeconfig(&[&target, &source], &kubeconfig)?;
        kubemcsa_ok(&kubeconfig, ["install", "--context", "c1", "--no-wait"])?;
        Ok(Self { target, source, kubeconfig })
    }

    /// Deletes what tests and links have left in both clusters, and makes them available to other tests. Stop the
    /// daemons first.
    ///
    /// A test that leaves other changes in a cluster must drop the fixture instead, as a test that fails does.
    async fn release(self) -> anyhow::Result<()> {
        let system = ["-n", SYSTEM_NAMESPACE, "delete"];
        let target = async {
            let namespace = ["delete", "namespace", "demo", "--ignore-not-found"];
            self.target.kubectl(system.iter().chain(&["serviceaccountimports,leases", "--all"])).await?;
            let links = format!("{LINK_LABEL}=true");
            self.target.kubectl(system.iter().chain(&["secrets", "-l", &links])).await?;
            self.target.kubectl(namespace).await
        };
        let source = async {
            let traces = self.traces().await?;
            let is_cluster_scoped = |trace: &&String| {
                ["clusterrole", "validatingadmission", "namespace/"]
                    .iter()
                    .any(|kind| trace.starts_with(kind))
            };
            let teams =
                ["delete", "--ignore-not-found", "namespace/team-a", "namespace/team-b", "namespace/team-c"];
            let all = traces.iter().filter(is_cluster_scoped).map(String::as_str);
            self.source.kubectl(["-n", "default", "delete", "roles,rolebindings", "--all"]).await?;
            self.source.kubectl(teams.into_iter().chain(all)).await
        };
        tokio::try_join!(target, source)?;
        ensure!(self.traces().await?.is_empty(), "left in the source: {:?}", self.traces().await?);
        FIXTURES.release(self);
        Ok(())
    }

    /// Runs a command about the link, which must succeed.
    fn run(&self, command: &[&str]) -> anyhow::Result<String> {
        kubemcsa_ok(&self.kubeconfig, command.iter().copied().chain(BOTH))
    }

    /// Runs a command about the link, which may fail.
    fn attempt(&self, command: &[&str]) -> anyhow::Result<Output> {
        kubemcsa(&self.kubeconfig, command.iter().copied().chain(BOTH))
    }

    /// Runs a command about the link, which must fail; returns its stderr.
    fn refused(&self, command: &[&str]) -> anyhow::Result<String> {
        let output = self.attempt(command)?;
        let stderr = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(1), "{command:?} ended with {}:\n{stderr}", output.status);
        Ok(stderr)
    }

    /// Starts importer and webhook in the target.
    async fn daemons(&self) -> anyhow::Result<Daemons> {
        Daemons::start(&self.target, self.target.dir(), "info").await
    }

    /// Creates service accounts in two namespaces of the source, and a namespace in the target to import them into.
    async fn accounts(&self) -> anyhow::Result<Imports> {
        for namespace in ["team-a", "team-b"] {
            create_pod_lister(&self.source, namespace).await?;
        }
        self.target.kubectl(["create", "namespace", "demo"]).await?;
        Ok(Imports::of(self.target.client(), "demo"))
    }

    /// Unlinks both sides, without waiting until the token is revoked.
    fn forget(&self) -> anyhow::Result<()> {
        let local = ["unlink", "--local-only", "--target-context", "c1", "--source-name", "c2"];
        kubemcsa_ok(&self.kubeconfig, local)?;
        let remote = ["unlink", "--source-only", "--target-name", "c1", "--source-context", "c2"];
        kubemcsa_ok(&self.kubeconfig, remote).map(drop)
    }

    /// The output of `kubemcsa links`.
    fn table(&self) -> anyhow::Result<String> {
        kubemcsa_ok(&self.kubeconfig, ["links", "--context", "c1"])
    }

    fn links(&self) -> Imports {
        Imports::of(self.target.client(), SYSTEM_NAMESPACE)
    }

    /// A client with the link's present credential.
    async fn stolen(&self) -> anyhow::Result<Client> {
        let values = self.links().values("c2-token").await?;
        client(Kubeconfig::from_yaml(values.get(key::KUBECONFIG).context("no kubeconfig")?)?)
    }

    /// All objects of links in the source.
    async fn traces(&self) -> anyhow::Result<BTreeSet<String>> {
        let kinds = "serviceaccounts,secrets,clusterroles,clusterrolebindings,roles,rolebindings,namespaces";
        let mut found = self.source.kubectl(["get", kinds, "--all-namespaces", "-o", "name"]).await?;
        // Old sources don't have these kinds.
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

//! `kubemcsa check` on real clusters, with each fault made for real where that can be. What can't (a lease of
//! another clock, a confined importer, a certificate of cert-manager) is in the tables beside the rules.

mod importer;
mod sources;
mod target;

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use mcsa_tests::{
    Cluster, Daemons, Imports, create_pod_lister, install_and_link, kubemcsa,
    wait_for_default_service_account,
};
use serde_json::Value;

/// A run of `kubemcsa check` that is over.
struct Checked {
    code: Option<i32>,
    said: String,
    report: Value,
}

/// Runs `kubemcsa check` as the current context of a kubeconfig, or with these flags; what it prints for programs
/// has to be whole.
fn check(kubeconfig: &Path, flags: &[&str]) -> anyhow::Result<Checked> {
    let output = kubemcsa(kubeconfig, ["check", "-o", "json"].into_iter().chain(flags.iter().copied()))?;
    let said = String::from_utf8(output.stderr)?;
    let report = serde_json::from_slice(&output.stdout).with_context(|| said.clone())?;
    Ok(Checked { code: output.status.code(), said, report })
}

impl Checked {
    /// The finding with this reason about the object of this name.
    fn finding(&self, reason: &str, object: &str) -> anyhow::Result<&Value> {
        let findings = self.report["findings"].as_array().context("findings")?;
        let found = findings.iter().find(|it| it["reason"] == reason && it["object"]["name"] == object);
        found.with_context(|| format!("no {reason} of {object} in {findings:#?}"))
    }

    /// Makes sure that this problem was found, and gives the command that mends it.
    fn problem(&self, reason: &str, object: &str) -> anyhow::Result<String> {
        let finding = self.finding(reason, object)?;
        ensure!(finding["severity"] == "Problem" && self.code == Some(1), "{finding:#?}: {:?}", self.code);
        Ok(finding["mend"].as_str().context("mend")?.to_owned())
    }

    /// Makes sure that there is nothing.
    fn all_well(&self) -> anyhow::Result<()> {
        let is_well = self.code == Some(0) && self.report["findings"] == Value::Array(Vec::new());
        ensure!(is_well && self.said.contains("all well: "), "{} {:#}", self.said, self.report);
        Ok(())
    }
}

/// Does what a person would who pastes a command for one of these clusters.
async fn paste(mend: &str, target: &Cluster, source: &Cluster) -> anyhow::Result<()> {
    let contexts = [("SOURCE_CONTEXT", source), (target.name(), target)];
    for (context, cluster) in contexts {
        if let Some(words) = mend.strip_prefix(&format!("kubectl --context {context} ")) {
            return cluster.kubectl(words.split(' ')).await.map(drop);
        }
    }
    anyhow::bail!("nothing to paste: {mend}")
}

/// A target with all that is installed, linked to a source.
struct World {
    daemons: Daemons,
    target: Cluster,
    source: Cluster,
    /// With both; the target is the current context.
    kubeconfig: PathBuf,
}

impl World {
    async fn start() -> anyhow::Result<Self> {
        let (target, source) = tokio::try_join!(Cluster::start("c1"), Cluster::start("c2"))?;
        let kubeconfig = install_and_link(&target, &source)?;
        let daemons = Daemons::start(&target, target.dir(), "debug").await?;
        Ok(Self { daemons, target, source, kubeconfig })
    }

    fn check(&self) -> anyhow::Result<Checked> {
        check(&self.kubeconfig, &[])
    }

    /// A namespace of this name in both, in the source with the service account `pod-lister`.
    async fn namespace(&self, name: &str) -> anyhow::Result<Imports> {
        create_pod_lister(&self.source, name).await?;
        self.target.kubectl(["create", "namespace", name]).await?;
        wait_for_default_service_account(&self.target, name).await;
        Ok(Imports::of(self.target.client(), name))
    }

    fn links(&self) -> Imports {
        Imports::of(self.target.client(), mcsa_client::contract::SYSTEM_NAMESPACE)
    }
}

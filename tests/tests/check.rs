//! `kubemcsa check` on real clusters with real faults. Unit tests cover faults that are hard to cause: a Lease from
//! another clock, a confined importer, a certificate of cert-manager.

mod importer;
mod sources;
mod target;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, ensure};
use mcsa_tests::{
    Cluster, Daemons, Imports, binaries, create_pod_lister, install_and_link, kubemcsa, kubemcsa_ok,
    shared_source, unique, wait_for_default_service_account, write_merged_kubeconfig,
};
use serde_json::Value;

/// The result of a run of `kubemcsa check`.
struct Checked {
    code: Option<i32>,
    stderr: String,
    report: Value,
}

/// Runs `kubemcsa check` with more flags, and parses its report.
fn check(kubeconfig: &Path, flags: &[&str]) -> anyhow::Result<Checked> {
    let output = kubemcsa(kubeconfig, ["check", "-o", "json"].into_iter().chain(flags.iter().copied()))?;
    let stderr = String::from_utf8(output.stderr)?;
    let report = serde_json::from_slice(&output.stdout).with_context(|| stderr.clone())?;
    Ok(Checked { code: output.status.code(), stderr, report })
}

impl Checked {
    /// The finding with this reason about the object with this name.
    fn finding(&self, reason: &str, object: &str) -> anyhow::Result<&Value> {
        let findings = self.report["findings"].as_array().context("findings")?;
        let found = findings.iter().find(|it| it["reason"] == reason && it["object"]["name"] == object);
        found.with_context(|| format!("no {reason} of {object} in {findings:#?}"))
    }

    /// Ensures that this problem was found; returns the fix.
    fn problem(&self, reason: &str, object: &str) -> anyhow::Result<String> {
        let finding = self.finding(reason, object)?;
        ensure!(finding["severity"] == "Problem" && self.code == Some(1), "{finding:#?}: {:?}", self.code);
        Ok(finding["fix"].as_str().context("no fix")?.to_owned())
    }

    /// Ensures that there are no findings.
    fn no_findings(&self) -> anyhow::Result<()> {
        let is_empty = self.code == Some(0) && self.report["findings"] == Value::Array(Vec::new());
        ensure!(is_empty && self.stderr.contains("no problems ("), "{} {:#}", self.stderr, self.report);
        Ok(())
    }
}

/// Runs the kubectl command of a fix, for the cluster that its context names.
async fn run_fix(fix: &str, target: &Cluster, source: &Cluster) -> anyhow::Result<()> {
    let contexts = [("SOURCE_CONTEXT", source), (target.name(), target)];
    for (context, cluster) in contexts {
        if let Some(args) = fix.strip_prefix(&format!("kubectl --context {context} ")) {
            return cluster.kubectl(args.split(' ')).await.map(drop);
        }
    }
    anyhow::bail!("not a kubectl command: {fix}")
}

/// Runs the kubectl commands of a fix for the target, as a user who pastes them.
async fn run_in_shell(fix: &str, target: &Cluster) -> anyhow::Result<()> {
    let kubectl = &binaries().await?.kubectl;
    let folder = kubectl.parent().context("kubectl is in no folder")?;
    let path = std::env::var("PATH").unwrap_or_default();
    let mut shell = tokio::process::Command::new("sh");
    shell.args(["-e", "-c", fix]).current_dir(target.dir()).env("KUBECONFIG", target.kubeconfig());
    let output = shell.env("PATH", format!("{}:{path}", folder.display())).output().await?;
    ensure!(output.status.success(), "{fix}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// A target `c1` with an installation, linked to the shared source. No importer runs.
struct Linked {
    target: Cluster,
    source: Arc<Cluster>,
    /// The name of the target in the source. It is unique, because tests share the source.
    target_name: String,
    /// For both; the current context is the target's.
    kubeconfig: PathBuf,
}

impl Linked {
    async fn start() -> anyhow::Result<Self> {
        let (target, source) = tokio::try_join!(Cluster::start("c1"), shared_source())?;
        let target_name = unique("target");
        let kubeconfig = target.dir().join("kubeconfig-of-both");
        write_merged_kubeconfig(&[&target, &source], &kubeconfig)?;
        kubemcsa_ok(&kubeconfig, ["install", "--context", "c1", "--no-wait"])?;
        let contexts = ["--target-context", "c1", "--source-context", "c2"];
        kubemcsa_ok(&kubeconfig, ["bootstrap", "--target-name", &target_name].into_iter().chain(contexts))?;
        Ok(Self { target, source, target_name, kubeconfig })
    }
}

/// A target with importer and webhook, linked to a source.
struct Fixture {
    daemons: Daemons,
    target: Cluster,
    source: Arc<Cluster>,
    /// For both; the current context is the target's.
    kubeconfig: PathBuf,
}

impl Fixture {
    /// Starts a target that is linked to the shared source.
    async fn start() -> anyhow::Result<Self> {
        let Linked { target, source, kubeconfig, .. } = Linked::start().await?;
        Self::serve(target, source, kubeconfig).await
    }

    /// Starts a target that is linked to a source of its own.
    async fn with_own_source() -> anyhow::Result<Self> {
        let (target, source) = tokio::try_join!(Cluster::start("c1"), Cluster::start("c2"))?;
        let kubeconfig = install_and_link(&target, &source)?;
        Self::serve(target, source.into(), kubeconfig).await
    }

    async fn serve(target: Cluster, source: Arc<Cluster>, kubeconfig: PathBuf) -> anyhow::Result<Self> {
        let daemons = Daemons::start(&target, target.dir(), "debug").await?;
        Ok(Self { daemons, target, source, kubeconfig })
    }

    fn check(&self) -> anyhow::Result<Checked> {
        check(&self.kubeconfig, &[])
    }

    /// Creates a namespace in both clusters, in the source with the service account `pod-lister`.
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

//! A target, and its sources.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use mcsa_tests::{Cluster, kubemcsa_ok, merged_kubeconfig};

/// How many clusters start at once.
const AT_A_TIME: usize = 4;

/// What is measured upon.
pub struct Scene {
    /// The target, `c1`.
    pub target: Cluster,
    /// The sources, `s0` and on.
    pub sources: Vec<Cluster>,
    /// A context for each.
    pub kubeconfig: PathBuf,
}

impl Scene {
    /// Starts all clusters.
    pub async fn start(sources: u32) -> anyhow::Result<Self> {
        let target = Cluster::start("c1").await?;
        let start = async |number: u32| Cluster::start(&format!("s{number}")).await;
        let sources: Vec<_> = stream::iter((0..sources).map(start)).buffered(AT_A_TIME).try_collect().await?;
        let kubeconfig = target.dir().join("kubeconfig-of-all");
        let all: Vec<_> = std::iter::once(&target).chain(&sources).collect();
        merged_kubeconfig(&all, &kubeconfig)?;
        kubemcsa_ok(&kubeconfig, ["install", "--context", "c1", "--no-wait"])?;
        Ok(Self { target, sources, kubeconfig })
    }

    /// Ends the link to a source, without waiting until its token is refused.
    pub fn forget(&self, source: &str) -> anyhow::Result<()> {
        let local = ["unlink", "--local-only", "--target-context", "c1", "--source-name", source];
        kubemcsa_ok(&self.kubeconfig, local)?;
        let remote = ["unlink", "--source-only", "--target-name", "c1", "--source-context", source];
        kubemcsa_ok(&self.kubeconfig, remote).map(drop)
    }

    /// How long a run of kubemcsa takes.
    pub fn time(&self, args: &[&str]) -> anyhow::Result<Duration> {
        let start = Instant::now();
        kubemcsa_ok(&self.kubeconfig, args.iter().copied())?;
        Ok(start.elapsed())
    }
}

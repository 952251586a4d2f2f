//! A target and its sources.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use mcsa_tests::{Cluster, kubemcsa_ok, write_merged_kubeconfig};

/// Number of clusters to start at the same time.
const CONCURRENCY: usize = 4;

pub struct Fixture {
    /// The target, `c1`.
    pub target: Cluster,
    /// The sources, from `s0` on.
    pub sources: Vec<Cluster>,
    /// Has a context for each cluster.
    pub kubeconfig: PathBuf,
}

impl Fixture {
    /// Starts the target and the first source.
    pub async fn start() -> anyhow::Result<Self> {
        let target = Cluster::start("c1").await?;
        let kubeconfig = target.dir().join("kubeconfig-of-all");
        let mut fixture = Self { target, sources: Vec::new(), kubeconfig };
        fixture.start_sources(1).await?;
        kubemcsa_ok(&fixture.kubeconfig, ["install", "--context", "c1", "--no-wait"])?;
        Ok(fixture)
    }

    /// Starts sources until `sources` of them run.
    pub async fn start_sources(&mut self, sources: u32) -> anyhow::Result<()> {
        let start = async |number: u32| Cluster::start(&format!("s{number}")).await;
        let running = u32::try_from(self.sources.len())?;
        let more: Vec<_> =
            stream::iter((running..sources).map(start)).buffered(CONCURRENCY).try_collect().await?;
        self.sources.extend(more);
        let all: Vec<_> = std::iter::once(&self.target).chain(&self.sources).collect();
        write_merged_kubeconfig(&all, &self.kubeconfig)
    }

    /// Unlinks a source, without waiting until its token is refused.
    pub fn unlink(&self, source: &str) -> anyhow::Result<()> {
        let local = ["unlink", "--local-only", "--target-context", "c1", "--source-name", source];
        kubemcsa_ok(&self.kubeconfig, local)?;
        let remote = ["unlink", "--source-only", "--target-name", "c1", "--source-context", source];
        kubemcsa_ok(&self.kubeconfig, remote).map(drop)
    }

    /// Runs kubemcsa, and returns the duration.
    pub fn time(&self, args: &[&str]) -> anyhow::Result<Duration> {
        let start = Instant::now();
        kubemcsa_ok(&self.kubeconfig, args.iter().copied())?;
        Ok(start.elapsed())
    }
}

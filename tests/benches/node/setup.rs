//! Sets everything up, step by step, until pods call the source.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use mcsa_tests::{Installation, eventually};

pub const NAMESPACE: &str = "shop";

/// The duration of each step.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Start two clusters and a node, and load the images.
    pub boot: Duration,
    /// `kubemcsa install`, until the pods are available.
    pub install: Duration,
    /// `kubemcsa bootstrap`.
    pub bootstrap: Duration,
    /// An import, until it is ready.
    pub import: Duration,
    /// A Deployment, until both its pods have listed pods in the source.
    pub deployment: Duration,
}

pub async fn run(
    boot: impl AsyncFnOnce() -> anyhow::Result<Option<Installation>>,
) -> anyhow::Result<(Setup, Installation)> {
    let mut start = Instant::now();
    let mut lap = || std::mem::replace(&mut start, Instant::now()).elapsed();
    let installed = boot().await?.context("this machine cannot run a node")?;
    let boot = lap();
    installed.install()?;
    let install = lap();
    installed.bootstrap(&["--source-server", &installed.source.server()])?;
    let bootstrap = lap();
    let imports = installed.create_namespace(NAMESPACE).await?;
    lap();
    installed.create_import(&imports, NAMESPACE).await?;
    let import = lap();
    installed.deploy_listers(NAMESPACE).await?;
    eventually("both pods have listed", async || {
        let listers = installed.lister_logs(NAMESPACE)?;
        ensure!(listers.len() == 2 && listers.iter().all(|lister| !lister.servers.is_empty()), "{listers:?}");
        Ok(())
    })
    .await;
    let deployment = lap();
    Ok((Setup { boot, install, bootstrap, import, deployment }, installed))
}

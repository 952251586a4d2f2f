//! Builds programs and images before tests start.

use crate::node::Node;
use crate::node::programs::programs;
use crate::programs::build_once;
use crate::{argo, binaries, helm, images, metrics_server, prometheus};

/// Builds what end-to-end tests would build when they first need it: this workspace's programs, Kubernetes, helm,
/// promtool, and, if this machine can run a node, its programs, metrics-server, Argo Workflows and our images.
///
/// Tests are slower while compilers run.
pub async fn prepare() -> anyhow::Result<()> {
    build_once()?;
    binaries().await?;
    helm::program().await?;
    prometheus::program().await?;
    if Node::is_possible() {
        programs().await?;
        metrics_server::program().await?;
        argo::programs().await?;
        images().await?;
    }
    Ok(())
}

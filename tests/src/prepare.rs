//! Everything that the tests run and do not contain, built before they start.

use crate::node::{Node, programs};
use crate::programs::built;
use crate::{binaries, helm, images, prometheus};

/// Builds what the end-to-end tests otherwise build when the first of them needs it: this workspace's programs,
/// Kubernetes, helm, promtool, and, where a node can run, its programs and our images.
///
/// Tests that run beside compilers wait longer for everything.
pub async fn prepare() -> anyhow::Result<()> {
    built()?;
    binaries().await?;
    helm::program().await?;
    prometheus::program().await?;
    if Node::is_possible() {
        programs().await?;
        images().await?;
    }
    Ok(())
}

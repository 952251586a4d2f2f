//! Connects to both clusters and reads their UIDs.

use anyhow::bail;

use super::plan::{Plan, Side};
use super::progress::Progress;
use crate::cluster::Cluster;

/// A connection to a cluster, and the UID of its `kube-system`.
#[derive(Clone)]
pub(crate) struct Reached {
    cluster: Cluster,
    uid: String,
}

impl Reached {
    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    pub(crate) fn uid(&self) -> &str {
        &self.uid
    }
}

/// Connections to two clusters; they are the same cluster only with `--allow-self`.
pub(crate) struct Connected {
    plan: Plan,
    target: Reached,
    source: Reached,
    progress: Progress,
}

impl Connected {
    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    pub(crate) fn target(&self) -> &Cluster {
        &self.target.cluster
    }

    pub(crate) fn source(&self) -> &Cluster {
        &self.source.cluster
    }

    pub(crate) fn target_uid(&self) -> &str {
        &self.target.uid
    }

    pub(crate) fn source_uid(&self) -> &str {
        &self.source.uid
    }

    pub(crate) fn progress(&self) -> &Progress {
        &self.progress
    }
}

pub(crate) async fn reach(side: &Side) -> anyhow::Result<Reached> {
    let cluster = side.chosen().connect_as(side.name()).await?;
    let uid = cluster.uid().await?;
    Ok(Reached { cluster, uid })
}

pub(crate) async fn connect(plan: Plan, progress: Progress) -> anyhow::Result<Connected> {
    let (target, source) = tokio::join!(reach(plan.target()), reach(plan.source()));
    pair(plan, target?, source?, progress)
}

/// Fails if both contexts lead to the same cluster.
pub(crate) fn pair(
    plan: Plan,
    target: Reached,
    source: Reached,
    progress: Progress,
) -> anyhow::Result<Connected> {
    if target.uid == source.uid && !plan.flags().allow_self {
        bail!(
            "{} ({}) and {} ({}) are the same cluster: their kube-system has the same UID {}; choose another context with \
             --target-context or --source-context, or pass --allow-self",
            target.cluster.name,
            target.cluster.address,
            source.cluster.name,
            source.cluster.address,
            target.uid,
        );
    }
    Ok(Connected { plan, target, source, progress })
}

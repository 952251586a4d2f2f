//! Connects to both clusters, and reads which clusters they are.

use anyhow::bail;

use super::plan::{Plan, Side};
use super::progress::Progress;
use crate::cluster::Cluster;

/// One of the two clusters, reached.
#[derive(Clone)]
pub struct Reached {
    /// The connection.
    pub cluster: Cluster,
    /// UID of its `kube-system`.
    pub uid: String,
}

/// Both clusters, reached, and not the same one.
pub struct Connected {
    /// Which link it is.
    pub plan: Plan,
    /// Who receives credentials.
    pub target: Cluster,
    /// Who owns the service accounts.
    pub source: Cluster,
    /// UID of the target's `kube-system`.
    pub target_uid: String,
    /// UID of the source's `kube-system`.
    pub source_uid: String,
    /// How people are told what happens.
    pub progress: Progress,
}

/// Connects to one.
///
/// # Errors
/// When it can't be reached, or doesn't let us in.
pub async fn reach(side: &Side) -> anyhow::Result<Reached> {
    let cluster = side.chosen.connect_as(&side.name).await?;
    let uid = cluster.uid().await?;
    Ok(Reached { cluster, uid })
}

/// Connects to both.
///
/// # Errors
/// When a cluster can't be reached or doesn't let us in, or both are one.
pub async fn connect(plan: Plan, progress: Progress) -> anyhow::Result<Connected> {
    let (target, source) = tokio::join!(reach(&plan.target), reach(&plan.source));
    pair(plan, target?, source?, progress)
}

/// Puts two clusters together.
///
/// # Errors
/// When they are one.
pub fn pair(plan: Plan, target: Reached, source: Reached, progress: Progress) -> anyhow::Result<Connected> {
    if target.uid == source.uid && !plan.flags.allow_self {
        bail!(
            "{} ({}) and {} ({}) are the same cluster: their kube-system has the same UID {}; choose another \
             with --target-context or --source-context, or pass --allow-self",
            target.cluster.name,
            target.cluster.address,
            source.cluster.name,
            source.cluster.address,
            target.uid,
        );
    }
    Ok(Connected {
        plan,
        target: target.cluster,
        source: source.cluster,
        target_uid: target.uid,
        source_uid: source.uid,
        progress,
    })
}

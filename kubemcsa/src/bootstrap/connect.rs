//! Connects to both clusters, and reads which clusters they are.

use anyhow::bail;

use super::refuse::{Plan, Side};
use crate::cluster::Cluster;

/// Both clusters, reached, and not the same one.
pub struct Connected {
    /// What is to be linked.
    pub plan: Plan,
    /// Who receives credentials.
    pub target: Cluster,
    /// Who owns the service accounts.
    pub source: Cluster,
    /// UID of the target's `kube-system`.
    pub target_uid: String,
    /// UID of the source's `kube-system`.
    pub source_uid: String,
}

/// Connects.
///
/// # Errors
/// When a cluster can't be reached or doesn't let us in, or both are one.
pub async fn connect(plan: Plan) -> anyhow::Result<Connected> {
    let target = cluster(&plan.target).await?;
    let source = cluster(&plan.source).await?;
    let (target_uid, source_uid) = tokio::join!(target.uid(), source.uid());
    let (target_uid, source_uid) = (target_uid?, source_uid?);
    if target_uid == source_uid && !plan.args.allow_self {
        bail!(
            "{} ({}) and {} ({}) are the same cluster: their kube-system has the same UID {target_uid}; choose another \
             with --target-context or --source-context, or pass --allow-self",
            target.name,
            target.address,
            source.name,
            source.address,
        );
    }
    Ok(Connected { plan, target, source, target_uid, source_uid })
}

async fn cluster(side: &Side) -> anyhow::Result<Cluster> {
    let identity = format!("context {}", side.chosen.context);
    Ok(Cluster::new(&side.name, &identity, side.chosen.config().await?)?)
}

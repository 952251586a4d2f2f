//! A kubeconfig of several clusters.

use std::path::Path;

use kube::config::Kubeconfig;

use crate::cluster::Cluster;
use crate::kubeconfig::write;

/// Writes a kubeconfig with a context for each cluster. The first is the current context.
pub fn write_merged_kubeconfig(clusters: &[&Cluster], path: impl AsRef<Path>) -> anyhow::Result<()> {
    let mut merged = Kubeconfig::default();
    for cluster in clusters {
        merged = merged.merge(cluster.kubeconfig_value())?;
    }
    write(&merged, path.as_ref())
}

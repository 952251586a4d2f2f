//! The two clusters that tests share.

use futures::try_join;
use tokio::sync::OnceCell;

use crate::cluster::Cluster;

/// The clusters `c1` and `c2`, which the first call starts.
///
/// Tests use separate namespaces and names. A test that breaks a cluster, or counts its requests, starts its own. The
/// shared clusters are never dropped: they end with the process.
pub async fn shared_clusters() -> &'static (Cluster, Cluster) {
    static CLUSTERS: OnceCell<(Cluster, Cluster)> = OnceCell::const_new();
    let started =
        CLUSTERS.get_or_try_init(async || try_join!(Cluster::start("c1"), Cluster::start("c2"))).await;
    started.unwrap_or_else(|error| panic!("starting the shared clusters: {error:#}"))
}

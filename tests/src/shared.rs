//! The pair of clusters that the tests of one binary share.

use futures::try_join;
use tokio::sync::OnceCell;

use crate::cluster::Cluster;

/// The clusters `c1` and `c2`, started by the first test that asks.
///
/// Tests keep apart by namespaces and names; one that harms a cluster, or counts its calls, starts
/// its own. The two are never dropped: they end with the process.
pub async fn pair() -> &'static (Cluster, Cluster) {
    static PAIR: OnceCell<(Cluster, Cluster)> = OnceCell::const_new();
    let started = PAIR.get_or_try_init(async || try_join!(Cluster::start("c1"), Cluster::start("c2"))).await;
    started.unwrap_or_else(|error| panic!("starting the shared clusters: {error:#}"))
}

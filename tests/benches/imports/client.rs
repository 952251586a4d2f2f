//! Creates a client like the importer's.

use std::path::Path;
use std::time::Duration;

use kube::Client;
use mcsa_runtime::cluster::ClusterArgs;

/// Creates a client for the current context of a kubeconfig. It doesn't retry, because the importer's queue does.
pub async fn of(kubeconfig: &Path) -> anyhow::Result<Client> {
    let cluster = ClusterArgs { kubeconfig: Some(kubeconfig.to_path_buf()), ..Default::default() };
    let mut config = cluster.config().await?;
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(10));
    Ok(Client::try_from(config)?)
}

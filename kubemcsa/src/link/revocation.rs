//! Waits until a token is revoked.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::config::AuthInfo;
use mcsa_credentials::SecretString;
use tokio::time::{Instant, sleep};

use crate::cluster::Cluster;
use crate::cluster::kubeconfig::ChosenContext;

/// API servers cache an authenticated token for 10 s, and several may share an address.
const TIMEOUT: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenState {
    Revoked,
    /// The source still authenticates the token.
    Accepted,
}

/// Waits until the source rejects the token, or the timeout expires. Fails if the source is unreachable.
pub(crate) async fn wait_until_revoked(
    source: &Cluster,
    chosen: &ChosenContext,
    token: SecretString,
) -> anyhow::Result<TokenState> {
    let mut config = chosen.config()?;
    config.auth_info = AuthInfo { token: Some(token), ..Default::default() };
    let cluster = Cluster::new(&source.name, "the old token", config)?;
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let response = cluster.call("read namespace kube-system", namespaces.get("kube-system")).await;
        match response {
            Err(error) if error.is_unauthorized() => return Ok(TokenState::Revoked),
            Err(error) if error.refusal().is_none() && Instant::now() >= deadline => return Err(error.into()),
            // A token that is forbidden to read the namespace is still authenticated.
            Ok(_) | Err(_) if Instant::now() >= deadline => return Ok(TokenState::Accepted),
            Ok(_) | Err(_) => sleep(INTERVAL).await,
        }
    }
}

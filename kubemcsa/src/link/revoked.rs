//! Seeing that a token is dead: what was stolen is worth nothing any more.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::config::AuthInfo;
use mcsa_credentials::SecretString;
use tokio::time::{Instant, sleep};

use crate::cluster::Cluster;
use crate::cluster::kubeconfig::Chosen;

/// An API server takes a token that it has just seen for good for 10 s, and several may stand behind one
/// address.
const DEAD_WITHIN: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_secs(1);

/// What the source makes of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It knows it no more.
    Dead,
    /// It still accepts it.
    Alive,
}

/// Waits until the source refuses the token.
///
/// # Errors
/// When it can't be asked all that time.
pub async fn until_refused(source: &Cluster, chosen: &Chosen, token: SecretString) -> anyhow::Result<Seen> {
    let mut config = chosen.config()?;
    config.auth_info = AuthInfo { token: Some(token), ..Default::default() };
    let thief = Cluster::new(&source.name, "the old token", config)?;
    let namespaces: Api<Namespace> = Api::all(thief.client.clone());
    let deadline = Instant::now() + DEAD_WITHIN;
    loop {
        let answer = thief.call("read namespace kube-system", namespaces.get("kube-system")).await;
        match answer {
            Err(error) if error.is_unauthorized() => return Ok(Seen::Dead),
            Err(error) if error.refusal().is_none() && Instant::now() >= deadline => return Err(error.into()),
            // Whether it may or not: it is still known.
            Ok(_) | Err(_) if Instant::now() >= deadline => return Ok(Seen::Alive),
            Ok(_) | Err(_) => sleep(PAUSE).await,
        }
    }
}

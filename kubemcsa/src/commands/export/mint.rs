//! Third step: mints the token.

use anyhow::Context;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::PostParams;
use mcsa_credentials::SecretString;
use mcsa_credentials::token;

use super::args::Args;
use crate::cluster::Cluster;

#[derive(Debug)]
pub(crate) struct Minted {
    pub(crate) token: SecretString,
    /// Earlier than requested if the source grants a shorter lifetime.
    pub(crate) expires_at: Timestamp,
}

/// Mints a token with the API server's own audience.
pub(crate) async fn mint(cluster: &Cluster, namespace: &str, args: &Args) -> anyhow::Result<Minted> {
    let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client.clone(), namespace);
    let request = token::request(args.duration.as_secs(), &[], None);
    let doing = format!("mint a token of service account {namespace}/{}", args.name);
    let params = PostParams::default();
    let call = accounts.create_token_request(&args.name, &params, &request);
    let status = cluster.call(&doing, call).await?.status;
    let status =
        status.with_context(|| format!("{}: can't {doing}: the response has no token", cluster.name))?;
    Ok(Minted { token: status.token.into(), expires_at: status.expiration_timestamp.0 })
}

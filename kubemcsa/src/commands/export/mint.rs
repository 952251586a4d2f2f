//! The token.

use anyhow::Context;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::PostParams;
use mcsa_credentials::SecretString;
use mcsa_credentials::token;

use super::args::Args;
use crate::cluster::Cluster;

/// A token that the source has just minted.
#[derive(Debug)]
pub struct Minted {
    /// The token.
    pub token: SecretString,
    /// When it expires; sooner than was asked for, where the source grants less.
    pub expires_at: Timestamp,
}

/// Mints a token of the service account, for the API server itself.
///
/// # Errors
/// When there is no such service account, or no right to mint for it.
pub async fn mint(cluster: &Cluster, namespace: &str, args: &Args) -> anyhow::Result<Minted> {
    let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client.clone(), namespace);
    let request = token::request(args.duration.as_secs(), &[], None);
    let doing = format!("mint a token of service account {namespace}/{}", args.name);
    let params = PostParams::default();
    let call = accounts.create_token_request(&args.name, &params, &request);
    let status = cluster.call(&doing, call).await?.status;
    let status =
        status.with_context(|| format!("{}: can't {doing}: the answer has no token", cluster.name))?;
    Ok(Minted { token: status.token.into(), expires_at: status.expiration_timestamp.0 })
}

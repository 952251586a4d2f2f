//! The targets that a source knows: each has a service account in its system namespace.

use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use mcsa_credentials::contract::{SYSTEM_NAMESPACE, TARGET_UID};

use crate::cluster::call::CallError;
use crate::cluster::{Cluster, list};

/// The names of all of them.
///
/// # Errors
/// When the source can't be asked.
pub async fn targets(source: &Cluster) -> Result<Vec<String>, CallError> {
    Ok(all(source).await?.iter().map(ResourceExt::name_any).collect())
}

/// The names by which it knows the target of this UID.
///
/// # Errors
/// When the source can't be asked.
pub async fn names_of(source: &Cluster, target_uid: &str) -> Result<Vec<String>, CallError> {
    let accounts = all(source).await?;
    let its = accounts.iter().filter(|account| account.annotations()[TARGET_UID] == target_uid);
    Ok(its.map(ResourceExt::name_any).collect())
}

async fn all(source: &Cluster) -> Result<Vec<ServiceAccount>, CallError> {
    let accounts: Api<ServiceAccount> = Api::namespaced(source.client.clone(), SYSTEM_NAMESPACE);
    let page = async |params: &ListParams| accounts.list(params).await;
    let mut accounts = list::pages(source, "list service accounts", ListParams::default(), page).await?;
    accounts.retain(|account| account.annotations().contains_key(TARGET_UID));
    Ok(accounts)
}

/// The UID of the target of this name; none: the source knows no such target.
///
/// # Errors
/// When the source can't be asked.
pub async fn target_uid(source: &Cluster, target: &str) -> Result<Option<String>, CallError> {
    let accounts: Api<ServiceAccount> = Api::namespaced(source.client.clone(), SYSTEM_NAMESPACE);
    let doing = format!("read service account {SYSTEM_NAMESPACE}/{target}");
    let account = source.call(&doing, accounts.get_opt(target)).await?;
    Ok(account.and_then(|account| account.annotations().get(TARGET_UID).cloned()))
}

//! The targets that a source knows: each has a service account in the source's system namespace.

use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use mcsa_credentials::contract::{SYSTEM_NAMESPACE, TARGET_UID};

use crate::cluster::call::CallError;
use crate::cluster::{Cluster, list};

pub(crate) async fn names(source: &Cluster) -> Result<Vec<String>, CallError> {
    Ok(service_accounts(source).await?.iter().map(ResourceExt::name_any).collect())
}

/// All names by which the source knows the target with this UID.
pub(crate) async fn names_by_uid(source: &Cluster, target_uid: &str) -> Result<Vec<String>, CallError> {
    let accounts = service_accounts(source).await?;
    let with_uid = accounts.iter().filter(|account| account.annotations()[TARGET_UID] == target_uid);
    Ok(with_uid.map(ResourceExt::name_any).collect())
}

async fn service_accounts(source: &Cluster) -> Result<Vec<ServiceAccount>, CallError> {
    let accounts: Api<ServiceAccount> = Api::namespaced(source.client.clone(), SYSTEM_NAMESPACE);
    let page = async |params: &ListParams| accounts.list(params).await;
    let mut accounts = list::pages(source, "list service accounts", ListParams::default(), page).await?;
    accounts.retain(|account| account.annotations().contains_key(TARGET_UID));
    Ok(accounts)
}

/// The UID of the target with this name; `None`: the source knows no such target.
pub(crate) async fn uid(source: &Cluster, target: &str) -> Result<Option<String>, CallError> {
    let accounts: Api<ServiceAccount> = Api::namespaced(source.client.clone(), SYSTEM_NAMESPACE);
    let doing = format!("read service account {SYSTEM_NAMESPACE}/{target}");
    let account = source.call(&doing, accounts.get_opt(target)).await?;
    Ok(account.and_then(|account| account.annotations().get(TARGET_UID).cloned()))
}

//! The namespaces that an importer is to be confined to.

use anyhow::bail;
use kube::ResourceExt;
use kube::api::DynamicObject;
use mcsa_client::contract::SYSTEM_NAMESPACE;

use crate::cluster::{Cluster, apply, object};
use crate::manifests;

/// Makes sure that each is there; the system namespace is made if it is not.
///
/// # Errors
/// When one is not there, with the mend, or can't be asked about.
pub async fn ensure_there(cluster: &Cluster, namespaces: &[String], kubectl: &str) -> anyhow::Result<()> {
    let mut missing = Vec::new();
    for name in namespaces.iter().filter(|name| *name != SYSTEM_NAMESPACE) {
        let mut namespace = manifests::namespace()?;
        namespace.metadata.name = Some(name.clone());
        if !apply::is_there(cluster, &namespace).await? {
            missing.push(name.as_str());
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let create: Vec<_> = missing.iter().map(|name| format!("{kubectl} create namespace {name}")).collect();
    bail!(
        "{}: there is no namespace {}, so nothing was installed; create what is missing and run this again: {}",
        cluster.name,
        missing.join(", "),
        create.join(" && "),
    )
}

/// Makes sure that nobody who only meant to install anew gives an importer more than it had.
///
/// # Errors
/// When what is granted so far is of an importer that is confined.
pub fn ensure_not_confined(cluster: &Cluster, granted: &[DynamicObject]) -> anyhow::Result<()> {
    let roles = granted.iter().filter(|it| object::kind(it) == "Role" && object::is_ours(it));
    let mut served: Vec<_> = roles.filter_map(ResourceExt::namespace).collect();
    if served.len() > 1 {
        served.retain(|namespace| namespace != SYSTEM_NAMESPACE);
    }
    if served.is_empty() {
        return Ok(());
    }
    let served = served.join(",");
    bail!(
        "{}: the importer is confined to {served}, so nothing was installed; run this again with --namespaces \
         {served} to leave it so, or with --all-namespaces to have it serve all",
        cluster.name,
    )
}

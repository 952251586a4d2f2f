//! The namespaces that an importer is to be confined to.

use anyhow::bail;
use mcsa_client::contract::SYSTEM_NAMESPACE;

use crate::cluster::Cluster;
use crate::{apply, manifests};

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

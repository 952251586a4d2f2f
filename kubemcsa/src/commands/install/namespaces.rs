//! Checks of the namespaces that the importer will serve.

use anyhow::bail;
use kube::ResourceExt;
use kube::api::DynamicObject;
use mcsa_client::contract::SYSTEM_NAMESPACE;

use crate::cluster::kubeconfig::ChosenContext;
use crate::cluster::{Cluster, apply, object};
use crate::commands::for_context;
use crate::manifests;

/// Fails if a namespace doesn't exist, except the system namespace, which is created later.
pub(crate) async fn ensure_exist(
    cluster: &Cluster,
    namespaces: &[String],
    chosen: &ChosenContext,
) -> anyhow::Result<()> {
    let mut missing = Vec::new();
    for name in namespaces.iter().filter(|name| *name != SYSTEM_NAMESPACE) {
        let mut namespace = manifests::namespace()?;
        namespace.metadata.name = Some(name.clone());
        if !apply::exists(cluster, &namespace).await? {
            missing.push(name.as_str());
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let create = missing.iter().map(|name| format!("{} create namespace {name}", chosen.kubectl()));
    let mut commands: Vec<_> = create.collect();
    commands.push(format!("{} --namespaces {}", for_context("install", chosen), namespaces.join(",")));
    bail!(
        "{}: no namespace {}; nothing was installed; to create it and continue: {}",
        cluster.name,
        missing.join(", "),
        commands.join(" && "),
    )
}

/// Fails if the installed importer is confined to some namespaces: an upgrade without flags must not widen its rights.
pub(crate) fn ensure_not_confined(
    cluster: &Cluster,
    granted: &[DynamicObject],
    chosen: &ChosenContext,
) -> anyhow::Result<()> {
    let roles = granted.iter().filter(|it| object::kind(it) == "Role" && object::is_ours(it));
    let mut served: Vec<_> = roles.filter_map(ResourceExt::namespace).collect();
    if served.len() > 1 {
        served.retain(|namespace| namespace != SYSTEM_NAMESPACE);
    }
    if served.is_empty() {
        return Ok(());
    }
    let served = served.join(",");
    let install = for_context("install", chosen);
    bail!(
        "{}: the importer serves only {served}; nothing was installed; to keep that: {install} --namespaces {served}; \
         to serve all namespaces: {install} --all-namespaces",
        cluster.name,
    )
}

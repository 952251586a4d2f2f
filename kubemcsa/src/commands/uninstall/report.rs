//! Last step: reports what is kept, how to delete it, and which sources still trust this cluster.

use kube::api::ListParams;
use mcsa_client::contract::SYSTEM_NAMESPACE;

use super::command_line;
use crate::cli::output;
use crate::cluster::deleter::Deleter;
use crate::cluster::kubeconfig::ChosenContext;
use crate::cluster::policies::Policies;
use crate::cluster::{apply, list};
use crate::link::existing::ExistingLink;
use crate::link::flags::SourceFlags;
use crate::link::trust::revocation_advice;
use crate::manifests;

pub(crate) async fn report(
    deleter: &Deleter,
    chosen: &ChosenContext,
    links: &[ExistingLink],
    delete_imports: bool,
) -> anyhow::Result<()> {
    let info = |text: &str| output::info(&deleter.cluster.name, text);
    if deleter.deleted == 0 {
        info("nothing to delete");
    }
    if !delete_imports {
        let kept = kept(deleter, links).await?;
        if !kept.is_empty() {
            info(&format!("kept: {}", kept.join(", ")));
            info(&format!("to delete these as well: {}", command_line(chosen, true)));
        }
    }
    report_trust(deleter, links);
    Ok(())
}

/// Reports which sources still trust this cluster, and how to revoke that.
pub(crate) fn report_trust(deleter: &Deleter, links: &[ExistingLink]) {
    for link in links {
        output::info(&deleter.cluster.name, &revocation_advice(link, &SourceFlags::default()));
    }
}

async fn kept(deleter: &Deleter, links: &[ExistingLink]) -> anyhow::Result<Vec<String>> {
    let cluster = &deleter.cluster;
    let imports = list::imports(cluster, None, ListParams::default())
        .await?
        .iter()
        .filter(|import| !list::is_link(import))
        .count();
    let mut kept = Vec::new();
    match imports {
        0 => {}
        1 => kept.push("1 import with its Secret (no longer refreshed)".into()),
        count => kept.push(format!("{count} imports with their Secrets (no longer refreshed)")),
    }
    if !links.is_empty() {
        let names: Vec<_> = links.iter().map(|link| link.cluster_name.as_str()).collect();
        kept.push(format!("the links to {} (with credentials)", names.join(" and ")));
    }
    if apply::read(cluster, &manifests::crd()?).await?.is_some() {
        kept.push("the ServiceAccountImport CRD".into());
    }
    if apply::read(cluster, &manifests::policy_crd()?).await?.is_some() {
        kept.push(match Policies::read(cluster).await?.all.len() {
            0 => "the ImportPolicy CRD".into(),
            1 => "the ImportPolicy CRD with 1 policy".into(),
            count => format!("the ImportPolicy CRD with {count} policies"),
        });
    }
    if apply::read(cluster, &manifests::namespace()?).await?.is_some() {
        kept.push(format!("namespace {SYSTEM_NAMESPACE}"));
    }
    Ok(kept)
}

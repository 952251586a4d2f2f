//! Last step: reports what is kept, how to delete it, and which sources still trust this cluster.

use kube::api::ListParams;
use mcsa_client::contract::SYSTEM_NAMESPACE;

use super::command_line;
use crate::cli::output;
use crate::cluster::deleter::Deleter;
use crate::cluster::kubeconfig::{ChosenContext, shell_quote};
use crate::cluster::policies::Policies;
use crate::cluster::{apply, list};
use crate::link::existing::ExistingLink;
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
    links.iter().for_each(|link| output::info(&deleter.cluster.name, &trust(link)));
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

fn trust(link: &ExistingLink) -> String {
    let source = &link.cluster_name;
    match &link.import {
        Some(import) => format!(
            "{source} still trusts this cluster; to revoke that: kubemcsa unlink --source-only --target-name {} \
             --source-context CONTEXT",
            shell_quote(&import.spec.name)
        ),
        None => {
            format!("{source} still trusts this cluster by a link that was created by hand; revoke it there")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mcsa_client::{ServiceAccountImport, ServiceAccountImportSpec};

    #[test]
    fn trust_is_revoked_by_unlink_unless_the_link_was_created_by_hand() {
        let spec = ServiceAccountImportSpec { name: "c1".into(), ..Default::default() };
        let import = ServiceAccountImport::new("c2", spec);
        let link = |import| ExistingLink { cluster_name: "c2".into(), import, secret: None };
        let unlink = "kubemcsa unlink --source-only --target-name c1 --source-context CONTEXT";
        assert!(trust(&link(Some(import))).ends_with(unlink));
        assert!(!trust(&link(None)).contains("kubemcsa"));
    }
}

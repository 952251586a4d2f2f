//! Last step: what is kept and how to remove it, and who still trusts this cluster.

use kube::api::ListParams;
use mcsa_client::contract::SYSTEM_NAMESPACE;

use crate::cli::output;
use crate::cluster::deleter::Deleter;
use crate::cluster::kubeconfig::{Chosen, shell_quote};
use crate::cluster::{apply, list};
use crate::link::existing::ExistingLink;
use crate::manifests;

/// Says it.
///
/// # Errors
/// When the cluster can't be asked what is left.
pub async fn report(
    deleter: &Deleter,
    chosen: &Chosen,
    links: &[ExistingLink],
    delete_imports: bool,
) -> anyhow::Result<()> {
    let say = |text: &str| output::say(&deleter.cluster.name, text);
    if deleter.deleted == 0 {
        say("nothing to remove");
    }
    if !delete_imports {
        let kept = kept(deleter, links).await?;
        if !kept.is_empty() {
            say(&format!("kept: {}", kept.join(", ")));
            say(&format!("to remove that, too: {} --delete-imports", again(chosen)));
        }
    }
    say_who_trusts(deleter, links);
    Ok(())
}

/// Says which sources still trust this cluster, and how to end that.
pub fn say_who_trusts(deleter: &Deleter, links: &[ExistingLink]) {
    links.iter().for_each(|link| output::say(&deleter.cluster.name, &trust(link)));
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
        1 => kept.push("an import with its Secret, which nothing keeps fresh".into()),
        more => kept.push(format!("{more} imports with their Secrets, which nothing keeps fresh")),
    }
    if !links.is_empty() {
        let names: Vec<_> = links.iter().map(|link| link.cluster_name.as_str()).collect();
        kept.push(format!("the links to {}, which hold credentials", names.join(" and ")));
    }
    if apply::read(cluster, &manifests::crd()?).await?.is_some() {
        kept.push("the definition of ServiceAccountImport".into());
    }
    if apply::read(cluster, &manifests::namespace()?).await?.is_some() {
        kept.push(format!("namespace {SYSTEM_NAMESPACE}"));
    }
    Ok(kept)
}

fn again(chosen: &Chosen) -> String {
    let file =
        chosen.file.as_ref().map(|file| format!(" --kubeconfig {}", shell_quote(&file.to_string_lossy())));
    format!("kubemcsa uninstall{} --context {}", file.unwrap_or_default(), shell_quote(&chosen.context))
}

fn trust(link: &ExistingLink) -> String {
    let source = &link.cluster_name;
    match &link.import {
        Some(import) => format!(
            "{source} still trusts its link; to end that: kubemcsa unlink --source-only --target-name {} \
             --source-context CONTEXT",
            shell_quote(&import.spec.name)
        ),
        None => format!("{source} still trusts its link, which was made by hand, and so is to be revoked"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mcsa_client::{ServiceAccountImport, ServiceAccountImportSpec};

    #[test]
    fn what_ends_a_source_s_trust() {
        let spec = ServiceAccountImportSpec { name: "c1".into(), ..Default::default() };
        let import = ServiceAccountImport::new("c2", spec);
        let link = |import| ExistingLink { cluster_name: "c2".into(), import, secret: None };
        let unlink = "kubemcsa unlink --source-only --target-name c1 --source-context CONTEXT";
        assert!(trust(&link(Some(import))).ends_with(unlink));
        assert!(!trust(&link(None)).contains("kubemcsa"));
    }
}

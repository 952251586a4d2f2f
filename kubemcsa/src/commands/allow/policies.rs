//! `--for`: changes the ImportPolicies of namespaces in the target.

use std::collections::BTreeSet;

use anyhow::bail;
use kube::ResourceExt;
use mcsa_client::contract::SYSTEM_NAMESPACE;

use super::Args;
use crate::cli::output;
use crate::cluster::policies::Policies;
use crate::cluster::{Cluster, list};
use crate::link::flags::Flags;
use crate::link::policies::Change;
use crate::link::policies::accounts::{Edit, everything, rules};
use crate::link::progress::Progress;
use crate::link::{connect, plan};

/// The policies of `allow --for`, in a target that is linked to the source.
pub(super) struct Permits {
    target: Cluster,
    source: String,
    namespaces: Vec<String>,
    edit: Edit,
    flags: Flags,
}

impl Permits {
    /// Connects to the target, and checks that the policies can be written, before anything is granted in the source.
    /// `None` without `--for`. Sets the target's context in the flags: without it, a name would be enough.
    pub(super) async fn prepare(args: &Args, flags: &mut Flags) -> anyhow::Result<Option<Self>> {
        if args.namespaces.is_empty() {
            return Ok(None);
        }
        let chosen = flags.target.choose()?;
        flags.target.context = Some(chosen.context.clone());
        let plan = plan::plan(flags.clone(), chosen, flags.source.choose()?)?;
        let target = connect::reach(plan.target()).await?.cluster().clone();
        let source = plan.source().name().to_owned();
        ensure_linked(&target, &source).await?;
        let edit = Edit::Add(if args.everything { vec![everything()] } else { rules(&args.grants) });
        let permits = Self { target, source, namespaces: namespaces(args), edit, flags: flags.clone() };
        permits.change().ensure_writable().await?;
        Ok(Some(permits))
    }

    pub(super) async fn write(&self) -> anyhow::Result<()> {
        self.change().write(&Progress::Lines).await.map(drop)
    }

    fn change(&self) -> Change<'_> {
        Change {
            target: &self.target,
            source: &self.source,
            namespaces: &self.namespaces,
            edit: &self.edit,
            flags: &self.flags,
        }
    }
}

/// `deny --for`: changes nothing in the source, so it needs no connection to it.
pub(super) async fn deny(args: &Args, flags: &Flags) -> anyhow::Result<()> {
    let chosen = flags.target.choose()?;
    let source = match &flags.source.name {
        Some(name) => name.clone(),
        None => flags.source.choose()?.cluster_name,
    };
    let target = connect::reach(&plan::target(flags, chosen)?).await?.cluster().clone();
    if Policies::read(&target).await?.of_source(&source).next().is_none() {
        bail!(
            "{}: no ImportPolicy applies to {source}, so all namespaces may import what the link allows; to permit only some: \
             {}",
            target.name,
            flags.other_command("allow", "NAMESPACE[/NAME] --for NAMESPACE")
        );
    }
    let edit = Edit::Remove(if args.everything { vec![everything()] } else { rules(&args.grants) });
    let namespaces = namespaces(args);
    let change = Change { target: &target, source: &source, namespaces: &namespaces, edit: &edit, flags };
    // Before anything is changed.
    change.plan().await?;
    for policy in change.write(&Progress::Lines).await? {
        let policy = policy.wanted();
        if policy.spec.service_accounts.is_empty() {
            let message = format!(
                "policy {} permits nothing now; if you delete the last policy of {source}, all namespaces may import what the \
                 link allows",
                policy.name_any()
            );
            output::info(&target.name, &message);
        }
    }
    output::warn(&target.name, "existing tokens stay valid until they expire");
    Ok(())
}

/// Policies name the source as its link does. With another name, they would have no effect.
async fn ensure_linked(target: &Cluster, source: &str) -> anyhow::Result<()> {
    let links = list::readable_imports(target, Some(SYSTEM_NAMESPACE), list::link_params()).await?;
    let mut names: Vec<_> = links.into_iter().map(|link| link.spec.cluster_name).collect();
    if names.iter().any(|name| name == source) {
        return Ok(());
    }
    names.sort();
    let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    bail!(
        "{}: not linked to {source}; choose another source with --source-name, as in clusterName of imports; linked \
         sources: {names}",
        target.name
    )
}

fn namespaces(args: &Args) -> Vec<String> {
    args.namespaces.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect()
}

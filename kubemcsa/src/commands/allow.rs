//! `kubemcsa allow` and `kubemcsa deny`: what a target may import from a source. Both are the source's
//! business alone; the target is asked only whether it is the one that is meant.

use anyhow::bail;
use mcsa_client::contract::SYSTEM_NAMESPACE;

use crate::cli::output;
use crate::cluster::Cluster;
use crate::cluster::call::CallError;
use crate::link::flags::{Flags, LinkFlags};
use crate::link::grants::{self, Grant, Grants, Whole};
use crate::link::progress::Progress;
use crate::link::{TRIES, authorize, connect, identities, plan};

/// Which service accounts, and of which link.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The service accounts of a namespace, or one of them
    #[arg(value_name = "NAMESPACE[/NAME]", required_unless_present = "everything")]
    grants: Vec<Grant>,

    /// All service accounts of all namespaces, but for those in kube-*
    #[arg(long, conflicts_with = "grants")]
    everything: bool,

    #[command(flatten)]
    link: LinkFlags,
}

/// What is to be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// More is allowed.
    Allow,
    /// Less is.
    Deny,
}

/// Changes it.
pub async fn run(args: Args, change: Change) -> anyhow::Result<()> {
    let flags = args.link.clone().of(if change == Change::Allow { "allow" } else { "deny" });
    let chosen = flags.source.choose()?;
    let name = flags.source.name.clone().unwrap_or_else(|| chosen.cluster_name.clone());
    let source = chosen.connect_as(&name).await?;
    let target = known_target(&flags, &source).await?;
    let progress = Progress::Lines;
    let mut tries = TRIES;
    let (before, after, policy) = loop {
        let stored = grants::stored(&source, &target).await?;
        let before = stored.grants.clone().unwrap_or(Grants::Only(Default::default()));
        let after =
            changed(&args, change, &before).map_err(|whole| refused(whole, &flags, &target, &before))?;
        authorize::ensure_namespaces(&source, &after, &stored).await?;
        let policy = authorize::share(&source, &progress, &after).await?;
        match authorize::put(&source, &progress, &target, &after, &stored).await {
            Err(error) if is_conflict(&error) && tries > 1 => tries -= 1,
            put => break put.map(|()| (before, after, policy))?,
        }
    };
    for sentence in after.sentences(&target, policy) {
        output::say(&source.name, &sentence);
    }
    if before == after {
        let said =
            if change == Change::Deny { "could not import that before" } else { "could import that before" };
        output::say(&source.name, &format!("nothing is changed: {target} {said}"));
    } else if change == Change::Deny {
        let said =
            "tokens that were minted before stay valid until they expire; the imports then say Forbidden";
        output::warn(&source.name, said);
    }
    Ok(())
}

/// The name of the target, whom the source must know. Where flags lead to it, it must be that very cluster.
async fn known_target(flags: &Flags, source: &Cluster) -> anyhow::Result<String> {
    let is_named_only =
        flags.target.name.is_some() && flags.target.context.is_none() && flags.target.kubeconfig.is_none();
    let (name, uid) = match &flags.target.name {
        Some(name) if is_named_only => (name.clone(), None),
        _ => {
            let side = plan::target(flags, flags.target.choose()?)?;
            let reached = connect::reach(&side).await?;
            (side.name().to_owned(), Some(reached.uid().to_owned()))
        }
    };
    match identities::target_uid(source, &name).await? {
        None => {
            let known = identities::targets(source).await?;
            let known = if known.is_empty() { "none".into() } else { known.join(", ") };
            bail!("{}: no target called {name} is linked to it; those that are: {known}", source.name)
        }
        Some(known) if uid.as_ref().is_some_and(|uid| *uid != known) => bail!(
            "{}: service account {SYSTEM_NAMESPACE}/{name} belongs to another target of that name, whose UID is \
             {known} and not {}; name the one that is meant with --target-name",
            source.name,
            uid.unwrap_or_default()
        ),
        Some(_) => Ok(name),
    }
}

fn changed(args: &Args, change: Change, before: &Grants) -> Result<Grants, (Grant, Whole)> {
    let mut after = before.clone();
    match (change, args.everything) {
        (Change::Allow, true) => return Ok(Grants::Everything),
        (Change::Deny, true) => return Ok(Grants::Only(Default::default())),
        (Change::Allow, false) => args.grants.iter().for_each(|grant| after.allow(grant)),
        (Change::Deny, false) => {
            for grant in &args.grants {
                after.deny(grant).map_err(|whole| (grant.clone(), whole))?;
            }
        }
    }
    Ok(after)
}

fn refused((grant, whole): (Grant, Whole), flags: &Flags, target: &str, before: &Grants) -> anyhow::Error {
    match whole {
        Whole::Cluster => anyhow::anyhow!(
            "{target} may import everything, and RBAC can't take {grant} out of that; say what it may import instead, \
             and nothing else: {} --allow NAMESPACE[/NAME]",
            flags.of("bootstrap", "")
        ),
        Whole::Namespace => anyhow::anyhow!(
            "{target} may import all of namespace {}, and RBAC can't take {grant} out of that; take away the \
             namespace, and allow what it may: {}; it may now import {before}",
            grant.namespace,
            flags.of("deny", &grant.namespace)
        ),
    }
}

fn is_conflict(error: &anyhow::Error) -> bool {
    error.downcast_ref().is_some_and(CallError::is_conflict)
}

//! `kubemcsa allow` and `kubemcsa deny`: change what a target may import from a source. They write only in the source,
//! and read the target's UID; with `--for`, they write policies in the target, and `deny` writes nothing in the source.

mod policies;

use anyhow::bail;
use mcsa_client::contract::SYSTEM_NAMESPACE;
use mcsa_credentials::names::namespace;

use crate::cli::output;
use crate::cluster::Cluster;
use crate::link::change_grants::{Changed, ambiguous, change_grants, current};
use crate::link::flags::{Flags, LinkFlags};
use crate::link::grants::{Grant, Grants, LargerGrant, StoredGrants};
use crate::link::{connect, known_targets, plan};

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// All service accounts of a namespace, or one of them
    #[arg(value_name = "NAMESPACE[/NAME]", required_unless_present = "everything")]
    grants: Vec<Grant>,

    /// All service accounts of all namespaces, except kube-*
    #[arg(long, conflicts_with = "grants")]
    everything: bool,

    /// Permit or deny only imports in these namespaces of the target, by ImportPolicies; deny then changes only the target
    #[arg(long = "for", value_name = "NAMESPACE,...", value_delimiter = ',', value_parser = namespace)]
    namespaces: Vec<String>,

    #[command(flatten)]
    link: LinkFlags,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Allow,
    Deny,
}

pub(crate) async fn run(args: Args, change: Change) -> anyhow::Result<()> {
    let mut flags = args.link.clone().for_command(if change == Change::Allow { "allow" } else { "deny" });
    if change == Change::Deny && !args.namespaces.is_empty() {
        return policies::deny(&args, &flags).await;
    }
    let permits = policies::Permits::prepare(&args, &mut flags).await?;
    let chosen = flags.source.choose()?;
    let flags = flags.with_source_context(&chosen);
    let name = flags.source.name.clone().unwrap_or_else(|| chosen.cluster_name.clone());
    let source = chosen.connect_as(&name).await?;
    let target = known_target(&flags, &source).await?;
    let change_of = |stored: &StoredGrants| {
        let before = current(stored);
        if stored.is_ambiguous() && !args.everything {
            return Err(ambiguous(&source.name, &target, &flags));
        }
        changed(&args, change, &before).map_err(|whole| indivisible(whole, &flags, &target, &before))
    };
    let Changed { after, is_changed, supports_policy } =
        change_grants(&source, &chosen.kubectl(), &target, change_of).await?;
    for sentence in after.sentences(&target, supports_policy) {
        output::info(&source.name, &sentence);
    }
    if !is_changed {
        output::info(&source.name, &format!("unchanged: {target} already had these permissions"));
    } else if change == Change::Deny {
        let message = "existing tokens stay valid until they expire; then the imports report Forbidden";
        output::warn(&source.name, message);
    }
    match permits {
        Some(permits) => permits.write().await,
        None => Ok(()),
    }
}

/// The name of a target that is linked to the source. If flags give its context, its UID must match.
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
    match known_targets::uid(source, &name).await? {
        None => {
            let known = known_targets::names(source).await?;
            let known = if known.is_empty() { "none".into() } else { known.join(", ") };
            bail!(
                "{}: target {name} is not linked to this source; choose another one with --target-name; linked targets: \
                 {known}",
                source.name
            )
        }
        Some(known) if uid.as_ref().is_some_and(|uid| *uid != known) => bail!(
            "{}: service account {SYSTEM_NAMESPACE}/{name} belongs to another target of that name, with UID {known} \
             instead of {}; choose a target with --target-name",
            source.name,
            uid.unwrap_or_default()
        ),
        Some(_) => Ok(name),
    }
}

fn changed(args: &Args, change: Change, before: &Grants) -> Result<Grants, (Grant, LargerGrant)> {
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

/// RBAC can't exclude a part of what it grants.
fn indivisible(
    (grant, whole): (Grant, LargerGrant),
    flags: &Flags,
    target: &str,
    before: &Grants,
) -> anyhow::Error {
    match whole {
        LargerGrant::Everything => anyhow::anyhow!(
            "{target} may import everything, and RBAC can't exclude {grant} from that; list all that it may import \
             instead: {} --allow NAMESPACE[/NAME]",
            flags.with_both_contexts().other_command("bootstrap", "")
        ),
        LargerGrant::Namespace => anyhow::anyhow!(
            "{target} may import all of namespace {}, and RBAC can't exclude {grant} from that; deny the namespace, \
             then allow the service accounts that it may import: {}; currently, it may import: {before}",
            grant.namespace,
            flags.other_command("deny", &grant.namespace)
        ),
    }
}

//! `kubemcsa unlink`: removes a link from both clusters, or from one if the other is gone for good.
//!
//! The source comes first, so that a stolen token stops working at once.

mod policies;
mod source_side;
mod target_side;

use std::time::Duration;

use crate::cli::output;
use crate::cli::times::duration;
use crate::cluster::Cluster;
use crate::cluster::deleter::Deleter;
use crate::link::existing::Account;
use crate::link::flags::{Flags, LinkFlags, SourceFlags};
use crate::link::trust::revocation_advice;
use crate::link::{connect, plan};

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    link: LinkFlags,

    /// Clean up only the target, because the source is gone for good or belongs to somebody else now
    #[arg(long)]
    local_only: bool,

    /// Clean up only the source, because the target is gone for good; needs --target-name
    #[arg(long, requires = "target_name", conflicts_with_all = ["local_only", "abandon_pods", "target_context", "target_kubeconfig"])]
    source_only: bool,

    /// Keep the Secrets of imports from this source; their tokens stay valid until they expire
    #[arg(long)]
    keep_secrets: bool,

    /// Unlink even if pods of the target still run in the source: nobody ends them
    #[arg(long)]
    abandon_pods: bool,

    /// Show what would be deleted, and delete nothing
    #[arg(long)]
    dry_run: bool,

    /// How long to wait until an object is gone, such as 90s or 5m
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = duration)]
    timeout: Duration,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let flags = args.link.clone().for_command("unlink");
    if args.local_only {
        local_only(&args, &flags).await
    } else if args.source_only {
        source_only(&args, &flags).await
    } else {
        both(&args, flags).await
    }
}

async fn both(args: &Args, flags: Flags) -> anyhow::Result<()> {
    let (target, source) = (flags.target.choose()?, flags.source.choose()?);
    let plan = plan::plan(flags, target, source)?;
    let (target, source) = tokio::join!(connect::reach(plan.target()), connect::reach(plan.source()));
    let target = target?;
    let source = source.map_err(|error| {
        let local = plan.flags().other_command("unlink", "--local-only");
        anyhow::anyhow!("{error}; if the source is gone for good, clean up only the target: {local}")
    })?;
    let owner = Some((target.uid(), plan.flags()));
    let identity = source_side::find(source.cluster(), plan.target().name(), owner).await?;
    let both = Some((&plan, source.uid()));
    let link = target_side::find(target.cluster(), plan.source().name(), both, args.keep_secrets).await?;
    target_side::ensure_deletable(target.cluster(), &link).await?;
    target_side::ensure_no_home_pods(target.cluster(), &link, plan.flags(), args.abandon_pods, "").await?;
    let account_uid = identity.account_uid();
    let sharing = link.others_with(Account {
        cluster_uid: Some(source.uid()),
        name: plan.target().name(),
        uid: account_uid.as_deref(),
    });
    let mut on_source = deleter(args, source.cluster().clone());
    match sharing.first() {
        None => source_side::delete(&mut on_source, &identity).await?,
        Some(other) => output::warn(&on_source.cluster.name, &kept_for(other, plan.flags())),
    }
    let mut on_target = deleter(args, target.cluster().clone());
    target_side::delete(&mut on_target, &link).await?;
    if !args.dry_run
        && sharing.is_empty()
        && let Some((config, is_trusted)) = link.config(plan.source().chosen())
    {
        if is_trusted {
            source_side::wait_until_revoked(&on_source.cluster, plan.target().name(), config).await?;
        } else {
            let message = "did not check that the link's token is revoked: neither bootstrap nor the importer wrote the \
                           link's address, so no token is sent to it";
            output::warn(&on_source.cluster.name, message);
        }
    }
    report_if_not_linked(&[&on_target, &on_source], plan.target().name(), plan.source().name());
    target_side::report(&on_target, &link, args.keep_secrets);
    policies::report(target.cluster(), plan.target().chosen(), plan.source().name()).await;
    Ok(())
}

async fn local_only(args: &Args, flags: &Flags) -> anyhow::Result<()> {
    let source = flags.local_only_source()?;
    let chosen = flags.target.choose()?;
    let flags = &flags.clone().with_target_context(&chosen);
    let side = plan::target(flags, chosen)?;
    let target = connect::reach(&side).await?;
    let link = target_side::find(target.cluster(), &source, None, args.keep_secrets).await?;
    // Nothing but --now ends a pod whose source is gone.
    let others = " --now --local-only";
    target_side::ensure_no_home_pods(target.cluster(), &link, flags, args.abandon_pods, others).await?;
    let mut deleter = deleter(args, target.cluster().clone());
    target_side::delete(&mut deleter, &link).await?;
    target_side::report(&deleter, &link, args.keep_secrets);
    policies::report(&deleter.cluster, side.chosen(), &source).await;
    let Some(own) = link.first() else {
        // The name may be a typo, so nothing is said about what a source trusts.
        output::info(&deleter.cluster.name, &target_side::not_linked(&source, &link.other_names()));
        return Ok(());
    };
    let warning = match link.others_with_own_account().first() {
        Some(other) => kept_for(other, &flags.with_both_contexts()),
        None => format!("unless {source} is gone for good, {}", revocation_advice(own, &flags.source)),
    };
    output::warn(&deleter.cluster.name, &warning);
    Ok(())
}

/// Why the identity in the source is kept. The deleted link's token works until it expires or is revoked.
fn kept_for(other: &str, flags: &Flags) -> String {
    let source = SourceFlags { name: Some(other.to_owned()), ..flags.source.clone() };
    let rotate = Flags { source, ..flags.clone() }.other_command("rotate", "");
    format!(
        "kept the service account and its rights: link {other} to the same cluster uses them; to revoke the token of the \
         deleted link: {rotate}"
    )
}

async fn source_only(args: &Args, flags: &Flags) -> anyhow::Result<()> {
    let chosen = flags.source.choose()?;
    let name = flags.source.name.clone().unwrap_or_else(|| chosen.cluster_name.clone());
    let target = flags.target.name.clone().unwrap_or_default();
    let source = chosen.connect_as(&name).await?;
    let identity = source_side::find(&source, &target, None).await?;
    let mut deleter = deleter(args, source);
    source_side::delete(&mut deleter, &identity).await?;
    report_if_not_linked(&[&deleter], &target, &name);
    Ok(())
}

fn deleter(args: &Args, cluster: Cluster) -> Deleter {
    Deleter::new(cluster, args.timeout, args.dry_run)
}

fn report_if_not_linked(deleters: &[&Deleter], target: &str, source: &str) {
    if deleters.iter().all(|deleter| deleter.deleted == 0) {
        for deleter in deleters {
            output::info(
                &deleter.cluster.name,
                &format!("nothing to delete: {target} is not linked to {source}"),
            );
        }
    }
}

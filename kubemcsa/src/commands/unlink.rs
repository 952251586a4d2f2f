//! `kubemcsa unlink`: the end of a link, on both sides.
//!
//! source → target: first what was stolen stops working, then what is of no use any more goes. Where
//! one of the two is gone for good, the other alone is cleaned.

mod source_side;
mod target_side;

use std::time::Duration;

use crate::cli::output;
use crate::cli::times::duration;
use crate::cli::usage::Usage;
use crate::cluster::Cluster;
use crate::cluster::deleter::Deleter;
use crate::link::flags::{Flags, LinkFlags};
use crate::link::{connect, plan};

/// Which link, and what of it goes.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    link: LinkFlags,

    /// Clean the target only, as the source is gone for good, or somebody else's
    #[arg(long)]
    local_only: bool,

    /// Clean the source only, as the target is gone for good; it is known by --target-name then
    #[arg(long, requires = "target_name", conflicts_with_all = ["local_only", "target_context", "target_kubeconfig"])]
    source_only: bool,

    /// Leave the Secrets of the source's imports, whose tokens work until they expire
    #[arg(long)]
    keep_secrets: bool,

    /// Say what would be removed; nothing is
    #[arg(long)]
    dry_run: bool,

    /// How long to wait until something is gone, such as 90s or 5m
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = duration)]
    timeout: Duration,
}

/// Unlinks, or says what would be done.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let flags = args.link.clone().of("unlink");
    if args.local_only {
        local_only(&args, &flags).await
    } else if args.source_only {
        source_only(&args, &flags).await
    } else {
        both(&args, flags).await
    }
}

async fn both(args: &Args, flags: Flags) -> anyhow::Result<()> {
    let plan = plan::plan(flags.clone(), flags.target.choose()?, flags.source.choose()?)?;
    let (target, source) = tokio::join!(connect::reach(plan.target()), connect::reach(plan.source()));
    let target = target?;
    let source = source.map_err(|error| {
        let local = flags.of("unlink", "--local-only");
        anyhow::anyhow!("{error}; where the source is gone for good, clean the target alone: {local}")
    })?;
    let identity = source_side::find(source.cluster(), plan.target().name(), Some(target.uid())).await?;
    let link = target_side::find(
        target.cluster(),
        plan.source().name(),
        Some(source.uid()),
        Some(plan.target().name()),
        args.keep_secrets,
    )
    .await?;
    target_side::ensure_removable(target.cluster(), &link).await?;
    let mut on_source = deleter(args, source.cluster().clone());
    source_side::delete(&mut on_source, &identity).await?;
    let mut on_target = deleter(args, target.cluster().clone());
    target_side::delete(&mut on_target, &link).await?;
    if !args.dry_run
        && let Some(token) = link.token()
    {
        source_side::until_refused(&on_source.cluster, plan.source().chosen(), token).await?;
    }
    end(&[&on_target, &on_source], plan.target().name(), plan.source().name());
    target_side::report(&on_target, &link, args.keep_secrets);
    Ok(())
}

async fn local_only(args: &Args, flags: &Flags) -> anyhow::Result<()> {
    let source = match (&flags.source.name, &flags.source.context, &flags.source.kubeconfig) {
        (Some(name), ..) => name.clone(),
        (None, None, None) => {
            let problem = "which source? Say what the target calls it, with --source-name";
            return Err(Usage { command: "unlink", problem }.into());
        }
        _ => flags.source.choose()?.cluster_name,
    };
    let side = plan::target(flags, flags.target.choose()?)?;
    let target = connect::reach(&side).await?;
    let link = target_side::find(target.cluster(), &source, None, None, args.keep_secrets).await?;
    let mut deleter = deleter(args, target.cluster().clone());
    target_side::delete(&mut deleter, &link).await?;
    end(&[&deleter], side.name(), &source);
    target_side::report(&deleter, &link, args.keep_secrets);
    let name = link.identity().unwrap_or_else(|| side.name().to_owned());
    output::warn(
        &deleter.cluster.name,
        &format!(
            "{source} still trusts what it knows as {name}; if it is there: kubemcsa unlink --source-only \
             --target-name {name} --source-context CONTEXT"
        ),
    );
    Ok(())
}

async fn source_only(args: &Args, flags: &Flags) -> anyhow::Result<()> {
    let chosen = flags.source.choose()?;
    let name = flags.source.name.clone().unwrap_or_else(|| chosen.cluster_name.clone());
    let target = flags.target.name.clone().unwrap_or_default();
    let source = chosen.connect_as(&name).await?;
    let identity = source_side::find(&source, &target, None).await?;
    let mut deleter = deleter(args, source);
    source_side::delete(&mut deleter, &identity).await?;
    end(&[&deleter], &target, &name);
    Ok(())
}

fn deleter(args: &Args, cluster: Cluster) -> Deleter {
    Deleter::new(cluster, args.timeout, args.dry_run)
}

fn end(deleters: &[&Deleter], target: &str, source: &str) {
    if deleters.iter().all(|deleter| deleter.deleted == 0) {
        for deleter in deleters {
            output::say(
                &deleter.cluster.name,
                &format!("nothing to remove: {target} is not linked to {source}"),
            );
        }
    }
}

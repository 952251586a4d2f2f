//! `kubemcsa uninstall`: deletes what install created, in an order that breaks nothing at any moment.
//!
//! installed → foreign_webhook → delete_installed → report; with `--delete-imports`, delete_imports → delete_system
//! come before the report.
//! Each step reads what exists, so if a run is interrupted at any step, the next one finishes the uninstallation.

mod delete_imports;
mod delete_installed;
mod delete_order;
mod delete_system;
mod foreign_webhook;
mod installed;
mod launched;
mod report;

use std::time::Duration;

use crate::cli::flags::TargetArgs;
use crate::cli::times::duration;
use crate::cluster::deleter::Deleter;
use crate::cluster::kubeconfig::ChosenContext;
use crate::commands::for_context;
use crate::link::existing;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: TargetArgs,

    /// Also delete all imports with their Secrets, the links, the policies, the CRDs and the system namespace
    #[arg(long)]
    delete_imports: bool,

    /// Uninstall even if pods of this cluster still run in sources: nobody ends them
    #[arg(long)]
    abandon_pods: bool,

    /// Show what would be deleted, and delete nothing
    #[arg(long)]
    dry_run: bool,

    /// How long to wait until an object is gone, such as 90s or 5m
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = duration)]
    timeout: Duration,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let (chosen, cluster) = args.target.connect().await?;
    let mut deleter = Deleter::new(cluster, args.timeout, args.dry_run);

    let found = installed::find(&deleter.cluster).await?;
    foreign_webhook::ensure_none(&deleter.cluster, &found.ours, &chosen, args.delete_imports).await?;
    let links = existing::list(&deleter.cluster).await?;
    launched::ensure_no_home_pods(&deleter.cluster, &found.ours, &links, &chosen, args.abandon_pods).await?;
    launched::report(&deleter, &found.ours, args.delete_imports);
    delete_installed::delete(&mut deleter, &found).await?;
    if args.delete_imports {
        // Before the links are deleted: after an interruption, the next run would not find them.
        report::report_trust(&deleter, &links);
        delete_imports::delete(&mut deleter).await?;
        delete_system::delete(&mut deleter).await?;
    }
    report::report(&deleter, &chosen, &links, args.delete_imports).await
}

/// This command, to run again.
fn command_line(chosen: &ChosenContext, delete_imports: bool) -> String {
    let flag = if delete_imports { " --delete-imports" } else { "" };
    format!("{}{flag}", for_context("uninstall", chosen))
}

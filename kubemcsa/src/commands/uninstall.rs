//! `kubemcsa uninstall`: takes back what install made, so that nothing is broken at any moment.
//!
//! look → refuse → take, and, with `--delete-imports`, imports → system → report. Each step begins with
//! what there is: interrupted anywhere, a second run finishes.

mod delete_imports;
mod delete_installed;
mod delete_order;
mod delete_system;
mod foreign_webhook;
mod installed;
mod report;

use std::time::Duration;

use crate::cli::flags::TargetArgs;
use crate::cli::times::duration;
use crate::cluster::deleter::Deleter;
use crate::link::existing;

/// From where to uninstall, and how much.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    target: TargetArgs,

    /// Also delete all imports with their Secrets, the links, their definition and the system namespace
    #[arg(long)]
    delete_imports: bool,

    /// Say what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,

    /// How long to wait until something is gone, such as 90s or 5m
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = duration)]
    timeout: Duration,
}

/// Uninstalls, or says what would be done.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let (chosen, cluster) = args.target.connect().await?;
    let mut deleter = Deleter::new(cluster, args.timeout, args.dry_run);

    let found = installed::find(&deleter.cluster).await?;
    foreign_webhook::refuse(&deleter.cluster, &found.ours, &chosen.kubectl()).await?;
    let links = existing::list(&deleter.cluster).await?;
    delete_installed::delete(&mut deleter, &found).await?;
    if args.delete_imports {
        // Whoever is interrupted here finds no links any more that would tell.
        report::say_who_trusts(&deleter, &links);
        delete_imports::delete(&mut deleter).await?;
        delete_system::delete(&mut deleter, &found.others).await?;
    }
    report::report(&deleter, &chosen, &links, args.delete_imports).await
}

//! `kubemcsa launch`: lets pods of a namespace of the target run in a source, or takes that back.
//!
//! linked → current → create → report → wait; with `--stop`, see [`stop`]. If a run is interrupted at any step, the next
//! one finishes the work.

mod argo;
mod args;
mod capacity;
mod create;
mod current;
mod linked;
mod model;
mod objects;
mod report;
mod stop;
mod template_fields;
mod wait;

pub(crate) use args::Args;

use crate::link::connect;
use crate::link::flags::Flags;
use crate::link::plan;
use crate::link::progress::Progress;

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let flags = args.link.clone().for_command("launch");
    if args.stop { stop::run(&args, flags).await } else { create(&args, flags).await }
}

async fn create(args: &Args, flags: Flags) -> anyhow::Result<()> {
    let plan = plan::plan(flags.clone(), flags.target.choose()?, flags.source.choose()?)?;
    let linked = linked::ensure_linked(connect::connect(plan, Progress::Lines).await?).await?;
    let wanted = current::read(&linked, args).await?;
    if args.output.is_some() {
        return create::print(&linked, &wanted, args);
    }
    if args.dry_run {
        return create::dry_run(&linked, &wanted, args).await;
    }
    create::create(&linked, &wanted, args).await?;
    report::report(&linked, &wanted, args);
    if !args.no_wait {
        wait::wait(&linked, &wanted.launch, args.timeout()).await?;
    }
    report::next(&linked, &wanted.launch);
    Ok(())
}

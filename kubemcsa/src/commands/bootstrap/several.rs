//! Links several sources in parallel. Prints a line for each and a summary; a failure does not stop the others.

use std::collections::BTreeMap;

use anyhow::bail;
use futures::{StreamExt, stream};
use indicatif::MultiProgress;
use mcsa_runtime::errors;

use super::{Args, Linked, RequestedRights, dry_run, link, plan};
use crate::cli::output;
use crate::cli::times::to_the_second;
use crate::link::connect::{self, Reached};
use crate::link::plan::Plan;
use crate::link::progress::Progress;
use crate::link::route::Route;
use crate::link::{check_names, declare, permit};

/// How many sources are linked in parallel.
const CONCURRENCY: usize = 32;

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let plans: Vec<_> =
        args.source_contexts.iter().map(|context| (context.clone(), plan(&args, Some(context)))).collect();
    ensure_distinct_names(&plans)?;
    let requested = RequestedRights::of(&args);
    let verb = if args.dry_run { "would link" } else { "linked" };
    // All plans have the same target. Without any plan, there is nothing to link.
    let Some(side) =
        plans.iter().find_map(|(_, plan)| plan.as_ref().ok().map(|(plan, _)| plan.target().clone()))
    else {
        for (context, plan) in &plans {
            if let Err(error) = plan {
                report_failure(context, error);
            }
        }
        return summary(verb, plans.into_iter().map(|(context, plan)| (context, plan.map(drop))).collect());
    };
    let target = connect::reach(&side).await?;
    if args.dry_run {
        return summary(verb, dry_run_each(plans, &target, &requested).await);
    }
    declare::prepare(target.cluster(), &Progress::Lines).await?;

    let lines = MultiProgress::new();
    let each = plans.into_iter().map(async |(context, plan)| {
        let progress = Progress::line(&lines, &context);
        let linked = match plan {
            Ok((plan, route)) => link_one(plan, &route, &target, &requested, progress.clone()).await,
            Err(error) => Err(error),
        };
        progress.finish(|| match &linked {
            Ok((source, message)) => output::info(source, message),
            Err(error) => report_failure(&context, error),
        });
        (context, linked.map(drop))
    });
    summary(verb, stream::iter(each).buffered(CONCURRENCY).collect().await)
}

/// Returns the name of the source, and what to print about it.
async fn link_one(
    plan: Plan,
    route: &Route,
    target: &Reached,
    requested: &RequestedRights,
    progress: Progress,
) -> anyhow::Result<(String, String)> {
    progress.info(plan.source().name(), "connecting");
    let source = connect::reach(plan.source()).await?;
    let connected = connect::pair(plan, target.clone(), source, progress)?;
    let permitted = permit::permit(check_names::check_names(connected).await?).await?;
    let Linked { authorized, verified } = link(&permitted, route, requested).await?;
    let notices =
        [route.proxy_notice(&permitted.source().name), route.password_warning(&permitted.source().name)];
    for notice in notices.iter().flatten() {
        permitted.progress().warn(&permitted.target().name, notice);
    }
    let expiry = verified.expires_at().map(|time| format!("; the token expires at {}", to_the_second(time)));
    let (target, source) = (&permitted.target().name, &permitted.source().name);
    let message =
        format!("linked to {target}, which may import {}{}", authorized.grants(), expiry.unwrap_or_default());
    Ok((source.clone(), message))
}

/// The line begins with the context. An error that begins with the same name doesn't repeat it.
fn report_failure(context: &str, error: &anyhow::Error) {
    let message = errors::line(error.as_ref());
    output::failed(context, message.strip_prefix(&format!("{context}: ")).unwrap_or(&message));
}

async fn dry_run_each(
    plans: Vec<(String, anyhow::Result<(Plan, Route)>)>,
    target: &Reached,
    requested: &RequestedRights,
) -> Vec<(String, anyhow::Result<()>)> {
    let mut results = Vec::new();
    for (context, plan) in plans {
        let result = match plan {
            Ok((plan, _)) => dry_run_one(plan, target, requested).await,
            Err(error) => Err(error),
        };
        if let Err(error) = &result {
            report_failure(&context, error);
        }
        results.push((context, result));
    }
    results
}

async fn dry_run_one(plan: Plan, target: &Reached, requested: &RequestedRights) -> anyhow::Result<()> {
    let source = connect::reach(plan.source()).await?;
    let connected = connect::pair(plan, target.clone(), source, Progress::Lines)?;
    dry_run::dry_run(&*check_names::check_names(connected).await?, requested).await
}

/// Two sources of the same name would overwrite each other's link.
fn ensure_distinct_names(plans: &[(String, anyhow::Result<(Plan, Route)>)]) -> anyhow::Result<()> {
    let mut names = BTreeMap::new();
    for (context, plan) in plans {
        let Ok((plan, _)) = plan else { continue };
        if let Some(other) = names.insert(plan.source().name(), context) {
            bail!(
                "contexts {other} and {context} both use cluster name {}; link them one at a time, with --source-name",
                plan.source().name()
            );
        }
    }
    Ok(())
}

fn summary(verb: &str, results: Vec<(String, anyhow::Result<()>)>) -> anyhow::Result<()> {
    let all = results.len();
    let failed: Vec<_> =
        results.into_iter().filter(|(_, result)| result.is_err()).map(|(context, _)| context).collect();
    if failed.is_empty() {
        output::paste(&format!("{verb} {all} of {all} sources"));
        return Ok(());
    }
    bail!("{verb} {} of {all} sources; failed: {} (see above)", all - failed.len(), failed.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_names_the_sources_that_failed() {
        let results = vec![("c2".to_owned(), Ok(())), ("c3".to_owned(), Err(anyhow::anyhow!("unreachable")))];
        let error = summary("linked", results).unwrap_err().to_string();
        assert_eq!(error, "linked 1 of 2 sources; failed: c3 (see above)");
    }
}

//! Links several sources in parallel. Prints a line for each and a summary; a failure does not stop the others.

use std::collections::BTreeMap;

use anyhow::bail;
use futures::{StreamExt, stream};
use indicatif::MultiProgress;
use mcsa_runtime::errors;

use super::policies::{RequestedPolicies, short_scope};
use super::{Args, Linked, RequestedRights, SourceChoice, dry_run, link, plan};
use crate::cli::output;
use crate::cli::times::to_the_second;
use crate::link::connect::{self, Reached};
use crate::link::plan::Plan;
use crate::link::progress::Progress;
use crate::link::route::Route;
use crate::link::{check_names, declare, permit};

/// How many sources are linked in parallel.
const CONCURRENCY: usize = 32;

/// A source, as far as it could be prepared.
struct Prepared {
    /// Its context, for messages.
    context: String,
    result: anyhow::Result<Source>,
}

struct Source {
    plan: Plan,
    route: Route,
    reached: Reached,
}

pub(crate) async fn run(args: &Args, choices: &[SourceChoice]) -> anyhow::Result<()> {
    let plans: Vec<_> = choices
        .iter()
        .map(|choice| (choice.context.clone().unwrap_or_default(), plan(args, choice)))
        .collect();
    ensure_distinct_names(&plans)?;
    let (requested, policies) = (RequestedRights::of(args), RequestedPolicies::of(args));
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
    let sources = reach_each(plans).await;
    let uids = sources
        .iter()
        .filter_map(|source| Some((source.context.as_str(), source.result.as_ref().ok()?.reached.uid())));
    if let Some(problem) = same_cluster(uids) {
        bail!(problem);
    }
    if args.dry_run {
        return summary(verb, dry_run_each(sources, &target, &requested, &policies).await);
    }
    declare::prepare(target.cluster(), &Progress::Lines).await?;

    let lines = MultiProgress::new();
    let each = sources.into_iter().map(async |Prepared { context, result }| {
        let progress = Progress::line(&lines, &context);
        let linked = match result {
            Ok(source) => link_one(source, &target, (&requested, &policies), progress.clone()).await,
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

/// Connects to the sources before anything is written: contexts may lead to the same cluster.
async fn reach_each(plans: Vec<(String, anyhow::Result<(Plan, Route)>)>) -> Vec<Prepared> {
    let each = plans.into_iter().map(async |(context, plan)| {
        let result = match plan {
            Ok((plan, route)) => {
                connect::reach(plan.source()).await.map(|reached| Source { plan, route, reached })
            }
            Err(error) => Err(error),
        };
        Prepared { context, result }
    });
    stream::iter(each).buffered(CONCURRENCY).collect().await
}

/// Why the contexts can't be linked together, if two of them lead to the same cluster: both links would share their
/// identity in it.
fn same_cluster<'a>(uids: impl Iterator<Item = (&'a str, &'a str)>) -> Option<String> {
    let mut seen = BTreeMap::new();
    for (context, uid) in uids {
        if let Some(other) = seen.insert(uid, context) {
            return Some(format!(
                "contexts {other} and {context} lead to the same cluster: their kube-system has the same UID {uid}; \
                 nothing was changed; pass only one of them"
            ));
        }
    }
    None
}

/// Returns the name of the source, and what to print about it.
async fn link_one(
    Source { plan, route, reached }: Source,
    target: &Reached,
    (requested, policies): (&RequestedRights, &RequestedPolicies),
    progress: Progress,
) -> anyhow::Result<(String, String)> {
    let connected = connect::pair(plan, target.clone(), reached, progress)?;
    let permitted = permit::permit(check_names::check_names(connected).await?).await?;
    let Linked { authorized, verified } = link(&permitted, &route, requested, policies).await?;
    let notices =
        [route.proxy_notice(&permitted.source().name), route.password_warning(&permitted.source().name)];
    for notice in notices.iter().flatten() {
        // The next step would overwrite an info.
        permitted.progress().warn(&permitted.target().name, notice);
    }
    let expiry = verified.expires_at().map(|time| format!("; the token expires at {}", to_the_second(time)));
    let scope = short_scope(&permitted).await;
    let (target, source) = (&permitted.target().name, &permitted.source().name);
    let expiry = expiry.unwrap_or_default();
    let message = format!("linked to {target}, which may import {}{scope}{expiry}", authorized.grants());
    Ok((source.clone(), message))
}

/// The line begins with the context. An error that begins with the same name doesn't repeat it.
fn report_failure(context: &str, error: &anyhow::Error) {
    let message = errors::line(error.as_ref());
    output::failed(context, message.strip_prefix(&format!("{context}: ")).unwrap_or(&message));
}

async fn dry_run_each(
    sources: Vec<Prepared>,
    target: &Reached,
    requested: &RequestedRights,
    policies: &RequestedPolicies,
) -> Vec<(String, anyhow::Result<()>)> {
    let mut results = Vec::new();
    for Prepared { context, result } in sources {
        let result = match result {
            Ok(source) => dry_run_one(source, target, requested, policies).await,
            Err(error) => Err(error),
        };
        if let Err(error) = &result {
            report_failure(&context, error);
        }
        results.push((context, result));
    }
    results
}

async fn dry_run_one(
    source: Source,
    target: &Reached,
    requested: &RequestedRights,
    policies: &RequestedPolicies,
) -> anyhow::Result<()> {
    let connected = connect::pair(source.plan, target.clone(), source.reached, Progress::Lines)?;
    dry_run::dry_run(&*check_names::check_names(connected).await?, requested, policies).await
}

/// Two sources of the same name would overwrite each other's link.
fn ensure_distinct_names(plans: &[(String, anyhow::Result<(Plan, Route)>)]) -> anyhow::Result<()> {
    let mut names = BTreeMap::new();
    for (context, plan) in plans {
        let Ok((plan, _)) = plan else { continue };
        if let Some(other) = names.insert(plan.source().name(), context) {
            bail!(
                "contexts {other} and {context} both use cluster name {}; pass a --source-name for each --source-context, in \
                 the same order",
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
    fn contexts_of_the_same_cluster_are_refused() {
        let problem = same_cluster([("a", "u-1"), ("b", "u-2"), ("c", "u-1")].into_iter()).unwrap();
        assert!(problem.contains("contexts a and c lead to the same cluster"), "{problem}");
        assert_eq!(same_cluster([("a", "u-1"), ("b", "u-2")].into_iter()), None);
    }

    #[test]
    fn summary_names_the_sources_that_failed() {
        let results = vec![("c2".to_owned(), Ok(())), ("c3".to_owned(), Err(anyhow::anyhow!("unreachable")))];
        let error = summary("linked", results).unwrap_err().to_string();
        assert_eq!(error, "linked 1 of 2 sources; failed: c3 (see above)");
    }
}

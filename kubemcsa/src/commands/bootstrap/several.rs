//! Several sources, side by side: a line each, and how many it were. One that fails stops no other.

use std::collections::BTreeMap;

use anyhow::bail;
use futures::{StreamExt, stream};
use indicatif::MultiProgress;
use mcsa_runtime::errors;

use super::{Args, Made, Wish, dry_run, link, plan};
use crate::cli::output;
use crate::cli::times::to_the_second;
use crate::link::connect::{self, Reached};
use crate::link::plan::{Plan, Way};
use crate::link::progress::Progress;
use crate::link::{claim, declare, permit};

/// How many sources are linked at once.
const AT_A_TIME: usize = 32;

/// Links the target to each source.
///
/// # Errors
/// When the target can't be used, or a source could not be linked.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let plans: Vec<_> =
        args.source_contexts.iter().map(|context| (context.clone(), plan(&args, Some(context)))).collect();
    refuse_one_name_for_two(&plans)?;
    let wish = Wish::of(&args);
    // Where no link can be planned, there is no target either.
    let Some(side) =
        plans.iter().find_map(|(_, plan)| plan.as_ref().ok().map(|(plan, _)| plan.target().clone()))
    else {
        return summary(plans.into_iter().map(|(context, plan)| (context, plan.map(drop))).collect());
    };
    let target = connect::reach(&side).await?;
    if args.dry_run {
        return rehearse_each(plans, &target, &wish).await;
    }
    declare::prepare(target.cluster(), &Progress::Lines).await?;

    let lines = MultiProgress::new();
    let each = plans.into_iter().map(async |(context, plan)| {
        let progress = Progress::line(&lines, &context);
        let made = match plan {
            Ok((plan, way)) => one(plan, &way, &target, &wish, progress.clone()).await,
            Err(error) => Err(error),
        };
        progress.end(|| match &made {
            Ok(said) => output::say(&said.0, &said.1),
            Err(error) => tell(&context, error),
        });
        (context, made.map(drop))
    });
    summary(stream::iter(each).buffered(AT_A_TIME).collect().await)
}

/// Links one; what is said of it then.
async fn one(
    plan: Plan,
    way: &Way,
    target: &Reached,
    wish: &Wish,
    progress: Progress,
) -> anyhow::Result<(String, String)> {
    progress.say(plan.source().name(), "connecting");
    let source = connect::reach(plan.source()).await?;
    let connected = connect::pair(plan, target.clone(), source, progress)?;
    let permitted = permit::permit(claim::claim(connected).await?).await?;
    let Made { authorized, verified } = link(&permitted, way, wish).await?;
    let until = verified.expires_at().map(|time| format!(", with a token until {}", to_the_second(time)));
    let (target, source) = (&permitted.target().name, &permitted.source().name);
    let linked =
        format!("linked to {target}, which may import {}{}", authorized.grants(), until.unwrap_or_default());
    Ok((source.clone(), linked))
}

/// Most errors begin with the cluster's name, and so does the line.
fn tell(context: &str, error: &anyhow::Error) {
    let said = errors::line(error.as_ref());
    output::failed(context, said.strip_prefix(&format!("{context}: ")).unwrap_or(&said));
}

async fn rehearse_each(
    plans: Vec<(String, anyhow::Result<(Plan, Way)>)>,
    target: &Reached,
    wish: &Wish,
) -> anyhow::Result<()> {
    let mut ended = Vec::new();
    for (context, plan) in plans {
        let rehearsed = match plan {
            Ok((plan, _)) => rehearse_one(plan, target, wish).await,
            Err(error) => Err(error),
        };
        if let Err(error) = &rehearsed {
            tell(&context, error);
        }
        ended.push((context, rehearsed));
    }
    summary(ended)
}

async fn rehearse_one(plan: Plan, target: &Reached, wish: &Wish) -> anyhow::Result<()> {
    let source = connect::reach(plan.source()).await?;
    let connected = connect::pair(plan, target.clone(), source, Progress::Lines)?;
    dry_run::rehearse(&*claim::claim(connected).await?, wish).await
}

/// Which of the two the target would then know by that name, would depend on which comes last.
fn refuse_one_name_for_two(plans: &[(String, anyhow::Result<(Plan, Way)>)]) -> anyhow::Result<()> {
    let mut names = BTreeMap::new();
    for (context, plan) in plans {
        let Ok((plan, _)) = plan else { continue };
        if let Some(other) = names.insert(plan.source().name(), context) {
            bail!(
                "contexts {other} and {context} are both of a cluster called {}; link them one at a time, with \
                 --source-name",
                plan.source().name()
            );
        }
    }
    Ok(())
}

fn summary(ended: Vec<(String, anyhow::Result<()>)>) -> anyhow::Result<()> {
    let all = ended.len();
    let failed: Vec<_> =
        ended.into_iter().filter(|(_, ended)| ended.is_err()).map(|(context, _)| context).collect();
    if failed.is_empty() {
        output::paste(&format!("all {all} sources are done"));
        return Ok(());
    }
    bail!(
        "{} of {all} sources are done; these are not: {}; run this again for them, once that is mended",
        all - failed.len(),
        failed.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_in_the_sum() {
        let ended = vec![("c2".to_owned(), Ok(())), ("c3".to_owned(), Err(anyhow::anyhow!("away")))];
        let error = summary(ended).unwrap_err().to_string();
        assert!(error.starts_with("1 of 2 sources are done; these are not: c3;"), "{error}");
    }
}

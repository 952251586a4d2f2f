//! `--stop`: takes back what launch granted.
//!
//! The pods come first, because they can only end as long as the launcher has its rights; then the import, so that no
//! new pods come; then the rights in the source. Each step reads what exists, so that an interrupted run can be
//! repeated.

mod pods;
mod source_side;
mod target_side;

use self::pods::Ending;
use super::args::Args;
use super::model::Launch;
use crate::cli::output;
use crate::cli::usage::Usage;
use crate::cluster::Cluster;
use crate::cluster::deleter::Deleter;
use crate::link::connect::{self, Reached};
use crate::link::flags::Flags;
use crate::link::plan;
use crate::link::progress::Progress;

pub(crate) async fn run(args: &Args, flags: Flags) -> anyhow::Result<()> {
    if args.local_only { local_only(args, &flags).await } else { both(args, flags).await }
}

async fn both(args: &Args, flags: Flags) -> anyhow::Result<()> {
    let plan = plan::plan(flags.clone(), flags.target.choose()?, flags.source.choose()?)?;
    let (target, source) = tokio::join!(connect::reach(plan.target()), connect::reach(plan.source()));
    let target = target?;
    let source = source.map_err(|error| {
        let local = flags.other_command("launch", &format!("{} --stop --local-only", args.selection()));
        anyhow::anyhow!("{error}; if the source is gone for good, clean up only the target: {local}")
    })?;
    let connected = connect::pair(plan, target.clone(), source, Progress::Lines)?;
    let source_name = connected.source().name.clone();
    let launch = launch(args, &target, source_name);
    let mut on_target = deleter(args, connected.target());
    let found = target_side::find(&on_target.cluster, &launch).await?;
    let objects = source_side::find(connected.source(), &launch).await?;
    let finished = stop_on_target(&mut on_target, &launch, &found, args).await?;
    let mut on_source = deleter(args, connected.source());
    if found.sharing.is_empty() {
        source_side::delete(&mut on_source, &launch, &objects).await?;
    } else {
        let message = format!(
            "kept service account {}/{}: {} of {} use it, too",
            launch.remote_namespace,
            launch.account(),
            found.sharing.join(", "),
            launch.target
        );
        output::info(&on_source.cluster.name, &message);
    }
    report(&on_target, on_target.deleted + on_source.deleted, &launch, &found.others);
    if let Some(message) = leftovers(&finished, &connected.plan().source().chosen().kubectl()) {
        output::warn(&on_source.cluster.name, &message);
    }
    Ok(())
}

async fn local_only(args: &Args, flags: &Flags) -> anyhow::Result<()> {
    let source = match (&flags.source.name, &flags.source.context, &flags.source.kubeconfig) {
        (Some(name), ..) => name.clone(),
        (None, None, None) => {
            let problem = "--local-only needs --source-name, the name of the source in the target".into();
            return Err(Usage { command: "launch", problem }.into());
        }
        _ => flags.source.choose()?.cluster_name,
    };
    let side = plan::target(flags, flags.target.choose()?)?;
    let target = connect::reach(&side).await?;
    let launch = launch(args, &target, source);
    let mut deleter = deleter(args, target.cluster());
    let found = target_side::find(&deleter.cluster, &launch).await?;
    stop_on_target(&mut deleter, &launch, &found, args).await?;
    report(&deleter, deleter.deleted, &launch, &found.others);
    let (namespace, account) = (&launch.remote_namespace, launch.account());
    let message = format!(
        "if {} still exists, service account {namespace}/{account} keeps its rights there: kubectl --context CONTEXT -n \
         {namespace} delete serviceaccount,role,rolebinding {account}",
        launch.source
    );
    output::warn(&deleter.cluster.name, &message);
    Ok(())
}

fn launch(args: &Args, target: &Reached, source: String) -> Launch {
    Launch {
        target: target.cluster().name.clone(),
        target_uid: target.uid().to_owned(),
        source,
        namespace: args.namespace.clone(),
        remote_namespace: args.remote_namespace().to_owned(),
        ..Default::default()
    }
}

fn deleter(args: &Args, cluster: &Cluster) -> Deleter {
    Deleter::new(cluster.clone(), args.timeout(), args.dry_run)
}

/// Returns the remote pods of pods that have finished: nobody deletes them any more.
async fn stop_on_target(
    deleter: &mut Deleter,
    launch: &Launch,
    found: &target_side::Found,
    args: &Args,
) -> anyhow::Result<Vec<String>> {
    let ending = match (args.now, args.local_only) {
        (false, _) => Ending::ByThemselves,
        (true, false) => Ending::Deleted,
        // Their launcher can't reach the source, and would wait for it.
        (true, true) => Ending::Forced,
    };
    let finished = pods::wait_until_ended(deleter, launch, &found.others, ending, args.timeout).await?;
    for object in &found.objects {
        deleter.delete(object).await?;
    }
    Ok(finished)
}

fn report(on_target: &Deleter, deleted: usize, launch: &Launch, others: &[String]) {
    let Launch { source, namespace, remote_namespace, .. } = launch;
    let cluster = &on_target.cluster.name;
    if deleted == 0 {
        output::info(
            cluster,
            &format!("nothing to delete: {namespace} runs no pods in {remote_namespace} of {source}"),
        );
    } else if !on_target.dry_run {
        output::info(
            cluster,
            &format!("pods of {namespace} no longer run in {remote_namespace} of {source}"),
        );
    }
    for other in others {
        let message = format!("{namespace} may still run pods in namespace {other} of {source}");
        output::info(cluster, &format!("{message}; to take that back, too: --remote-namespace {other}"));
    }
}

/// The remote pods that are left, and how to delete them.
fn leftovers(finished: &[String], kubectl: &str) -> Option<String> {
    let (namespace, _) = finished.first()?.split_once('/')?;
    let names: Vec<_> = finished.iter().filter_map(|pod| Some(pod.split_once('/')?.1)).collect();
    Some(format!(
        "finished pods stay, and nobody deletes them any more: {kubectl} -n {namespace} delete pods {}",
        names.join(" ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_are_deleted_by_one_command() {
        assert_eq!(leftovers(&[], "kubectl"), None);
        let message = leftovers(&["batch/a".into(), "batch/b".into()], "kubectl --context c2").unwrap();
        assert!(message.ends_with("kubectl --context c2 -n batch delete pods a b"), "{message}");
    }
}

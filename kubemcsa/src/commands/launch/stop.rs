//! `--stop`: takes back what launch granted.
//!
//! First, the import is marked, so that no new pods come. Then the pods end, which they can only do as long as the
//! launcher has its rights. Then the import is deleted, and last the rights in the source. Each step reads what exists,
//! so that an interrupted run can be repeated.

mod names;
mod pods;
mod source_side;
mod target_side;

use mcsa_client::contract::owner;

use self::pods::Ending;
use super::args::Args;
use super::model::Launch;
use crate::cli::output;
use crate::cluster::Cluster;
use crate::cluster::deleter::Deleter;
use crate::link::connect::{self, Reached};
use crate::link::existing;
use crate::link::flags::{Flags, SourceFlags};
use crate::link::launcher::selection;
use crate::link::plan;
use crate::link::progress::Progress;

pub(crate) async fn run(args: &Args, flags: Flags) -> anyhow::Result<()> {
    if args.local_only { local_only(args, &flags).await } else { both(args, flags).await }
}

async fn both(args: &Args, flags: Flags) -> anyhow::Result<()> {
    let (target, source) = (flags.target.choose()?, flags.source.choose()?);
    let plan = plan::plan(flags, target, source)?;
    let flags = plan.flags().clone();
    let (target, source) = tokio::join!(connect::reach(plan.target()), connect::reach(plan.source()));
    let target = target?;
    let source = source.map_err(|error| {
        let local = flags.other_command("launch", &format!("{} --stop --local-only --now", args.selection()));
        anyhow::anyhow!("{error}; if the source is gone for good, clean up only the target: {local}")
    })?;
    let connected = connect::pair(plan, target.clone(), source, Progress::Lines)?;
    let launch = launch(args, &target, connected.source().name.clone());
    let mut on_target = deleter(args, connected.target());
    let found = find(&on_target.cluster, &launch, Some(connected.source_uid()), args, &flags).await?;
    let objects = source_side::find(connected.source(), &launch).await?;
    let finished = stop_on_target(&mut on_target, &launch, &found, args).await?;
    let mut on_source = deleter(args, connected.source());
    if found.sharing.is_empty() {
        let kubectl = connected.plan().source().chosen().kubectl();
        source_side::delete(&mut on_source, &kubectl, &launch, &objects).await?;
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
    report(&on_target, on_target.deleted + on_source.deleted, &launch, &found.others, args, &flags);
    let kubectl = connected.plan().source().chosen().kubectl();
    if let Some(message) = leftovers(&finished, &launch.namespace, &kubectl) {
        output::warn(&on_source.cluster.name, &message);
    }
    Ok(())
}

async fn local_only(args: &Args, flags: &Flags) -> anyhow::Result<()> {
    let source = flags.local_only_source()?;
    let chosen = flags.target.choose()?;
    let flags = &flags.clone().with_target_context(&chosen);
    let target = connect::reach(&plan::target(flags, chosen)?).await?;
    let launch = launch(args, &target, source);
    let mut deleter = deleter(args, target.cluster());
    let found = find(&deleter.cluster, &launch, None, args, flags).await?;
    stop_on_target(&mut deleter, &launch, &found, args).await?;
    report(&deleter, deleter.deleted, &launch, &found.others, args, flags);
    if found.sharing.is_empty() {
        output::warn(&deleter.cluster.name, &rights_left(&launch, flags, &args.selection()));
    }
    Ok(())
}

/// Finds what the launch has created in the target. Fails if a name is wrong.
async fn find(
    target: &Cluster,
    launch: &Launch,
    source_uid: Option<&str>,
    args: &Args,
    flags: &Flags,
) -> anyhow::Result<target_side::Found> {
    let (links, imports) = tokio::join!(existing::list(target), target_side::launch_imports(target));
    let (links, imports) = (links?, imports?);
    names::ensure_known(
        &links,
        &imports,
        launch,
        source_uid,
        flags,
        &args.stop_arguments(&args.selection()),
    )?;
    let aliases = names::aliases(&links, &launch.source, source_uid);
    target_side::find(target, launch, &imports, &aliases).await
}

/// After `--local-only`: what is left in the source, and the command that deletes it.
fn rights_left(launch: &Launch, flags: &Flags, selection: &str) -> String {
    let Launch { source, remote_namespace, .. } = launch;
    let flags = flags.with_both_contexts();
    let named = SourceFlags { name: Some(source.clone()), ..flags.source.clone() };
    let stop = Flags { source: named, ..flags }.other_command("launch", &format!("{selection} --stop"));
    format!(
        "if {source} still exists, service account {remote_namespace}/{} keeps its rights there, and the link may mint its \
         tokens; to delete both: {stop}",
        launch.account()
    )
}

fn launch(args: &Args, target: &Reached, source: String) -> Launch {
    Launch {
        target: target.cluster().name.clone(),
        target_uid: target.uid().to_owned(),
        source,
        namespace: args.namespace.clone(),
        remote_namespace: args.remote_namespace().to_owned(),
        // Its rights may exist.
        argo: true,
        stub: true,
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
    if !args.dry_run {
        target_side::mark(&deleter.cluster, &found.objects).await?;
    }
    let finished = pods::wait_until_ended(deleter, launch, &found.others, ending, args.timeout).await?;
    for object in &found.objects {
        deleter.delete(object).await?;
    }
    Ok(finished)
}

fn report(
    on_target: &Deleter,
    deleted: usize,
    launch: &Launch,
    others: &[String],
    args: &Args,
    flags: &Flags,
) {
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
        let stop = flags.other_command("launch", &args.stop_arguments(&selection(namespace, other)));
        let message = format!("{namespace} may still run pods in namespace {other} of {source}");
        output::info(cluster, &format!("{message}; to stop that, too: {stop}"));
    }
}

/// The remote pods of this namespace of the target that are left, and how to delete or list them.
fn leftovers(finished: &[String], home_namespace: &str, kubectl: &str) -> Option<String> {
    let (namespace, _) = finished.first()?.split_once('/')?;
    let names: Vec<_> = finished.iter().filter_map(|pod| Some(pod.split_once('/')?.1)).collect();
    let count = names.len();
    let message = format!("finished pods stay ({count}), and nobody deletes them any more");
    let command = format!("{kubectl} -n {namespace}");
    Some(if count <= pods::NAMED {
        format!("{message}: {command} delete pods {}", names.join(" "))
    } else {
        let first = names[..pods::NAMED].join(", ");
        let label = owner::NAMESPACE;
        format!("{message}: {first} and others; to list them: {command} get pods -l {label}={home_namespace}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_leftovers_are_deleted_by_one_command() {
        assert_eq!(leftovers(&[], "team-a", "kubectl"), None);
        let finished = ["batch/a".into(), "batch/b".into()];
        let message = leftovers(&finished, "team-a", "kubectl --context c2").unwrap();
        assert!(message.ends_with("kubectl --context c2 -n batch delete pods a b"), "{message}");
    }

    #[test]
    fn many_leftovers_are_counted() {
        let finished: Vec<_> = (0..1000).map(|pod| format!("batch/pod-{pod}")).collect();
        let message = leftovers(&finished, "team-a", "kubectl --context c2").unwrap();
        assert!(message.contains("(1000)") && !message.contains("pod-10,"), "{message}");
        let list =
            "kubectl --context c2 -n batch get pods -l owner.multicluster.admiralty.io/namespace=team-a";
        assert!(message.ends_with(list), "{message}");
    }

    #[test]
    fn rights_that_local_only_leaves_are_deleted_by_a_later_stop() {
        let launch = Launch {
            target: "c1".into(),
            source: "c2".into(),
            remote_namespace: "batch".into(),
            ..Default::default()
        };
        let message = rights_left(&launch, &Flags::default(), "team-a --remote-namespace batch");
        assert!(message.contains("batch/launcher-c1") && message.contains("mint its tokens"), "{message}");
        let stop = "kubemcsa launch team-a --remote-namespace batch --stop --target-context TARGET_CONTEXT \
                    --source-context SOURCE_CONTEXT --source-name c2";
        assert!(message.ends_with(stop), "{message}");
    }
}

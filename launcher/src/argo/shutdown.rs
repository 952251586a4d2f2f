//! Ends steps that Argo could not end.
//!
//! Argo ends steps by `argoexec kill` in each pod: when a workflow is shut down, when its deadline has passed, and
//! daemons at their end. It does so once, ignores errors, and marks the steps as ended. If the source is unreachable
//! then, or no launcher runs, the remote pods would run until their natural end. So this file looks for running steps
//! of workflows that were shut down or have finished.
//!
//! *Absent:* the end of a daemon that Argo could not end while its workflow goes on. It runs until the workflow has
//! finished.

mod workflow;

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use mcsa_client::clusters::{Health, Member};
use mcsa_client::controller::{Key, Owner};
use mcsa_runtime::deadline::with_deadline;
use mcsa_runtime::errors;
use tokio::time::{Instant, sleep, sleep_until};

use self::workflow::WorkflowId;
use super::home_remedy;
use super::step::Step;
use crate::finish::{Progress, delete_remote, is_gone};
use crate::source::{HOME, Source, is_import_of};
use crate::{mirror, record};

/// Label of the pods of exit handlers.
const ON_EXIT: &str = "workflows.argoproj.io/on-exit";

/// How many workflows are read at the same time, for each launch import.
const READS: usize = 4;

/// How many steps are ended at the same time, for each launch import.
const DELETIONS: usize = 8;

/// How soon to look again whether the pods of both clusters are listed.
const LIST_INTERVAL: Duration = Duration::from_secs(1);

/// How often to look. A kill may also be lost while the source seems to be ready.
const INTERVAL: Duration = Duration::from_secs(300);

/// How long Argo may take to end a step: it waits for the grace period, by default 30 s.
const PATIENCE: Duration = Duration::from_secs(45);

/// How long to wait after a call that failed, or after an interruption.
const PAUSE: Duration = Duration::from_secs(30);

/// A step whose remote pod runs.
struct RunningStep {
    home: Arc<Pod>,
    /// The home pod as the owner of the remote pod.
    owner: Owner,
}

/// A running step that must end.
struct EndingStep {
    step: RunningStep,
    workflow: WorkflowId,
    why: &'static str,
}

/// Looks for such steps at an interval while this replica leads and the source is ready; and at once, when this replica
/// begins to lead, a launch import of the source joins, or the source is ready again.
pub(crate) async fn end_steps(source: Arc<Source>) {
    let is_of_source = is_import_of(source.cluster.clone());
    let clusters = source.clusters.clone();
    let tasks = clusters.for_each_member(move |member| {
        let (source, is_of_source) = (source.clone(), is_of_source(&member));
        async move {
            if is_of_source {
                look_while_ready(&source, &member).await;
            }
        }
    });
    tasks.await;
}

/// Runs until the member leaves.
async fn look_while_ready(source: &Source, member: &Member) {
    let (mut health, mut is_reported) = (member.watch_health(), false);
    loop {
        source.fence.opened().await;
        // The sender lives as long as the member.
        drop(health.wait_for(Health::is_ready).await);
        tokio::select! {
            never = look_repeatedly(source, member, &mut is_reported) => match never {},
            () = source.fence.closed() => {}
            _ = health.wait_for(|health| !health.is_ready()) => {}
        }
        // A source that is ready only now and then causes few reads.
        sleep(PAUSE).await;
    }
}

async fn look_repeatedly(source: &Source, member: &Member, is_reported: &mut bool) -> Infallible {
    loop {
        let next = Instant::now() + INTERVAL;
        look(source, member, next, is_reported).await;
        sleep_until(next).await;
    }
}

/// Ends the steps of this launch import that must end. Repeats what fails, until the next look is due.
async fn look(source: &Source, member: &Member, next: Instant, is_reported: &mut bool) {
    while !(source.home.is_listed(HOME) && source.remote.is_listed(member.name())) {
        sleep(LIST_INTERVAL).await;
    }
    let mut workflows = running_steps(source, member);
    loop {
        let failed = end_steps_of(source, member, workflows, is_reported).await;
        if failed.is_empty() || Instant::now() + PAUSE >= next {
            return;
        }
        sleep(PAUSE).await;
        workflows = running_steps(source, member);
        workflows.retain(|workflow, _| failed.contains(workflow));
    }
}

/// The steps that this launch import runs, by their workflow. Other namespaces may have launch imports for the same
/// remote namespace.
fn running_steps(source: &Source, member: &Member) -> HashMap<WorkflowId, Vec<RunningStep>> {
    let import = member.import();
    let namespace = import.as_ref().and_then(|import| import.metadata.namespace.as_deref());
    let mut workflows: HashMap<_, Vec<_>> = HashMap::new();
    let remote = source.remote.cluster(member.name()).map(|store| store.state());
    for remote in remote.unwrap_or_default() {
        let Some(owner) = Owner::from_metadata(&remote.metadata) else { continue };
        let Some(home) = source.home.get(&Key { cluster: HOME.into(), ..owner.key() }) else { continue };
        if home.metadata.namespace.as_deref() == namespace
            && home.metadata.uid.as_ref() == Some(&owner.uid)
            && is_running(&home, &remote)
            && let Some(step) = Step::of(&home)
        {
            let (namespace, workflow) = (step.namespace, step.workflow);
            let workflow = WorkflowId { namespace, name: workflow.name, uid: workflow.uid };
            workflows.entry(workflow).or_default().push(RunningStep { home, owner });
        }
    }
    workflows
}

/// Whether neither pod has ended or is being deleted, and this is the remote pod that the home pod has recorded.
fn is_running(home: &Pod, remote: &Pod) -> bool {
    let runs = |pod: &Pod| pod.metadata.deletion_timestamp.is_none() && !mirror::is_terminal(pod);
    let recorded = record::remote_uid(home);
    runs(home) && runs(remote) && recorded.is_some() && recorded == remote.metadata.uid.as_deref()
}

/// Ends the steps of these workflows that must end. Returns the workflows for which a call failed.
async fn end_steps_of(
    source: &Source,
    member: &Member,
    workflows: HashMap<WorkflowId, Vec<RunningStep>>,
    is_reported: &mut bool,
) -> HashSet<WorkflowId> {
    let (ending, mut failures) = ending_steps(source, member, workflows, is_reported).await;
    if !ending.is_empty() {
        sleep(PATIENCE).await;
    }
    let ends = ending.into_iter().map(|ending| async move {
        let ended = end_step(source, member, &ending).await;
        (ending.workflow, ended)
    });
    let ends: Vec<_> = ends.collect();
    let ended: Vec<_> = stream::iter(ends).buffer_unordered(DELETIONS).collect().await;
    failures.extend(ended.into_iter().filter_map(|(workflow, ended)| Some((workflow, ended.err()?))));
    if let Some((WorkflowId { namespace, name, .. }, error)) = failures.first() {
        let (cluster, failures, error) = (&*source.cluster, failures.len(), errors::line(error));
        tracing::warn!(
            cluster,
            namespace,
            workflow = name,
            error,
            failures,
            "can't read whether a workflow has ended, or end its steps; retrying"
        );
    }
    failures.into_iter().map(|(workflow, _)| workflow).collect()
}

/// Reads these workflows. Returns their steps that must end, and the workflows that could not be read.
async fn ending_steps(
    source: &Source,
    member: &Member,
    workflows: HashMap<WorkflowId, Vec<RunningStep>>,
    is_reported: &mut bool,
) -> (Vec<EndingStep>, Vec<(WorkflowId, kube::Error)>) {
    let (mut ending, mut failures) = (Vec::new(), Vec::new());
    // The local member never leaves.
    let Some(home) = source.clusters.local() else { return (ending, failures) };
    let reads = workflows.into_iter().map(|(workflow, steps)| {
        let client = home.client();
        async move {
            let read = workflow::read(client, &workflow).await;
            (workflow, steps, read)
        }
    });
    let reads: Vec<_> = reads.collect();
    let reads: Vec<_> = stream::iter(reads).buffer_unordered(READS).collect().await;
    for (workflow, steps, read) in reads {
        match read {
            Ok(read) => ending.extend(steps.into_iter().filter_map(|step| {
                let why = read.why_ended(step.home.labels().contains_key(ON_EXIT))?;
                Some(EndingStep { step, workflow: workflow.clone(), why })
            })),
            // Launches by older versions lack the right. The next look tries again.
            Err(kube::Error::Api(status)) if status.code == 403 => {
                if !std::mem::replace(is_reported, true) {
                    report_missing_right(source, member, &workflow.namespace, &status.message);
                }
            }
            Err(error) => failures.push((workflow, error)),
        }
    }
    (ending, failures)
}

/// Called once for each launch import, not for each workflow.
fn report_missing_right(source: &Source, member: &Member, namespace: &str, message: &str) {
    let (cluster, error, advice) = (&*source.cluster, errors::short(message), home_remedy(member));
    tracing::warn!(
        cluster,
        namespace,
        error,
        advice,
        "the launcher may not get Workflows: steps that Argo can't end during an outage run on"
    );
}

/// Deletes the remote pod, if it still runs. The home pod then follows it.
async fn end_step(source: &Source, member: &Member, ending: &EndingStep) -> kube::Result<()> {
    let EndingStep { step: RunningStep { home, owner }, workflow, why } = ending;
    let name = home.name_any();
    // The store may lag behind.
    let remote = match with_deadline(source.remote_pods(member).get(&name)).await {
        Ok(remote) => remote,
        Err(kube::Error::Api(status)) if is_gone(&status, &name) => return Ok(()),
        Err(error) => return Err(error),
    };
    if owner.owns(&remote.metadata)
        && is_running(home, &remote)
        && let Progress::Terminating(_) = delete_remote(source, home, member, owner).await?
    {
        let (workflow, cluster) = (&workflow.name, &source.cluster);
        let note = format!(
            "workflow {workflow} {why}, but the step still ran: deleted the pod in cluster {cluster}"
        );
        source.events.warn(home, "StepEnded", &note).await;
    }
    Ok(())
}

#[cfg(test)]
mod fake_clusters;
#[cfg(test)]
mod tests;

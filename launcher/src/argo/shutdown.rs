//! Ends steps of workflows that were shut down during an outage.
//!
//! Argo ends the running steps of a workflow with `spec.shutdown` by `argoexec kill` in each pod. It does so once, and
//! ignores errors. If the source is unreachable then, or no launcher runs, the remote pods would run until their
//! natural end.

use std::collections::{HashMap, VecDeque};
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::core::{NotUsed, Object};
use kube::{Api, ResourceExt};
use mcsa_client::clusters::{Health, Member};
use mcsa_client::controller::{Key, Owner};
use mcsa_runtime::deadline::with_deadline;
use mcsa_runtime::errors;
use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::step::Step;
use super::workflows;
use crate::finish::{Progress, delete_remote};
use crate::source::{HOME, Source, is_import_of};
use crate::{mirror, record};

/// Label of the pods of exit handlers.
const ON_EXIT: &str = "workflows.argoproj.io/on-exit";

/// Concurrent workflows of a source, and concurrent deletions for each of them.
const WORKFLOWS: usize = 4;
const DELETIONS: usize = 8;

/// How soon to look again whether the pods of both clusters are listed.
const LIST_INTERVAL: Duration = Duration::from_secs(1);

/// How long to wait after a call that failed.
const RETRY: Duration = Duration::from_secs(10);

/// A workflow, as the home pods of its steps refer to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct WorkflowId {
    namespace: String,
    name: String,
    uid: String,
}

/// A step whose remote pod runs.
struct RunningStep {
    home: Arc<Pod>,
    /// The home pod as the owner of the remote pod.
    owner: Owner,
}

/// The only field of a workflow that is read.
#[derive(Clone, Debug, Deserialize)]
struct WorkflowSpec {
    shutdown: Option<String>,
}

/// Whether a workflow that is shut down in this way ends a step. This is the rule of Argo's controller.
fn must_end(shutdown: Option<&str>, is_exit_handler: bool) -> bool {
    match shutdown {
        Some("Terminate") => true,
        Some("Stop") => !is_exit_handler,
        _ => false,
    }
}

/// Ends steps of workflows that were shut down, each time that this replica begins to lead, a launch import of the
/// source joins, or the source is available again.
pub(crate) async fn end_steps(source: Arc<Source>) {
    let is_of_source = is_import_of(source.cluster.clone());
    let (clusters, limit) = (source.clusters.clone(), Arc::new(Semaphore::new(WORKFLOWS)));
    let tasks = clusters.for_each_member(move |member| {
        let (source, limit, is_of_source) = (source.clone(), limit.clone(), is_of_source(&member));
        async move {
            if is_of_source {
                end_after_outages(&source, &member, &limit).await;
            }
        }
    });
    tasks.await;
}

async fn end_after_outages(source: &Source, member: &Member, limit: &Semaphore) {
    let mut health = member.watch_health();
    loop {
        source.fence.opened().await;
        member.wait_until_available().await;
        let end = async {
            end_steps_of(source, member, limit).await;
            pending::<()>().await;
        };
        tokio::select! {
            () = end => {}
            () = source.fence.closed() => {}
            _ = health.wait_for(Health::is_unavailable) => {}
        }
    }
}

/// Ends such steps of this launch import, and returns. Tries again until no call fails.
async fn end_steps_of(source: &Source, member: &Member, limit: &Semaphore) {
    while !(source.home.is_listed(HOME) && source.remote.is_listed(member.name())) {
        sleep(LIST_INTERVAL).await;
    }
    let mut workflows: VecDeque<_> = running_steps(source, member).into_iter().collect();
    while let Some((workflow, steps)) = workflows.pop_front() {
        let permit = limit.acquire().await;
        let result = end_steps_of_workflow(source, member, &workflow, &steps).await;
        drop(permit);
        if let Err(error) = result {
            let (cluster, error) = (&*source.cluster, errors::line(&error));
            let WorkflowId { namespace, name, .. } = &workflow;
            tracing::warn!(
                cluster,
                namespace,
                workflow = name,
                error,
                "can't look whether a workflow was shut down, or end its steps; retrying"
            );
            workflows.push_back((workflow, steps));
            sleep(RETRY).await;
        }
    }
}

/// The steps that this launch import runs, by their workflow.
fn running_steps(source: &Source, member: &Member) -> HashMap<WorkflowId, Vec<RunningStep>> {
    let mut workflows: HashMap<_, Vec<_>> = HashMap::new();
    let remote = source.remote.cluster(member.name()).map(|store| store.state());
    for remote in remote.unwrap_or_default() {
        let Some(owner) = Owner::from_metadata(&remote.metadata) else { continue };
        let Some(home) = source.home.get(&Key { cluster: HOME.into(), ..owner.key() }) else { continue };
        if home.metadata.uid.as_ref() == Some(&owner.uid)
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

async fn end_steps_of_workflow(
    source: &Source,
    member: &Member,
    workflow: &WorkflowId,
    steps: &[RunningStep],
) -> kube::Result<()> {
    let shutdown = requested_shutdown(source, workflow).await?;
    let ends = |step: &&RunningStep| must_end(shutdown.as_deref(), step.home.labels().contains_key(ON_EXIT));
    let ending: Vec<_> = steps.iter().filter(ends).collect();
    let note = format!(
        "workflow {} was shut down ({}) while cluster {cluster} or the launcher was away: deleted the pod in {cluster}",
        workflow.name,
        shutdown.as_deref().unwrap_or_default(),
        cluster = source.cluster
    );
    for steps in ending.chunks(DELETIONS) {
        let results = join_all(steps.iter().map(|step| end_step(source, member, step, &note))).await;
        results.into_iter().collect::<kube::Result<()>>()?;
    }
    Ok(())
}

/// Reads `spec.shutdown` of a workflow. `None` also if the workflow is gone, or the launcher may not read it.
async fn requested_shutdown(source: &Source, workflow: &WorkflowId) -> kube::Result<Option<String>> {
    // The local member never leaves.
    let Some(home) = source.clusters.local() else { return Ok(None) };
    let WorkflowId { namespace, name, uid } = workflow;
    let api: Api<Object<WorkflowSpec, NotUsed>> =
        Api::namespaced_with(home.client(), namespace, &workflows());
    match with_deadline(api.get(name)).await {
        Ok(found) if found.metadata.uid.as_ref() == Some(uid) => Ok(found.spec.shutdown),
        // Garbage collection deletes the home pods.
        Ok(_) => Ok(None),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        // Launches by older versions lack the right.
        Err(kube::Error::Api(status)) if status.code == 403 => {
            let error = errors::short(&status.message);
            tracing::debug!(namespace, workflow = name, error, "can't read whether a workflow was shut down");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Deletes the remote pod, if it still runs. The home pod then follows it.
async fn end_step(source: &Source, member: &Member, step: &RunningStep, note: &str) -> kube::Result<()> {
    let RunningStep { home, owner } = step;
    let remote = source.observed(member, &home.name_any(), owner);
    let runs = remote.is_some_and(|remote| is_running(home, &remote));
    if runs && let Progress::Terminating(_) = delete_remote(source, home, member, owner).await? {
        source.events.warn(home, "StepEnded", note).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use mcsa_credentials::contract::launch::{HOME_UID, REMOTE_UID};
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    #[rstest]
    #[case::not_shut_down(None, false, false)]
    #[case::empty(Some(""), false, false)]
    #[case::terminated(Some("Terminate"), false, true)]
    #[case::terminated_exit_handler(Some("Terminate"), true, true)]
    #[case::stopped(Some("Stop"), false, true)]
    #[case::stopped_exit_handler(Some("Stop"), true, false)]
    #[case::unknown(Some("Pause"), false, false)]
    fn shutdown_ends_the_steps_that_argo_would_end(
        #[case] shutdown: Option<&str>,
        #[case] is_exit_handler: bool,
        #[case] ends: bool,
    ) {
        assert_eq!(must_end(shutdown, is_exit_handler), ends);
    }

    #[rstest]
    #[case::running("home", "/status/phase", json!("Running"), true)]
    #[case::home_pod_ended("home", "/status/phase", json!("Failed"), false)]
    #[case::home_pod_deleted("home", "/metadata/deletionTimestamp", json!("2026-01-01T00:00:00Z"), false)]
    #[case::record_of_a_copied_pod("home", "/metadata/uid", json!("copy"), false)]
    #[case::remote_pod_ended("remote", "/status/phase", json!("Succeeded"), false)]
    #[case::remote_pod_deleted("remote", "/metadata/deletionTimestamp", json!("2026-01-01T00:00:00Z"), false)]
    #[case::another_remote_pod("remote", "/metadata/uid", json!("other"), false)]
    fn only_running_pods_are_ended(
        #[case] changed: &str,
        #[case] path: &str,
        #[case] value: Value,
        #[case] expected: bool,
    ) {
        let pod = |name: &str, annotations: Value| -> Pod {
            let metadata = json!({ "uid": name, "annotations": annotations, "deletionTimestamp": null });
            let mut pod = json!({ "metadata": metadata, "status": { "phase": "Running" } });
            if name == changed {
                *pod.pointer_mut(path).unwrap() = value.clone();
            }
            serde_json::from_value(pod).unwrap()
        };
        let home = pod("home", json!({ HOME_UID: "home", REMOTE_UID: "remote" }));
        assert_eq!(is_running(&home, &pod("remote", json!({}))), expected);
    }
}

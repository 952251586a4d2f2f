//! Waits until no pod of the namespace runs on the virtual node, or deletes its pods there.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::bail;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use mcsa_credentials::contract::launch::REMOTE_POD;
use tokio::time::{Instant, sleep};

use crate::cli::output;
use crate::cluster::call::CallError;
use crate::cluster::deleter::Deleter;
use crate::cluster::{Cluster, delete, object, pod};
use crate::commands::launch::model::Launch;
use crate::link::home_pods::{self, has_finished, remote_namespace};

const PAUSE: Duration = Duration::from_secs(1);

/// Pods that a message names.
pub(super) const NAMED: usize = 10;

/// How pods end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// They complete, or somebody deletes them.
    ByThemselves,
    /// They are deleted, and the launcher finishes them.
    Deleted,
    /// They are deleted at once, without the launcher.
    Forced,
}

/// Returns the remote pods of those that have finished and stay: `<namespace>/<name>`. `others`: the other remote
/// namespaces whose pods share the node. `timeout`: of waiting for pods that end by themselves; `None`: no limit.
pub(crate) async fn wait_until_ended(
    deleter: &mut Deleter,
    launch: &Launch,
    others: &[String],
    ending: Ending,
    timeout: Option<Duration>,
) -> anyhow::Result<Vec<String>> {
    let limit = if ending == Ending::ByThemselves { timeout } else { Some(deleter.timeout) };
    let deadline = limit.map(|limit| Instant::now() + limit);
    let mut reported = BTreeSet::new();
    let mut deleted = BTreeSet::new();
    loop {
        let pods = home_pods::list(&deleter.cluster, Some(&launch.namespace), &launch.source).await?;
        let pods: Vec<_> = pods.into_iter().filter(|pod| belongs(pod, launch, others)).collect();
        let (finished, running): (Vec<_>, Vec<_>) = pods.iter().partition(|pod| has_finished(pod));
        let awaited = if ending == Ending::ByThemselves { running } else { pods.iter().collect() };
        if awaited.is_empty() {
            return Ok(finished
                .iter()
                .filter_map(|pod| pod.annotations().get(REMOTE_POD).cloned())
                .collect());
        }
        let names: BTreeSet<_> = awaited.iter().map(|pod| pod.name_any()).collect();
        if names != reported {
            output::info(&deleter.cluster.name, &waiting(&awaited, launch, ending));
            reported = names;
        }
        if ending != Ending::ByThemselves {
            let new: Vec<_> = awaited.iter().filter(|pod| !deleted.contains(&pod.uid())).collect();
            for pod in &new {
                let pod = object::dynamic(*pod)?;
                if !deleter.dry_run {
                    delete_pod(&deleter.cluster, &pod, ending).await?;
                }
                deleter.record(&pod);
            }
            deleted.extend(new.iter().map(|pod| pod.uid()));
        }
        if deleter.dry_run {
            return Ok(Vec::new());
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            bail!(
                "{}: {} of namespace {} still on node {}: {}; no new pods are placed there; run the command again to wait \
                 longer{}, or without --stop to take the stop back",
                deleter.cluster.name,
                count(awaited.len()),
                launch.namespace,
                launch.source,
                names_of(&awaited),
                if ending == Ending::ByThemselves { ", with --now to delete them" } else { "" }
            );
        }
        sleep(PAUSE).await;
    }
}

async fn delete_pod(
    cluster: &Cluster,
    pod: &kube::api::DynamicObject,
    ending: Ending,
) -> Result<(), CallError> {
    if ending == Ending::Forced {
        delete::force(cluster, pod).await
    } else {
        delete::delete(cluster, pod).await
    }
}

/// Whether the pod runs in the remote namespace. A pod that has not been launched names the namespace if the node has
/// several for it.
fn belongs(pod: &Pod, launch: &Launch, others: &[String]) -> bool {
    match remote_namespace(pod) {
        Some(namespace) => namespace == launch.remote_namespace,
        None => others.is_empty(),
    }
}

fn waiting(pods: &[&Pod], launch: &Launch, ending: Ending) -> String {
    let what = format!(
        "{} of namespace {} on node {}: {}",
        count(pods.len()),
        launch.namespace,
        launch.source,
        names_of(pods)
    );
    match ending {
        Ending::ByThemselves => format!(
            "waiting for {what}; no new pods are placed there. To delete these, press Ctrl-C and run this again with --now"
        ),
        Ending::Deleted | Ending::Forced => format!("deleting {what}"),
    }
}

fn count(pods: usize) -> String {
    if pods == 1 { "1 pod".into() } else { format!("{pods} pods") }
}

/// Names with controllers, but not all of many.
fn names_of(pods: &[&Pod]) -> String {
    let name = |pod: &&Pod| match pod::controller(*pod) {
        Some((kind, name)) => format!("{} ({} {name})", pod.name_any(), object::words(&kind)),
        None => pod.name_any(),
    };
    let mut names: Vec<_> = pods.iter().take(NAMED).map(name).collect();
    if pods.len() > NAMED {
        names.push(format!("{} more", pods.len() - NAMED));
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use mcsa_credentials::contract::launch::REMOTE_NAMESPACE;
    use rstest::rstest;
    use serde_json::{Value, json};

    fn pod(annotations: Value, phase: &str) -> Pod {
        let metadata = json!({ "name": "a", "annotations": annotations });
        serde_json::from_value(json!({ "metadata": metadata, "status": { "phase": phase } })).unwrap()
    }

    #[rstest]
    #[case::launched(json!({ REMOTE_POD: "batch/a" }), &["other"], true)]
    #[case::launched_elsewhere(json!({ REMOTE_POD: "other/a" }), &["other"], false)]
    #[case::launched_before_the_annotation_changed(
        json!({ REMOTE_POD: "batch/a", REMOTE_NAMESPACE: "other" }), &["other"], true)]
    #[case::chosen(json!({ REMOTE_NAMESPACE: "batch" }), &["other"], true)]
    #[case::chosen_elsewhere(json!({ REMOTE_NAMESPACE: "other" }), &["other"], false)]
    #[case::only_one(json!({}), &[], true)]
    #[case::unknown(json!({}), &["other"], false)]
    fn pods_belong_to_the_namespace_that_they_run_in(
        #[case] annotations: Value,
        #[case] others: &[&str],
        #[case] expected: bool,
    ) {
        let launch = Launch { remote_namespace: "batch".into(), ..Default::default() };
        let others: Vec<_> = others.iter().map(ToString::to_string).collect();
        assert_eq!(belongs(&pod(annotations, "Running"), &launch, &others), expected);
    }

    #[test]
    fn only_some_of_many_pods_are_named() {
        let pods = vec![pod(json!({}), "Running"); 12];
        let names = names_of(&pods.iter().collect::<Vec<_>>());
        assert!(names.ends_with("a, 2 more"), "{names}");
    }
}

//! Removes the node of a source that has no launch import any more.

use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::Client;
use tokio::sync::watch;
use tokio::time::sleep;

use super::VirtualNode;
use super::desired::is_ours;
use super::maintain;
use super::reporter::Reporter;
use super::state::NodeState;
use super::write::{NodeApi, NodeError};

/// Interval of looking whether the node is empty.
const INTERVAL: Duration = Duration::from_secs(5);

/// Cordons the node, maintains it until no pod is bound to it, and deletes it. Returns when it is gone, or was never
/// ours. If a launch import returns, drop this and [`maintain`](super::maintain()) the node again: it ends the cordon.
/// `state` is as there.
///
/// Nothing is deleted by force: the pod garbage collector would delete the pods of a node that is gone.
pub(crate) async fn remove(
    client: Client,
    node: VirtualNode,
    report: impl Fn(&NodeError),
    state: &watch::Sender<NodeState>,
) {
    let api = NodeApi::new(client.clone(), &node.name);
    // Without a heartbeat, pods would be evicted.
    let no_members = watch::Sender::new(Vec::new());
    let maintained = maintain::run(client, node, no_members.subscribe(), &report, state, true);
    tokio::select! {
        never = maintained => match never {},
        () = delete_when_empty(&api, &report) => {}
    }
}

async fn delete_when_empty(api: &NodeApi, report: impl Fn(&NodeError)) {
    let (mut was_empty, mut is_told, reporter) = (false, false, Reporter::new(&report));
    loop {
        let step = step(api, was_empty).await;
        was_empty = matches!(step, Ok(Step::Empty));
        // The node changed in the meantime: look again.
        if !step.as_ref().is_err_and(NodeError::is_conflict) {
            reporter.report(&step);
        }
        match step {
            Ok(Step::Gone) => return,
            Ok(Step::Empty | Step::NotCordoned) | Err(_) => {}
            Ok(Step::HasPod(pod)) => {
                if !std::mem::replace(&mut is_told, true) {
                    let node = api.name();
                    tracing::info!(
                        node,
                        pod,
                        "the node is cordoned, and will be deleted when no pod is left"
                    );
                }
            }
        }
        sleep(INTERVAL).await;
    }
}

enum Step {
    Gone,
    Empty,
    NotCordoned,
    HasPod(String),
}

/// Deletes the node if it is empty twice: the scheduler may bind a pod shortly after the cordon.
async fn step(api: &NodeApi, was_empty: bool) -> Result<Step, NodeError> {
    let Some(node) = api.get().await?.filter(is_ours) else { return Ok(Step::Gone) };
    if !is_cordoned(&node) {
        return Ok(Step::NotCordoned);
    }
    match api.any_pod().await? {
        Some(pod) => Ok(Step::HasPod(pod)),
        None if !was_empty => Ok(Step::Empty),
        None => {
            // The version is a precondition: the node is still cordoned.
            api.delete(&node).await?;
            Ok(Step::Gone)
        }
    }
}

fn is_cordoned(node: &Node) -> bool {
    node.spec.as_ref().is_some_and(|spec| spec.unschedulable == Some(true))
}

#[cfg(test)]
mod tests;

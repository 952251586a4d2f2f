//! What a workflow at home says about the end of its steps.

use kube::core::Object;
use kube::{Api, Client};
use mcsa_runtime::deadline::with_deadline;
use serde::Deserialize;
use serde_json::Value;

use crate::argo::workflows;

/// A workflow, as the home pods of its steps refer to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct WorkflowId {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
}

/// What decides whether the steps of a workflow must end. The default ends none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Workflow {
    /// `spec.shutdown`.
    shutdown: Option<String>,
    /// Whether it has `status.finishedAt`. Argo sets it after the exit handler has ended, and `argo retry` clears it.
    is_finished: bool,
}

/// The only field that is read. Whoever creates a workflow can write any JSON value there.
#[derive(Clone, Debug, Deserialize)]
struct Spec {
    #[serde(default)]
    shutdown: Value,
}

/// The only field that is read. It may be any JSON value, too.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(default)]
    finished_at: Value,
}

impl Workflow {
    /// Why a step must end. For workflows that are shut down, this is the rule of Argo's controller.
    pub(super) fn why_ended(&self, is_exit_handler: bool) -> Option<&'static str> {
        match self.shutdown.as_deref() {
            Some("Terminate") => Some("was shut down (Terminate)"),
            Some("Stop") if !is_exit_handler => Some("was shut down (Stop)"),
            _ => self.is_finished.then_some("has finished"),
        }
    }
}

impl From<Object<Spec, Status>> for Workflow {
    fn from(object: Object<Spec, Status>) -> Self {
        let finished_at = object.status.map(|status| status.finished_at).unwrap_or_default();
        Self {
            shutdown: object.spec.shutdown.as_str().map(str::to_owned),
            is_finished: finished_at.as_str().is_some_and(|time| !time.is_empty()),
        }
    }
}

/// Reads a workflow. One that is gone ends no steps: garbage collection deletes the home pods.
pub(super) async fn read(home: Client, id: &WorkflowId) -> kube::Result<Workflow> {
    let api: Api<Object<Spec, Status>> = Api::namespaced_with(home, &id.namespace, &workflows());
    match with_deadline(api.get(&id.name)).await {
        Ok(found) if found.metadata.uid.as_ref() == Some(&id.uid) => Ok(found.into()),
        Ok(_) => Ok(Workflow::default()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Workflow::default()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::runs(json!({}), json!({ "phase": "Running" }), [false, false])]
    #[case::empty(json!({ "shutdown": "" }), json!({ "finishedAt": "" }), [false, false])]
    #[case::not_finished(json!({ "shutdown": null }), json!({ "finishedAt": null }), [false, false])]
    #[case::no_status(json!({}), json!(null), [false, false])]
    #[case::terminated(json!({ "shutdown": "Terminate" }), json!({}), [true, true])]
    #[case::stopped(json!({ "shutdown": "Stop" }), json!({}), [true, false])]
    #[case::finished(json!({}), json!({ "finishedAt": "2026-01-01T00:00:00Z" }), [true, true])]
    #[case::stopped_and_finished(
        json!({ "shutdown": "Stop" }), json!({ "finishedAt": "2026-01-01T00:00:00Z" }), [true, true]
    )]
    #[case::unknown(json!({ "shutdown": "Pause" }), json!({}), [false, false])]
    #[case::other_types(json!({ "shutdown": { "a": 1 } }), json!({ "finishedAt": 7 }), [false, false])]
    fn workflow_ends_a_step_and_an_exit_handler(
        #[case] spec: Value,
        #[case] status: Value,
        #[case] expected: [bool; 2],
    ) {
        let object = json!({ "metadata": { "name": "w" }, "spec": spec, "status": status });
        let object: Object<Spec, Status> = serde_json::from_value(object).unwrap();
        let workflow = Workflow::from(object);
        assert_eq!([false, true].map(|it| workflow.why_ended(it).is_some()), expected);
    }
}

//! The WorkflowTaskResult at home. A pure function.

use kube::ResourceExt;
use kube::api::DynamicObject;
use serde_json::{Map, Value, json};

use super::step::{INSTANCE_ID, Step};
use super::{WORKFLOW, task_results};

/// Label of a WorkflowTaskResult: `true` once argoexec has reported everything.
const COMPLETED: &str = "workflows.argoproj.io/report-outputs-completed";

/// Whether argoexec has reported everything.
pub(super) fn is_complete(report: &DynamicObject) -> bool {
    report.labels().get(COMPLETED).is_some_and(|value| value == "true")
}

/// The copy at home of what argoexec has reported in the source, to be applied. Without a report, Argo waits for one.
///
/// Names and labels are those of the home pod, because those of the source are not trusted.
pub(super) fn at_home(report: Option<&DynamicObject>, step: &Step) -> Value {
    let Step { namespace, node_id, workflow, instance_id, .. } = step;
    let is_complete = report.is_some_and(is_complete);
    let mut labels = json!({ WORKFLOW: workflow.name, COMPLETED: is_complete.to_string() });
    if let Some(id) = instance_id {
        labels[INSTANCE_ID] = json!(id);
    }
    // Argo does not need `blockOwnerDeletion`, which requires rights on Workflows.
    let owner = json!({
        "apiVersion": workflow.api_version, "kind": workflow.kind, "name": workflow.name, "uid": workflow.uid,
    });
    let kind = task_results();
    let mut copy: Map<String, Value> =
        report.and_then(|report| report.data.as_object().cloned()).unwrap_or_default();
    copy.insert("apiVersion".into(), json!(kind.api_version));
    copy.insert("kind".into(), json!(kind.kind));
    copy.insert(
        "metadata".into(),
        json!({ "name": node_id, "namespace": namespace, "labels": labels, "ownerReferences": [owner] }),
    );
    copy.into()
}

/// The merge patch of a copy for which nothing more will come, so that Argo does not wait.
pub(super) fn completed() -> Value {
    json!({ "metadata": { "labels": { COMPLETED: "true" } } })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(instance_id: Option<&str>) -> Step {
        let workflow = json!({ "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": "w", "uid": "home",
                    "blockOwnerDeletion": true, "controller": true });
        Step {
            pod: "p".into(),
            uid: "p".into(),
            namespace: "team-a".into(),
            node_id: "w-1".into(),
            workflow: serde_json::from_value(workflow).unwrap(),
            instance_id: instance_id.map(Into::into),
        }
    }

    fn report(completed: &str) -> DynamicObject {
        let report = json!({
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "WorkflowTaskResult",
            "metadata": {
                "name": "p", "namespace": "batch", "uid": "r", "resourceVersion": "7",
                "labels": { WORKFLOW: "launcher-c1", COMPLETED: completed, INSTANCE_ID: "theirs", "a": "b" },
                "ownerReferences": [{ "apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "p" }],
            },
            "outputs": { "result": "3", "new": [1] },
            "progress": "1/2",
        });
        serde_json::from_value(report).unwrap()
    }

    #[test]
    fn outputs_come_home_as_they_are_and_metadata_does_not() {
        let expected = json!({
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "WorkflowTaskResult",
            "metadata": {
                "name": "w-1", "namespace": "team-a",
                "labels": { WORKFLOW: "w", COMPLETED: "true", INSTANCE_ID: "mine" },
                "ownerReferences": [{ "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": "w", "uid": "home" }],
            },
            "outputs": { "result": "3", "new": [1] },
            "progress": "1/2",
        });
        assert_eq!(at_home(Some(&report("true")), &step(Some("mine"))), expected);
        // Without an instance ID at home, there must be none: a controller without one ignores those that have one.
        let labels = json!({ WORKFLOW: "w", COMPLETED: "false" });
        assert_eq!(at_home(Some(&report("false")), &step(None))["metadata"]["labels"], labels);
    }

    #[test]
    fn without_a_report_argo_waits() {
        let copy = at_home(None, &step(None));
        assert_eq!(copy["metadata"]["labels"], json!({ WORKFLOW: "w", COMPLETED: "false" }));
        assert_eq!(copy.get("outputs"), None);
    }
}

//! The WorkflowTaskResult at home. A pure function.

use kube::ResourceExt;
use kube::api::{DynamicObject, ObjectMeta};
use serde_json::{Map, Value, json};

use super::step::{INSTANCE_ID, Step};
use super::{WORKFLOW, task_results};

/// Label of a WorkflowTaskResult: `true` once argoexec has reported everything.
const COMPLETED: &str = "workflows.argoproj.io/report-outputs-completed";

/// Whether argoexec has reported everything.
pub(super) fn is_complete(report: &DynamicObject) -> bool {
    report.labels().get(COMPLETED).is_some_and(|value| value == "true")
}

/// Whether a report in the source is that of another workflow, which may have nodes of the same names: a workflow of the
/// source's own Argo, or of another target. `stub`: the name of the Workflow that owns our reports there.
pub(super) fn is_of_other_workflow(report: &ObjectMeta, step: &Step, stub: Option<&str>) -> bool {
    let owners = report.owner_references.iter().flatten();
    let mut workflows = owners.filter(|owner| owner.kind == "Workflow");
    workflows.any(|owner| owner.uid != step.workflow.uid && Some(owner.name.as_str()) != stub)
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
    use rstest::rstest;

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
                "name": "w-1", "namespace": "batch", "uid": "r", "resourceVersion": "7",
                "labels": { WORKFLOW: "w", COMPLETED: completed, INSTANCE_ID: "theirs", "a": "b" },
                "ownerReferences": [{ "apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "p" }],
            },
            "outputs": { "result": "3", "new": [1] },
            "progress": "1/2",
        });
        serde_json::from_value(report).unwrap()
    }

    #[rstest]
    #[case::of_the_pod(json!([{ "kind": "Pod", "name": "p", "uid": "p" }]), false)]
    #[case::of_the_workflow_at_home(json!([{ "kind": "Workflow", "name": "w", "uid": "home" }]), false)]
    #[case::of_the_stub(json!([{ "kind": "Workflow", "name": "launcher-c1", "uid": "stub" }]), false)]
    #[case::of_a_workflow_of_the_same_name(json!([{ "kind": "Workflow", "name": "w", "uid": "there" }]), true)]
    #[case::without_an_owner(json!([]), false)]
    fn report_of_another_workflow_is_recognized(#[case] owners: Value, #[case] expected: bool) {
        let mut report = report("true");
        let with_version = |mut owner: Value| {
            owner["apiVersion"] = json!("v1");
            serde_json::from_value(owner).unwrap()
        };
        let owners = owners.as_array().unwrap().iter().cloned().map(with_version);
        report.metadata.owner_references = Some(owners.collect());
        assert_eq!(is_of_other_workflow(&report.metadata, &step(None), Some("launcher-c1")), expected);
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

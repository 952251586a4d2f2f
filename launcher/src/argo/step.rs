//! What a home pod says about its step. Pure functions.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;

use super::WORKFLOW;

/// Annotation of a step's pod: the node of the workflow, after which its WorkflowTaskResult is named.
const NODE_ID: &str = "workflows.argoproj.io/node-id";

/// Label of a workflow, and of what belongs to it: the only controller that processes it.
pub(super) const INSTANCE_ID: &str = "workflows.argoproj.io/controller-instanceid";

/// A step of a workflow. argoexec reports its outputs, from a container beside it, or as its only one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Step {
    /// Name and UID of the home pod.
    pub(super) pod: String,
    pub(super) uid: String,
    pub(super) namespace: String,
    pub(super) node_id: String,
    pub(super) workflow: OwnerReference,
    pub(super) instance_id: Option<String>,
}

impl Step {
    /// The step of a home pod. `None`: the pod is none. Pods of Argo's agents have no node.
    pub(crate) fn of(home: &Pod) -> Option<Self> {
        home.labels().get(WORKFLOW)?;
        let is_workflow = |owner: &&OwnerReference| {
            owner.kind == "Workflow" && owner.api_version.starts_with("argoproj.io/")
        };
        let node_id = home.annotations().get(NODE_ID).filter(|id| is_name(id))?;
        Some(Self {
            pod: home.name_any(),
            uid: home.uid()?,
            namespace: home.namespace()?,
            node_id: node_id.clone(),
            workflow: home.owner_references().iter().find(is_workflow)?.clone(),
            instance_id: home.labels().get(INSTANCE_ID).cloned(),
        })
    }

    /// Name of the report in the source.
    pub(super) fn report(&self) -> &str {
        &self.uid
    }
}

/// Whether an object can have this name. The user who creates the pod chooses it, and it becomes a part of URLs.
fn is_name(text: &str) -> bool {
    let is_valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    text.bytes().all(is_valid) && text.starts_with(|first: char| first.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn pod() -> Value {
        let workflow =
            json!({ "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": "w", "uid": "u" });
        json!({
            "metadata": {
                "name": "w-main-1", "namespace": "team-a", "uid": "p",
                "labels": { WORKFLOW: "w", INSTANCE_ID: "mine" },
                "annotations": { NODE_ID: "w-1" },
                "ownerReferences": [workflow],
            },
        })
    }

    fn step(pod: Value) -> Option<Step> {
        Step::of(&serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn pod_of_a_step_is_recognized() {
        let step = step(pod()).unwrap();
        assert_eq!((&*step.namespace, &*step.node_id, &*step.workflow.uid), ("team-a", "w-1", "u"));
        assert_eq!(step.instance_id.as_deref(), Some("mine"));
    }

    #[rstest]
    #[case::no_label("/metadata/labels", json!({}))]
    #[case::no_node("/metadata/annotations", json!({}))]
    #[case::node_of_another_path("/metadata/annotations/workflows.argoproj.io~1node-id", json!("../pods"))]
    #[case::node_with_a_query("/metadata/annotations/workflows.argoproj.io~1node-id", json!("w?x"))]
    #[case::empty_node("/metadata/annotations/workflows.argoproj.io~1node-id", json!(""))]
    #[case::no_owner("/metadata/ownerReferences", json!([]))]
    #[case::other_owner("/metadata/ownerReferences/0/kind", json!("WorkflowTaskSet"))]
    #[case::other_group("/metadata/ownerReferences/0/apiVersion", json!("example.com/v1"))]
    fn other_pods_are_no_steps(#[case] path: &str, #[case] value: Value) {
        let mut pod = pod();
        *pod.pointer_mut(path).unwrap() = value;
        assert_eq!(step(pod), None);
    }
}

//! Steps of Argo Workflows: brings their outputs home.
//!
//! argoexec, which runs beside a step in the step's pod, reports outputs in a WorkflowTaskResult of its own cluster.
//! Argo's controller reads those of the target, and no more once the pod has ended. So `outputs` copies each of them home,
//! before the home pod ends: `result` computes the copy, `step` reads what a pod says about its step. `watch` notices
//! reports, and `steps` remembers what was copied. `stub` keeps garbage collection in the source from deleting reports.

pub(crate) mod outputs;
mod result;
pub(crate) mod step;
pub(crate) mod steps;
pub(crate) mod stub;
pub(crate) mod watch;

use kube::api::ApiResource;
use kube::core::GroupVersionKind;
use mcsa_client::clusters::Member;
use mcsa_credentials::contract::launch::ARGO;

/// Label of what belongs to a workflow: its name.
const WORKFLOW: &str = "workflows.argoproj.io/workflow";

/// The kind of the reports.
pub(crate) fn task_results() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("argoproj.io", "v1alpha1", "WorkflowTaskResult"))
}

/// Whether the launch import gives rights to the outputs of steps.
pub(crate) fn is_granted(member: &Member) -> bool {
    let annotations = member.import().and_then(|import| import.metadata.annotations.clone());
    annotations.is_some_and(|annotations| annotations.get(ARGO).is_some_and(|value| value == "true"))
}

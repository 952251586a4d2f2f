//! Steps of Argo Workflows: brings their outputs home.
//!
//! argoexec, which runs beside a step in the step's pod, reports outputs in a WorkflowTaskResult of its own cluster.
//! Argo's controller reads those of the target, and no more once the pod has ended. So `outputs` copies each of them home,
//! before the home pod ends: `result` computes the copy, `step` reads what a pod says about its step. `watch` notices
//! reports, and `steps` remembers what was copied. `report` is how argoexec names its report in the source, and `stub` keeps
//! garbage collection there from deleting it. `sweep` deletes `leftovers`: reports whose pods are gone.

pub(crate) mod leftovers;
pub(crate) mod outputs;
pub(crate) mod report;
mod result;
pub(crate) mod step;
pub(crate) mod steps;
mod stub;
pub(crate) mod sweep;
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

/// What to do about a launch import without rights to outputs.
fn no_rights(member: &Member) -> String {
    format!("the launch import gives no right to the outputs of Argo's steps: run {}", launch_command(member))
}

/// The command that gives these rights.
fn launch_command(member: &Member) -> String {
    let import = member.import();
    let (namespace, remote) = import.as_ref().map_or(("NAMESPACE", "NAMESPACE"), |import| {
        (import.metadata.namespace.as_deref().unwrap_or_default(), &*import.spec.namespace)
    });
    let remote = if namespace == remote { String::new() } else { format!(" --remote-namespace {remote}") };
    format!("kubemcsa launch {namespace}{remote} --argo --target-context TARGET --source-context SOURCE")
}

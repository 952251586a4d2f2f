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

use crate::launch_import::is_of_secret;

/// Label of what belongs to a workflow: its name.
const WORKFLOW: &str = "workflows.argoproj.io/workflow";

/// The kind of the reports.
pub(crate) fn task_results() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("argoproj.io", "v1alpha1", "WorkflowTaskResult"))
}

fn workflows() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Workflow"))
}

/// What to do about a launch import without rights to outputs.
fn no_rights(member: &Member) -> String {
    format!("the launch import gives no right to the outputs of Argo's steps: {}", remedy(member))
}

/// How to give these rights, and create the stub.
fn remedy(member: &Member) -> String {
    if is_of_secret(member) {
        return "give the service account of the credential in Argo's Secret the rights in \
                examples/argo/secrets/source.yaml, and create the Workflow that is described there"
            .to_owned();
    }
    let import = member.import();
    let (namespace, remote) = import.as_ref().map_or(("NAMESPACE", "NAMESPACE"), |import| {
        (import.metadata.namespace.as_deref().unwrap_or_default(), &*import.spec.namespace)
    });
    let remote = if namespace == remote { String::new() } else { format!(" --remote-namespace {remote}") };
    format!("run kubemcsa launch {namespace}{remote} --argo --target-context TARGET --source-context SOURCE")
}

/// How to give the launcher its rights in this cluster.
fn home_remedy(member: &Member) -> &'static str {
    match is_of_secret(member) {
        true => "give the launcher the rights of its Role in examples/argo/secrets/target.yaml",
        false => "run kubemcsa launch again, with --argo",
    }
}

#[cfg(test)]
mod tests {
    use mcsa_client::clusters::Clusters;
    use rstest::rstest;

    use super::*;
    use crate::launch_import::tests::join;

    #[rstest]
    #[case::launch_import(
        Some("u"),
        "run kubemcsa launch team-a --remote-namespace remote --argo",
        "run kubemcsa launch again, with --argo"
    )]
    #[case::secret(None, "examples/argo/secrets/source.yaml", "examples/argo/secrets/target.yaml")]
    #[tokio::test]
    async fn remedies_are_for_a_launch_import_or_a_secret(
        #[case] uid: Option<&str>,
        #[case] of_source: &str,
        #[case] of_home: &str,
    ) {
        let member = join(&Clusters::fixed::<&str>([]), "c2", uid, true);
        assert!(remedy(&member).contains(of_source), "{}", remedy(&member));
        assert!(home_remedy(&member).contains(of_home), "{}", home_remedy(&member));
    }
}

//! Steps of Argo Workflows: brings their outputs home.
//!
//! argoexec, which runs beside a step in the step's pod, reports outputs in a WorkflowTaskResult of its own cluster.
//! Argo's controller reads those of the target, and no more once the pod has ended. So `outputs` copies each of them home,
//! before the home pod ends: `result` computes the copy, `step` reads what a pod says about its step. `watch` notices
//! reports, and `steps` remembers what was copied. `report` is how argoexec names its report in the source, and `stub` keeps
//! garbage collection there from deleting it. `sweep` deletes `leftovers`: reports whose pods are gone.
//! `shutdown` ends steps of workflows that were shut down during an outage.

pub(crate) mod leftovers;
pub(crate) mod outputs;
pub(crate) mod report;
mod result;
pub(crate) mod shutdown;
pub(crate) mod step;
pub(crate) mod steps;
mod stub;
pub(crate) mod sweep;
pub(crate) mod watch;

use kube::api::ApiResource;
use kube::core::GroupVersionKind;
use mcsa_client::clusters::Member;
use mcsa_credentials::contract::launch::ARGO;

use crate::argo_secrets::is_made_up;

/// Label of what belongs to a workflow: its name.
const WORKFLOW: &str = "workflows.argoproj.io/workflow";

/// The kind of the reports.
pub(crate) fn task_results() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("argoproj.io", "v1alpha1", "WorkflowTaskResult"))
}

fn workflows() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Workflow"))
}

/// Whether the launch import gives rights to the outputs of steps.
pub(crate) fn is_granted(member: &Member) -> bool {
    let annotations = member.import().and_then(|import| import.metadata.annotations.clone());
    annotations.is_some_and(|annotations| annotations.get(ARGO).is_some_and(|value| value == "true"))
}

/// What to do about a launch import without rights to outputs.
fn no_rights(member: &Member) -> String {
    format!("the launch import gives no right to the outputs of Argo's steps: {}", remedy(member))
}

/// How to give these rights, and create the stub.
fn remedy(member: &Member) -> String {
    let import = member.import();
    if import.as_deref().is_some_and(is_made_up) {
        return "give the service account of the credential in Argo's Secret the rights in \
                examples/argo/secrets/source.yaml, and create the Workflow that is described there"
            .to_owned();
    }
    let (namespace, remote) = import.as_ref().map_or(("NAMESPACE", "NAMESPACE"), |import| {
        (import.metadata.namespace.as_deref().unwrap_or_default(), &*import.spec.namespace)
    });
    let remote = if namespace == remote { String::new() } else { format!(" --remote-namespace {remote}") };
    format!("run kubemcsa launch {namespace}{remote} --argo --target-context TARGET --source-context SOURCE")
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{Request, Response};
    use kube::Client;
    use kube::client::Body;
    use mcsa_client::clusters::Clusters;
    use mcsa_client::{ServiceAccountImport, ServiceAccountImportSpec};
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::launch_import(Some("u"), "run kubemcsa launch team-a --remote-namespace remote --argo")]
    #[case::secret(None, "examples/argo/secrets/source.yaml")]
    #[tokio::test]
    async fn remedy_is_for_a_launch_import_or_a_secret(#[case] uid: Option<&str>, #[case] expected: &str) {
        let spec = ServiceAccountImportSpec { namespace: "remote".into(), ..Default::default() };
        let mut import = ServiceAccountImport::new("c2", spec);
        import.metadata.namespace = Some("team-a".into());
        import.metadata.uid = uid.map(str::to_owned);
        let respond = |_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Body::empty())) };
        let client = Client::new(tower::service_fn(respond), "remote");
        let clusters = Clusters::fixed::<&str>([]);
        let member = clusters.join_as_import("c2", client, import).unwrap();
        let remedy = remedy(&member);
        assert!(remedy.contains(expected), "{remedy}");
    }
}

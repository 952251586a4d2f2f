//! Copies the outputs of a step home.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::{Api, ResourceExt};
use mcsa_client::clusters::Member;
use mcsa_credentials::contract::launch::{FIELD_MANAGER, NO_RIGHTS_TO_OUTPUTS};
use mcsa_runtime::deadline::with_deadline;
use mcsa_runtime::errors;
use serde_json::{Value, json};

use super::report::Report;
use super::result::{at_home, completed, is_complete};
use super::step::Step;
use super::steps::Copied;
use super::{home_remedy, no_rights, remedy, task_results};
use crate::home_pod::{Error, HomePod};
use crate::launch_import::is_granted;
use crate::mirror;
use crate::report::patch_parameters;

/// How long the home pod of an ended pod waits for its outputs. argoexec reports them before it ends.
const PATIENCE: Duration = Duration::from_secs(30);

/// How soon to look for them again, in case that the watch is late.
const RECHECK: Duration = Duration::from_secs(2);

/// Whether the home pod may follow its remote pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outputs {
    /// It may.
    Copied,
    /// The remote pod has ended, and its outputs are not complete: look again after this delay.
    Awaited(Duration),
    /// The outputs did not come in time, for this reason.
    Missing(String),
}

/// Why a report was not copied.
enum NotCopied {
    /// An API server refused it. Trying again helps only if someone changes something.
    Refused(String),
    Failed(Error),
}

impl HomePod<'_> {
    /// Prepares the launch of a step: from now on, Argo waits for its outputs. `None`: the pod is no step.
    pub(crate) async fn prepare_outputs(&self, member: &Member) -> Result<Option<Report>, Error> {
        let Some(step) = Step::of(&self.home) else { return Ok(None) };
        if !is_granted(member) {
            return self.wait(NO_RIGHTS_TO_OUTPUTS, no_rights(member)).await;
        }
        let report = self.expected_report(member, &step).await?;
        match self.apply(member, &step, &at_home(None, &step)).await {
            Ok(()) => Ok(Some(report)),
            Err(NotCopied::Refused(message)) => self.wait("OutputsNotCopied", message).await,
            Err(NotCopied::Failed(error)) => Err(error),
        }
    }

    /// Copies what a step has reported since the last copy.
    pub(crate) async fn copy_outputs(&self, member: &Member, remote: &Pod) -> Result<Outputs, Error> {
        let Some(step) = Step::of(&self.home) else { return Ok(Outputs::Copied) };
        let steps = &self.source.steps;
        let has_ended = mirror::is_terminal(remote);
        match steps.take(&step) {
            Copied::All => return Ok(Outputs::Copied),
            Copied::GivenUp(why) => return Ok(missing(remote, why)),
            Copied::Latest if !has_ended => return Ok(Outputs::Copied),
            Copied::Latest | Copied::Outdated => {}
        }
        let problem = match self.copy_report(member, remote, &step).await {
            Ok(true) => {
                steps.set(&step, Copied::All);
                return Ok(Outputs::Copied);
            }
            Ok(false) => None,
            Err(NotCopied::Refused(message)) => Some(message),
            Err(NotCopied::Failed(error)) if has_ended => return Err(error),
            Err(NotCopied::Failed(error)) => Some(error.to_string()),
        };
        if !has_ended {
            // The pod goes on, and its status is written. The next reconciliation tries again.
            if let Some(message) = problem {
                steps.set(&step, Copied::Outdated);
                if self.source.states.may_report(&self.home, "OutputsNotCopied") {
                    self.source.events.warn(&self.home, "OutputsNotCopied", &message).await;
                }
            }
            return Ok(Outputs::Copied);
        }
        if steps.since_end(&step) < PATIENCE {
            return Ok(Outputs::Awaited(RECHECK));
        }
        let cluster = &self.source.cluster;
        let why = problem.unwrap_or_else(|| {
            format!("argoexec has not reported the outputs of the step in cluster {cluster}: see kubectl logs -c wait")
        });
        self.give_up(&step, &why).await;
        Ok(missing(remote, why))
    }

    /// Copies what is left of the outputs of a step whose remote pod is gone. Returns the last state of that pod, and why
    /// it has not succeeded, if it seems to have.
    pub(crate) async fn lost_outputs(&self) -> Result<Option<(Pod, String)>, Error> {
        let Some(step) = Step::of(&self.home) else { return Ok(None) };
        let last = self.source.states.last_remote(&self.home);
        let why = match self.source.steps.take(&step) {
            Copied::All => return Ok(None),
            Copied::GivenUp(why) => why,
            Copied::Latest | Copied::Outdated => {
                let copied = match (self.resolve(), &last) {
                    (Ok(member), Some(last)) => self.copy_report(&member, last, &step).await,
                    _ => Ok(false),
                };
                match copied {
                    Ok(true) => {
                        self.source.steps.set(&step, Copied::All);
                        return Ok(None);
                    }
                    Err(NotCopied::Failed(error)) => return Err(error),
                    Err(NotCopied::Refused(why)) => why,
                    Ok(false) => format!(
                        "the pod was deleted in cluster {} before the outputs of the step were copied",
                        self.source.cluster
                    ),
                }
            }
        };
        self.give_up(&step, &why).await;
        Ok(last.filter(mirror::has_succeeded).map(|last| (last, why)))
    }

    /// Tells Argo not to wait for the outputs of a step that was never launched, and will not be.
    pub(crate) async fn abandon_outputs(&self) {
        if let Some(step) = Step::of(&self.home) {
            self.give_up(&step, "the step was not launched").await;
        }
    }

    /// Returns whether the copy is complete.
    async fn copy_report(&self, member: &Member, remote: &Pod, step: &Step) -> Result<bool, NotCopied> {
        if !is_granted(member) {
            return Err(NotCopied::Refused(no_rights(member)));
        }
        let report = match self.read_report(member, remote, step).await {
            Ok(report) => report,
            Err(kube::Error::Api(status)) if status.code == 403 => {
                let why = errors::short(&status.message);
                let message = format!("can't read the outputs of the step: {why}; {}", remedy(member));
                return Err(NotCopied::Refused(message));
            }
            Err(error) => return Err(NotCopied::Failed(self.source_error(&error))),
        };
        let Some(report) = report else { return Ok(false) };
        self.apply(member, step, &at_home(Some(&report), step)).await?;
        self.give_to_pod(member, remote, &report).await?;
        Ok(is_complete(&report))
    }

    /// The report of this remote pod.
    async fn read_report(
        &self,
        member: &Member,
        remote: &Pod,
        step: &Step,
    ) -> kube::Result<Option<DynamicObject>> {
        let report = with_deadline(self.source.remote_task_results(member).get_opt(step.report())).await?;
        let is_of_other_pod = |report: &DynamicObject| {
            pod_owner(report).is_some_and(|owner| Some(&owner.uid) != remote.metadata.uid.as_ref())
        };
        Ok(report.filter(|report| !is_of_other_pod(report)))
    }

    /// Makes the remote pod the owner of its report, so that garbage collection deletes the report with the pod. If the pod
    /// is gone already, that is at once.
    async fn give_to_pod(
        &self,
        member: &Member,
        remote: &Pod,
        report: &DynamicObject,
    ) -> Result<(), NotCopied> {
        if pod_owner(report).is_some() {
            return Ok(());
        }
        let owner = json!([{
            "apiVersion": "v1", "kind": "Pod", "name": remote.name_any(), "uid": remote.metadata.uid,
        }]);
        let metadata = json!({ "uid": report.uid(), "ownerReferences": owner });
        let (api, patch) =
            (self.source.remote_task_results(member), Patch::Merge(json!({ "metadata": metadata })));
        match with_deadline(api.patch(&report.name_any(), &patch_parameters(), &patch)).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(NotCopied::Failed(self.source_error(&error))),
        }
    }

    /// Writes the copy at home. It is forced, because argoexec may have written it when an earlier pod of the step ran at
    /// home.
    ///
    /// A person who may create pods in the namespace gains nothing by a pod that names the node of another step: the pod
    /// could use the service account of that step, which may write the same.
    async fn apply(&self, member: &Member, step: &Step, copy: &Value) -> Result<(), NotCopied> {
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        let (api, patch) = (self.home_task_results(step), Patch::Apply(copy));
        match with_deadline(api.patch(&step.node_id, &parameters, &patch)).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if matches!(status.code, 400 | 403 | 404 | 413 | 422) => {
                Err(NotCopied::Refused(format!(
                    "can't write WorkflowTaskResult {}/{}: {}; if rights are missing, {}",
                    step.namespace,
                    step.node_id,
                    errors::short(&status.message),
                    home_remedy(member)
                )))
            }
            Err(error) => Err(NotCopied::Failed(Error::Home(error))),
        }
    }

    /// Tells Argo not to wait for more. If that fails, Argo waits for ten minutes.
    async fn give_up(&self, step: &Step, why: &str) {
        let (api, patch) = (self.home_task_results(step), Patch::Merge(completed()));
        match with_deadline(api.patch(&step.node_id, &patch_parameters(), &patch)).await {
            Ok(_) => {}
            // Argo does not wait for a step of which there is no copy.
            Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404) => {}
            Err(error) => {
                let (pod, error) = (self.request.key(), errors::line(&error));
                tracing::warn!(%pod, error, "can't mark the outputs of a step as complete");
            }
        }
        self.source.steps.set(step, Copied::GivenUp(why.to_owned()));
    }

    fn home_task_results(&self, step: &Step) -> Api<DynamicObject> {
        Api::namespaced_with(self.request.member.client(), &step.namespace, &task_results())
    }
}

/// The pod that owns a report.
fn pod_owner(report: &DynamicObject) -> Option<&OwnerReference> {
    report.owner_references().iter().find(|owner| owner.kind == "Pod")
}

/// A step that has failed needs no outputs.
fn missing(remote: &Pod, why: String) -> Outputs {
    if mirror::has_succeeded(remote) { Outputs::Missing(why) } else { Outputs::Copied }
}

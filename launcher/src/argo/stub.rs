//! The Workflow in a source that owns the reports there, the stub.
//!
//! In a source with the kind Workflow, garbage collection would delete a report whose owner is the step's workflow at once,
//! because that workflow exists at home only. So `kubemcsa launch --argo` creates a Workflow there that never runs.

use kube::api::DynamicObject;
use kube::core::Status;
use kube::{Api, ResourceExt};
use mcsa_client::clusters::Member;
use mcsa_credentials::contract::launch::{NO_RIGHTS_TO_OUTPUTS, OUTPUTS_NOT_KEPT};
use mcsa_credentials::names::stub_workflow;
use mcsa_runtime::deadline::with_deadline;

use super::report::Report;
use super::step::Step;
use super::{remedy, workflows};
use crate::home_pod::{Error, HomePod};

impl HomePod<'_> {
    /// The report that argoexec will create in the source. Waits if the stub is missing there.
    pub(super) async fn expected_report(&self, member: &Member, step: &Step) -> Result<Report, Error> {
        let name = stub_name(member);
        let owned_by =
            |uid: String| Report { name: step.report().into(), owner: name.clone(), owner_uid: uid };
        let api: Api<DynamicObject> = Api::default_namespaced_with(member.client(), &workflows());
        let has_name = |status: &Status| status.details.as_ref().is_some_and(|details| details.name == name);
        let (reason, problem) = match with_deadline(api.get_metadata(&name)).await {
            Ok(stub) if stub.metadata.deletion_timestamp.is_none() => {
                return Ok(owned_by(stub.uid().unwrap_or_default()));
            }
            // An API server that does not have the kind names no object. Garbage collection there ignores the owner.
            Err(kube::Error::Api(status)) if status.code == 404 && !has_name(&status) => {
                return Ok(owned_by(step.workflow.uid.clone()));
            }
            Ok(_) => (OUTPUTS_NOT_KEPT, self.no_stub(member, &name)),
            Err(kube::Error::Api(status)) if status.code == 404 => {
                (OUTPUTS_NOT_KEPT, self.no_stub(member, &name))
            }
            Err(kube::Error::Api(status)) if status.code == 403 => {
                let (remote, cluster) = (member.default_namespace(), &self.source.cluster);
                let remedy = remedy(member);
                let problem = format!(
                    "the launcher may not get Workflow {remote}/{name} in cluster {cluster}: {remedy}"
                );
                (NO_RIGHTS_TO_OUTPUTS, problem)
            }
            Err(error) => return Err(self.source_error(&error)),
        };
        self.wait(reason, problem).await
    }

    fn no_stub(&self, member: &Member, name: &str) -> String {
        format!(
            "Workflow {}/{name} is missing in cluster {}, so garbage collection there would delete the outputs of \
             the step: {}",
            member.default_namespace(),
            self.source.cluster,
            remedy(member)
        )
    }
}

/// Its name, which is also that of the workflow in the labels of reports.
pub(super) fn stub_name(member: &Member) -> String {
    stub_workflow(member.import().as_ref().map_or("", |import| &import.spec.name))
}

//! The Workflow in a source that owns the reports there.
//!
//! argoexec makes the step's workflow the owner of its report. In a source with the kind Workflow, garbage collection
//! would delete the report at once, because that workflow exists at home only. So `kubemcsa launch --argo` creates a
//! Workflow there that never runs, the stub, and argoexec makes it the owner.

use kube::api::{ApiResource, DynamicObject};
use kube::core::{GroupVersionKind, Status};
use kube::{Api, ResourceExt};
use mcsa_client::clusters::Member;
use mcsa_credentials::contract::launch::{NO_RIGHTS_TO_OUTPUTS, OUTPUTS_NOT_KEPT};
use mcsa_credentials::names::stub_workflow;
use mcsa_runtime::deadline::with_deadline;
use serde_json::{Value, json};

use super::launch_command;
use crate::home_pod::{Error, HomePod};

/// Environment variables of argoexec: the owner of its report.
const OWNER_NAME: &str = "ARGO_WORKFLOW_NAME";
const OWNER_UID: &str = "ARGO_WORKFLOW_UID";

/// The owner of reports in a source with the kind Workflow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stub {
    name: String,
    uid: String,
}

impl Stub {
    /// Makes it the owner of what argoexec in a remote pod reports.
    pub(crate) fn own_reports_of(&self, pod: &mut Value) {
        for list in ["initContainers", "containers"] {
            let containers = pod["spec"].get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
            for container in containers {
                if let Some(variables) = container.get_mut("env").and_then(Value::as_array_mut) {
                    self.set_owner(variables);
                }
            }
        }
    }

    /// Changes the environment of a container if argoexec runs in it: Argo sets both variables for argoexec, and a
    /// container of the user may have one of them.
    fn set_owner(&self, variables: &mut [Value]) {
        let position = |name: &str| variables.iter().position(|variable| variable["name"] == name);
        if let (Some(name), Some(uid)) = (position(OWNER_NAME), position(OWNER_UID)) {
            variables[name] = json!({ "name": OWNER_NAME, "value": self.name });
            variables[uid] = json!({ "name": OWNER_UID, "value": self.uid });
        }
    }
}

impl HomePod<'_> {
    /// The owner of reports in the source. `None`: any will do, because the source does not have the kind Workflow.
    pub(super) async fn stub(&self, member: &Member) -> Result<Option<Stub>, Error> {
        let Some(name) = stub_name(member) else { return Ok(None) };
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Workflow"));
        let workflows: Api<DynamicObject> = Api::default_namespaced_with(member.client(), &kind);
        let has_name = |status: &Status| status.details.as_ref().is_some_and(|details| details.name == name);
        let (reason, problem) = match with_deadline(workflows.get_metadata(&name)).await {
            Ok(stub) if stub.metadata.deletion_timestamp.is_none() => {
                return Ok(Some(Stub { uid: stub.uid().unwrap_or_default(), name }));
            }
            // An API server that does not have the kind names no object.
            Err(kube::Error::Api(status)) if status.code == 404 && !has_name(&status) => return Ok(None),
            Ok(_) => (OUTPUTS_NOT_KEPT, self.no_stub(member, &name)),
            Err(kube::Error::Api(status)) if status.code == 404 => {
                (OUTPUTS_NOT_KEPT, self.no_stub(member, &name))
            }
            Err(kube::Error::Api(status)) if status.code == 403 => {
                let (remote, cluster) = (member.default_namespace(), &self.source.cluster);
                let command = launch_command(member);
                let problem = format!(
                    "the launcher may not get Workflow {remote}/{name} in cluster {cluster}: run {command}"
                );
                (NO_RIGHTS_TO_OUTPUTS, problem)
            }
            Err(error) => return Err(self.source_error(&error)),
        };
        self.wait(reason, problem).await
    }

    fn no_stub(&self, member: &Member, name: &str) -> String {
        format!(
            "Workflow {}/{name} is missing in cluster {}, so garbage collection there would delete the outputs of the step: \
             run {}",
            member.default_namespace(),
            self.source.cluster,
            launch_command(member)
        )
    }
}

/// Its name. `None`: the cluster has no import.
pub(super) fn stub_name(member: &Member) -> Option<String> {
    member.import().map(|import| stub_workflow(&import.spec.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn argoexec_names_the_stub_as_the_owner() {
        let field =
            json!({ "name": "ARGO_POD_NAME", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } });
        let env = |name: &str, uid: &str| json!([field, { "name": OWNER_NAME, "value": name }, { "name": OWNER_UID, "value": uid }]);
        let of_user = json!([{ "name": OWNER_NAME, "value": "at-home" }]);
        let pod = |name: &str, uid: &str| {
            json!({ "spec": {
                "initContainers": [{ "name": "init", "env": env(name, uid) }],
                "containers": [
                    { "name": "wait", "env": env(name, uid) },
                    { "name": "main", "env": of_user },
                    { "name": "side" },
                ],
            } })
        };
        let mut remote = pod("at-home", "home");
        Stub { name: "launcher-c1".into(), uid: "u".into() }.own_reports_of(&mut remote);
        assert_eq!(remote, pod("launcher-c1", "u"));

        let mut without = json!({ "spec": { "containers": [{ "name": "main", "env": null }] } });
        let before = without.clone();
        Stub { name: "launcher-c1".into(), uid: "u".into() }.own_reports_of(&mut without);
        assert_eq!(without, before);
    }
}

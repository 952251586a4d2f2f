//! What the launcher has in both clusters: launch imports in the target and, in each namespace of the source that its
//! pods may run in, a service account with rights in that namespace.

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::ResourceExt;
use kube::api::{ApiResource, DynamicObject, ObjectMeta};
use kube::core::GroupVersionKind;
use mcsa_client::ServiceAccountImport;
use mcsa_credentials::contract::launch::{FIELD_MANAGER, LABEL, LAUNCHER, NODE_MANAGED_BY, STOPPING};
use mcsa_credentials::contract::{SYSTEM_NAMESPACE, TARGET_UID};
use mcsa_credentials::names::stub_workflow;
use serde_json::json;

use crate::cluster::call::CallError;
use crate::cluster::kubeconfig::shell_quote;
use crate::cluster::{Cluster, list, object};

/// Longest name of a service account whose Roles for Argo, with the longest suffix, have valid names.
const MAX_NAME: usize = 253 - "-argoexec".len();

/// Longest value of a label.
const MAX_LABEL: usize = 63;

/// Name of a target's service accounts, and of their Roles and RoleBindings.
pub(crate) fn account_name(target: &str) -> String {
    format!("{LAUNCHER}-{target}")
}

/// Names of the Roles and RoleBindings for the outputs of Argo's steps: the launcher's, and that of all pods.
pub(crate) fn argo_names(target: &str) -> [String; 2] {
    ["argo", "argoexec"].map(|suffix| format!("{}-{suffix}", account_name(target)))
}

/// A Workflow that never runs, which no controller processes: it owns the outputs of steps in a source with the kind
/// Workflow, where garbage collection deletes outputs whose owner does not exist. `account`: the metadata of the launcher's
/// service account.
pub(crate) fn stub(account: ObjectMeta) -> DynamicObject {
    let name = stub_workflow(account.name.as_deref().unwrap_or_default());
    let mut stub = DynamicObject::new(&name, &workflows());
    stub.metadata = ObjectMeta { name: Some(name), ..account };
    let labels = [("controller-instanceid", SYSTEM_NAMESPACE), ("completed", "true")];
    let labels = labels.map(|(key, value)| (format!("workflows.argoproj.io/{key}"), value.to_owned()));
    stub.labels_mut().extend(labels);
    stub.data = json!({ "spec": { "suspend": true } });
    stub
}

/// Whether an object is a Workflow, as only a stub is among those of a launcher.
pub(crate) fn is_stub(object: &DynamicObject) -> bool {
    object::kind(object) == "Workflow"
}

/// The objects of a target's launcher with their Workflows, which come first. `read_stubs` reads the Workflows.
pub(crate) async fn with_stubs(
    objects: Vec<DynamicObject>,
    target: &str,
    read_stubs: impl Future<Output = Result<Vec<DynamicObject>, CallError>>,
) -> Result<Vec<DynamicObject>, CallError> {
    let argo = argo_names(target);
    // Read Workflows only if the launch is for Argo: the user may lack the right.
    if !objects.iter().any(|object| argo.contains(&object.name_any())) {
        return Ok(objects);
    }
    let mut all = read_stubs.await?;
    all.extend(objects);
    Ok(all)
}

fn workflows() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Workflow"))
}

/// Why the target's name is too long for the launcher.
pub(crate) fn name_problem(target: &str) -> Option<String> {
    let account = account_name(target);
    (account.len() > MAX_NAME).then(|| {
        format!(
            "service account {account} would have more than {MAX_NAME} characters; link the target under a shorter name"
        )
    })
}

/// Why the source's name is too long for the launcher.
pub(crate) fn source_name_problem(source: &str) -> Option<String> {
    (source.len() > MAX_LABEL).then(|| {
        format!(
            "{source} has more than {MAX_LABEL} characters, so it can't be the value of a label, as the name of a virtual node \
             must; link the source under a shorter name"
        )
    })
}

/// Arguments of `kubemcsa launch` that select a launch import.
pub(crate) fn selection(namespace: &str, remote_namespace: &str) -> String {
    if namespace == remote_namespace {
        shell_quote(namespace)
    } else {
        format!("{} --remote-namespace {}", shell_quote(namespace), shell_quote(remote_namespace))
    }
}

/// Whether the launcher created this node: another one can have the name of a source.
pub(crate) fn is_virtual_node(node: &impl ResourceExt) -> bool {
    node.annotations().get(NODE_MANAGED_BY).is_some_and(|value| value == FIELD_MANAGER)
}

/// Whether the launcher runs pods with this import.
pub(crate) fn is_launch_import(import: &ServiceAccountImport) -> bool {
    import.labels().get(LABEL).is_some_and(|value| value == "true" || value == STOPPING)
}

/// Whether an object in the source belongs to the launcher of this target. `None`: of any target of that name.
pub(crate) fn is_of_target(object: &DynamicObject, target_uid: Option<&str>) -> bool {
    let uid = object.annotations().get(TARGET_UID);
    uid.is_some_and(|uid| target_uid.is_none_or(|target_uid| uid == target_uid))
}

/// Lists the service accounts of a target's launcher, with their Workflows and rights, in the order of deletion: the accounts
/// last.
pub(crate) async fn list_objects(
    source: &Cluster,
    target: &str,
    target_uid: Option<&str>,
) -> Result<Vec<DynamicObject>, CallError> {
    let name = account_name(target);
    let mut objects = Vec::new();
    for name in argo_names(target).iter().chain([&name]) {
        let (bindings, roles) =
            tokio::join!(list::by_name::<RoleBinding>(source, name), list::by_name::<Role>(source, name));
        objects.extend([bindings?, roles?].concat());
    }
    let stub = stub_workflow(&name);
    let stubs = async {
        match list::named(source, &workflows(), &stub).await {
            // The source may not have the kind.
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            stubs => stubs,
        }
    };
    let mut objects = with_stubs(objects, target, stubs).await?;
    objects.extend(list::by_name::<ServiceAccount>(source, &name).await?);
    objects.retain(|object| object::is_ours(object) && is_of_target(object, target_uid));
    Ok(objects)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(&"a".repeat(235), false)]
    #[case(&"a".repeat(236), true)]
    fn long_name_of_the_target_is_refused(#[case] target: &str, #[case] expected: bool) {
        assert_eq!(name_problem(target).is_some(), expected);
    }

    #[rstest]
    #[case(&"a".repeat(63), false)]
    #[case(&"a".repeat(64), true)]
    fn long_name_of_the_source_is_refused(#[case] source: &str, #[case] expected: bool) {
        assert_eq!(source_name_problem(source).is_some(), expected);
    }
}

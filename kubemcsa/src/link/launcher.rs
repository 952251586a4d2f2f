//! What the launcher has in both clusters: launch imports in the target and, in each namespace of the source that its
//! pods may run in, a service account with rights in that namespace.

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::ResourceExt;
use kube::api::DynamicObject;
use mcsa_client::ServiceAccountImport;
use mcsa_credentials::contract::TARGET_UID;
use mcsa_credentials::contract::launch::{LABEL, LAUNCHER};

use crate::cluster::call::CallError;
use crate::cluster::{Cluster, list, object};

/// Longest name of a service account.
const MAX_NAME: usize = 253;

/// Longest value of a label.
const MAX_LABEL: usize = 63;

/// Name of a target's service accounts, and of their Roles and RoleBindings.
pub(crate) fn account_name(target: &str) -> String {
    format!("{LAUNCHER}-{target}")
}

/// Why the names of a link are too long for the launcher.
pub(crate) fn name_problem(target: &str, source: &str) -> Option<String> {
    let account = account_name(target);
    if account.len() > MAX_NAME {
        return Some(format!(
            "service account {account} would have more than {MAX_NAME} characters; link the target under a shorter name"
        ));
    }
    (source.len() > MAX_LABEL).then(|| {
        format!(
            "the virtual node has the source's name, which is also the value of a label, and must not have more than \
             {MAX_LABEL} characters; link the source under a shorter name"
        )
    })
}

/// Whether the launcher runs pods with this import.
pub(crate) fn is_launch_import(import: &ServiceAccountImport) -> bool {
    import.labels().get(LABEL).is_some_and(|value| value == "true")
}

/// Whether an object in the source belongs to the launcher of this target. `None`: of any target of that name.
pub(crate) fn is_of_target(object: &DynamicObject, target_uid: Option<&str>) -> bool {
    let uid = object.annotations().get(TARGET_UID);
    uid.is_some_and(|uid| target_uid.is_none_or(|target_uid| uid == target_uid))
}

/// Lists the service accounts of a target's launcher, with their rights, in the order of deletion: rights first.
pub(crate) async fn list_objects(
    source: &Cluster,
    target: &str,
    target_uid: Option<&str>,
) -> Result<Vec<DynamicObject>, CallError> {
    let name = account_name(target);
    let (bindings, roles, accounts) = tokio::join!(
        list::by_name::<RoleBinding>(source, &name),
        list::by_name::<Role>(source, &name),
        list::by_name::<ServiceAccount>(source, &name),
    );
    let mut objects = [bindings?, roles?, accounts?].concat();
    objects.retain(|object| object::is_ours(object) && is_of_target(object, target_uid));
    Ok(objects)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("c1", "c2", None)]
    #[case(&"a".repeat(244), "c2", None)]
    #[case(&"a".repeat(245), "c2", Some("link the target under a shorter name"))]
    #[case("c1", &"a".repeat(63), None)]
    #[case("c1", &"a".repeat(64), Some("link the source under a shorter name"))]
    fn long_names_are_refused(#[case] target: &str, #[case] source: &str, #[case] expected: Option<&str>) {
        match (name_problem(target, source), expected) {
            (None, None) => {}
            (Some(problem), Some(expected)) => assert!(problem.contains(expected), "{problem}"),
            (problem, _) => panic!("{problem:?}"),
        }
    }
}

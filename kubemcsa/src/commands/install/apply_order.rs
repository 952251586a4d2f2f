//! The order in which objects are applied: each after the objects that it needs.

use kube::api::DynamicObject;

use crate::cluster::object;

/// Groups the objects into stages, and keeps their order within a stage.
pub(crate) fn stages(objects: Vec<DynamicObject>) -> Vec<Vec<DynamicObject>> {
    let mut stages: [Vec<_>; 5] = Default::default();
    for object in objects {
        stages[stage(object::kind(&object))].push(object);
    }
    stages.into_iter().filter(|stage| !stage.is_empty()).collect()
}

/// Whether this is a CRD, which must be established before the next stage.
pub(crate) fn is_definition(object: &DynamicObject) -> bool {
    object::kind(object) == "CustomResourceDefinition"
}

fn stage(kind: &str) -> usize {
    match kind {
        "Namespace" => 0,
        "CustomResourceDefinition" => 1,
        // Policies before the rights that they restrict.
        "ValidatingAdmissionPolicy" | "ValidatingAdmissionPolicyBinding" => 2,
        // Rights before the pods that need them.
        "ServiceAccount" | "ClusterRole" | "ClusterRoleBinding" | "Role" | "RoleBinding" => 3,
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifests;

    #[test]
    fn objects_are_applied_after_those_that_they_need() {
        let stages = stages(manifests::objects().unwrap());
        let kinds: Vec<Vec<_>> =
            stages.iter().map(|stage| stage.iter().map(object::kind).collect()).collect();
        assert_eq!(kinds[..2], [vec!["Namespace"], vec!["CustomResourceDefinition"; 2]]);
        assert_eq!(kinds[2], ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"].repeat(5));
        assert!(kinds[3].contains(&"ServiceAccount") && kinds[3].contains(&"RoleBinding"));
        assert!(kinds[4].contains(&"Deployment") && kinds[4].contains(&"MutatingWebhookConfiguration"));
        assert_eq!(kinds.len(), 5);
    }
}

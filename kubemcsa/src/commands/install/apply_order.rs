//! In which order the objects are applied: each finds there what it refers to.

use kube::api::DynamicObject;

use crate::cluster::object;

/// The objects in stages; within one, in their own order.
pub fn stages(objects: Vec<DynamicObject>) -> Vec<Vec<DynamicObject>> {
    let mut stages: [Vec<_>; 5] = Default::default();
    for object in objects {
        stages[stage(object::kind(&object))].push(object);
    }
    stages.into_iter().filter(|stage| !stage.is_empty()).collect()
}

/// Whether this one has to be established before what comes after it.
pub fn is_definition(object: &DynamicObject) -> bool {
    object::kind(object) == "CustomResourceDefinition"
}

fn stage(kind: &str) -> usize {
    match kind {
        "Namespace" => 0,
        "CustomResourceDefinition" => 1,
        // What is refused before anyone is allowed to try it.
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
    fn all_is_applied_after_what_it_needs() {
        let stages = stages(manifests::objects().unwrap());
        let kinds: Vec<Vec<_>> =
            stages.iter().map(|stage| stage.iter().map(object::kind).collect()).collect();
        assert_eq!(kinds[..2], [vec!["Namespace"], vec!["CustomResourceDefinition"]]);
        assert_eq!(kinds[2], ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"]);
        assert!(kinds[3].contains(&"ServiceAccount") && kinds[3].contains(&"RoleBinding"));
        assert!(kinds[4].contains(&"Deployment") && kinds[4].contains(&"MutatingWebhookConfiguration"));
        assert_eq!(kinds.len(), 5);
    }
}

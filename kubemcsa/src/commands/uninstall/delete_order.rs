//! In which order the objects are removed: nothing refers to what is gone.

use kube::api::DynamicObject;

use crate::cluster::object;

/// The objects in stages; within one, in their own order.
pub fn stages(objects: &[DynamicObject]) -> [Vec<DynamicObject>; 5] {
    let mut stages: [Vec<_>; 5] = Default::default();
    for object in objects {
        stages[stage(object::kind(object))].push(object.clone());
    }
    stages
}

fn stage(kind: &str) -> usize {
    match kind {
        // While the API server calls the webhook, there has to be one; and nobody is to be called at night
        // because there is no importer.
        "MutatingWebhookConfiguration" | "PrometheusRule" => 0,
        "Deployment" => 1,
        // Rights after the pods that use them.
        "ClusterRoleBinding" | "RoleBinding" | "ClusterRole" | "Role" | "ServiceAccount" => 2,
        // Nobody is left who would make these anew, or has the right to.
        "Secret" | "Lease" => 4,
        // Among them the policy that holds those who have rights, until nobody has.
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifests;

    #[test]
    fn nothing_refers_to_what_is_gone() {
        let stages = stages(&manifests::objects().unwrap());
        let kinds = stages.map(|stage| stage.iter().map(object::kind).map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(kinds[0], ["MutatingWebhookConfiguration"]);
        assert_eq!(kinds[1], ["Deployment", "Deployment"]);
        assert!(kinds[2].iter().any(|kind| kind == "ServiceAccount"));
        assert!(kinds[3].iter().any(|kind| kind == "Service"));
        assert!(kinds[3].iter().any(|kind| kind == "ValidatingAdmissionPolicy"));
    }
}

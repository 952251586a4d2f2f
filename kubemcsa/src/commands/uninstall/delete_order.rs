//! The order in which objects are deleted: each before the objects that it refers to.

use kube::api::DynamicObject;

use crate::cluster::object;

/// Groups the objects into stages, and keeps their order within a stage.
pub(crate) fn stages(objects: &[DynamicObject]) -> [Vec<DynamicObject>; 5] {
    let mut stages: [Vec<_>; 5] = Default::default();
    for object in objects {
        stages[stage(object::kind(object))].push(object.clone());
    }
    stages
}

fn stage(kind: &str) -> usize {
    match kind {
        // The configuration goes before the webhook, or pods would be refused. The alerts go before the importer, or
        // they would fire.
        "MutatingWebhookConfiguration" | "PrometheusRule" => 0,
        "Deployment" => 1,
        // Rights after the pods that use them.
        "ClusterRoleBinding" | "RoleBinding" | "ClusterRole" | "Role" | "ServiceAccount" => 2,
        // Last, when no pod is left that would recreate them.
        "Secret" | "Lease" => 4,
        // Including the admission policy, which restricts the rights as long as they exist.
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifests;

    #[test]
    fn objects_are_deleted_before_those_that_they_refer_to() {
        let stages = stages(&manifests::objects().unwrap());
        let kinds = stages.map(|stage| stage.iter().map(object::kind).map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(kinds[0], ["MutatingWebhookConfiguration"]);
        assert_eq!(kinds[1], ["Deployment"; 3]);
        assert!(kinds[2].iter().any(|kind| kind == "ServiceAccount"));
        assert!(kinds[3].iter().any(|kind| kind == "Service"));
        assert!(kinds[3].iter().any(|kind| kind == "ValidatingAdmissionPolicy"));
    }
}

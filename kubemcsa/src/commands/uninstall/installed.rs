//! First step: what of the installation is there, and whose it is.

use kube::ResourceExt;
use kube::api::DynamicObject;
use mcsa_credentials::contract::{SYSTEM_NAMESPACE, webhook};
use serde_json::json;

use crate::cluster::object::{self, PART_OF};
use crate::cluster::{Cluster, apply};
use crate::manifests::{self, confined};

/// What is there under the names of what is installed.
#[derive(Debug, Default)]
pub struct Found {
    /// What was installed, or made by what was.
    pub ours: Vec<DynamicObject>,
    /// What has our names, and is someone else's.
    pub others: Vec<DynamicObject>,
}

/// Looks for all but the definition of imports and the system namespace.
///
/// # Errors
/// When the cluster can't be asked.
pub async fn find(cluster: &Cluster) -> anyhow::Result<Found> {
    let mut found = Found::default();
    let installed = manifests::objects()?.into_iter().chain(manifests::beside()?).filter(|object| {
        // The importer's rights are in one form or another.
        !matches!(object::kind(object), "Namespace" | "CustomResourceDefinition")
            && object.name_any() != confined::RIGHTS
    });
    let mut stored = confined::granted(cluster).await?;
    for object in installed.chain(made_later()?) {
        stored.extend(apply::read(cluster, &object).await?);
    }
    for object in stored {
        if is_ours(&object) { &mut found.ours } else { &mut found.others }.push(object);
    }
    Ok(found)
}

/// What importer and webhook make themselves, and what cert-manager and kustomize make for them.
fn made_later() -> anyhow::Result<Vec<DynamicObject>> {
    let made = [
        ("v1", "Secret", webhook::CERTIFICATE),
        ("v1", "Secret", "webhook-ca"),
        ("v1", "ConfigMap", "multicluster-service-account-dashboard"),
        ("coordination.k8s.io/v1", "Lease", "importer"),
    ];
    let object = |(version, kind, name)| {
        let metadata = json!({ "namespace": SYSTEM_NAMESPACE, "name": name });
        object::dynamic(&json!({ "apiVersion": version, "kind": kind, "metadata": metadata }))
    };
    made.into_iter().map(object).collect()
}

/// All that is installed says so by a label; what is made later has none.
pub fn is_ours(object: &DynamicObject) -> bool {
    let has_no_label = !object.labels().contains_key(PART_OF);
    match object::kind(object) {
        // An administrator's own is not ours to take back.
        "Secret" => {
            let mut managers = object.managed_fields().iter().filter_map(|entry| entry.manager.as_deref());
            managers.any(|manager| manager == webhook::FIELD_MANAGER)
                || object.annotations().contains_key("cert-manager.io/certificate-name")
        }
        "Lease" => has_no_label || object::is_ours(object),
        // The first multicluster-service-account had one of the same name.
        "CustomResourceDefinition" => (has_no_label || object::is_ours(object)) && has_our_fields(object),
        _ => object::is_ours(object),
    }
}

fn has_our_fields(definition: &DynamicObject) -> bool {
    let versions = definition.data["spec"]["versions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let field = "/schema/openAPIV3Schema/properties/spec/properties/expirationSeconds";
    versions.iter().any(|version| version.pointer(field).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn object(kind: &str, metadata: &str) -> DynamicObject {
        object::parse(&format!("{{apiVersion: v1, kind: {kind}, metadata: {{name: a, {metadata}}}}}"))
            .unwrap()
            .remove(0)
    }

    #[rstest]
    #[case("Service", "labels: {app.kubernetes.io/part-of: multicluster-service-account}", true)]
    #[case("Service", "labels: {app.kubernetes.io/part-of: shop}", false)]
    #[case("Service", "labels: {}", false)]
    #[case("Lease", "labels: {}", true)]
    #[case("Lease", "labels: {app.kubernetes.io/part-of: shop}", false)]
    #[case("Secret", "managedFields: [{manager: multicluster-service-account-webhook}]", true)]
    #[case("Secret", "annotations: {cert-manager.io/certificate-name: webhook}", true)]
    #[case("Secret", "managedFields: [{manager: kubectl-create}]", false)]
    fn whose_it_is(#[case] kind: &str, #[case] metadata: &str, #[case] ours: bool) {
        assert_eq!(is_ours(&object(kind, metadata)), ours);
    }

    #[test]
    fn a_definition_is_ours_by_what_it_defines() {
        let mut definition = manifests::crd().unwrap();
        assert!(is_ours(&definition));
        definition.data["spec"]["versions"] = json!([{ "name": "v1alpha1" }]);
        assert!(!is_ours(&definition));
    }
}

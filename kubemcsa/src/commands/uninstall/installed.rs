//! First step: finds the installed objects, and objects of others with the same names.

use kube::ResourceExt;
use kube::api::DynamicObject;
use mcsa_credentials::contract::launch::LAUNCHER;
use mcsa_credentials::contract::{SYSTEM_NAMESPACE, webhook};
use serde_json::json;

use super::launched;
use crate::cli::output;
use crate::cluster::object::{self, PART_OF};
use crate::cluster::{Cluster, apply};
use crate::manifests::{self, confined};

/// Why an object of another owner is kept.
pub(crate) const NOT_OURS: &str = "it doesn't belong to multicluster-service-account";

/// The existing objects that have the names of ours.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Installed, or created by an installed program.
    pub(crate) ours: Vec<DynamicObject>,
    /// Objects of another owner.
    pub(crate) others: Vec<DynamicObject>,
}

/// Finds all of them except the CRDs and the system namespace.
pub(crate) async fn find(cluster: &Cluster) -> anyhow::Result<Found> {
    let mut found = Found::default();
    let installed = manifests::objects()?.into_iter().chain(manifests::optional()?).filter(|object| {
        // `confined::granted` finds the importer's rights in both forms.
        !matches!(object::kind(object), "Namespace" | "CustomResourceDefinition")
            && object.name_any() != confined::RIGHTS
    });
    let mut stored = confined::granted(cluster).await?;
    stored.extend(launched::find(cluster).await?);
    for object in installed.chain(created_later()?) {
        stored.extend(apply::read(cluster, &object).await?);
    }
    for object in stored {
        if is_ours(&object) { &mut found.ours } else { &mut found.others }.push(object);
    }
    Ok(found)
}

pub(crate) fn warn_not_deleted(cluster: &Cluster, object: &DynamicObject, reason: &str) {
    output::warn(&cluster.name, &format!("{} not deleted: {reason}", object::reference(object)));
}

/// What importer, webhook, launcher, cert-manager and kustomize create.
fn created_later() -> anyhow::Result<Vec<DynamicObject>> {
    let objects = [
        ("v1", "Secret", webhook::CERTIFICATE),
        ("v1", "Secret", "webhook-ca"),
        ("v1", "ConfigMap", "multicluster-service-account-dashboard"),
        ("coordination.k8s.io/v1", "Lease", "importer"),
        ("coordination.k8s.io/v1", "Lease", LAUNCHER),
    ];
    let object = |(version, kind, name)| {
        let metadata = json!({ "namespace": SYSTEM_NAMESPACE, "name": name });
        object::dynamic(&json!({ "apiVersion": version, "kind": kind, "metadata": metadata }))
    };
    objects.into_iter().map(object).collect()
}

/// Installed objects have a label; objects that are created later have none.
pub(crate) fn is_ours(object: &DynamicObject) -> bool {
    let has_no_label = !object.labels().contains_key(PART_OF);
    match object::kind(object) {
        // A certificate that an administrator provided is not ours.
        "Secret" => {
            let mut managers = object.managed_fields().iter().filter_map(|entry| entry.manager.as_deref());
            managers.any(|manager| manager == webhook::FIELD_MANAGER)
                || object.annotations().contains_key("cert-manager.io/certificate-name")
        }
        "Lease" => has_no_label || object::is_ours(object),
        // The CRD of the original multicluster-service-account has the same name.
        "CustomResourceDefinition" => (has_no_label || object::is_ours(object)) && has_our_fields(object),
        _ => object::is_ours(object) || launched::is_ours(object),
    }
}

fn has_our_fields(crd: &DynamicObject) -> bool {
    let versions = crd.data["spec"]["versions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let spec = "/schema/openAPIV3Schema/properties/spec/properties";
    // Fields of ServiceAccountImport and of ImportPolicy.
    let fields = ["expirationSeconds", "serviceAccounts"].map(|field| format!("{spec}/{field}"));
    versions.iter().any(|version| fields.iter().any(|field| version.pointer(field).is_some()))
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
    fn ownership_depends_on_labels_managers_and_annotations(
        #[case] kind: &str,
        #[case] metadata: &str,
        #[case] expected: bool,
    ) {
        assert_eq!(is_ours(&object(kind, metadata)), expected);
    }

    #[test]
    fn crd_is_ours_only_with_our_fields() {
        let mut crd = manifests::crd().unwrap();
        assert!(is_ours(&crd) && is_ours(&manifests::policy_crd().unwrap()));
        crd.data["spec"]["versions"] = json!([{ "name": "v1alpha1" }]);
        assert!(!is_ours(&crd));
    }
}

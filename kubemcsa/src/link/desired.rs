//! The desired objects of a link.

use anyhow::Context;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::ResourceExt;
use kube::api::{DynamicObject, ObjectMeta};
use mcsa_client::{ServiceAccountImport, ServiceAccountImportSpec};
use mcsa_credentials::contract::{CLUSTER_UID, LINK_LABEL, SYSTEM_NAMESPACE, TARGET_UID};

use super::connect::Connected;
use super::grants::Grants;
use crate::cluster::object;
use crate::manifests;

/// The longest lifetime of a link's token that the policy allows, in seconds. It is the default, so that links survive
/// hours without an importer.
pub(crate) const MAX_LIFETIME_SECONDS: i64 = 86_400;

/// Annotation of the objects that all links of a source share: the version of kubemcsa that wrote them.
pub(crate) const KUBEMCSA_VERSION: &str = "multicluster.admiralty.io/kubemcsa-version";

/// The objects that all links of a source share.
const RIGHTS: &str = include_str!("rights.yaml");

/// All objects of a source, in the order of writing: the policy and the rights precede the service account.
pub(crate) fn source_objects(connected: &Connected, grants: &Grants) -> anyhow::Result<Vec<DynamicObject>> {
    let mut objects = vec![manifests::namespace()?];
    objects.extend(shared()?);
    objects.extend(grants.objects(&connected.target().name)?);
    objects.extend([service_account(connected)?, bound_secret(connected)?]);
    Ok(objects)
}

/// The objects that all links of a source share, except the namespace.
pub(crate) fn shared() -> anyhow::Result<Vec<DynamicObject>> {
    let mut objects = object::parse(RIGHTS).context("rights.yaml")?;
    for object in &mut objects {
        object.annotations_mut().insert(KUBEMCSA_VERSION.into(), env!("CARGO_PKG_VERSION").into());
    }
    Ok(objects)
}

/// Whether the object is an admission policy or its binding, which old sources don't support.
pub(crate) fn is_policy(object: &DynamicObject) -> bool {
    object::kind(object).starts_with("ValidatingAdmissionPolicy")
}

pub(crate) fn service_account(connected: &Connected) -> anyhow::Result<DynamicObject> {
    object::dynamic(&ServiceAccount { metadata: metadata(connected), ..Default::default() })
}

/// The Secret that the link's tokens are bound to.
pub(crate) fn bound_secret(connected: &Connected) -> anyhow::Result<DynamicObject> {
    let metadata = metadata(connected);
    object::dynamic(&Secret { metadata, type_: Some("Opaque".into()), ..Default::default() })
}

fn metadata(connected: &Connected) -> ObjectMeta {
    ObjectMeta {
        name: Some(connected.target().name.clone()),
        namespace: Some(SYSTEM_NAMESPACE.into()),
        annotations: Some([(TARGET_UID.to_owned(), connected.target_uid().to_owned())].into()),
        ..Default::default()
    }
}

/// All objects of a target except the link's Secret.
pub(crate) fn target_objects(connected: &Connected, seconds: i64) -> anyhow::Result<Vec<DynamicObject>> {
    let import = object::dynamic(&import(connected, seconds))?;
    Ok(vec![manifests::namespace()?, manifests::crd()?, manifests::policy_crd()?, import])
}

pub(crate) fn import(connected: &Connected, seconds: i64) -> ServiceAccountImport {
    let spec = ServiceAccountImportSpec {
        cluster_name: connected.source().name.clone(),
        namespace: SYSTEM_NAMESPACE.into(),
        name: connected.target().name.clone(),
        expiration_seconds: seconds,
        bound_secret: Some(connected.target().name.clone()),
        ..Default::default()
    };
    let mut import = ServiceAccountImport::new(&connected.source().name, spec);
    import.metadata.namespace = Some(SYSTEM_NAMESPACE.into());
    import.metadata.labels = Some([(LINK_LABEL.to_owned(), "true".to_owned())].into());
    import.metadata.annotations = Some([(CLUSTER_UID.to_owned(), connected.source_uid().to_owned())].into());
    import
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::grants::LINK;

    #[test]
    fn shared_objects_match_the_contract() {
        let objects = shared().unwrap();
        assert!(objects[..3].iter().all(|object| object.name_any() == LINK));
        let policy = serde_json::to_string(&objects[0].data).unwrap();
        assert!(policy.contains(&format!("system:serviceaccount:{SYSTEM_NAMESPACE}:")));
        assert_eq!(objects[1].data["spec"]["policyName"], LINK);
        let role = &objects[2].data["rules"];
        assert_eq!(role[0]["verbs"], serde_json::json!(["create"]));
        for role in &objects[2..] {
            assert!(!role.data["rules"].to_string().contains("secrets"));
        }
    }
}

//! The link's identity in the source: a service account, the Secret that its tokens are bound to,
//! and what it may do.

use anyhow::Context;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleRef, Subject};
use kube::ResourceExt;
use kube::api::{DynamicObject, ObjectMeta};
use mcsa_client::contract::{SYSTEM_NAMESPACE, TARGET_UID};

use super::connect::Connected;
use crate::{apply, manifests, object, output};

/// Name of the cluster role, of the policy and of its binding.
pub const LINK: &str = "multicluster-service-account-link";

/// The warning where the source has no such policies.
pub const NO_POLICY: &str = "this API server is older than ValidatingAdmissionPolicy (Kubernetes 1.30): nothing keeps \
                             the link from tokens of kube-system, of other links, or of more than 24 hours";

const RIGHTS: &str = include_str!("rights.yaml");

/// The identity, as the source has it.
#[derive(Debug)]
pub struct Granted {
    /// UID of the service account.
    pub service_account_uid: String,
    /// UID of the Secret that its tokens are bound to: another one once they were revoked.
    pub bound_secret_uid: String,
    /// Whether the source can hold the link to the policy.
    pub policy: bool,
}

/// Makes the identity, and gives it its rights.
///
/// # Errors
/// When an object can't be written.
pub async fn grant(connected: &Connected) -> anyhow::Result<Granted> {
    let cluster = &connected.source;
    let (mut policy, mut service_account_uid, mut bound_secret_uid) = (true, None, None);
    for object in objects(connected)? {
        let title = object::title(&object);
        // The namespace may be a target's too, with labels of its own.
        if object::kind(&object) == "Namespace" && apply::is_there(cluster, &object).await? {
            output::outcome(&cluster.name, &title, apply::Outcome::Unchanged);
            continue;
        }
        let applied = match apply::apply(cluster, &object).await {
            Err(error) if is_policy(&object) && error.is_not_found() => {
                policy = false;
                continue;
            }
            applied => applied?,
        };
        output::outcome(&cluster.name, &title, applied.outcome);
        match object::kind(&object) {
            "ServiceAccount" => service_account_uid = applied.stored.uid(),
            "Secret" => bound_secret_uid = applied.stored.uid(),
            _ => {}
        }
    }
    if !policy {
        output::warn(&cluster.name, NO_POLICY);
    }
    Ok(Granted {
        service_account_uid: service_account_uid.context("the service account has no UID")?,
        bound_secret_uid: bound_secret_uid.context("the Secret that tokens are bound to has no UID")?,
        policy,
    })
}

/// All that a source gets, in the order of writing: the policy holds before there is anyone to
/// hold.
pub fn objects(connected: &Connected) -> anyhow::Result<Vec<DynamicObject>> {
    let mut objects = vec![manifests::namespace()?];
    objects.extend(object::parse(RIGHTS).context("rights.yaml")?);
    objects.extend([service_account(connected)?, bound_secret(connected)?, binding(&connected.target.name)?]);
    Ok(objects)
}

/// Whether a source that doesn't know this kind can still be linked.
pub fn is_policy(object: &DynamicObject) -> bool {
    object::kind(object).starts_with("ValidatingAdmissionPolicy")
}

/// The service account that the link's tokens are for.
pub fn service_account(connected: &Connected) -> anyhow::Result<DynamicObject> {
    object::dynamic(&ServiceAccount { metadata: identity(connected), ..Default::default() })
}

/// The Secret that they are bound to.
pub fn bound_secret(connected: &Connected) -> anyhow::Result<DynamicObject> {
    let metadata = identity(connected);
    object::dynamic(&Secret { metadata, type_: Some("Opaque".into()), ..Default::default() })
}

fn identity(connected: &Connected) -> ObjectMeta {
    ObjectMeta {
        name: Some(connected.target.name.clone()),
        namespace: Some(SYSTEM_NAMESPACE.into()),
        annotations: Some([(TARGET_UID.to_owned(), connected.target_uid.clone())].into()),
        ..Default::default()
    }
}

/// Name of the ClusterRoleBinding of a link's identity.
pub fn binding_name(target: &str) -> String {
    format!("{LINK}-{target}")
}

fn binding(target: &str) -> anyhow::Result<DynamicObject> {
    object::dynamic(&ClusterRoleBinding {
        metadata: ObjectMeta { name: Some(binding_name(target)), ..Default::default() },
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".into(),
            kind: "ClusterRole".into(),
            name: LINK.into(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".into(),
            name: target.to_owned(),
            namespace: Some(SYSTEM_NAMESPACE.into()),
            ..Default::default()
        }]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rights_are_those_of_the_contract() {
        let objects = object::parse(RIGHTS).unwrap();
        assert!(objects.iter().all(|object| object.name_any() == LINK));
        let policy = serde_json::to_string(&objects[0].data).unwrap();
        assert!(policy.contains(&format!("system:serviceaccount:{SYSTEM_NAMESPACE}:")));
        assert_eq!(objects[1].data["spec"]["policyName"], LINK);
        let role = &objects[2].data["rules"];
        assert_eq!(role[0]["verbs"], serde_json::json!(["create"]));
        assert!(!role.to_string().contains("secrets"));
        assert_eq!(binding("c1").unwrap().data["roleRef"]["name"], LINK);
    }
}

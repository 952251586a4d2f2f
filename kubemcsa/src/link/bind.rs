//! Creates the Secret in the source that the link's tokens are bound to: deleting it revokes them.

use anyhow::Context;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DynamicObject, ListParams, ObjectMeta, PostParams};
use kube::{Api, ResourceExt};
use mcsa_credentials::contract::{SYSTEM_NAMESPACE, TARGET_UID};
use mcsa_credentials::names::label_value;

use super::authorize::Authorized;
use super::desired;
use super::permit::Permitted;
use crate::cluster::apply::Outcome;
use crate::cluster::call::CallError;
use crate::cluster::{Cluster, apply, delete, list, object};

/// Label and annotation of an interim Secret. The value is the target's name; the label shortens a name that is too
/// long.
const ROTATION: &str = "multicluster.admiralty.io/rotation-of";

/// How the names of interim Secrets begin.
const INTERIM: &str = "rotation-";

/// Whether a Secret of this name in the source may be one that a target's tokens are bound to.
pub(crate) fn is_bound_name(secret: &str, target: &str) -> bool {
    secret == target || secret.starts_with(INTERIM)
}

/// A Secret that exists and that tokens can be bound to.
pub(crate) struct Bound {
    name: String,
    uid: String,
}

impl Bound {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn uid(&self) -> &str {
        &self.uid
    }
}

pub(crate) async fn bind(permitted: &Permitted, _: &Authorized) -> anyhow::Result<Bound> {
    let secret = desired::bound_secret(permitted)?;
    let applied = apply::apply(permitted.source(), &secret).await?;
    permitted.progress().outcome(&permitted.source().name, &object::reference(&secret), applied.outcome);
    let uid = applied.stored.uid().context("the bound Secret has no UID")?;
    Ok(Bound { name: secret.name_any(), uid })
}

/// Recreates the Secret, which revokes all tokens that were bound to it.
pub(crate) async fn rebind(permitted: &Permitted, authorized: &Authorized) -> anyhow::Result<Bound> {
    let secret = desired::bound_secret(permitted)?;
    let source = permitted.source();
    if let Some(old) = apply::read(source, &secret).await? {
        delete::delete(source, &old).await?;
        permitted.progress().outcome(&source.name, &object::reference(&secret), Outcome::Deleted);
    }
    bind(permitted, authorized).await
}

/// Creates the Secret that the link's token is bound to while a rotation recreates the usual one. It has the target's
/// UID, so that no target of the same name can claim it.
pub(crate) async fn bind_interim(permitted: &Permitted, _: &Authorized) -> anyhow::Result<Bound> {
    let target = &permitted.target().name;
    let secret = Secret {
        metadata: ObjectMeta {
            generate_name: Some(INTERIM.into()),
            labels: Some([(ROTATION.to_owned(), label_value(target))].into()),
            annotations: Some(
                [
                    (ROTATION.to_owned(), target.clone()),
                    (TARGET_UID.to_owned(), permitted.target_uid().to_owned()),
                ]
                .into(),
            ),
            ..Default::default()
        },
        type_: Some("Opaque".into()),
        ..Default::default()
    };
    let source = permitted.source();
    let secrets: Api<Secret> = Api::namespaced(source.client.clone(), SYSTEM_NAMESPACE);
    let params = PostParams::default();
    let call = secrets.create(&params, &secret);
    let created = source.call("create an interim secret for the rotation", call).await?;
    permitted.progress().outcome(&source.name, &object::reference_of(&created, &()), Outcome::Created);
    let uid = created.uid().context("the interim Secret has no UID")?;
    Ok(Bound { name: created.name_any(), uid })
}

/// Lists the interim Secrets of a target.
pub(crate) async fn interim(source: &Cluster, target: &str) -> Result<Vec<DynamicObject>, CallError> {
    let secrets: Api<Secret> = Api::namespaced(source.client.clone(), SYSTEM_NAMESPACE);
    let params = ListParams::default().labels(&format!("{ROTATION}={}", label_value(target)));
    let page = async |params: &ListParams| secrets.list_metadata(params).await;
    let found = list::pages(source, "list the interim secrets of rotations", params, page).await?;
    let types = Some(list::types::<Secret>());
    let secret = |metadata| DynamicObject { types: types.clone(), metadata, data: Default::default() };
    let found = found.into_iter().map(|found| secret(found.metadata));
    Ok(found.filter(|secret| secret.annotations().get(ROTATION).is_some_and(|of| of == target)).collect())
}

/// Deletes the interim Secrets, which revokes the tokens that are bound to them.
pub(crate) async fn delete_interim(permitted: &Permitted) -> anyhow::Result<()> {
    let source = permitted.source();
    for secret in interim(source, &permitted.target().name).await? {
        delete::delete(source, &secret).await?;
        permitted.progress().outcome(&source.name, &object::reference(&secret), Outcome::Deleted);
    }
    Ok(())
}

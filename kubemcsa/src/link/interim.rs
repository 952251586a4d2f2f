//! A Secret in the source that a link's token is bound to for the moment of a rotation: between the end
//! of the old Secret and the first token of the new one, the importer has to have one that works.

use k8s_openapi::api::core::v1::Secret;
use kube::api::{DynamicObject, ListParams, ObjectMeta, PostParams};
use kube::{Api, ResourceExt};
use mcsa_client::contract::{SYSTEM_NAMESPACE, TARGET_UID};
use mcsa_client::system::names::label_value;

use super::connect::Connected;
use crate::cluster::apply::Outcome;
use crate::cluster::call::CallError;
use crate::cluster::{Cluster, delete, list, object};

/// Label and annotation of such a Secret; the value is the target's name, of which a label may have a part.
const ROTATION: &str = "multicluster.admiralty.io/rotation-of";

/// Makes one. Should there be a target of its name one day, that is refused: the Secret says whose it is.
///
/// # Errors
/// When it can't be written.
pub async fn create(connected: &Connected) -> anyhow::Result<String> {
    let target = &connected.target.name;
    let secret = Secret {
        metadata: ObjectMeta {
            generate_name: Some("rotation-".into()),
            labels: Some([(ROTATION.to_owned(), label_value(target))].into()),
            annotations: Some(
                [
                    (ROTATION.to_owned(), target.clone()),
                    (TARGET_UID.to_owned(), connected.target_uid.clone()),
                ]
                .into(),
            ),
            ..Default::default()
        },
        type_: Some("Opaque".into()),
        ..Default::default()
    };
    let source = &connected.source;
    let secrets: Api<Secret> = Api::namespaced(source.client.clone(), SYSTEM_NAMESPACE);
    let params = PostParams::default();
    let call = secrets.create(&params, &secret);
    let created = source.call("create a secret for the rotation", call).await?.name_any();
    let title = object::titled("Secret", Some(SYSTEM_NAMESPACE), &created);
    connected.progress.outcome(&source.name, &title, Outcome::Created);
    Ok(created)
}

/// Those of a target that there are.
///
/// # Errors
/// When the source can't be asked.
pub async fn left(source: &Cluster, target: &str) -> Result<Vec<DynamicObject>, CallError> {
    let secrets: Api<Secret> = Api::namespaced(source.client.clone(), SYSTEM_NAMESPACE);
    let params = ListParams::default().labels(&format!("{ROTATION}={}", label_value(target)));
    let page = async |params: &ListParams| secrets.list_metadata(params).await;
    let found = list::pages(source, "list the secrets of rotations", params, page).await?;
    let types = Some(list::types::<Secret>());
    let secret = |metadata| DynamicObject { types: types.clone(), metadata, data: Default::default() };
    let found = found.into_iter().map(|found| secret(found.metadata));
    Ok(found.filter(|secret| secret.annotations().get(ROTATION).is_some_and(|of| of == target)).collect())
}

/// Removes them, and with them the tokens that are bound to them.
///
/// # Errors
/// When one can't be removed.
pub async fn clear(connected: &Connected) -> anyhow::Result<()> {
    for secret in left(&connected.source, &connected.target.name).await? {
        delete::delete(&connected.source, &secret).await?;
        connected.progress.outcome(&connected.source.name, &object::title(&secret), Outcome::Removed);
    }
    Ok(())
}

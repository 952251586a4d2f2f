//! Writes the link's Secret the way the importer writes Secrets: created, or patched in one write
//! that holds only for the object that was read.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use mcsa_client::contract::{FIELD_MANAGER, GROUP, SYSTEM_NAMESPACE};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::check::Checked;
use super::connect::Connected;
use super::mint::Minted;
use crate::apply::Outcome;
use crate::call::CallError;
use crate::output;

/// Writes what was minted and checked, over `worn` if there is one.
///
/// # Errors
/// When it can't be written, or somebody else wrote in between ([`CallError::is_conflict`]).
pub async fn publish(
    connected: &Connected,
    minted: &Minted,
    _: &Checked,
    worn: Option<&Secret>,
) -> Result<(), CallError> {
    let name = minted.secret.name_any();
    let title = format!("secret {SYSTEM_NAMESPACE}/{name}");
    let secrets: Api<Secret> = Api::namespaced(connected.target.client.clone(), SYSTEM_NAMESPACE);
    let cluster = &connected.target;
    let outcome = match worn {
        None => {
            let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..Default::default() };
            let call = secrets.create(&params, &minted.secret);
            cluster.call(&format!("create {title}"), call).await?;
            Outcome::Created
        }
        Some(worn) => {
            let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..Default::default() };
            let patch = Patch::Merge(merge_patch(worn, &minted.secret));
            let call = secrets.patch(&name, &params, &patch);
            cluster.call(&format!("update {title}"), call).await?;
            Outcome::Changed
        }
    };
    output::outcome(&cluster.name, &title, outcome);
    Ok(())
}

/// What turns `worn` into `fresh`. Labels and annotations that are not ours stay; UID and resource
/// version make the API server refuse it for any other object, or any later one.
fn merge_patch(worn: &Secret, fresh: &Secret) -> Value {
    let ours = |key: &String| key.starts_with(GROUP);
    json!({
        "metadata": {
            "uid": worn.metadata.uid,
            "resourceVersion": worn.metadata.resource_version,
            "labels": changes(worn.labels(), fresh.labels(), ours),
            "annotations": changes(worn.annotations(), fresh.annotations(), ours),
        },
        "data": changes(
            worn.data.as_ref().unwrap_or(&BTreeMap::new()),
            fresh.data.as_ref().unwrap_or(&BTreeMap::new()),
            |_| true,
        ),
    })
}

/// The fresh values, and null for each key that is gone and ours to remove.
fn changes<V: Serialize>(
    worn: &BTreeMap<String, V>,
    fresh: &BTreeMap<String, V>,
    ours: impl Fn(&String) -> bool,
) -> Value {
    let gone = worn.keys().filter(|key| !fresh.contains_key(*key) && ours(key));
    let mut changes: Map<_, _> = gone.map(|key| (key.clone(), Value::Null)).collect();
    changes.extend(fresh.iter().map(|(key, value)| (key.clone(), json!(value))));
    Value::Object(changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(annotations: Value, data: Value) -> Secret {
        let metadata = json!({"uid": "u-1", "resourceVersion": "7", "annotations": annotations});
        serde_json::from_value(json!({"metadata": metadata, "data": data})).unwrap()
    }

    #[test]
    fn ours_is_replaced_and_what_is_not_ours_stays() {
        let worn = secret(
            json!({"multicluster.admiralty.io/refresh-time": "t", "team": "a"}),
            json!({"token": "b2xk", "stray": "eA=="}),
        );
        let fresh = secret(json!({"multicluster.admiralty.io/fingerprint": "f"}), json!({"token": "bmV3"}));
        assert_eq!(
            merge_patch(&worn, &fresh),
            json!({
                "metadata": {
                    "uid": "u-1",
                    "resourceVersion": "7",
                    "labels": {},
                    "annotations": {
                        "multicluster.admiralty.io/refresh-time": null,
                        "multicluster.admiralty.io/fingerprint": "f",
                    },
                },
                "data": {"token": "bmV3", "stray": null},
            })
        );
    }
}

//! Fourth step: the credential into its Secret, in one write.
//!
//! A Secret that is not there is created, which fails where the name is taken; one that is ours is
//! patched on the condition that it still is the one that we know. So a Secret of someone else is
//! never overwritten, not even between a look and a write. (Server-side apply has no "only if it
//! is not there", and costs the API server more.)

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use mcsa_client::contract::FIELD_MANAGER;
use mcsa_client::secret::build;
use serde_json::{Value, json};

use crate::failure::{Failure, Reason};
use crate::mint::Minted;
use crate::resolve::{Resolved, ensure_owned};
use crate::secret_state::{SecretState, TemplateField};

/// How often a Secret may change under our hands before we come back later.
const TRIES: usize = 3;

/// Writes the credential into the import's Secret.
///
/// # Errors
/// When the Secret's name is taken, or the target does not accept it.
pub async fn publish(client: &Client, resolved: &Resolved, minted: &Minted) -> Result<SecretState, Failure> {
    let key = &resolved.secret_key;
    let secrets = Api::<Secret>::namespaced(client.clone(), &key.namespace);
    let secret = build(&resolved.import, minted.credential(), minted.provenance())
        .map_err(|error| Failure::new(Reason::InvalidSpec, error.to_string()))?;
    let mut known = resolved.secret.clone();
    let mut last = String::new();
    for _ in 0..TRIES {
        let written = match &known {
            None => create(&secrets, &secret).await,
            Some(known) => update(&secrets, &secret, known).await,
        };
        match written {
            Ok(state) => return Ok(state),
            Err(kube::Error::Api(status))
                if matches!(status.code, 404 | 409) && !is_namespace_missing(&status) =>
            {
                last = status.message.clone();
            }
            Err(error) => return Err(not_written(key, &error)),
        }
        // It is not as we thought: it was made, changed or deleted meanwhile, or has lost its label.
        known = look(client, resolved).await?;
    }
    Err(Failure::new(
        Reason::SecretNotWritten,
        format!("Secret {key} keeps changing: {last}; it is tried again"),
    ))
}

/// Looks for the import's Secret, also where it is out of the watch's sight.
///
/// # Errors
/// When the Secret's name is taken, or the target does not say.
pub async fn look(client: &Client, resolved: &Resolved) -> Result<Option<SecretState>, Failure> {
    let key = &resolved.secret_key;
    let secrets = Api::<Secret>::namespaced(client.clone(), &key.namespace);
    let found = secrets.get_metadata_opt(&key.name).await.map_err(|error| not_written(key, &error))?;
    let found = found.map(|found| SecretState::read(&found.metadata));
    if let Some(found) = &found {
        ensure_owned(key, found, &resolved.import)?;
    }
    Ok(found)
}

async fn create(secrets: &Api<Secret>, secret: &Secret) -> Result<SecretState, kube::Error> {
    let parameters = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..Default::default() };
    secrets.create(&parameters, secret).await.map(|created| SecretState::read(&created.metadata))
}

async fn update(
    secrets: &Api<Secret>,
    secret: &Secret,
    known: &SecretState,
) -> Result<SecretState, kube::Error> {
    let name = secret.metadata.name.as_deref().unwrap_or_default();
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..Default::default() };
    let patch = Patch::Merge(changes(secret, known));
    secrets
        .patch_metadata(name, &parameters, &patch)
        .await
        .map(|updated| SecretState::read(&updated.metadata))
}

/// The merge patch that makes the known Secret the wanted one: what is not wanted any more is
/// taken away, and labels and annotations of others stay.
fn changes(secret: &Secret, known: &SecretState) -> Value {
    let labels = secret.metadata.labels.clone().unwrap_or_default();
    let annotations = secret.metadata.annotations.clone().unwrap_or_default();
    let data: BTreeMap<_, _> =
        secret.data.iter().flatten().map(|(key, value)| (key.clone(), json!(value))).collect();
    let none = BTreeSet::new();
    let written = |field| known.template.get(&field).unwrap_or(&none);
    json!({
        "metadata": {
            "uid": known.uid,
            "resourceVersion": known.resource_version,
            "labels": replacing(written(TemplateField::Labels), text(labels)),
            "annotations": replacing(written(TemplateField::Annotations), text(annotations)),
        },
        "data": replacing(&known.keys, data),
    })
}

fn text(entries: BTreeMap<String, String>) -> BTreeMap<String, Value> {
    entries.into_iter().map(|(key, value)| (key, Value::String(value))).collect()
}

fn replacing(old: &BTreeSet<String>, new: BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    let mut entries: BTreeMap<_, _> = old.iter().map(|key| (key.clone(), Value::Null)).collect();
    entries.extend(new);
    entries
}

fn is_namespace_missing(status: &kube::core::Status) -> bool {
    status.details.as_ref().is_some_and(|details| details.kind == "namespaces")
}

fn not_written(key: &crate::cache::ObjectKey, error: &kube::Error) -> Failure {
    let problem = match error {
        kube::Error::Api(status) => status.message.clone(),
        error => error.to_string(),
    };
    Failure::new(Reason::SecretNotWritten, format!("the target does not accept Secret {key}: {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_wanted_any_more_is_taken_away() {
        let secret: Secret = serde_json::from_value(json!({
            "metadata": { "labels": { "new": "1" }, "annotations": {} },
            "data": { "token": "dA==" },
        }))
        .unwrap();
        let known = SecretState::read(
            &serde_json::from_value(json!({
                "uid": "u",
                "resourceVersion": "7",
                "managedFields": [{
                    "manager": FIELD_MANAGER,
                    "fieldsV1": {
                        "f:data": { "f:token": {}, "f:old": {} },
                        "f:metadata": { "f:labels": { "f:former": {} } },
                    },
                }],
            }))
            .unwrap(),
        );
        let changes = changes(&secret, &known);
        assert_eq!(changes["data"], json!({ "old": null, "token": "dA==" }));
        assert_eq!(changes["metadata"]["labels"], json!({ "former": null, "new": "1" }));
        assert_eq!(changes["metadata"]["uid"], "u");
        assert_eq!(changes["metadata"]["resourceVersion"], "7");
    }
}

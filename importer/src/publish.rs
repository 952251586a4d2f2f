//! Fourth step: the credential into its Secret, in one write.
//!
//! A Secret that is not there is created, which fails where the name is taken; one that is ours is
//! patched on the condition that it still is the one that we know. So a Secret of someone else is
//! never overwritten, not even between a look and a write. (Server-side apply has no "only if it
//! is not there", and costs the API server more.)

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use mcsa_client::contract::FIELD_MANAGER;
use mcsa_client::secret::{SecretState, build};
use mcsa_runtime::errors;

use crate::cache::ObjectKey;
use crate::failure::{Failure, Reason};
use crate::mint::Minted;
use crate::resolve::{Resolved, ensure_owned};
use crate::target::in_time;

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
    let found =
        in_time(secrets.get_metadata_opt(&key.name)).await.map_err(|error| not_written(key, &error))?;
    let found = found.map(|found| SecretState::read(&found.metadata));
    if let Some(found) = &found {
        ensure_owned(key, found, &resolved.import)?;
    }
    Ok(found)
}

async fn create(secrets: &Api<Secret>, secret: &Secret) -> Result<SecretState, kube::Error> {
    let parameters = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..Default::default() };
    let created = in_time(secrets.create(&parameters, secret)).await?;
    Ok(SecretState::read(&created.metadata))
}

async fn update(
    secrets: &Api<Secret>,
    secret: &Secret,
    known: &SecretState,
) -> Result<SecretState, kube::Error> {
    let name = secret.metadata.name.as_deref().unwrap_or_default();
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..Default::default() };
    let patch = Patch::Merge(known.update(secret));
    let updated = in_time(secrets.patch_metadata(name, &parameters, &patch)).await?;
    Ok(SecretState::read(&updated.metadata))
}

fn is_namespace_missing(status: &kube::core::Status) -> bool {
    status.details.as_ref().is_some_and(|details| details.kind == "namespaces")
}

fn not_written(key: &ObjectKey, error: &kube::Error) -> Failure {
    let problem = errors::line(error);
    match error {
        kube::Error::Api(status) if matches!(status.code, 400 | 422) => Failure::new(
            Reason::InvalidSpec,
            format!(
                "the target finds Secret {key} invalid: {problem}; change the import's spec.secret, or, if the \
                 Secret was made immutable, delete it"
            ),
        ),
        _ => Failure::new(
            Reason::SecretNotWritten,
            format!("the target does not accept Secret {key}: {problem}; it is tried again"),
        ),
    }
}

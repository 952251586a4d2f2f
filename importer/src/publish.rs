//! Fourth step: write the credential into its Secret, in one call.
//!
//! A missing Secret is created, which fails if the name is taken. An owned Secret is patched on condition of
//! its UID and resource version. So a Secret of another owner is never overwritten, not even between a read
//! and a write. (Server-side apply has no "only if absent", and costs the API server more.)

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use kube::core::Request;
use kube::{Api, Resource};
use mcsa_credentials::contract::FIELD_MANAGER;
use mcsa_credentials::secret::{SecretMetadata, SecretState, build};
use mcsa_runtime::errors;

use crate::mint::Minted;
use crate::model::failure::{Failure, Reason};
use crate::model::import::Import;
use crate::model::key::ObjectKey;
use crate::resolve::{Resolved, ensure_owned};
use crate::target::{Target, parameters};

/// Attempts in one reconciliation if the Secret changes concurrently.
const TRIES: usize = 3;

/// Writes the credential into the import's Secret. Returns `None` if a link's Secret changed concurrently: it may
/// now have the address of another source, for which the credential is wrong.
///
/// # Errors
/// If the Secret's name is taken, or the target rejects the write.
pub async fn publish(
    target: &Target,
    resolved: &Resolved,
    minted: &Minted,
) -> Result<Option<SecretState>, Failure> {
    let key = &resolved.secret_key;
    let secret = build(&resolved.import.object(), minted.credential(), minted.provenance())
        .map_err(|error| Failure::new(Reason::InvalidSpec, error.to_string()))?;
    let mut known = resolved.secret.clone();
    let mut last = String::new();
    for _ in 0..TRIES {
        let written = match &known {
            None => create(target, key, &secret).await,
            Some(known) => update(target, key, &secret, known).await,
        };
        match written {
            Ok(state) => return Ok(Some(state)),
            Err(kube::Error::Api(status))
                if matches!(status.code, 404 | 409) && !is_namespace_missing(&status) =>
            {
                if resolved.import.is_link {
                    return Ok(None);
                }
                last = status.message.clone();
            }
            Err(error) => return Err(not_written(key, &error)),
        }
        // The Secret was created, changed or deleted meanwhile, or lost its label.
        known = read_secret(target, key, &resolved.import).await?;
    }
    Err(Failure::new(
        Reason::SecretNotWritten,
        format!("Secret {key} keeps changing: {last}; the importer retries"),
    ))
}

/// Restores the labels and annotations of the import's Secret, and keeps its values. Returns `None` if the Secret
/// changed concurrently, which the watch reports.
///
/// # Errors
/// If the target rejects the write.
pub async fn restore(
    target: &Target,
    key: &ObjectKey,
    wanted: &SecretMetadata,
    known: &SecretState,
) -> Result<Option<SecretState>, Failure> {
    let patch = Patch::Merge(known.restore(wanted));
    match target.write(secrets(key).patch(key.name(), &patch_parameters(), &patch)).await {
        Ok(restored) => Ok(Some(SecretState::read(&restored))),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(None),
        Err(error) => Err(not_written(key, &error)),
    }
}

/// Reads the metadata of the import's Secret. The watch does not report a Secret that has lost its label.
///
/// # Errors
/// If the Secret's name is taken, or the read fails.
pub async fn read_secret(
    target: &Target,
    key: &ObjectKey,
    import: &Import,
) -> Result<Option<SecretState>, Failure> {
    let secrets = Api::<Secret>::namespaced(target.client.clone(), key.namespace());
    let found = target.call(secrets.get_metadata_opt(key.name())).await;
    let found = found.map_err(|error| not_written(key, &error))?;
    let Some(found) = found else { return Ok(None) };
    let state = SecretState::read(&found.metadata);
    ensure_owned(key, &state, import)?;
    Ok(Some(state))
}

fn patch_parameters() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..Default::default() }
}

fn secrets(key: &ObjectKey) -> Request {
    Request::new(Secret::url_path(&(), Some(key.namespace())))
}

async fn create(target: &Target, key: &ObjectKey, secret: &Secret) -> kube::Result<SecretState> {
    let secret = serde_json::to_vec(secret).map_err(kube::Error::SerdeError)?;
    let created = target.write(secrets(key).create(&parameters(), secret)).await?;
    Ok(SecretState::read(&created))
}

async fn update(
    target: &Target,
    key: &ObjectKey,
    secret: &Secret,
    known: &SecretState,
) -> kube::Result<SecretState> {
    let patch = Patch::Merge(known.update(secret));
    let updated = target.write(secrets(key).patch(key.name(), &patch_parameters(), &patch)).await?;
    Ok(SecretState::read(&updated))
}

fn is_namespace_missing(status: &kube::core::Status) -> bool {
    status.details.as_ref().is_some_and(|details| details.kind == "namespaces")
}

/// Only the cause in the details distinguishes this from other refusals.
fn is_terminating(status: &kube::core::Status) -> bool {
    let mut causes = status.details.iter().flat_map(|details| &details.causes);
    causes.any(|cause| cause.reason == "NamespaceTerminating")
}

fn not_written(key: &ObjectKey, error: &kube::Error) -> Failure {
    let (problem, namespace) = (errors::line(error), key.namespace());
    match error {
        kube::Error::Api(status) if is_terminating(status) => Failure::new(
            Reason::NamespaceTerminating,
            format!("namespace {namespace} is being deleted, so Secret {key} can't be created: {problem}"),
        ),
        kube::Error::Api(status) if status.code == 403 && status.message.contains("exceeded quota") => {
            let fix = format!("raise the quota of namespace {namespace}, or delete unused Secrets");
            Failure::new(Reason::QuotaExceeded, format!("can't write Secret {key}: {problem}; {fix}"))
        }
        kube::Error::Api(status) if status.code == 403 => Failure::new(
            Reason::SecretNotWritten,
            format!(
                "the target forbids writing Secret {key}: {problem}; if the importer lacks rights, run kubemcsa \
                 install, with --namespaces if the importer is confined"
            ),
        ),
        kube::Error::Api(status) if matches!(status.code, 400 | 422) => Failure::new(
            Reason::InvalidSpec,
            format!(
                "the target rejects Secret {key} as invalid: {problem}; change the import's spec.secret, or \
                 delete the Secret if it is immutable"
            ),
        ),
        _ => Failure::new(
            Reason::SecretNotWritten,
            format!("can't write Secret {key}: {problem}; the importer retries"),
        ),
    }
}

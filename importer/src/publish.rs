//! Fourth step: the credential into its Secret, in one write.
//!
//! A Secret that is not there is created, which fails where the name is taken; one that is ours is
//! patched on the condition that it still is the one that we know. So a Secret of someone else is
//! never overwritten, not even between a look and a write. (Server-side apply has no "only if it
//! is not there", and costs the API server more.)

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use kube::core::Request;
use kube::{Api, Resource, ResourceExt};
use mcsa_client::contract::{FIELD_MANAGER, IMPORT_NAME};
use mcsa_client::system::secret::{SecretState, build};
use mcsa_runtime::errors;

use crate::mint::Minted;
use crate::model::failure::{Failure, Reason};
use crate::model::key::ObjectKey;
use crate::resolve::{Resolved, ensure_owned};
use crate::target::{Target, parameters};

/// How often a Secret may change under our hands before we come back later.
const TRIES: usize = 3;

/// Writes the credential into the import's Secret; nothing, when that is a link's and has changed: whoever
/// changes it says where the source is, and then the credential may be no more right.
///
/// # Errors
/// When the Secret's name is taken, or the target does not accept it.
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
        // It is not as we thought: it was made, changed or deleted meanwhile, or has lost its label.
        known = look(target, resolved).await?.map(|found| found.state);
    }
    Err(Failure::new(
        Reason::SecretNotWritten,
        format!("Secret {key} keeps changing: {last}; it is tried again"),
    ))
}

/// A Secret that was looked for.
pub struct Found {
    /// How it is.
    pub state: SecretState,
    /// Whether it has the label by which the watch sees it.
    pub is_in_sight: bool,
}

/// Looks for the import's Secret, also where it is out of the watch's sight.
///
/// # Errors
/// When the Secret's name is taken, or the target does not say.
pub async fn look(target: &Target, resolved: &Resolved) -> Result<Option<Found>, Failure> {
    let key = &resolved.secret_key;
    let secrets = Api::<Secret>::namespaced(target.client.clone(), key.namespace());
    let found = target.call(secrets.get_metadata_opt(key.name())).await;
    let found = found.map_err(|error| not_written(key, &error))?;
    let Some(found) = found else { return Ok(None) };
    let state = SecretState::read(&found.metadata);
    ensure_owned(key, &state, &resolved.import)?;
    Ok(Some(Found { state, is_in_sight: found.labels().contains_key(IMPORT_NAME) }))
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
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..Default::default() };
    let patch = Patch::Merge(known.update(secret));
    let updated = target.write(secrets(key).patch(key.name(), &parameters, &patch)).await?;
    Ok(SecretState::read(&updated))
}

fn is_namespace_missing(status: &kube::core::Status) -> bool {
    status.details.as_ref().is_some_and(|details| details.kind == "namespaces")
}

/// <https://kubernetes.io/docs/reference/using-api/api-concepts/>: the cause is the only thing to tell
/// it by.
fn is_terminating(status: &kube::core::Status) -> bool {
    let mut causes = status.details.iter().flat_map(|details| &details.causes);
    causes.any(|cause| cause.reason == "NamespaceTerminating")
}

fn not_written(key: &ObjectKey, error: &kube::Error) -> Failure {
    let (problem, namespace) = (errors::line(error), key.namespace());
    match error {
        kube::Error::Api(status) if is_terminating(status) => Failure::new(
            Reason::NamespaceTerminating,
            format!("namespace {namespace} is being deleted, so there can be no Secret {key}: {problem}"),
        ),
        kube::Error::Api(status) if status.code == 403 && status.message.contains("exceeded quota") => {
            let mend =
                format!("raise the quota of namespace {namespace}, or delete Secrets that nobody needs");
            Failure::new(Reason::QuotaExceeded, format!("no room for Secret {key}: {problem}; {mend}"))
        }
        kube::Error::Api(status) if status.code == 403 => Failure::new(
            Reason::SecretNotWritten,
            format!(
                "the target forbids Secret {key}: {problem}; if the importer's own rights are missing, run \
                 kubemcsa install, with its --namespaces if it is confined"
            ),
        ),
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

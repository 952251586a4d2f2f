//! Deletes the Secret of an import that no policy permits, if a policy says so.

use k8s_openapi::api::core::v1::Secret;
use kube::Resource;
use kube::api::{DeleteParams, Preconditions};
use kube::core::Request;
use mcsa_credentials::permission::problem;
use mcsa_credentials::secret::SecretState;
use mcsa_runtime::errors;

use crate::model::failure::{Failure, Reason};
use crate::model::import::Import;
use crate::model::key::ObjectKey;
use crate::publish::read_secret;
use crate::resolve::is_owned;
use crate::target::Target;

/// Attempts in one reconciliation if the Secret changes concurrently.
const TRIES: usize = 3;

/// Deletes the import's Secret, `known` or the one that the target has now; returns the deleted one. Deletes no Secret
/// that the import does not own.
///
/// # Errors
/// If the target rejects the deletion.
pub async fn revoke(
    target: &Target,
    import: &Import,
    mut known: Option<SecretState>,
) -> Result<Option<SecretState>, Failure> {
    let key = import.secret_key();
    let mut last = String::new();
    for _ in 0..TRIES {
        let current = match known.take() {
            Some(known) => Some(known),
            None => current(target, &key, import).await?,
        };
        let Some(secret) = current.filter(|secret| is_owned(secret, import)) else { return Ok(None) };
        match delete(target, &key, &secret).await {
            Ok(()) => return Ok(Some(secret)),
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(Some(secret)),
            // It changed meanwhile.
            Err(kube::Error::Api(status)) if status.code == 409 => last = status.message.clone(),
            Err(error) => return Err(not_deleted(&key, import, &errors::line(&error))),
        }
    }
    Err(not_deleted(&key, import, &last))
}

async fn current(target: &Target, key: &ObjectKey, import: &Import) -> Result<Option<SecretState>, Failure> {
    match read_secret(target, key, import).await {
        // It belongs to something else.
        Err(Failure { reason: Reason::SecretNameConflict, .. }) => Ok(None),
        read => read,
    }
}

async fn delete(target: &Target, key: &ObjectKey, secret: &SecretState) -> kube::Result<()> {
    let preconditions = Preconditions {
        uid: Some(secret.uid.to_string()),
        resource_version: Some(secret.resource_version.to_string()),
    };
    let parameters = DeleteParams { preconditions: Some(preconditions), ..Default::default() };
    let secrets = Request::new(Secret::url_path(&(), Some(key.namespace())));
    target.write(secrets.delete(key.name(), &parameters)).await.map(drop)
}

fn not_deleted(key: &ObjectKey, import: &Import, error: &str) -> Failure {
    let message = format!(
        "{}, but Secret {key} can't be deleted: {error}; the importer retries; if it lacks the right to delete \
         Secrets, run kubemcsa install, with --namespaces if the importer is confined",
        problem(import.request())
    );
    Failure::new(Reason::SecretNotWritten, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use http::{Method, Response};
    use http_body_util::BodyExt;
    use kube::Client;
    use kube::client::Body;
    use prometheus_client::registry::Registry;
    use rstest::rstest;
    use serde_json::{Value, json};
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};
    use tower::service_fn;

    /// The metadata of a Secret that an import owns.
    fn metadata(owner: &str, version: &str) -> Value {
        let owner =
            json!([{ "apiVersion": "v1", "kind": "K", "name": "a", "uid": owner, "controller": true }]);
        json!({
            "namespace": "shop", "name": "a-token", "uid": "s", "resourceVersion": version,
            "ownerReferences": owner,
        })
    }

    fn state(owner: &str, version: &str) -> SecretState {
        SecretState::read(&serde_json::from_value(metadata(owner, version)).unwrap())
    }

    fn import() -> Import {
        let import = json!({
            "metadata": { "namespace": "shop", "name": "a", "uid": "u" },
            "spec": { "clusterName": "c2", "namespace": "default", "name": "pod-lister" },
        });
        Import::of(serde_json::from_value(import).unwrap())
    }

    /// A target with one Secret, or none. Like an API server, it deletes only the version in the preconditions.
    fn target(stored: Option<Value>) -> (Target, Arc<Mutex<Option<Value>>>) {
        let stored = Arc::new(Mutex::new(stored));
        let of_server = stored.clone();
        let server = service_fn(move |request: http::Request<Body>| {
            let stored = of_server.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let mut stored = stored.lock().unwrap();
                let (code, answer) = match (stored.clone(), head.method) {
                    (None, _) => refusal(404, "NotFound"),
                    (Some(metadata), Method::GET) => (200, json!({ "metadata": metadata })),
                    (Some(metadata), Method::DELETE) => {
                        let options: Value = serde_json::from_slice(&body).unwrap();
                        let preconditions = &options["preconditions"];
                        if preconditions["uid"] == metadata["uid"]
                            && preconditions["resourceVersion"] == metadata["resourceVersion"]
                        {
                            *stored = None;
                            (200, json!({ "kind": "Status", "apiVersion": "v1", "status": "Success" }))
                        } else {
                            refusal(409, "Conflict")
                        }
                    }
                    (_, method) => panic!("{method}"),
                };
                let answer = Body::from(serde_json::to_vec(&answer).unwrap());
                Ok::<_, Infallible>(Response::builder().status(code).body(answer).unwrap())
            }
        });
        let metrics = Metrics::new(&mut Registry::default());
        (Target::new(Client::new(server, "default"), metrics), stored)
    }

    fn refusal(code: u16, reason: &str) -> (u16, Value) {
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": "no",
            "code": code,
        });
        (code, status)
    }

    #[rstest]
    #[case::known(Some(metadata("u", "7")), Some(state("u", "7")), true)]
    #[case::changed_meanwhile(Some(metadata("u", "8")), Some(state("u", "7")), true)]
    #[case::not_in_the_watch(Some(metadata("u", "7")), None, true)]
    #[case::of_another_owner(Some(metadata("v", "7")), Some(state("v", "7")), false)]
    #[case::adopted_meanwhile(Some(metadata("v", "8")), Some(state("u", "7")), false)]
    #[case::of_another_owner_and_not_in_the_watch(Some(metadata("v", "7")), None, false)]
    #[tokio::test]
    async fn only_the_secret_of_the_import_is_deleted(
        #[case] stored: Option<Value>,
        #[case] known: Option<SecretState>,
        #[case] is_deleted: bool,
    ) {
        let (target, stored) = target(stored);
        let deleted = revoke(&target, &import(), known).await.unwrap();
        assert_eq!(deleted.map(|secret| secret.uid.to_string()), is_deleted.then(|| "s".to_owned()));
        assert_eq!(stored.lock().unwrap().is_none(), is_deleted);
    }

    #[tokio::test]
    async fn secret_that_is_gone_already_counts_as_deleted() {
        let (target, _stored) = target(None);
        assert!(revoke(&target, &import(), Some(state("u", "7"))).await.unwrap().is_some());
        assert!(revoke(&target, &import(), None).await.unwrap().is_none());
    }
}

//! Refuses imports that no import policy permits. No call to their source is made.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{DeleteParams, Preconditions};
use mcsa_client::policy::{OnRevoke, Permission};
use mcsa_credentials::permission::not_permitted;
use mcsa_credentials::secret::SecretState;

use super::history::History;
use super::{Reconciler, Refresh};
use crate::cache::CachedImport;
use crate::clock::after;
use crate::model::failure::{Failure, Reason, Retry};
use crate::model::import::Import;
use crate::publish::{not_written, read_secret};

/// Wait for the labels of a namespace. The watch enqueues its imports when it has observed them.
const LABELS_WAIT: Duration = Duration::from_secs(30);

impl Reconciler {
    /// Whether the import was refused, and is permitted now.
    pub(super) fn is_newly_permitted(&self, known: &CachedImport) -> bool {
        let refused = known.summary.refreshed.is_some_and(|it| it.reason == Reason::NotPermitted.as_str());
        refused && self.cache.permission(&known.import) == Permission::Permitted
    }

    /// Returns `None` if the import is permitted, and when to retry if that is not known yet.
    ///
    /// # Errors
    /// If no policy permits the import, or nobody knows and its token has expired.
    pub(super) async fn check_permission(
        &self,
        known: &CachedImport,
        history: &mut History,
    ) -> Result<Option<Refresh>, Failure> {
        let import = &known.import;
        match self.cache.permission(import) {
            Permission::Permitted => Ok(None),
            Permission::NamespaceUnknown => {
                let (now, namespace) = (self.clock.now(), import.key.namespace());
                let retry = after(now, LABELS_WAIT);
                if known.summary.expires_at.is_some_and(|expiry| expiry > now) {
                    return Ok(Some(Refresh::Postponed(retry)));
                }
                let message = format!(
                    "the import needs an ImportPolicy that selects namespace {namespace} by its labels, which the importer \
                     has not observed yet; if this lasts, check that the importer may list and watch namespaces"
                );
                Err(Failure { retry: Retry::NotBefore(retry), ..Failure::new(Reason::NotPermitted, message) })
            }
            Permission::NotPermitted(on_revoke) => {
                history.unpublished = None;
                if on_revoke == OnRevoke::Delete {
                    self.delete_secret(import, known.summary.has_secret).await?;
                }
                Err(Failure::new(Reason::NotPermitted, not_permitted(import.request())))
            }
        }
    }

    /// Deletes the import's Secret, unless it changed concurrently, which the watch reports.
    async fn delete_secret(&self, import: &Import, had_secret: bool) -> Result<(), Failure> {
        let key = import.secret_key();
        let secret = match self.own_secret(import) {
            None if had_secret => read_secret(&self.target, &key, import).await?,
            secret => secret,
        };
        let Some(SecretState { uid, resource_version, .. }) = secret else { return Ok(()) };
        let preconditions =
            Preconditions { uid: Some(uid.into()), resource_version: Some(resource_version.into()) };
        let parameters = DeleteParams::default().preconditions(preconditions);
        let secrets = Api::<Secret>::namespaced(self.target.client.clone(), key.namespace());
        match self.target.call(secrets.delete(key.name(), &parameters)).await {
            Ok(_) => {
                let (cluster, namespace) = (&import.spec.cluster_name, key.namespace());
                let (name, secret) = (import.key.name(), key.name());
                tracing::info!(
                    cluster,
                    namespace,
                    import = name,
                    secret,
                    "Secret deleted: no policy permits the import"
                );
                self.cache.forget_secret(&key);
                Ok(())
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            Err(error) => Err(not_written(&key, &error)),
        }
    }
}

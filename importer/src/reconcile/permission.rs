//! Refuses imports that no import policy permits. No call to their source is made.

use std::time::Duration;

use mcsa_client::policy::{OnRevoke, Permission};
use mcsa_credentials::permission::not_permitted;

use super::history::History;
use super::{Reconciler, Refresh};
use crate::cache::CachedImport;
use crate::clock::after;
use crate::model::failure::{Failure, Reason, Retry};
use crate::model::import::Import;
use crate::revoke::revoke;

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
                    self.delete_secret(import).await?;
                }
                Err(Failure::new(Reason::NotPermitted, not_permitted(import.request())))
            }
        }
    }

    /// Deletes the import's Secret. One that has lost its label is not in the cache, and the status may not name it.
    async fn delete_secret(&self, import: &Import) -> Result<(), Failure> {
        let key = import.secret_key();
        let known = self.cache.secret(&key);
        if revoke(&self.target, import, known).await?.is_some() {
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
        }
        Ok(())
    }
}

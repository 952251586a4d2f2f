//! One reconciliation: resolve, decide, mint, publish, report.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use kube::runtime::events::Recorder;
use kube::{Client, ResourceExt};
use mcsa_client::ServiceAccountImport;
use mcsa_client::secret::SecretState;
use mcsa_runtime::errors;

use crate::cache::{Cache, ObjectKey, secret_key};
use crate::clock::Clock;
use crate::decide::{Decision, Facts, decide};
use crate::failure::{Failure, Reason, back_off};
use crate::mint::{Minted, mint};
use crate::publish::{look, publish};
use crate::report::{Outcome, report};
use crate::resolve::{Resolved, resolve};

/// What all reconciliations share.
pub struct Reconciler {
    /// The target.
    pub client: Client,
    /// What the watches have seen.
    pub cache: Arc<Cache>,
    /// The wall clock.
    pub clock: Clock,
    /// Writes events.
    pub recorder: Recorder,
    /// How often in a row each import has failed.
    pub failures: Mutex<HashMap<ObjectKey, u32>>,
}

impl Reconciler {
    /// Reconciles one import, and says when it is due again; never, when it is gone. Its Secret is
    /// not ours to delete: the target's garbage collector does that, without any source.
    pub async fn reconcile(&self, key: &ObjectKey) -> Option<Timestamp> {
        let import = self.cache.import(key).filter(|import| import.metadata.deletion_timestamp.is_none());
        let Some(import) = import else {
            self.count_failure(key, false);
            return None;
        };
        let result = self.refresh(key, &import).await;
        if let Err(failure) = &result {
            tracing::warn!(
                cluster = import.spec.cluster_name,
                namespace = key.namespace,
                import = key.name,
                reason = failure.reason.as_str(),
                "{}",
                failure.message
            );
        }
        let secret = self.own_secret(key, &import);
        let reported = self.report(key, &import, secret.as_ref(), result.as_ref().err()).await;
        let failures = self.count_failure(key, result.is_err() || !reported);
        let now = self.clock.now();
        let next = match &result {
            Ok(time) if reported => *time,
            Ok(_) => later(now, back_off(failures, fastrand::f64())),
            Err(failure) => {
                later(now, failure.retry_after.unwrap_or_else(|| back_off(failures, fastrand::f64())))
            }
        };
        // When the token expires, the status has to say so.
        let expiry = secret.and_then(|secret| secret.provenance).map(|token| token.expires_at);
        Some(expiry.filter(|expiry| *expiry > now).map_or(next, |expiry| next.min(expiry)))
    }

    /// Makes sure that the Secret holds a fresh token; returns when it is due again.
    async fn refresh(
        &self,
        key: &ObjectKey,
        import: &Arc<ServiceAccountImport>,
    ) -> Result<Timestamp, Failure> {
        let mut resolved = resolve(&self.cache, key, import.clone())?;
        if resolved.secret.is_none() && self.has_failed(key) {
            // Before another token is minted in vain: the name may be taken by a Secret that the
            // watch does not see.
            resolved.secret = look(&self.client, &resolved).await?;
        }
        let facts = Facts {
            secret: resolved.secret.as_ref(),
            fingerprint: &resolved.fingerprint,
            keys: &resolved.keys,
            cluster_uid: resolved.source.pinned_uid(),
        };
        let why = match decide(facts, self.clock.now()) {
            Decision::Wait(time) => return Ok(time),
            Decision::Mint(why) => why,
        };
        let (resolved, minted) = self.mint(key, resolved).await?;
        let published = publish(&self.client, &resolved, &minted).await?;
        self.cache.wrote_secret(resolved.secret_key.clone(), published);
        let token = minted.provenance();
        tracing::info!(
            cluster = import.spec.cluster_name, namespace = key.namespace, import = key.name,
            secret = resolved.secret_key.name, ?why, expires_at = %token.expires_at, "refreshed"
        );
        Ok(token.refresh_at.unwrap_or(token.expires_at))
    }

    /// Mints; when the source refuses the link's token, once more with what the link holds by now.
    async fn mint(&self, key: &ObjectKey, resolved: Resolved) -> Result<(Resolved, Minted), Failure> {
        let failure = match mint(&resolved, self.clock.now()).await {
            Ok(minted) => return Ok((resolved, minted)),
            Err(failure) => failure,
        };
        if failure.reason != Reason::LinkUnauthorized {
            return Err(failure);
        }
        let renewed = resolve(&self.cache, key, resolved.import.clone())?;
        if Arc::ptr_eq(&renewed.source, &resolved.source) {
            return Err(failure);
        }
        let minted = mint(&renewed, self.clock.now()).await?;
        Ok((renewed, minted))
    }

    /// The import's Secret as it is now, if it is its own.
    fn own_secret(&self, key: &ObjectKey, import: &ServiceAccountImport) -> Option<SecretState> {
        let secret = self.cache.secret(&secret_key(key, import))?;
        (secret.owner_uid.is_some() && secret.owner_uid == import.uid()).then_some(secret)
    }

    async fn report(
        &self,
        key: &ObjectKey,
        import: &ServiceAccountImport,
        secret: Option<&SecretState>,
        failure: Option<&Failure>,
    ) -> bool {
        let outcome = Outcome { secret, failure };
        match report(&self.client, &self.recorder, import, outcome, self.clock.now()).await {
            Ok(written) => {
                if let Some(written) = written {
                    self.cache.wrote_status(key, written);
                }
                true
            }
            Err(error) => {
                let cluster = &import.spec.cluster_name;
                tracing::warn!(
                    cluster,
                    namespace = key.namespace,
                    import = key.name,
                    error = errors::line(&error),
                    "can't write the status"
                );
                false
            }
        }
    }

    fn has_failed(&self, key: &ObjectKey) -> bool {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).contains_key(key)
    }

    /// Counts failures in a row.
    fn count_failure(&self, key: &ObjectKey, failed: bool) -> u32 {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if !failed {
            failures.remove(key);
            return 0;
        }
        let count = failures.entry(key.clone()).or_default();
        *count = count.saturating_add(1);
        *count
    }
}

fn later(now: Timestamp, wait: std::time::Duration) -> Timestamp {
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
    now.saturating_add(wait).unwrap_or(Timestamp::MAX)
}

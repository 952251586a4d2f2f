//! One reconciliation: resolve, decide, mint, publish, report.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use kube::runtime::events::Recorder;
use kube::{Client, ResourceExt};
use mcsa_client::ServiceAccountImport;
use mcsa_client::secret::SecretState;
use mcsa_runtime::errors;

use crate::cache::{Cache, ObjectKey, secret_key};
use crate::clock::Clock;
use crate::decide::{Decision, Facts, decide};
use crate::failure::{Failure, Reason};
use crate::history::History;
use crate::mint::{Minted, mint};
use crate::publish::{look, publish};
use crate::report::{Outcome, Reported, report};
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
    /// What is remembered of imports with something amiss.
    pub histories: Mutex<HashMap<ObjectKey, History>>,
}

impl Reconciler {
    /// Reconciles one import, and says when it is due again; never, when it is gone. Its Secret is
    /// not ours to delete: the target's garbage collector does that, without any source.
    pub async fn reconcile(&self, key: &ObjectKey) -> Option<Timestamp> {
        let mut history = self.histories().remove(key).unwrap_or_default();
        let import = self.cache.import(key).filter(|import| import.metadata.deletion_timestamp.is_none())?;
        let result = self.refresh(key, &import, &mut history).await;
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
        let outcome = Outcome { secret: secret.as_ref(), failure: result.as_ref().err() };
        let reported = report(&self.client, &self.recorder, &import, outcome, self.clock.now()).await;
        let is_reported = reported.is_ok();
        match reported {
            Ok(Reported::Gone) => return None,
            Ok(Reported::Unchanged) => {}
            Ok(Reported::Written(written)) => self.cache.wrote_status(key, *written),
            Err(error) => {
                tracing::warn!(
                    cluster = import.spec.cluster_name,
                    namespace = key.namespace,
                    import = key.name,
                    error = errors::line(&error),
                    "can't write the status"
                );
            }
        }
        let now = self.clock.now();
        let next = match result {
            Ok(time) if is_reported => {
                history.succeeded();
                time
            }
            Ok(_) => later(now, history.failed(None, fastrand::f64())),
            Err(failure) => later(now, history.failed(failure.retry_after, fastrand::f64())),
        };
        if !history.is_over(now) {
            self.histories().insert(key.clone(), history);
        }
        // When the token expires, the status has to say so.
        let expiry = secret.and_then(|secret| secret.provenance).map(|token| token.expires_at);
        Some(expiry.filter(|expiry| *expiry > now).map_or(next, |expiry| next.min(expiry)))
    }

    /// Makes sure that the Secret holds a fresh token; returns when it is due again.
    async fn refresh(
        &self,
        key: &ObjectKey,
        import: &Arc<ServiceAccountImport>,
        history: &mut History,
    ) -> Result<Timestamp, Failure> {
        let mut resolved = resolve(&self.cache, key, import.clone())?;
        if resolved.secret.is_none() && history.has_failed() {
            // Before another token is minted in vain: the name may be taken by a Secret that the
            // watch does not see.
            resolved.secret = look(&self.client, &resolved).await?;
        }
        let facts = Facts {
            secret: resolved.secret.as_ref(),
            had_secret: import.status.as_ref().is_some_and(|status| !status.secrets.is_empty()),
            fingerprint: &resolved.fingerprint,
            keys: &resolved.keys,
            cluster_uid: resolved.cluster_uid.as_deref(),
        };
        let now = self.clock.now();
        let why = match decide(facts, now) {
            Decision::Wait(time) => return Ok(time),
            Decision::Mint(why) => why,
        };
        let allowed = history.may_mint_at(why, now);
        if allowed > now {
            return Ok(allowed);
        }
        let (resolved, minted) = match history.unpublished.take() {
            Some(minted) if minted.is_good_for(&resolved, now) => (resolved, minted),
            _ => self.mint(key, resolved).await?,
        };
        history.minted(why, now);
        let published = match publish(&self.client, &resolved, &minted).await {
            Ok(published) => published,
            Err(failure) => {
                // Kept for the next try: what the target does not accept must not cost a token each time.
                history.unpublished = Some(minted);
                return Err(failure);
            }
        };
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

    fn histories(&self) -> MutexGuard<'_, HashMap<ObjectKey, History>> {
        self.histories.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn later(now: Timestamp, wait: std::time::Duration) -> Timestamp {
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
    now.saturating_add(wait).unwrap_or(Timestamp::MAX)
}

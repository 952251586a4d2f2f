//! One reconciliation: resolve, decide, mint, publish, report.

pub mod history;
mod permission;
mod unreadable;

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use mcsa_client::policy::Permission;
use mcsa_credentials::secret::{Provenance, SecretMetadata, SecretState};
use mcsa_runtime::errors;
use mcsa_runtime::lease::Fence;

use self::history::{Histories, History};
use crate::cache::{Cache, CachedImport};
use crate::clock::{Clock, after};
use crate::decide::{Decision, Facts, MintReason, decide};
use crate::enqueue::enqueue;
use crate::metrics::Metrics;
use crate::mint::{Minted, mint};
use crate::model::failure::{Failure, Reason, Retry};
use crate::model::import::Import;
use crate::model::key::ObjectKey;
use crate::model::revocation::{Evidence, revocation};
use crate::model::status::Outcome;
use crate::publish::{publish, read_secret, restore};
use crate::queue::Queue;
use crate::report::report;
use crate::resolve::{Resolved, is_owned, resolve};
use crate::target::Target;
use crate::target::event::{EventContent, emit};

/// The retries of imports that waited for a source are spread over this time.
const SPREAD: Duration = Duration::from_secs(1);

/// Longest wait for the two watches of a link's Secret to agree.
const WATCH_LAG: Duration = Duration::from_secs(1);

/// How a refresh ended.
enum Refresh {
    /// The Secret is fresh until this time.
    Done(Timestamp),
    /// The watches of a link's Secret disagree. Nothing was written or reported. Retry at this time.
    Postponed(Timestamp),
}

/// What all reconciliations share.
pub struct Reconciler {
    pub target: Target,
    pub fence: Fence,
    pub cache: Arc<Cache>,
    pub queue: Arc<Queue>,
    pub histories: Arc<Histories>,
    pub clock: Clock,
    pub metrics: Metrics,
}

impl Reconciler {
    /// Reconciles one import; returns when it is due again, or `None` if it is deleted. The target's garbage
    /// collector deletes the Secret.
    pub async fn reconcile(&self, key: &ObjectKey) -> Option<Timestamp> {
        let start = Instant::now();
        if let Some(unreadable) = self.cache.unreadable(key) {
            return self.report_unreadable(&unreadable).await;
        }
        let known = self.cache.import(key).filter(|known| !known.import.is_deleted)?;
        let import = &known.import;
        let mut history = self.histories.take(import);
        // Links are exempt: only administrators can cause their events. So is the first attempt with a permission.
        if !import.is_link
            && !self.is_newly_permitted(&known)
            && let Err(time) = history.record_attempt(self.clock.now())
        {
            self.histories.keep(import, history);
            return Some(time);
        }
        let held = self.own_secret(import).and_then(|secret| token_times(&secret));
        let result = self.refresh(&known, &mut history).await;
        self.enqueue_waiting(import, result.as_ref().err());
        if !self.fence.is_open() {
            // The next leader, possibly this replica, reconciles again.
            self.histories.keep(import, history);
            return Some(self.clock.now());
        }
        let result = match result {
            Ok(Refresh::Postponed(time)) => {
                self.histories.keep(import, history);
                return Some(time);
            }
            Ok(Refresh::Done(time)) => Ok(time),
            Err(failure) => Err(failure),
        };
        if let Err(failure) = &result {
            self.record_failure(import, failure);
        }
        let secret = self.own_secret(import);
        let check = import.is_link.then(|| self.cache.check_result(key)).flatten();
        let failure = result.as_ref().err();
        let revocation = secret.as_ref().and_then(|secret| {
            let is_same_token = token_times(secret) == held;
            self.revocation(&known, secret, failure, is_same_token)
        });
        let outcome = Outcome { secret: secret.as_ref(), failure, revocation, check: check.as_deref() };
        let is_reported = self.report(&known, outcome, history.has_own_failure()).await;
        history.record_outcome(failure, is_reported);
        self.metrics.reconciled(start.elapsed());
        let now = self.clock.now();
        let mut next = match result {
            Ok(time) => {
                history.record_success();
                time
            }
            Err(failure) => match failure.retry {
                Retry::BackOff(retry_after) => history.record_failure(retry_after, now, fastrand::f64()),
                Retry::BreakerOpen(time) => after(time, SPREAD.mul_f64(fastrand::f64())),
                Retry::NotBefore(time) => time,
            },
        };
        if is_reported {
            history.record_status_written();
        } else {
            next = next.min(after(now, history.record_status_failure(fastrand::f64())));
        }
        if !history.is_empty_at(now) {
            self.histories.keep(import, history);
        }
        // The status has to change when the token expires.
        let expiry = secret.and_then(|secret| secret.provenance).map(|token| token.expires_at);
        Some(expiry.filter(|expiry| *expiry > now).map_or(next, |expiry| next.min(expiry)))
    }

    /// Writes the status; returns whether it is up to date.
    async fn report(&self, known: &CachedImport, outcome: Outcome<'_>, had_own_failure: bool) -> bool {
        let import = &known.import;
        let now = self.clock.now();
        match report(&self.target, &self.cache, known, outcome, had_own_failure, now).await {
            Ok(is_reported) => is_reported,
            Err(error) => {
                let (cluster, error) = (&import.spec.cluster_name, errors::line(&error));
                let (namespace, name) = (import.key.namespace(), import.key.name());
                let reason = "StatusNotWritten";
                tracing::warn!(cluster, namespace, import = name, reason, error, "can't write the status");
                false
            }
        }
    }

    /// Makes sure that the Secret holds a fresh token.
    async fn refresh(&self, known: &CachedImport, history: &mut History) -> Result<Refresh, Failure> {
        let import = &known.import;
        if let Some(postponed) = self.check_permission(known, history).await? {
            return Ok(postponed);
        }
        if import.is_link && self.restore_link(import, history).await? {
            return Ok(Refresh::Postponed(after(self.clock.now(), WATCH_LAG)));
        }
        let mut resolved = resolve(&self.cache, import.clone())?;
        if resolved.secret.is_none() && (known.summary.has_secret || history.has_failed() || import.is_link) {
            // Don't mint a token that can't be written, or that is not needed: a Secret without the label may have
            // the name, which the watch does not report. And the two watches of a link's Secret may report its
            // deletion in any order.
            resolved.secret = read_secret(&self.target, &resolved.secret_key, import).await?;
        }
        if resolved.secret.is_none() && import.is_link {
            return Err(Failure::not_linked(&import.spec.cluster_name));
        }
        let facts = Facts {
            secret: resolved.secret.as_ref(),
            had_secret: known.summary.has_secret,
            fingerprint: &resolved.fingerprint,
            keys: &resolved.keys,
            metadata: &resolved.metadata,
            cluster_uid: resolved.cluster_uid.as_deref(),
            account: known.account.as_ref(),
            requested_lifetime: requested_lifetime(import),
        };
        let now = self.clock.now();
        let decision = decide(facts, now);
        if !resolved.watches_agree() {
            // The later watch enqueues the import. Until then, report nothing: `kubemcsa rotate` assumes that the
            // import's status is about the current Secret.
            return Ok(Refresh::Postponed(after(now, WATCH_LAG)));
        }
        let why = match decision {
            Decision::Wait(time) => return Ok(Refresh::Done(time)),
            Decision::Restore(time) => {
                if let Some(secret) = &resolved.secret {
                    self.restore(import, secret, &resolved.metadata, history).await?;
                }
                return Ok(Refresh::Done(time));
            }
            Decision::Mint(why) => why,
        };
        let account = known.account.as_ref();
        let (resolved, minted) = match history.unpublished.take() {
            Some(minted) if minted.is_still_valid(&resolved, account, now) => (resolved, minted),
            _ => {
                let has_expired = |token: &Provenance| token.expires_at <= now;
                let token = resolved.secret.as_ref().and_then(|secret| secret.provenance.as_ref());
                let allowed = history.earliest_mint(why, now);
                if allowed > now && !token.is_some_and(has_expired) {
                    return Err(too_many_repairs(&resolved.secret_key, allowed));
                }
                let minted = self.mint(resolved).await?;
                history.record_mint(why, now);
                self.metrics.minted(&import.spec.cluster_name, why.as_str());
                minted
            }
        };
        let published = match publish(&self.target, &resolved, &minted).await {
            Ok(Some(published)) => published,
            Ok(None) => {
                history.unpublished = Some(minted);
                return Ok(Refresh::Postponed(after(now, WATCH_LAG)));
            }
            Err(failure) => {
                // Keep the token for the next attempt: a failing target must not cost a token each time.
                history.unpublished = Some(minted);
                return Err(failure);
            }
        };
        self.cache.record_written_secret(resolved.secret_key.clone(), published);
        self.cache.clear_account(&import.key, account);
        let token = minted.provenance();
        tracing::info!(
            cluster = import.spec.cluster_name, namespace = import.key.namespace(), import = import.key.name(),
            reason = why.as_str(), secret = resolved.secret_key.name(), expires_at = %token.expires_at,
            "refreshed"
        );
        self.report_short_lifetime(import, minted.lifetime()).await;
        Ok(Refresh::Done(token.refresh_at.unwrap_or(token.expires_at)))
    }

    /// Restores the labels of a link's Secret; returns whether it did. Without the link's label, there is no link, so
    /// this must not depend on one.
    async fn restore_link(&self, import: &Import, history: &mut History) -> Result<bool, Failure> {
        let key = import.secret_key();
        if self.cache.link_in(key.name()).is_some() {
            return Ok(false);
        }
        let known = match self.cache.secret(&key) {
            Some(known) => Some(known),
            None => read_secret(&self.target, &key, import).await?,
        };
        let wanted = SecretMetadata::of(&import.object());
        match known.filter(|known| is_owned(known, import) && !known.has(&wanted)) {
            Some(known) => self.restore(import, &known, &wanted, history).await.map(|()| true),
            None => Ok(false),
        }
    }

    /// Restores labels and annotations of a Secret. This counts as a repair, like a token that is minted after an edit.
    async fn restore(
        &self,
        import: &Import,
        known: &SecretState,
        wanted: &SecretMetadata,
        history: &mut History,
    ) -> Result<(), Failure> {
        let (key, now) = (import.secret_key(), self.clock.now());
        let allowed = history.earliest_mint(MintReason::Edited, now);
        if allowed > now {
            return Err(too_many_repairs(&key, allowed));
        }
        if let Some(restored) = restore(&self.target, &key, wanted, known).await? {
            history.record_mint(MintReason::Edited, now);
            let (namespace, name) = (import.key.namespace(), import.key.name());
            let (cluster, secret) = (&import.spec.cluster_name, key.name());
            tracing::info!(cluster, namespace, import = name, secret, "labels and annotations restored");
            self.cache.record_restored_secret(key, restored);
        }
        Ok(())
    }

    /// Mints a token. If the source rejects the link's token, retries once with the link's current one.
    async fn mint(&self, resolved: Resolved) -> Result<(Resolved, Minted), Failure> {
        let token = resolved.source.token_number();
        let failure = match mint(&resolved, self.clock.now()).await {
            Ok(minted) => return Ok((resolved, minted)),
            Err(failure) => failure,
        };
        let is_permitted = self.cache.permission(&resolved.import) == Permission::Permitted;
        if failure.reason != Reason::LinkUnauthorized || !is_permitted {
            return Err(failure);
        }
        let renewed = resolve(&self.cache, resolved.import.clone())?;
        if Arc::ptr_eq(&renewed.source, &resolved.source) && renewed.source.token_number() == token {
            return Err(failure);
        }
        let minted = mint(&renewed, self.clock.now()).await?;
        Ok((renewed, minted))
    }

    /// Emits an event, once, if the source grants a shorter lifetime than requested.
    async fn report_short_lifetime(&self, import: &Import, lifetime: Duration) {
        let short = (lifetime < requested_lifetime(import)).then_some(lifetime.as_secs());
        if !self.cache.record_lifetime(&import.key, short) {
            return;
        }
        let cluster = &import.spec.cluster_name;
        let note = format!(
            "{cluster} grants tokens for {}s instead of the {}s in spec.expirationSeconds; the importer refreshes them in time",
            lifetime.as_secs(),
            import.spec.expiration_seconds,
        );
        let (namespace, name, reason) = (import.key.namespace(), import.key.name(), "ShortLived");
        tracing::warn!(cluster, namespace, import = name, reason, "{note}");
        let content = EventContent { is_warning: false, reason, note };
        emit(&self.target, import, content, self.clock.now()).await;
    }

    fn record_failure(&self, import: &Import, failure: &Failure) {
        let (cluster, reason) = (&import.spec.cluster_name, failure.reason.as_str());
        let (namespace, name) = (import.key.namespace(), import.key.name());
        if failure.waits_for_source() {
            // The import that made the attempt logs a warning.
            tracing::debug!(cluster, namespace, import = name, reason, "{}", failure.message);
        } else {
            self.metrics.failed(self.cache.source_or_unlinked(cluster), reason);
            tracing::warn!(cluster, namespace, import = name, reason, "{}", failure.message);
        }
    }

    /// Records an import that waits for its source, and enqueues all that wait if the source responds.
    fn enqueue_waiting(&self, import: &Import, failure: Option<&Failure>) {
        let cluster_name = &import.spec.cluster_name;
        let Some(source) = self.cache.link(cluster_name).and_then(|link| link.source.ok()) else { return };
        if failure.is_some_and(Failure::waits_for_source) {
            source.add_waiting(&import.key);
        }
        // The watch forgets deleted ones.
        enqueue(&self.queue, &self.cache, source.take_waiting());
    }

    /// Why the source rejects the token in the Secret, as far as the importer knows.
    fn revocation(
        &self,
        known: &CachedImport,
        secret: &SecretState,
        failure: Option<&Failure>,
        is_same_token: bool,
    ) -> Option<Reason> {
        let resolved = resolve(&self.cache, known.import.clone()).ok();
        let fingerprint = resolved.as_ref().map(|resolved| resolved.fingerprint.as_str());
        let (account, before) = (known.account.as_ref(), is_same_token.then_some(&known.summary));
        revocation(secret, Evidence { fingerprint, account, failure, before })
    }

    /// The current Secret, if the import owns it.
    fn own_secret(&self, import: &Import) -> Option<SecretState> {
        self.cache.secret(&import.secret_key()).filter(|secret| is_owned(secret, import))
    }
}

/// When the token in a Secret expires and is refreshed.
fn token_times(secret: &SecretState) -> Option<(Timestamp, Option<Timestamp>)> {
    secret.provenance.as_ref().map(|token| (token.expires_at, token.refresh_at))
}

fn too_many_repairs(secret_key: &ObjectKey, until: Timestamp) -> Failure {
    let message = format!(
        "Secret {secret_key} was rewritten several times in a row, because another client keeps changing it or the \
         import's spec; find the client in the managedFields of the Secret or the import; the importer retries at \
         {until:.0}"
    );
    Failure { retry: Retry::NotBefore(until), ..Failure::new(Reason::TooManyRepairs, message) }
}

fn requested_lifetime(import: &Import) -> Duration {
    Duration::from_secs(import.spec.expiration_seconds.try_into().unwrap_or_default())
}

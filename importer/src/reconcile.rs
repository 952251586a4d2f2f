//! One reconciliation: resolve, decide, mint, publish, report.

pub mod history;

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use mcsa_client::system::secret::{Provenance, SecretState};
use mcsa_runtime::errors;
use mcsa_runtime::lease::Fence;

use self::history::{Histories, History};
use crate::cache::{Cache, Known};
use crate::clock::{Clock, after};
use crate::decide::{Decision, Facts, Why, decide};
use crate::metrics::Metrics;
use crate::mint::{Minted, mint};
use crate::model::failure::{Failure, Reason, Retry};
use crate::model::import::Import;
use crate::model::key::ObjectKey;
use crate::model::status::Outcome;
use crate::publish::{look, publish};
use crate::queue::Queue;
use crate::report::report;
use crate::resolve::{Resolved, is_owned, resolve};
use crate::target::Target;
use crate::target::event::{Told, tell};

/// What waits for a source's rest to end does not all come at once then.
const SPREAD: Duration = Duration::from_secs(1);

/// How long a link is left alone at most that its two watches tell different things of.
const UNSETTLED: Duration = Duration::from_secs(1);

/// When an import is due again.
enum Next {
    /// All is as it should be until then.
    Due(Timestamp),
    /// It is not known yet what should be: nothing was done, and nothing is said about it.
    Unsettled(Timestamp),
}

/// What all reconciliations share.
pub struct Reconciler {
    /// The cluster whose imports are served.
    pub target: Target,
    /// Whether this replica may write.
    pub fence: Fence,
    /// What the watches have seen.
    pub cache: Arc<Cache>,
    /// The imports that are due.
    pub queue: Arc<Queue>,
    /// What is remembered of imports with something amiss.
    pub histories: Arc<Histories>,
    /// The wall clock.
    pub clock: Clock,
    /// Counts what happens.
    pub metrics: Metrics,
}

impl Reconciler {
    /// Reconciles one import, and says when it is due again; never, when it is gone. Its Secret is
    /// not ours to delete: the target's garbage collector does that, without any source.
    pub async fn reconcile(&self, key: &ObjectKey) -> Option<Timestamp> {
        let start = Instant::now();
        let known = self.cache.import(key).filter(|known| !known.import.is_deleted)?;
        let import = &known.import;
        let mut history = self.histories.take(import);
        let result = self.refresh(&known, &mut history).await;
        self.wake_waiting(import, result.as_ref().err());
        if !self.fence.is_open() {
            // Whatever came of it: whoever leads next looks for itself, which may be us.
            self.histories.keep(import, history);
            return Some(self.clock.now());
        }
        let result = match result {
            Ok(Next::Unsettled(time)) => {
                self.histories.keep(import, history);
                return Some(time);
            }
            Ok(Next::Due(time)) => Ok(time),
            Err(failure) => Err(failure),
        };
        if let Err(failure) = &result {
            self.note(import, failure);
        }
        let secret = self.own_secret(import);
        let answer = import.is_link.then(|| self.cache.answer(key)).flatten();
        let failure = result.as_ref().err();
        let outcome = Outcome { secret: secret.as_ref(), failure, answer: answer.as_deref() };
        let is_reported = self.report(&known, outcome).await;
        self.metrics.reconciled(start.elapsed());
        let now = self.clock.now();
        let mut next = match result {
            Ok(time) => {
                history.succeeded();
                time
            }
            Err(failure) => match failure.retry {
                Retry::BackOff(wished) => after(now, history.failed(wished, fastrand::f64())),
                Retry::Rest(time) => after(time, SPREAD.mul_f64(fastrand::f64())),
                Retry::NotBefore(time) => time,
            },
        };
        if is_reported {
            history.was_reported();
        } else {
            next = next.min(after(now, history.was_not_reported(fastrand::f64())));
        }
        if !history.is_over(now) {
            self.histories.keep(import, history);
        }
        // When the token expires, the status has to say so.
        let expiry = secret.and_then(|secret| secret.provenance).map(|token| token.expires_at);
        Some(expiry.filter(|expiry| *expiry > now).map_or(next, |expiry| next.min(expiry)))
    }

    /// Writes the status; whether it says now what it should.
    async fn report(&self, known: &Known, outcome: Outcome<'_>) -> bool {
        let import = &known.import;
        match report(&self.target, &self.cache, known, outcome, self.clock.now()).await {
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

    /// Makes sure that the Secret holds a fresh token; returns when it is due again.
    async fn refresh(&self, known: &Known, history: &mut History) -> Result<Next, Failure> {
        let import = &known.import;
        let mut resolved = resolve(&self.cache, import.clone())?;
        let mut is_in_sight = true;
        if resolved.secret.is_none() && (history.has_failed() || import.is_link) {
            // Before another token is minted in vain: the name may be taken by a Secret that the
            // watch does not see. Of a link's Secret, two watches tell in either order that it is gone.
            let found = look(&self.target, &resolved).await?;
            is_in_sight = found.as_ref().is_none_or(|found| found.is_in_sight);
            resolved.secret = found.map(|found| found.state);
        }
        if resolved.secret.is_none() && import.is_link {
            return Err(Failure::not_linked(&import.spec.cluster_name));
        }
        let facts = Facts {
            secret: resolved.secret.as_ref(),
            had_secret: known.shown.has_secret,
            fingerprint: &resolved.fingerprint,
            keys: &resolved.keys,
            cluster_uid: resolved.cluster_uid.as_deref(),
            account: known.account.as_ref(),
            asked: asked(import),
        };
        let now = self.clock.now();
        let decision = match decide(facts, now) {
            // The label comes back by a write, like all that is edited.
            Decision::Wait(_) if !is_in_sight => Decision::Mint(Why::Edited),
            decision => decision,
        };
        if !resolved.is_settled() {
            // The watch that is late wakes us. Until then, nothing is said either: who rotates a link takes
            // what its import says for what is used.
            return Ok(Next::Unsettled(after(now, UNSETTLED)));
        }
        let why = match decision {
            Decision::Wait(time) => return Ok(Next::Due(time)),
            Decision::Mint(why) => why,
        };
        let account = known.account.as_ref();
        let (resolved, minted) = match history.unpublished.take() {
            Some(minted) if minted.is_good_for(&resolved, account, now) => (resolved, minted),
            _ => {
                let has_expired = |token: &Provenance| token.expires_at <= now;
                let token = resolved.secret.as_ref().and_then(|secret| secret.provenance.as_ref());
                let allowed = history.may_mint_at(why, now);
                if allowed > now && !token.is_some_and(has_expired) {
                    return Err(too_many_repairs(&resolved, allowed));
                }
                let minted = self.mint(resolved).await?;
                history.minted(why, now);
                self.metrics.minted(&import.spec.cluster_name, why.as_str());
                minted
            }
        };
        let published = match publish(&self.target, &resolved, &minted).await {
            Ok(Some(published)) => published,
            Ok(None) => {
                history.unpublished = Some(minted);
                return Ok(Next::Unsettled(after(now, UNSETTLED)));
            }
            Err(failure) => {
                // Kept for the next try: what the target does not accept must not cost a token each time.
                history.unpublished = Some(minted);
                return Err(failure);
            }
        };
        self.cache.wrote_secret(resolved.secret_key.clone(), published);
        self.cache.settle(&import.key, account);
        let token = minted.provenance();
        tracing::info!(
            cluster = import.spec.cluster_name, namespace = import.key.namespace(), import = import.key.name(),
            reason = why.as_str(), secret = resolved.secret_key.name(), expires_at = %token.expires_at,
            "refreshed"
        );
        self.tell_lifetime(import, minted.lifetime()).await;
        Ok(Next::Due(token.refresh_at.unwrap_or(token.expires_at)))
    }

    /// Mints; when the source refuses the link's token, once more with what the link holds by now.
    async fn mint(&self, resolved: Resolved) -> Result<(Resolved, Minted), Failure> {
        let token = resolved.source.token_number();
        let failure = match mint(&resolved, self.clock.now()).await {
            Ok(minted) => return Ok((resolved, minted)),
            Err(failure) => failure,
        };
        if failure.reason != Reason::LinkUnauthorized {
            return Err(failure);
        }
        let renewed = resolve(&self.cache, resolved.import.clone())?;
        if Arc::ptr_eq(&renewed.source, &resolved.source) && renewed.source.token_number() == token {
            return Err(failure);
        }
        let minted = mint(&renewed, self.clock.now()).await?;
        Ok((renewed, minted))
    }

    /// Tells the import's user, once, that the source lets tokens live shorter than was asked for.
    async fn tell_lifetime(&self, import: &Import, lifetime: Duration) {
        let short = (lifetime < asked(import)).then_some(lifetime.as_secs());
        if !self.cache.tells_lifetime(&import.key, short) {
            return;
        }
        let cluster = &import.spec.cluster_name;
        let note = format!(
            "{cluster} lets tokens live {} s, not the {} s of spec.expirationSeconds; they are refreshed in time",
            lifetime.as_secs(),
            import.spec.expiration_seconds,
        );
        let (namespace, name, reason) = (import.key.namespace(), import.key.name(), "ShortLived");
        tracing::warn!(cluster, namespace, import = name, reason, "{note}");
        let told = Told { is_warning: false, reason, note };
        tell(&self.target, import, told, self.clock.now()).await;
    }

    fn note(&self, import: &Import, failure: &Failure) {
        let (cluster, reason) = (&import.spec.cluster_name, failure.reason.as_str());
        let (namespace, name) = (import.key.namespace(), import.key.name());
        if let Retry::Rest(_) = failure.retry {
            // Said by the one who tried.
            tracing::debug!(cluster, namespace, import = name, reason, "{}", failure.message);
        } else {
            self.metrics.failed(cluster, reason);
            tracing::warn!(cluster, namespace, import = name, reason, "{}", failure.message);
        }
    }

    /// Has the imports that wait for their source try at once when it answers; one that is told to
    /// wait is noted.
    fn wake_waiting(&self, import: &Import, failure: Option<&Failure>) {
        let cluster_name = &import.spec.cluster_name;
        let Some(source) = self.cache.link(cluster_name).and_then(|link| link.source.ok()) else { return };
        if matches!(failure, Some(Failure { retry: Retry::Rest(_), .. })) {
            source.wait(&import.key);
        }
        for key in source.woken() {
            self.queue.hurry(key, cluster_name);
        }
    }

    /// The import's Secret as it is now, if it is its own.
    fn own_secret(&self, import: &Import) -> Option<SecretState> {
        self.cache.secret(&import.secret_key()).filter(|secret| is_owned(secret, import))
    }
}

fn too_many_repairs(resolved: &Resolved, until: Timestamp) -> Failure {
    let message = format!(
        "Secret {} was made anew several times in a row, as someone else keeps changing it, or the import's spec \
         keeps changing; see who that is (its managed fields tell); the next time is {until:.0}",
        resolved.secret_key
    );
    Failure { retry: Retry::NotBefore(until), ..Failure::new(Reason::TooManyRepairs, message) }
}

fn asked(import: &Import) -> Duration {
    Duration::from_secs(import.spec.expiration_seconds.try_into().unwrap_or_default())
}

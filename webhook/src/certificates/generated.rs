//! Generated certificates, stored and rotated in a Secret.

use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::{WatchStreamExt, watcher, watcher::watch_object};
use mcsa_credentials::contract::SYSTEM_NAMESPACE;
use mcsa_credentials::contract::webhook::CERTIFICATE;
use mcsa_runtime::errors;
use tokio::time::Instant;
use tracing::info;

use crate::certificates::certificate::Certificate;
use crate::certificates::rate_limit::RateLimit;
use crate::certificates::rotation::{RotationFacts, Step, Stored, decide};
use crate::certificates::secret::{self, SecretStore};
use crate::certificates::serving::{Desired, Served};
use crate::certificates::trust::TrustHistory;

/// When to check again if the watch does not report a write.
const RETRY: Duration = Duration::from_secs(5);

pub(crate) struct Generated {
    store: SecretStore,
    names: Vec<String>,
    lifetime: Duration,
    events: BoxStream<'static, watcher::Result<Option<Secret>>>,
    observed: Option<ObservedSecret>,
    rate_limit: RateLimit,
}

/// The last observed Secret.
struct ObservedSecret {
    secret: Option<(Secret, Stored)>,
    /// Since when its current certificate has not changed.
    current_since: Instant,
}

impl Generated {
    pub(crate) fn new(store: SecretStore, names: Vec<String>, lifetime: Duration) -> Self {
        let events = watch_object(store.api(), CERTIFICATE).default_backoff().boxed();
        Self { store, names, lifetime, events, observed: None, rate_limit: RateLimit::default() }
    }

    /// Waits until the Secret changes.
    pub(crate) async fn changed(&mut self) -> Result<(), String> {
        match self.events.next().await {
            Some(Ok(secret)) => {
                self.observe(secret, Instant::now());
                Ok(())
            }
            Some(Err(error)) => {
                Err(format!("can't watch Secret {SYSTEM_NAMESPACE}/{CERTIFICATE}: {}", errors::line(&error)))
            }
            None => std::future::pending().await,
        }
    }

    fn observe(&mut self, secret: Option<Secret>, instant: Instant) {
        let secret =
            secret.map(|secret| (secret::read(&secret), secret)).map(|(stored, secret)| (secret, stored));
        let current =
            |secret: &Option<(Secret, Stored)>| secret.as_ref().map(|(_, stored)| stored.current.clone());
        let current_since = match &self.observed {
            Some(observed) if current(&observed.secret) == current(&secret) => observed.current_since,
            _ => instant,
        };
        self.observed = Some(ObservedSecret { secret, current_since });
    }

    /// The certificate in the Secret, if it can be served now; otherwise the reason.
    pub(crate) fn desired(&self, now: Timestamp) -> Result<Desired, String> {
        let stored = match &self.observed {
            None => return Err("not read yet".to_owned()),
            Some(ObservedSecret { secret: None, .. }) => {
                return Err(format!("Secret {SYSTEM_NAMESPACE}/{CERTIFICATE} does not exist"));
            }
            Some(ObservedSecret { secret: Some((_, stored)), .. }) => stored,
        };
        let current = stored.current.clone().and_then(|current| {
            current.problem(&stored.authorities, &self.names, now).map_or(Ok(current), Err)
        });
        let problem =
            |problem| format!("the certificate in Secret {SYSTEM_NAMESPACE}/{CERTIFICATE}: {problem}");
        let certificate = current.map_err(problem)?;
        Ok(Desired { certificate, authorities: Some(stored.authorities.clone()) })
    }

    /// Whether the Secret is still the last observed one: another replica may have written it, and this watch may lag.
    pub(crate) async fn is_up_to_date(&mut self) -> Result<bool, String> {
        let Some(observed) = &self.observed else { return Ok(false) };
        let secret = observed.secret.as_ref().map(|(secret, _)| secret);
        self.store.is_current(secret).await.map_err(|error| error.to_string())
    }

    /// Takes the next rotation step, if any; returns when to check again. The watch observes the result.
    pub(crate) async fn rotate(
        &mut self,
        served: Option<&Served>,
        trust: &TrustHistory,
        now: Timestamp,
        instant: Instant,
    ) -> Result<Option<Duration>, String> {
        let Some(observed) = &self.observed else { return Ok(None) };
        let stored = observed.secret.as_ref().map(|(_, stored)| stored);
        let facts = RotationFacts {
            stored,
            served,
            names: &self.names,
            trust,
            current_since: observed.current_since,
            now,
            instant,
        };
        let step = decide(facts);
        if let (Some(wait), false) = (self.rate_limit.wait(instant), matches!(step, Step::Wait(_))) {
            return Ok(Some(wait));
        }
        let (stored, event) = match step {
            Step::Wait(wait) => return Ok(wait),
            Step::Prepare { current, authorities, reason } => {
                let (new, authority) = Certificate::issue(&self.names, self.lifetime, now)
                    .map_err(|problem| format!("{}: {problem}", self.names.join(", ")))?;
                let authorities = authorities.union(&authority);
                let stored = match current {
                    Some(current) => Stored { authorities, current: Ok(current), next: Some(Ok(new)) },
                    None => Stored { authorities, current: Ok(new), next: None },
                };
                (stored, format!("generated a certificate: {reason}"))
            }
            Step::Promote(stored) => (stored, "promoted the next certificate".to_owned()),
            Step::Retire(stored) => (stored, "removed the authority of the previous certificate".to_owned()),
        };
        self.rate_limit.record_write(instant);
        let secret = observed.secret.as_ref().map(|(secret, _)| secret);
        if self.store.write(secret, &stored).await.map_err(|error| error.to_string())? {
            let authorities = stored.authorities.len();
            info!(secret = CERTIFICATE, authorities, "{event}");
        }
        Ok(Some(RETRY))
    }
}

//! Certificates of our own making, kept in a Secret and rotated there.

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
use crate::certificates::rate_limit::Pace;
use crate::certificates::rotation::{Facts, Kept, Step, decide};
use crate::certificates::secret::{self, Store};
use crate::certificates::serving::{Served, Wanted};
use crate::certificates::trust::Trust;

/// When to look again should the watch be silent about a write.
const RETRY: Duration = Duration::from_secs(5);

/// The certificates in the Secret.
pub(crate) struct Own {
    store: Store,
    names: Vec<String>,
    lifetime: Duration,
    events: BoxStream<'static, watcher::Result<Option<Secret>>>,
    seen: Option<Seen>,
    pace: Pace,
}

/// The Secret, as it was seen last.
struct Seen {
    secret: Option<(Secret, Kept)>,
    /// Since when its current certificate is as it is.
    settled: Instant,
}

impl Own {
    /// Certificates for these names; nothing has been seen yet.
    pub(crate) fn new(store: Store, names: Vec<String>, lifetime: Duration) -> Self {
        let events = watch_object(store.api(), CERTIFICATE).default_backoff().boxed();
        Self { store, names, lifetime, events, seen: None, pace: Pace::default() }
    }

    /// Waits until the Secret is another one.
    ///
    /// # Errors
    /// When it can't be watched for now: why not.
    pub(crate) async fn news(&mut self) -> Result<(), String> {
        match self.events.next().await {
            Some(Ok(secret)) => {
                self.see(secret, Instant::now());
                Ok(())
            }
            Some(Err(error)) => {
                Err(format!("can't watch Secret {SYSTEM_NAMESPACE}/{CERTIFICATE}: {}", errors::line(&error)))
            }
            None => std::future::pending().await,
        }
    }

    fn see(&mut self, secret: Option<Secret>, clock: Instant) {
        let secret =
            secret.map(|secret| (secret::read(&secret), secret)).map(|(kept, secret)| (secret, kept));
        let current = |secret: &Option<(Secret, Kept)>| secret.as_ref().map(|(_, kept)| kept.current.clone());
        let settled = match &self.seen {
            Some(seen) if current(&seen.secret) == current(&secret) => seen.settled,
            _ => clock,
        };
        self.seen = Some(Seen { secret, settled });
    }

    /// What is in the Secret, if it can be served at this time.
    ///
    /// # Errors
    /// When it can't: why not.
    pub(crate) fn wanted(&self, now: Timestamp) -> Result<Wanted, String> {
        let kept = match &self.seen {
            None => return Err("not yet".to_owned()),
            Some(Seen { secret: None, .. }) => {
                return Err(format!("there is no Secret {SYSTEM_NAMESPACE}/{CERTIFICATE}"));
            }
            Some(Seen { secret: Some((_, kept)), .. }) => kept,
        };
        let current = kept.current.clone().and_then(|current| {
            current.problem(&kept.authorities, &self.names, now).map_or(Ok(current), Err)
        });
        let problem =
            |problem| format!("the certificate in Secret {SYSTEM_NAMESPACE}/{CERTIFICATE}: {problem}");
        let certificate = current.map_err(problem)?;
        Ok(Wanted { certificate, authorities: Some(kept.authorities.clone()) })
    }

    /// Whether the Secret is still what was seen last: others may have written it, and their watch
    /// be ahead of ours.
    ///
    /// # Errors
    /// When it can't be read: why not.
    pub(crate) async fn is_up_to_date(&mut self) -> Result<bool, String> {
        let Some(seen) = &self.seen else { return Ok(false) };
        let secret = seen.secret.as_ref().map(|(secret, _)| secret);
        self.store.is_as(secret).await.map_err(|error| error.to_string())
    }

    /// Takes the step that is next, if one is, and says when to look again: the watch will tell what
    /// came of it.
    ///
    /// # Errors
    /// When it can't be taken: why not.
    pub(crate) async fn step(
        &mut self,
        served: Option<&Served>,
        trust: &Trust,
        now: Timestamp,
        clock: Instant,
    ) -> Result<Option<Duration>, String> {
        let Some(seen) = &self.seen else { return Ok(None) };
        let kept = seen.secret.as_ref().map(|(_, kept)| kept);
        let facts = Facts { kept, served, names: &self.names, trust, settled: seen.settled, now, clock };
        let step = decide(facts);
        if let (Some(wait), false) = (self.pace.wait(clock), matches!(step, Step::Wait(_))) {
            return Ok(Some(wait));
        }
        let (kept, what) = match step {
            Step::Wait(wait) => return Ok(wait),
            Step::Prepare { current, authorities, reason } => {
                let (made, authority) = Certificate::issue(&self.names, self.lifetime, now)
                    .map_err(|problem| format!("{}: {problem}", self.names.join(", ")))?;
                let authorities = authorities.and(&authority);
                let kept = match current {
                    Some(current) => Kept { authorities, current: Ok(current), next: Some(Ok(made)) },
                    None => Kept { authorities, current: Ok(made), next: None },
                };
                (kept, format!("made another certificate: {reason}"))
            }
            Step::Promote(kept) => (kept, "the next certificate takes over".to_owned()),
            Step::Retire(kept) => {
                (kept, "the authority of the last certificate is no more needed".to_owned())
            }
        };
        self.pace.write(clock);
        let secret = seen.secret.as_ref().map(|(secret, _)| secret);
        if self.store.write(secret, &kept).await.map_err(|error| error.to_string())? {
            let authorities = kept.authorities.len();
            info!(secret = CERTIFICATE, authorities, "{what}");
        }
        Ok(Some(RETRY))
    }
}

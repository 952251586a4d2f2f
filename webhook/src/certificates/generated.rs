//! The generated certificate, which all replicas share in a Secret. `decide` has the rules.

use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::{WatchStreamExt, watcher, watcher::watch_object};
use kube::{Api, Client};
use mcsa_credentials::contract::SYSTEM_NAMESPACE;
use mcsa_credentials::contract::webhook::CERTIFICATE;
use mcsa_runtime::errors;
use tokio::time::Instant;
use tracing::info;

use crate::certificates::authority::Authority;
use crate::certificates::decide::{AuthorityStep, Facts, Issued, Step, Stored, decide};
use crate::certificates::problem::Problem;
use crate::certificates::rate_limit::RateLimit;
use crate::certificates::secret;
use crate::certificates::serving::Desired;

/// When to check again if the watch does not report a write.
const RETRY: Duration = Duration::from_secs(5);

pub(crate) struct Generated {
    secrets: Api<Secret>,
    names: Vec<String>,
    lifetime: Duration,
    events: BoxStream<'static, watcher::Result<Option<Secret>>>,
    /// The last observed Secret, and its contents.
    observed: Option<(Option<Secret>, Stored)>,
    /// The last valid contents of the Secret that were observed or written.
    known: Option<Issued>,
    rate_limit: RateLimit,
}

impl Generated {
    pub(crate) fn new(client: Client, names: Vec<String>, lifetime: Duration) -> Self {
        let secrets = Api::namespaced(client, SYSTEM_NAMESPACE);
        let events = watch_object(secrets.clone(), CERTIFICATE).default_backoff().boxed();
        let rate_limit = RateLimit::default();
        Self { secrets, names, lifetime, events, observed: None, known: None, rate_limit }
    }

    /// Waits until the Secret changes.
    pub(crate) async fn changed(&mut self) -> Result<(), String> {
        match self.events.next().await {
            Some(Ok(secret)) => {
                self.observe(secret, Timestamp::now());
                Ok(())
            }
            Some(Err(error)) => {
                Err(format!("can't watch Secret {SYSTEM_NAMESPACE}/{CERTIFICATE}: {}", errors::line(&error)))
            }
            None => std::future::pending().await,
        }
    }

    fn observe(&mut self, secret: Option<Secret>, now: Timestamp) {
        let stored = secret.as_ref().map_or_else(Stored::nothing, secret::read);
        if let Ok(valid) = stored.valid(&self.names, now) {
            self.known = Some(valid);
        }
        self.observed = Some((secret, stored));
    }

    /// The certificate in the Secret, if it can be served now; otherwise the reason.
    pub(crate) fn desired(&self, now: Timestamp) -> Result<Desired, String> {
        let Some((_, stored)) = &self.observed else { return Err("not read yet".to_owned()) };
        let Issued { authority, certificate } = stored
            .valid(&self.names, now)
            .map_err(|problem| format!("Secret {SYSTEM_NAMESPACE}/{CERTIFICATE}: {problem}"))?;
        Ok(Desired { certificate, authorities: Some(authority.certificates()) })
    }

    /// Writes the Secret if necessary; returns when to check again. The watch observes the result.
    pub(crate) async fn maintain(
        &mut self,
        now: Timestamp,
        instant: Instant,
    ) -> Result<Option<Duration>, String> {
        let Some((secret, stored)) = &self.observed else { return Ok(None) };
        let facts = Facts { stored, known: self.known.as_ref(), names: &self.names, now };
        let (authority, certificate, reason) = match decide(facts) {
            Step::Wait(wait) => return Ok(Some(wait)),
            Step::Write { authority, certificate, reason } => (authority, certificate, reason),
        };
        if let Some(wait) = self.rate_limit.wait(instant) {
            return Ok(Some(wait));
        }
        let issue = || {
            let authority = match authority {
                AuthorityStep::Keep(authority) => authority.clone(),
                AuthorityStep::Renew(authority) => authority.renew(now)?,
                AuthorityStep::Generate => Authority::generate(now)?,
            };
            let certificate = match certificate {
                Some(certificate) => certificate.clone(),
                None => authority.issue(&self.names, self.lifetime, now)?,
            };
            Ok::<_, Problem>(Issued { authority, certificate })
        };
        let issued =
            issue().map_err(|problem| format!("certificate for {}: {problem}", self.names.join(", ")))?;
        self.rate_limit.record_write(instant);
        if secret::write(&self.secrets, secret.as_ref(), &issued).await? {
            info!(secret = CERTIFICATE, %reason, expires = %issued.certificate.validity.end, "wrote the certificate");
            self.known = Some(issued);
        }
        Ok(Some(RETRY))
    }
}

//! Reconciles the serving certificate and the webhook configuration: whenever the configuration, the Secret or the
//! files change, when a certificate is due for renewal, and every hour.
//!
//! One task does both because they depend on each other: a certificate is served only when the API server trusts it,
//! and the API server must trust the certificates that are served.
//!
//! A `provider` supplies the desired certificate: from `files`, or `generated`, stored with its `authority` in a
//! `secret` according to the rules in `decide`. `trust` records since when the API server trusts which authorities.
//! From it follow when `serving` replaces the served certificate, and which authorities the `configuration` must list.

mod authorities;
mod authority;
mod certificate;
mod configuration;
mod decide;
mod files;
#[cfg(test)]
mod fixtures;
mod generated;
mod problem;
mod provider;
mod rate_limit;
mod secret;
mod serving;
mod trust;
mod validity;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::api::{Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher::watch_object};
use kube::{Api, Client};
use mcsa_credentials::contract::webhook::{CONFIGURATION, FIELD_MANAGER};
use mcsa_runtime::deadline::with_deadline;
use mcsa_runtime::errors;
use rustls::ServerConfig;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::info;

use self::authorities::Authorities;
use self::configuration::{Entries, NoEntry};
use self::provider::CertificateProvider;
use self::rate_limit::RateLimit;
use self::serving::Serving;
use self::trust::Trust;
use crate::args::{Args, WebhookUrl};
use crate::readiness::{Part, Readiness};

/// Longest time between two reconciliations.
const INTERVAL: Duration = Duration::from_secs(3600);

const RETRY: Duration = Duration::from_secs(5);

pub(crate) struct CertificateController {
    api: Api<MutatingWebhookConfiguration>,
    url: Option<WebhookUrl>,
    provider: CertificateProvider,
    serving: Serving,
    trust: Trust,
    readiness: Arc<Readiness>,
    observed: Observed,
    /// Authorities of the desired and the served certificate, and since when they have not changed. `None` if another
    /// client maintains the CA bundle, or if there is no certificate yet.
    needed: Option<(Authorities, Instant)>,
    rate_limit: RateLimit,
    /// Reported problems; each is reported once until the task succeeds.
    problems: BTreeMap<Task, String>,
}

/// A part of the reconciliation that may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Task {
    /// Watches the configuration.
    Watch,
    /// Observes the desired certificate.
    Provide,
    Serve,
    /// Maintains the Secret.
    Maintain,
    /// Writes the configuration.
    Register,
    /// Checks that the API server accepts the served certificate.
    Verify,
}

impl Task {
    fn part(self) -> Part {
        match self {
            Self::Provide | Self::Serve | Self::Maintain => Part::Certificate,
            Self::Watch | Self::Register | Self::Verify => Part::Registration,
        }
    }
}

/// The last observed configuration.
enum Observed {
    Unknown,
    NotFound,
    Found(Box<MutatingWebhookConfiguration>, Result<Entries, NoEntry>),
}

impl CertificateController {
    pub(crate) fn new(args: &Args, client: Client, readiness: Arc<Readiness>) -> anyhow::Result<Self> {
        Ok(Self {
            url: args.url.clone(),
            provider: CertificateProvider::of(args, client.clone()),
            api: Api::all(client),
            serving: Serving::placeholder(&args.names())?,
            trust: Trust::new(args.certificate.certificate_overlap),
            readiness,
            observed: Observed::Unknown,
            needed: None,
            rate_limit: RateLimit::default(),
            problems: BTreeMap::new(),
        })
    }

    /// The TLS config of the server; it always contains the current certificate.
    pub(crate) fn tls(&self) -> watch::Receiver<Arc<ServerConfig>> {
        self.serving.tls()
    }

    /// When the served certificate expires.
    pub(crate) fn expiry(&self) -> watch::Receiver<Option<Timestamp>> {
        self.serving.expiry()
    }

    /// Reconciles forever.
    pub(crate) async fn run(mut self) -> anyhow::Result<Infallible> {
        let mut configurations = pin!(watch_object(self.api.clone(), CONFIGURATION).default_backoff());
        let mut due = Instant::now();
        loop {
            tokio::select! {
                event = configurations.next() => match event {
                    Some(Ok(configuration)) => self.observe(configuration),
                    Some(Err(error)) => {
                        let error = errors::line(&error);
                        let reason = format!("can't watch MutatingWebhookConfiguration {CONFIGURATION}: {error}");
                        self.report::<()>(Task::Watch, Err(reason));
                        continue;
                    }
                    None => anyhow::bail!("the watch of MutatingWebhookConfiguration {CONFIGURATION} ended"),
                },
                result = self.provider.changed() => if self.report(Task::Provide, result).is_none() {
                    continue;
                },
                () = sleep_until(due) => {}
            }
            due = Instant::now() + self.reconcile().await;
        }
    }

    fn observe(&mut self, configuration: Option<MutatingWebhookConfiguration>) {
        self.report(Task::Watch, Ok(()));
        let entries = configuration.as_ref().map(configuration::read);
        let (trusted, names) = match &entries {
            Some(Ok(Entries { trusted, names, .. })) => (trusted.clone(), names.clone()),
            _ => Default::default(),
        };
        self.trust.observe(trusted, names, Instant::now());
        self.observed = match configuration.zip(entries) {
            Some((configuration, entries)) => Observed::Found(Box::new(configuration), entries),
            None => Observed::NotFound,
        };
    }

    /// Returns when the next reconciliation is due.
    async fn reconcile(&mut self) -> Duration {
        let (now, instant) = (Timestamp::now(), Instant::now());
        let serve = self.serve(now, instant);
        let registered = self.register(instant).await;
        self.set_registration(now);
        let register = self.report(Task::Register, registered).unwrap_or(Some(RETRY));
        let maintained = self.provider.maintain(now, instant).await;
        let maintain = self.report(Task::Maintain, maintained).unwrap_or(Some(RETRY));
        [serve, register, maintain].into_iter().flatten().fold(INTERVAL, Duration::min)
    }

    /// Serves the desired certificate when possible; returns when to check again.
    fn serve(&mut self, now: Timestamp, instant: Instant) -> Option<Duration> {
        let desired = self.provider.desired(now);
        let wait = match self.report(Task::Serve, desired) {
            Some(desired) => {
                let wait = self.serving.update(&desired, &self.trust, now, instant);
                let signers = self.serving.served().map(|served| &served.signers);
                let needed =
                    desired.authorities.zip(signers).map(|(desired, signers)| desired.union(signers));
                if self.needed.as_ref().map(|(before, _)| before) != needed.as_ref() {
                    self.needed = needed.map(|needed| (needed, instant));
                }
                wait
            }
            // Keep serving the current certificate.
            None => Some(RETRY),
        };
        let Some(served) = self.serving.served() else { return wait };
        if let Err(problem) = served.certificate.validity.check(now) {
            self.readiness.set(Part::Certificate, Err(problem.to_string()));
            return wait;
        }
        self.readiness.set(Part::Certificate, Ok(()));
        let rest = served.certificate.validity.end.duration_since(now).unsigned_abs();
        Some(wait.map_or(rest, |wait| wait.min(rest)))
    }

    /// Writes address and CA bundle to the configuration; returns when to check again.
    async fn register(&mut self, instant: Instant) -> Result<Option<Duration>, String> {
        let Observed::Found(configuration, Ok(entries)) = &self.observed else { return Ok(None) };
        let (authorities, wait) = match &self.needed {
            Some((needed, since)) => {
                let (authorities, wait) = self.trust.ca_bundle(needed, *since, &entries.present, instant);
                (Some(authorities), wait)
            }
            // Other clients maintain both the CA bundle and the address, or there is no certificate yet.
            None if self.url.is_none() || self.serving.served().is_none() => return Ok(None),
            None => (None, None),
        };
        let Some(patch) = configuration::patch(configuration, self.url.as_ref(), authorities.as_ref()) else {
            return Ok(wait);
        };
        if let Some(wait) = self.rate_limit.wait(instant) {
            return Ok(Some(wait));
        }
        self.rate_limit.record_write(instant);
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..Default::default() };
        let patch: Patch<()> = Patch::Json(patch);
        match with_deadline(self.api.patch(CONFIGURATION, &params, &patch)).await {
            Ok(_) => {
                let by = self.url.as_ref().map_or("service", WebhookUrl::as_str);
                let authorities = authorities.as_ref().map(Authorities::len);
                info!(configuration = CONFIGURATION, by, authorities, "updated the webhook configuration");
                Ok(Some(RETRY))
            }
            // Another client, mostly another replica, has changed it; the watch will observe the change.
            Err(kube::Error::Api(status)) if status.is_conflict() => Ok(Some(RETRY)),
            Err(error) => {
                let reason = errors::line(&error);
                Err(format!("can't patch MutatingWebhookConfiguration {CONFIGURATION}: {reason}"))
            }
        }
    }

    /// Sets whether the API server calls this webhook and accepts its certificate.
    fn set_registration(&mut self, now: Timestamp) {
        let state = match (&self.observed, self.serving.served()) {
            (Observed::Unknown, _) => return,
            (Observed::NotFound, _) => Err(format!(
                "MutatingWebhookConfiguration {CONFIGURATION} does not exist: run kubemcsa install, or kubectl \
                 apply -k manifests"
            )),
            (Observed::Found(_, Err(error)), _) => Err(error.to_string()),
            (Observed::Found(..), None) => return,
            (Observed::Found(_, Ok(entries)), Some(served)) => {
                match self.trust.problem(&served.certificate, now) {
                    None => Ok(()),
                    Some(_) if entries.has_empty_bundle && self.may_be_public() => Ok(()),
                    // The bundle may be restored soon: stay ready if this replica was ready.
                    Some(problem) => {
                        let reason = format!("the API server would reject the certificate: {problem}");
                        self.report::<()>(Task::Verify, Err(reason));
                        return;
                    }
                }
            }
        };
        self.report(Task::Verify, Ok(()));
        self.readiness.set(Part::Registration, state);
    }

    /// Whether the certificate may be from a public authority, which the API server's system trusts: another client
    /// maintains the CA bundle, and there is a URL, because public authorities issue no certificates for Services.
    fn may_be_public(&self) -> bool {
        self.needed.is_none() && self.url.is_some()
    }

    /// Returns the value of a task's result, or reports its problem.
    fn report<T>(&mut self, task: Task, result: Result<T, String>) -> Option<T> {
        match result {
            Ok(value) => {
                self.problems.remove(&task);
                Some(value)
            }
            Err(reason) => {
                if self.problems.get(&task) != Some(&reason) {
                    self.readiness.report_problem(task.part(), reason.clone());
                    self.problems.insert(task, reason);
                }
                None
            }
        }
    }
}

//! Keeps what is served and what is registered right: whenever the configuration, the Secret or the
//! files change, when a step is due, and every hour.
//!
//! They are one task because they are one fact: what is served follows from whom the API server
//! trusts, and whom it is to trust from what is served.
//!
//! What is wanted comes from a `source`: `files`, or our `own` making, kept in a Secret (`store`) and
//! changed step by step (`rotate`). `trust` is since when the API server trusts whom; by it `serving`
//! tells when a `certificate` takes the place of another, and `bundle` which `authorities` the
//! configuration has to list, which `register` writes.

mod authorities;
mod ca_bundle;
mod certificate;
mod configuration;
mod files;
#[cfg(test)]
mod fixtures;
mod generated;
mod provider;
mod rate_limit;
mod rotation;
mod secret;
mod serving;
mod trust;
mod validity;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum_server::tls_rustls::RustlsConfig;
use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::api::{Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher::watch_object};
use kube::{Api, Client};
use mcsa_credentials::contract::webhook::{CONFIGURATION, FIELD_MANAGER};
use mcsa_runtime::deadline::with_deadline;
use mcsa_runtime::errors;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::info;

use self::authorities::Authorities;
use self::ca_bundle::{Facts, bundle};
use self::configuration::{NoEntry, Registered};
use self::provider::Source;
use self::rate_limit::Pace;
use self::serving::{Serving, Wanted};
use self::trust::Trust;
use crate::args::{Args, WebhookUrl};
use crate::readiness::{Part, Readiness};

/// How often all is checked though nothing was heard of.
const INTERVAL: Duration = Duration::from_secs(3600);

/// When to try again what failed.
const RETRY: Duration = Duration::from_secs(5);

/// What is kept right, and with what.
pub(crate) struct CertificateController {
    api: Api<MutatingWebhookConfiguration>,
    url: Option<WebhookUrl>,
    source: Source,
    serving: Serving,
    trust: Trust,
    readiness: Arc<Readiness>,
    seen: Seen,
    /// What was wanted last, and since when.
    wanted: Option<(Wanted, Instant)>,
    pace: Pace,
    troubles: BTreeMap<Trouble, String>,
}

/// What there may be trouble with; each is said once, and again when it has been over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Trouble {
    Watch,
    Source,
    Certificate,
    Step,
    Write,
    Trust,
}

impl Trouble {
    fn part(self) -> Part {
        match self {
            Self::Source | Self::Certificate | Self::Step => Part::Certificate,
            Self::Watch | Self::Write | Self::Trust => Part::Registration,
        }
    }
}

/// What the watch last said of the configuration.
enum Seen {
    NotYet,
    Nothing,
    Configuration(Box<MutatingWebhookConfiguration>, Result<Registered, NoEntry>),
}

impl CertificateController {
    /// Nothing is known yet.
    ///
    /// # Errors
    /// When what the command line says of certificates makes no sense.
    pub(crate) fn new(args: &Args, client: Client, readiness: Arc<Readiness>) -> anyhow::Result<Self> {
        Ok(Self {
            url: args.url.clone(),
            source: Source::of(args, &client)?,
            api: Api::all(client),
            serving: Serving::stopgap(&args.names())?,
            trust: Trust::new(args.certificate.certificate_overlap),
            readiness,
            seen: Seen::NotYet,
            wanted: None,
            pace: Pace::default(),
            troubles: BTreeMap::new(),
        })
    }

    /// What the server shows, always the present certificate.
    pub(crate) fn tls(&self) -> RustlsConfig {
        self.serving.tls()
    }

    /// When the certificate that is served expires.
    pub(crate) fn expiry(&self) -> watch::Receiver<Option<Timestamp>> {
        self.serving.expiry()
    }

    /// Keeps all of it right, for ever.
    ///
    /// # Errors
    /// When the watch ends, which it never does by itself.
    pub(crate) async fn run(mut self) -> anyhow::Result<Infallible> {
        let mut configurations = pin!(watch_object(self.api.clone(), CONFIGURATION).default_backoff());
        let mut due = Instant::now();
        loop {
            tokio::select! {
                event = configurations.next() => match event {
                    Some(Ok(configuration)) => self.see(configuration),
                    Some(Err(error)) => {
                        let error = errors::line(&error);
                        let reason = format!("can't watch MutatingWebhookConfiguration {CONFIGURATION}: {error}");
                        self.note::<()>(Trouble::Watch, Err(reason));
                        continue;
                    }
                    None => anyhow::bail!("the watch of MutatingWebhookConfiguration {CONFIGURATION} ended"),
                },
                news = self.source.news() => if self.note(Trouble::Source, news).is_none() {
                    continue;
                },
                () = sleep_until(due) => {}
            }
            due = Instant::now() + self.check().await;
        }
    }

    fn see(&mut self, configuration: Option<MutatingWebhookConfiguration>) {
        self.note(Trouble::Watch, Ok(()));
        let registered = configuration.as_ref().map(configuration::read);
        let (trusted, names) = match &registered {
            Some(Ok(Registered { trusted, names, .. })) => (trusted.clone(), names.clone()),
            _ => Default::default(),
        };
        self.trust.observe(&trusted, names, Instant::now());
        self.seen = match configuration.zip(registered) {
            Some((configuration, registered)) => Seen::Configuration(Box::new(configuration), registered),
            None => Seen::Nothing,
        };
    }

    /// Does what is due, and says when to look again.
    async fn check(&mut self) -> Duration {
        let (now, clock) = (Timestamp::now(), Instant::now());
        let serve = self.serve(now, clock);
        let registered = self.register(now, clock).await;
        self.judge(now);
        let register = self.note(Trouble::Write, registered).unwrap_or(Some(RETRY));
        let stepped = self.source.step(self.serving.served(), &self.trust, now, clock).await;
        let step = self.note(Trouble::Step, stepped).unwrap_or(Some(RETRY));
        [serve, register, step].into_iter().flatten().fold(INTERVAL, Duration::min)
    }

    /// Serves what is wanted as soon as may be, and says when to look again.
    fn serve(&mut self, now: Timestamp, clock: Instant) -> Option<Duration> {
        let wanted = self.source.wanted(now);
        let wait = match self.note(Trouble::Certificate, wanted) {
            Some(wanted) => {
                let wait = self.serving.follow(&wanted, &self.trust, now, clock);
                if self.wanted.as_ref().is_none_or(|(before, _)| *before != wanted) {
                    self.wanted = Some((wanted, clock));
                }
                wait
            }
            // What is served stays.
            None => Some(RETRY),
        };
        let Some(served) = self.serving.served() else { return wait };
        if let Err(problem) = served.certificate.check_time(now) {
            self.readiness.set(Part::Certificate, Err(problem.to_string()));
            return wait;
        }
        self.readiness.set(Part::Certificate, Ok(()));
        let rest = served.certificate.end.duration_since(now).unsigned_abs();
        Some(wait.map_or(rest, |wait| wait.min(rest)))
    }

    /// Has the configuration say where we are called and whom to trust, and says when to look again.
    async fn register(&mut self, now: Timestamp, clock: Instant) -> Result<Option<Duration>, String> {
        let Seen::Configuration(configuration, Ok(registered)) = &self.seen else { return Ok(None) };
        let Some((wanted, settled)) = &self.wanted else { return Ok(None) };
        let (authorities, wait) = match &wanted.authorities {
            Some(wanted) => {
                let (trust, served, present) = (&self.trust, self.serving.served(), &registered.present);
                let facts = Facts { wanted, served, present, trust, settled: *settled, now, clock };
                let (authorities, wait) = bundle(facts);
                (Some(authorities), wait)
            }
            // Neither whom to trust nor where to call is ours to say.
            None if self.url.is_none() => return Ok(None),
            None => (None, None),
        };
        let Some(patch) = configuration::patch(configuration, self.url.as_ref(), authorities.as_ref()) else {
            return Ok(wait);
        };
        if let Some(wait) = self.pace.wait(clock) {
            return Ok(Some(wait));
        }
        // Whose authorities these are, only the newest Secret can tell.
        if !self.source.is_up_to_date().await? {
            return Ok(Some(RETRY));
        }
        self.pace.write(clock);
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..Default::default() };
        let patch: Patch<()> = Patch::Json(patch);
        match with_deadline(self.api.patch(CONFIGURATION, &params, &patch)).await {
            Ok(_) => {
                let by = self.url.as_ref().map_or("service", WebhookUrl::as_str);
                let authorities = authorities.as_ref().map(Authorities::len);
                info!(configuration = CONFIGURATION, by, authorities, "registered");
                Ok(Some(RETRY))
            }
            // Someone, mostly another replica, has changed it: the watch will say how.
            Err(kube::Error::Api(status)) if status.is_conflict() => Ok(Some(RETRY)),
            Err(error) => {
                let reason = errors::line(&error);
                Err(format!("can't patch MutatingWebhookConfiguration {CONFIGURATION}: {reason}"))
            }
        }
    }

    /// Whether the API server calls us, and accepts what it is shown.
    fn judge(&mut self, now: Timestamp) {
        let state = match (&self.seen, self.serving.served()) {
            (Seen::NotYet, _) => return,
            (Seen::Nothing, _) => Err(format!(
                "MutatingWebhookConfiguration {CONFIGURATION} does not exist: run kubemcsa install, or kubectl \
                 apply -k manifests"
            )),
            (Seen::Configuration(_, Err(error)), _) => Err(error.to_string()),
            (Seen::Configuration(..), None) => return,
            (Seen::Configuration(_, Ok(registered)), Some(served)) => {
                match self.trust.problem(&served.certificate, now) {
                    None => Ok(()),
                    Some(_) if registered.unfilled && self.may_be_public() => Ok(()),
                    // It was there and may be back in a moment: no reason to have no calls at all.
                    Some(problem) => {
                        let reason = format!("the API server would refuse what is served: {problem}");
                        self.note::<()>(Trouble::Trust, Err(reason));
                        return;
                    }
                }
            }
        };
        self.note(Trouble::Trust, Ok(()));
        self.readiness.set(Part::Registration, state);
    }

    /// Whether whom to trust is not ours to say, and the API server's own system may know: a public
    /// authority, which signs for no Service.
    fn may_be_public(&self) -> bool {
        let ours = self.wanted.as_ref().is_some_and(|(wanted, _)| wanted.authorities.is_some());
        !ours && self.url.is_some()
    }

    /// What there is if there is no trouble.
    fn note<T>(&mut self, about: Trouble, outcome: Result<T, String>) -> Option<T> {
        match outcome {
            Ok(value) => {
                self.troubles.remove(&about);
                Some(value)
            }
            Err(reason) => {
                if self.troubles.get(&about) != Some(&reason) {
                    self.readiness.report_problem(about.part(), reason.clone());
                    self.troubles.insert(about, reason);
                }
                None
            }
        }
    }
}

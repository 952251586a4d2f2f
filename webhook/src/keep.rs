//! Keeps certificate and registration right: at the start, every hour, and whenever the
//! configuration changes.
//!
//! They are one task because they are one fact. A configuration that trusts another authority
//! means that another replica has made a certificate, or that someone has edited it: only the
//! Secret can tell, so it is read before anything is written.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum_server::tls_rustls::RustlsConfig;
use futures::StreamExt;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::api::{Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher::watch_object};
use kube::{Api, Client};
use mcsa_client::contract::webhook::{CONFIGURATION, ENTRY};
use mcsa_runtime::errors;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::info;

use crate::FIELD_MANAGER;
use crate::args::WebhookUrl;
use crate::certificate::Certificate;
use crate::ready::{Part, Readiness};
use crate::register;
use crate::store::Store;

/// How often all is checked though nothing was heard of.
const INTERVAL: Duration = Duration::from_secs(3600);

/// When to try again what failed.
const RETRY: Duration = Duration::from_secs(5);

/// The least time between two checks: someone else who also insists does not make us spin.
const PAUSE: Duration = Duration::from_millis(500);

/// How long the write may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// What is kept right, and with what.
pub struct Keeper {
    /// To the cluster that we work in.
    pub client: Client,
    /// Where the certificate is kept.
    pub store: Store,
    /// By which URL we are called, if not by the Service.
    pub url: Option<WebhookUrl>,
    /// The running server's.
    pub tls: RustlsConfig,
    /// What is told what stands.
    pub readiness: Arc<Readiness>,
}

/// What the watch last said.
enum Seen {
    NotYet,
    Nothing,
    Configuration(Box<MutatingWebhookConfiguration>),
}

/// What came of the try to register.
enum Registered {
    Yes,
    /// Someone, mostly another replica, has changed the configuration: the watch will say how.
    Outdated,
}

impl Keeper {
    /// Keeps certificate and registration right, for ever.
    ///
    /// # Errors
    /// When the watch ends, which it never does by itself.
    pub async fn run(self) -> anyhow::Result<Infallible> {
        let api: Api<MutatingWebhookConfiguration> = Api::all(self.client.clone());
        let mut configurations = pin!(watch_object(api.clone(), CONFIGURATION).default_backoff());
        let mut seen = Seen::NotYet;
        let mut served = String::new();
        let mut due = Instant::now();
        loop {
            tokio::select! {
                event = configurations.next() => match event {
                    Some(Ok(Some(configuration))) => seen = Seen::Configuration(Box::new(configuration)),
                    Some(Ok(None)) => seen = Seen::Nothing,
                    Some(Err(error)) => {
                        let reason = format!("can't watch MutatingWebhookConfiguration {CONFIGURATION}: {}", errors::line(&error));
                        self.readiness.explain(Part::Registration, reason);
                        continue;
                    }
                    None => anyhow::bail!("the watch of MutatingWebhookConfiguration {CONFIGURATION} ended"),
                },
                () = sleep_until(due) => {}
            }
            let right = self.check(&api, &seen, &mut served).await;
            due = Instant::now() + if right { INTERVAL } else { RETRY };
            sleep(PAUSE).await;
        }
    }

    /// Whether there is nothing to try again.
    async fn check(&self, api: &Api<MutatingWebhookConfiguration>, seen: &Seen, served: &mut String) -> bool {
        // Without the Secret we don't know which authority is the right one, and must not write.
        let certificate = match self.store.shared().await {
            Ok(certificate) => certificate,
            Err(error) => {
                self.readiness.set(Part::Certificate, Err(error.to_string()));
                return false;
            }
        };
        // First the registration, then what is served. In between, and until other replicas have
        // followed, the API server may be shown a certificate that it does not trust.
        let registered = match seen {
            Seen::NotYet => true,
            Seen::Nothing => {
                let reason = format!(
                    "MutatingWebhookConfiguration {CONFIGURATION} does not exist: run kubemcsa install, or kubectl \
                     apply -k manifests"
                );
                self.readiness.set(Part::Registration, Err(reason));
                true
            }
            Seen::Configuration(configuration) => {
                match self.register(api, configuration, &certificate).await {
                    Ok(Registered::Yes) => {
                        self.readiness.set(Part::Registration, Ok(()));
                        true
                    }
                    Ok(Registered::Outdated) => false,
                    Err(reason) => {
                        self.readiness.set(Part::Registration, Err(reason));
                        false
                    }
                }
            }
        };
        let swapped = self.serve(&certificate, served);
        self.readiness.set(Part::Certificate, swapped.clone());
        registered && swapped.is_ok()
    }

    async fn register(
        &self,
        api: &Api<MutatingWebhookConfiguration>,
        configuration: &MutatingWebhookConfiguration,
        certificate: &Certificate,
    ) -> Result<Registered, String> {
        let patch = register::patch(configuration, self.url.as_ref(), &certificate.ca);
        let Some(patch) = patch.map_err(|error| error.to_string())? else { return Ok(Registered::Yes) };
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..Default::default() };
        let patch: Patch<()> = Patch::Json(patch);
        let reason = match timeout(DEADLINE, api.patch(CONFIGURATION, &params, &patch)).await {
            Ok(Ok(_)) => {
                let by = self.url.as_ref().map_or("service", WebhookUrl::as_str);
                info!(configuration = CONFIGURATION, webhook = ENTRY, by, "registered");
                return Ok(Registered::Yes);
            }
            Ok(Err(kube::Error::Api(status))) if status.is_conflict() => return Ok(Registered::Outdated),
            Ok(Err(error)) => errors::line(&error),
            Err(_) => "the API server did not answer in time".to_owned(),
        };
        Err(format!("can't patch MutatingWebhookConfiguration {CONFIGURATION}: {reason}"))
    }

    fn serve(&self, certificate: &Certificate, served: &mut String) -> Result<(), String> {
        if *served != certificate.chain {
            let config = certificate.server_config().map_err(|problem| problem.to_string())?;
            self.tls.reload_from_config(config);
            served.clone_from(&certificate.chain);
        }
        Ok(())
    }
}

//! A source: the API server of a link, and the calls to it.

mod breaker;
mod client;
mod explain;
mod probe;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::PostParams;
use kube::{Api, Client};
use mcsa_credentials::credential::Endpoint;
use mcsa_credentials::link::Link;
use mcsa_credentials::url::without_credentials;
use mcsa_runtime::deadline::with_deadline;
use mcsa_runtime::lease::{Fence, LeaseLost};
use tokio::task::JoinSet;

pub use self::breaker::Admission;
use self::breaker::{Breaker, is_source_failure};
use self::client::SourceClient;
pub use self::probe::ProbeResult;
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::model::failure::{Failure, Reason, Retry};
use crate::model::key::ObjectKey;

/// The source of a link. A refreshed link token keeps the source and its connections; any other change of
/// the link creates a new `Source`.
pub struct Source {
    name: String,
    endpoint: Endpoint,
    pinned_uid: Option<String>,
    client: SourceClient,
    clock: Clock,
    metrics: Metrics,
    /// The UID that the cluster reported. The lock is held during the request, so one request serves all.
    known_uid: tokio::sync::Mutex<Option<String>>,
    /// Whether the UID has to be requested again.
    is_identity_stale: AtomicBool,
    breaker: Mutex<Breaker>,
    /// The imports that wait for the source to respond.
    waiting: Mutex<HashSet<ObjectKey>>,
    /// Whether the watch of service accounts works, or is forbidden.
    is_watched: AtomicBool,
    /// Tasks that end with this source.
    tasks: Mutex<JoinSet<()>>,
}

/// The object of the identity request, for messages.
const IDENTITY: &str = "the cluster identity (namespace kube-system)";

/// Whether this is a plausible UID (usually 36 characters): a source may return anything.
pub fn is_uid(uid: &str) -> bool {
    (1..=128).contains(&uid.len()) && uid.bytes().all(|byte| byte.is_ascii_graphic())
}

impl std::fmt::Debug for Source {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Source").field("name", &self.name).field("address", &self.address()).finish()
    }
}

impl Source {
    /// The source of `link`: the `known` one if only the link's token is new. It does not connect yet.
    ///
    /// # Errors
    /// If no client can be built, for example because the CA bundle is invalid.
    pub fn new(
        link: Link,
        known: Option<Arc<Self>>,
        fence: &Fence,
        clock: &Clock,
        metrics: &Metrics,
    ) -> anyhow::Result<Arc<Self>> {
        let Link { cluster_name, cluster_uid, endpoint, config } = link;
        let is_same = |known: &Self| {
            (&known.name, &known.endpoint, &known.pinned_uid) == (&cluster_name, &endpoint, &cluster_uid)
        };
        if let Some(known) = known.filter(|known| is_same(known))
            && known.client.renew(&config)?
        {
            // The new token may be accepted.
            known.breaker().reset();
            return Ok(known);
        }
        Ok(Arc::new(Self {
            name: cluster_name,
            endpoint,
            pinned_uid: cluster_uid,
            client: SourceClient::new(config, fence)?,
            clock: clock.clone(),
            metrics: metrics.clone(),
            known_uid: Default::default(),
            is_identity_stale: AtomicBool::new(false),
            breaker: Mutex::default(),
            waiting: Mutex::default(),
            is_watched: AtomicBool::new(true),
            tasks: Mutex::default(),
        }))
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address and CA bundle for consumers.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The address for messages.
    pub fn address(&self) -> String {
        without_credentials(&self.endpoint.server)
    }

    /// The UID that the link pins.
    pub fn pinned_uid(&self) -> Option<&str> {
        self.pinned_uid.as_deref()
    }

    /// A client with the link's current token.
    pub fn client(&self) -> Client {
        self.client.client()
    }

    /// Number of the link's current token; changes with each token.
    pub fn token_number(&self) -> u64 {
        self.client.token_number()
    }

    /// Whether the last call succeeded, and the watch of service accounts works or is forbidden.
    pub fn is_up(&self) -> bool {
        self.breaker().is_closed() && self.is_watched.load(Ordering::Relaxed)
    }

    /// Records whether the watch of service accounts works; returns whether that changed.
    pub fn set_watched(&self, is_watched: bool) -> bool {
        let is_changed = self.is_watched.swap(is_watched, Ordering::Relaxed) != is_watched;
        if is_watched && is_changed {
            self.breaker().reached();
        }
        is_changed
    }

    /// Adds an import that waits for the source to respond.
    pub fn add_waiting(&self, import: &ObjectKey) {
        self.waiting().insert(import.clone());
    }

    /// Removes a deleted import from those that wait.
    pub fn remove_waiting(&self, import: &ObjectKey) {
        self.waiting().remove(import);
    }

    /// Takes the waiting imports, if the source responds again.
    pub fn take_waiting(&self) -> Vec<ObjectKey> {
        if self.breaker().is_closed() { self.waiting().drain().collect() } else { Vec::new() }
    }

    /// Spawns a task that ends with this source.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).spawn(task);
    }

    /// Admits a reconciliation's calls, unless the circuit breaker is open.
    ///
    /// # Errors
    /// The failure that opened the breaker, and when to retry.
    pub fn admit(&self) -> Result<Admission, Failure> {
        self.breaker().admit(self.clock.now())
    }

    /// Whether a connection is new since the last identity request: another cluster may have responded.
    pub fn identity_may_have_changed(&self) -> bool {
        self.client.has_new_connection()
    }

    /// The UID of the cluster, requested once for each new connection and after [`Source::recheck_identity`].
    ///
    /// # Errors
    /// If the request fails.
    pub async fn cluster_uid(&self, admission: Admission) -> Result<String, Failure> {
        let mut known = match self.known_uid.try_lock() {
            Ok(known) => known,
            Err(_) => {
                let known = self.known_uid.lock().await;
                // The request of the previous holder may have failed.
                self.breaker().recheck(admission)?;
                known
            }
        };
        let is_identity_stale =
            self.is_identity_stale.swap(false, Ordering::Relaxed) | self.client.take_new_connection();
        if let Some(uid) = known.as_ref().filter(|_| !is_identity_stale) {
            return Ok(uid.clone());
        }
        *known = None;
        let namespaces = Api::<Namespace>::all(self.client());
        let namespace = self.call(admission, IDENTITY, namespaces.get("kube-system")).await?;
        let uid = namespace.metadata.uid.unwrap_or_default();
        if !is_uid(&uid) {
            let message = format!("{} returned an invalid UID for {IDENTITY}", self.name);
            let failure = Failure::new(Reason::SourceFailed, message);
            self.record_failure(admission, &failure, Duration::ZERO);
            return Err(failure);
        }
        *known = Some(uid.clone());
        Ok(uid)
    }

    /// Makes the next [`Source::cluster_uid`] request the UID again.
    pub fn recheck_identity(&self) {
        self.is_identity_stale.store(true, Ordering::Relaxed);
    }

    /// Opens the breaker because another cluster answers.
    pub fn reject_identity(&self, admission: Admission, failure: &Failure) {
        self.recheck_identity();
        self.record_failure(admission, failure, Duration::ZERO);
    }

    /// Requests a token for a service account.
    ///
    /// # Errors
    /// If the source does not respond, or refuses.
    pub async fn request_token(
        &self,
        admission: Admission,
        account: &ObjectKey,
        request: &TokenRequest,
    ) -> Result<TokenRequest, Failure> {
        let accounts = Api::<ServiceAccount>::namespaced(self.client(), account.namespace());
        let what = format!("a token for {account}");
        let parameters = PostParams::default();
        let request = accounts.create_token_request(account.name(), &parameters, request);
        let response = self.call(admission, &what, request).await?;
        self.breaker().responded(admission);
        Ok(response)
    }

    async fn call<T>(
        &self,
        admission: Admission,
        what: &str,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, Failure> {
        let (start, token) = (Instant::now(), self.token_number());
        let response = with_deadline(call).await;
        self.metrics.source_responded(&self.name, start.elapsed());
        let failure = match response {
            Ok(response) => return Ok(response),
            // Not the source's fault.
            Err(error) if LeaseLost::caused(&error) => return Err(self.failure(what, &error)),
            Err(error) => self.failure(what, &error),
        };
        if failure.reason == Reason::LinkUnauthorized && self.token_number() != token {
            // The source rejected the previous token.
            return Err(failure);
        }
        let identity_doubts = [Reason::SourceUnreachable, Reason::SourceNotTrusted, Reason::LinkUnauthorized];
        if identity_doubts.contains(&failure.reason) {
            self.recheck_identity();
        }
        let retry_after = match failure.retry {
            Retry::BackOff(retry_after) => retry_after,
            Retry::BreakerOpen(_) | Retry::NotBefore(_) => Duration::ZERO,
        };
        self.record_failure(admission, &failure, retry_after);
        Err(failure)
    }

    fn record_failure(&self, admission: Admission, failure: &Failure, retry_after: Duration) {
        let mut breaker = self.breaker();
        if is_source_failure(failure.reason) {
            breaker.failed(admission, failure, retry_after, self.clock.now(), fastrand::f64());
        } else {
            breaker.responded(admission);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashSet<ObjectKey>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failure(&self, what: &str, error: &kube::Error) -> Failure {
        let (reason, message) = explain::explain(&self.name, &self.address(), what, error);
        let details = match error {
            kube::Error::Api(status) => status.details.as_ref(),
            _ => None,
        };
        let retry_after = details.map_or(0, |details| details.retry_after_seconds.into());
        Failure { retry: Retry::BackOff(Duration::from_secs(retry_after)), ..Failure::new(reason, message) }
    }
}

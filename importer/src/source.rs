//! A source: the API server of a link, and the calls to it.

mod breaker;
mod client;
mod explain;
#[cfg(test)]
pub(crate) mod fake_api_server;
mod probe;
mod session;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::PostParams;
use kube::{Api, Client};
use mcsa_credentials::credential::Endpoint;
use mcsa_credentials::link::Link;
use mcsa_credentials::url::without_credentials;
use mcsa_runtime::deadline::{NoResponse, with_deadline};
use mcsa_runtime::errors;
use mcsa_runtime::lease::{Fence, LeaseLost};
use tokio::task::JoinSet;

pub use self::breaker::Admission;
use self::breaker::{Breaker, is_source_failure};
use self::client::SourceClient;
use self::explain::Call;
pub use self::probe::ProbeResult;
pub use self::session::Session;
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
    /// Sessions that no mint uses.
    sessions: Mutex<Vec<Session>>,
    /// Cluster UIDs of earlier epochs have to be requested again.
    identity_epoch: AtomicU64,
    breaker: Mutex<Breaker>,
    /// Held while the cause of a timeout is examined, so that one request serves all.
    examining: tokio::sync::Mutex<()>,
    /// The imports that wait for the source to respond.
    waiting: Mutex<HashSet<ObjectKey>>,
    /// Whether the watch of service accounts works, or is forbidden.
    is_watched: AtomicBool,
    /// Tasks that end with this source.
    tasks: Mutex<JoinSet<()>>,
}

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
            sessions: Mutex::default(),
            identity_epoch: AtomicU64::new(0),
            breaker: Mutex::default(),
            examining: Default::default(),
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

    /// A session for one mint, to be returned with [`Source::keep_session`].
    ///
    /// # Errors
    /// If no client can be built.
    pub fn session(&self) -> Result<Session, Failure> {
        if let Some(session) = self.sessions().pop() {
            return Ok(session);
        }
        self.client.session().map_err(|error| {
            let problem = errors::line(error.as_ref());
            let message = format!("can't connect to {} with the link's Secret: {problem}", self.name);
            Failure::new(Reason::InvalidLink, message)
        })
    }

    /// Keeps the session and its connection for the next mint.
    pub fn keep_session(&self, session: Session) {
        self.sessions().push(session);
    }

    /// The UID of the cluster that sent the session's last response. It is requested once for each connection, and
    /// after [`Source::recheck_identity`].
    ///
    /// # Errors
    /// If the request fails.
    pub async fn cluster_uid(&self, admission: Admission, session: &mut Session) -> Result<String, Failure> {
        let epoch = self.identity_epoch.load(Ordering::Relaxed);
        if let Some(uid) = session.cluster_uid(epoch) {
            return Ok(uid.to_owned());
        }
        let namespaces = Api::<Namespace>::all(session.start_call());
        let namespace = self.call(admission, Call::Identity, namespaces.get("kube-system")).await?;
        let uid = namespace.metadata.uid.unwrap_or_default();
        if !is_uid(&uid) {
            let failure = self.invalid_uid();
            self.open_breaker(admission, &failure);
            return Err(failure);
        }
        session.record_cluster_uid(uid.clone(), epoch);
        Ok(uid)
    }

    /// Makes [`Source::cluster_uid`] request the UID again, in each session.
    pub fn recheck_identity(&self) {
        self.identity_epoch.fetch_add(1, Ordering::Relaxed);
    }

    /// Opens the breaker because another cluster answers.
    pub fn reject_identity(&self, admission: Admission, failure: &Failure) {
        self.recheck_identity();
        self.open_breaker(admission, failure);
    }

    /// Requests a token for a service account.
    ///
    /// # Errors
    /// If the source does not respond, or refuses.
    pub async fn request_token(
        &self,
        admission: Admission,
        session: &mut Session,
        account: &ObjectKey,
        request: &TokenRequest,
    ) -> Result<TokenRequest, Failure> {
        let accounts = Api::<ServiceAccount>::namespaced(session.start_call(), account.namespace());
        let parameters = PostParams::default();
        let request = accounts.create_token_request(account.name(), &parameters, request);
        let response = self.call(admission, Call::Token(account), request).await?;
        self.breaker().responded(admission);
        Ok(response)
    }

    async fn call<T>(
        &self,
        admission: Admission,
        call: Call<'_>,
        response: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, Failure> {
        let (start, token) = (Instant::now(), self.token_number());
        let response = with_deadline(response).await;
        self.metrics.source_responded(&self.name, start.elapsed());
        let error = match response {
            Ok(response) => return Ok(response),
            Err(error) => error,
        };
        let failure = self.failure(call, &error);
        if LeaseLost::caused(&error) {
            // Not the source's fault.
            return Err(failure);
        }
        if failure.reason == Reason::LinkUnauthorized && self.token_number() != token {
            // The source rejected the previous token.
            return Err(failure);
        }
        match call {
            Call::Token(account) if NoResponse::caused(&error) => {
                Err(self.examine_timeout(admission, account).await)
            }
            Call::Token(_) if !is_source_failure(failure.reason) => {
                self.breaker().responded(admission);
                Err(failure)
            }
            // Everything needs the identity, so any failure to get it concerns all imports.
            Call::Token(_) | Call::Identity => {
                if failure.reason != Reason::Throttled {
                    self.recheck_identity();
                }
                self.open_breaker(admission, &failure);
                Err(failure)
            }
        }
    }

    /// The failure of a token request that timed out. An admission webhook of the source that is slow for some service
    /// accounts must not delay the imports of all others, so the breaker opens only if the source does not respond to
    /// the identity request either.
    async fn examine_timeout(&self, admission: Admission, account: &ObjectKey) -> Failure {
        let _examining = self.examining.lock().await;
        let opened = self.breaker().recheck(admission);
        if let Err(failure) = opened {
            return failure;
        }
        match self.probe_identity().await {
            Ok(_) => {
                self.breaker().responded(admission);
                Failure::token_request_timed_out(&self.name, account)
            }
            Err(failure) => {
                self.recheck_identity();
                self.open_breaker(admission, &failure);
                failure
            }
        }
    }

    fn open_breaker(&self, admission: Admission, failure: &Failure) {
        let retry_after = match failure.retry {
            Retry::BackOff(retry_after) => retry_after,
            Retry::BreakerOpen(_) | Retry::NotBefore(_) => Duration::ZERO,
        };
        self.breaker().failed(admission, failure, retry_after, self.clock.now(), fastrand::f64());
    }

    fn invalid_uid(&self) -> Failure {
        let message = format!("{} returned an invalid UID for {}", self.name, Call::Identity);
        Failure::new(Reason::SourceFailed, message)
    }

    fn sessions(&self) -> MutexGuard<'_, Vec<Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, HashSet<ObjectKey>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failure(&self, call: Call<'_>, error: &kube::Error) -> Failure {
        let (reason, message) = explain::explain(&self.name, &self.address(), call, error);
        let details = match error {
            kube::Error::Api(status) => status.details.as_ref(),
            _ => None,
        };
        let retry_after = details.map_or(0, |details| details.retry_after_seconds.into());
        Failure { retry: Retry::BackOff(Duration::from_secs(retry_after)), ..Failure::new(reason, message) }
    }
}

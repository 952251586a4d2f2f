//! A source: the API server that a link leads to, and the calls that are made there.

mod breaker;
mod client;
mod probe;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::PostParams;
use kube::{Api, Client};
use mcsa_client::system::credential::Endpoint;
use mcsa_client::system::link::Link;
use mcsa_runtime::deadline::in_time;
use mcsa_runtime::errors::{self, CertificateError};
use mcsa_runtime::lease::{Fence, LeaseLost};
use tokio::task::JoinSet;

pub use self::breaker::Admission;
use self::breaker::{Breaker, is_of_the_source};
use self::client::Wire;
pub use self::probe::Answered;
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::model::failure::{Failure, Reason, Retry};
use crate::model::key::ObjectKey;

/// A source, as a link leads to it. A link whose token alone was refreshed leads to the same source,
/// by the same connections; any other change makes another one.
pub struct Source {
    name: String,
    endpoint: Endpoint,
    pinned_uid: Option<String>,
    wire: Wire,
    clock: Clock,
    metrics: Metrics,
    /// The UID that the cluster gave. Who asks for it holds the lock, so that one asks for all.
    known_uid: tokio::sync::Mutex<Option<String>>,
    /// Whether there is a reason to ask again.
    is_doubted: AtomicBool,
    breaker: Mutex<Breaker>,
    /// The imports that wait for it to answer.
    waiting: Mutex<HashSet<ObjectKey>>,
    /// Whether its service accounts are being watched, or may not be.
    is_watched: AtomicBool,
    /// What works for this source alone, and ends with it.
    tasks: Mutex<JoinSet<()>>,
}

/// What is asked for a cluster's identity, as messages say it.
const IDENTITY: &str = "its identity (get namespace kube-system)";

/// What is wrong with a certificate, and what to do about it.
fn not_trusted(certificate: &CertificateError) -> &'static str {
    match certificate {
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for other names; run kubemcsa bootstrap again with one of them as the host of \
             --source-server, or as --tls-server-name"
        }
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid at this time; renew it there, or set the clocks right"
        }
        _ => {
            "its certificate is not signed by the CA that the link has; if that has changed on purpose, run kubemcsa \
             bootstrap again for this source"
        }
    }
}

/// What to do about a refusal: no grant helps where a policy is against it.
fn not_allowed(message: &str) -> &'static str {
    if message.contains("ValidatingAdmissionPolicy") {
        "change the import's spec, or ask the source's owners"
    } else {
        "allow it in the source: kubemcsa allow, or ask its owners"
    }
}

/// Whether this may be a UID: they have 36 characters, and a source may say anything.
pub fn is_uid(uid: &str) -> bool {
    (1..=128).contains(&uid.len()) && uid.bytes().all(|byte| byte.is_ascii_graphic())
}

impl std::fmt::Debug for Source {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Source").field("name", &self.name).field("endpoint", &self.endpoint).finish()
    }
}

impl Source {
    /// The source that `link` leads to: the `known` one, if only the link's token is new. Nothing is
    /// connected yet.
    ///
    /// # Errors
    /// When no client can be made, as from a CA bundle that is none.
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
            && known.wire.renew(&config)?
        {
            // What was refused may be granted now.
            known.breaker().reset();
            return Ok(known);
        }
        Ok(Arc::new(Self {
            name: cluster_name,
            endpoint,
            pinned_uid: cluster_uid,
            wire: Wire::new(config, fence)?,
            clock: clock.clone(),
            metrics: metrics.clone(),
            known_uid: Default::default(),
            is_doubted: AtomicBool::new(false),
            breaker: Mutex::default(),
            waiting: Mutex::default(),
            is_watched: AtomicBool::new(true),
            tasks: Mutex::default(),
        }))
    }

    /// The source's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How consumers reach it.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The UID of the cluster that the link was made for, where it is pinned.
    pub fn pinned_uid(&self) -> Option<&str> {
        self.pinned_uid.as_deref()
    }

    /// A client with the link's present token, for what is no call of an import's.
    pub fn client(&self) -> Client {
        self.wire.client()
    }

    /// Which of the link's tokens is used: another number for each.
    pub fn token_number(&self) -> u64 {
        self.wire.token_number()
    }

    /// Whether it answered when it was last called, and its service accounts are watched if they may be.
    pub fn is_up(&self) -> bool {
        self.breaker().is_closed() && self.is_watched.load(Ordering::Relaxed)
    }

    /// Notes how the watch of its service accounts goes; whether that is news.
    pub fn set_watched(&self, is_watched: bool) -> bool {
        let is_news = self.is_watched.swap(is_watched, Ordering::Relaxed) != is_watched;
        if is_watched && is_news {
            self.breaker().reached();
        }
        is_news
    }

    /// Notes that an import waits for the source to answer.
    pub fn wait(&self, import: &ObjectKey) {
        self.waiting().insert(import.clone());
    }

    /// Notes that an import waits no more, as it is gone.
    pub fn wait_no_more(&self, import: &ObjectKey) {
        self.waiting().remove(import);
    }

    /// The imports that need not wait any longer, said once.
    pub fn woken(&self) -> Vec<ObjectKey> {
        if self.breaker().is_closed() { self.waiting().drain().collect() } else { Vec::new() }
    }

    /// Runs a task for as long as there is this source.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).spawn(task);
    }

    /// Lets a call of an import's through, if the source is not to be left alone for now.
    ///
    /// # Errors
    /// What is known of the source, and until when it rests.
    pub fn admit(&self) -> Result<Admission, Failure> {
        self.breaker().admit(self.clock.now())
    }

    /// Whether another cluster may have come to its address since it was last asked for its UID.
    pub fn is_doubtful(&self) -> bool {
        self.wire.has_new_connection()
    }

    /// The UID of the cluster that answers. It is asked once for each connection, and after each doubt.
    ///
    /// # Errors
    /// When it does not say.
    pub async fn cluster_uid(&self, admission: Admission) -> Result<String, Failure> {
        let mut known = match self.known_uid.try_lock() {
            Ok(known) => known,
            Err(_) => {
                let known = self.known_uid.lock().await;
                // Who asked may have found out that nobody answers.
                self.breaker().check(admission)?;
                known
            }
        };
        let is_doubted = self.is_doubted.swap(false, Ordering::Relaxed) | self.wire.take_new_connection();
        if let Some(uid) = known.as_ref().filter(|_| !is_doubted) {
            return Ok(uid.clone());
        }
        *known = None;
        let what = IDENTITY;
        let namespaces = Api::<Namespace>::all(self.client());
        let namespace = self.answer(admission, what, namespaces.get("kube-system")).await?;
        let uid = namespace.metadata.uid.unwrap_or_default();
        if !is_uid(&uid) {
            let message = format!("{} answers for {what} with what is no UID", self.name);
            let failure = Failure::new(Reason::SourceFailed, message);
            self.failed(admission, &failure, Duration::ZERO);
            return Err(failure);
        }
        *known = Some(uid.clone());
        Ok(uid)
    }

    /// Has the next [`Source::cluster_uid`] ask the cluster.
    pub fn doubt(&self) {
        self.is_doubted.store(true, Ordering::Relaxed);
    }

    /// Another cluster answers: nothing is asked of it for a while.
    pub fn mistrust(&self, admission: Admission, failure: &Failure) {
        self.doubt();
        self.failed(admission, failure, Duration::ZERO);
    }

    /// Mints a token of a service account.
    ///
    /// # Errors
    /// When the source does not answer, or refuses.
    pub async fn request_token(
        &self,
        admission: Admission,
        account: &ObjectKey,
        request: &TokenRequest,
    ) -> Result<TokenRequest, Failure> {
        let accounts = Api::<ServiceAccount>::namespaced(self.client(), account.namespace());
        let what = format!("a token of {account}");
        let parameters = PostParams::default();
        let request = accounts.create_token_request(account.name(), &parameters, request);
        let answer = self.answer(admission, &what, request).await?;
        self.breaker().answered(admission);
        Ok(answer)
    }

    async fn answer<T>(
        &self,
        admission: Admission,
        what: &str,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, Failure> {
        let (start, token) = (Instant::now(), self.token_number());
        let answer = in_time(call).await;
        self.metrics.source_answered(&self.name, start.elapsed());
        let failure = match answer {
            Ok(answer) => return Ok(answer),
            // Not the source's doing.
            Err(error) if LeaseLost::caused(&error) => return Err(self.failure(what, &error)),
            Err(error) => self.failure(what, &error),
        };
        if failure.reason == Reason::LinkUnauthorized && self.token_number() != token {
            // It was the token of before that was refused.
            return Err(failure);
        }
        let doubts = [Reason::SourceUnreachable, Reason::SourceNotTrusted, Reason::LinkUnauthorized];
        if doubts.contains(&failure.reason) {
            self.doubt();
        }
        let wished = match failure.retry {
            Retry::BackOff(wished) => wished,
            Retry::Rest(_) | Retry::NotBefore(_) => Duration::ZERO,
        };
        self.failed(admission, &failure, wished);
        Err(failure)
    }

    fn failed(&self, admission: Admission, failure: &Failure, wished: Duration) {
        let mut breaker = self.breaker();
        if is_of_the_source(failure.reason) {
            breaker.failed(admission, failure, wished, self.clock.now(), fastrand::f64());
        } else {
            breaker.answered(admission);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashSet<ObjectKey>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failure(&self, what: &str, error: &kube::Error) -> Failure {
        let Self { name, endpoint, .. } = self;
        let kube::Error::Api(status) = error else {
            let (problem, server) = (errors::line(error), &endpoint.server);
            let (reason, mend) = match errors::certificate(error) {
                None => (Reason::SourceUnreachable, "check that it is up and that the importer can reach it"),
                Some(certificate) => (Reason::SourceNotTrusted, not_trusted(certificate)),
            };
            let message = format!("asking {name} at {server} for {what}: {problem}; {mend}");
            return Failure::new(reason, message);
        };
        let kind = status.details.as_ref().map_or("", |details| details.kind.as_str());
        let (reason, mend) = match (status.code, kind) {
            (401, _) => (Reason::LinkUnauthorized, "run kubemcsa bootstrap again for this source"),
            (403, _) => (Reason::Forbidden, not_allowed(&status.message)),
            (404, "secrets") => {
                (Reason::BoundSecretNotFound, "create it in the source, or change spec.boundSecret")
            }
            (404, _) => (
                Reason::ServiceAccountNotFound,
                "create the service account in the source, or change spec.namespace and spec.name",
            ),
            (400 | 422, _) => (Reason::InvalidSpec, "change the import's spec"),
            (429, _) => (Reason::Throttled, "it is asked again later"),
            (502..=504, _) => (
                Reason::SourceUnreachable,
                "check that it is up, and what stands before it; it is asked again later",
            ),
            _ => (Reason::SourceFailed, "it is asked again later"),
        };
        let said = status.details.as_ref().map_or(0, |details| details.retry_after_seconds.into());
        Failure {
            retry: Retry::BackOff(Duration::from_secs(said)),
            ..Failure::new(reason, format!("{name} refuses {what}: {}; {mend}", status.message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::by_its_rights("User \"c1\" cannot create resource \"serviceaccounts/token\"", "kubemcsa allow")]
    #[case::by_the_policy(
        "serviceaccounts \"a\" is forbidden: ValidatingAdmissionPolicy 'x' with binding 'x' denied request: no",
        "change the import's spec"
    )]
    fn who_is_refused_is_told_what_helps(#[case] message: &str, #[case] expected: &str) {
        assert!(not_allowed(message).contains(expected));
    }
}

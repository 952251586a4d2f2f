//! The service that sends the requests of a client.

use std::task::{Context, Poll};

use futures::future::BoxFuture;
use futures::{FutureExt, TryFutureExt};
use http::header::UPGRADE;
use http::{Method, Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use kube::client::retry::RetryPolicy;
use tokio::sync::watch;
use tokio::time::Instant;
use tower::retry::RetryLayer;
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};

use super::config::LiveConfig;
use super::current::{Authenticated, Current};
use super::digest::Endpoint;
use super::error_message::{error_message, find_cause, without_credential};
use super::health::{Evidence, HealthState};
use super::response_body::{ResponseBody, Unresponsive};

/// What a transport is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// A client of a single cluster. Retries after the status codes 429, 503 and 504 if the config enables it, as kube
    /// does. This can take minutes.
    Client,
    /// The client of a member: one cluster must not block the program.
    Member,
    /// Health checks. They must not make a credential plugin run again and again.
    HealthChecks,
}

/// How to reach a cluster: a [`LiveConfig`] or a [`Client`].
#[derive(Clone, Debug)]
pub struct ClusterAccess(Kind);

#[derive(Clone)]
enum Kind {
    Live(LiveConfig),
    Client(Client),
}

/// The credential of a [`ClusterAccess`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Credential {
    Available,
    /// A credential plugin runs.
    Pending,
    /// There is none: the problem.
    Failed(String),
}

/// A service for [`Client::new`].
#[derive(Clone)]
pub(crate) struct Transport {
    access: ClusterAccess,
    purpose: Purpose,
    /// The cluster's health. `None`: it is not checked.
    health: Option<HealthState>,
}

impl Transport {
    /// For a client of a single cluster.
    pub(crate) fn new(access: impl Into<ClusterAccess>) -> Self {
        Self { access: access.into(), purpose: Purpose::Client, health: None }
    }

    /// For the client of a member.
    pub(crate) fn for_member(access: ClusterAccess, health: HealthState) -> Self {
        Self { access, purpose: Purpose::Member, health: Some(health) }
    }

    pub(crate) fn into_client(self) -> Client {
        let namespace = match &self.access.0 {
            Kind::Live(live) => live.default_namespace(),
            Kind::Client(client) => client.default_namespace().to_owned(),
        };
        Client::new(self, namespace)
    }

    async fn send(self, request: Request<Body>) -> Result<Response<ResponseBody>, BoxError> {
        let Some(health) = self.health.clone() else {
            let response = self.send_unchecked(request).await.map_err(without_credential)?;
            return Ok(response.map(ResponseBody::unchecked));
        };
        let is_proxied = is_proxied(request.uri().path());
        tokio::select! {
            biased;
            problem = health.clone().becomes_unresponsive() => Err(Unresponsive(problem).into()),
            result = self.send_unchecked(request) => {
                health.record(evidence(&result, is_proxied));
                let response = result.map_err(without_credential)?;
                Ok(response.map(|body| ResponseBody::new(body, health)))
            }
        }
    }

    async fn send_unchecked(&self, request: Request<Body>) -> kube::Result<Response<Body>> {
        match &self.access.0 {
            Kind::Live(live) => send_and_reload(live, request, self.purpose).await,
            Kind::Client(client) => client.send(request).await,
        }
    }
}

/// Sends a request. If it fails and the config has changed since, sends it once more, unless the first one may have had
/// an effect.
async fn send_and_reload(
    live: &LiveConfig,
    request: Request<Body>,
    purpose: Purpose,
) -> kube::Result<Response<Body>> {
    let used = live.fresh();
    // A read of the config that begins after this time is newer than the request.
    let sent = Instant::now();
    let (copy, effect) = (copy(&request), Effect::of(&request));
    let client = used.client().await.map_err(kube::Error::Service)?;
    let result = send(&used, &client, request, purpose).await;
    let is_unauthorized = match &result {
        Ok(response) => response.status() == StatusCode::UNAUTHORIZED && effect != Effect::Unknown,
        Err(_) => false,
    };
    let is_unsent = match &result {
        Ok(_) => false,
        Err(error) => effect == Effect::None || was_never_sent(error),
    };
    if is_unauthorized && purpose != Purpose::HealthChecks {
        used.refused(&client);
    }
    let Some(copy) = copy.filter(|_| is_unauthorized || is_unsent) else { return result };
    let newer = live.newer(&used, sent).await;
    match newer.client().await {
        Ok(next) if newer.number != used.number || !next.is_same(&client) => {
            send(&newer, &next, copy, purpose).await
        }
        _ => result,
    }
}

async fn send(
    current: &Current,
    client: &Authenticated,
    request: Request<Body>,
    purpose: Purpose,
) -> kube::Result<Response<Body>> {
    let client = client.client.clone();
    match purpose == Purpose::Client && current.config.default_retry {
        true => send_with_retries(client, request).await,
        false => client.send(request).await,
    }
}

/// Sends a request with kube's own retries.
fn send_with_retries(
    client: Client,
    request: Request<Body>,
) -> BoxFuture<'static, kube::Result<Response<Body>>> {
    let once = service_fn(move |request| {
        let client = client.clone();
        async move { client.send(request).await.map_err(BoxError::from) }
    });
    let result = RetryLayer::new(RetryPolicy::server_retry()).layer(once).oneshot(request);
    let unboxed = |error: BoxError| error.downcast().map_or_else(kube::Error::Service, |error| *error);
    result.map_err(unboxed).boxed()
}

impl LiveConfig {
    /// A client that keeps working when the config changes. Like every kube client, it must be built within a tokio
    /// runtime. Each call spawns a task, so keep the client.
    pub fn client(&self) -> Client {
        Transport::new(self.clone()).into_client()
    }
}

impl From<LiveConfig> for Client {
    fn from(live: LiveConfig) -> Self {
        live.client()
    }
}

impl From<LiveConfig> for ClusterAccess {
    fn from(live: LiveConfig) -> Self {
        Self(Kind::Live(live))
    }
}

impl From<Client> for ClusterAccess {
    fn from(client: Client) -> Self {
        Self(Kind::Client(client))
    }
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Live(live) => live.fmt(formatter),
            Self::Client(_) => formatter.write_str("Client"),
        }
    }
}

impl ClusterAccess {
    /// Sends further requests over new connections: a firewall or load balancer may have dropped the old ones without
    /// closing them. Opens none if that was done since `time`, for another config that shares them. Has no effect on a
    /// [`Client`] of the caller.
    pub(crate) fn reconnect(&self, time: Instant) {
        if let Kind::Live(live) = &self.0 {
            live.reconnect(time);
        }
    }

    /// Changes when the address, certificate authority or default namespace changes. `None`: they never change.
    pub(crate) fn watch_endpoint(&self) -> Option<watch::Receiver<Endpoint>> {
        match &self.0 {
            Kind::Live(live) => Some(live.watch_endpoint()),
            Kind::Client(_) => None,
        }
    }

    /// The same for all members of a cluster. `None`: unknown.
    pub(crate) fn cluster(&self) -> Option<u64> {
        self.watch_endpoint().map(|endpoint| endpoint.borrow().cluster)
    }

    /// Rereads the config if it is stale.
    pub(crate) fn refresh(&self) {
        if let Kind::Live(live) = &self.0 {
            live.fresh();
        }
    }

    /// Whether there is a credential, without waiting for one.
    pub(crate) fn credential(&self) -> Credential {
        let Kind::Live(live) = &self.0 else { return Credential::Available };
        match live.current().client().now_or_never() {
            Some(Ok(_)) => Credential::Available,
            Some(Err(error)) => Credential::Failed(error_message(&kube::Error::Service(error))),
            None => Credential::Pending,
        }
    }

    /// Sends a health check, without retries.
    pub(crate) async fn check(&self, request: Request<Body>) -> kube::Result<Response<Body>> {
        let transport = Transport { access: self.clone(), purpose: Purpose::HealthChecks, health: None };
        transport.send_unchecked(request).await.map_err(without_credential)
    }
}

impl Service<Request<Body>> for Transport {
    type Response = Response<ResponseBody>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.clone().send(request).boxed()
    }
}

/// A copy of the request. `None` if its body is a stream.
fn copy(request: &Request<Body>) -> Option<Request<Body>> {
    let mut copy = Request::new(request.body().try_clone()?);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    Some(copy)
}

/// What a request that failed may have done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// Nothing: it only reads.
    None,
    /// If the API server refused the credential (401), nothing. Otherwise perhaps what it asked for: a write, or an
    /// upgrade, such as `kubectl exec`, which is a GET.
    UnlessUnauthorized,
    /// Perhaps anything, whatever the response: the API server passes the request on to a server of somebody else, whose
    /// 401 looks like its own.
    Unknown,
}

impl Effect {
    fn of<B>(request: &Request<B>) -> Self {
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        match () {
            () if is_proxied(request.uri().path()) => Self::Unknown,
            () if is_read && !request.headers().contains_key(UPGRADE) => Self::None,
            () => Self::UnlessUnauthorized,
        }
    }
}

/// Whether the path is behind the proxy subresource of a node, pod or service
/// (<https://kubernetes.io/docs/tasks/access-application-cluster/access-cluster-services/>).
fn is_proxied(path: &str) -> bool {
    // The API server's own URL may have a path before `/api`.
    let Some((_, path)) = path.split_once("/api/v1/") else { return false };
    let segments: Vec<_> = path.split('/').collect();
    match segments[..] {
        ["nodes", _, "proxy", ..] | ["namespaces", _, "pods" | "services", _, "proxy", ..] => true,
        // The old form.
        ["proxy", ..] => true,
        _ => false,
    }
}

/// Whether the connection failed, so that the cluster can't have received the request.
fn was_never_sent(error: &kube::Error) -> bool {
    find_cause::<hyper_util::client::legacy::Error>(error).is_some_and(|error| error.is_connect())
}

fn evidence(result: &kube::Result<Response<Body>>, is_proxied: bool) -> Evidence {
    match result {
        Ok(response) if response.status() == StatusCode::UNAUTHORIZED && !is_proxied => {
            Evidence::Unauthorized
        }
        // The response may come from a server behind the API server.
        Ok(response) if response.status().is_server_error() => Evidence::Inconclusive,
        Ok(_) => Evidence::Responded,
        Err(_) => Evidence::Inconclusive,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::read("GET", "/api/v1/namespaces/n/pods/p/log", None, Effect::None)]
    #[case::pod_named_proxy("GET", "/api/v1/namespaces/n/pods/proxy", None, Effect::None)]
    #[case::configmap_named_proxy("GET", "/api/v1/namespaces/n/configmaps/proxy", None, Effect::None)]
    #[case::write("POST", "/api/v1/namespaces/n/pods", None, Effect::UnlessUnauthorized)]
    #[case::exec("GET", "/api/v1/namespaces/n/pods/p/exec", Some("SPDY/3.1"), Effect::UnlessUnauthorized)]
    #[case::service("GET", "/api/v1/namespaces/n/services/https:s:443/proxy/pay", None, Effect::Unknown)]
    #[case::service_root("POST", "/api/v1/namespaces/n/services/s/proxy", None, Effect::Unknown)]
    #[case::pod("POST", "/api/v1/namespaces/n/pods/p:80/proxy/", None, Effect::Unknown)]
    #[case::node("GET", "/api/v1/nodes/n/proxy/run", None, Effect::Unknown)]
    #[case::behind_a_path("GET", "/k8s/clusters/c/api/v1/nodes/n/proxy/run", None, Effect::Unknown)]
    #[case::old_form("GET", "/api/v1/proxy/namespaces/n/services/s/", None, Effect::Unknown)]
    #[case::upgrade_of_a_service(
        "GET",
        "/api/v1/namespaces/n/services/s/proxy/",
        Some("websocket"),
        Effect::Unknown
    )]
    fn effects(
        #[case] method: &str,
        #[case] path: &str,
        #[case] upgrade: Option<&str>,
        #[case] expected: Effect,
    ) {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(protocol) = upgrade {
            request = request.header(UPGRADE, protocol);
        }
        assert_eq!(Effect::of(&request.body(()).unwrap()), expected);
    }
}

//! The service that sends the requests of a client.

use std::task::{Context, Poll};

use futures::future::BoxFuture;
use futures::{FutureExt, TryFutureExt};
use http::{Method, Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use kube::client::retry::RetryPolicy;
use tokio::sync::watch;
use tokio::time::Instant;
use tower::retry::RetryLayer;
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};

use super::config::{LiveConfig, ReloadReason};
use super::current::Current;
use super::error_message::{find_cause, without_credential};
use super::health::{Evidence, HealthState};
use super::response_body::{ResponseBody, Unresponsive};

/// Whether to retry after the status codes 429, 503 and 504.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Retry {
    /// If the config enables it, as kube does. This can take minutes.
    AsConfigured,
    Never,
}

/// How to reach a cluster: a [`LiveConfig`] or a [`Client`].
#[derive(Clone, Debug)]
pub struct ClusterAccess(Kind);

#[derive(Clone)]
enum Kind {
    Live(LiveConfig),
    Client(Client),
}

/// A service for [`Client::new`].
#[derive(Clone)]
pub(crate) struct Transport {
    access: ClusterAccess,
    retry: Retry,
    /// The cluster's health. `None`: it is not checked.
    health: Option<HealthState>,
}

impl Transport {
    /// For a client of a single cluster.
    pub(crate) fn new(access: impl Into<ClusterAccess>) -> Self {
        Self { access: access.into(), retry: Retry::AsConfigured, health: None }
    }

    /// For the client of a member: one cluster must not block the program.
    pub(crate) fn for_member(access: ClusterAccess, health: HealthState) -> Self {
        Self { access, retry: Retry::Never, health: Some(health) }
    }

    /// For health checks.
    pub(crate) fn for_health_checks(access: ClusterAccess) -> Self {
        Self { access, retry: Retry::Never, health: None }
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
        tokio::select! {
            biased;
            problem = health.clone().becomes_unresponsive() => Err(Unresponsive(problem).into()),
            result = self.send_unchecked(request) => {
                health.record(evidence(&result));
                let response = result.map_err(without_credential)?;
                Ok(response.map(|body| ResponseBody::new(body, health)))
            }
        }
    }

    async fn send_unchecked(&self, request: Request<Body>) -> kube::Result<Response<Body>> {
        match &self.access.0 {
            Kind::Live(live) => send_and_reload(live, request, self.retry).await,
            Kind::Client(client) => client.send(request).await,
        }
    }
}

/// Sends a request. If it fails and the config has changed since, sends it once more.
async fn send_and_reload(
    live: &LiveConfig,
    request: Request<Body>,
    retry: Retry,
) -> kube::Result<Response<Body>> {
    let used = live.fresh();
    // A read of the config that ends after this time is newer than the request.
    let sent = Instant::now();
    let (copy, is_safe) = (copy(&request), is_safe(request.method()));
    let result = send(&used, request, retry).await;
    let reason = match &result {
        Ok(response) if response.status() == StatusCode::UNAUTHORIZED => Some(ReloadReason::Unauthorized),
        Err(error) if is_safe || was_never_sent(error) => Some(ReloadReason::Unreachable),
        _ => None,
    };
    let (Some(copy), Some(reason)) = (copy, reason) else { return result };
    match live.newer(&used, sent, reason).await {
        Some(newer) => send(&newer, copy, retry).await,
        None => result,
    }
}

async fn send(current: &Current, request: Request<Body>, retry: Retry) -> kube::Result<Response<Body>> {
    let client = current.client().clone();
    match retry == Retry::AsConfigured && current.config.default_retry {
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
    /// closing them. Has no effect on a [`Client`] of the caller.
    pub(crate) async fn reconnect(&self) {
        if let Kind::Live(live) = &self.0 {
            live.reconnect().await;
        }
    }

    /// Changes when the address, certificate authority or default namespace changes. `None`: they never change.
    pub(crate) fn watch_endpoint(&self) -> Option<watch::Receiver<u64>> {
        match &self.0 {
            Kind::Live(live) => Some(live.watch_endpoint()),
            Kind::Client(_) => None,
        }
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

fn is_safe(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

/// Whether the connection failed, so that the cluster can't have received the request.
fn was_never_sent(error: &kube::Error) -> bool {
    find_cause::<hyper_util::client::legacy::Error>(error).is_some_and(|error| error.is_connect())
}

fn evidence(result: &kube::Result<Response<Body>>) -> Evidence {
    match result {
        Ok(response) if response.status() == StatusCode::UNAUTHORIZED => Evidence::Unauthorized,
        // The response may come from a server behind the API server.
        Ok(response) if response.status().is_server_error() => Evidence::Inconclusive,
        Ok(_) => Evidence::Responded,
        Err(_) => Evidence::Inconclusive,
    }
}

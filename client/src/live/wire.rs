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

use super::answer::{Answer, Away};
use super::config::{LiveConfig, Why};
use super::current::Current;
use super::health::{Pulse, Verdict};
use super::said::{find, without_credential};

/// Whether to retry after 429, 503 and 504.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Retry {
    /// As kube does, which can take minutes, if the config says so.
    AsConfigured,
    Never,
}

/// How to reach a cluster: a [`LiveConfig`] or a [`Client`].
#[derive(Clone, Debug)]
pub struct Access(Kind);

#[derive(Clone)]
enum Kind {
    Live(LiveConfig),
    Client(Client),
}

/// A service for [`Client::new`].
#[derive(Clone)]
pub(crate) struct Wire {
    access: Access,
    retry: Retry,
    /// The cluster's health, if it is checked.
    pulse: Option<Pulse>,
}

impl Wire {
    /// For a client of a single cluster.
    pub(crate) fn new(access: impl Into<Access>) -> Self {
        Self { access: access.into(), retry: Retry::AsConfigured, pulse: None }
    }

    /// For the client of a member: it must not be blocked by one cluster.
    pub(crate) fn of_member(access: Access, pulse: Pulse) -> Self {
        Self { access, retry: Retry::Never, pulse: Some(pulse) }
    }

    /// For health checks.
    pub(crate) fn asking(access: Access) -> Self {
        Self { access, retry: Retry::Never, pulse: None }
    }

    pub(crate) fn into_client(self) -> Client {
        let namespace = match &self.access.0 {
            Kind::Live(live) => live.default_namespace(),
            Kind::Client(client) => client.default_namespace().to_owned(),
        };
        Client::new(self, namespace)
    }

    async fn send(self, request: Request<Body>) -> Result<Response<Answer>, BoxError> {
        let Some(pulse) = self.pulse.clone() else {
            let answer = self.ask(request).await.map_err(without_credential)?;
            return Ok(answer.map(Answer::plain));
        };
        tokio::select! {
            biased;
            problem = pulse.clone().silent() => Err(Away(problem).into()),
            answer = self.ask(request) => {
                pulse.judge(verdict(&answer));
                let answer = answer.map_err(without_credential)?;
                Ok(answer.map(|body| Answer::of(body, pulse)))
            }
        }
    }

    async fn ask(&self, request: Request<Body>) -> kube::Result<Response<Body>> {
        match &self.access.0 {
            Kind::Live(live) => try_twice(live, request, self.retry).await,
            Kind::Client(client) => client.send(request).await,
        }
    }
}

/// Sends a request, and once more if it failed and the config changed since.
async fn try_twice(live: &LiveConfig, request: Request<Body>, retry: Retry) -> kube::Result<Response<Body>> {
    // A read that ends later is newer than this request.
    let used = live.fresh();
    let sent = Instant::now();
    let (again, is_safe) = (copy(&request), is_safe(request.method()));
    let answer = send(&used, request, retry).await;
    let why = match &answer {
        Ok(response) if response.status() == StatusCode::UNAUTHORIZED => Some(Why::ItWasRefused),
        Err(error) if is_safe || was_never_sent(error) => Some(Why::NobodyWasThere),
        _ => None,
    };
    let (Some(again), Some(why)) = (again, why) else { return answer };
    match live.newer(&used, sent, why).await {
        Some(newer) => send(&newer, again, retry).await,
        None => answer,
    }
}

async fn send(current: &Current, request: Request<Body>, retry: Retry) -> kube::Result<Response<Body>> {
    let client = current.client().clone();
    match retry == Retry::AsConfigured && current.config.default_retry {
        true => patiently(client, request).await,
        false => client.send(request).await,
    }
}

/// Sends a request with kube's own retries.
fn patiently(client: Client, request: Request<Body>) -> BoxFuture<'static, kube::Result<Response<Body>>> {
    let once = service_fn(move |request| {
        let client = client.clone();
        async move { client.send(request).await.map_err(BoxError::from) }
    });
    let answer = RetryLayer::new(RetryPolicy::server_retry()).layer(once).oneshot(request);
    let unboxed = |error: BoxError| error.downcast().map_or_else(kube::Error::Service, |error| *error);
    answer.map_err(unboxed).boxed()
}

impl LiveConfig {
    /// A client that keeps working when the config changes. Like every kube client, it must be built within a tokio
    /// runtime. Each call spawns a task, so keep the client.
    pub fn client(&self) -> Client {
        Wire::new(self.clone()).into_client()
    }
}

impl From<LiveConfig> for Client {
    fn from(live: LiveConfig) -> Self {
        live.client()
    }
}

impl From<LiveConfig> for Access {
    fn from(live: LiveConfig) -> Self {
        Self(Kind::Live(live))
    }
}

impl From<Client> for Access {
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

impl Access {
    /// Sends further requests over new connections: something on the way may have dropped the old ones without closing
    /// them. Has no effect on a [`Client`] of the caller.
    pub(crate) async fn reconnect(&self) {
        if let Kind::Live(live) = &self.0 {
            live.reconnect().await;
        }
    }

    /// Changes when the address, certificate authority or default namespace changes. `None`: it never does.
    pub(crate) fn watch_way(&self) -> Option<watch::Receiver<u64>> {
        match &self.0 {
            Kind::Live(live) => Some(live.watch_way()),
            Kind::Client(_) => None,
        }
    }
}

impl Service<Request<Body>> for Wire {
    type Response = Response<Answer>;
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

/// Whether no connection was made, so that the cluster can't have executed the request.
fn was_never_sent(error: &kube::Error) -> bool {
    find::<hyper_util::client::legacy::Error>(error).is_some_and(|error| error.is_connect())
}

fn verdict(answer: &kube::Result<Response<Body>>) -> Verdict {
    match answer {
        Ok(response) if response.status() == StatusCode::UNAUTHORIZED => Verdict::Unauthorized,
        // It may come from something behind the API server.
        Ok(response) if response.status().is_server_error() => Verdict::Doubtful,
        Ok(_) => Verdict::Answered,
        Err(_) => Verdict::Doubtful,
    }
}

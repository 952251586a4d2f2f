//! What a client of a live config sends its requests by.

use std::error::Error as StdError;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Method, Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use tokio::sync::watch;
use tokio::time::Instant;
use tower::{BoxError, Service};

use super::current::Retry;
use super::{LiveConfig, Pulse, Verdict};

/// The way into a cluster: a [`LiveConfig`], or a client of the caller's own making.
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
    /// Where the cluster's health is noted, and looked at, if somebody asks the cluster how it is.
    pulse: Option<Pulse>,
}

/// A cluster is known not to answer, and nobody waits for it.
#[derive(Debug, thiserror::Error)]
#[error("the cluster is away: {0}")]
struct Away(Arc<str>);

impl Wire {
    pub(crate) fn new(access: impl Into<Access>, pulse: Option<Pulse>) -> Self {
        Self { access: access.into(), pulse }
    }

    pub(crate) fn into_client(self) -> Client {
        let namespace = match &self.access.0 {
            Kind::Live(live) => live.default_namespace(),
            Kind::Client(client) => client.default_namespace().to_owned(),
        };
        Client::new(self, namespace)
    }

    async fn send(self, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        let Some(pulse) = self.pulse.clone() else {
            return Ok(self.ask(request, Retry::AsConfigured).await?);
        };
        tokio::select! {
            biased;
            problem = pulse.silent() => Err(Away(problem).into()),
            answer = self.ask(request, Retry::Never) => {
                pulse.judge(verdict(&answer));
                Ok(answer?)
            }
        }
    }

    async fn ask(&self, request: Request<Body>, retry: Retry) -> kube::Result<Response<Body>> {
        match &self.access.0 {
            Kind::Live(live) => try_twice(live, request, retry).await,
            Kind::Client(client) => client.send(request).await,
        }
    }
}

/// Tries it, and again with what is there now if that is something else.
async fn try_twice(live: &LiveConfig, request: Request<Body>, retry: Retry) -> kube::Result<Response<Body>> {
    let (sent, used) = (Instant::now(), live.fresh());
    let (again, is_safe) = (copy(&request), is_safe(request.method()));
    let answer = used.client(retry).send(request).await;
    let is_worth_it = match &answer {
        Ok(response) => response.status() == StatusCode::UNAUTHORIZED,
        Err(error) => is_safe || was_never_sent(error),
    };
    match again {
        Some(again) if is_worth_it => match live.newer(&used, sent).await {
            Some(newer) => newer.client(retry).send(again).await,
            None => answer,
        },
        _ => answer,
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
    /// Changes whenever it leads elsewhere, if it ever does.
    pub(crate) fn watch_way(&self) -> Option<watch::Receiver<u64>> {
        match &self.0 {
            Kind::Live(live) => Some(live.watch_way()),
            Kind::Client(_) => None,
        }
    }
}

impl Service<Request<Body>> for Wire {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.clone().send(request).boxed()
    }
}

/// The same request once more; none where its body is a stream.
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

/// Whether no connection was made, so that nobody can have done what was asked for.
fn was_never_sent(error: &kube::Error) -> bool {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
            return error.is_connect();
        }
        cause = error.source();
    }
    false
}

fn verdict(answer: &kube::Result<Response<Body>>) -> Verdict {
    match answer {
        Ok(response) if response.status() == StatusCode::UNAUTHORIZED => Verdict::Unauthorized,
        // One of these can be about what stands behind the API server.
        Ok(response) if response.status().is_server_error() => Verdict::Doubtful,
        Ok(_) => Verdict::Answered,
        Err(_) => Verdict::Doubtful,
    }
}

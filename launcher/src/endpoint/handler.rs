//! One request: authenticate, authorize, respond.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::{ALLOW, CONNECTION, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode, Version};
use hyper::body::Bytes;
use hyper::upgrade::OnUpgrade;
use jiff::Timestamp;
use kube::Client;
use mcsa_runtime::errors;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::authentication::{TokenReviews, bearer_token};
use super::authorization::{Access, AccessReviews};
use super::body::{self, Body};
use super::counters::Counters;
use super::lookup::{Lookup, LookupFn, UsageFn};
use super::refusal::{Form, Refusal};
use super::reviewer::Reviewer;
use super::route::{PodRoute, Route};
use super::tunnel::{self, Tunnel, TunnelSlots};
use super::user::{CertificateUser, User};
use super::{logs, remote};
use crate::remote_pod::RemotePod;

/// How long exec, attach and port-forward wait for a source that is away.
const PATIENCE: Duration = Duration::from_secs(60);

/// Least time between log lines about failed reviews: anybody can cause one.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// An empty list: callers that need the pods of a node read them from the API server.
const NO_PODS: &str = r#"{"kind":"PodList","apiVersion":"v1","metadata":{},"items":[]}"#;

/// Serves requests.
pub(super) struct Handler {
    tokens: TokenReviews,
    access: AccessReviews,
    lookup: Arc<LookupFn>,
    usage: Arc<UsageFn>,
    counters: Counters,
    tunnels: TunnelSlots,
    /// When a failed review was last logged.
    last_logged: Mutex<Option<Instant>>,
}

/// A response, and what the connection does after it.
pub(super) struct Answer {
    pub(super) response: Response<Body>,
    pub(super) tunnel: Option<Tunnel>,
    /// Whether the caller may leave it unread for as long as it likes: a log, or a tunnel.
    pub(super) may_pause: bool,
}

impl From<Response<Body>> for Answer {
    fn from(response: Response<Body>) -> Self {
        Self { response, tunnel: None, may_pause: false }
    }
}

impl Handler {
    pub(super) fn new(
        client: &Client,
        lookup: Arc<LookupFn>,
        usage: Arc<UsageFn>,
        counters: Counters,
        tunnels: TunnelSlots,
    ) -> Self {
        let reviewer = Reviewer::new(client.clone());
        let (tokens, access) = (TokenReviews::new(reviewer.clone()), AccessReviews::new(reviewer));
        Self { tokens, access, lookup, usage, counters, tunnels, last_logged: Mutex::default() }
    }

    /// Serves a request, over a connection with this client certificate.
    pub(super) async fn handle(
        &self,
        certificate: Option<&CertificateUser>,
        request: Parts,
        upgrade: OnUpgrade,
    ) -> Answer {
        let route = Route::of(request.uri.path(), request.uri.query().unwrap_or_default());
        let user = self.authenticate(certificate, &request).await;
        let name = user.as_ref().map_or("", |user| &user.name).to_owned();
        let result = match user {
            Ok(user) => self.respond(&user, &route, &request, upgrade).await,
            Err(refusal) => Err(refusal),
        };
        let (mut answer, problem) = match result {
            Ok(answer) => (answer, String::new()),
            Err(refusal) => {
                let form = if route.is_upgrade() { Form::Status } else { Form::Text };
                let problem = refusal.message.clone();
                (self.refuse(&route, refusal, form), problem)
            }
        };
        let (kind, code) = (route.kind(), answer.response.status());
        // A stranger without rights holds no connection.
        if certificate.is_none() && matches!(code, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            answer.response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let pod = if let Route::Pod(pod) = &route { pod.to_string() } else { String::new() };
        debug!(method = %request.method, kind, pod, user = name, code = code.as_u16(), problem, "request");
        self.counters.record(kind, code);
        answer
    }

    fn refuse(&self, route: &Route, refusal: Refusal, form: Form) -> Answer {
        let mut response = refusal.into_response(form);
        if response.status() == StatusCode::METHOD_NOT_ALLOWED {
            let methods: Vec<_> = route.methods().iter().map(http::Method::as_str).collect();
            if let Ok(methods) = HeaderValue::from_str(&methods.join(", ")) {
                response.headers_mut().insert(ALLOW, methods);
            }
        }
        response.into()
    }

    async fn authenticate(
        &self,
        certificate: Option<&CertificateUser>,
        request: &Parts,
    ) -> Result<User, Refusal> {
        let unauthorized = |message: &str| Err(Refusal::new(StatusCode::UNAUTHORIZED, message));
        if let Some(certificate) = certificate {
            return match Timestamp::now() < certificate.end {
                true => Ok(certificate.user.clone()),
                false => unauthorized("the client certificate has expired"),
            };
        }
        let Some(token) = bearer_token(&request.headers) else {
            return unauthorized("neither a client certificate nor a bearer token");
        };
        match self.tokens.user(token).await {
            Ok(Some(user)) => Ok(user),
            Ok(None) => unauthorized("invalid bearer token"),
            Err(error) => Err(self.review_failed("TokenReview", &error)),
        }
    }

    async fn respond(
        &self,
        user: &User,
        route: &Route,
        request: &Parts,
        upgrade: OnUpgrade,
    ) -> Result<Answer, Refusal> {
        let pod = match route {
            Route::Pod(pod) => Some((pod, (self.lookup)(&pod.namespace, &pod.pod))),
            _ => None,
        };
        let node = match (&pod, route) {
            (Some((_, lookup)), _) => lookup.node(),
            (None, Route::Usage(node)) => node,
            _ => "",
        };
        self.authorize(user, &Access::of(route, &request.method), node).await?;
        if *route == Route::Other {
            return Err(Refusal::new(StatusCode::NOT_FOUND, "a virtual node does not serve this path"));
        }
        if !route.methods().contains(&request.method) {
            return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed"));
        }
        match (route, pod) {
            (_, Some((pod, lookup))) => self.serve_pod(pod, lookup, request, upgrade).await,
            (Route::Healthz, _) => Ok(complete("text/plain; charset=utf-8", "ok")),
            (Route::Pods, _) => Ok(complete("application/json", NO_PODS)),
            (Route::Usage(node), _) => match (self.usage)(node) {
                Some(usage) => Ok(complete("text/plain; version=0.0.4; charset=utf-8", usage.await)),
                None => Err(Refusal::new(StatusCode::NOT_FOUND, format!("{node} is no virtual node"))),
            },
            _ => {
                let message =
                    "a virtual node serves only /metrics/resource/NODE: ask the source for other metrics";
                Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, message))
            }
        }
    }

    async fn authorize(&self, user: &User, access: &Access, node: &str) -> Result<(), Refusal> {
        match self.access.is_allowed(user, access, node).await {
            Ok(true) => Ok(()),
            Ok(false) => {
                let Access { verb, subresources } = access;
                let (name, resources) = (&user.name, subresources.join(" or nodes/"));
                // Without the node, which would tell that a pod of the name exists.
                let message = format!("user {name} may not {verb} nodes/{resources}");
                debug!(node, user = name, "access refused");
                Err(Refusal::new(StatusCode::FORBIDDEN, message))
            }
            Err(error) => Err(self.review_failed("SubjectAccessReview", &error)),
        }
    }

    /// Never allows: only the API server knows who has a right.
    fn review_failed(&self, kind: &str, error: &kube::Error) -> Refusal {
        let line = errors::short(&errors::line(error));
        let mut last = self.last_logged.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() > LOG_INTERVAL) {
            *last = Some(Instant::now());
            warn!(kind, error = line, advice = advice(error), "can't create a review");
        }
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the launcher can't create a {kind}: {line}"))
    }

    async fn serve_pod(
        &self,
        route: &PodRoute,
        lookup: Lookup,
        request: &Parts,
        upgrade: OnUpgrade,
    ) -> Result<Answer, Refusal> {
        let not_found = || {
            let message = format!("pod {route} is on no virtual node, or its UID is another");
            Refusal::new(StatusCode::NOT_FOUND, message)
        };
        let remote = match lookup {
            Lookup::Found(remote) => remote,
            Lookup::NotFound => return Err(not_found()),
            Lookup::NotStarted { reason, .. } => {
                let message = format!("pod {route} has not started: {reason}");
                return Err(Refusal::new(StatusCode::BAD_REQUEST, message));
            }
        };
        if route.uid.as_ref().is_some_and(|uid| *uid != remote.home_uid) {
            return Err(not_found());
        }
        let uri = route.source_uri(&remote.namespace, &remote.name);
        if route.operation.is_upgrade() {
            return self.open_tunnel(&remote, &uri, request, upgrade).await;
        }
        remote::verify(&remote, Duration::ZERO).await?;
        let response = logs::stream(&remote, &uri).await?;
        Ok(Answer { response, tunnel: None, may_pause: true })
    }

    async fn open_tunnel(
        &self,
        remote: &RemotePod,
        uri: &str,
        request: &Parts,
        upgrade: OnUpgrade,
    ) -> Result<Answer, Refusal> {
        let bad_request = |message: &str| Refusal::new(StatusCode::BAD_REQUEST, message);
        let headers = tunnel::request_headers(&request.headers);
        let headers = headers.filter(|_| request.version == Version::HTTP_11);
        let headers = headers.ok_or_else(|| bad_request("the request must upgrade the connection"))?;
        let mut to_source = Request::new(Vec::new());
        *to_source.method_mut() = request.method.clone();
        *to_source.uri_mut() = uri.parse().map_err(|_| bad_request("the command is too long"))?;
        *to_source.headers_mut() = headers;
        let slot = self.tunnels.take()?;
        remote::verify(remote, PATIENCE).await?;
        // Not tried again: it may have had an effect.
        let (parts, source) = remote
            .member
            .upgrade(to_source)
            .await
            .map_err(|error| Refusal::of_source(remote.member.name(), &error))?;
        let mut response = Response::new(body::full(""));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        *response.headers_mut() = tunnel::response_headers(&parts.headers);
        let tunnel = Tunnel { caller: upgrade, source, slot };
        Ok(Answer { response, tunnel: Some(tunnel), may_pause: true })
    }
}

fn complete(content_type: &'static str, text: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(body::full(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.into()
}

/// What an administrator can do about a review that failed.
fn advice(error: &kube::Error) -> Option<&'static str> {
    let is_forbidden = matches!(error, kube::Error::Api(status) if status.code == 403);
    is_forbidden.then_some("apply manifests/launcher.yaml again: its ClusterRole permits reviews")
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;
    use rstest::rstest;

    fn api(code: u16) -> kube::Error {
        kube::Error::Api(Status::failure("no", "No").with_code(code).boxed())
    }

    #[rstest]
    #[case::forbidden(api(403), true)]
    #[case::broken(api(500), false)]
    #[case::throttled(api(429), false)]
    #[case::timeout(kube::Error::Service("no response within 10s".into()), false)]
    fn missing_rights_are_blamed_only_for_a_403(#[case] error: kube::Error, #[case] expected: bool) {
        assert_eq!(advice(&error).is_some_and(|advice| advice.contains("manifests/launcher.yaml")), expected);
    }
}

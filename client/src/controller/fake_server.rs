//! A fake API server with ConfigMaps in one namespace.

use std::convert::Infallible;
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::owner::Owner;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Mode {
    Serve,
    Refuse(u16),
    Hang,
}

#[derive(Clone)]
pub(super) struct FakeServer(Arc<Mutex<State>>);

struct State {
    mode: Mode,
    names: Vec<String>,
    /// Responses for a method and path, which take precedence over `mode`.
    responses: Vec<(Method, String, FakeResponse)>,
    requests: Vec<String>,
    requested: Arc<Notify>,
}

#[derive(Clone, Debug)]
pub(super) enum FakeResponse {
    Json(u16, Value),
    Text(u16, &'static str),
    Never,
}

impl FakeServer {
    /// A server with ConfigMaps of these names. Its watches emit no events.
    pub(super) fn with(names: &[&str]) -> Self {
        let state = State {
            mode: Mode::Serve,
            names: Vec::new(),
            responses: Vec::new(),
            requests: Vec::new(),
            requested: Arc::default(),
        };
        let server = Self(Arc::new(Mutex::new(state)));
        server.set(names);
        server
    }

    /// Replaces the ConfigMaps, and makes the server respond.
    pub(super) fn set(&self, names: &[&str]) {
        let mut state = self.0.lock().unwrap();
        state.names = names.iter().map(|&name| name.to_owned()).collect();
        state.mode = Mode::Serve;
    }

    pub(super) fn refuse(&self, code: u16) {
        self.0.lock().unwrap().mode = Mode::Refuse(code);
    }

    pub(super) fn hang(&self) {
        self.0.lock().unwrap().mode = Mode::Hang;
    }

    /// Adds a response for a method and path. Each is used once, in order, and the last one again and again.
    pub(super) fn respond_with(&self, method: Method, path: &str, response: FakeResponse) {
        self.0.lock().unwrap().responses.push((method, path.to_owned(), response));
    }

    /// The received requests with their bodies, except health checks.
    pub(super) fn requests(&self) -> Vec<String> {
        let requests = self.0.lock().unwrap().requests.clone();
        requests.into_iter().filter(|request| !request.contains("/readyz")).collect()
    }

    /// Waits for a request that starts with this method and path.
    pub(super) async fn requested(&self, start: &str) {
        let requested = self.0.lock().unwrap().requested.clone();
        while !self.requests().iter().any(|request| request.starts_with(&format!("{start} "))) {
            let next = timeout(Duration::from_secs(3600), requested.notified()).await;
            assert!(next.is_ok(), "no {start} in {:?}", self.requests());
        }
    }

    pub(super) fn client(&self) -> Client {
        self.client_in("default")
    }

    /// A client with this default namespace.
    pub(super) fn client_in(&self, namespace: &str) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.respond(request).await) }
        });
        Client::new(service, namespace)
    }

    async fn respond(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let body = body.collect_bytes().await.unwrap_or_default();
        let body = String::from_utf8_lossy(&body).into_owned();
        let is_watch = parts.uri.query().is_some_and(|query| query.contains("watch=true"));
        let response = {
            let mut state = self.0.lock().unwrap();
            state.requests.push(format!("{} {} {body}", parts.method, parts.uri.path()));
            state.requested.notify_one();
            state.next_response(&parts.method, parts.uri.path())
        };
        let (code, body) = match response {
            FakeResponse::Json(code, value) => (code, value.to_string()),
            FakeResponse::Text(code, text) => (code, text.to_owned()),
            FakeResponse::Never => pending().await,
        };
        if is_watch && code == 200 {
            return pending().await;
        }
        let mut response = Response::new(Body::from(body.into_bytes()));
        *response.status_mut() = StatusCode::from_u16(code).unwrap();
        response
    }
}

impl State {
    fn next_response(&mut self, method: &Method, path: &str) -> FakeResponse {
        let matching = |(of, at, _): &(Method, String, FakeResponse)| of == method && at == path;
        let count = self.responses.iter().filter(|response| matching(response)).count();
        if let Some(place) = self.responses.iter().position(matching) {
            return if count > 1 { self.responses.remove(place).2 } else { self.responses[place].2.clone() };
        }
        match self.mode {
            Mode::Hang => FakeResponse::Never,
            Mode::Refuse(code) => FakeResponse::Json(code, status(code, "Refused", "", "")),
            Mode::Serve => {
                let object = |name: &String| {
                    json!({"metadata": {
                        "namespace": "default", "name": name, "uid": name, "resourceVersion": "1",
                    }})
                };
                let items: Vec<_> = self.names.iter().map(object).collect();
                FakeResponse::Json(200, json!({"metadata": {"resourceVersion": "1"}, "items": items}))
            }
        }
    }
}

/// A `Status` about an object.
pub(super) fn status(code: u16, reason: &str, kind: &str, name: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code,
        "reason": reason, "message": reason, "details": {"kind": kind, "name": name},
    })
}

/// The metadata of an object in the namespace `default`.
pub(super) fn object(name: &str, uid: &str) -> Value {
    json!({
        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
        "metadata": {"namespace": "default", "name": name, "uid": uid, "resourceVersion": "7"},
    })
}

/// The metadata of an object `child`, whose owner is the ConfigMap `parent` with this UID in the cluster `c1`, whose UID
/// is `identity`.
pub(super) fn child_of(owner: &str) -> Value {
    let mut parent = ConfigMap::default();
    parent.metadata.namespace = Some("default".into());
    parent.metadata.name = Some("parent".into());
    parent.metadata.uid = Some(owner.into());
    let mut child = ConfigMap::default();
    Owner::new("c1", "identity", &parent, &()).unwrap().apply_to(&mut child);
    let mut value = object("child", "child-uid");
    value["metadata"]["labels"] = json!(child.metadata.labels);
    value["metadata"]["annotations"] = json!(child.metadata.annotations);
    value
}

pub(super) fn identity_is(uid: &str) -> FakeResponse {
    FakeResponse::Json(200, object("kube-system", uid))
}

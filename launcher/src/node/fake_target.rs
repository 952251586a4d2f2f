//! A fake API server with the node `c2`, its Lease, and pods.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};

use futures::stream;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::mpsc;

const NODES: &str = "/api/v1/nodes";
const NODE: &str = "/api/v1/nodes/c2";
const STATUS: &str = "/api/v1/nodes/c2/status";
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/c2";
const PODS: &str = "/api/v1/pods";

type FakeBody = UnsyncBoxBody<Bytes, Infallible>;

#[derive(Clone, Default)]
pub(super) struct FakeTarget(Arc<Mutex<State>>);

#[derive(Default)]
pub(super) struct State {
    pub(super) node: Option<Value>,
    pub(super) lease: Option<Value>,
    pub(super) pods: Vec<Value>,
    /// Method and path of each request.
    pub(super) requests: Vec<String>,
    /// Requests of this method and path are refused, with this code.
    pub(super) refused: Option<(u16, &'static str)>,
    version: u64,
    created: u64,
    watches: Vec<mpsc::UnboundedSender<String>>,
}

impl FakeTarget {
    pub(super) fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.respond(request).await) }
        });
        Client::new(service, "default")
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// The stored node.
    pub(super) fn node(&self) -> Value {
        self.state().node.clone().unwrap_or_default()
    }

    /// Another program changes the node.
    pub(super) fn change_node(&self, patch: &Value) {
        let mut state = self.state();
        let mut node = state.node.clone().unwrap_or_default();
        merge(&mut node, patch);
        state.store(node, "MODIFIED");
    }

    /// Another program creates the node.
    pub(super) fn create_node(&self, node: Value) {
        self.state().create(node);
    }

    /// Another program deletes the node.
    pub(super) fn delete_node(&self) {
        self.state().delete();
    }

    /// The number of requests with this method and path so far.
    pub(super) fn count(&self, request: &str) -> usize {
        self.state().requests.iter().filter(|known| *known == request).count()
    }

    async fn respond(&self, request: Request<Body>) -> Response<FakeBody> {
        let (parts, body) = request.into_parts();
        let body = body.collect_bytes().await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let mut state = self.state();
        let called = format!("{} {}", parts.method, parts.uri.path());
        state.requests.push(called.clone());
        if let Some((code, _)) = state.refused.filter(|(_, refused)| *refused == called) {
            return respond(code, &status(code, "refused"));
        }
        if parts.uri.query().is_some_and(|query| query.contains("watch=true")) {
            return state.watch();
        }
        let (code, value) = state.answer(&parts.method, parts.uri.path(), &body);
        respond(code, &value)
    }
}

impl State {
    fn answer(&mut self, method: &Method, path: &str, body: &Value) -> (u16, Value) {
        let list = |items: Vec<Value>| {
            (200, json!({ "metadata": { "resourceVersion": self.version.to_string() }, "items": items }))
        };
        let is_stale = |field: &str, wanted: &Value| match &self.node {
            Some(node) => !wanted.is_null() && node["metadata"][field] != *wanted,
            None => false,
        };
        let metadata = &body["metadata"];
        match (method.as_str(), path) {
            ("GET", "/version") => (200, version()),
            ("GET", NODES) => list(self.node.clone().into_iter().collect()),
            ("GET", PODS) => list(self.pods.clone()),
            ("PATCH", LEASE) => (200, self.lease.insert(body.clone()).clone()),
            ("POST", NODES) if self.node.is_some() => (409, status(409, "AlreadyExists")),
            ("POST", NODES) => (201, self.create(body.clone())),
            (_, NODE | STATUS) if self.node.is_none() => (404, status(404, "NotFound")),
            ("GET", NODE) => (200, self.node.clone().unwrap_or_default()),
            ("DELETE", NODE) if is_stale("resourceVersion", &body["preconditions"]["resourceVersion"]) => {
                (409, status(409, "Conflict"))
            }
            ("DELETE", NODE) => {
                self.delete();
                (200, status(200, "Success"))
            }
            ("PATCH", NODE | STATUS)
                if is_stale("uid", &metadata["uid"])
                    || is_stale("resourceVersion", &metadata["resourceVersion"]) =>
            {
                (409, status(409, "Conflict"))
            }
            ("PATCH", NODE) => {
                let mut node = self.node.clone().unwrap_or_default();
                merge(&mut node, body);
                (200, self.store(node, "MODIFIED"))
            }
            ("PATCH", STATUS) => {
                let mut node = self.node.clone().unwrap_or_default();
                node["status"] = body["status"].clone();
                (200, self.store(node, "MODIFIED"))
            }
            _ => (500, status(500, "unexpected")),
        }
    }

    fn create(&mut self, mut node: Value) -> Value {
        self.created += 1;
        node["metadata"]["uid"] = json!(format!("uid-{}", self.created));
        self.store(node, "ADDED")
    }

    fn store(&mut self, mut node: Value, event: &str) -> Value {
        self.version += 1;
        node["apiVersion"] = json!("v1");
        node["kind"] = json!("Node");
        node["metadata"]["name"] = json!("c2");
        node["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.node = Some(node.clone());
        self.emit(event, &node);
        node
    }

    fn delete(&mut self) {
        self.version += 1;
        if let Some(node) = self.node.take() {
            self.emit("DELETED", &node);
        }
    }

    fn emit(&mut self, event: &str, node: &Value) {
        let line = format!("{}\n", json!({ "type": event, "object": node }));
        self.watches.retain(|watch| watch.send(line.clone()).is_ok());
    }

    fn watch(&mut self) -> Response<FakeBody> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.watches.push(sender);
        let lines = stream::unfold(receiver, |mut receiver| async move {
            let line: String = receiver.recv().await?;
            Some((Ok::<_, Infallible>(Frame::data(Bytes::from(line))), receiver))
        });
        Response::new(StreamBody::new(lines).boxed_unsync())
    }
}

fn respond(code: u16, value: &Value) -> Response<FakeBody> {
    let mut response = Response::new(Full::new(Bytes::from(value.to_string())).boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response
}

fn status(code: u16, reason: &str) -> Value {
    let status = if code < 300 { "Success" } else { "Failure" };
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": status, "code": code,
        "reason": reason, "message": reason,
    })
}

fn version() -> Value {
    json!({
        "major": "1", "minor": "36", "gitVersion": "v1.36.3", "gitCommit": "", "gitTreeState": "", "buildDate": "",
        "goVersion": "", "compiler": "", "platform": "",
    })
}

/// A JSON merge patch, RFC 7396.
pub(super) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else { return target.clone_from(patch) };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, change) in changes {
        match change {
            Value::Null => drop(target.as_object_mut().unwrap().remove(key)),
            change => merge(&mut target[key], change),
        }
    }
}

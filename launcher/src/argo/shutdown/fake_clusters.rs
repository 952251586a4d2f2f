//! Fake API servers: of a target with workflows and the home pods of their steps, and of a source with the remote pods.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard};

use http::{Method, Request, Response, StatusCode};
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::client::Body;
use mcsa_client::controller::Owner;
use mcsa_credentials::contract::launch::{HOME_UID, REMOTE_UID};
use serde_json::{Value, json};

use super::ON_EXIT;
use crate::argo::WORKFLOW;
use crate::source::HOME;

const HOME_PODS: &str = "/api/v1/pods";
const REMOTE_PODS: &str = "/api/v1/namespaces/remote/pods";

/// The UID of every workflow.
const WORKFLOW_UID: &str = "workflow-uid";

#[derive(Clone, Default)]
pub(super) struct FakeClusters(Arc<Mutex<State>>);

#[derive(Default)]
pub(super) struct State {
    /// By path.
    workflows: BTreeMap<String, Value>,
    home: Vec<Value>,
    remote: Vec<Value>,
    /// Requests with this method and path are refused, with this code.
    pub(super) refused: BTreeMap<String, u16>,
    pub(super) is_source_down: bool,
    /// Method and path of each request.
    requests: Vec<String>,
    /// The notes of events.
    pub(super) notes: Vec<String>,
}

impl FakeClusters {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(super) fn home(&self) -> Client {
        self.client("default", false)
    }

    /// A client with the default namespace `remote`.
    pub(super) fn source(&self) -> Client {
        self.client("remote", true)
    }

    /// Creates or replaces a workflow of the namespace `team-a`.
    pub(super) fn set_workflow(&self, name: &str, spec: &Value, status: &Value) {
        let metadata = json!({ "name": name, "namespace": "team-a", "uid": WORKFLOW_UID });
        let workflow = json!({ "metadata": metadata, "spec": spec, "status": status });
        self.state().workflows.insert(path(name), workflow);
    }

    /// A running step of a workflow, with the pods of this name in both clusters. Call it before the first list.
    pub(super) fn add_step(&self, namespace: &str, workflow: &str, name: &str, is_exit_handler: bool) {
        let uid = format!("home-{name}");
        let mut labels = json!({ WORKFLOW: workflow });
        if is_exit_handler {
            labels[ON_EXIT] = json!("true");
        }
        let owner = json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": workflow, "uid": WORKFLOW_UID,
        });
        let annotations = json!({ "workflows.argoproj.io/node-id": name, HOME_UID: uid, REMOTE_UID: name });
        let home = json!({
            "metadata": {
                "name": name, "namespace": namespace, "uid": uid, "resourceVersion": "1",
                "labels": labels, "annotations": annotations, "ownerReferences": [owner],
            },
            "status": { "phase": "Running" },
        });
        let pod: Pod = serde_json::from_value(home.clone()).unwrap();
        let metadata = json!({ "name": name, "namespace": "remote", "uid": name, "resourceVersion": "1" });
        let remote = json!({ "metadata": metadata, "status": { "phase": "Running" } });
        let mut remote: Pod = serde_json::from_value(remote).unwrap();
        Owner::new(HOME, "home-uid", &pod, &()).unwrap().apply_to(&mut remote);
        let mut state = self.state();
        state.home.push(home);
        state.remote.push(serde_json::to_value(remote).unwrap());
    }

    /// Replaces the remote pods by others of the same names. The watch does not report it.
    pub(super) fn replace_remote_pods(&self) {
        for pod in &mut self.state().remote {
            pod["metadata"]["uid"] = json!("other");
        }
    }

    /// Argo ends the remote pods. The watch does not report it.
    pub(super) fn end_remote_pods(&self) {
        for pod in &mut self.state().remote {
            pod["status"]["phase"] = json!("Succeeded");
        }
    }

    /// The names of the remote pods that are left.
    pub(super) fn left(&self) -> Vec<String> {
        let state = self.state();
        state.remote.iter().filter_map(|pod| pod["metadata"]["name"].as_str().map(str::to_owned)).collect()
    }

    /// Whether this request was received.
    pub(super) fn received(&self, request: &str) -> bool {
        self.state().requests.iter().any(|received| received == request)
    }

    fn client(&self, namespace: &str, is_source: bool) -> Client {
        let clusters = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let clusters = clusters.clone();
            async move {
                let (method, uri) = (request.method().clone(), request.uri().clone());
                let body = request.into_body().collect_bytes().await.unwrap();
                let body: Value = serde_json::from_slice(&body).unwrap_or_default();
                let (code, body) = clusters.state().answer(&method, uri.path(), &body, is_source);
                if code == 200 && uri.query().is_some_and(|query| query.contains("watch=true")) {
                    return pending().await;
                }
                let mut response = Response::new(Body::from(body.to_string().into_bytes()));
                *response.status_mut() = StatusCode::from_u16(code).unwrap();
                Ok::<_, Infallible>(response)
            }
        });
        Client::new(service, namespace)
    }
}

/// The request that reads a workflow of the namespace `team-a`.
pub(super) fn read(workflow: &str) -> String {
    format!("GET {}", path(workflow))
}

/// The request that deletes a remote pod.
pub(super) fn delete(pod: &str) -> String {
    format!("DELETE {REMOTE_PODS}/{pod}")
}

fn path(workflow: &str) -> String {
    format!("/apis/argoproj.io/v1alpha1/namespaces/team-a/workflows/{workflow}")
}

impl State {
    fn answer(&mut self, method: &Method, path: &str, body: &Value, is_source: bool) -> (u16, Value) {
        let request = format!("{method} {path}");
        self.requests.push(request.clone());
        let refused = self.refused.get(&request).copied();
        if let Some(code) = refused.or((is_source && self.is_source_down).then_some(503)) {
            return failure(code, "Refused", "");
        }
        let name = path.rsplit('/').next().unwrap_or_default();
        let found = self.remote.iter().position(|pod| pod["metadata"]["name"] == name);
        let is_of_pod = path == format!("{REMOTE_PODS}/{name}");
        let pod = found.filter(|_| is_of_pod);
        match (method.as_str(), path, pod) {
            ("GET", HOME_PODS, _) => list(&self.home),
            ("GET", REMOTE_PODS, _) => list(&self.remote),
            ("GET", _, Some(pod)) => (200, self.remote[pod].clone()),
            ("DELETE", _, Some(pod)) => (200, self.remote.remove(pod)),
            ("GET", ..) if self.workflows.contains_key(path) => (200, self.workflows[path].clone()),
            ("POST", ..) => {
                self.notes.extend(body["note"].as_str().map(str::to_owned));
                (201, body.clone())
            }
            _ => failure(404, "NotFound", name),
        }
    }
}

fn list(items: &[Value]) -> (u16, Value) {
    (200, json!({ "metadata": { "resourceVersion": "1" }, "items": items }))
}

fn failure(code: u16, reason: &str, pod: &str) -> (u16, Value) {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code,
        "reason": reason, "message": reason, "details": { "kind": "pods", "name": pod },
    });
    (code, status)
}

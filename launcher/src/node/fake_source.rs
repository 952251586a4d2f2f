//! A fake source: an API server with quotas and pods in one namespace, and its member.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Request, Response, StatusCode};
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::client::Body;
use mcsa_client::clusters::{Clusters, Member};
use mcsa_client::controller::Owner;
use serde_json::{Value, json};

#[derive(Clone)]
pub(super) struct FakeSource {
    state: Arc<Mutex<State>>,
    clusters: Clusters,
}

struct State {
    /// The code of all responses.
    code: u16,
    quotas: Vec<Value>,
    pods: Vec<Value>,
}

impl FakeSource {
    /// A source whose namespace has these quotas: their `spec.hard`.
    pub(super) fn with_quotas(hard: &[Value]) -> Self {
        let quota = |(index, hard): (usize, &Value)| {
            let name = format!("quota-{index}");
            json!({ "metadata": { "name": name, "namespace": "team-a" }, "spec": { "hard": hard } })
        };
        let quotas = hard.iter().enumerate().map(quota).collect();
        let state = Arc::new(Mutex::new(State { code: 200, quotas, pods: Vec::new() }));
        let clusters = Clusters::fixed([("c2", client(state.clone()))]);
        Self { state, clusters }
    }

    /// Adds a pod with an owner in this target, if any. Call it before the first list.
    pub(super) fn add_pod(&self, name: &str, cpu: &str, target_uid: Option<&str>) {
        let container = json!({ "name": "a", "resources": { "requests": { "cpu": cpu } } });
        let pod = json!({
            "metadata": { "name": name, "namespace": "team-a", "uid": name }, "spec": { "containers": [container] },
        });
        let mut pod: Pod = serde_json::from_value(pod).unwrap();
        if let Some(target_uid) = target_uid {
            // A home pod of the same name.
            Owner::new("home", target_uid, &pod, &()).unwrap().apply_to(&mut pod);
        }
        self.state.lock().unwrap().pods.push(serde_json::to_value(pod).unwrap());
    }

    pub(super) fn member(&self) -> Member {
        self.clusters.get("c2").unwrap()
    }

    /// The code of all responses from now on.
    pub(super) fn respond_with(&self, code: u16) {
        self.state.lock().unwrap().code = code;
    }
}

fn client(state: Arc<Mutex<State>>) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let has = |parameter: &str| request.uri().query().is_some_and(|query| query.contains(parameter));
        let is_watch = has("watch=true");
        // Label selectors are not implemented.
        let (code, body) = match has("labelSelector=") {
            true => (400, json!({})),
            false => answer(&state.lock().unwrap(), request.uri().path()),
        };
        async move {
            if code == 200 && is_watch {
                return std::future::pending().await;
            }
            let mut response = Response::new(Body::from(body.to_string().into_bytes()));
            *response.status_mut() = StatusCode::from_u16(code).unwrap();
            Ok::<_, Infallible>(response)
        }
    });
    Client::new(service, "team-a")
}

fn answer(state: &State, path: &str) -> (u16, Value) {
    let items = match path {
        "/api/v1/namespaces/team-a/resourcequotas" => &state.quotas[..],
        "/api/v1/namespaces/team-a/pods" => &state.pods,
        _ => &[],
    };
    let body = match state.code {
        200 => json!({ "metadata": { "resourceVersion": "1" }, "items": items }),
        code => json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code,
            "reason": "Refused", "message": "refused",
        }),
    };
    (state.code, body)
}

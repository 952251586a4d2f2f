use super::*;
use crate::argo::ArgoNamespaces;
use crate::body::BODY_LIMIT;
use axum::body::{Body, to_bytes};
use base64::{Engine, engine::general_purpose::STANDARD};
use futures::{FutureExt, stream};
use kube::Client;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use rstest::rstest;
use serde_json::{Value, json};
use tower::{ServiceExt, service_fn};

/// A fake API server with imports `ready`, `new` and `invalid` in the namespace `default`. It fails for the namespace
/// `broken`, and forbids calls for the namespace `forbidden`. For `no-crd`, it does not know the kind.
fn api_server() -> Client {
    let import = |name: &str, status: Value| {
        let value = json!({
            "apiVersion": "multicluster.admiralty.io/v1alpha1",
            "kind": "ServiceAccountImport",
            "metadata": { "name": name, "namespace": "default" },
            "spec": { "clusterName": "c2", "namespace": "default", "name": "pod-lister" },
            "status": status,
        });
        (200, value)
    };
    let condition = |type_: &str, status: &str| {
        json!({
            "type": type_, "status": status, "reason": "ClusterNotLinked", "message": "no link to c2\nrun bootstrap",
            "lastTransitionTime": "2024-01-01T00:00:00Z",
        })
    };
    let failure = |code: u16, message: &str| {
        let reason = match code {
            403 => "Forbidden",
            404 => "NotFound",
            _ => "InternalError",
        };
        let status = json!({ "status": "Failure", "code": code, "reason": reason, "message": message });
        (code, status)
    };
    let service = service_fn(move |request: http::Request<kube::client::Body>| {
        let path =
            request.uri().path().trim_start_matches("/apis/multicluster.admiralty.io/v1alpha1/namespaces/");
        let (code, body) = match path {
            "default/serviceaccountimports/ready" => {
                let secrets = json!([{ "name": "ready-token" }]);
                import("ready", json!({ "secrets": secrets, "conditions": [condition("Ready", "True")] }))
            }
            "default/serviceaccountimports/new" => {
                import("new", json!({ "conditions": [condition("Refreshed", "False")] }))
            }
            "default/serviceaccountimports/invalid" => {
                let (code, mut import) = import("invalid", json!({}));
                import["spec"]["clusterName"] = json!(7);
                (code, import)
            }
            path if path.starts_with("default/") => failure(404, "not found"),
            path if path.starts_with("forbidden/") => failure(403, "webhook cannot get imports"),
            path if path.starts_with("no-crd/") => (404, json!("404 page not found")),
            _ => failure(500, "etcd is unreachable"),
        };
        let body = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
        let body = kube::client::Body::from(body.into_bytes());
        async move { http::Response::builder().status(code).body(body) }
    });
    Client::new(service, "default")
}

fn server(registry: &mut Registry) -> Server {
    Server::new(Arc::new(Imports::new(api_server(), ArgoNamespaces::default())), Metrics::new(registry))
}

async fn send(request: http::Request<Body>) -> (u16, Vec<u8>) {
    let response = router(server(&mut Registry::default())).oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    (status, to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec())
}

async fn post_body(body: impl Into<Body>) -> (u16, Vec<u8>) {
    let request = http::Request::post(PATH).header("content-type", "application/json; charset=utf-8");
    send(request.body(body.into()).unwrap()).await
}

fn request(namespace: &str, object: &Value) -> Value {
    json!({
        "uid": "7", "kind": { "group": "", "version": "v1", "kind": "Pod" },
        "resource": { "group": "", "version": "v1", "resource": "pods" },
        "namespace": namespace, "operation": "CREATE", "object": object, "oldObject": null, "dryRun": false,
        "userInfo": { "username": "jane" }, "options": null,
    })
}

fn review_of(request: Value) -> Value {
    json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request })
}

fn pod(annotation: &str) -> Value {
    let annotations = json!({ "multicluster.admiralty.io/service-account-import.name": annotation });
    // The namespace of the request counts, not this one.
    let metadata = json!({ "generateName": "job-", "namespace": "elsewhere", "annotations": annotations });
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": { "containers": [{ "name": "main" }] } })
}

async fn respond(review: &Value) -> Value {
    let (status, body) = post_body(review.to_string()).await;
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    let reviewed: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&reviewed["apiVersion"], &reviewed["kind"]), (&review["apiVersion"], &review["kind"]));
    assert_eq!(reviewed["response"]["uid"], "7");
    reviewed["response"].clone()
}

#[tokio::test]
async fn import_is_mounted() {
    let response = respond(&review_of(request("default", &pod("ready")))).await;
    assert_eq!(response["allowed"], true);
    assert_eq!(response["patchType"], "JSONPatch");
    let patch = STANDARD.decode(response["patch"].as_str().unwrap()).unwrap();
    let mut after = pod("ready");
    json_patch::patch(&mut after, &serde_json::from_slice::<json_patch::Patch>(&patch).unwrap()).unwrap();
    assert_eq!(after["spec"]["volumes"][0]["secret"], json!({ "secretName": "ready-token" }));
    assert_eq!(response.get("warnings"), None);
}

#[tokio::test]
async fn import_without_credential_is_mounted_with_a_warning() {
    let response = respond(&review_of(request("default", &pod("ready,new")))).await;
    assert_eq!(response["allowed"], true);
    let [warning] = response["warnings"].as_array().unwrap().as_slice() else { panic!("{response}") };
    assert_eq!(
        warning,
        "ServiceAccountImport default/new has no credential yet: the pod starts when Secret new-token exists \
         (ClusterNotLinked: no link to c2 run bootstrap)"
    );
}

#[rstest]
#[case::missing(
    "default",
    "ready,a",
    403,
    "ServiceAccountImport not found: default/a; create it, or remove it"
)]
#[case::several_missing("default", "b,ready,a", 403, "ServiceAccountImport not found: default/b, default/a;")]
#[case::invalid("default", "ready;a", 403, r#""ready;a""#)]
#[case::lookup_failed(
    "broken",
    "ready",
    503,
    "can't look up ServiceAccountImport broken/ready: etcd is unreachable; try again"
)]
#[case::invalid_import(
    "default",
    "ready,invalid",
    403,
    "ServiceAccountImport default/invalid can't be used: spec.clusterName: invalid type: integer `7`, expected a string;"
)]
#[case::forbidden(
    "forbidden",
    "ready",
    500,
    "can't look up ServiceAccountImport forbidden/ready: webhook cannot get imports; install the webhook again"
)]
#[case::no_crd(
    "no-crd",
    "ready",
    500,
    "can't look up ServiceAccountImport no-crd/ready: the ServiceAccountImport CRD is not installed"
)]
#[tokio::test]
async fn denial_has_a_code_and_a_message(
    #[case] namespace: &str,
    #[case] annotation: &str,
    #[case] code: u16,
    #[case] message: &str,
) {
    let response = respond(&review_of(request(namespace, &pod(annotation)))).await;
    assert_eq!((&response["allowed"], &response["status"]["code"]), (&json!(false), &json!(code)));
    let text = response["status"]["message"].as_str().unwrap();
    assert!(text.contains(message), "{text}");
    assert_eq!(response.get("patch"), None);
}

#[tokio::test]
async fn message_about_many_missing_imports_is_short() {
    let names: Vec<_> = (0..60).map(|i| format!("import-{i}")).collect();
    let response = respond(&review_of(request("default", &pod(&names.join(","))))).await;
    let text = response["status"]["message"].as_str().unwrap();
    assert!(text.len() < 500 && text.contains("default/import-9 and 50 more"), "{text}");
}

#[rstest]
#[case::no_annotation("/request/object/metadata/annotations", json!({}))]
#[case::no_annotations("/request/object/metadata/annotations", json!(null))]
#[case::mirror(
    "/request/object/metadata/annotations",
    json!({
        "kubernetes.io/config.mirror": "x", "multicluster.admiralty.io/service-account-import.name": "a",
    })
)]
#[case::no_names(
    "/request/object/metadata/annotations",
    json!({ "multicluster.admiralty.io/service-account-import.name": " , " })
)]
#[case::update("/request/operation", json!("UPDATE"))]
#[case::delete("/request/operation", json!("DELETE"))]
#[case::deployment("/request/kind", json!({ "group": "apps", "version": "v1", "kind": "Deployment" }))]
#[case::pod_of_another_group("/request/kind", json!({ "group": "example.com", "version": "v1", "kind": "Pod" }))]
#[case::subresource("/request/subResource", json!("binding"))]
#[tokio::test]
async fn other_requests_are_allowed_unchanged(#[case] field: &str, #[case] value: Value) {
    let mut request = request("default", &pod("a"));
    request["subResource"] = json!("");
    let mut review = review_of(request);
    *review.pointer_mut(field).unwrap() = value;
    assert_eq!(respond(&review).await, json!({ "uid": "7", "allowed": true }));
}

#[rstest]
#[case::empty(b"")]
#[case::no_json(b"pod")]
#[case::truncated(br#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"#)]
#[case::not_utf_8(b"{\"apiVersion\":\"\xff\"}")]
#[case::null(b"null")]
#[case::number(b"7")]
#[case::list(b"[]")]
#[case::two_documents(b"{} {}")]
#[case::empty_object(b"{}")]
#[case::no_request(br#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}"#)]
#[case::null_request(br#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":null}"#)]
#[case::empty_request(br#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{}}"#)]
#[case::wrong_types(br#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":{}}}"#)]
#[case::older_version(
    br#"{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview","request":{"uid":"7"}}"#
)]
#[case::other_kind(br#"{"apiVersion":"admission.k8s.io/v1","kind":"Pod","request":{"uid":"7"}}"#)]
#[tokio::test]
async fn invalid_review_is_rejected(#[case] body: &[u8]) {
    let (status, message) = post_body(body.to_vec()).await;
    let message = String::from_utf8(message).unwrap();
    assert_eq!(status, 400, "{message}");
    assert_eq!(message.trim_end().lines().count(), 1, "{message:?}");
}

#[rstest]
#[case("/request/namespace", json!(null))]
#[case("/request/namespace", json!(""))]
#[case("/request/object", json!(null))]
#[case("/request/object", json!(7))]
#[case("/request/object/metadata/annotations", json!([]))]
#[case("/request/object/spec/containers", json!("none"))]
#[case("/request/object/spec/containers/0/volumeMounts", json!({}))]
#[tokio::test]
async fn invalid_pod_is_rejected(#[case] field: &str, #[case] value: Value) {
    let mut object = pod("ready");
    object["spec"]["containers"][0]["volumeMounts"] = json!([]);
    let mut review = review_of(request("default", &object));
    *review.pointer_mut(field).unwrap() = value;
    assert_eq!(post_body(review.to_string()).await.0, 400);
}

#[tokio::test]
async fn truncated_review_is_rejected() {
    let review = review_of(request("default", &pod("ready"))).to_string();
    for end in 0..review.len() {
        assert_eq!(post_body(review.as_bytes()[..end].to_vec()).await.0, 400, "at {end}");
    }
}

#[tokio::test]
async fn body_over_the_limit_is_rejected() {
    assert_eq!(post_body(" ".repeat(BODY_LIMIT)).await.0, 400);
    assert_eq!(post_body(" ".repeat(BODY_LIMIT + 1)).await.0, 413);
}

#[rstest]
#[case(None)]
#[case(Some("text/plain"))]
#[case(Some("application/yaml"))]
#[case(Some("application/jsonp"))]
#[tokio::test]
async fn other_content_type_is_rejected(#[case] content_type: Option<&str>) {
    let mut request = http::Request::post(PATH);
    if let Some(content_type) = content_type {
        request = request.header("content-type", content_type);
    }
    assert_eq!(send(request.body(Body::from("{}")).unwrap()).await.0, 415);
}

#[tokio::test]
async fn each_request_is_counted_even_if_the_client_disconnects() {
    let mut registry = Registry::default();
    let router = router(server(&mut registry));
    let post = |body: Body| {
        let request = http::Request::post(PATH).header("content-type", "application/json");
        router.clone().oneshot(request.body(body).unwrap())
    };
    for annotation in ["ready", "", "a", "invalid"] {
        post(review_of(request("default", &pod(annotation))).to_string().into()).await.unwrap();
    }
    post(review_of(request("broken", &pod("ready"))).to_string().into()).await.unwrap();
    post("no review".into()).await.unwrap();
    let endless = Body::from_stream(stream::pending::<Result<Vec<u8>, std::io::Error>>());
    assert!(post(endless).now_or_never().is_none());
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    for result in ReviewResult::ALL {
        let line = format!("mcsa_webhook_reviews_total{{result=\"{}\"}} 1", result.as_str());
        assert!(text.lines().any(|found| found == line), "no {line} in:\n{text}");
    }
    assert!(text.contains("mcsa_webhook_review_duration_seconds_count 7"), "{text}");
}

#[rstest]
#[case("/mutate-pods", 405)]
#[case("/metrics", 404)]
#[case("/", 404)]
#[tokio::test]
async fn other_paths_and_methods_are_rejected(#[case] path: &str, #[case] code: u16) {
    assert_eq!(send(http::Request::get(path).body(Body::empty()).unwrap()).await.0, code);
}

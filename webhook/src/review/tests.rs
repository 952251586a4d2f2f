mod any_input;
mod clusters;
mod policies;
mod workflows;

use super::*;
use crate::argo::ArgoNamespaces;
use base64::{Engine, engine::general_purpose::STANDARD};
use futures::FutureExt;
use kube::Client;
use rstest::rstest;
use serde_json::{Value, json};
use tower::service_fn;

const NAMES: &str = "multicluster.admiralty.io/service-account-import.name";

/// Imports of the namespace `default`: `a`, and `bare`, whose Secret has no kubeconfig. A list has the launch import of
/// c2.
fn imports() -> Imports {
    let service = service_fn(|request: http::Request<kube::client::Body>| {
        let prefix = "/apis/multicluster.admiralty.io/v1alpha1/namespaces/default/serviceaccountimports/";
        let items = match request.uri().path().strip_prefix(prefix) {
            Some("a") => Some(json!([])),
            Some("bare") => Some(json!([{ "key": "token", "value": "Token" }])),
            _ => None,
        };
        let name = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
        let condition = json!({
            "type": "Ready", "status": "True", "reason": "Ready", "message": "",
            "lastTransitionTime": "2024-01-01T00:00:00Z",
        });
        let import = |items| {
            json!({
                "apiVersion": "multicluster.admiralty.io/v1alpha1",
                "kind": "ServiceAccountImport",
                "metadata": { "name": name, "namespace": "default" },
                "spec": { "clusterName": "c2", "namespace": "n", "name": "n", "secret": { "items": items } },
                "status": { "secrets": [{ "name": format!("{name}-token") }], "conditions": [condition] },
            })
        };
        let missing = json!({ "status": "Failure", "code": 404, "reason": "NotFound", "message": "no" });
        let (code, body) = items.map_or((404, missing), |items| (200, import(items)));
        let (code, body) = if request.uri().path().ends_with("/serviceaccountimports") {
            let mut launch = import(json!([]));
            launch["metadata"]["labels"] = json!({ "multicluster.admiralty.io/launch": "true" });
            (200, json!({ "metadata": {}, "items": [launch] }))
        } else {
            (code, body)
        };
        let body = kube::client::Body::from(serde_json::to_vec(&body).unwrap());
        async move { http::Response::builder().status(code).body(body) }
    });
    Imports::new(Client::new(service, "default"), ArgoNamespaces::default())
}

/// A pod with a value in each parsed field.
fn pod(names: &str, kubeconfig_env: &str) -> Value {
    let container = json!({
        "name": "main", "image": "i",
        "volumeMounts": [{ "name": "own", "mountPath": "/own", "subPath": "s", "readOnly": true }],
        "env": [{ "name": "A", "value": "b" }],
    });
    let items = json!([{ "key": "k", "path": "p" }]);
    json!({
        "metadata": {
            "name": "p", "generateName": "p-",
            "annotations": { NAMES: names, "multicluster.admiralty.io/kubeconfig-env": kubeconfig_env },
        },
        "spec": {
            "nodeName": null,
            "os": { "name": "linux" }, "nodeSelector": { "kubernetes.io/os": "linux" },
            "volumes": [
                { "name": "own", "secret": { "secretName": "s", "items": items } },
                { "name": "projected", "projected": { "sources": [{ "secret": { "name": "s", "items": items } }] } },
                { "name": "claim", "persistentVolumeClaim": { "claimName": "c", "readOnly": true } },
            ],
            "initContainers": [container], "containers": [container], "ephemeralContainers": [],
        },
    })
}

fn review_of(operation: &str, sub_resource: &str, object: Value, old_object: Value) -> Value {
    json!({
        "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "7", "kind": { "group": "", "version": "v1", "kind": "Pod" }, "operation": operation,
            "resource": { "group": "", "version": "v1", "resource": "pods" }, "subResource": sub_resource,
            "namespace": "default", "object": object, "oldObject": old_object, "dryRun": true,
        },
    })
}

fn creation(names: &str, kubeconfig_env: &str) -> Value {
    review_of("CREATE", "", pod(names, kubeconfig_env), json!(null))
}

/// `kubectl debug` of an admitted pod with these stored annotations.
fn debugging(annotations: Value) -> Value {
    let mut stored = pod("a", "true");
    let volume = json!({ "name": "sai-a", "secret": { "secretName": "a-token" } });
    stored["spec"]["volumes"].as_array_mut().unwrap().push(volume);
    let path = "/var/run/secrets/admiralty.io/serviceaccountimports/a/config";
    let env = stored["spec"]["containers"][0]["env"].as_array_mut().unwrap();
    env.push(json!({ "name": "KUBECONFIG", "value": path }));
    stored["metadata"]["annotations"] = annotations;
    let mut object = stored.clone();
    object["spec"]["ephemeralContainers"] = json!([{ "name": "debug" }]);
    // An update can't change them.
    object["metadata"]["annotations"] = json!(null);
    review_of("UPDATE", "ephemeralcontainers", object, stored)
}

async fn respond(request: &Value) -> Value {
    let body = request.to_string();
    let response = review(body.as_bytes(), &imports()).await.unwrap();
    serde_json::to_value(response).unwrap()["response"].take()
}

/// The error of an invalid review: one short line.
async fn parse_error(request: &Value) -> String {
    let body = request.to_string();
    let message = review(body.as_bytes(), &imports()).await.unwrap_err().to_string();
    assert!(message.len() < 1_000 && !message.contains('\n'), "{message}");
    message
}

/// The additions of the patch, as "path: value".
fn added(response: &Value) -> Vec<String> {
    let Some(patch) = response["patch"].as_str() else { return Vec::new() };
    let patch: Value = serde_json::from_slice(&STANDARD.decode(patch).unwrap()).unwrap();
    let operations = patch.as_array().unwrap().iter();
    operations
        .map(|operation| format!("{}: {}", operation["path"].as_str().unwrap(), operation["value"]))
        .collect()
}

#[tokio::test]
async fn variable_is_set_if_the_pod_requests_it() {
    let response = respond(&creation("a", "true")).await;
    let path = "/var/run/secrets/admiralty.io/serviceaccountimports/a/config";
    let env = format!(r#"/spec/containers/0/env/-: {{"name":"KUBECONFIG","value":"{path}"}}"#);
    assert!(added(&response).contains(&env), "{:?}", added(&response));
    for no in ["false", ""] {
        let response = respond(&creation("a", no)).await;
        assert_eq!((response["allowed"].as_bool(), added(&response).len()), (Some(true), 3));
    }
}

#[tokio::test]
async fn invalid_boolean_is_denied() {
    let response = respond(&creation("a", "yes")).await;
    assert_eq!(response["allowed"], false);
    let message = response["status"]["message"].as_str().unwrap();
    assert!(message.contains(r#"kubeconfig-env is "yes"; it must be "true" or "false""#), "{message}");
}

#[tokio::test]
async fn import_without_a_kubeconfig_is_skipped_with_a_warning() {
    let response = respond(&creation("a,bare", "true")).await;
    let [warning] = response["warnings"].as_array().unwrap().as_slice() else { panic!("{response}") };
    assert!(warning.as_str().unwrap().contains("default/bare has no kubeconfig"), "{warning}");
    assert_eq!(added(&response).iter().filter(|added| added.contains("KUBECONFIG")).count(), 2);
    assert_eq!(respond(&creation("a,bare", "false")).await.get("warnings"), None);
}

#[rstest]
#[case::all(json!({ NAMES: "a", "multicluster.admiralty.io/kubeconfig-env": "true" }), &["volumeMounts", "env"])]
#[case::no_variable(json!({ NAMES: "a" }), &["volumeMounts"])]
#[case::deleted_import(json!({ NAMES: "gone,a" }), &["volumeMounts"])]
#[case::invalid_boolean(json!({ NAMES: "a", "multicluster.admiralty.io/kubeconfig-env": "yes" }), &["volumeMounts"])]
#[case::no_volume(json!({ NAMES: "bare" }), &[])]
#[case::invalid_name(json!({ NAMES: "A" }), &[])]
#[case::no_annotations(json!(null), &[])]
#[case::mirror(json!({ NAMES: "a", "kubernetes.io/config.mirror": "x" }), &[])]
#[tokio::test]
async fn debugging_is_never_denied(#[case] annotations: Value, #[case] fields: &[&str]) {
    let response = respond(&debugging(annotations)).await;
    assert_eq!(response["allowed"], true);
    let added: Vec<_> =
        added(&response).iter().map(|added| added.split(':').next().unwrap().to_owned()).collect();
    let expected: Vec<_> =
        fields.iter().map(|field| format!("/spec/ephemeralContainers/0/{field}")).collect();
    assert_eq!(added, expected);
}

/// The import may have been deleted, or the API server may be slow.
#[tokio::test]
async fn debugging_needs_neither_import_nor_api_server() {
    let service = service_fn(|_: http::Request<kube::client::Body>| {
        std::future::pending::<Result<http::Response<kube::client::Body>, http::Error>>()
    });
    let imports = Imports::new(Client::new(service, "default"), ArgoNamespaces::default());
    let annotations = json!({ NAMES: "gone,a", "multicluster.admiralty.io/kubeconfig-env": "true" });
    let body = debugging(annotations).to_string();
    let response = review(body.as_bytes(), &imports).now_or_never().unwrap().unwrap();
    let added = added(&serde_json::to_value(response).unwrap()["response"]);
    let [mounts, env] = added.as_slice() else { panic!("{added:?}") };
    assert!(
        mounts.contains(r#""name":"sai-a""#) && env.contains("serviceaccountimports/a/config"),
        "{added:?}"
    );
}

#[tokio::test]
async fn read_only_mount_above_the_import_has_a_warning() {
    let mut request = creation("a", "false");
    let mounts = &mut request["request"]["object"]["spec"]["containers"][0]["volumeMounts"];
    mounts[0]["mountPath"] = "/var/run/secrets".into();
    let response = respond(&request).await;
    let [warning] = response["warnings"].as_array().unwrap().as_slice() else { panic!("{response}") };
    let start = r#"container "main" mounts volume "own" at "/var/run/secrets", read-only"#;
    assert!(response["allowed"] == true && warning.as_str().unwrap().starts_with(start), "{response}");
}

#[rstest]
#[case::namespace("/request/namespace", json!(7), "request.namespace: invalid type: integer `7`, expected a string")]
#[case::list_for_object(
    "/request/object/metadata",
    json!([]),
    "request.object.metadata: invalid type: sequence, expected an object"
)]
#[case::object_for_list(
    "/request/object/spec/containers/0/volumeMounts",
    json!({}),
    "request.object.spec.containers[0].volumeMounts: invalid type: map, expected a sequence"
)]
#[case::annotation(
    "/request/object/metadata/annotations/multicluster.admiralty.io~1kubeconfig-env",
    json!(true),
    "kubeconfig-env: invalid type: boolean `true`, expected a string"
)]
#[tokio::test]
async fn field_with_a_wrong_type_is_named(#[case] field: &str, #[case] value: Value, #[case] expected: &str) {
    let mut wrong = creation("a", "true");
    *wrong.pointer_mut(field).unwrap() = value;
    let message = parse_error(&wrong).await;
    assert!(message.contains(expected), "{message}");
}

#[tokio::test]
async fn another_version_is_named() {
    for request in [json!({ "uid": {} }), json!([]), json!(7)] {
        let review = json!({ "apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview", "request": request });
        let message = parse_error(&review).await;
        assert!(message.contains("v1beta1") && message.contains("expected \"AdmissionReview\""), "{message}");
    }
}

#[tokio::test]
async fn message_with_long_user_input_is_short() {
    let long = "a\n".repeat(10_000);
    let (mut kind, mut type_) = (creation("a", "true"), creation("a", "true"));
    kind["kind"] = json!(long);
    type_["request"]["object"]["spec"]["containers"] = json!(long);
    for wrong in [kind, type_] {
        parse_error(&wrong).await;
    }
    for denied in [creation(&long, "true"), creation("a", &long)] {
        let response = respond(&denied).await;
        assert!(response["allowed"] == false && response.to_string().len() < 1_000, "{response}");
    }
}

#[tokio::test]
async fn deeply_nested_value_is_skipped_or_rejected() {
    // Would overflow the stack if it were parsed recursively.
    let deep = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
    let skipped =
        creation("a", "true").to_string().replace("\"nodeName\":null", &format!("\"nodeName\":{deep}"));
    assert!(review(skipped.as_bytes(), &imports()).await.is_ok());
    let viewed =
        creation("a", "true").to_string().replace("\"nodeName\":null", &format!("\"volumes\":{deep}"));
    assert!(matches!(review(viewed.as_bytes(), &imports()).await, Err(Malformed::Json { .. })));
    assert!(review(deep.as_bytes(), &imports()).await.is_err());
}

//! Imports that policies permit, or not.

use super::*;

/// An API server that has only the namespace `labelled`.
fn imports_with(policies: &Value) -> Imports {
    let service = service_fn(|request: http::Request<kube::client::Body>| {
        let (code, body) = match request.uri().path() {
            "/api/v1/namespaces/labelled" => {
                let metadata = json!({ "name": "labelled", "labels": { "team": "a" } });
                (
                    200,
                    json!({ "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": metadata }),
                )
            }
            _ => (403, json!({ "status": "Failure", "code": 403, "reason": "Forbidden", "message": "no" })),
        };
        let body = kube::client::Body::from(serde_json::to_vec(&body).unwrap());
        async move { http::Response::builder().status(code).body(body) }
    });
    let imports = Imports::new(Client::new(service, "default"), ArgoNamespaces::default());
    for (index, spec) in policies.as_array().unwrap().iter().enumerate() {
        imports.policies.apply(json!({
            "apiVersion": "multicluster.admiralty.io/v1alpha1",
            "kind": "ImportPolicy",
            "metadata": { "name": format!("p{index}") },
            "spec": spec,
        }));
    }
    imports
}

/// A review of an import.
pub(super) fn of_import(operation: &str, namespace: &str, spec: &Value) -> Value {
    let object = json!({ "metadata": { "name": "i" }, "spec": spec });
    let mut request = review_of(operation, "", object, json!(null));
    let kind = json!({ "group": "multicluster.admiralty.io", "version": "v1alpha1", "kind": "ServiceAccountImport" });
    request["request"]["kind"] = kind;
    request["request"]["namespace"] = namespace.into();
    request
}

/// The warnings about an import. It is always allowed, without a patch.
async fn warnings(policies: &Value, operation: &str, namespace: &str, spec: &Value) -> Vec<String> {
    let body = of_import(operation, namespace, spec).to_string();
    let response = review(body.as_bytes(), &imports_with(policies)).await.unwrap();
    let response = serde_json::to_value(response).unwrap()["response"].take();
    assert_eq!((&response["allowed"], response.get("patch")), (&json!(true), None), "{response}");
    let warnings = response["warnings"].as_array().into_iter().flatten();
    warnings.map(|warning| warning.as_str().unwrap().to_owned()).collect()
}

pub(super) fn spec() -> Value {
    json!({ "clusterName": "c2", "namespace": "default", "name": "pod-lister" })
}

#[rstest]
#[case::no_policy(json!([]), "shop", false)]
#[case::of_another_source(json!([{ "clusterName": "c3" }]), "shop", false)]
#[case::permitted(
    json!([{ "clusterName": "c2", "namespaces": ["shop"], "serviceAccounts": [{ "namespace": "*" }] }]), "shop", false
)]
#[case::other_namespace(
    json!([{ "clusterName": "c2", "namespaces": ["web"], "serviceAccounts": [{ "namespace": "*" }] }]), "shop", true
)]
#[case::invalid_policy(json!([{ "clusterName": 7 }]), "shop", true)]
#[case::selected(
    json!([{ "namespaceSelector": { "matchLabels": { "team": "a" } }, "serviceAccounts": [{ "namespace": "*" }] }]),
    "labelled",
    false
)]
#[case::not_selected(
    json!([{ "namespaceSelector": { "matchLabels": { "team": "b" } }, "serviceAccounts": [{ "namespace": "*" }] }]),
    "labelled",
    true
)]
#[case::unknown_labels(
    json!([{ "namespaceSelector": { "matchLabels": { "team": "b" } }, "serviceAccounts": [{ "namespace": "*" }] }]),
    "shop",
    false
)]
#[tokio::test]
async fn import_that_no_policy_permits_gets_a_warning(
    #[case] policies: Value,
    #[case] namespace: &str,
    #[case] is_warned: bool,
) {
    let expected = format!(
        "no ImportPolicy permits namespace {namespace} to import service account default/pod-lister of c2; ask an \
         administrator of this cluster to run: kubemcsa allow default/pod-lister --for {namespace} --source-name c2"
    );
    for operation in ["CREATE", "UPDATE"] {
        let warnings = warnings(&policies, operation, namespace, &spec()).await;
        assert_eq!(warnings, Vec::from_iter(is_warned.then(|| expected.clone())));
    }
}

#[rstest]
#[case(json!(null))]
#[case(json!("a"))]
#[case(json!({ "clusterName": 7, "namespace": "default", "name": "pod-lister" }))]
#[case(json!({ "clusterName": "c2", "namespace": "default" }))]
#[tokio::test]
async fn import_that_the_api_server_will_refuse_gets_no_warning(#[case] spec: Value) {
    assert_eq!(warnings(&json!([{}]), "CREATE", "shop", &spec).await, [""; 0]);
}

#[tokio::test]
async fn deletion_of_an_import_gets_no_warning() {
    assert_eq!(warnings(&json!([{}]), "DELETE", "shop", &spec()).await, [""; 0]);
}

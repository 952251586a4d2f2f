//! Pods that ask for a cluster.

use super::*;
use mcsa_runtime::argo::ArgoArgs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The namespace `default` has launch imports of c2 and c3, `team-a` has none, and `broken` can't be listed. c2
/// knows this cluster as c1. The namespaces `argo`, without launch imports, and `local`, with one of c2, use Secrets of
/// Argo Workflows, which knows this cluster as cluster-0. Also returns the number of lists.
fn imports() -> (Imports, Arc<AtomicUsize>) {
    let (imports, lists) = imports_before_the_name();
    imports.argo.update(Ok(Some("cluster-0".into())));
    (imports, lists)
}

/// The same, before the ConfigMap of Argo Workflows was read.
fn imports_before_the_name() -> (Imports, Arc<AtomicUsize>) {
    let lists = Arc::new(AtomicUsize::new(0));
    let counted = lists.clone();
    let service = service_fn(move |request: http::Request<kube::client::Body>| {
        let query = request.uri().query().unwrap_or_default();
        assert!(query.contains("labelSelector=multicluster.admiralty.io%2Flaunch%3Dtrue"), "{query}");
        counted.fetch_add(1, Ordering::Relaxed);
        let import = |cluster| {
            json!({
                "apiVersion": "multicluster.admiralty.io/v1alpha1", "kind": "ServiceAccountImport",
                "metadata": {
                    "name": cluster, "namespace": "default", "labels": { "multicluster.admiralty.io/launch": "true" },
                },
                "spec": { "clusterName": cluster, "namespace": "remote", "name": "launcher-c1" },
            })
        };
        let clusters = match request.uri().path().split('/').nth(5) {
            Some("default") => Some(vec![import("c3"), import("c2"), json!({ "metadata": {}, "spec": 7 })]),
            Some("local") => Some(vec![import("c2")]),
            Some("team-a" | "argo") => Some(Vec::new()),
            _ => None,
        };
        let failure =
            json!({ "status": "Failure", "code": 500, "reason": "InternalError", "message": "no etcd" });
        let list = |items| {
            json!({
                "apiVersion": "multicluster.admiralty.io/v1alpha1", "kind": "ServiceAccountImportList",
                "metadata": {}, "items": items,
            })
        };
        let (code, body) = clusters.map_or((500, failure), |items| (200, list(items)));
        let body = kube::client::Body::from(serde_json::to_vec(&body).unwrap());
        async move { http::Response::builder().status(code).body(body) }
    });
    let argo = ArgoNamespaces::new(&ArgoArgs {
        argo_namespace: Some("argo".into()),
        argo_workflow_namespaces: vec!["local".into()],
    });
    let imports = Imports::new(Client::new(service, "default"), argo);
    imports.apply(json!({
        "apiVersion": "multicluster.admiralty.io/v1alpha1", "kind": "ServiceAccountImport",
        "metadata": {
            "name": "c2", "namespace": "multicluster-service-account", "labels": { "multicluster.admiralty.io/link": "true" },
        },
        "spec": { "clusterName": "c2", "namespace": "multicluster-service-account", "name": "c1" },
    }));
    (imports, lists)
}

async fn respond(namespace: &str, annotations: Value) -> (Value, usize) {
    respond_in(namespace, creation_with(annotations)).await
}

fn creation_with(annotations: Value) -> Value {
    let mut object = pod("", "");
    object["metadata"]["annotations"] = annotations;
    review_of("CREATE", "", object, json!(null))
}

async fn respond_in(namespace: &str, request: Value) -> (Value, usize) {
    let (imports, lists) = imports();
    (respond_by(&imports, namespace, request).await, lists.load(Ordering::Relaxed))
}

async fn respond_by(imports: &Imports, namespace: &str, mut request: Value) -> Value {
    request["request"]["namespace"] = namespace.into();
    let body = request.to_string();
    let response = review(body.as_bytes(), imports).await.unwrap();
    serde_json::to_value(response).unwrap()["response"].take()
}

#[tokio::test]
async fn elected_pod_tolerates_the_clusters_of_the_launch_imports() {
    let (response, lists) = respond("default", json!({ "multicluster.admiralty.io/elect": "" })).await;
    let added = added(&response);
    assert!(added[0].starts_with("/spec/tolerations: "), "{added:?}");
    assert!(added[0].contains(r#""value":"c2""#) && added[0].contains(r#""value":"c3""#), "{added:?}");
    assert!(added[1].starts_with("/spec/affinity: ") && added[1].contains(r#"["c2","c3"]"#), "{added:?}");
    assert_eq!((added.len(), response.get("warnings"), lists), (2, None, 1));
}

#[tokio::test]
async fn elected_pod_stays_home_with_a_warning_if_there_are_no_launch_imports() {
    let (response, _) = respond("team-a", json!({ "multicluster.admiralty.io/elect": "" })).await;
    let [warning] = response["warnings"].as_array().unwrap().as_slice() else { panic!("{response}") };
    assert!(warning.as_str().unwrap().starts_with("namespace team-a has no launch import"), "{warning}");
    let [affinity] = &*added(&response) else { panic!("{response}") };
    assert!(affinity.contains("DoesNotExist"), "{affinity}");
}

#[rstest]
#[case("default", "c9", 403, "is \"c9\", but namespace default has launch imports of c2, c3 only;")]
#[case("team-a", "c2", 403, "but namespace team-a has no launch import;")]
#[case("broken", "c2", 503, "can't list the ServiceAccountImports of namespace broken: no etcd; try again")]
#[tokio::test]
async fn unknown_cluster_is_denied(
    #[case] namespace: &str,
    #[case] cluster: &str,
    #[case] code: u16,
    #[case] message: &str,
) {
    let (response, _) = respond(namespace, json!({ "multicluster.admiralty.io/clustername": cluster })).await;
    assert_eq!((&response["allowed"], &response["status"]["code"]), (&json!(false), &json!(code)));
    let text = response["status"]["message"].as_str().unwrap();
    assert!(text.contains(message), "{text}");
}

#[tokio::test]
async fn namespace_without_a_cluster_is_admitted_with_a_warning() {
    let (response, _) =
        respond("default", json!({ "multicluster.admiralty.io/remote-namespace": "x" })).await;
    let [warning] = response["warnings"].as_array().unwrap().as_slice() else { panic!("{response}") };
    assert!(
        warning.as_str().unwrap().contains("remote-namespace has no effect without annotation"),
        "{warning}"
    );
    assert_eq!((response["allowed"].as_bool(), added(&response)), (Some(true), Vec::new()));
}

#[rstest]
#[case::own_name(json!({ "multicluster.admiralty.io/clustername": "c1" }), true)]
#[case::template(json!({ "multicluster.admiralty.io/clustername": "{{x}}" }), false)]
#[case::nothing(json!({ "multicluster.admiralty.io/remote-namespace": "x" }), true)]
#[tokio::test]
async fn api_server_is_not_asked_needlessly(#[case] annotations: Value, #[case] allowed: bool) {
    let (response, lists) = respond("default", annotations).await;
    assert_eq!((response["allowed"].as_bool(), lists), (Some(allowed), 0));
}

#[rstest]
#[case::no_import("argo", "c9", true)]
#[case::unknown_import("local", "c2", true)]
#[case::import("local", "c4", false)]
#[tokio::test]
async fn pod_that_may_use_a_secret_is_placed_without_a_list(
    #[case] namespace: &str,
    #[case] cluster: &str,
    #[case] is_warned: bool,
) {
    let (imports, lists) = imports();
    imports.apply(json!({
        "apiVersion": "multicluster.admiralty.io/v1alpha1", "kind": "ServiceAccountImport",
        "metadata": { "name": "c4", "namespace": "local", "labels": { "multicluster.admiralty.io/launch": "true" } },
        "spec": { "clusterName": "c4", "namespace": "remote", "name": "launcher-c1" },
    }));
    let request = creation_with(json!({ "multicluster.admiralty.io/clustername": cluster }));
    let response = respond_by(&imports, namespace, request).await;
    assert_eq!((response["allowed"].as_bool(), lists.load(Ordering::Relaxed)), (Some(true), 0));
    let [toleration, affinity] = &*added(&response) else { panic!("{response}") };
    assert!(toleration.contains(&format!(r#""value":"{cluster}""#)), "{toleration}");
    assert!(
        affinity.contains(&format!(r#"["{cluster}"]"#)) && !affinity.contains("DoesNotExist"),
        "{affinity}"
    );
    let warnings: Vec<_> = response["warnings"].as_array().into_iter().flatten().collect();
    assert_eq!(warnings.len(), usize::from(is_warned), "{response}");
}

#[tokio::test]
async fn launch_imports_are_listed_if_no_secret_can_help() {
    let (response, lists) =
        respond("argo", json!({ "multicluster.admiralty.io/clustername": "no/node" })).await;
    assert_eq!((response["allowed"].as_bool(), lists), (Some(false), 1));
}

#[rstest]
#[case::another_cluster("argo", "c2", Some(503))]
#[case::this_cluster("argo", "cluster-0", Some(503))]
#[case::name_of_a_source("argo", "c1", None)]
#[case::no_secrets("default", "c2", None)]
#[tokio::test]
async fn pod_is_not_placed_by_a_secret_until_the_name_of_this_cluster_is_known(
    #[case] namespace: &str,
    #[case] cluster: &str,
    #[case] denied: Option<u16>,
) {
    let (imports, _) = imports_before_the_name();
    let request = creation_with(json!({ "multicluster.admiralty.io/clustername": cluster }));
    let response = respond_by(&imports, namespace, request.clone()).await;
    assert_eq!(response["status"]["code"].as_u64(), denied.map(u64::from), "{response}");
    let message = response["status"]["message"].as_str().unwrap_or_default();
    assert_eq!(message.ends_with("was not read yet; try again"), denied.is_some(), "{message}");
    // There is no name.
    imports.argo.update(Ok(None));
    assert_eq!(respond_by(&imports, namespace, request).await["allowed"], true);
}

#[rstest]
#[case("argo", true)]
#[case("local", true)]
#[case("default", false)]
#[tokio::test]
async fn name_of_argo_workflows_for_this_cluster_is_known_where_secrets_are_used(
    #[case] namespace: &str,
    #[case] is_known: bool,
) {
    let (response, lists) =
        respond(namespace, json!({ "multicluster.admiralty.io/clustername": "cluster-0" })).await;
    assert_eq!((response["allowed"].as_bool(), response.get("warnings")), (Some(is_known), None));
    assert_eq!(lists, usize::from(!is_known), "no launch import is needed at home");
}

#[rstest]
#[case("team-a", 1)]
#[case("argo", 0)]
#[tokio::test]
async fn workflow_without_launch_imports_has_a_warning_unless_secrets_are_used(
    #[case] namespace: &str,
    #[case] expected: usize,
) {
    let request = workflows::of_templates("CREATE", "Workflow", workflows::template());
    let (response, lists) = respond_in(namespace, request).await;
    let warnings = response["warnings"].as_array().map_or(0, Vec::len);
    assert_eq!((response["allowed"].as_bool(), warnings, lists), (Some(true), expected, expected));
}

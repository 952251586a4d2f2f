//! Pods that ask for a cluster.

use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The namespace `default` has launch imports of c2 and c3, `team-a` has none, and `broken` can't be listed. c2
/// knows this cluster as c1. Also returns the number of lists.
fn imports() -> (Imports, Arc<AtomicUsize>) {
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
            Some("team-a") => Some(Vec::new()),
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
    let imports = Imports::new(Client::new(service, "default"));
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
    let mut object = pod("", "");
    object["metadata"]["annotations"] = annotations;
    let mut request = review_of("CREATE", "", object, json!(null));
    request["request"]["namespace"] = namespace.into();
    let (imports, lists) = imports();
    let body = request.to_string();
    let response = review(body.as_bytes(), &imports).await.unwrap();
    (serde_json::to_value(response).unwrap()["response"].take(), lists.load(Ordering::Relaxed))
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

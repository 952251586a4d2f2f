//! Objects with templates of Argo Workflows.

use super::*;

/// A review of an object with one template.
pub(super) fn of_templates(operation: &str, kind: &str, template: Value) -> Value {
    let metadata = json!({ "name": "w" });
    let spec = json!({ "templates": [template], "templateDefaults": {} });
    let mut request = review_of(operation, "", json!({ "metadata": metadata, "spec": spec }), json!(null));
    request["request"]["kind"] = json!({ "group": "argoproj.io", "version": "v1alpha1", "kind": kind });
    request
}

/// A template with a value in each parsed field.
pub(super) fn template() -> Value {
    let annotations = json!({ "multicluster.admiralty.io/clustername": "c2" });
    json!({ "name": "main", "cluster": "c2", "namespace": "n", "metadata": { "annotations": annotations } })
}

#[rstest]
#[case("CREATE", "Workflow")]
#[case("UPDATE", "WorkflowTemplate")]
#[case("CREATE", "CronWorkflow")]
#[case("UPDATE", "ClusterWorkflowTemplate")]
#[tokio::test]
async fn template_gets_annotations(#[case] operation: &str, #[case] kind: &str) {
    let mut request = of_templates(operation, kind, template());
    if kind == "ClusterWorkflowTemplate" {
        request["request"].as_object_mut().unwrap().remove("namespace");
    }
    // A pod has a list there.
    request["request"]["object"]["spec"]["volumes"] = json!({});
    let response = respond(&request).await;
    let path = "/spec/templates/0/metadata/annotations/multicluster.admiralty.io~1remote-namespace";
    assert_eq!(added(&response), [format!(r#"{path}: "n""#)]);
    // The watch has not observed the namespace's launch import, but a list has it.
    assert_eq!((&response["allowed"], response.get("warnings")), (&json!(true), None));
}

/// Such a body is not parsed as a pod first.
#[tokio::test]
async fn large_workflow_gets_annotations() {
    let mut request = of_templates("CREATE", "Workflow", template());
    request["request"]["object"]["metadata"]["annotations"] = json!({ "large": "x".repeat(100_000) });
    assert_eq!(added(&respond(&request).await).len(), 1);
}

#[tokio::test]
async fn invalid_template_is_denied() {
    let response = respond(&of_templates("CREATE", "Workflow", json!({ "cluster": {} }))).await;
    assert_eq!((&response["allowed"], &response["status"]["code"]), (&json!(false), &json!(403)));
    assert_eq!(response["status"]["message"], "spec.templates[0]: cluster must be a string");
}

#[tokio::test]
async fn namespace_without_a_cluster_is_admitted_with_a_warning() {
    let response = respond(&of_templates("CREATE", "Workflow", json!({ "namespace": "n" }))).await;
    let [warning] = response["warnings"].as_array().unwrap().as_slice() else { panic!("{response}") };
    assert!(warning.as_str().unwrap().ends_with("in spec.templates[0]"), "{warning}");
    assert_eq!((response["allowed"].as_bool(), added(&response).len()), (Some(true), 1));
}

#[rstest]
#[case("DELETE", "Workflow")]
#[case("CONNECT", "Workflow")]
#[case("CREATE", "WorkflowTaskSet")]
#[tokio::test]
async fn other_operations_and_kinds_are_allowed(#[case] operation: &str, #[case] kind: &str) {
    let response = respond(&of_templates(operation, kind, json!({ "cluster": {} }))).await;
    assert_eq!(response, json!({ "uid": "7", "allowed": true }));
}

#[tokio::test]
async fn review_without_an_object_is_rejected() {
    let mut request = of_templates("CREATE", "Workflow", template());
    request["request"]["object"] = json!(null);
    assert!(parse_error(&request).await.contains("has no object"));
}

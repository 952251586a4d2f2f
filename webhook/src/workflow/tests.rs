use super::*;
use mcsa_credentials::contract::launch::{CLUSTER_NAME, ELECT, REMOTE_NAMESPACE};
use rstest::rstest;

fn workflow(spec: &Value) -> Value {
    json!({ "kind": "Workflow", "metadata": { "generateName": "w-" }, "spec": spec })
}

/// The patched object, and the warning.
fn translate(object: &Value) -> Result<(Value, Option<String>), InvalidTemplate> {
    let text = object.to_string();
    let workflow = serde_json::from_str::<Workflow>(&text).unwrap();
    let patch = patch(&workflow)?;
    let mut after = object.clone();
    json_patch::patch(&mut after, &patch).unwrap();
    Ok((after, unused_namespaces(&workflow)))
}

/// The patched spec of an object that gets no warning. Another review changes nothing.
fn translated(spec: &Value) -> Value {
    let (after, warning) = translate(&workflow(spec)).unwrap();
    assert_eq!(warning, None);
    assert_eq!(translate(&after), Ok((after.clone(), None)));
    after["spec"].clone()
}

fn refused(spec: &Value) -> String {
    translate(&workflow(spec)).unwrap_err().to_string()
}

fn both() -> Value {
    json!({ CLUSTER_NAME: "c2", REMOTE_NAMESPACE: "n" })
}

#[rstest]
#[case::no_metadata(json!({}), json!({ "annotations": both() }))]
#[case::null_metadata(json!({ "metadata": null }), json!({ "annotations": both() }))]
#[case::labels(
    json!({ "metadata": { "labels": { "a": "b" } } }),
    json!({ "labels": { "a": "b" }, "annotations": both() })
)]
#[case::null_annotations(json!({ "metadata": { "annotations": null } }), json!({ "annotations": both() }))]
#[case::null_annotation(
    json!({ "metadata": { "annotations": { CLUSTER_NAME: null } } }),
    json!({ "annotations": both() })
)]
#[case::one_is_present(
    json!({ "metadata": { "annotations": { CLUSTER_NAME: "c2", "a": 7 } } }),
    json!({ "annotations": { CLUSTER_NAME: "c2", "a": 7, REMOTE_NAMESPACE: "n" } })
)]
#[case::both_are_present(json!({ "metadata": { "annotations": both() } }), json!({ "annotations": both() }))]
fn fields_become_annotations(#[case] template: Value, #[case] metadata: Value) {
    let mut template = template;
    for (field, value) in [("name", "main"), ("cluster", "c2"), ("namespace", "n")] {
        template[field] = value.into();
    }
    let after = translated(&json!({ "templates": [{ "name": "other" }, template] }));
    // The fields and other templates stay.
    template["metadata"] = metadata;
    assert_eq!(after, json!({ "templates": [{ "name": "other" }, template] }));
}

#[test]
fn defaults_and_workflows_of_cron_workflows_are_translated() {
    let template = json!({ "name": "main", "cluster": "{{inputs.parameters.cluster}}" });
    let defaults = json!({ "cluster": "c2", "namespace": "n" });
    let spec = json!({ "templates": [template], "templateDefaults": defaults });
    let expected = |spec: &Value| {
        let annotation = &spec["templates"][0]["metadata"]["annotations"][CLUSTER_NAME];
        assert_eq!(annotation, "{{inputs.parameters.cluster}}");
        assert_eq!(spec["templateDefaults"]["metadata"]["annotations"], both());
    };
    expected(&translated(&spec));
    let after = translated(&json!({ "schedules": ["* * * * *"], "workflowSpec": spec }));
    expected(&after["workflowSpec"]);
    assert_eq!(after["schedules"], json!(["* * * * *"]));
}

#[rstest]
#[case::no_spec(json!({}))]
#[case::null_spec(json!({ "spec": null }))]
#[case::list_for_spec(json!({ "spec": [] }))]
#[case::no_templates(json!({ "spec": { "workflowTemplateRef": { "name": "t" } } }))]
#[case::null_templates(json!({ "spec": { "templates": null, "templateDefaults": null, "workflowSpec": null } }))]
#[case::object_for_templates(json!({ "spec": { "templates": {}, "templateDefaults": [], "workflowSpec": 7 } }))]
#[case::odd_templates(json!({ "spec": { "templates": [null, 7, "a", [{ "cluster": "c2" }], {}] } }))]
#[case::no_values(json!({ "spec": { "templates": [{ "cluster": "", "namespace": null }] } }))]
#[case::odd_metadata(json!({ "spec": { "templates": [{ "name": {}, "metadata": 7 }], "podMetadata": [] } }))]
#[case::deleted(json!({
    "metadata": { "deletionTimestamp": "2024-01-01T00:00:00Z" },
    "spec": { "templates": [{ "cluster": 7, "namespace": "n" }] },
}))]
fn other_objects_are_unchanged(#[case] object: Value) {
    assert_eq!(translate(&object), Ok((object, None)));
}

#[rstest]
#[case(
    json!({ "name": "main", "cluster": 7 }),
    "spec.templates[1] (main): cluster must be a string"
)]
#[case(json!({ "name": "a\nb", "namespace": ["n"] }), "spec.templates[1] (a b): namespace must be a string")]
#[case(json!({ "cluster": "c2", "metadata": [] }), "spec.templates[1]: metadata must be an object")]
#[case(
    json!({ "cluster": "c2", "metadata": { "annotations": "a" } }),
    "spec.templates[1]: metadata.annotations must be an object"
)]
#[case(
    json!({ "name": "main", "cluster": "c2", "metadata": { "annotations": { CLUSTER_NAME: "c3" } } }),
    "spec.templates[1] (main): cluster is \"c2\", but annotation multicluster.admiralty.io/clustername is \"c3\": \
     change one of them"
)]
#[case(
    json!({ "namespace": "n", "metadata": { "annotations": { REMOTE_NAMESPACE: 7 } } }),
    "spec.templates[1]: namespace is \"n\", but annotation multicluster.admiralty.io/remote-namespace is not a string: \
     change one of them"
)]
fn invalid_template_is_named(#[case] template: Value, #[case] message: &str) {
    let spec = json!({ "templates": [{ "cluster": "c2" }, template] });
    assert_eq!(refused(&spec), message);
    let nested = message.replace("spec.", "spec.workflowSpec.");
    assert_eq!(refused(&json!({ "workflowSpec": spec })), nested);
    let defaults = message.split_once(':').unwrap().1;
    let message = refused(&json!({ "templateDefaults": spec["templates"][1] }));
    assert!(message.starts_with("spec.templateDefaults") && message.ends_with(defaults), "{message}");
}

#[test]
fn message_about_long_values_is_short() {
    let long = "ä\n".repeat(10_000);
    let annotations = json!({ CLUSTER_NAME: format!("{long}a") });
    let template = json!({ "name": long, "cluster": long, "metadata": { "annotations": annotations } });
    let message = refused(&json!({ "templates": [template] }));
    assert!(message.chars().count() < 1_000 && !message.contains('\n'), "{message}");
}

#[rstest]
#[case::cluster(json!({ "templates": [{ "namespace": "n", "cluster": "c2" }] }), None)]
#[case::no_cluster(json!({ "templates": [{ "namespace": "n", "name": "a" }, {}] }), Some("spec.templates[0] (a)"))]
#[case::of_another_template(
    json!({ "templates": [{ "cluster": "c2" }, { "namespace": "n", "cluster": "" }] }),
    Some("spec.templates[1]")
)]
#[case::elected(
    json!({ "templates": [{ "namespace": "n", "metadata": { "annotations": { ELECT: "" } } }] }),
    None
)]
#[case::by_defaults(json!({ "templates": [{ "namespace": "n" }], "templateDefaults": { "cluster": "c2" } }), None)]
#[case::by_pod_metadata(
    json!({ "templates": [{ "namespace": "n" }], "podMetadata": { "annotations": { CLUSTER_NAME: "c2" } } }),
    None
)]
#[case::default_that_is_used(
    json!({ "templates": [{ "cluster": "c2" }], "templateDefaults": { "namespace": "n" } }),
    None
)]
#[case::default_that_is_not_used(
    json!({ "templates": [{}, { "namespace": "n" }], "templateDefaults": { "namespace": "n" } }),
    Some("spec.templateDefaults, spec.templates[1]")
)]
fn namespace_without_a_cluster_gets_a_warning(#[case] spec: Value, #[case] templates: Option<&str>) {
    let (_, warning) = translate(&workflow(&spec)).unwrap();
    let expected = templates.map(|it| {
        format!("namespace has no effect unless the pods name a cluster; set cluster, too, in {it}")
    });
    assert_eq!(warning, expected);
}

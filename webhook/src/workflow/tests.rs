mod inlines;

use super::*;
use mcsa_credentials::contract::launch::{CLUSTER_NAME, ELECT, REMOTE_NAMESPACE};
use rstest::rstest;

fn workflow(spec: &Value) -> Value {
    json!({ "kind": "Workflow", "metadata": { "generateName": "w-" }, "spec": spec })
}

/// The patched object, and the warnings.
fn translate(object: &Value) -> Result<(Value, Vec<String>), InvalidTemplate> {
    update(&json!({}), object)
}

/// The same of an update.
fn update(stored: &Value, object: &Value) -> Result<(Value, Vec<String>), InvalidTemplate> {
    let (stored, text) = (stored.to_string(), object.to_string());
    let parse = |text| serde_json::from_str::<Workflow>(text).unwrap();
    let workflow = parse(&text);
    let patch = patch(&workflow, &parse(&stored))?;
    let mut after = object.clone();
    json_patch::patch(&mut after, &patch).unwrap();
    Ok((after, warnings(&workflow).collect()))
}

/// The patched spec of an object that gets no warning. Another review changes nothing.
fn translated(spec: &Value) -> Value {
    let (after, warnings) = translate(&workflow(spec)).unwrap();
    assert_eq!(warnings, [""; 0]);
    assert_eq!(update(&after, &after), Ok((after.clone(), Vec::new())));
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
#[case::odd_steps(json!({ "spec": { "templates": [
    { "steps": 7 }, { "steps": [null, "a", {}, [null, 7, [], { "inline": [{ "cluster": "c2" }] }, { "inline": "a" }]] },
] } }))]
#[case::odd_dags(json!({ "spec": { "templates": [
    { "dag": [] }, { "dag": { "tasks": {} } }, { "dag": { "tasks": [null, 7, [{}], { "inline": 7 }, {}] } },
] } }))]
#[case::inline_in_inline(json!({ "spec": { "templates": [
    { "steps": [[{ "inline": { "steps": [[{ "inline": { "cluster": "c2" } }]] } }]] },
] } }))]
#[case::odd_metadata(json!({ "spec": { "templates": [{ "name": {}, "metadata": 7 }], "podMetadata": [] } }))]
fn other_objects_are_unchanged(#[case] object: Value) {
    assert_eq!(translate(&object), Ok((object, Vec::new())));
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
#[case::inline(
    json!({ "templates": [{ "name": "a", "steps": [[{ "inline": { "namespace": "n" } }]] }] }),
    Some("spec.templates[0].steps[0][0].inline (a)")
)]
#[case::default_that_an_inline_template_uses(
    json!({
        "templates": [{ "dag": { "tasks": [{ "inline": { "cluster": "c2" } }] } }],
        "templateDefaults": { "namespace": "n" },
    }),
    None
)]
fn namespace_without_a_cluster_gets_a_warning(#[case] spec: Value, #[case] templates: Option<&str>) {
    let (_, warnings) = translate(&workflow(&spec)).unwrap();
    let expected = templates.map(|it| {
        format!("namespace has no effect unless the pods name a cluster; set cluster, too, in {it}")
    });
    assert_eq!(warnings, expected.into_iter().collect::<Vec<_>>());
}

#[rstest]
#[case(json!({ "name": "a", "cluster": "c2", "steps": [] }), true)]
#[case(json!({ "name": "a", "cluster": "c2", "dag": {} }), true)]
#[case(json!({ "name": "a", "cluster": "c2", "script": {} }), false)]
#[case(json!({ "name": "a", "cluster": "", "steps": [] }), false)]
#[case(json!({ "name": "a", "steps": [[{ "inline": { "cluster": "c2" } }]] }), false)]
#[case(json!({ "name": "a", "cluster": "c2", "steps": [[{ "inline": { "cluster": "c2" } }]] }), true)]
fn cluster_of_a_template_without_pods_gets_a_warning(#[case] template: Value, #[case] expected: bool) {
    let (_, warnings) = translate(&workflow(&json!({ "templates": [{}, template] }))).unwrap();
    let has_warning =
        warnings.iter().any(|warning| warning.ends_with("that they call: spec.templates[1] (a)"));
    assert_eq!((warnings.len(), has_warning), (usize::from(expected), expected), "{warnings:?}");
}

/// A template that was translated for one cluster, and names another one now.
fn moved(name: &str, from: &str, to: &str) -> Value {
    json!({ "name": name, "cluster": to, "metadata": { "annotations": { CLUSTER_NAME: from } } })
}

#[rstest]
#[case::of_a_template(json!({ "templates": [moved("a", "c2", "c3")] }), "/spec/templates/0")]
#[case::of_another_index(json!({ "templates": [{ "cluster": "c4" }, moved("a", "c2", "c3")] }), "/spec/templates/1")]
#[case::of_the_defaults(json!({ "templateDefaults": moved("", "c2", "c3") }), "/spec/templateDefaults")]
fn annotation_follows_its_field(#[case] spec: Value, #[case] path: &str) {
    let before = json!({
        "templates": [moved("a", "c2", "c2"), moved("b", "c5", "c5")],
        "templateDefaults": moved("", "c2", "c2"),
    });
    let (after, _) = update(&workflow(&before), &workflow(&spec)).unwrap();
    let annotations = &after.pointer(path).unwrap()["metadata"]["annotations"];
    assert_eq!(*annotations, json!({ CLUSTER_NAME: "c3" }));
}

#[rstest]
#[case::of_the_user(json!({ "templates": [moved("a", "c2", "c5")] }))]
#[case::of_another_template(json!({ "templates": [moved("b", "c2", "c2")] }))]
#[case::of_another_spec(json!({ "workflowSpec": { "templates": [moved("a", "c2", "c2")] } }))]
#[case::of_nothing(json!({}))]
fn annotation_of_the_user_stays(#[case] before: Value) {
    let object = workflow(&json!({ "templates": [moved("a", "c2", "c3")] }));
    let message = update(&workflow(&before), &object).unwrap_err().to_string();
    assert!(message.contains("change one of them"), "{message}");
}

#[test]
fn annotation_without_its_field_stays() {
    let before = workflow(&json!({ "templates": [moved("a", "c2", "c2")] }));
    let annotated = json!({ "name": "a", "metadata": { "annotations": { CLUSTER_NAME: "c2" } } });
    let object = workflow(&json!({ "templates": [annotated] }));
    assert_eq!(update(&before, &object), Ok((object, Vec::new())));
}

#[test]
fn only_one_spec_is_nested() {
    let nested = json!({ "workflowSpec": { "workflowSpec": { "templates": [{ "cluster": 7 }] } } });
    assert_eq!(translated(&nested), nested);
}

#[test]
fn number_of_templates_is_limited() {
    let templates = |count| json!({ "templates": vec![json!({ "cluster": "c2" }); count] });
    assert!(translate(&workflow(&templates(MAX_TEMPLATES))).is_ok());
    let message = refused(&json!({ "workflowSpec": templates(MAX_TEMPLATES + 1) }));
    assert!(message.starts_with("spec.workflowSpec.templates: more than 1000 templates"), "{message}");
    // Templates without the fields do not count.
    let mut many = templates(1);
    many["templates"].as_array_mut().unwrap().extend(vec![json!({}); 2 * MAX_TEMPLATES]);
    assert!(translate(&workflow(&many)).is_ok());
}

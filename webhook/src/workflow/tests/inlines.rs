//! Inline templates of steps and DAG tasks.

use super::*;

/// A spec with the same inline template in a step and in a task, beside items of other types.
fn inlined(inline: &Value) -> Value {
    json!({ "templates": [
        { "name": "other" },
        { "name": "steps", "steps": [7, [{ "template": "other" }, { "inline": inline }]] },
        { "name": "dag", "dag": { "tasks": ["a", {}, { "template": "other" }, { "inline": inline }] } },
    ] })
}

/// A template with parallel steps that are inline templates.
fn parallel(name: &str, inlines: &[Value]) -> Value {
    let steps: Vec<_> = inlines.iter().map(|inline| json!({ "inline": inline })).collect();
    json!({ "name": name, "steps": [steps] })
}

#[test]
fn fields_become_annotations() {
    let before = inlined(&json!({ "cluster": "c2", "namespace": "n" }));
    let after = inlined(&json!({ "cluster": "c2", "namespace": "n", "metadata": { "annotations": both() } }));
    assert_eq!(translated(&before), after);
    assert_eq!(translated(&json!({ "workflowSpec": before })), json!({ "workflowSpec": after }));
}

#[test]
fn clusters_are_found() {
    let object = workflow(&inlined(&json!({ "cluster": "c2" }))).to_string();
    let object: Workflow = serde_json::from_str(&object).unwrap();
    assert_eq!(object.clusters().collect::<Vec<_>>(), ["c2", "c2"]);
}

#[test]
fn invalid_template_is_named() {
    let mut spec = inlined(&json!({ "cluster": 7 }));
    let step = "spec.templates[1].steps[1][1].inline (steps): cluster must be a string";
    assert_eq!(refused(&spec), step);
    let nested = step.replace("spec.", "spec.workflowSpec.");
    assert_eq!(refused(&json!({ "workflowSpec": spec })), nested);
    spec["templates"][1] = json!({});
    assert_eq!(refused(&spec), "spec.templates[2].dag.tasks[3].inline (dag): cluster must be a string");
}

#[rstest]
#[case::of_the_same_name("a", json!([parallel("a", &[json!({}), moved("", "c2", "c2")])]), true)]
#[case::of_the_same_index("", json!([{}, parallel("", &[json!({}), moved("", "c2", "c2")])]), true)]
#[case::of_another_index("", json!([parallel("", &[json!({}), moved("", "c2", "c2")])]), false)]
#[case::of_another_template("a", json!([{}, parallel("b", &[json!({}), moved("", "c2", "c2")])]), false)]
#[case::of_another_position("a", json!([parallel("a", &[moved("", "c2", "c2")])]), false)]
#[case::of_the_template_around_it("a", json!([moved("a", "c2", "c2")]), false)]
fn annotation_follows_its_field(#[case] name: &str, #[case] before: Value, #[case] follows: bool) {
    let after = json!([{}, parallel(name, &[json!({}), moved("", "c2", "c3")])]);
    let (before, after) =
        (workflow(&json!({ "templates": before })), workflow(&json!({ "templates": after })));
    let path = "/spec/templates/1/steps/0/1/inline/metadata/annotations";
    let annotations = update(&before, &after).ok().and_then(|(after, _)| after.pointer(path).cloned());
    assert_eq!(annotations, follows.then(|| json!({ CLUSTER_NAME: "c3" })));
}

#[test]
fn number_is_limited_together_with_templates() {
    let step = json!({ "inline": { "cluster": "c2" } });
    // Inline templates without the fields do not count, nor does the template around them.
    let spec = |steps: usize| {
        let others = vec![json!({ "inline": {} }); 2 * MAX_TEMPLATES];
        let tasks = json!({ "tasks": [step] });
        json!({ "templates": [{ "cluster": "c2" }, { "steps": [vec![&step; steps], others], "dag": tasks }] })
    };
    assert!(translate(&workflow(&spec(MAX_TEMPLATES - 2))).is_ok());
    let message = refused(&json!({ "workflowSpec": spec(MAX_TEMPLATES - 1) }));
    assert!(message.starts_with("spec.workflowSpec.templates: more than 1000 templates"), "{message}");
    assert!(refused(&spec(3 * MAX_TEMPLATES)).starts_with("spec.templates: more than 1000 templates"));
}

//! The schemas of templates in the CRDs of Argo Workflows, and the JSON Patch that adds the missing fields to them: a
//! pure function of a CRD.

use std::collections::BTreeMap;

use kube::api::{NotUsed, Object, Patch};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

/// Each field with its description.
const FIELDS: [(&str, &str); 2] = [
    ("cluster", "Cluster in which the pods of this template run, by multicluster-service-account."),
    ("namespace", "Namespace of that cluster in which they run."),
];

/// A CRD. Full ones have megabytes, of which only what describes templates is kept.
pub(crate) type Definition = Object<Spec, NotUsed>;

/// The spec of a CRD.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Spec {
    versions: Vec<Version>,
}

#[derive(Clone, Debug, Deserialize)]
struct Version {
    served: bool,
    #[serde(default)]
    schema: Schema,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Schema {
    #[serde(default, rename = "openAPIV3Schema")]
    root: With<Root>,
}

/// A schema with these properties.
#[derive(Clone, Debug, Default, Deserialize)]
struct With<P> {
    properties: Option<P>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Root {
    spec: Option<With<Workflow>>,
}

/// The properties of a spec that has templates.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Workflow {
    /// A CronWorkflow has its templates in there.
    workflow_spec: Option<Box<With<Workflow>>>,
    template_defaults: Option<Template>,
    templates: Option<List>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct List {
    items: Option<Template>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Template {
    properties: Option<BTreeMap<String, IgnoredAny>>,
    #[serde(default, rename = "x-kubernetes-preserve-unknown-fields")]
    keeps_unknown_fields: bool,
}

/// The JSON Patch that adds the missing fields to all served versions. The API server refuses it if the CRD has changed:
/// paths contain the index of a version. `None`: no field is missing.
pub(crate) fn patch(definition: &Definition) -> serde_json::Result<Option<Patch<()>>> {
    let missing = missing(&definition.spec);
    if missing.is_empty() {
        return Ok(None);
    }
    let version = &definition.metadata.resource_version;
    let mut operations = vec![json!({ "op": "test", "path": "/metadata/resourceVersion", "value": version })];
    operations.extend(missing);
    serde_json::from_value(Value::Array(operations)).map(|patch| Some(Patch::Json(patch)))
}

/// The operations that add the missing fields. A field that exists is Argo's own or ours, and stays as it is.
fn missing(spec: &Spec) -> Vec<Value> {
    let mut operations = Vec::new();
    for (index, version) in spec.versions.iter().enumerate().filter(|(_, version)| version.served) {
        let root = version.schema.root.properties.as_ref();
        let spec = root.and_then(|root| root.spec.as_ref()?.properties.as_ref());
        let path = format!("/spec/versions/{index}/schema/openAPIV3Schema/properties/spec/properties");
        for (path, template) in spec.map(|spec| templates(spec, &path)).unwrap_or_default() {
            operations.extend(template.missing(&path));
        }
    }
    operations
}

/// The schemas of templates, each with its path.
fn templates<'a>(spec: &'a Workflow, path: &str) -> Vec<(String, &'a Template)> {
    let nested = spec.workflow_spec.as_ref().and_then(|nested| nested.properties.as_ref());
    let nested = nested.map(|nested| templates(nested, &format!("{path}/workflowSpec/properties")));
    let defaults = spec.template_defaults.as_ref().map(|it| (format!("{path}/templateDefaults"), it));
    let items = spec.templates.as_ref().and_then(|list| list.items.as_ref());
    let items = items.map(|it| (format!("{path}/templates/items"), it));
    nested.into_iter().flatten().chain(defaults).chain(items).collect()
}

impl Template {
    fn missing(&self, path: &str) -> Vec<Value> {
        let Some(properties) = self.properties.as_ref().filter(|_| !self.keeps_unknown_fields) else {
            return Vec::new();
        };
        let missing = FIELDS.iter().filter(|(name, _)| !properties.contains_key(*name));
        let add = |(name, description): &(&str, &str)| {
            let schema = json!({ "type": "string", "description": description });
            json!({ "op": "add", "path": format!("{path}/properties/{name}"), "value": schema })
        };
        missing.map(add).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const SPEC: &str = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";

    /// A template of a full CRD.
    fn full() -> Value {
        json!({ "type": "object", "properties": { "name": { "type": "string" } } })
    }

    /// A template of a full CRD to which the fields were added.
    fn patched() -> Value {
        let mut template = full();
        for (name, _) in FIELDS {
            template["properties"][name] = json!({ "type": "string" });
        }
        template
    }

    /// The properties of a workflow's spec.
    fn workflow(template: &Value) -> Value {
        let templates = json!({ "type": "array", "items": template });
        json!({ "entrypoint": { "type": "string" }, "templateDefaults": template, "templates": templates })
    }

    /// A version with these properties of its spec.
    fn version(properties: &Value) -> Value {
        let root = json!({ "spec": { "type": "object", "properties": properties } });
        json!({ "name": "v1", "served": true, "storage": true,
            "schema": { "openAPIV3Schema": { "type": "object", "properties": root } } })
    }

    fn definition(versions: &[Value]) -> Definition {
        let metadata = json!({ "name": "workflows.argoproj.io", "resourceVersion": "7" });
        serde_json::from_value(json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": metadata,
            "spec": { "group": "argoproj.io", "versions": versions },
            "status": { "storedVersions": ["v1"] },
        }))
        .unwrap()
    }

    /// The paths that the patch adds, if the CRD has not changed.
    fn paths(definition: &Definition) -> Vec<String> {
        let Some(patch) = patch(definition).unwrap() else { return Vec::new() };
        let Patch::Json(operations) = patch else { panic!("not a JSON Patch") };
        let operations = serde_json::to_value(operations).unwrap();
        let (first, operations) = operations.as_array().unwrap().split_first().unwrap();
        assert_eq!(*first, json!({ "op": "test", "path": "/metadata/resourceVersion", "value": "7" }));
        assert!(operations.iter().all(|operation| operation["op"] == "add"), "{operations:?}");
        operations.iter().map(|operation| operation["path"].as_str().unwrap().to_owned()).collect()
    }

    #[rstest]
    #[case::workflow(workflow(&full()), "")]
    #[case::cron_workflow(
        json!({ "workflowSpec": { "properties": workflow(&full()) } }),
        "/workflowSpec/properties"
    )]
    fn fields_are_added_to_full_schemas(#[case] properties: Value, #[case] nested: &str) {
        let expected = ["templateDefaults", "templates/items"].map(|template| {
            ["cluster", "namespace"].map(|field| format!("{SPEC}{nested}/{template}/properties/{field}"))
        });
        assert_eq!(paths(&definition(&[version(&properties)])), expected.concat());
    }

    #[test]
    fn fields_are_strings() {
        let operations = missing(&definition(&[version(&workflow(&full()))]).spec);
        assert!(operations.iter().all(|operation| operation["value"]["type"] == "string"), "{operations:?}");
    }

    #[rstest]
    #[case::patched(workflow(&patched()))]
    #[case::templates_keep_unknown_fields({
        let mut template = full();
        template["x-kubernetes-preserve-unknown-fields"] = json!(true);
        workflow(&template)
    })]
    #[case::templates_without_properties(workflow(&json!({ "type": "object" })))]
    #[case::without_templates(json!({ "suspend": { "type": "boolean" } }))]
    #[case::minimal(Value::Null)]
    fn other_schemas_are_left_alone(#[case] properties: Value) {
        assert_eq!(paths(&definition(&[version(&properties)])), Vec::<String>::new());
    }

    #[test]
    fn only_the_missing_field_is_added() {
        let mut template = patched();
        template["properties"].as_object_mut().unwrap().remove("namespace");
        let templates = json!({ "templates": { "items": template } });
        let expected = [format!("{SPEC}/templates/items/properties/namespace")];
        assert_eq!(paths(&definition(&[version(&templates)])), expected);
    }

    #[test]
    fn every_served_version_gets_the_fields() {
        let templates = json!({ "templates": { "items": full() } });
        let (served, mut unserved) = (version(&templates), version(&templates));
        unserved["served"] = json!(false);
        let minimal = json!({ "name": "v2", "served": true, "schema": {
            "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } } });
        let found = paths(&definition(&[unserved, minimal, served.clone(), served]));
        let versions: Vec<_> = found.iter().map(|path| path.split('/').nth(3).unwrap()).collect();
        assert_eq!(versions, ["2", "2", "3", "3"]);
    }
}

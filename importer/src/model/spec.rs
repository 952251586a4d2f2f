//! Reads the spec of an import, within the bounds of the CRD.
//!
//! The API server has checked the spec, but perhaps with another CRD: that of a newer version, or one that somebody
//! edited. It also keeps imports that are older than a bound.

use std::sync::LazyLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;
use mcsa_client::{ServiceAccountImport, ServiceAccountImportSpec};
use serde_json::{Map, Value};

/// Longest name of a label or annotation: prefix, slash and name.
const NAME_MAX: usize = 253 + 1 + 63;

static SCHEMA: LazyLock<Option<JSONSchemaProps>> = LazyLock::new(|| {
    let version = ServiceAccountImport::crd().spec.versions.into_iter().next()?;
    let mut properties = version.schema?.open_api_v3_schema?.properties?;
    properties.remove("spec")
});

/// Reads a spec.
///
/// # Errors
/// The field that is missing, has another type, exceeds a bound, or has a value that this version does not know. Quotes
/// no value.
pub fn read(spec: Value) -> Result<ServiceAccountImportSpec, String> {
    if let Some(schema) = &*SCHEMA {
        check(schema, &spec, "spec")?;
    }
    serde_json::from_value(spec).map_err(|_| "spec has a value of another type".to_owned())
}

fn check(schema: &JSONSchemaProps, value: &Value, path: &str) -> Result<(), String> {
    match (schema.type_.as_deref(), value) {
        (_, Value::Null) if schema.nullable == Some(true) => Ok(()),
        (_, Value::Null) => Err(format!("{path} is missing")),
        (Some("object"), Value::Object(fields)) => check_object(schema, fields, path),
        (Some("array"), Value::Array(items)) => check_items(schema, items, path),
        (Some("string"), Value::String(text)) => check_text(schema, text, path),
        (Some("integer"), Value::Number(number)) if !number.is_f64() => Ok(()),
        (Some(type_), _) => Err(format!("{path} is not of the type {type_}")),
        (None, _) => Ok(()),
    }
}

fn check_object(schema: &JSONSchemaProps, fields: &Map<String, Value>, path: &str) -> Result<(), String> {
    if let Some(max) = exceeded(schema.max_properties, fields.len()) {
        return Err(format!("{path} has more than {max} entries"));
    }
    let missing = schema.required.iter().flatten().find(|name| !fields.contains_key(*name));
    if let Some(name) = missing {
        return Err(format!("{path}.{name} is missing"));
    }
    for (name, value) in fields {
        let known = schema.properties.as_ref().and_then(|properties| properties.get(name));
        match (known, &schema.additional_properties) {
            (Some(known), _) => check(known, value, &format!("{path}.{name}"))?,
            (None, Some(JSONSchemaPropsOrBool::Schema(values))) => {
                if name.chars().count() > NAME_MAX {
                    return Err(format!("{path} has a name of more than {NAME_MAX} characters"));
                }
                check(values, value, &format!("{path}[{name}]"))?;
            }
            // A field of a newer version, which this one ignores.
            (None, _) => {}
        }
    }
    Ok(())
}

fn check_items(schema: &JSONSchemaProps, items: &[Value], path: &str) -> Result<(), String> {
    if let Some(max) = exceeded(schema.max_items, items.len()) {
        return Err(format!("{path} has more than {max} items"));
    }
    let Some(JSONSchemaPropsOrArray::Schema(item_schema)) = &schema.items else { return Ok(()) };
    let mut items = items.iter().enumerate();
    items.try_for_each(|(index, item)| check(item_schema, item, &format!("{path}[{index}]")))
}

fn check_text(schema: &JSONSchemaProps, text: &str, path: &str) -> Result<(), String> {
    if let Some(max) = exceeded(schema.max_length, text.chars().count()) {
        return Err(format!("{path} has more than {max} characters"));
    }
    let is_known = schema.enum_.as_ref().is_none_or(|known| known.iter().any(|value| value.0 == *text));
    if is_known {
        Ok(())
    } else {
        Err(format!("{path} has a value that this version of the importer does not know"))
    }
}

/// The maximum, if the count exceeds it.
fn exceeded(max: Option<i64>, count: usize) -> Option<usize> {
    max.and_then(|max| usize::try_from(max).ok()).filter(|max| count > *max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    fn spec(change: Value) -> Value {
        let mut spec = json!({ "clusterName": "c2", "namespace": "default", "name": "pod-lister" });
        spec.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        spec
    }

    fn labels(count: usize, value: &str) -> Value {
        (0..count).map(|i| (i.to_string(), value.into())).collect::<Map<_, _>>().into()
    }

    #[rstest]
    #[case::defaults(json!({}))]
    #[case::null(json!({ "secret": null, "boundSecret": null }))]
    #[case::field_of_a_newer_version(json!({ "suspend": true }))]
    #[case::all_fields(json!({
        "expirationSeconds": 600, "audiences": ["a"], "boundSecret": "b",
        "secret": { "name": "s", "labels": labels(64, "1"), "annotations": { "a": "ä".repeat(2048) },
                    "items": [{ "key": "k", "value": "ArgoCDConfig" }] },
    }))]
    fn valid_spec_is_read(#[case] change: Value) {
        assert_eq!(read(spec(change)).unwrap().cluster_name, "c2");
    }

    #[rstest]
    #[case::missing(json!({ "name": null }), "spec.name is missing")]
    #[case::other_type(json!({ "clusterName": 7 }), "spec.clusterName is not of the type string")]
    #[case::other_number(json!({ "expirationSeconds": 0.5 }), "spec.expirationSeconds is not of the type integer")]
    #[case::value_of_a_newer_version(
        json!({ "secret": { "items": [{ "key": "k", "value": "Token" }, { "key": "l", "value": "s3cret" }] } }),
        "spec.secret.items[1].value has a value that this version of the importer does not know"
    )]
    #[case::incomplete_item(json!({ "secret": { "items": [{ "key": "k" }] } }), "spec.secret.items[0].value is missing")]
    #[case::many_labels(json!({ "secret": { "labels": labels(65, "1") } }), "spec.secret.labels has more than 64 entries")]
    #[case::long_label(json!({ "secret": { "labels": labels(1, &"s3cret".repeat(11)) } }), "spec.secret.labels[0] has more than 63 characters")]
    #[case::long_name(
        json!({ "secret": { "annotations": { "s3cret".repeat(100_000): "" } } }),
        "spec.secret.annotations has a name of more than 317 characters"
    )]
    #[case::many_audiences(json!({ "audiences": vec!["a"; 17] }), "spec.audiences has more than 16 items")]
    fn problem_names_the_field_and_no_value(#[case] change: Value, #[case] expected: &str) {
        assert_eq!(read(spec(change)).unwrap_err(), expected);
    }

    #[test]
    fn missing_spec_is_a_problem() {
        assert_eq!(read(Value::Null).unwrap_err(), "spec is missing");
    }

    /// The most characters of a value that the schema accepts, without punctuation. Fails if there is no limit.
    fn largest(schema: &JSONSchemaProps, path: &str) -> i64 {
        let bound = |max: Option<i64>| max.unwrap_or_else(|| panic!("{path} has no limit"));
        match schema.type_.as_deref() {
            Some("object") => {
                let fields = schema.properties.iter().flatten();
                let fields: i64 = fields.map(|(name, field)| largest(field, &format!("{path}.{name}"))).sum();
                match &schema.additional_properties {
                    Some(JSONSchemaPropsOrBool::Schema(values)) => {
                        bound(schema.max_properties) * (NAME_MAX as i64 + largest(values, path))
                    }
                    _ => fields,
                }
            }
            Some("array") => match &schema.items {
                Some(JSONSchemaPropsOrArray::Schema(item)) => bound(schema.max_items) * largest(item, path),
                _ => panic!("{path} has no items"),
            },
            Some("string") if schema.enum_.is_some() => 0,
            Some("string") => bound(schema.max_length),
            Some("integer") => 0,
            other => panic!("{path} has the type {other:?}"),
        }
    }

    #[test]
    fn every_value_of_a_spec_is_limited() {
        let largest = largest(SCHEMA.as_ref().unwrap(), "spec");
        assert!(largest < 256 << 10, "{largest} characters");
    }
}

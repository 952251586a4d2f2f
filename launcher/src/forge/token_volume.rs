//! Removes the volume with the API token, which the API server added to the home pod. The source adds its own.

use serde_json::{Map, Value};

use super::json::{remove_items, rows};

/// The prefix of the volume's name; the API server treats any volume with this prefix as its own.
const PREFIX: &str = "kube-api-access-";

/// Removes the volume, and its mounts in all containers.
pub(super) fn remove(spec: &mut Map<String, Value>) {
    let is_token = |volume: &Value| {
        let sources = volume.pointer("/projected/sources").and_then(Value::as_array);
        name(volume).starts_with(PREFIX)
            && sources.into_iter().flatten().any(|source| source.get("serviceAccountToken").is_some())
    };
    let volumes = rows(spec.get("volumes")).filter(|volume| is_token(volume));
    let names: Vec<_> = volumes.map(|volume| name(volume).to_owned()).collect();
    if names.is_empty() {
        return;
    }
    remove_items(spec, "volumes", is_token);
    for field in ["initContainers", "containers"] {
        let containers = spec.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten();
        for container in containers.filter_map(Value::as_object_mut) {
            remove_items(container, "volumeMounts", |mount| names.iter().any(|volume| volume == name(mount)));
        }
    }
}

fn name(object: &Value) -> &str {
    object.get("name").and_then(Value::as_str).unwrap_or_default()
}

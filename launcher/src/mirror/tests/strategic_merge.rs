//! Applies a strategic merge patch to a pod, as an API server does with `pods/status`.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Map, Value, json};

use crate::mirror::StatusPatch;

pub(super) fn apply(pod: &Pod, patch: &StatusPatch) -> Pod {
    let mut object = json!(pod);
    let body = patch.body();
    assert_eq!(body["metadata"]["uid"], object["metadata"]["uid"], "the UID is immutable");
    merge(object.as_object_mut().unwrap(), body.as_object().unwrap());
    serde_json::from_value(object).unwrap()
}

fn merge(object: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (field, value) in patch {
        let merge_key = match field.as_str() {
            "conditions" => Some("type"),
            "podIPs" | "hostIPs" => Some("ip"),
            _ => None,
        };
        match (value, merge_key) {
            (Value::Null, _) => drop(object.remove(field)),
            (Value::Object(value), _) => {
                let inner = object.entry(field.clone()).or_insert_with(|| json!({}));
                merge(inner.as_object_mut().unwrap(), value);
            }
            (Value::Array(items), Some(key)) => {
                let list = object.entry(field.clone()).or_insert_with(|| json!([]));
                merge_list(list.as_array_mut().unwrap(), items, key);
            }
            (value, _) => drop(object.insert(field.clone(), value.clone())),
        }
    }
}

fn merge_list(list: &mut Vec<Value>, items: &[Value], key: &str) {
    if items.iter().any(|item| item["$patch"] == "replace" && item.get(key).is_none()) {
        list.clear();
    }
    for item in items.iter().filter(|item| item.get(key).is_some()) {
        let found = list.iter().position(|old| old[key] == item[key]);
        match found {
            Some(index) if item["$patch"] == "delete" => drop(list.remove(index)),
            Some(index) => {
                merge(list[index].as_object_mut().unwrap(), item.as_object().unwrap());
            }
            None if item["$patch"] == "delete" => {}
            None => {
                let mut new = Map::new();
                merge(&mut new, item.as_object().unwrap());
                list.push(new.into());
            }
        }
    }
}

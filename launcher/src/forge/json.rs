//! Lists and objects inside JSON. Anything of another type is left alone: the API server judges it.

use serde_json::{Map, Value};

/// The items of a list.
pub(super) fn rows(list: Option<&Value>) -> impl Iterator<Item = &Value> {
    list.and_then(Value::as_array).into_iter().flatten()
}

/// Removes items of a list; the list too, if that makes it empty.
pub(super) fn remove_items(
    object: &mut Map<String, Value>,
    field: &str,
    mut is_removed: impl FnMut(&Value) -> bool,
) {
    let Some(list) = object.get_mut(field).and_then(Value::as_array_mut) else { return };
    let before = list.len();
    list.retain(|item| !is_removed(item));
    if list.is_empty() && before > 0 {
        object.remove(field);
    }
}

/// Changes an object inside an object; removes it if that makes it empty.
pub(super) fn change(
    object: &mut Map<String, Value>,
    field: &str,
    change: impl FnOnce(&mut Map<String, Value>),
) {
    let Some(inner) = object.get_mut(field).and_then(Value::as_object_mut) else { return };
    let was_empty = inner.is_empty();
    change(inner);
    if inner.is_empty() && !was_empty {
        object.remove(field);
    }
}

//! Computes the remote pod of a home pod. A pure function.
//!
//! It works on JSON, so that fields which this program does not know survive.

use mcsa_client::controller::Owner;
use serde_json::{Map, Value, json};

pub(crate) use self::metadata::metadata_patch;
pub(crate) use self::refusal::{refusal, tolerates_node, untolerated};

mod json;
mod label_keys;
mod metadata;
mod placement;
mod refusal;
mod spec;
mod token_volume;

/// Where a home pod runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Destination<'a> {
    /// The source's name, which is that of the virtual node, too.
    pub(crate) cluster: &'a str,
    /// The remote pod's namespace.
    pub(crate) namespace: &'a str,
    /// The home pod, as the owner of the remote pod.
    pub(crate) owner: &'a Owner,
}

/// The home pod is not a pod that an API server returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ForgeError {
    #[error("the pod has no metadata.name: read it from the API server")]
    NoName,
    #[error("the pod has no spec: read the whole object, not only its metadata")]
    NoSpec,
}

/// The remote pod of a home pod, to be created.
///
/// # Errors
/// If the home pod has no name, or no spec.
pub(crate) fn forge(home: &Value, to: &Destination<'_>) -> Result<Value, ForgeError> {
    let empty = Map::new();
    let metadata = home.get("metadata").and_then(Value::as_object).unwrap_or(&empty);
    let name = metadata.get("name").and_then(Value::as_str).filter(|name| !name.is_empty());
    let name = name.ok_or(ForgeError::NoName)?;
    let spec = home.get("spec").and_then(Value::as_object).ok_or(ForgeError::NoSpec)?;
    let labels = metadata::strings(metadata.get("labels"));
    Ok(json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata::remote(name, &labels, &metadata::strings(metadata.get("annotations")), to),
        "spec": spec::remote(spec, &labels, to.cluster),
    }))
}

#[cfg(test)]
mod tests;

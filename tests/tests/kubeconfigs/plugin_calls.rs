//! What the credential plugin of a case has recorded.

use std::path::Path;

use serde_json::Value;

/// The plugin appends a line to this file.
const RUNS: &str = "plugin-runs";

/// The plugin writes `KUBERNETES_EXEC_INFO` to this file.
const EXEC_INFO: &str = "exec-info.json";

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct PluginCalls {
    pub(super) runs: usize,
    /// The last `KUBERNETES_EXEC_INFO`.
    pub(super) info: Option<Value>,
}

/// kubectl writes `config: null` for a cluster without one.
fn without_null(mut info: Value) -> Value {
    if let Some(cluster) = info.pointer_mut("/spec/cluster").and_then(Value::as_object_mut) {
        cluster.retain(|_, value| !value.is_null());
    }
    info
}

impl PluginCalls {
    pub(super) fn of(folder: &Path) -> Self {
        let read = |name| std::fs::read_to_string(folder.join(name)).ok();
        Self {
            runs: read(RUNS).map_or(0, |text| text.lines().count()),
            info: read(EXEC_INFO).and_then(|text| serde_json::from_str(&text).ok()).map(without_null),
        }
    }
}

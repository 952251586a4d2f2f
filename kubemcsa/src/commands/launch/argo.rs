//! The kinds of Argo Workflows in both clusters.

use anyhow::bail;
use kube::api::{ApiResource, DynamicObject, ObjectMeta};
use kube::core::GroupVersionKind;

use crate::cluster::{Cluster, apply};

/// The outputs of steps.
const TASK_RESULTS: &str = "workflowtaskresults.argoproj.io";
const WORKFLOWS: &str = "workflows.argoproj.io";

/// Whether a cluster has the kind Workflow.
pub(crate) async fn has_workflows(cluster: &Cluster) -> anyhow::Result<bool> {
    apply::exists(cluster, &definition(WORKFLOWS)).await
}

/// The kind of the outputs of steps, as the target has it, if the source does not have it.
pub(crate) async fn missing_kind(
    target: &Cluster,
    source: &Cluster,
) -> anyhow::Result<Option<DynamicObject>> {
    let wanted = definition(TASK_RESULTS);
    if apply::exists(source, &wanted).await? {
        return Ok(None);
    }
    let Some(stored) = apply::read(target, &wanted).await? else {
        bail!(
            "{}: Argo Workflows is not installed: there is no kind {TASK_RESULTS}; install it first",
            target.name
        );
    };
    Ok(Some(copy(&stored)))
}

fn definition(name: &str) -> DynamicObject {
    let kind = GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
    DynamicObject::new(name, &ApiResource::from_gvk(&kind))
}

/// The kind without what belongs to the cluster that it was read from.
fn copy(stored: &DynamicObject) -> DynamicObject {
    let metadata = ObjectMeta { name: stored.metadata.name.clone(), ..Default::default() };
    let mut copy = DynamicObject { metadata, ..stored.clone() };
    if let Some(data) = copy.data.as_object_mut() {
        data.retain(|field, _| field == "spec");
    }
    copy
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn copy_has_the_name_and_the_spec() {
        let mut stored = definition(TASK_RESULTS);
        stored.metadata.uid = Some("u".into());
        stored.data = json!({ "spec": { "group": "argoproj.io" }, "status": { "storedVersions": ["v1"] } });
        let mut expected = definition(TASK_RESULTS);
        expected.data = json!({ "spec": { "group": "argoproj.io" } });
        assert_eq!(copy(&stored), expected);
    }
}

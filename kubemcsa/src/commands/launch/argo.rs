//! The kinds of Argo Workflows in both clusters.

use anyhow::bail;
use kube::api::{DynamicObject, ObjectMeta};
use mcsa_credentials::contract::SYSTEM_NAMESPACE;

use crate::cluster::object::{self, PART_OF};
use crate::cluster::{Cluster, apply, template_fields};

/// The outputs of steps.
const TASK_RESULTS: &str = "workflowtaskresults.argoproj.io";
const WORKFLOWS: &str = "workflows.argoproj.io";

/// Whether a cluster has the kind Workflow.
pub(crate) async fn has_workflows(cluster: &Cluster) -> anyhow::Result<bool> {
    apply::exists(cluster, &definition(WORKFLOWS)).await
}

/// The kind of the outputs of steps, as the target has it, if the source does not have it, or has another version that
/// launch has copied. `has_argo`: whether the source has an Argo of its own.
pub(crate) async fn wanted_kind(
    target: &Cluster,
    source: &Cluster,
    has_argo: bool,
) -> anyhow::Result<Option<DynamicObject>> {
    let wanted = definition(TASK_RESULTS);
    let exists = apply::exists(source, &wanted).await?;
    let stored = if exists { apply::read(source, &wanted).await? } else { None };
    if stored.as_ref().is_some_and(|stored| is_of_others(stored, has_argo)) {
        return Ok(None);
    }
    match apply::read(target, &wanted).await? {
        Some(offered) => Ok(update(stored.as_ref(), &offered)),
        None if stored.is_some() => Ok(None),
        None => bail!(
            "{}: Argo Workflows is not installed: there is no kind {TASK_RESULTS}; install it first",
            target.name
        ),
    }
}

fn definition(name: &str) -> DynamicObject {
    DynamicObject::new(name, &template_fields::kind())
}

/// Whether a kind of the source is no copy of launch, or an Argo that was installed later may have updated it.
fn is_of_others(stored: &DynamicObject, has_argo: bool) -> bool {
    has_argo || !object::is_ours(stored)
}

/// The copy to apply, unless the source has the same one.
fn update(stored: Option<&DynamicObject>, offered: &DynamicObject) -> Option<DynamicObject> {
    let copy = copy(offered);
    stored.is_none_or(|stored| stored.data["spec"] != copy.data["spec"]).then_some(copy)
}

/// The kind without what belongs to the cluster that it was read from, and with the label of what launch has created.
fn copy(stored: &DynamicObject) -> DynamicObject {
    let metadata = ObjectMeta {
        name: stored.metadata.name.clone(),
        labels: Some([(PART_OF.to_owned(), SYSTEM_NAMESPACE.to_owned())].into()),
        ..Default::default()
    };
    let mut copy = DynamicObject { metadata, ..stored.clone() };
    if let Some(data) = copy.data.as_object_mut() {
        data.retain(|field, _| field == "spec");
    }
    copy
}

#[cfg(test)]
mod tests {
    use kube::ResourceExt;
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    /// The kind as a cluster has it.
    fn stored(version: &str) -> DynamicObject {
        let mut stored = definition(TASK_RESULTS);
        stored.metadata.uid = Some("u".into());
        stored.data = json!({
            "spec": { "group": "argoproj.io", "versions": [{ "name": version }] },
            "status": { "storedVersions": [version] },
        });
        stored
    }

    #[test]
    fn copy_has_the_name_the_spec_and_our_label() {
        let mut expected = definition(TASK_RESULTS);
        expected.data = json!({ "spec": stored("v1").data["spec"] });
        expected.labels_mut().insert(PART_OF.to_owned(), SYSTEM_NAMESPACE.to_owned());
        assert_eq!(copy(&stored("v1")), expected);
    }

    #[rstest]
    #[case::copied(true, false, false)]
    #[case::copied_before_argo_was_installed(true, true, true)]
    #[case::created_by_others(false, false, true)]
    #[case::of_its_own_argo(false, true, true)]
    fn only_copies_of_launch_are_updated(
        #[case] is_copy: bool,
        #[case] has_argo: bool,
        #[case] expected: bool,
    ) {
        let stored = if is_copy { copy(&stored("v1")) } else { stored("v1") };
        assert_eq!(is_of_others(&stored, has_argo), expected);
    }

    #[rstest]
    #[case::missing(None, true)]
    #[case::same(Some("v1"), false)]
    #[case::other_version(Some("v0"), true)]
    fn kind_is_applied_if_it_differs(#[case] in_source: Option<&str>, #[case] expected: bool) {
        let in_source = in_source.map(|version| copy(&stored(version)));
        let applied = update(in_source.as_ref(), &stored("v1"));
        assert_eq!(applied, expected.then(|| copy(&stored("v1"))));
    }
}

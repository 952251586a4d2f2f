//! The kinds of Argo Workflows in both clusters.

use anyhow::bail;
use kube::api::{DynamicObject, ObjectMeta};
use mcsa_credentials::contract::{SYSTEM_NAMESPACE, TARGET_UID};

use super::model::Launch;
use crate::cli::output;
use crate::cluster::call::CallError;
use crate::cluster::object::{self, PART_OF};
use crate::cluster::{Cluster, apply, preview, template_fields};
use crate::link::launcher;

/// The outputs of steps.
const TASK_RESULTS: &str = "workflowtaskresults.argoproj.io";
const WORKFLOWS: &str = "workflows.argoproj.io";

/// Whether a cluster has the kind Workflow.
pub(crate) async fn has_workflows(cluster: &Cluster) -> anyhow::Result<bool> {
    apply::exists(cluster, &definition(WORKFLOWS)).await
}

/// The kind of the outputs of steps, as the target has it, to apply to the source.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct KindCopy {
    pub(crate) copy: DynamicObject,
    /// Whether the source has an earlier copy, which remains if the user may not update it.
    is_update: bool,
}

/// The copy to apply, if the source does not have the kind, or has another version that a launch of this target has
/// copied. If the user may not read the target's kind, an earlier copy remains.
pub(crate) async fn wanted_kind(
    target: &Cluster,
    source: &Cluster,
    launch: &Launch,
) -> anyhow::Result<Option<KindCopy>> {
    let wanted = definition(TASK_RESULTS);
    let stored = apply::read_live(source, &wanted).await?;
    if stored.as_ref().is_some_and(|stored| is_of_others(stored, launch)) {
        return Ok(None);
    }
    match apply::read(target, &wanted).await {
        Ok(Some(offered)) => Ok(update(stored.as_ref(), &offered, &launch.target_uid)),
        Ok(None) if stored.is_some() => Ok(None),
        Ok(None) => bail!(
            "{}: Argo Workflows is not installed: there is no kind {TASK_RESULTS}; install it first",
            target.name
        ),
        Err(refused) if stored.is_some() && refused.refusal().is_some() => {
            warn(source, &refused);
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

impl KindCopy {
    pub(crate) async fn apply(&self, source: &Cluster) -> anyhow::Result<()> {
        match apply::apply(source, &self.copy).await {
            Ok(applied) => output::outcome(&source.name, &object::reference(&self.copy), applied.outcome),
            Err(error) => self.warn_or_fail(source, error)?,
        }
        Ok(())
    }

    /// Shows what [`Self::apply`] would change.
    pub(crate) async fn show(&self, source: &Cluster) -> anyhow::Result<()> {
        match apply::dry_run(source, &self.copy).await {
            Ok(result) => preview::show(source, &self.copy, result),
            Err(error) => Ok(self.warn_or_fail(source, error)?),
        }
    }

    fn warn_or_fail(&self, source: &Cluster, error: CallError) -> Result<(), CallError> {
        if !self.is_update || error.refusal().is_none() {
            return Err(error);
        }
        warn(source, &error);
        Ok(())
    }
}

fn warn(source: &Cluster, refused: &CallError) {
    output::warn_of(refused);
    let text = format!(
        "kept the version of CRD {TASK_RESULTS}; to update it, run this command as a user who may get CRDs in the target \
         and patch CRDs in {}",
        source.name
    );
    output::warn(&source.name, &text);
}

fn definition(name: &str) -> DynamicObject {
    DynamicObject::new(name, &template_fields::kind())
}

/// Whether the source's kind must stay as it is: a launch of this target did not copy it, or the source has its own Argo
/// by now, which may have updated it.
fn is_of_others(stored: &DynamicObject, launch: &Launch) -> bool {
    let is_own = object::is_ours(stored) && launcher::is_of_target(stored, Some(&launch.target_uid));
    launch.stub || !is_own
}

/// The copy to apply, unless the source has the same one.
fn update(stored: Option<&DynamicObject>, offered: &DynamicObject, target_uid: &str) -> Option<KindCopy> {
    let copy = copy(offered, target_uid);
    let is_same = stored.is_some_and(|stored| stored.data["spec"] == copy.data["spec"]);
    (!is_same).then_some(KindCopy { copy, is_update: stored.is_some() })
}

/// The kind without what belongs to the cluster that it was read from, and with the marks of what launch has created for
/// this target.
fn copy(stored: &DynamicObject, target_uid: &str) -> DynamicObject {
    let metadata = ObjectMeta {
        name: stored.metadata.name.clone(),
        labels: Some([(PART_OF.to_owned(), SYSTEM_NAMESPACE.to_owned())].into()),
        annotations: Some([(TARGET_UID.to_owned(), target_uid.to_owned())].into()),
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
    use crate::cluster::tests::cluster;

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
    fn copy_has_the_name_the_spec_and_our_marks() {
        let mut expected = definition(TASK_RESULTS);
        expected.data = json!({ "spec": stored("v1").data["spec"] });
        expected.labels_mut().insert(PART_OF.to_owned(), SYSTEM_NAMESPACE.to_owned());
        expected.annotations_mut().insert(TARGET_UID.to_owned(), "c1".to_owned());
        assert_eq!(copy(&stored("v1"), "c1"), expected);
    }

    #[rstest]
    #[case::copied(Some("c1"), false, false)]
    #[case::copied_before_argo_was_installed(Some("c1"), true, true)]
    #[case::copied_from_another_target(Some("c3"), false, true)]
    #[case::created_by_others(None, false, true)]
    #[case::of_its_own_argo(None, true, true)]
    fn only_copies_of_this_target_are_updated(
        #[case] copied_from: Option<&str>,
        #[case] has_argo: bool,
        #[case] expected: bool,
    ) {
        let stored = stored("v1");
        let stored = copied_from.map_or(stored.clone(), |target_uid| copy(&stored, target_uid));
        let launch = Launch { target_uid: "c1".into(), stub: has_argo, ..Default::default() };
        assert_eq!(is_of_others(&stored, &launch), expected);
    }

    #[rstest]
    #[case::missing(None, true)]
    #[case::same(Some("v1"), false)]
    #[case::other_version(Some("v0"), true)]
    fn kind_is_applied_if_it_differs(#[case] in_source: Option<&str>, #[case] expected: bool) {
        let in_source = in_source.map(|version| copy(&stored(version), "c1"));
        let applied = update(in_source.as_ref(), &stored("v1"), "c1");
        let is_update = in_source.is_some();
        let copy = copy(&stored("v1"), "c1");
        assert_eq!(applied, expected.then_some(KindCopy { copy, is_update }));
    }

    /// An earlier copy for the target with the UID `c1`.
    const COPY: &str = r#"{
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": "workflowtaskresults.argoproj.io",
            "labels": { "app.kubernetes.io/part-of": "multicluster-service-account" },
            "annotations": { "multicluster.admiralty.io/target-uid": "c1" }
        },
        "spec": { "group": "argoproj.io" }
    }"#;
    const NOT_FOUND: &str = r#"{ "kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404 }"#;
    const FORBIDDEN: &str =
        r#"{ "kind": "Status", "status": "Failure", "reason": "Forbidden", "code": 403 }"#;

    #[rstest]
    #[case::source_has_a_copy((200, COPY), true)]
    #[case::source_lacks_the_kind((404, NOT_FOUND), false)]
    #[tokio::test]
    async fn launch_that_exists_needs_no_right_to_read_the_kind_of_the_target(
        #[case] in_source: (u16, &'static str),
        #[case] expected: bool,
    ) {
        let (target, source) = (cluster(|_| (403, FORBIDDEN)), cluster(move |_| in_source));
        let launch = Launch { target_uid: "c1".into(), ..Default::default() };
        let wanted = wanted_kind(&target, &source, &launch).await;
        assert_eq!(wanted.is_ok_and(|wanted| wanted.is_none()), expected);
    }

    #[rstest]
    #[case::update(true)]
    #[case::first_copy(false)]
    #[tokio::test]
    async fn only_an_update_may_be_refused(#[case] is_update: bool) {
        let source = cluster(|_| (403, FORBIDDEN));
        let kind = KindCopy { copy: copy(&stored("v1"), "c1"), is_update };
        assert_eq!(kind.apply(&source).await.is_ok(), is_update);
        assert_eq!(kind.show(&source).await.is_ok(), is_update);
    }
}

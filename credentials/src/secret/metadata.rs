//! The labels and annotations of an import's Secret, without the facts about its token.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use kube::ResourceExt;
use kube::api::ObjectMeta;
use mcsa_client::api::ServiceAccountImport;

use crate::contract;
use crate::names::label_value;
use crate::secret::Provenance;

/// A Secret with more labels and annotations than this is not compared. Those of an import are far fewer.
const ENTRIES_MAX: usize = 512;

/// The labels and annotations that an import's Secret should have, whatever its token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretMetadata {
    /// Those of the template, and ours.
    pub labels: BTreeMap<String, String>,
    /// Those of the template, and ours.
    pub annotations: BTreeMap<String, String>,
}

impl SecretMetadata {
    /// The labels and annotations for the Secret of `import`. Its template can't replace ours.
    pub fn of(import: &ServiceAccountImport) -> Self {
        let template = import.spec.secret.as_ref();
        let mut labels = template.map(|template| template.labels.clone()).unwrap_or_default();
        labels.insert(contract::IMPORT_NAME.into(), label_value(&import.name_any()));
        if import.is_link() {
            labels.insert(contract::LINK_LABEL.into(), "true".into());
        } else {
            // A template must not create a link.
            labels.remove(contract::LINK_LABEL);
        }
        let mut annotations = template.map(|template| template.annotations.clone()).unwrap_or_default();
        annotations.retain(|key, _| !key.starts_with(contract::GROUP));
        annotations.insert(contract::CLUSTER_NAME.into(), import.spec.cluster_name.clone());
        Self { labels, annotations }
    }

    fn digests(&self) -> impl Iterator<Item = u64> {
        digests(Kind::Label, &self.labels).chain(digests(Kind::Annotation, &self.annotations))
    }
}

/// Digests of a Secret's labels and annotations: a few bytes each, however long they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct MetadataDigests(Option<Box<[u64]>>);

impl MetadataDigests {
    pub(super) fn of(metadata: &ObjectMeta) -> Self {
        let labels = metadata.labels.iter().flat_map(|labels| digests(Kind::Label, labels));
        let annotations = metadata.annotations.iter();
        let annotations = annotations.flat_map(|annotations| digests(Kind::Annotation, annotations));
        let mut found: Vec<u64> = labels.chain(annotations).take(ENTRIES_MAX + 1).collect();
        found.sort_unstable();
        Self((found.len() <= ENTRIES_MAX).then(|| found.into()))
    }

    /// Whether all wanted labels and annotations are there, with their values.
    pub(super) fn include(&self, wanted: &SecretMetadata) -> bool {
        self.0
            .as_ref()
            .is_none_or(|found| wanted.digests().all(|digest| found.binary_search(&digest).is_ok()))
    }
}

#[derive(Clone, Copy, Hash)]
enum Kind {
    Label,
    Annotation,
}

fn digests(kind: Kind, entries: &BTreeMap<String, String>) -> impl Iterator<Item = u64> {
    // The facts about the token change with each refresh.
    entries.iter().filter(|(key, _)| !Provenance::KEYS.contains(&key.as_str())).map(move |entry| {
        let mut hasher = DefaultHasher::new();
        (kind, entry).hash(&mut hasher);
        hasher.finish()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use mcsa_client::api::{SecretTemplate, ServiceAccountImportSpec};
    use rstest::rstest;
    use serde_json::{Value, json};

    fn wanted() -> SecretMetadata {
        let entries = |key: &str| [(key.to_owned(), "1".to_owned())].into();
        let template =
            SecretTemplate { labels: entries("team"), annotations: entries("note"), ..Default::default() };
        let spec = ServiceAccountImportSpec {
            cluster_name: "c2".into(),
            secret: Some(template),
            ..Default::default()
        };
        SecretMetadata::of(&ServiceAccountImport::new("a", spec))
    }

    #[rstest]
    #[case::unchanged(json!({}), true)]
    #[case::others_added(json!({ "labels": { "other": "1" }, "annotations": { "other": "1" } }), true)]
    #[case::token_refreshed(json!({ "annotations": { contract::REFRESH_TIME: "later" } }), true)]
    #[case::label_removed(json!({ "labels": { "team": null } }), false)]
    #[case::label_changed(json!({ "labels": { "team": "2" } }), false)]
    #[case::annotation_removed(json!({ "annotations": { "note": null } }), false)]
    #[case::annotation_changed(json!({ "annotations": { "note": "2" } }), false)]
    #[case::our_annotation_removed(json!({ "annotations": { contract::CLUSTER_NAME: null } }), false)]
    #[case::label_became_an_annotation(json!({ "labels": { "team": null }, "annotations": { "team": "1" } }), false)]
    fn wanted_labels_and_annotations_are_found(#[case] edit: Value, #[case] expected: bool) {
        let SecretMetadata { labels, annotations } = wanted();
        let mut stored = json!({ "labels": labels, "annotations": annotations });
        for (kind, entries) in edit.as_object().unwrap() {
            for (key, value) in entries.as_object().unwrap() {
                let kept = stored[kind].as_object_mut().unwrap();
                kept.remove(key);
                if !value.is_null() {
                    kept.insert(key.clone(), value.clone());
                }
            }
        }
        let found = MetadataDigests::of(&serde_json::from_value(stored).unwrap());
        assert_eq!(found.include(&wanted()), expected);
    }

    #[test]
    fn digests_take_bounded_memory() {
        let labels: BTreeMap<_, _> = (0..10_000).map(|i| (i.to_string(), String::new())).collect();
        let found = MetadataDigests::of(&ObjectMeta { labels: Some(labels), ..Default::default() });
        assert_eq!(found, MetadataDigests(None));
        assert!(found.include(&wanted()), "unknown, so nothing is repaired");
    }
}

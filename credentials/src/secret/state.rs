//! The state of an import's Secret according to its metadata, and the patch that updates it.
//!
//! The importer watches only the metadata of Secrets, and never reads a token. The managed fields show which keys
//! exist, and who wrote them when, so edited and deleted values are detected, also after a restart
//! (<https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management>).

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::api::ObjectMeta;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::contract::{FIELD_MANAGER, GROUP};
use crate::secret::metadata::MetadataDigests;
use crate::secret::{Provenance, SecretMetadata};

/// How many names of keys, of labels and of annotations are kept. An import's Secret has fewer, but anyone who may write
/// a Secret can add more.
const NAMES_MAX: usize = 128;

/// Longest name or UID of an owner that is kept: Kubernetes does not limit them.
const OWNER_MAX: usize = 253;

/// The state of a Secret according to its metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretState {
    /// UID of the Secret.
    pub uid: Box<str>,
    /// The version of the Secret.
    pub resource_version: Box<str>,
    /// The object that controls it.
    pub owner: Option<Owner>,
    /// The facts about its token in its annotations.
    pub provenance: Option<Provenance>,
    /// Its keys, labels and annotations. Equal ones of many Secrets can be shared, to save memory.
    pub names: Arc<Names>,
    /// Its labels and annotations.
    metadata: MetadataDigests,
    /// Whether the managed fields have an entry of the importer.
    is_tracked: bool,
    /// When the importer last wrote it.
    written_at: Option<Timestamp>,
    /// When another manager last wrote a value, or one of our labels or annotations.
    edited_at: Option<Timestamp>,
    /// A digest of the managed fields of other managers that include a value, or one of our labels or annotations.
    edits_digest: u64,
    /// The value of `edits_digest` when the importer last wrote the Secret. `None` after a restart.
    baseline: Option<u64>,
}

/// The controller in the owner references of a Secret. For an import's Secret, it is the import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its name.
    pub name: Box<str>,
    /// Its UID.
    pub uid: Box<str>,
}

/// The keys of a Secret, and the names of its labels and annotations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Names {
    /// The keys of its data.
    pub keys: BTreeSet<String>,
    /// Labels that the importer wrote, including those of the import's template.
    labels: BTreeSet<String>,
    /// Annotations that the importer wrote, including those of the import's template.
    annotations: BTreeSet<String>,
}

impl SecretState {
    /// Reads the state from a Secret's metadata.
    pub fn read(metadata: &ObjectMeta) -> Self {
        let owners = metadata.owner_references.iter().flatten();
        let mut owner = owners
            .filter(|owner| owner.controller == Some(true))
            .filter(|owner| owner.name.len() <= OWNER_MAX && owner.uid.len() <= OWNER_MAX)
            .map(|owner| Owner { name: owner.name.as_str().into(), uid: owner.uid.as_str().into() });
        let mut state = Self {
            uid: metadata.uid.as_deref().unwrap_or_default().into(),
            resource_version: metadata.resource_version.as_deref().unwrap_or_default().into(),
            owner: owner.next(),
            provenance: metadata.annotations.as_ref().and_then(Provenance::read),
            names: Arc::default(),
            metadata: MetadataDigests::of(metadata),
            is_tracked: false,
            written_at: None,
            edited_at: None,
            edits_digest: 0,
            baseline: None,
        };
        let mut names = Names::default();
        for entry in metadata.managed_fields.iter().flatten() {
            state.add(entry, &mut names);
        }
        Self { names: Arc::new(names), ..state }
    }

    /// The state after a write by the importer. Earlier edits no longer count, even if their managers still own values
    /// that did not change.
    pub fn as_written(self) -> Self {
        Self { baseline: Some(self.edits_digest), ..self }
    }

    /// The state that the watch observed after `known`, with what `known` recorded about edits.
    pub fn after(self, known: &Self) -> Self {
        if self.uid == known.uid { Self { baseline: known.baseline, ..self } } else { self }
    }

    /// Whether another manager edited the Secret after the importer's last write. After a restart, this compares the
    /// times in the managed fields, which are whole seconds.
    pub fn was_edited(&self) -> bool {
        match self.baseline {
            Some(baseline) => self.edits_digest != baseline,
            None => self.edited_at > self.written_at,
        }
    }

    /// Whether the managed fields show what the importer wrote. They may have been cleared, and an API server does not
    /// track them again by itself
    /// (<https://kubernetes.io/docs/reference/using-api/server-side-apply/#clearing-managedfields>).
    pub fn is_tracked(&self) -> bool {
        self.is_tracked
    }

    /// Whether this is `other` or an earlier version of it.
    pub fn is_no_newer_than(&self, other: &Self) -> bool {
        self.is_older_than(other)
            || (&self.uid, &self.resource_version) == (&other.uid, &other.resource_version)
    }

    /// Whether this is an earlier version of `other`. Resource versions of API servers can be compared as numbers
    /// (KEP-5504). If one is not a number, this returns false.
    pub fn is_older_than(&self, other: &Self) -> bool {
        self.uid == other.uid && self.version().zip(other.version()).is_some_and(|(mine, other)| mine < other)
    }

    /// The merge patch that changes this Secret to `desired`, with its UID and version as preconditions. It removes our
    /// keys, labels and annotations that are no longer desired, and keeps the labels and annotations of others.
    pub fn update(&self, desired: &Secret) -> Value {
        let Secret { metadata, data, .. } = desired;
        json!({
            "metadata": {
                "uid": self.uid,
                "resourceVersion": self.resource_version,
                "labels": replacing(&self.names.labels, metadata.labels.iter().flatten()),
                "annotations": replacing(&self.names.annotations, metadata.annotations.iter().flatten()),
            },
            "data": replacing(&self.names.keys, data.iter().flatten()),
        })
    }

    /// Whether the Secret has these labels and annotations.
    pub fn has(&self, wanted: &SecretMetadata) -> bool {
        self.metadata.include(wanted)
    }

    /// The merge patch that restores these labels and annotations, with the Secret's UID and version as preconditions. It
    /// keeps all others, and the values.
    pub fn restore(&self, wanted: &SecretMetadata) -> Value {
        json!({ "metadata": {
            "uid": self.uid,
            "resourceVersion": self.resource_version,
            "labels": wanted.labels,
            "annotations": wanted.annotations,
        } })
    }

    fn version(&self) -> Option<u64> {
        self.resource_version.parse().ok()
    }

    fn add(&mut self, entry: &ManagedFieldsEntry, names: &mut Names) {
        let Some(fields) = &entry.fields_v1 else { return };
        let time = entry.time.as_ref().map(|time| time.0);
        let data = names_below(&fields.0, &["f:data"]);
        let labels = names_below(&fields.0, &["f:metadata", "f:labels"]);
        let annotations = names_below(&fields.0, &["f:metadata", "f:annotations"]);
        extend(&mut names.keys, data.iter().cloned());
        if entry.manager.as_deref() == Some(FIELD_MANAGER) {
            self.is_tracked = true;
            self.written_at = self.written_at.max(time);
            extend(&mut names.labels, labels);
            extend(&mut names.annotations, annotations);
        } else if !data.is_empty() || labels.iter().chain(&annotations).any(|name| is_ours(name)) {
            self.edited_at = self.edited_at.max(time);
            let mut hasher = DefaultHasher::new();
            (self.edits_digest, &entry.manager, &entry.operation, time, fields.0.to_string())
                .hash(&mut hasher);
            self.edits_digest = hasher.finish();
        }
    }
}

/// The entries of a merge patch: `null` removes an old one that is not in `new`.
fn replacing<'a, V: Serialize + 'a>(
    old: &BTreeSet<String>,
    new: impl Iterator<Item = (&'a String, &'a V)>,
) -> Map<String, Value> {
    let mut entries: Map<_, _> = old.iter().map(|key| (key.clone(), Value::Null)).collect();
    entries.extend(new.map(|(key, value)| (key.clone(), json!(value))));
    entries
}

fn extend(names: &mut BTreeSet<String>, more: impl IntoIterator<Item = String>) {
    for name in more {
        if names.len() < NAMES_MAX {
            names.insert(name);
        }
    }
}

/// Whether a label or annotation has our prefix.
fn is_ours(name: &str) -> bool {
    name.starts_with(GROUP)
}

/// The names of the fields below `path` in a FieldsV1, without their `f:`.
fn names_below(fields: &Value, path: &[&str]) -> BTreeSet<String> {
    let found = path.iter().try_fold(fields, |value, step| value.get(step));
    let object = found.and_then(Value::as_object);
    object.into_iter().flatten().filter_map(|(name, _)| Some(name.strip_prefix("f:")?.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entry(manager: &str, second: i64, fields: Value) -> Value {
        let time = Timestamp::from_second(second).unwrap().to_string();
        json!({ "manager": manager, "operation": "Update", "fieldsType": "FieldsV1", "time": time, "fieldsV1": fields })
    }

    fn state(entries: Vec<Value>) -> SecretState {
        let metadata =
            json!({ "name": "a-token", "uid": "u", "resourceVersion": "7", "managedFields": entries });
        SecretState::read(&serde_json::from_value(metadata).unwrap())
    }

    fn ours(second: i64) -> Value {
        let fields = json!({
            "f:data": { ".": {}, "f:token": {}, "f:server": {} },
            "f:metadata": { "f:annotations": { ".": {}, "f:multicluster.admiralty.io/cluster-uid": {}, "f:team": {} } },
        });
        entry(FIELD_MANAGER, second, fields)
    }

    #[test]
    fn a_secret_that_only_we_wrote_is_not_edited() {
        let state = state(vec![ours(10)]);
        assert_eq!(state.names.keys, ["server".to_owned(), "token".to_owned()].into());
        assert!(!state.was_edited());
        assert!(state.names.annotations.contains("team"));
    }

    #[test]
    fn a_later_edit_is_detected() {
        let edit = |second| entry("kubectl-edit", second, json!({ "f:data": { "f:token": {} } }));
        assert!(state(vec![ours(10), edit(11)]).was_edited());
        // We wrote it later.
        assert!(!state(vec![ours(12), edit(11)]).was_edited());
        // While the importer runs, it detects an edit in the same second.
        let written = state(vec![ours(10)]).as_written();
        assert!(!written.was_edited());
        assert!(state(vec![ours(10), edit(10)]).after(&written).was_edited());
    }

    #[test]
    fn an_edit_no_longer_counts_after_our_write_even_if_its_manager_owns_a_value() {
        let copy = entry("velero", 11, json!({ "f:data": { "f:server": {} } }));
        let written = state(vec![ours(11), copy.clone()]).as_written();
        assert!(!written.was_edited());
        assert!(!state(vec![ours(11), copy]).after(&written).was_edited());
    }

    #[test]
    fn labels_and_annotations_of_others_are_not_edits() {
        let fields = json!({ "f:metadata": { "f:annotations": { "f:reflector/allowed": {} } } });
        assert!(!state(vec![ours(10), entry("reflector", 11, fields)]).was_edited());
        let fields =
            json!({ "f:metadata": { "f:annotations": { "f:multicluster.admiralty.io/refresh-time": {} } } });
        assert!(state(vec![ours(10), entry("kubectl-annotate", 11, fields)]).was_edited());
    }

    #[test]
    fn state_of_a_large_secret_takes_bounded_memory() {
        let long = "x".repeat(100_000);
        let keys: Map<_, _> = (0..10_000).map(|i| (format!("f:{i}"), json!({}))).collect();
        let metadata = json!({
            "labels": { long.as_str(): "1" },
            "annotations": {
                "multicluster.admiralty.io/expiration-time": "2026-01-01T00:00:00Z",
                "multicluster.admiralty.io/service-account-uid": long,
                "multicluster.admiralty.io/fingerprint": "f",
            },
            "ownerReferences": [{ "apiVersion": "v1", "kind": "K", "name": long, "uid": "u", "controller": true }],
            "managedFields": [entry("kubectl", 10, json!({ "f:data": keys }))],
        });
        let state = SecretState::read(&serde_json::from_value(metadata).unwrap());
        assert_eq!(
            (state.names.keys.len(), state.provenance.as_ref(), state.owner.as_ref()),
            (NAMES_MAX, None, None)
        );
        assert!(format!("{state:?}").len() < 10_000);
    }

    #[test]
    fn only_labels_and_annotations_are_restored() {
        let wanted = SecretMetadata { labels: [("team".into(), "1".into())].into(), ..Default::default() };
        let state = state(vec![ours(10)]);
        assert!(!state.has(&wanted));
        let patch = json!({ "metadata": {
            "uid": "u", "resourceVersion": "7", "labels": { "team": "1" }, "annotations": {},
        } });
        assert_eq!(state.restore(&wanted), patch);
    }

    #[test]
    fn an_update_removes_what_is_no_longer_desired() {
        let desired = json!({ "metadata": { "labels": { "new": "1" } }, "data": { "token": "dA==" } });
        let update = state(vec![ours(10)]).update(&serde_json::from_value(desired).unwrap());
        assert_eq!(update["data"], json!({ "server": null, "token": "dA==" }));
        let annotations = json!({ "team": null, "multicluster.admiralty.io/cluster-uid": null });
        assert_eq!(update["metadata"]["annotations"], annotations);
        assert_eq!(update["metadata"]["labels"], json!({ "new": "1" }));
        assert_eq!(
            (&update["metadata"]["uid"], &update["metadata"]["resourceVersion"]),
            (&json!("u"), &json!("7"))
        );
    }
}

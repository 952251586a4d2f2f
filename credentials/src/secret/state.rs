//! What can be known of an import's Secret without reading it, and how it is then updated.
//!
//! The importer watches only the metadata of Secrets. Their managed fields tell which keys there
//! are and who wrote them when, so an edited or lost value is seen, also after a restart, while no
//! token is ever read (<https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management>).

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
use crate::secret::Provenance;

/// A Secret, by its metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretState {
    /// UID of the Secret.
    pub uid: Box<str>,
    /// The version that this is about.
    pub resource_version: Box<str>,
    /// The object that controls it.
    pub owner: Option<Owner>,
    /// What its annotations say of its token.
    pub provenance: Option<Provenance>,
    /// What it holds. Many Secrets are alike in that; whoever keeps many may have them share it.
    pub names: Arc<Names>,
    /// Whether there is an entry of the importer's.
    is_tracked: bool,
    /// When the importer last wrote it.
    written_at: Option<Timestamp>,
    /// When someone else last wrote a value, or a label or annotation of ours.
    touched_at: Option<Timestamp>,
    /// A digest of what others wrote into it of ours.
    foreign: u64,
    /// What `foreign` was when the importer itself last wrote; none after a restart.
    baseline: Option<u64>,
}

/// The object that controls a Secret: its import, if it is ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its name.
    pub name: Box<str>,
    /// Its UID.
    pub uid: Box<str>,
}

/// Names of a Secret's values, labels and annotations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Names {
    /// The keys of its values.
    pub keys: BTreeSet<String>,
    /// Labels that the importer wrote: our own, and those of the import's template.
    labels: BTreeSet<String>,
    /// Annotations that the importer wrote, likewise.
    annotations: BTreeSet<String>,
}

impl SecretState {
    /// Reads the state from a Secret's metadata, which is needed no more then.
    pub fn read(metadata: &ObjectMeta) -> Self {
        let owners = metadata.owner_references.iter().flatten();
        let mut owner = owners
            .filter(|owner| owner.controller == Some(true))
            .map(|owner| Owner { name: owner.name.as_str().into(), uid: owner.uid.as_str().into() });
        let mut state = Self {
            uid: metadata.uid.as_deref().unwrap_or_default().into(),
            resource_version: metadata.resource_version.as_deref().unwrap_or_default().into(),
            owner: owner.next(),
            provenance: metadata.annotations.as_ref().and_then(Provenance::read),
            names: Arc::default(),
            is_tracked: false,
            written_at: None,
            touched_at: None,
            foreign: 0,
            baseline: None,
        };
        let mut names = Names::default();
        for entry in metadata.managed_fields.iter().flatten() {
            state.add(entry, &mut names);
        }
        Self { names: Arc::new(names), ..state }
    }

    /// The state as the importer itself just wrote it: what others wrote before is settled, even
    /// where they still own a value that did not change.
    pub fn as_written(self) -> Self {
        Self { baseline: Some(self.foreign), ..self }
    }

    /// The state as the watch tells it, after the one that was known.
    pub fn after(self, known: &Self) -> Self {
        if self.uid == known.uid { Self { baseline: known.baseline, ..self } } else { self }
    }

    /// Whether someone else wrote into it since the importer last did. After a restart only the
    /// times of the managed fields tell, in whole seconds.
    pub fn was_touched(&self) -> bool {
        match self.baseline {
            Some(baseline) => self.foreign != baseline,
            None => self.touched_at > self.written_at,
        }
    }

    /// Whether its managed fields tell what the importer wrote. Someone may have cleared them, and an API
    /// server does not begin anew by itself
    /// (<https://kubernetes.io/docs/reference/using-api/server-side-apply/#clearing-managedfields>).
    pub fn is_tracked(&self) -> bool {
        self.is_tracked
    }

    /// Whether this is `other`, or what it was before.
    pub fn is_no_newer_than(&self, other: &Self) -> bool {
        self.is_older_than(other)
            || (&self.uid, &self.resource_version) == (&other.uid, &other.resource_version)
    }

    /// Whether the Secret's watch has nothing newer than `other` to tell. API servers' resource
    /// versions can be compared as numbers (KEP-5504); what is no number is taken as newer.
    pub fn is_older_than(&self, other: &Self) -> bool {
        self.uid == other.uid && self.version().zip(other.version()).is_some_and(|(mine, other)| mine < other)
    }

    /// The merge patch that makes this Secret the wanted one, if it still is the one that this is
    /// about. What is not wanted any more is taken away; labels and annotations of others stay.
    pub fn update(&self, wanted: &Secret) -> Value {
        let Secret { metadata, data, .. } = wanted;
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

    fn version(&self) -> Option<u64> {
        self.resource_version.parse().ok()
    }

    fn add(&mut self, entry: &ManagedFieldsEntry, names: &mut Names) {
        let Some(fields) = &entry.fields_v1 else { return };
        let time = entry.time.as_ref().map(|time| time.0);
        let data = names_below(&fields.0, &["f:data"]);
        let labels = names_below(&fields.0, &["f:metadata", "f:labels"]);
        let annotations = names_below(&fields.0, &["f:metadata", "f:annotations"]);
        names.keys.extend(data.iter().cloned());
        if entry.manager.as_deref() == Some(FIELD_MANAGER) {
            self.is_tracked = true;
            self.written_at = self.written_at.max(time);
            names.labels.extend(labels);
            names.annotations.extend(annotations);
        } else if !data.is_empty() || labels.iter().chain(&annotations).any(|name| is_ours(name)) {
            self.touched_at = self.touched_at.max(time);
            let mut hasher = DefaultHasher::new();
            (self.foreign, &entry.manager, &entry.operation, time, fields.0.to_string()).hash(&mut hasher);
            self.foreign = hasher.finish();
        }
    }
}

fn replacing<'a, V: Serialize + 'a>(
    old: &BTreeSet<String>,
    new: impl Iterator<Item = (&'a String, &'a V)>,
) -> Map<String, Value> {
    let mut entries: Map<_, _> = old.iter().map(|key| (key.clone(), Value::Null)).collect();
    entries.extend(new.map(|(key, value)| (key.clone(), json!(value))));
    entries
}

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
    fn what_only_we_wrote_is_untouched() {
        let state = state(vec![ours(10)]);
        assert_eq!(state.names.keys, ["server".to_owned(), "token".to_owned()].into());
        assert!(!state.was_touched());
        assert!(state.names.annotations.contains("team"));
    }

    #[test]
    fn a_value_that_someone_else_wrote_later_is_seen() {
        let edit = |second| entry("kubectl-edit", second, json!({ "f:data": { "f:token": {} } }));
        assert!(state(vec![ours(10), edit(11)]).was_touched());
        // A field that others once wrote, and we have since, is as it should be.
        assert!(!state(vec![ours(12), edit(11)]).was_touched());
        // While the importer runs, it knows what it wrote, and the same second is told apart.
        let written = state(vec![ours(10)]).as_written();
        assert!(!written.was_touched());
        assert!(state(vec![ours(10), edit(10)]).after(&written).was_touched());
    }

    #[test]
    fn a_value_that_others_still_own_is_settled_once_we_wrote_again() {
        let copy = entry("velero", 11, json!({ "f:data": { "f:server": {} } }));
        let written = state(vec![ours(11), copy.clone()]).as_written();
        assert!(!written.was_touched());
        assert!(!state(vec![ours(11), copy]).after(&written).was_touched());
    }

    #[test]
    fn others_may_annotate_and_label() {
        let fields = json!({ "f:metadata": { "f:annotations": { "f:reflector/allowed": {} } } });
        assert!(!state(vec![ours(10), entry("reflector", 11, fields)]).was_touched());
        let fields =
            json!({ "f:metadata": { "f:annotations": { "f:multicluster.admiralty.io/refresh-time": {} } } });
        assert!(state(vec![ours(10), entry("kubectl-annotate", 11, fields)]).was_touched());
    }

    #[test]
    fn an_update_takes_away_what_is_not_wanted_any_more() {
        let wanted = json!({ "metadata": { "labels": { "new": "1" } }, "data": { "token": "dA==" } });
        let update = state(vec![ours(10)]).update(&serde_json::from_value(wanted).unwrap());
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

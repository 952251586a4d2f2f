//! What the watches read of objects.
//!
//! An object has up to 1.5 MiB, and in memory several times that. So each object of a list is reduced to what the cache
//! keeps before the next one is parsed.

use std::borrow::Cow;
use std::marker::PhantomData;

use k8s_openapi::api::core::v1::Secret;
use kube::Resource;
use kube::api::ObjectMeta;
use kube::core::PartialObjectMeta;
use mcsa_client::{ServiceAccountImport, ServiceAccountImportStatus};
use mcsa_credentials::secret::SecretState;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::cache::ObservedImport;
use crate::model::spec;
use crate::model::unreadable::UnreadableImport;

/// The number of objects in a page of a list. kube holds a page in memory, twice.
pub(super) const PAGE_SIZE: u32 = 20;

/// What is kept of an object of the kind `K`.
#[derive(Clone, Debug)]
pub(super) struct Watched<K, T> {
    /// Only name, namespace and version.
    metadata: ObjectMeta,
    pub(super) kept: T,
    kind: PhantomData<K>,
}

/// An import, or why it can't be read.
pub(super) type WatchedImport = Watched<ServiceAccountImport, Result<ObservedImport, Box<UnreadableImport>>>;

/// The metadata of a Secret.
pub(super) type WatchedSecret = Watched<PartialObjectMeta<Secret>, SecretState>;

impl<K, T> Watched<K, T> {
    fn new(metadata: ObjectMeta, kept: T) -> Self {
        let ObjectMeta { name, namespace, resource_version, .. } = metadata;
        let metadata = ObjectMeta { name, namespace, resource_version, ..Default::default() };
        Self { metadata, kept, kind: PhantomData }
    }
}

impl<'de> Deserialize<'de> for WatchedImport {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Object {
            #[serde(default)]
            metadata: ObjectMeta,
            #[serde(default)]
            spec: Value,
            #[serde(default)]
            status: Value,
        }
        let Object { metadata, spec, status } = Object::deserialize(deserializer)?;
        // A status that can't be read is written again.
        let status = serde_json::from_value::<ServiceAccountImportStatus>(status).ok();
        let cluster_name = spec.get("clusterName").and_then(Value::as_str).unwrap_or_default().to_owned();
        let kept = match spec::read(spec) {
            Ok(spec) => {
                Ok(ObservedImport::of(ServiceAccountImport { metadata: metadata.clone(), spec, status }))
            }
            Err(problem) => {
                Err(Box::new(UnreadableImport::new(metadata.clone(), &cluster_name, &problem, status)))
            }
        };
        Ok(Self::new(metadata, kept))
    }
}

impl<'de> Deserialize<'de> for WatchedSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Object {
            #[serde(default)]
            metadata: ObjectMeta,
        }
        let Object { metadata } = Object::deserialize(deserializer)?;
        let kept = SecretState::read(&metadata);
        Ok(Self::new(metadata, kept))
    }
}

impl<K: Resource, T> Resource for Watched<K, T> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn metadata_api() -> bool {
        K::metadata_api()
    }

    fn kind(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(dynamic)
    }

    fn group(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::group(dynamic)
    }

    fn version(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::version(dynamic)
    }

    fn plural(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(dynamic)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::ObjectList;
    use serde_json::json;

    /// The metadata of an object that somebody filled up.
    fn large_metadata() -> Value {
        let long = "x".repeat(200_000);
        let labels: serde_json::Map<_, _> = (0..10_000).map(|i| (format!("l{i}"), json!(""))).collect();
        let fields: serde_json::Map<_, _> = (0..10_000).map(|i| (format!("f:l{i}"), json!({}))).collect();
        json!({
            "namespace": "default", "name": "a", "uid": "u", "resourceVersion": "7", "generation": 1,
            "annotations": { "a": long }, "labels": labels, "finalizers": [long],
            "managedFields": [{ "manager": "kubectl", "fieldsV1": { "f:metadata": { "f:labels": fields } } }],
        })
    }

    fn import(spec: Value) -> Value {
        json!({ "metadata": large_metadata(), "spec": spec })
    }

    #[test]
    fn only_what_is_needed_of_a_large_object_is_kept() {
        let spec = json!({ "clusterName": "c2", "namespace": "default", "name": "pod-lister" });
        let large = json!({
            "clusterName": "c2", "namespace": "default", "name": "pod-lister",
            "secret": { "annotations": { "a": "x".repeat(1_000_000) } },
        });
        let list = json!({ "metadata": {}, "items": [import(spec), import(large)] });
        let list: ObjectList<WatchedImport> = serde_json::from_value(list).unwrap();
        let [read, unreadable] = &list.items[..] else { panic!("{list:?}") };
        assert_eq!(read.meta().resource_version.as_deref(), Some("7"));
        assert_eq!(read.kept.as_ref().unwrap().import.spec.name, "pod-lister");
        let problem = &unreadable.kept.as_ref().unwrap_err().problem;
        assert_eq!(problem, "spec.secret.annotations[a] has more than 2048 characters");
        assert!(format!("{list:?}").len() < 5_000, "{list:?}");

        let secret: WatchedSecret = serde_json::from_value(json!({ "metadata": large_metadata() })).unwrap();
        assert!(WatchedSecret::metadata_api() && !WatchedImport::metadata_api());
        assert!(format!("{secret:?}").len() < 5_000, "{secret:?}");
    }

    #[test]
    fn unreadable_import_does_not_fail_the_list() {
        let items = [import(json!({ "clusterName": 7 })), json!({ "metadata": {}, "spec": 7 }), json!({})];
        let list: ObjectList<WatchedImport> =
            serde_json::from_value(json!({ "metadata": {}, "items": items })).unwrap();
        assert!(list.items.iter().all(|item| item.kept.is_err()), "{list:?}");
        let status = json!({ "conditions": 7 });
        let spec = json!({ "clusterName": "c2", "namespace": "default", "name": "pod-lister" });
        let import: WatchedImport =
            serde_json::from_value(json!({ "spec": spec, "status": status })).unwrap();
        assert!(import.kept.is_ok());
    }
}

//! An import as the cache keeps it: only the fields that a reconciliation needs.

use jiff::Timestamp;
use kube::ResourceExt;
use mcsa_client::contract::{CLUSTER_UID, LINK_LABEL};
use mcsa_client::policy::ImportRequest;
use mcsa_client::{ServiceAccountImport, ServiceAccountImportSpec};

use crate::model::key::ObjectKey;

/// An import without its status, which [`crate::model::status::StatusSummary`] summarizes.
#[derive(Clone, Debug, PartialEq)]
pub struct Import {
    pub key: ObjectKey,
    pub uid: Box<str>,
    pub generation: Option<i64>,
    pub created_at: Option<Timestamp>,
    /// Whether its Secret is a link's.
    pub is_link: bool,
    /// Whether it has a deletion timestamp.
    pub is_deleted: bool,
    /// The UID of the source, which bootstrap records on a link's import.
    pub pinned_uid: Option<Box<str>>,
    pub spec: ServiceAccountImportSpec,
}

impl Import {
    /// Reads the fields from the object.
    pub fn of(object: ServiceAccountImport) -> Self {
        let is_link = object.is_link();
        let pinned = object.annotations().get(CLUSTER_UID).filter(|_| is_link);
        Self {
            key: ObjectKey::of(&object),
            uid: object.metadata.uid.as_deref().unwrap_or_default().into(),
            generation: object.metadata.generation,
            created_at: object.metadata.creation_timestamp.as_ref().map(|time| time.0),
            is_link,
            is_deleted: object.metadata.deletion_timestamp.is_some(),
            pinned_uid: pinned.map(|uid| uid.as_str().into()),
            spec: object.spec,
        }
    }

    /// The object with the kept fields: enough for owner references, events and status writes.
    pub fn object(&self) -> ServiceAccountImport {
        let mut object = ServiceAccountImport::new(self.key.name(), self.spec.clone());
        object.metadata.namespace = Some(self.key.namespace().to_owned());
        object.metadata.uid = Some(self.uid.to_string());
        object.metadata.generation = self.generation;
        if self.is_link {
            object.labels_mut().insert(LINK_LABEL.into(), "true".into());
        }
        object
    }

    /// What it asks import policies for.
    pub fn request(&self) -> ImportRequest<'_> {
        ImportRequest {
            namespace: self.key.namespace(),
            cluster: &self.spec.cluster_name,
            account_namespace: &self.spec.namespace,
            account_name: &self.spec.name,
        }
    }

    /// The key of its Secret.
    pub fn secret_key(&self) -> ObjectKey {
        ObjectKey::new(self.key.namespace(), &self.spec.secret_name(self.key.name()))
    }

    /// The key of its service account in the source.
    pub fn account_key(&self) -> ObjectKey {
        ObjectKey::new(&self.spec.namespace, &self.spec.name)
    }

    /// Whether it imports this service account of this source.
    pub fn is_for(&self, cluster_name: &str, account: &ObjectKey) -> bool {
        self.spec.cluster_name == cluster_name
            && self.spec.name == account.name()
            && self.spec.namespace == account.namespace()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mcsa_client::contract::SYSTEM_NAMESPACE;

    #[test]
    fn object_is_restored_from_kept_fields() {
        let mut object = ServiceAccountImport::new("c2", ServiceAccountImportSpec::default());
        object.metadata.namespace = Some(SYSTEM_NAMESPACE.into());
        object.metadata.uid = Some("u".into());
        object.metadata.generation = Some(3);
        object.labels_mut().insert(LINK_LABEL.into(), "true".into());
        assert_eq!(Import::of(object.clone()).object(), object);
    }
}

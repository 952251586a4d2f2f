//! An import as it is kept in memory: what a reconciliation needs, and nothing else.

use jiff::Timestamp;
use kube::ResourceExt;
use mcsa_client::contract::{CLUSTER_UID, LINK_LABEL};
use mcsa_client::{ServiceAccountImport, ServiceAccountImportSpec};

use crate::model::key::ObjectKey;

/// An import, without its status, of which [`crate::model::status::Shown`] knows enough.
#[derive(Clone, Debug, PartialEq)]
pub struct Import {
    /// Its namespace and name.
    pub key: ObjectKey,
    /// Its UID.
    pub uid: Box<str>,
    /// The generation of its spec.
    pub generation: Option<i64>,
    /// When it was declared.
    pub created_at: Option<Timestamp>,
    /// Whether it keeps a link fresh.
    pub is_link: bool,
    /// Whether it is about to go.
    pub is_deleted: bool,
    /// The UID of the source, where bootstrap noted it on a link's import.
    pub pinned_uid: Option<Box<str>>,
    /// What it wants.
    pub spec: ServiceAccountImportSpec,
}

impl Import {
    /// Takes what is needed from the object.
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

    /// The object, as far as it is known here: enough to own a Secret, and to be spoken of.
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

    /// The key of the Secret that it owns, or would own.
    pub fn secret_key(&self) -> ObjectKey {
        ObjectKey::new(self.key.namespace(), &self.spec.secret_name(self.key.name()))
    }

    /// The key of the service account in the source.
    pub fn account_key(&self) -> ObjectKey {
        ObjectKey::new(&self.spec.namespace, &self.spec.name)
    }

    /// Whether it is for this service account of this source.
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
    fn what_is_kept_makes_the_same_object() {
        let mut object = ServiceAccountImport::new("c2", ServiceAccountImportSpec::default());
        object.metadata.namespace = Some(SYSTEM_NAMESPACE.into());
        object.metadata.uid = Some("u".into());
        object.metadata.generation = Some(3);
        object.labels_mut().insert(LINK_LABEL.into(), "true".into());
        assert_eq!(Import::of(object.clone()).object(), object);
    }
}

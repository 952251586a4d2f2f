//! What is kept of an import, a service account and a link.

use std::sync::Arc;

use kube::api::ObjectMeta;
use mcsa_client::ServiceAccountImport;

use super::checks::SeenCheck;
use crate::model::account::Account;
use crate::model::import::Import;
use crate::model::status::Shown;
use crate::source::Source;

/// An import, and what else is known of it.
#[derive(Clone, Debug)]
pub struct Known {
    /// The import.
    pub import: Arc<Import>,
    /// What its status says.
    pub shown: Shown,
    /// What its source told of the service account, where the Secret's token is not of that one.
    pub account: Option<Account>,
    /// The version that this is about; 0 where it is no number.
    pub version: u64,
    /// What we are writing into the status: the watch may tell of it before the answer does.
    pub(super) writing: Option<u64>,
    /// The lifetime in seconds that its user was last told to be shorter than what was asked for.
    pub(super) told_lifetime: Option<u64>,
}

/// A link as its Secret was last seen: the source that it leads to, or why it leads nowhere.
#[derive(Clone, Debug)]
pub struct LinkEntry {
    /// The source's name.
    pub cluster_name: String,
    /// The version of the Secret that this was read from.
    pub version: String,
    /// The source, or what is wrong with the Secret.
    pub source: Result<Arc<Source>, String>,
}

/// An import as a watch tells of it.
#[derive(Debug)]
pub struct SeenImport {
    /// The import.
    pub import: Import,
    /// What its status says.
    pub shown: Shown,
    /// The version that this is about; 0 where it is no number.
    pub version: u64,
    /// Of a link: what is asked about it, and what was answered.
    pub check: Option<SeenCheck>,
}

impl SeenImport {
    /// What is kept of the object.
    pub fn of(mut object: ServiceAccountImport) -> Self {
        let status = object.status.take();
        let version = version_of(&object.metadata);
        let check = object.is_link().then(|| SeenCheck::of(&object, status.as_ref()));
        Self { import: Import::of(object), shown: Shown::of(status.as_ref()), version, check }
    }
}

/// The number in a resource version; 0 where it is none. API servers' resource versions can be
/// compared as numbers (KEP-5504).
pub fn version_of(metadata: &ObjectMeta) -> u64 {
    metadata.resource_version.as_ref().and_then(|version| version.parse().ok()).unwrap_or_default()
}

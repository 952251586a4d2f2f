//! Cached imports and links.

use std::sync::Arc;

use jiff::Timestamp;
use kube::api::ObjectMeta;
use mcsa_client::ServiceAccountImport;

use super::checks::ObservedCheck;
use crate::model::account::Account;
use crate::model::failure::Reason;
use crate::model::import::Import;
use crate::model::status::StatusSummary;
use crate::source::Source;

/// An import and its state.
#[derive(Clone, Debug)]
pub struct CachedImport {
    pub import: Arc<Import>,
    pub summary: StatusSummary,
    /// The source's report about the service account, if it invalidates the Secret's token.
    pub account: Option<Account>,
    /// The resource version as a number; 0 if it is none.
    pub version: u64,
    /// Digest of the status that is being written: the watch may report it before the response arrives.
    pub(super) pending_digest: Option<u64>,
    /// The shortened lifetime, in seconds, that an event reported last.
    pub(super) reported_lifetime: Option<u64>,
}

impl CachedImport {
    /// When its refresh is, or was, due. `None` without a token, and if only the import's owner can fix it: such an
    /// import must not overtake others whenever it changes.
    pub fn refresh_at(&self) -> Option<Timestamp> {
        let reason = self.summary.refreshed.map_or("", |refreshed| refreshed.reason);
        let is_fixed_by_owner = Reason::FIXED_BY_OWNERS.iter().any(|known| known.as_str() == reason);
        // A new link fixes all imports of its source at once.
        let is_unlinked = reason == Reason::ClusterNotLinked.as_str();
        self.summary.refresh_at.filter(|_| is_unlinked || !is_fixed_by_owner)
    }
}

/// A link, as read from its Secret.
#[derive(Clone, Debug)]
pub struct LinkEntry {
    pub cluster_name: String,
    /// Resource version of the Secret that it was read from.
    pub version: String,
    /// The source, or the problem with the Secret.
    pub source: Result<Arc<Source>, String>,
}

/// An import as a watch reports it.
#[derive(Clone, Debug)]
pub struct ObservedImport {
    pub import: Import,
    pub summary: StatusSummary,
    /// The resource version as a number; 0 if it is none.
    pub version: u64,
    /// For a link: the check request and its result.
    pub check: Option<ObservedCheck>,
}

impl ObservedImport {
    pub fn of(mut object: ServiceAccountImport) -> Self {
        let status = object.status.take();
        let version = version_of(&object.metadata);
        let check = object.is_link().then(|| ObservedCheck::of(&object, status.as_ref()));
        Self { import: Import::of(object), summary: StatusSummary::of(status.as_ref()), version, check }
    }
}

/// The resource version as a number; 0 if it is none. Numbers can be compared (KEP-5504).
pub fn version_of(metadata: &ObjectMeta) -> u64 {
    metadata.resource_version.as_ref().and_then(|version| version.parse().ok()).unwrap_or_default()
}

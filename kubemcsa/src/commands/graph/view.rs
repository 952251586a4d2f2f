//! What was seen of one cluster, as plain data.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use mcsa_client::ServiceAccountImport;
use mcsa_client::api::READY;
use mcsa_client::contract::{CLUSTER_UID, SYSTEM_NAMESPACE};

use super::holders::{Parents, Seen};
use crate::link::existing::ExistingLink;

/// A cluster. What could not be read is not there.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Its name.
    pub name: String,
    /// The UID of its `kube-system`; without it, it is nobody's source.
    pub uid: Option<String>,
    /// Its links.
    pub links: Option<Vec<LinkSeen>>,
    /// Its imports, and links that are none, by namespace and name.
    pub imports: Vec<ImportSeen>,
    /// Its pods that may hold imports.
    pub pods: Option<Vec<Seen>>,
    /// The owners of their owners.
    pub parents: Parents,
}

impl View {
    /// How much of the cluster was seen, to be compared with what another user saw.
    pub fn extent(&self) -> (usize, bool, bool) {
        (self.imports.len(), self.links.is_some(), self.pods.is_some())
    }
}

/// A link, as far as a graph needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkSeen {
    /// The source's name in this target.
    pub cluster_name: String,
    /// The UID that the source is pinned to.
    pub uid: Option<String>,
}

/// An import, as far as a graph needs it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportSeen {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Name of its Secret.
    pub secret: String,
    /// Whether it is that of a link, which the importer itself holds.
    pub is_link: bool,
    /// Why it is not ready, in a word.
    pub amiss: Option<String>,
    /// The source's name in this target.
    pub cluster_name: String,
    /// Namespace and name of the service account in the source.
    pub account: (String, String),
}

impl LinkSeen {
    /// By its import and its Secret, either of which may say what it is pinned to.
    pub fn of(linked: &ExistingLink) -> Self {
        let import = linked.import.as_ref().and_then(|import| import.annotations().get(CLUSTER_UID).cloned());
        let secret = || linked.secret.as_ref().and_then(|it| it.annotations().get(CLUSTER_UID).cloned());
        Self { cluster_name: linked.cluster_name.clone(), uid: import.or_else(secret) }
    }

    /// By its import alone; none of one that keeps no link.
    pub fn kept_by(import: &ServiceAccountImport) -> Option<Self> {
        let uid = import.annotations().get(CLUSTER_UID).cloned();
        import.is_link().then(|| Self { cluster_name: import.spec.cluster_name.clone(), uid })
    }
}

impl ImportSeen {
    /// What matters of an import.
    pub fn of(import: &ServiceAccountImport) -> Self {
        let amiss = match import.condition(READY) {
            None => Some("NotReconciled".into()),
            Some(Condition { status, reason, .. }) => (status != "True").then(|| reason.clone()),
        };
        Self {
            namespace: import.namespace().unwrap_or_default(),
            name: import.name_any(),
            secret: import.secret_name(),
            is_link: import.is_link(),
            amiss,
            cluster_name: import.spec.cluster_name.clone(),
            account: (import.spec.namespace.clone(), import.spec.name.clone()),
        }
    }

    /// A link that was made by hand, which is a Secret alone; none where that does not tell whose it is.
    pub fn by_hand(linked: &ExistingLink) -> Option<Self> {
        let secret = linked.secret.as_ref()?.name_any();
        Some(Self {
            namespace: SYSTEM_NAMESPACE.into(),
            name: secret.clone(),
            secret,
            is_link: true,
            amiss: None,
            cluster_name: linked.cluster_name.clone(),
            account: linked.identity()?,
        })
    }
}
